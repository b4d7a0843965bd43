package instance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// pair is a master with one replica in virtual time, and a control connection to the replica.
func pair(t *testing.T) (n *fakeredis.Net, master, replica *fakeredis.Instance) {
	t.Helper()
	n = fakeredis.NewNet()
	t.Cleanup(n.Close)
	master, replica = n.Add("10.0.0.1:6379"), n.Add("10.0.0.2:6379")
	master.Write(1000)
	replica.Replicate(master.Addr())
	return n, master, replica
}

func control(t *testing.T, n *fakeredis.Net, i *fakeredis.Instance) *Conn {
	t.Helper()
	return mustDial(t, &Dialer{DialContext: n.From("n1")}, Target{Addr: i.Addr()}, "sentineld-control:n1:7")
}

// executed are the words of the log, without refused commands.
func executed(n *fakeredis.Net) []string {
	var list []string
	for _, c := range n.Log() {
		if c.Err == "" && c.InMulti {
			list = append(list, strings.Join(c.Args, " "))
		}
	}
	return list
}

func TestPromote(t *testing.T) {
	for _, c := range []struct {
		name     string
		set      func(*fakeredis.Instance)
		promoted bool
		err      string
	}{
		{"plain", func(*fakeredis.Instance) {}, true, ""},
		{"no right to MULTI", func(i *fakeredis.Instance) { i.Deny("multi") }, true, ""},
		{"no CONFIG", func(i *fakeredis.Instance) { i.Deny("config") }, true, ""},
		{"old Redis", func(i *fakeredis.Instance) { i.Rename("replicaof", "") }, true, ""},
		{"old Redis, no MULTI", func(i *fakeredis.Instance) { i.Rename("replicaof", ""); i.Deny("multi") }, true, ""},
		{"no right to REPLICAOF", func(i *fakeredis.Instance) { i.Deny("replicaof") }, false, "NOPERM"},
		{"no right to EXEC", func(i *fakeredis.Instance) { i.Deny("exec") }, false, "NOPERM"},
		{"neither name", func(i *fakeredis.Instance) { i.Rename("replicaof", ""); i.Rename("slaveof", "") }, false, "unknown command"},
		{"loading", func(i *fakeredis.Instance) { i.SetLoading(true) }, false, "LOADING"},
		{"busy", func(i *fakeredis.Instance) { i.SetBusy(true) }, false, "BUSY"},
		{"cannot be asked", func(i *fakeredis.Instance) { i.Deny("role") }, true, "NOPERM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _, replica := pair(t)
				conn := control(t, n, replica)
				before := replica.State()
				c.set(replica)
				info, err := conn.Promote(t.Context())
				if !contains(err, c.err) || replica.State().Master != c.promoted {
					t.Fatalf("%+v, %v; master: %v", info, err, replica.State().Master)
				}
				var refused ReplyError
				if errors.As(err, &refused) == c.promoted {
					t.Errorf("a ReplyError says that nothing happened: %v", err)
				}
				if err == nil && !info.Lineage().PromotedFrom(before.ReplID) {
					t.Errorf("%+v", info)
				}
			})
		})
	}
}

func TestSaveConfig(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*fakeredis.Instance)
		err  string
	}{
		{"plain", func(*fakeredis.Instance) {}, ""},
		{"rewrite fails", func(i *fakeredis.Instance) { i.FailRewrite("ERR no config file") }, "config rewrite: ERR no config file"},
		{"no right to rewrite", func(i *fakeredis.Instance) { i.Deny("config|rewrite") }, "config rewrite: NOPERM"},
		{"no such command", func(i *fakeredis.Instance) { i.Rename("config", "") }, "unknown command"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _, replica := pair(t)
				conn := control(t, n, replica)
				if _, err := conn.Promote(t.Context()); err != nil {
					t.Fatal(err)
				}
				c.set(replica)
				if err := conn.SaveConfig(t.Context()); !contains(err, c.err) {
					t.Fatal(err)
				}
				replica.Crash()
				replica.Restart(false)
				if replica.State().Master != (c.err == "") {
					t.Errorf("after a restart a master: %v", replica.State().Master)
				}
			})
		})
	}
}

func contains(err error, want string) bool {
	if want == "" || err == nil {
		return want == "" && err == nil
	}
	return strings.Contains(err.Error(), want)
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, master, replica := pair(t)
		conn, app := control(t, n, replica), control(t, n, replica)
		third := n.Add("10.0.0.3:6379")
		third.Replicate(master.Addr())
		master.Write(500)
		had, beside, err := conn.Follow(t.Context(), third.Addr(), true)
		if beside != nil || err != nil || had < 500 || had != master.State().Offset {
			t.Fatal(had, beside, err)
		}
		want := []string{"REPLICAOF 10.0.0.3 6379", "INFO replication", "CONFIG REWRITE", "CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub"}
		if got := executed(n); !slices.Equal(got, want) {
			t.Errorf("executed %q", got)
		}
		if _, err := app.Ping(t.Context()); CauseOf(err) != raftfsm.CauseReset {
			t.Errorf("the other connection: %v", err)
		}
		if replica.State().Saved != third.Addr() {
			t.Error("not saved")
		}
		replica.Deny("client|kill", "config|rewrite")
		_, beside, err = conn.Follow(t.Context(), master.Addr(), true)
		if err != nil || !contains(beside, "client kill type normal: NOPERM") || !contains(beside, "config rewrite: NOPERM") {
			t.Errorf("%v, %v", beside, err)
		}
		if replica.State().Follows != master.Addr() {
			t.Error("does not follow")
		}
	})
}

func TestLateReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, master, _ := pair(t)
		c := control(t, n, master)
		within := func(d time.Duration) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			t.Cleanup(cancel)
			return ctx
		}
		master.Hang()
		begun := time.Now()
		if _, err := c.Ping(within(100 * time.Millisecond)); CauseOf(err) != raftfsm.CauseTimeout ||
			time.Since(begun) != 100*time.Millisecond {
			t.Fatalf("%v after %v", err, time.Since(begun))
		}
		if _, err := c.InfoLate(t.Context()); !errors.Is(err, errNotLate) {
			t.Errorf("INFO was not asked: %v", err)
		}
		master.Resume()
		if class, err := c.PingLate(within(time.Millisecond)); class != detector.ReplyPong || err != nil {
			t.Fatal(class, err)
		}
		if c.RTT() != 100*time.Millisecond {
			t.Error(c.RTT())
		}
		master.Drop()
		if _, err := c.Info(within(time.Second)); CauseOf(err) != raftfsm.CauseTimeout {
			t.Fatal(err)
		}
		if _, err := c.InfoLate(within(time.Second)); CauseOf(err) != raftfsm.CauseTimeout {
			t.Fatal(err)
		}
		master.Heal()
		if info, err := c.InfoLate(within(time.Second)); err != nil || info.RunID != master.State().RunID {
			t.Fatal(info, err)
		}
		if _, err := c.Role(within(time.Second)); err != nil {
			t.Error(err)
		}
	})
}

func TestDialFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, master, _ := pair(t)
		d := &Dialer{DialContext: n.DialContext}
		dial := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c, err := d.Dial(ctx, Target{Addr: master.Addr()}, "n")
			if err == nil {
				_ = c.Close()
			}
			return err
		}
		master.Drop()
		if err := dial(); CauseOf(err) != raftfsm.CauseTimeout {
			t.Errorf("dropped: %v", err)
		}
		master.Heal()
		master.Hang()
		if err := dial(); CauseOf(err) != raftfsm.CauseTimeout {
			t.Errorf("frozen: %v", err)
		}
		master.Crash()
		if err := dial(); CauseOf(err) != raftfsm.CauseRefused {
			t.Errorf("crashed: %v", err)
		}
		master.Restart(false)
		if err := dial(); err != nil {
			t.Errorf("restarted: %v", err)
		}
		if got := n.Instance(raftfsm.Addr{Host: "10.0.0.9", Port: 1}); got != nil {
			t.Error(got)
		}
	})
}
