package fakeredis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Three instances are led through the same story, real ones and simulated ones, and at each stop everything that a
// monitor can read of them is compared.
const patience = 20 * time.Second

type actor struct {
	dial  instance.Dialer
	addrs [3]raftfsm.Addr
	names map[string]string // replication ids, in the order in which they were first seen
}

func (a *actor) connect(ctx context.Context, t *testing.T, k int) *instance.Conn {
	t.Helper()
	c, err := a.dial.Dial(ctx, instance.Target{Addr: a.addrs[k]}, "story")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// scene tells what instance k shows, without what differs from run to run: ids become letters, addresses numbers,
// offsets whether they are 0.
func (a *actor) scene(ctx context.Context, t *testing.T, k int) string {
	t.Helper()
	c := a.connect(ctx, t, k)
	i, err := c.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	role, err := c.Role(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Do(ctx, "INFO", "replication")
	if err != nil {
		t.Fatal(err)
	}
	number := func(host string, port int) int {
		return slices.Index(a.addrs[:], raftfsm.Addr{Host: host, Port: uint16(port)})
	}
	var replicas []string
	for _, r := range i.Replicas {
		replicas = append(replicas, fmt.Sprint(number(r.Addr.Host, int(r.Addr.Port)), r.State, r.Lag >= 0))
	}
	slices.Sort(replicas)
	second := "none"
	if i.SecondOffset >= 0 {
		second = fmt.Sprint(i.SecondOffset <= i.Offset+1)
	}
	return fmt.Sprintln("role", i.Role, "ids", a.letter(i.ReplID), a.letter(i.ReplID2), "second", second, "written", i.Offset > 1,
		"master", number(i.MasterHost, i.MasterPort), "up", i.MasterLinkUp, "down", i.MasterLinkDown >= 0, "io", i.MasterLastIO >= 0,
		"sync", i.SyncInProgress, "priority", i.Priority, "announced", i.ReplicaAnnounced, "failover", i.FailoverState,
		"replicas", replicas, "version", i.Version != "", "run", len(i.RunID), "loading", i.Loading,
		"| ROLE", role.Role, number(role.Master.Host, int(role.Master.Port)), role.Link, role.Offset > 1) +
		"fields " + strings.Join(fields(text.(string)), " ") + "\n"
}

func (a *actor) letter(id string) string {
	if id == noReplID {
		return "-"
	}
	if _, known := a.names[id]; !known {
		a.names[id] = string(rune('a' + len(a.names)))
	}
	return a.names[id]
}

// fields are the names in the order in which they come.
func fields(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, name)
		}
	}
	return names
}

func TestLikeRealRedis(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	genuine, write := realActor(ctx, t)
	fake, fakeWrite := fakeActor(t)
	await := func(a *actor, k int, ok func(*detector.Info) bool) {
		t.Helper()
		c := a.connect(ctx, t, k)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			i, err := c.Info(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if ok(i) {
				return
			}
			select {
			case <-ctx.Done():
				t.Fatalf("instance %d stays %+v", k, i)
			case <-tick.C:
			}
		}
	}
	up := func(i *detector.Info) bool { return i.InSync() }
	for _, act := range []struct {
		name string
		do   func(a *actor, write func())
	}{
		{"three fresh masters", func(*actor, func()) {}},
		{"1 and 2 follow 0", func(a *actor, write func()) {
			for k := 1; k < 3; k++ {
				follow(ctx, t, a, k, 0)
				await(a, k, up)
			}
			write()
			for k := range 3 {
				await(a, k, func(i *detector.Info) bool { return i.Offset > 1 && (k > 0 || online(i) == 2) })
			}
		}},
		{"1 is promoted", func(a *actor, _ func()) {
			if _, err := a.connect(ctx, t, 1).Promote(ctx); err != nil {
				t.Fatal(err)
			}
			await(a, 0, func(i *detector.Info) bool { return len(i.Replicas) == 1 })
		}},
		{"0 follows 1, by part", func(a *actor, _ func()) {
			follow(ctx, t, a, 0, 1)
			await(a, 0, up)
			await(a, 1, func(i *detector.Info) bool { return online(i) == 1 })
			await(a, 2, up) // it came with 0, and follows it on
			await(a, 0, func(i *detector.Info) bool { return online(i) == 1 })
		}},
		{"2 follows nobody who is there", func(a *actor, _ func()) {
			c := a.connect(ctx, t, 2)
			if _, _, err := c.Follow(ctx, raftfsm.Addr{Host: "127.0.0.1", Port: 1}, false); err != nil {
				t.Fatal(err)
			}
			await(a, 2, func(i *detector.Info) bool { return !i.MasterLinkUp })
			await(a, 0, func(i *detector.Info) bool { return online(i) == 0 })
		}},
		{"2 is promoted", func(a *actor, _ func()) {
			if _, err := a.connect(ctx, t, 2).Promote(ctx); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		act.do(genuine, write)
		act.do(fake, fakeWrite)
		for k := range 3 {
			if r, f := genuine.scene(ctx, t, k), fake.scene(ctx, t, k); r != f {
				t.Errorf("%s: instance %d\nreal %sfake %s", act.name, k, r, f)
			}
		}
	}
	sections(ctx, t, genuine, fake)
}

func online(i *detector.Info) (n int) {
	for _, r := range i.Replicas {
		if r.State == "online" {
			n++
		}
	}
	return n
}

func follow(ctx context.Context, t *testing.T, a *actor, k, master int) {
	t.Helper()
	if _, _, err := a.connect(ctx, t, k).Follow(ctx, a.addrs[master], false); err != nil {
		t.Fatal(err)
	}
}

// sections compares the fields of the other sections, of which the fake has a part, and the replies to wrong commands.
func sections(ctx context.Context, t *testing.T, genuine, fake *actor) {
	t.Helper()
	r, f := genuine.connect(ctx, t, 0), fake.connect(ctx, t, 0)
	for _, section := range []string{"server", "persistence"} {
		rt, err := r.Do(ctx, "INFO", section)
		if err != nil {
			t.Fatal(err)
		}
		ft, err := f.Do(ctx, "INFO", section)
		if err != nil {
			t.Fatal(err)
		}
		known := maps.Collect(slices.All(fields(rt.(string))))
		for _, name := range fields(ft.(string)) {
			if !slices.Contains(slices.Collect(maps.Values(known)), name) {
				t.Errorf("INFO %s: real Redis has no field %s", section, name)
			}
		}
	}
	for _, command := range []string{
		"FOO a b", "PING a b c", "REPLICAOF x", "REPLICAOF a 99999999", "EXEC", "DISCARD", "AUTH x", "AUTH u x", "CLIENT FOO",
		"CLIENT SETNAME a\tb", "CLIENT KILL 1.1.1.1:1", "CLIENT KILL ID 999999", "CONFIG FOO", "CONFIG SET nosuch 1",
		"CONFIG GET replica-priority", "SCRIPT KILL", "PUBLISH a b", "SUBSCRIBE", "PUBSUB NUMSUB a", "PUBSUB FOO",
		"COMMAND INFO nosuch", "COMMAND FOO", "EXEC -", "CLIENT PAUSE 1 WRITE", "CLIENT UNPAUSE",
		"CLIENT GETNAME", "PING hello", "REPLICAOF 127.0.0.1 1", "REPLICAOF 127.0.0.1 1", "MULTI", "MULTI", "FOO", "EXEC",
	} {
		args := strings.Split(command, " ")
		rr, rerr := r.Do(ctx, args...)
		fr, ferr := f.Do(ctx, args...)
		if fmt.Sprint(rr, rerr) != fmt.Sprint(fr, ferr) {
			t.Errorf("%s\nreal %v, %v\nfake %v, %v", command, rr, rerr, fr, ferr)
		}
	}
}

func realActor(ctx context.Context, t *testing.T) (*actor, func()) {
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
	a := &actor{names: map[string]string{}}
	for k := range a.addrs {
		r, err := s.Redis(stage.RedisOptions{Config: []string{"repl-ping-replica-period 3600"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(ctx); err != nil {
			t.Fatal(err)
		}
		a.addrs[k] = raftfsm.Addr{Host: "127.0.0.1", Port: uint16(r.Port())}
	}
	return a, func() {
		if _, err := a.connect(ctx, t, 0).Do(ctx, "SET", "k", "v"); err != nil {
			t.Fatal(err)
		}
	}
}

func fakeActor(t *testing.T) (*actor, func()) {
	t.Helper()
	n := NewNet()
	t.Cleanup(n.Close)
	a := &actor{names: map[string]string{}, dial: instance.Dialer{DialContext: n.DialContext}}
	for k := range a.addrs {
		a.addrs[k] = n.Add(fmt.Sprintf("127.0.0.1:%d", 7000+k)).Addr()
	}
	return a, func() { n.Instance(a.addrs[0]).Write(56) }
}
