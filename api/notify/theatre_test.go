package notify

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// theatre plays scripts in virtual time. What a script does is decided by behave.
type theatre struct {
	t       *testing.T
	dir     string
	node    *fakeNode
	log     *logBuffer
	notices *notices
	began   time.Time
	// behave gives how long a run takes, and its end. A run that takes forever ends by SIGKILL alone.
	behave func(argv []string) (time.Duration, exit)

	mu     sync.Mutex
	starts []string // "<seconds since the beginning> <arguments>"
	now    int      // that run
	most   int      // that ran at once
	pids   int
}

const forever = 1000 * time.Hour

// perform runs test in virtual time.
func perform(t *testing.T, test func(t *testing.T, th *theatre)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		test(t, &theatre{
			t: t, dir: dir, node: newFakeNode(t, "c1"), log: &logBuffer{}, notices: &notices{}, began: time.Now(),
			behave: func([]string) (time.Duration, exit) { return 0, exit{} },
		})
	})
}

// open makes the Scripts of the theatre's directory and starts them; the function it gives stops them.
func (th *theatre) open() (*Scripts, func()) {
	th.t.Helper()
	s, err := NewScripts(ScriptOptions{
		Node: th.node, Dir: th.dir, Permit: anyPath, Publish: th.notices.publish, Log: th.log.logger(),
	})
	if err != nil {
		th.t.Fatal(err)
	}
	s.launch = th.launch
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	synctest.Wait()
	return s, func() {
		cancel()
		if err := <-done; err != nil {
			th.t.Error(err)
		}
	}
}

func (th *theatre) launch(_ string, argv, _ []string) (*process, error) {
	th.mu.Lock()
	defer th.mu.Unlock()
	takes, end := th.behave(argv)
	th.pids++
	th.now++
	th.most = max(th.most, th.now)
	th.starts = append(th.starts, fmt.Sprintf("%.0f %s", time.Since(th.began).Seconds(), strings.Join(argv, " ")))
	killed := make(chan syscall.Signal, 3)
	wait := func(last func()) exit {
		defer func() {
			last()
			th.mu.Lock()
			th.now--
			th.mu.Unlock()
		}()
		for timer := time.After(takes); ; {
			select {
			case <-timer:
				return end
			case sig := <-killed:
				if sig == syscall.SIGKILL {
					return exit{signal: int(sig)}
				}
			}
		}
	}
	return &process{pid: th.pids, wait: wait, kill: func(s syscall.Signal) { killed <- s }}, nil
}

// direct says how scripts behave from now on.
func (th *theatre) direct(behave func(argv []string) (time.Duration, exit)) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.behave = behave
}

// count is how many runs there were, and how many at once.
func (th *theatre) count() (runs, most int) {
	synctest.Wait()
	th.mu.Lock()
	defer th.mu.Unlock()
	return len(th.starts), th.most
}

// expect holds against everything that was started.
func (th *theatre) expect(want ...string) {
	th.t.Helper()
	synctest.Wait()
	th.mu.Lock()
	defer th.mu.Unlock()
	if !slices.Equal(th.starts, want) {
		th.t.Errorf("started\n%s\nwant\n%s", strings.Join(th.starts, "\n"), strings.Join(want, "\n"))
	}
}

func (th *theatre) ledger() string { return readFile(filepath.Join(th.dir, ledgerFile)) }

const switch12, switch21 = "m leader start 10.0.0.1 1 10.0.0.1 2", "m leader start 10.0.0.1 2 10.0.0.1 1"
