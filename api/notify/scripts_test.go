package notify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
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
	takes, end := th.behave(argv)
	th.mu.Lock()
	defer th.mu.Unlock()
	th.pids++
	th.now++
	th.most = max(th.most, th.now)
	th.starts = append(th.starts, fmt.Sprintf("%.0f %s", time.Since(th.began).Seconds(), strings.Join(argv, " ")))
	killed := make(chan syscall.Signal, 3)
	wait := func() exit {
		defer func() {
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

// A script that asks for it, or is killed, runs again after 30 s, 60 s, ..., ten times in all.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name    string
		takes   time.Duration
		end     exit
		starts  []int
		notices []string
	}{
		{"asks", 0, exit{code: 1}, []int{0, 30, 90, 210, 450, 930, 1890, 3810, 7650, 15330}, []string{"-script-error /s 0 1"}},
		{"killed", time.Second, exit{signal: 11}, []int{0, 31, 92, 213, 454, 935, 1896, 3817, 7658, 15339}, []string{"-script-error /s 11 0"}},
		{"hangs", forever, exit{}, []int{0, 90, 210, 390, 690, 1230, 2250, 4230, 8130, 15870}, []string{
			"-script-timeout /s 1", "-script-timeout /s 2", "-script-timeout /s 3", "-script-timeout /s 4", "-script-timeout /s 5",
			"-script-timeout /s 6", "-script-timeout /s 7", "-script-timeout /s 8", "-script-timeout /s 9", "-script-timeout /s 10",
			"-script-error /s 9 0",
		}},
		{"given up", 0, exit{code: 2}, []int{0}, []string{"-script-error /s 0 2"}},
		{"done in time", 59 * time.Second, exit{}, []int{0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, th *theatre) {
				th.behave = func([]string) (time.Duration, exit) { return c.takes, c.end }
				th.node.watchSet("m", 1, "client-reconfig-script /s")
				s, stop := th.open()
				defer stop()
				th.node.switchTo(self, "m", 2)
				time.Sleep(10 * time.Hour)
				var want []string
				for _, at := range c.starts {
					want = append(want, fmt.Sprintf("%d /s %s", at, switch12))
				}
				th.expect(want...)
				if got := th.notices.list(); !slices.Equal(got, c.notices) {
					t.Errorf("published\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.notices, "\n"))
				}
				if running, queued := s.Counts(); running != 0 || queued != 0 {
					t.Errorf("%d running, %d in the queue", running, queued)
				}
			})
		})
	}
}

// Want of processes is told each time and is no end.
func TestForkFails(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		s, stop := th.open()
		defer stop()
		fails := 2
		s.launch = func(file string, argv, environ []string) (*process, error) {
			if fails--; fails >= 0 {
				return nil, fmt.Errorf("fork/exec %s: %w", file, syscall.EAGAIN)
			}
			return th.launch(file, argv, environ)
		}
		th.node.switchTo(self, "m", 2)
		time.Sleep(time.Hour)
		th.expect("90 /s " + switch12)
		if got, want := th.notices.list(), []string{"-script-error /s 99 0", "-script-error /s 99 0"}; !slices.Equal(got, want) {
			t.Errorf("published %q, want %q", got, want)
		}
	})
}

// At most 16 run; the queue holds 256, and beyond that the oldest one that does not run gives way.
func TestBounds(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.behave = func([]string) (time.Duration, exit) { return 10 * time.Second, exit{} }
		th.node.by(self, monitor("m", 1))
		s, stop := th.open()
		defer stop()
		th.node.by(self, set("m", "notification-script /s")) // begins to run
		synctest.Wait()
		var many []*raftlogv1.Command
		for i := range 300 {
			many = append(many, set("m", fmt.Sprint("failover-timeout ", 1000+i)))
		}
		th.node.by(self, many...)
		synctest.Wait()
		if running, queued := s.Counts(); running != 16 || queued != 256 {
			t.Errorf("%d running, %d in the queue; want 16 and 256", running, queued)
		}
		pending := s.Pending()
		if j := pending[0]; !j.Running || !strings.HasSuffix(j.Argv[2], "notification-script /s") {
			t.Errorf("the running one gave way: %+v", j)
		}
		if got := pending[1].Argv[2]; !strings.HasSuffix(got, "failover-timeout 1045") {
			t.Errorf("the oldest that waits is %q, want the 46th: the first 45 gave way", got)
		}
		if got := th.log.count("the oldest will not run"); got != 45 {
			t.Errorf("%d are logged as dropped, want 45", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if running, queued := s.Counts(); running != 16 || queued != 240 {
			t.Errorf("%d running, %d in the queue; want 16 and 240", running, queued)
		}
		time.Sleep(time.Hour)
		if th.most != 16 || len(th.starts) != 256 {
			t.Errorf("%d ran, %d at once; want 256 and 16", len(th.starts), th.most)
		}
	})
}

// SENTINEL DEBUG's settings act at once; what waits says for how long.
func TestSettings(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.behave = func([]string) (time.Duration, exit) { return forever, exit{} }
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		s, stop := th.open()
		defer stop()
		if s.ScriptMaxRuntime() != time.Minute || s.ScriptRetryDelay() != 30*time.Second {
			t.Errorf("limit %s, delay %s", s.ScriptMaxRuntime(), s.ScriptRetryDelay())
		}
		th.node.switchTo(self, "m", 2)
		time.Sleep(5 * time.Second)
		if j := s.Pending()[0]; !j.Running || j.RunTime != 5*time.Second || j.PID != 1 || j.Runs != 1 || j.RunDelay != 0 {
			t.Errorf("running: %+v", j)
		}
		s.SetScriptRetryDelay(7 * time.Second)
		s.SetScriptMaxRuntime(6 * time.Second)
		time.Sleep(3 * time.Second)
		if j := s.Pending()[0]; j.Running || j.RunTime != 0 || j.PID != 0 || j.Runs != 1 || j.RunDelay != 5*time.Second {
			t.Errorf("scheduled: %+v", j)
		}
		time.Sleep(6 * time.Second)
		th.expect("0 /s "+switch12, "13 /s "+switch12)
	})
}

// A switch is told only while it stands, and two of one master never at the same time.
func TestSuperseded(t *testing.T) {
	type step struct {
		at int // seconds
		do func(th *theatre)
	}
	back := func(th *theatre) { th.node.switchTo(self, "m", 1) }
	for _, c := range []struct {
		name   string
		takes  time.Duration
		end    exit
		steps  []step
		starts []string
	}{
		{"in one state", 0, exit{}, []step{{10, func(th *theatre) {
			st := th.node.State()
			for i := range 3 {
				st = th.node.after(st, entry{self, adopt(st, "m", 1+i%2)})
			}
			th.node.publish(st, nil)
		}}}, []string{"0 /s " + switch12, "10 /s " + switch21}},
		{"while it waits to be repeated", 0, exit{code: 1}, []step{{10, back}, {20, func(th *theatre) { th.behave = succeed }}}, []string{
			"0 /s " + switch12, "10 /s " + switch21, "40 /s " + switch21,
		}},
		{"while it runs", 20 * time.Second, exit{}, []step{{10, back}}, []string{"0 /s " + switch12, "20 /s " + switch21}},
		{"twice while it runs", 20 * time.Second, exit{}, []step{
			{10, back}, {11, func(th *theatre) { th.node.switchTo(self, "m", 2) }},
		}, []string{"0 /s " + switch12, "20 /s " + switch12}},
		{"removed", 0, exit{code: 1}, []step{{10, func(th *theatre) { th.node.by(self, remove("m")) }}}, []string{"0 /s " + switch12}},
		{"removed and back", 0, exit{code: 1}, []step{{10, func(th *theatre) {
			th.node.by(self, remove("m"))
			th.node.watchSet("m", 2, "client-reconfig-script /s")
		}}}, []string{"0 /s " + switch12}},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, th *theatre) {
				th.behave = func([]string) (time.Duration, exit) { return c.takes, c.end }
				th.node.watchSet("m", 1, "client-reconfig-script /s")
				_, stop := th.open()
				defer stop()
				th.node.switchTo(self, "m", 2)
				for _, step := range c.steps {
					time.Sleep(time.Until(th.began.Add(time.Duration(step.at) * time.Second)))
					step.do(th)
				}
				time.Sleep(time.Hour)
				th.expect(c.starts...)
			})
		})
	}
}

func succeed([]string) (time.Duration, exit) { return 0, exit{} }

// Nothing runs again after a restart, however the process ended; what a node missed runs once, if it stands.
func TestRestart(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.watchSet("m", 1, "client-reconfig-script /s", "notification-script /n")
		_, stop := th.open()
		th.expect() // what was before the first start
		th.node.switchTo(self, "m", 2)
		told := []string{"0 /n +adopt-master slave 10.0.0.1:2 10.0.0.1 2 @ m 10.0.0.1 1", "0 /n +switch-master m 10.0.0.1 1 10.0.0.1 2", "0 /s " + switch12}
		synctest.Wait()
		slices.Sort(th.starts)
		th.expect(told...)
		atCrash := th.ledger()
		stop()
		_, stop = th.open()
		th.expect(told...)
		stop()
		// A process that was killed has not saved anything more.
		if err := os.WriteFile(filepath.Join(th.dir, ledgerFile), []byte(atCrash), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stop = th.open()
		th.expect(told...)
		stop()
		// While it is down the master moves twice; too much later, so that notifications are of no use.
		th.node.switchTo("other", "m", 1)
		th.node.switchTo("other", "m", 2)
		time.Sleep(11 * time.Minute)
		_, stop = th.open()
		told = append(told, "660 /s m observer start 10.0.0.1 1 10.0.0.1 2")
		th.expect(told...)
		if got := th.log.count("too old to be run"); got != 1 {
			t.Errorf("%d lines of old notifications, want 1", got)
		}
		stop()
		_, stop = th.open()
		th.expect(told...)
		stop()
	})
}

// A power failure can take back what the node knew of the log, but not what its scripts were told.
func TestStateFallsBack(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		before := th.node.State()
		_, stop := th.open()
		th.node.switchTo(self, "m", 2)
		th.expect("0 /s " + switch12)
		after := th.node.State()
		stop()
		th.node.publish(before, nil)
		_, stop = th.open()
		defer stop()
		th.node.publish(after, nil)
		th.expect("0 /s " + switch12)
		th.node.switchTo(self, "m", 1)
		th.expect("0 /s "+switch12, "0 /s "+switch21)
	})
}

// Where a node begins that has no place, or one that means nothing here.
func TestBeginning(t *testing.T) {
	for _, c := range []struct {
		name, ledger, log string
	}{
		{"fresh", "", ""},
		{"foreign", `{"cluster_id":"other","index":1,"ordinal":0}`, ""},
		{"damaged", `{"cluster_id":"c1","ind`, "place in the events lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, th *theatre) {
				if c.ledger != "" {
					if err := os.WriteFile(filepath.Join(th.dir, ledgerFile), []byte(c.ledger), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				th.node.watchSet("m", 1, "client-reconfig-script /s", "notification-script /n")
				th.node.switchTo(self, "m", 2)
				th.node.publish(th.node.State(), errors.New("loading"))
				_, stop := th.open()
				defer stop()
				st := th.node.State()
				th.node.publish(th.node.after(st, entry{self, adopt(st, "m", 1)}), errors.New("loading"))
				time.Sleep(time.Minute)
				th.expect()
				th.node.publish(th.node.State(), nil)
				th.expect()
				th.node.by(self, set("m", "notification-script "))
				th.node.switchTo(self, "m", 2)
				th.expect("60 /s " + switch12)
				if c.log != "" && th.log.count(c.log) != 1 {
					t.Errorf("%q is logged %d times", c.log, th.log.count(c.log))
				}
			})
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, ledgerFile), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := NewScripts(ScriptOptions{Node: newFakeNode(t, "c1"), Dir: dir, Permit: anyPath, Log: (&logBuffer{}).logger()})
		if err == nil || !strings.Contains(err.Error(), "place of the scripts in the events") {
			t.Errorf("NewScripts: %v", err)
		}
	})
}

// A snapshot that leaves events out brings no old ones; a switch of it that stands is told.
func TestSnapshot(t *testing.T) {
	for _, c := range []struct {
		name   string
		later  bool // the switch is among the events that are left
		starts []string
	}{
		{"forgotten", false, nil},
		{"kept", true, []string{"3600 /s m observer start 10.0.0.1 1 10.0.0.1 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, th *theatre) {
				th.node.watchSet("m", 1, "client-reconfig-script /s", "notification-script /n")
				th.node.by(self, monitor("busy", 21))
				_, stop := th.open()
				st := th.node.State()
				move := func() { st = th.node.after(st, entry{"other", adopt(st, "m", 2)}) }
				if !c.later {
					move()
				}
				for i := range raftfsm.RingSize {
					st = th.node.after(st, entry{self, set("busy", fmt.Sprint("failover-timeout ", 1000+i))})
				}
				if c.later {
					move()
				}
				time.Sleep(time.Hour)
				th.node.publish(st, nil)
				th.expect(c.starts...)
				if got := th.log.count("events were forgotten"); got != 1 {
					t.Errorf("%d lines of what was forgotten, want 1", got)
				}
				stop()
				_, stop = th.open() // nothing is forgotten twice
				th.expect(c.starts...)
				if got := th.log.count("events were forgotten"); got != 1 {
					t.Errorf("%d lines of what was forgotten, want 1", got)
				}
				stop()
			})
		})
	}
}

// The disk is written only for masters that have a script, before it starts, and nothing starts while it cannot be.
func TestLedgerIsWritten(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		path := filepath.Join(th.dir, ledgerFile)
		th.node.watchSet("plain", 1)
		_, stop := th.open()
		defer stop()
		th.node.switchTo(self, "plain", 2)
		synctest.Wait()
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("written without a script: %v", err)
		}
		atStart := ""
		th.behave = func([]string) (time.Duration, exit) {
			atStart = readFile(path)
			return 0, exit{}
		}
		th.node.watchSet("m", 11, "client-reconfig-script /s")
		th.node.switchTo(self, "m", 12)
		synctest.Wait()
		if want := fmt.Sprintf(`{"cluster_id":"c1","index":%d,`, th.node.State().Index()); !strings.HasPrefix(atStart, want) {
			t.Errorf("at the script's start the file held %s, want %s...", atStart, want)
		}
		started := len(th.starts)
		before := readFile(path)
		th.node.switchTo(self, "plain", 1)
		synctest.Wait()
		if got := readFile(path); got != before {
			t.Errorf("written without need: %s", got)
		}
		if err := os.Mkdir(path+".new", 0o700); err != nil { // the place cannot be written now
			t.Fatal(err)
		}
		th.node.switchTo(self, "m", 11)
		time.Sleep(time.Minute)
		if len(th.starts) != started {
			t.Error("a script was started before its place was kept")
		}
		if got := th.log.count("cannot be written"); got != 1 {
			t.Errorf("%d lines of it, want 1", got)
		}
		if err := os.Remove(path + ".new"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if len(th.starts) != started+1 {
			t.Errorf("%d scripts were started, want 1", len(th.starts)-started)
		}
	})
}

// Without a directory nothing is written, and nothing is told twice either.
func TestInMemory(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.dir = ""
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		_, stop := th.open()
		th.node.switchTo(self, "m", 2)
		th.expect("0 /s " + switch12)
		th.node.by(self, set("m", "failover-timeout 1"))
		th.expect("0 /s " + switch12)
		stop()
	})
}

// A hanging script does not hold Run up for longer than the grace.
func TestRunEndsHangingScripts(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.behave = func([]string) (time.Duration, exit) { return forever, exit{} }
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		_, stop := th.open()
		th.node.switchTo(self, "m", 2)
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took != endGrace {
			t.Errorf("Run took %s to end, want %s", took, endGrace)
		}
	})
}
