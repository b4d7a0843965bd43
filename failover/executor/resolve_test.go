package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func (w *world) lookUp(ctx context.Context, host string) ([]string, error) {
	w.mu.Lock()
	ips, known := w.hosts[host]
	w.lookups = append(w.lookups, host)
	w.mu.Unlock()
	switch {
	case !known:
		return nil, errors.New("no such host")
	case ips == nil:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return ips, nil
}

// resolves has a name resolve to addresses from now on.
func (w *world) resolves(host string, ips ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[host] = ips
}

// lookedUp tells how often a name was looked up.
func (w *world) lookedUp(host string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.lookups {
		if h == host {
			n++
		}
	}
	return n
}

func (w *world) resolutions() int {
	return w.count(func(c *raftlogv1.Command) bool { return c.GetResolveHosts() != nil })
}

func named(host string) raftfsm.Addr { return raftfsm.Addr{Host: host, Port: 6379} }

// watch puts a master under watch that nobody needs to reach.
func (w *world) watch(name, host string) {
	w.t.Helper()
	w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
		Name: name, Address: named(host).Proto(), Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "2"}},
	}}})
}

func (w *world) told(host string) string { return w.nodes["a"].State().Told(named(host)).Host }

func TestHostNamesAreResolvedAndCommitted(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		const host = "redis.example"
		w.resolves(host, "not an address", "127.0.1.1", "fe80::1%eth0", "::1", "10.1.0.9", "fd00::1", "10.1.0.1")
		w.watch("m", host)
		w.lead("a", nil)
		w.until("committed", 100*time.Millisecond, func() bool { return w.told(host) == "10.1.0.9" })
		for _, step := range []struct {
			what    string
			do      func()
			want    string
			commits int
		}{
			{"nothing happens", func() {}, "10.1.0.9", 0},
			{"another comes first", func() { w.resolves(host, "10.0.0.1", "10.1.0.9") }, "10.1.0.9", 0},
			{"it has gone", func() { w.resolves(host, "10.0.0.8", "10.0.0.7") }, "10.0.0.8", 1},
			{"loopback alone", func() { w.resolves(host, "127.0.1.1", "::ffff:127.0.0.1") }, "10.0.0.8", 0},
			{"no answer", func() { w.resolves(host) }, "10.0.0.8", 0},
			{"nothing usable", func() { w.resolves(host, "rubbish") }, "10.0.0.8", 0},
			{"an answer again", func() { w.resolves(host, "::ffff:10.2.0.1") }, "10.2.0.1", 1},
			{"IPv6 alone", func() { w.resolves(host, "FD00:0::1") }, "fd00::1", 1},
		} {
			commits, lookups := w.resolutions(), w.lookedUp(host)
			step.do()
			w.pass(3 * resolveEvery)
			if got := w.told(host); got != step.want {
				t.Errorf("%s: told %s, want %s", step.what, got, step.want)
			}
			if got := w.resolutions() - commits; got != step.commits {
				t.Errorf("%s: %d commits, want %d", step.what, got, step.commits)
			}
			// A commit changes the set, which looks once more.
			if got := w.lookedUp(host) - lookups; got < 2 || got > 4+step.commits {
				t.Errorf("%s: looked up %d times", step.what, got)
			}
		}
	})
}

// On one machine all loopback addresses are good, and elsewhere those of localhost; what others can reach is better.
func TestLoopbackAnswers(t *testing.T) {
	for _, c := range []struct {
		name, host, server string
		want               bool
	}{
		{"one machine", "redis.example", "127.0.0.1:7000", false},
		{"more machines", "redis.example", "10.0.0.1:7000", true},
		{"a member known by name", "redis.example", "node-a:7000", true},
		{"localhost", "LocalHost", "10.0.0.1:7000", false},
	} {
		st := raftfsm.ApplyServers(raftfsm.New(), 1, []raftfsm.Server{{ID: "a", Address: "127.0.0.1:1"}, {ID: "b", Address: c.server}})
		if got := foreign(c.host, st); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	for _, c := range []struct {
		committed string
		ips       []string
		want      string
	}{
		{"", []string{"127.0.1.1", "10.0.0.1"}, "127.0.1.1"},
		{"127.0.0.1", []string{"127.0.1.1"}, "127.0.1.1"},
		{"127.0.0.1", []string{"10.0.0.1", "127.0.0.1"}, ""},
		{"10.0.0.1", []string{"127.0.1.1"}, ""},
		{"10.0.0.1", []string{"127.0.1.1", "10.0.0.2"}, "10.0.0.2"},
	} {
		if got := pick(c.committed, c.ips); got != c.want {
			t.Errorf("%s, then %v: %q, want %q", c.committed, c.ips, got, c.want)
		}
	}
}

// An instance that joins is not kept waiting for the next round, nor by a name that never gets an answer.
func TestANewHostNameIsResolvedAtOnce(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.resolves("silent.example")
		w.watch("m", "silent.example")
		w.lead("a", nil)
		w.pass(resolveEvery + 5*time.Second)
		w.resolves("b.example", "10.1.0.2")
		w.watch("n", "b.example")
		w.until("the set of another name", 50*time.Millisecond, func() bool { return w.told("b.example") == "10.1.0.2" })
		// The same host at another port, a moment after it was looked up.
		m, _ := w.nodes["a"].State().Master("n")
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
			Master: "n", Generation: m.Generation, Instances: []*raftlogv1.InstanceFacts{{Address: &raftlogv1.Address{Host: "b.example", Port: 7000}}},
		}}})
		other := raftfsm.Addr{Host: "b.example", Port: 7000}
		w.until("the replica", 50*time.Millisecond, func() bool { return w.nodes["a"].State().Told(other).Host == "10.1.0.2" })
		if got := w.lookedUp("b.example"); got != 1 {
			t.Errorf("a host was looked up %d times in one second", got)
		}
		if got := w.told("silent.example"); got != "silent.example" {
			t.Errorf("told %s of a name without an address", got)
		}
	})
}

// Many names that never get an answer hold up neither each other for long, nor a failover.
func TestSilentResolverHoldsUpNothingElse(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		for i := range 3 * resolveParallel {
			host := fmt.Sprint("silent-", i, ".example")
			w.resolves(host)
			w.watch(fmt.Sprint("m", i), host)
		}
		w.lead("a", nil)
		w.pass(11 * time.Second)
		all[0].Crash()
		w.until("switched", 1200*time.Millisecond, func() bool { return w.master().Address != addr(1) })
		w.mu.Lock()
		slices.Sort(w.lookups)
		asked := len(slices.Compact(w.lookups))
		w.mu.Unlock()
		if asked != 3*resolveParallel {
			t.Errorf("%d names were looked up", asked)
		}
	})
}

func TestOnlyTheLeaderResolves(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		const host = "redis.example"
		w.resolves(host, "10.1.0.1")
		w.watch("m", host)
		end := w.lead("a", nil)
		w.until("committed", time.Second, func() bool { return w.told(host) == "10.1.0.1" })
		end()
		w.depose()
		w.pass(time.Second)
		w.resolves(host, "10.1.0.2")
		before := w.lookedUp(host)
		w.pass(3 * resolveEvery)
		if got := w.lookedUp(host); got != before || w.told(host) != "10.1.0.1" {
			t.Errorf("looked up %d times without a leader, told %s", got-before, w.told(host))
		}
		w.lead("b", nil)
		w.until("the next leader", time.Second, func() bool { return w.told(host) == "10.1.0.2" })
	})
}

func TestNothingIsResolvedBelowTheLevel(t *testing.T) {
	playAt(t, 1, func(t *testing.T, w *world) {
		const host = "redis.example"
		w.resolves(host, "10.1.0.1")
		w.watch("m", host)
		w.lead("a", nil)
		w.pass(3 * resolveEvery)
		if w.lookedUp(host) != 0 || w.told(host) != host {
			t.Errorf("looked up %d times, told %s", w.lookedUp(host), w.told(host))
		}
		for _, id := range []string{"a", "b", "c"} {
			w.must(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: id, NodeId: "node-" + id, MaxLevel: 2}}})
		}
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: 2}}})
		w.until("the cluster is upgraded", time.Second, func() bool { return w.told(host) == "10.1.0.1" })
	})
}
