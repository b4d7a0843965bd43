package daemon

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/api/web"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
)

// manager is a service manager that keeps what it is told.
type manager struct {
	mu    sync.Mutex
	told  []string // but for signs of life
	signs []time.Time
	fail  error
}

func (m *manager) tell(assignments string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.fail != nil:
		return m.fail
	case assignments == "WATCHDOG=1":
		m.signs = append(m.signs, time.Now())
	default:
		m.told = append(m.told, assignments)
	}
	return nil
}

// all is what was told, the changing parts replaced.
func (m *manager) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.told)
	for i := range out {
		out[i] = regexp.MustCompile(`MONOTONIC_USEC=[1-9]\d*$`).ReplaceAllString(out[i], "MONOTONIC_USEC=N")
	}
	return out
}

// status is the latest that was told.
func (m *manager) status() string {
	for _, a := range slices.Backward(m.all()) {
		if _, status, ok := strings.Cut(a, "STATUS="); ok {
			return status
		}
	}
	return ""
}

// since is for how long there has been no sign of life.
func (m *manager) since() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.signs) == 0 {
		return -1
	}
	return time.Since(m.signs[len(m.signs)-1])
}

// ready tells whether the node has said that it is up.
func (m *manager) ready() bool {
	return slices.ContainsFunc(m.all(), func(a string) bool { return strings.HasPrefix(a, "READY=1") })
}

func (m *manager) supervises(watchdog time.Duration) func(*Options) {
	return func(o *Options) { o.Supervisor = Supervisor{Tell: m.tell, Watchdog: watchdog} }
}

// A node is up before it has a leader or a cluster, and says what it waits for, then what it does; each word once. The last one
// is that it stops.
func TestServiceManagerIsTold(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		var m manager
		w.redis.Add(first.String())
		a := w.run(w.config(1, 3, "sentinel monitor m 10.9.0.1 6379 2", "sentinel down-after-milliseconds m 1000"), m.supervises(0))
		w.until("it is up", m.ready)
		if s := a.Status(); s.LeaderID != "" || s.Waiting == "" {
			t.Errorf("it was up when it had a cluster: %+v", s)
		}
		waits := func(what string) {
			t.Helper()
			w.until(what, func() bool { return strings.HasPrefix(m.status(), what) })
		}
		waits("waits for a cluster: ")
		b, c := w.run(w.config(2, 3)), w.run(w.config(3, 3))
		w.until("its place", func() bool {
			return strings.HasPrefix(m.status(), "leads; 3 nodes, 1 masters") || regexp.MustCompile(`^follows n[23]; 3 nodes, 1 masters`).MatchString(m.status())
		})
		w.until("no problem", func() bool { return !strings.Contains(m.status(), "problem") })
		quiet := len(m.all())
		time.Sleep(10 * time.Minute)
		if got := m.all(); len(got) != quiet {
			t.Errorf("told at rest: %q", got[quiet:])
		}
		w.redis.Instance(first).Crash()
		w.until("a problem", func() bool {
			return strings.Contains(m.status(), "; problems: 1, the first: master m at 10.9.0.1:6379 is down")
		})
		b.end()
		c.end()
		waits("waits for a leader, and tells what it knew; 3 nodes, 1 masters")
		a.end()
		got := m.all()
		if last := got[len(got)-1]; last != "STOPPING=1\nSTATUS=stopping" {
			t.Errorf("told last: %q", last)
		}
		if n := len(slices.Compact(got)); n != len(got) {
			t.Errorf("told twice in a row: %q", got)
		}
		if len(slices.DeleteFunc(got, func(a string) bool { return !strings.HasPrefix(a, "READY=1") })) != 1 {
			t.Errorf("not up once: %q", m.all())
		}
	})
}

// A restarted node is up from what it kept, with nobody else there.
func TestReadyAloneAfterARestart(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		var nodes []*runner
		for i := range 3 {
			nodes = append(nodes, w.run(w.config(i+1, 3)))
		}
		w.until("a cluster", func() bool { return nodes[0].State().Voters() == 3 })
		for _, n := range nodes {
			n.end()
		}
		var m manager
		a := w.run(w.config(1, 3), m.supervises(0))
		w.until("it is up", m.ready)
		if _, _, err := a.node.Local(); err != nil || a.Status().LeaderID != "" {
			t.Errorf("it is up, and tells nothing: %v", err)
		}
		w.until("its word", func() bool {
			return strings.HasPrefix(m.status(), "waits for a leader, and tells what it knew; 3 nodes, 0 masters")
		})
		a.end()
	})
}

// A reload is told from its beginning to its end, whatever came of it; a refused one shows until the next.
func TestReloadIsTold(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		var m manager
		good := w.config(1, 1)
		var err error
		r := w.run(good, m.supervises(0), func(o *Options) {
			o.Reload = func() (*conf.Config, []conf.Warning, error) { return good, nil, err }
		})
		reload := func() { r.supervised.reload(func() bool { return r.reload(context.Background()) }) }
		reload() // comes too early to be told: it is not up
		w.until("it is at work", func() bool { return strings.HasPrefix(m.status(), "leads; ") })
		if got := m.all(); slices.ContainsFunc(got, func(a string) bool { return strings.HasPrefix(a, "RELOADING") }) {
			t.Errorf("told %q", got)
		}
		for _, c := range []struct {
			err  error
			want string // of the status
		}{
			{nil, "leads; "},
			{errors.New("sentineld.conf:3: no such thing"), "the last reload was refused, see the log; leads; "},
			{nil, "leads; "},
		} {
			before := len(m.all())
			err = c.err
			reload()
			if got := m.all()[before:]; len(got) < 2 || got[0] != "RELOADING=1\nMONOTONIC_USEC=N" || !strings.HasPrefix(got[1], "READY=1") {
				t.Errorf("%v: told %q", c.err, got)
			}
			if got := m.status(); !strings.HasPrefix(got, c.want) {
				t.Errorf("%v: status %q", c.err, got)
			}
		}
		r.end()
		before := len(m.all())
		reload()
		if got := m.all(); len(got) != before {
			t.Errorf("told after the end: %q", got[before:])
		}
	})
}

// The watchdog hears of a node at rest and of a busy one. It hears nothing while a part hangs, or tells that it is stuck, and
// hears again when that is over.
func TestWatchdog(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		const interval = 30 * time.Second
		var m manager
		o := w.options(w.config(1, 1))
		m.supervises(interval)(&o)
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		var since atomic.Int64 // a part's being stuck
		var hang atomic.Pointer[chan struct{}]
		options := d.webOptions(member{d.node})
		options.Live = append(options.Live, goesOn("part", "it does nothing", func() time.Duration { return time.Duration(since.Load()) }),
			web.Check{Name: "other", Ask: func() error {
				if h := hang.Load(); h != nil {
					<-*h
				}
				return nil
			}})
		if d.web, err = web.New(options); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		r := &runner{d, w, stop, make(chan error, 1)}
		go func() { r.done <- d.Run(ctx) }()

		// longest is the longest silence within a while.
		longest := func(within time.Duration) (out time.Duration) {
			for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				out = max(out, m.since())
			}
			return out
		}
		if got := longest(10 * time.Minute); got > interval/3 {
			t.Errorf("at rest: silent for %v", got)
		}
		since.Store(int64(stuckLimit))
		if got := longest(10 * time.Minute); got > interval/3 {
			t.Errorf("busy: silent for %v", got)
		}
		since.Store(int64(stuckLimit + time.Second))
		if got := longest(10 * time.Minute); got < 9*time.Minute {
			t.Errorf("stuck: silent for %v only", got)
		}
		since.Store(0)
		time.Sleep(interval / 3)
		if got := longest(time.Minute); got > interval/3 {
			t.Errorf("stuck no more: silent for %v", got)
		}
		release := make(chan struct{})
		hang.Store(&release)
		if got := longest(10 * time.Minute); got < 9*time.Minute {
			t.Errorf("hanging: silent for %v only", got)
		}
		hang.Store(nil)
		close(release)
		time.Sleep(interval / 3)
		if got := longest(time.Minute); got > interval/3 {
			t.Errorf("hanging no more: silent for %v", got)
		}
		r.end()
	})
}

// A service manager that does not listen is told of once in the log, and ends nothing.
func TestServiceManagerIsDeaf(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		m := manager{fail: errors.New("no such socket")}
		var log record
		r := w.run(w.config(1, 1), m.supervises(time.Second), func(o *Options) { o.Stderr = &log })
		time.Sleep(time.Minute)
		r.end()
		if n := strings.Count(log.take(), "the service manager is not told how this node is"); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}

func TestOneLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"master m is down", "master m is down"},
		{"a\nREADY=1\x00", "a READY=1 "},
		{strings.Repeat("é", 200), strings.Repeat("é", 150) + "..."},
		{"x" + strings.Repeat("é", 200), "x" + strings.Repeat("é", 149) + "..."},
	} {
		if got := oneLine(c.text); got != c.want {
			t.Errorf("%q: %q", c.text, got)
		}
	}
}
