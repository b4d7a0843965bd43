package fakeredis

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// lab is a network in virtual time.
func lab(t *testing.T, f func(t *testing.T, n *Net)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := NewNet()
		defer n.Close()
		f(t, n)
	})
}

func connect(t *testing.T, n *Net, i *Instance, name string) *instance.Conn {
	t.Helper()
	c, err := (&instance.Dialer{DialContext: n.From("n1")}).Dial(t.Context(), instance.Target{Addr: i.Addr()}, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func do(t *testing.T, c *instance.Conn, command string) any {
	t.Helper()
	reply, err := c.Do(t.Context(), strings.Fields(command)...)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return reply
}

func TestReplicationTakesItsTime(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m, r := n.Add("10.0.0.1:6379"), n.Add("10.0.0.2:6379")
		m.Write(1000)
		r.SetLinkDelay(time.Second, 2*time.Second)
		c := connect(t, n, r, "")
		do(t, c, "REPLICAOF 10.0.0.1 6379")
		for _, step := range []struct {
			after         time.Duration
			up, syncing   bool
			offset, shown int64
		}{
			{0, false, false, 0, 0},
			{1500 * time.Millisecond, false, true, 0, 0},
			{1500 * time.Millisecond, true, false, 1000, 1000},
		} {
			time.Sleep(step.after)
			synctest.Wait()
			s := r.State()
			i, err := c.Info(t.Context())
			if err != nil || s.LinkUp != step.up || i.SyncInProgress != step.syncing || i.Offset != step.shown || s.Offset != step.offset {
				t.Errorf("after %v: %+v, %+v, %v", step.after, s, i, err)
			}
		}
		m.SetWriteRate(100)
		time.Sleep(10 * time.Second)
		if s := r.State(); s.Offset != 2000 || s.ReplID != m.State().ReplID || s.Empty {
			t.Errorf("%+v", s)
		}
		r.SetLag(50)
		time.Sleep(time.Second)
		if s := r.State(); s.Offset != 2050 {
			t.Errorf("lagging: %+v", s)
		}
	})
}

func TestPromotionAndReturn(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m, r, other := n.Add("10.0.0.1:6379"), n.Add("10.0.0.2:6379"), n.Add("10.0.0.3:6379")
		m.Write(1000)
		r.Replicate(m.Addr())
		other.Replicate(m.Addr())
		before := m.State()
		r.CutLink(true)
		m.Write(300) // what r never gets, and other does
		do(t, connect(t, n, r, ""), "REPLICAOF NO ONE")
		p := r.State()
		if !p.Master || p.ReplID2 != before.ReplID || p.Second != 1001 || p.ReplID == before.ReplID {
			t.Fatalf("promoted: %+v", p)
		}
		do(t, connect(t, n, other, ""), "REPLICAOF 10.0.0.2 6379")
		time.Sleep(150 * time.Millisecond)
		synctest.Wait()
		if s := other.State(); s.LinkUp || !s.Syncing {
			t.Errorf("one that is ahead must be copied to: %+v", s)
		}
		time.Sleep(time.Second)
		if s := other.State(); !s.LinkUp || s.Offset != 1000 || s.ReplID != p.ReplID || s.ReplID2 != noReplID {
			t.Errorf("%+v", s)
		}
		m.Crash()
		m.Restart(false)
		if s := m.State(); !s.Master || s.ReplID2 != before.ReplID || s.Second != 1301 || s.RunID == before.RunID {
			t.Errorf("restarted: %+v", s)
		}
		m.Restart(true)
		if s := m.State(); s.Offset != 0 || s.ReplID2 != noReplID || !s.Empty {
			t.Errorf("restarted empty: %+v", s)
		}
	})
}

func TestPartialResyncAdoptsTheHistory(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m, r := n.Add("10.0.0.1:6379"), n.Add("10.0.0.2:6379")
		m.Write(1000)
		r.Replicate(m.Addr())
		do(t, connect(t, n, r, ""), "REPLICAOF NO ONE")
		r.Write(10)
		old := m.State()
		do(t, connect(t, n, m, ""), "REPLICAOF 10.0.0.2 6379")
		time.Sleep(101 * time.Millisecond)
		if s := m.State(); !s.LinkUp || s.ReplID != r.State().ReplID || s.ReplID2 != old.ReplID || s.Second != 1001 || s.Offset != 1010 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAMasterThatRestartsEmptyWipesItsReplicas(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m, r := n.Add("10.0.0.1:6379"), n.Add("10.0.0.2:6379")
		m.Write(1000)
		r.Replicate(m.Addr())
		m.Restart(true)
		time.Sleep(time.Second)
		if s := r.State(); !s.LinkUp || !s.Empty || s.Offset != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestACycleOfReplicasStaysWithoutLinks(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m, r := n.Add("10.0.0.1:6379"), n.Add("10.0.0.2:6379")
		m.Write(1000)
		r.Replicate(m.Addr())
		do(t, connect(t, n, m, ""), "REPLICAOF 10.0.0.2 6379")
		time.Sleep(time.Minute)
		if m.State().LinkUp || r.State().LinkUp {
			t.Errorf("%+v, %+v", m.State(), r.State())
		}
	})
}

func TestSilentMasterKeepsItsLinks(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m, r := n.Add("10.0.0.1:6379"), n.Add("10.0.0.2:6379")
		m.SetWriteRate(100)
		r.Replicate(m.Addr())
		time.Sleep(time.Second)
		m.Hang()
		c := connect(t, n, r, "")
		time.Sleep(20 * time.Second)
		i, err := c.Info(t.Context())
		if err != nil || !i.MasterLinkUp || i.MasterLastIO != 20*time.Second || i.Offset != 100 {
			t.Errorf("%+v, %v", i, err)
		}
		time.Sleep(41 * time.Second)
		if i, err = c.Info(t.Context()); err != nil || i.MasterLinkUp || i.MasterLinkDown != time.Second {
			t.Errorf("%+v, %v", i, err)
		}
		m.Resume()
		time.Sleep(time.Second)
		if s := r.State(); !s.LinkUp || s.Offset != 200 {
			t.Errorf("%+v", s)
		}
	})
}

func TestASaveIsTold(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		r := n.Add("10.0.0.2:6379")
		c := connect(t, n, r, "")
		for _, on := range []bool{false, true, false} {
			r.SetSaving(on)
			if i, err := c.Info(t.Context()); err != nil || i.Saving != on || i.Rewriting {
				t.Errorf("saving %t: %+v, %v", on, i, err)
			}
		}
	})
}

func TestPauseStopsWrites(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m := n.Add("10.0.0.1:6379")
		m.SetWriteRate(100)
		c := connect(t, n, m, "")
		time.Sleep(time.Second)
		do(t, c, "CLIENT PAUSE 2000 WRITE")
		if m.Write(5); !m.State().Paused {
			t.Error("not paused")
		}
		time.Sleep(3 * time.Second)
		if got := m.State().Offset; got != 200 {
			t.Errorf("%d bytes; 1 s before and 1 s after a pause make 200", got)
		}
		do(t, c, "CLIENT PAUSE 2000")
		begun := time.Now()
		do(t, c, "PING")
		if waited := time.Since(begun); waited != 2*time.Second {
			t.Errorf("PING under CLIENT PAUSE ALL took %v", waited)
		}
	})
}

func TestNetworkFaults(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m := n.Add("10.0.0.1:6379")
		within := func(d time.Duration) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			t.Cleanup(cancel)
			return ctx
		}
		dial := func(host string) error {
			c, err := n.From(host)(within(time.Second), "tcp", "10.0.0.1:6379")
			if err == nil {
				_ = c.Close()
			}
			return err
		}
		n.Drop("n1", m.Addr())
		if err := dial("n1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cut off: %v", err)
		}
		if err := dial("n2"); err != nil {
			t.Errorf("not cut off: %v", err)
		}
		n.Heal("n1", m.Addr())
		c := connect(t, n, m, "x")
		m.Drop()
		m.Crash()
		if _, err := c.Ping(within(time.Second)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the reset must not come through: %v", err)
		}
		m.Heal()
		if _, err := c.PingLate(within(time.Second)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the reset comes now: %v", err)
		}
		if err := dial("n1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("crashed: %v", err)
		}
		m.Restart(false)
		c = connect(t, n, m, "x")
		m.Crash()
		if _, err := c.Ping(within(time.Second)); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("crashed: %v", err)
		}
	})
}

func TestClientsAndPublish(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		m := n.Add("10.0.0.1:6379")
		a, b := connect(t, n, m, "a"), connect(t, n, m, "b")
		if got := do(t, b, "SUBSCRIBE ch").([]any); !slices.Equal(got, []any{"subscribe", "ch", int64(1)}) {
			t.Error(got)
		}
		if got := do(t, a, "PUBLISH ch hi"); got != int64(1) {
			t.Error(got)
		}
		if got := m.Clients(); !slices.Equal(got, []string{"a", "b"}) {
			t.Error(got)
		}
		if got := do(t, a, "CLIENT KILL TYPE pubsub"); got != int64(1) {
			t.Error(got)
		}
		if _, err := b.Do(t.Context(), "PING"); err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		if got := do(t, a, "CLIENT KILL TYPE normal"); got != int64(0) {
			t.Errorf("it killed itself, or %v", got)
		}
	})
}

func TestLogTellsWhoGaveWhichOrder(t *testing.T) {
	lab(t, func(t *testing.T, n *Net) {
		t.Helper()
		n.LogOnly(func(args []string) bool {
			return !strings.EqualFold(args[0], "CLIENT") && args[0] != "ROLE" && args[0] != "INFO"
		})
		m, r := n.Add("10.0.0.1:6379"), n.Add("10.0.0.2:6379")
		r.Replicate(m.Addr())
		c := connect(t, n, r, "sentineld-control:n1:7")
		r.Deny("config|rewrite")
		time.Sleep(time.Minute)
		if _, beside, err := c.Follow(t.Context(), m.Addr(), false); err != nil || beside == nil {
			t.Fatal(beside, err)
		}
		log := n.Log()
		i := slices.IndexFunc(log, func(c Command) bool { return c.Args[0] == "REPLICAOF" })
		if i < 0 || log[i].Host != "n1" || log[i].Client != "sentineld-control:n1:7" || log[i].Instance != r.Addr() ||
			!log[i].InMulti || log[i].Err != "" || !log[i].At.Equal(time.Now()) {
			t.Errorf("%+v", log)
		}
		if !slices.ContainsFunc(log, func(c Command) bool { return strings.HasPrefix(c.Err, "EXECABORT") }) {
			t.Errorf("the discarded transaction is missing: %+v", log)
		}
	})
}

func TestListenOnRealPort(t *testing.T) {
	n := NewNet()
	defer n.Close()
	m := n.Add("10.0.0.1:6379")
	addr, err := m.Listen()
	if err != nil {
		t.Fatal(err)
	}
	a, err := raftfsm.ParseAddr(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := new(instance.Dialer).Dial(ctx, instance.Target{Addr: a}, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if class, err := c.Ping(ctx); class != detector.ReplyPong || err != nil {
		t.Error(class, err)
	}
	m.Crash()
	if _, err := c.Ping(ctx); err == nil {
		t.Error("alive after Crash")
	}
	m.Restart(false)
	if c, err = new(instance.Dialer).Dial(ctx, instance.Target{Addr: a}, "x"); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
