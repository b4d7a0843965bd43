package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// A crashed master is replaced exactly once, by the replica that was selected, and follows when it returns.
func TestCrashFailover(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		play(t, nodes, func(t *testing.T, w *world) {
			w.start()
			w.addRedis(2)
			w.watch(nodes/2 + 1)
			w.instances[1].SetLag(500)
			w.pass(11 * time.Second)
			began := time.Now()
			w.instances[0].Crash()
			w.until("every node answers the new master", 5*time.Second, func() bool {
				for _, n := range w.nodes {
					if a, err := w.lookup(n); err != nil || a != address(3) {
						return false
					}
				}
				return true
			})
			if took := time.Since(began); took > downAfter+300*time.Millisecond {
				t.Errorf("%d nodes: the failover took %s", nodes, took)
			}
			w.converge(20 * time.Second)
			w.instances[0].Restart(false)
			w.converge(20 * time.Second)
			w.rest(time.Minute)
			w.converge(0)
			m := w.master(w.nodes[0])
			if len(m.History) != 1 || m.History[0].Outcome != raftfsm.OutcomeCompleted || m.History[0].To != address(3) || m.Epoch != 1 {
				t.Errorf("%d nodes:\n%s", nodes, w.describe())
			}
			promotions := 0
			for _, c := range w.controls(0) {
				if len(c.Args) == 3 && c.Args[1] == "NO" {
					promotions++
				}
			}
			if promotions != 1 {
				t.Errorf("%d nodes: %d promotions\n%s", nodes, promotions, w.describe())
			}
		})
	}
}

// When all nodes die before the candidate was promoted and come back to a master that lives, nothing is promoted.
func TestNodesDieInsideAFailover(t *testing.T) {
	for _, c := range []struct {
		name string
		when func(m *raftfsm.Master) bool
		row  bool
	}{
		{"after +odown", func(m *raftfsm.Master) bool { return m.IsODown() }, false},
		{"after BeginFailover", func(m *raftfsm.Master) bool { return m.Failover != nil }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			world3(t, func(t *testing.T, w *world) {
				w.instances[0].Hang()
				w.pass(downAfter / 2)
				if c.row { // or the candidate would be promoted in the moment in which its row begins
					w.pass(downAfter/2 - 20*time.Millisecond)
					w.instances[1].Hang()
					w.instances[2].Hang()
				}
				w.catch(c.name, 5*time.Second, func() bool {
					for _, n := range w.nodes {
						if c.when(w.master(n)) {
							return true
						}
					}
					return false
				})
				w.killAll()
				for _, i := range w.instances {
					i.Resume()
				}
				time.Sleep(time.Hour)
				for _, n := range w.nodes {
					n.start()
				}
				w.leader()
				w.converge(time.Minute)
				w.rest(time.Minute)
				w.converge(0)
				m := w.master(w.nodes[0])
				if m.Address != address(1) || m.Epoch != 0 {
					t.Errorf("a switch was committed:\n%s", w.describe())
				}
				if c.row && len(m.History) != 1 {
					t.Errorf("%d rows have ended, want 1:\n%s", len(m.History), w.describe())
				}
				for _, f := range m.History {
					if f.Outcome != raftfsm.OutcomeAborted {
						t.Errorf("the row ended as %v:\n%s", f.Outcome, w.describe())
					}
				}
				if got := w.controls(0); len(got) != 0 {
					t.Errorf("commands: %v", got)
				}
			})
		})
	}
}

// What one node alone cannot reach is that node's business, and leadership moves away from it at a bounded rate.
func TestOneNodeCannotReachTheMaster(t *testing.T) {
	for _, leads := range []bool{false, true} {
		world3(t, func(t *testing.T, w *world) {
			leader := w.leader()
			blind := leader
			if !leads {
				blind = w.others(leader)[0]
			}
			w.lostTo(blind, address(1), true)
			w.pass(downAfter + 500*time.Millisecond)
			for _, n := range w.nodes {
				if votes := w.master(n).VotesAgainst(address(1)); len(votes) != 1 || votes[0].Node != blind.Status().RaftID {
					t.Errorf("leads %v: n%d has votes %+v", leads, n.number, votes)
				}
			}
			changes, term := 0, leader.Status().Term
			for range 120 {
				w.rest(time.Second)
				if now := w.freshest().Status().Term; now != term {
					changes, term = changes+1, now
				}
			}
			if odown := w.events(leader, raftfsm.EventODown); len(odown) != 0 || w.master(leader).Failover != nil {
				t.Errorf("leads %v: objectively down on one vote:\n%s", leads, w.describe())
			}
			if changes > 2 || leads && changes == 0 {
				t.Errorf("leads %v: leadership changed %d times in two minutes", leads, changes)
			}
			if leads && w.leader() == blind {
				t.Error("the node that cannot reach the master still leads")
			}
			w.instances[0].Crash()
			w.until("a failover", 5*time.Second, func() bool { return w.master(leader).Address != address(1) })
			w.instances[0].Restart(false)
			w.lostTo(blind, address(1), false)
			w.converge(time.Minute)
		})
	}
}

// A node without a majority changes nothing and tells what it knew, also after a restart of its own.
func TestTwoOfThreeNodesDead(t *testing.T) {
	world3(t, func(t *testing.T, w *world) {
		w.instances[0].Crash()
		w.until("a failover", 5*time.Second, func() bool { return w.master(w.nodes[0]).Address != address(1) })
		w.instances[0].Restart(false)
		w.converge(time.Minute)
		second := w.master(w.nodes[0]).Address
		survivor := w.others(w.leader())[0]
		for _, n := range w.others(survivor) {
			n.crash()
		}
		w.redis.Instance(second).Crash()
		quiet := len(w.redis.Log())
		knows := func(when string) {
			t.Helper()
			w.until("it answers "+when, 10*time.Second, func() bool {
				got, err := w.lookup(survivor)
				if err == nil && got != second {
					t.Fatalf("%s: it answers %s, it answered %s before", when, got, second)
				}
				return err == nil
			})
		}
		for range 60 {
			w.rest(10 * time.Second)
			knows("alone")
		}
		index := survivor.State().Index()
		survivor.restart()
		knows("after a restart")
		if now := survivor.State().Index(); now < index {
			t.Errorf("after a restart it tells index %d, it told %d before", now, index)
		}
		w.rest(time.Minute)
		if got := w.controls(quiet); len(got) != 0 {
			t.Errorf("without a majority: %v", got)
		}
		if _, err := w.ask(survivor, "SENTINEL", "SET", "m", "quorum", "1"); err == nil {
			t.Error("a change was accepted without a majority")
		}
		for _, n := range w.others(survivor) {
			n.start()
		}
		w.until("the failover that is due", 30*time.Second, func() bool { return w.master(survivor).Address != second })
		w.redis.Instance(second).Restart(false)
		w.converge(time.Minute)
	})
}

// A leader on the master's side of a partition, without a majority, touches no Redis; the others fail over.
func TestLeaderIsolatedWithTheMaster(t *testing.T) {
	world3(t, func(t *testing.T, w *world) {
		old := w.leader()
		rest := w.others(old)
		w.separate([]*simNode{old}, rest)
		for _, n := range rest {
			w.lostTo(n, address(1), true)
		}
		for _, in := range w.instances[1:] {
			w.lostTo(old, in.Addr(), true)
			w.redis.Drop(in.Addr().Host, address(1))
		}
		before := len(w.redis.Log())
		w.until("the majority fails over", 15*time.Second, func() bool { return w.master(rest[0]).Address != address(1) })
		if _, err := w.ask(old, "SENTINEL", "SET", "m", "parallel-syncs", "2"); err == nil {
			t.Error("the minority accepted a change")
		}
		w.rest(3 * time.Minute)
		for _, c := range w.controls(before) {
			if c.Host == old.host {
				t.Errorf("the minority's leader sent %v to %s", c.Args, c.Instance)
			}
		}
		if at, err := w.lookup(old); err != nil || at != address(1) {
			t.Errorf("the minority answers %v %v", at, err)
		}
		w.rejoin([]*simNode{old}, rest)
		for _, n := range rest {
			w.lostTo(n, address(1), false)
		}
		for _, in := range w.instances[1:] {
			w.lostTo(old, in.Addr(), false)
			w.redis.Heal(in.Addr().Host, address(1))
		}
		w.converge(time.Minute)
		if m := w.master(old); m.Epoch != 1 || len(m.History) != 1 {
			t.Errorf("after healing:\n%s", w.describe())
		}
	})
}

// A link that comes and goes is no failure while each pause is shorter than down-after.
func TestFlappingLink(t *testing.T) {
	world3(t, func(t *testing.T, w *world) {
		r := random(t, 6)
		w.must(w.nodes[0], "SENTINEL", "SET", "m", "down-after-milliseconds", "3200")
		w.pass(15 * time.Second)
		before, index := goroutines(), w.nodes[0].State().Index()
		limit := time.Duration(minutes(3)) * time.Minute
		for began := time.Now(); time.Since(began) < limit; {
			w.redis.Drop("*", address(1))
			w.rest(300*time.Millisecond + r.Duration(2700*time.Millisecond))
			w.redis.Heal("*", address(1))
			w.rest(300*time.Millisecond + r.Duration(2700*time.Millisecond))
		}
		w.pass(15 * time.Second)
		if n := len(w.events(w.nodes[0], raftfsm.EventSDown)); n != 0 || w.master(w.nodes[0]).Address != address(1) {
			t.Errorf("%d reports of pauses shorter than down-after:\n%s", n, w.describe())
		}
		if grown := w.nodes[0].State().Index() - index; grown > 200 {
			t.Errorf("%d entries were written for nothing", grown)
		}
		if after := goroutines(); after > before+10 {
			t.Errorf("%d goroutines before, %d after", before, after)
		}
		w.converge(time.Minute)
	})
}

// A master that is really away again and again makes one failover for each time it was away for down-after, none beside,
// and what is kept of them is bounded.
func TestFlappingBeyondDownAfter(t *testing.T) {
	world3(t, func(t *testing.T, w *world) {
		r := random(t, 61)
		before, outages := goroutines(), 0
		limit := time.Duration(minutes(2)) * time.Minute
		for began := time.Now(); time.Since(began) < limit; {
			at := w.master(w.nodes[0]).Address
			away := 300*time.Millisecond + r.Duration(2700*time.Millisecond)
			if away >= downAfter {
				outages++
			}
			w.redis.Drop("*", at)
			w.rest(away)
			w.redis.Heal("*", at)
			w.rest(300*time.Millisecond + r.Duration(2700*time.Millisecond))
		}
		w.converge(time.Minute)
		w.pass(15 * time.Second)
		if failovers := int(w.master(w.nodes[0]).Epoch); failovers > outages || failovers == 0 {
			t.Errorf("%d failovers for %d outages", failovers, outages)
		}
		if after := goroutines(); after > before+10 {
			t.Errorf("%d goroutines before, %d after", before, after)
		}
		for _, n := range w.nodes {
			if size := n.size(); size > 32<<20 {
				t.Errorf("n%d: dir holds %d bytes", n.number, size)
			}
			if events := len(w.events(n, "")); events > raftfsm.RingSize {
				t.Errorf("n%d: %d events are kept", n.number, events)
			}
		}
	})
}

// A password that every instance rejects is no failure of Redis: it is told everywhere, and nothing is done.
func TestWrongPassword(t *testing.T) {
	world3(t, func(t *testing.T, w *world) {
		for _, in := range w.instances {
			in.SetAuth("", "right")
			in.Restart(false)
		}
		before := len(w.redis.Log())
		w.rest(time.Minute)
		for _, n := range w.nodes {
			m := w.master(n)
			if m.IsODown() || m.Failover != nil || m.Epoch != 0 {
				t.Errorf("n%d:\n%s", n.number, w.describe())
			}
			votes := m.VotesAgainst(address(1))
			if len(votes) != 3 {
				t.Errorf("n%d: votes %+v", n.number, votes)
			}
			for _, v := range votes {
				if v.Cause != raftfsm.CauseAuth {
					t.Errorf("n%d: cause %v", n.number, v.Cause)
				}
			}
			fields := map[string]string{}
			reply := w.must(n, "SENTINEL", "MASTER", "m").([]any)
			for i := 0; i+1 < len(reply); i += 2 {
				fields[fmt.Sprint(reply[i])] = fmt.Sprint(reply[i+1])
			}
			if flags := fields["flags"]; !strings.Contains(flags, "disconnected") || strings.Contains(flags, "o_down") {
				t.Errorf("n%d: flags %s", n.number, flags)
			}
		}
		if got := w.controls(before); len(got) != 0 {
			t.Errorf("commands: %v", got)
		}
		w.must(w.nodes[0], "SENTINEL", "SET", "m", "auth-pass", "right")
		w.until("all is well", 30*time.Second, func() bool { return len(w.master(w.nodes[0]).Votes) == 0 })
		w.pass(15 * time.Second)
		w.instances[0].Crash()
		w.until("a failover", 5*time.Second, func() bool { return w.master(w.nodes[0]).Address != address(1) })
		w.instances[0].Restart(false)
		w.converge(time.Minute)
	})
}

// A node that was away for minutes has what it missed within a second of its return, and counts for a majority again.
func TestReturningNodeCatchesUp(t *testing.T) {
	for _, away := range []time.Duration{45 * time.Second, 4 * time.Minute} {
		world3(t, func(t *testing.T, w *world) {
			leader := w.leader()
			one, other := w.others(leader)[0], w.others(leader)[1]
			one.crash()
			w.pass(time.Second)
			w.must(leader, "SENTINEL", "SET", "m", "parallel-syncs", "2")
			w.rest(away)
			one.start()
			w.until("it has what it missed", 1500*time.Millisecond, func() bool { return one.State().Index() >= leader.State().Index() })
			other.crash()
			began := time.Now()
			w.must(leader, "SENTINEL", "SET", "m", "parallel-syncs", "3")
			if took := time.Since(began); took > time.Second {
				t.Errorf("away for %s: a change took %s", away, took)
			}
			other.start()
			w.converge(time.Minute)
		})
	}
}

// An old master that was frozen and comes back while the present one is down for a moment is not made the master again:
// that would undo a committed switch, and lose what was written since.
func TestOldMasterIsNoHeir(t *testing.T) {
	world3(t, func(t *testing.T, w *world) {
		failOver := func(down func(*fakeredis.Instance)) (from, to *fakeredis.Instance) {
			t.Helper()
			from = w.redis.Instance(w.master(w.nodes[0]).Address)
			down(from)
			w.until("a failover", 5*time.Second, func() bool { return w.master(w.nodes[0]).Address != from.Addr() })
			to = w.redis.Instance(w.master(w.nodes[0]).Address)
			to.SetWriteRate(100)
			return from, to
		}
		first, _ := failOver((*fakeredis.Instance).Crash)
		first.Restart(false)
		w.converge(time.Minute)
		w.pass(15 * time.Second)
		frozen, present := failOver((*fakeredis.Instance).Hang)
		w.pass(10 * time.Second)
		for _, in := range w.instances {
			if in != frozen {
				in.Crash()
			}
		}
		w.pass(2 * downAfter)
		frozen.Resume()
		w.rest(2 * time.Minute)
		if m := w.master(w.nodes[0]); m.Address != present.Addr() {
			t.Fatalf("%s is the master, which was replaced by %s:\n%s", m.Address, present.Addr(), w.describe())
		}
		present.Restart(false)
		w.until("the master is well", 10*time.Second, func() bool { return len(w.master(w.nodes[0]).VotesAgainst(present.Addr())) == 0 })
		for _, in := range w.instances {
			if in != frozen && in != present {
				in.Restart(false)
			}
		}
		w.converge(time.Minute)
		if m := w.master(w.nodes[0]); m.Address != present.Addr() {
			t.Errorf("%s is the master in the end, want %s:\n%s", m.Address, present.Addr(), w.describe())
		}
	})
}
