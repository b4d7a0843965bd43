package instance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// patience bounds what must happen; it is no measure of how long it takes.
const patience = 20 * time.Second

func newStage(t *testing.T) *stage.Stage {
	t.Helper()
	s, err := stage.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// realRedis starts a server; without a Redis on the machine the error says what to install.
func realRedis(t *testing.T, s *stage.Stage, o stage.RedisOptions) *stage.Redis {
	t.Helper()
	r, err := s.Redis(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	return r
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func target(t *testing.T, addr string) Target {
	t.Helper()
	a, err := raftfsm.ParseAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	return Target{Addr: a}
}

func mustDial(t *testing.T, d *Dialer, tg Target, name string) *Conn {
	t.Helper()
	c, err := d.Dial(bounded(t), tg, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// eventually asks until f is content.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	ctx := bounded(t)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-ctx.Done():
			t.Fatalf("never came: %s", what)
		case <-tick.C:
		}
	}
}

func infoOf(t *testing.T, c *Conn) *detector.Info {
	t.Helper()
	i, err := c.Info(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestRealVerbs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	master := realRedis(t, s, stage.RedisOptions{})
	replica := realRedis(t, s, stage.RedisOptions{ReplicaOf: master.Addr(), Config: []string{"replica-priority 42"}})
	ctx := bounded(t)
	mc := mustDial(t, &Dialer{}, target(t, master.Addr()), "sentineld-control:n1:7")
	rc := mustDial(t, &Dialer{}, target(t, replica.Addr()), "sentineld-control:n1:7")

	if class, err := mc.Ping(ctx); class != detector.ReplyPong || err != nil || mc.RTT() <= 0 {
		t.Fatalf("ping: %v, %v after %v", class, err, mc.RTT())
	}
	eventually(t, "the replica's link", func() bool { return infoOf(t, rc).InSync() })
	mi, ri := infoOf(t, mc), infoOf(t, rc)
	if mi.Role != raftfsm.RoleMaster || len(mi.RunID) != 40 || mi.Version == "" || !mi.Lineage().SameHistory(ri.Lineage()) ||
		len(mi.Replicas) != 1 || mi.Replicas[0].Addr.String() != replica.Addr() || mi.FailoverState != "no-failover" {
		t.Errorf("master's INFO: %+v", mi)
	}
	if !strings.HasPrefix(mi.Text, "# Server\r\n") || !strings.Contains(mi.Text, "\r\n\r\n# Replication\r\nrole:master\r\n") ||
		strings.Contains(mi.Text, "# Persistence") || strings.HasSuffix(mi.Text, "\r\n\r\n") || len(mi.Text) > 2<<10 {
		t.Errorf("what is kept of the master's INFO, %d bytes: %s", len(mi.Text), mi.Text)
	}
	if ri.Role != raftfsm.RoleReplica || ri.Priority != 42 || !ri.ReplicaAnnounced || ri.MasterPort != master.Port() ||
		ri.MasterLinkDown != 0 || ri.MasterLastIO < 0 || !ri.Promotable("", 0) {
		t.Errorf("replica's INFO: %+v", ri)
	}
	role, err := rc.Role(ctx)
	if err != nil || role.Role != raftfsm.RoleReplica || role.Master.String() != master.Addr() || role.Link != "connected" {
		t.Errorf("replica's ROLE: %+v, %v", role, err)
	}
	if _, err := mc.Do(ctx, "SET", "k", strings.Repeat("v", 5000)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bytes", func() bool { return infoOf(t, rc).Offset == infoOf(t, mc).Offset })

	info, err := rc.Promote(ctx)
	if err != nil || info.Role != raftfsm.RoleMaster || !info.Lineage().PromotedFrom(mi.ReplID) {
		t.Fatalf("promote: %+v, %v", info, err)
	}
	if err := rc.SaveConfig(ctx); err != nil {
		t.Error(err)
	}
	if lost, ok := detector.LostBytes(infoOf(t, mc).Lineage(), info.Lineage()); !ok || lost != 0 {
		t.Errorf("lost %d, %v", lost, ok)
	}
	normal := mustDial(t, &Dialer{}, target(t, master.Addr()), "app")
	_, rewriteErr, err := mc.Follow(ctx, rc.addr, true)
	if err != nil || rewriteErr != nil {
		t.Fatalf("follow: %v, %v", rewriteErr, err)
	}
	if _, err := normal.Do(ctx, "PING"); CauseOf(err) != raftfsm.CauseReset {
		t.Errorf("an application's connection after follow with disconnect: %v", err)
	}
	eventually(t, "the old master's link", func() bool { return infoOf(t, mc).InSync() })
	got, err := mc.Do(ctx, "GET", "k")
	if err != nil || len(got.(string)) != 5000 {
		t.Errorf("GET: %.20v, %v", got, err)
	}
	for _, r := range []*stage.Redis{master, replica} {
		conf, err := os.ReadFile(r.Dir() + "/redis.conf")
		if err != nil || strings.Contains(string(conf), "replicaof") != (r == master) {
			t.Errorf("%s: configuration after the switch, %v:\n%s", r.Name(), err, conf)
		}
	}
}

func TestRealControlClients(t *testing.T) {
	t.Parallel()
	r := realRedis(t, newStage(t), stage.RedisOptions{})
	ctx := bounded(t)
	old := mustDial(t, &Dialer{}, target(t, r.Addr()), "sentineld-control:n2:6")
	mustDial(t, &Dialer{}, target(t, r.Addr()), "sentineld-probe:n2")
	c := mustDial(t, &Dialer{}, target(t, r.Addr()), "sentineld-control:n1:7")
	found, err := c.ControlClients(ctx, "sentineld-control:")
	if err != nil || len(found) != 2 {
		t.Fatalf("%v, %v", found, err)
	}
	for id, name := range found {
		if name != "sentineld-control:n2:6" {
			continue
		}
		for range 2 { // the second time it is gone already
			if err := c.KillClient(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := old.Promote(ctx); err == nil || CauseOf(err) != raftfsm.CauseReset {
		t.Errorf("a killed control connection promoted: %v", err)
	}
}

// TestRealLook: a Sentinel shows by its subscription and by its connections' names, a renamed command by its refusal.
func TestRealLook(t *testing.T) {
	s := newStage(t)
	r := realRedis(t, s, stage.RedisOptions{Config: []string{"rename-command CONFIG GUESS", "rename-command ROLE ROLLE"}})
	host, port, _ := strings.Cut(r.Addr(), ":")
	v, err := s.Sentinel(stage.SentinelOptions{Config: []string{"sentinel monitor m " + host + " " + port + " 1"}})
	if err != nil {
		t.Fatal(err)
	}
	c := mustDial(t, &Dialer{}, target(t, r.Addr()), "sentineld-x")
	subscribers := func() int64 {
		s, err := c.Survey(bounded(t), "__sentinel__:hello", func(Client) bool { return false })
		if err != nil || s.ListeningUnknown != nil {
			t.Fatal(err, s)
		}
		return s.Listening
	}
	if n := subscribers(); n != 0 {
		t.Errorf("%d subscribers before there is a Sentinel", n)
	}
	if err := v.Start(bounded(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Sentinel listens", func() bool { return subscribers() == 1 })
	list, err := c.Clients(bounded(t), func(o Client) bool { return strings.HasPrefix(o.Name, "sentinel-") })
	if err != nil || len(list) != 2 || list[0].Host != "127.0.0.1" || list[0].Subscribed == list[1].Subscribed {
		t.Errorf("connections %+v, %v", list, err)
	}
	for _, tt := range []struct {
		rename map[string]string
		want   string
	}{
		{nil, "[config role]"},
		{map[string]string{"config": "GUESS"}, "[role]"},
		{map[string]string{"config": "GUESS", "role": "rolle", "replicaof": "NONE"}, "[]"},
		{map[string]string{"config": "GUESS", "role": "rolle", "replicaof": "NONE", "slaveof": "NONE", "multi": "M"}, "[replicaof multi]"},
	} {
		to := target(t, r.Addr())
		to.Rename = tt.rename
		c := mustDial(t, &Dialer{}, to, "")
		s, err := c.Survey(bounded(t), "x", func(Client) bool { return true })
		if err != nil || fmt.Sprint(s.Lacks) != tt.want || s.LacksUnknown != nil {
			t.Errorf("%v: %+v, %v; it lacks %s", tt.rename, s, err, tt.want)
		}
		if class, err := c.Ping(bounded(t)); err != nil || class != detector.ReplyPong {
			t.Errorf("after that: %v, %v", class, err)
		}
	}
}

func TestRealAuth(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	locked := realRedis(t, s, stage.RedisOptions{Config: []string{
		"requirepass newpass",
		"user watcher on >w1 allchannels -@all +ping +auth +info +client|setname",
		"rename-command CONFIG cfg-x", "rename-command REPLICAOF follow-x", "rename-command MULTI multi-x",
	}})
	open := realRedis(t, s, stage.RedisOptions{})
	pass := raftfsm.NewSecret
	for _, c := range []struct {
		name string
		addr string
		set  func(*Target)
		want string // in the error of Dial or of PING, "" for neither
	}{
		{"right password", locked.Addr(), func(t *Target) { t.Pass = pass("newpass") }, ""},
		{"former password", locked.Addr(), func(t *Target) { t.Pass, t.FormerPass = pass("notyet"), pass("newpass") }, ""},
		{"both wrong", locked.Addr(), func(t *Target) { t.Pass, t.FormerPass = pass("s3cret1"), pass("s3cret2") }, "WRONGPASS"},
		{"user", locked.Addr(), func(t *Target) { t.User, t.Pass = "watcher", pass("w1") }, ""},
		{"unknown user", locked.Addr(), func(t *Target) { t.User, t.Pass = "nobody", pass("w1") }, "WRONGPASS"},
		{"no password", locked.Addr(), func(*Target) {}, "NOAUTH"},
		{"a password for an open one", open.Addr(), func(t *Target) { t.Pass = pass("s3cret1") }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := target(t, c.addr)
			c.set(&tg)
			conn, err := new(Dialer).Dial(bounded(t), tg, "sentineld-probe:n1")
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") ||
					CauseOf(err) != raftfsm.CauseAuth {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if class, err := conn.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
				t.Fatalf("%v, %v", class, err)
			}
		})
	}
	t.Run("rights", func(t *testing.T) {
		tg := target(t, locked.Addr())
		tg.User, tg.Pass = "watcher", pass("w1")
		c := mustDial(t, &Dialer{}, tg, "n")
		_, err := c.Role(bounded(t))
		if CauseOf(err) != raftfsm.CauseAuth {
			t.Errorf("ROLE without the right: %v", err)
		}
	})
	t.Run("renamed", func(t *testing.T) {
		tg := target(t, locked.Addr())
		tg.Pass = pass("newpass")
		tg.Rename = map[string]string{"config": "cfg-x", "replicaof": "follow-x", "multi": "multi-x"}
		c := mustDial(t, &Dialer{}, tg, "n")
		_, beside, err := c.Follow(bounded(t), raftfsm.Addr{Host: "127.0.0.1", Port: uint16(open.Port())}, false)
		if beside != nil || err != nil {
			t.Fatalf("follow: %v, %v", beside, err)
		}
		eventually(t, "the link", func() bool { return infoOf(t, c).InSync() })
		if info, err := c.Promote(bounded(t)); err != nil || info.Role != raftfsm.RoleMaster {
			t.Errorf("promote: %+v, %v", info, err)
		}
		if err := c.SaveConfig(bounded(t)); err != nil {
			t.Error(err)
		}
	})
}

func TestRealRewriteFails(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	r := realRedis(t, s, stage.RedisOptions{})
	if err := os.Remove(r.Dir() + "/redis.conf"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(r.Dir()+"/redis.conf", 0o700); err != nil {
		t.Fatal(err)
	}
	c := mustDial(t, &Dialer{}, target(t, r.Addr()), "n")
	err := c.SaveConfig(bounded(t))
	if err == nil || !strings.Contains(err.Error(), "config rewrite") {
		t.Error(err)
	}
	if _, ok := errors.AsType[ReplyError](err); !ok {
		t.Errorf("no ReplyError: %v", err)
	}
}

func TestRealFaults(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	r := realRedis(t, s, stage.RedisOptions{})
	c := mustDial(t, &Dialer{}, target(t, r.Addr()), "n")
	if err := r.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Ping(ctx); CauseOf(err) != raftfsm.CauseTimeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("frozen: %v", err)
	}
	if _, err := c.Ping(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("after a deadline: %v", err)
	}
	if err := r.Thaw(); err != nil {
		t.Fatal(err)
	}
	if class, err := c.PingLate(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Errorf("late: %v, %v", class, err)
	}
	if class, err := c.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Errorf("whole again: %v, %v", class, err)
	}
	if err := r.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-r.Ended()
	if _, err := c.Ping(bounded(t)); CauseOf(err) != raftfsm.CauseReset {
		t.Errorf("killed: %v", err)
	}
	if _, err := new(Dialer).Dial(bounded(t), target(t, r.Addr()), "n"); CauseOf(err) != raftfsm.CauseRefused {
		t.Errorf("dial: %v", err)
	}
}

func TestRealMaxClients(t *testing.T) {
	t.Parallel()
	r := realRedis(t, newStage(t), stage.RedisOptions{Config: []string{"maxclients 2"}})
	tg := target(t, r.Addr())
	first := mustDial(t, &Dialer{}, tg, "a")
	eventually(t, "a refusal", func() bool {
		c, err := new(Dialer).Dial(bounded(t), tg, "b")
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
			return false
		}
		return CauseOf(err) == raftfsm.CauseError || CauseOf(err) == raftfsm.CauseReset
	})
	if class, err := first.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Errorf("the open connection: %v, %v", class, err)
	}
}

func TestRealBusyScript(t *testing.T) {
	t.Parallel()
	r := realRedis(t, newStage(t), stage.RedisOptions{Config: []string{"busy-reply-threshold 10"}})
	tg := target(t, r.Addr())
	c := mustDial(t, &Dialer{}, tg, "n")
	script := mustDial(t, &Dialer{}, tg, "script")
	ended := make(chan error, 1)
	go func() {
		_, err := script.Do(t.Context(), "EVAL", "while true do end", "0")
		ended <- err
	}()
	eventually(t, "-BUSY", func() bool {
		class, err := c.Ping(bounded(t))
		return err == nil && class == detector.ReplyBusy
	})
	late := mustDial(t, &Dialer{}, tg, "late") // CLIENT SETNAME is refused: it serves for probes, not for control
	if class, err := late.Ping(bounded(t)); class != detector.ReplyBusy || err != nil {
		t.Errorf("%v, %v", class, err)
	}
	if _, err := c.Do(bounded(t), "SCRIPT", "KILL"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a script without end ended well")
	}
	if _, _, err := late.Follow(bounded(t), tg.Addr, false); err == nil || !strings.Contains(err.Error(), "cannot be fenced") {
		t.Errorf("an unnamed connection gave an order: %v", err)
	}
}

func TestRealSizePerConnection(t *testing.T) {
	t.Parallel()
	r := realRedis(t, newStage(t), stage.RedisOptions{})
	c := mustDial(t, &Dialer{}, target(t, r.Addr()), "n")
	infoOf(t, c)
	if _, err := c.Ping(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if kept := cap(c.in.buf) + cap(c.out); kept > 2*keptBuffer {
		t.Errorf("%d bytes of buffers at rest", kept)
	}
	if c.LocalAddr().(*net.TCPAddr).Port == 0 {
		t.Error(c.LocalAddr())
	}
}
