package failover_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// codes are those of blockers, each of which must say something.
func codes(t *testing.T, all []failover.Blocker) []string {
	t.Helper()
	var out []string
	for _, b := range all {
		if b.Detail == "" {
			t.Errorf("%s says nothing", b.Code)
		}
		out = append(out, b.Code)
	}
	return out
}

// set gives an option of the master its value.
func set(s *scene, name, value string) {
	s.t.Helper()
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{Name: "m", Options: []*raftlogv1.OptionValue{{Name: name, Value: value}}}}})
}

// Everything that stands in the way is told by its code: of a failover first, then of a switchover.
func TestBlockers(t *testing.T) {
	see := func(n int, change func(*scene, *detector.Observation)) func(*scene) {
		return func(s *scene) { s.see(addr(n), func(o *detector.Observation) { change(s, o) }) }
	}
	info := func(n int, change func(i *detector.Info)) func(*scene) {
		return see(n, func(_ *scene, o *detector.Observation) { change(o.Info) })
	}
	listed := func(state string, offset int64) func(*scene) {
		return info(1, func(i *detector.Info) {
			i.Replicas = []detector.ReplicaLine{{Addr: addr(2), State: state, Offset: offset}}
		})
	}
	pause := &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "disks"}}}
	type list = []string
	for _, c := range []struct {
		name       string
		replicas   int
		do         func(*scene)
		failover   list
		switchover list
	}{
		{"nothing", 1, func(*scene) {}, nil, nil},
		{"paused: a switchover by hand stays possible", 1, func(s *scene) { s.apply(pause) }, list{"paused"}, nil},
		{"held", 1, func(s *scene) {
			s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: "m", Generation: s.master().Generation, Reason: "two masters"}}})
		}, list{"held"}, list{"held"}},
		{"under way", 1, func(s *scene) {
			s.down(addr(1), "a", "b")
			s.begin()
		}, list{"in_progress"}, list{"in_progress", "master_down"}},
		{"no replica", 0, func(*scene) {}, list{"no_replica"}, list{"no_replica"}},
		{"none is good", 1, info(2, func(i *detector.Info) { i.Priority = 0 }), list{"no_good_replica"}, list{"no_good_replica"}},
		{"another lineage", 1, info(2, func(i *detector.Info) { i.ReplID = foreignID }), list{"lineage"}, list{"lineage"}},
		{"quorum", 1, func(s *scene) { set(s, "quorum", "4") }, list{"quorum_impossible"}, nil},
		{"unheard", 1, func(s *scene) { s.v.Heard = list{"a"} }, list{"voters_unheard"}, list{"voters_unheard"}},
		{"a majority is heard, the quorum is not", 1, func(s *scene) {
			set(s, "quorum", "3")
			s.v.Heard = list{"a", "b"}
		}, list{"voters_unheard"}, nil},
		{"who hears a leader knows of a majority", 1, func(s *scene) { s.v.Heard, s.v.Leader = nil, "b" }, nil, nil},
		{"and of no more", 1, func(s *scene) {
			set(s, "quorum", "3")
			s.v.Heard, s.v.Leader = nil, "b"
		}, list{"voters_unheard"}, nil},
		{"who hears none knows of itself", 1, func(s *scene) { s.v.Heard = nil }, list{"no_leader"}, list{"no_leader"}},
		{"given up", 1, func(s *scene) {
			s.down(addr(1), "a", "b")
			s.v.Memory.Again, s.v.Memory.Aborted = s.now.Add(time.Second), 1
		}, list{"backoff"}, list{"master_down"}},
		{"by votes that nobody stands by", 1, func(s *scene) {
			s.down(addr(1), "a", "b")
			s.v.Renewed = map[string]bool{"a": true}
		}, list{"votes_unconfirmed"}, list{"master_down"}},
		{"who does not lead confirms none", 1, func(s *scene) {
			s.down(addr(1), "a", "b")
			s.v.Renewed, s.v.Heard, s.v.Leader = nil, nil, "b"
		}, nil, list{"master_down"}},
		{"brake", 1, func(s *scene) { s.v.Braked = "it doubts itself" }, list{"brake"}, nil},
		{"the master is down for this node", 1, func(s *scene) { s.down(addr(1), "a") }, nil, list{"master_down"}},
		{"the master rejects us", 1, see(1, func(_ *scene, o *detector.Observation) { o.AuthRejected = true }), nil, list{"master_down"}},
		{"the master was never read", 1, see(1, func(_ *scene, o *detector.Observation) { o.Info = nil }), nil, list{"master_unseen"}},
		{"the master was read long ago", 1, see(1, func(s *scene, o *detector.Observation) { o.InfoAt = s.now.Add(-time.Minute) }), nil, list{"master_unseen"}},
		{"the master says that it is a replica", 1, info(1, func(i *detector.Info) { i.Role = raftfsm.RoleReplica }), nil, list{"master_role"}},
		{"the master loads", 1, info(1, func(i *detector.Info) { i.Loading = true }), nil, list{"master_loading"}},
		{"the master moves by itself", 1, info(1, func(i *detector.Info) { i.FailoverState = "waiting-for-sync" }), nil, list{"master_busy"}},
		{"it does not", 1, info(1, func(i *detector.Info) { i.FailoverState = "no-failover" }), nil, nil},
		{"the link is down", 1, info(2, func(i *detector.Info) { i.MasterLinkUp, i.MasterLinkDown = false, time.Second }), nil, list{"no_good_replica"}},
		{"a full copy", 1, info(2, func(i *detector.Info) { i.SyncInProgress = true }), list{"no_good_replica"}, list{"no_good_replica"}},
		{"online", 1, listed("online", 1000), nil, nil},
		{"not online", 1, listed("wait_bgsave", 0), nil, list{"no_good_replica"}},
		{"lags by the bound", 1, info(1, func(i *detector.Info) { i.Offset += 64 << 20 }), nil, nil},
		{"lags by more", 1, info(1, func(i *detector.Info) { i.Offset += 64<<20 + 1 }), nil, list{"no_good_replica"}},
		{"saves", 1, info(2, func(i *detector.Info) { i.Saving = true }), nil, list{"saving"}},
		{"rewrites its AOF", 1, info(2, func(i *detector.Info) { i.Rewriting = true }), nil, list{"saving"}},
		{"saves beside one that is no good", 2, func(s *scene) {
			info(3, func(i *detector.Info) { i.MasterLinkUp = false })(s)
			info(2, func(i *detector.Info) { i.Saving = true })(s)
		}, nil, list{"saving"}},
		{"saves and lags: to wait is not enough", 1, func(s *scene) {
			info(1, func(i *detector.Info) { i.Offset += 64<<20 + 1 })(s)
			info(2, func(i *detector.Info) { i.Saving = true })(s)
		}, nil, list{"no_good_replica"}},
		{"the master saves", 1, info(1, func(i *detector.Info) { i.Saving, i.Rewriting = true, true }), nil, nil},
		{"the master has begun another history", 1, info(1, func(i *detector.Info) { i.ReplID = foreignID }), nil, list{"lineage"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, c.replicas)
			s.raise(raftfsm.Level)
			c.do(s)
			e := failover.Explain(s.view())
			if got := codes(t, e.Failover); !slices.Equal(got, c.failover) {
				t.Errorf("failover: %v, want %v", e.Failover, c.failover)
			}
			if got := codes(t, e.Switchover); !slices.Equal(got, c.switchover) {
				t.Errorf("switchover: %v, want %v", e.Switchover, c.switchover)
			}
			for _, x := range slices.Concat(e.Choice.Candidates, e.Planned.Candidates) {
				if x.Chosen != (x.Rejection == "") {
					t.Errorf("%+v", x)
				}
			}
		})
	}
	s := newScene(t, 1)
	if _, b := failover.Preflight(s.view(), raftfsm.Addr{}); !slices.Equal(codes(t, b), list{"feature_level"}) {
		t.Errorf("at level 1: %v", b)
	}
}

// What ckquorum says is by whom the asked node knows to be heard.
func TestCheckQuorum(t *testing.T) {
	s := newScene(t, 1)
	for _, c := range []struct {
		self, leader string
		heard        []string
		ok           bool
		text         string
	}{
		{"a", "a", []string{"a", "b", "c", "stranger"}, true, "3 usable Sentinels. Quorum and failover authorization can be reached"},
		{"a", "b", nil, true, "2 usable Sentinels. Quorum and failover authorization can be reached"},
		{"a", "a", []string{"a"}, false, "1 usable Sentinels. Not enough available Sentinels to reach the specified quorum for this master. " +
			"Not enough available Sentinels to reach the majority and authorize a failover"},
		{"a", "", nil, false, "1 usable Sentinels. Not enough available Sentinels to reach the specified quorum for this master. " +
			"Not enough available Sentinels to reach the majority and authorize a failover"},
		{"observer", "", nil, false, "0 usable Sentinels. Not enough available Sentinels to reach the specified quorum for this master. " +
			"Not enough available Sentinels to reach the majority and authorize a failover"},
	} {
		got := failover.CheckQuorum(failover.Usable(s.st, c.self, c.leader, c.heard), s.st.Voters(), s.master().Options.Quorum)
		if got.OK() != c.ok || got.Text() != c.text {
			t.Errorf("%+v: %t %q", c, got.OK(), got.Text())
		}
	}
}

// A switchover takes whom it was told to, or nobody; and where the best of a failover is not fit for it, the next.
func TestPreflightChooses(t *testing.T) {
	s := newScene(t, 2)
	s.raise(raftfsm.Level)
	s.see(addr(2), func(o *detector.Observation) { o.Info.MasterLinkUp, o.Info.MasterLinkDown = false, time.Second })
	v := s.view()
	for _, c := range []struct {
		to, best raftfsm.Addr
		codes    []string
	}{
		{raftfsm.Addr{}, addr(3), nil},
		{addr(3), addr(3), nil},
		{addr(2), raftfsm.Addr{}, []string{"no_good_replica"}},
		{addr(9), raftfsm.Addr{}, []string{"no_good_replica"}},
		{addr(1), raftfsm.Addr{}, []string{"no_good_replica"}},
	} {
		sel, b := failover.Preflight(v, c.to)
		if sel.Best != c.best || sel.OK == c.best.IsZero() || !slices.Equal(codes(t, b), c.codes) {
			t.Errorf("to %s: best %s, %v; want %s, %v", c.to, sel.Best, b, c.best, c.codes)
		}
	}
	if best := failover.Select(v, raftfsm.Addr{}).Best; best != addr(2) {
		t.Errorf("a failover would take %s", best)
	}
}

// A switchover waits for a save, or takes the next best; a failover of a master that is down does not ask.
func TestASaveHoldsOnlyASwitchoverBack(t *testing.T) {
	s := newScene(t, 2)
	s.raise(raftfsm.Level)
	s.see(addr(2), func(o *detector.Observation) { o.Info.Saving, o.Info.Offset = true, 1001 })
	if sel, b := failover.Preflight(s.view(), raftfsm.Addr{}); sel.Best != addr(3) || b != nil {
		t.Errorf("%s, %v", sel.Best, b)
	}
	sel, b := failover.Preflight(s.view(), addr(2))
	if sel.OK || len(b) != 1 || b[0].Code != failover.BlockSaving || !strings.Contains(b[0].Detail, "wait until") {
		t.Errorf("ordered: %v", b)
	}
	s.down(addr(1), "a", "b")
	if row := s.begin(); row.To != addr(2) {
		t.Errorf("a failover takes %s", row.To)
	}
}

// How far a replica is behind is told by what was seen of both, in one history, and never guessed.
func TestBehind(t *testing.T) {
	for _, c := range []struct {
		name      string
		do        func(m, r *detector.Observation)
		bytes, ms int64
		loss      raftfsm.Loss
	}{
		{"equal", func(_, _ *detector.Observation) {}, 0, 2000, raftfsm.Loss{Kind: raftfsm.LossLowerBound}},
		{"behind", func(m, _ *detector.Observation) { m.Info.Offset = 1400 }, 400, 2000, raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 400}},
		{"ahead of what was read of the master", func(_, r *detector.Observation) { r.Info.Offset = 1100 }, -1, 2000, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{"the master was read later, and is behind", func(m, r *detector.Observation) {
			r.Info.Offset, m.InfoAt = 1100, m.InfoAt.Add(50*time.Millisecond)
		}, -1, 2050, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{"the master was read long before, and the replica has come far", func(m, r *detector.Observation) {
			m.InfoAt, r.Info.Offset = m.InfoAt.Add(-10*time.Second), 50_000_000
			m.Info.Replicas = []detector.ReplicaLine{{Addr: addr(2), State: "online", Offset: 1000}}
		}, -1, 2000, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{"the master was read long before, and the replica lacks some of that", func(m, r *detector.Observation) {
			m.InfoAt, r.Info.Offset = m.InfoAt.Add(-10*time.Second), 900
		}, 100, 2000, raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 100}},
		{"the master was read a moment before, and lists it", func(m, r *detector.Observation) {
			m.InfoAt, r.Info.Offset = m.InfoAt.Add(-50*time.Millisecond), 5000
			m.Info.Replicas = []detector.ReplicaLine{{Addr: addr(2), State: "online", Offset: 990}}
		}, 10, 2000, raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 10}},
		{"it lists it, and does not send it its stream yet", func(m, r *detector.Observation) {
			m.InfoAt, r.Info.Offset = m.InfoAt.Add(-50*time.Millisecond), 5000
			m.Info.Replicas = []detector.ReplicaLine{{Addr: addr(2), State: "wait_bgsave", Offset: 990}}
		}, -1, 2000, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{"it lists it, and gives no answer any more", func(m, r *detector.Observation) {
			m.InfoAt, m.Down, r.Info.Offset = m.InfoAt.Add(-50*time.Millisecond), true, 5000
			m.Info.Replicas = []detector.ReplicaLine{{Addr: addr(2), State: "online", Offset: 990}}
		}, -1, 2000, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{"the master was read later, and lists it", func(m, _ *detector.Observation) {
			m.Info.Offset, m.InfoAt = 9000, m.InfoAt.Add(50*time.Millisecond)
			m.Info.Replicas = []detector.ReplicaLine{{Addr: addr(2), State: "online", Offset: 8990}}
		}, 10, 2050, raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 10}},
		{"what the master said before counts for nothing", func(m, r *detector.Observation) {
			m.Info.Replicas = []detector.ReplicaLine{{Addr: addr(2), State: "online", Offset: 1000}}
			r.Info.Offset, r.InfoAt = 900, r.InfoAt.Add(50*time.Millisecond)
		}, 100, 2000, raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 100}},
		{"another history", func(m, _ *detector.Observation) { m.Info.ReplID = foreignID }, -1, 2000, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{"the master was never read", func(m, _ *detector.Observation) { m.Info = nil }, -1, 2000, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{"the link is down", func(_, r *detector.Observation) {
			r.Info.MasterLinkUp, r.Info.MasterLinkDown, r.Info.MasterLastIO = false, 7*time.Second, -1
		}, 0, 7000, raftfsm.Loss{Kind: raftfsm.LossLowerBound}},
		{"silence of unknown length", func(_, r *detector.Observation) { r.Info.MasterLastIO = -1 }, 0, -1, raftfsm.Loss{Kind: raftfsm.LossLowerBound}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, level := range []uint32{2, raftfsm.Level} {
				s := newScene(t, 1)
				s.raise(level)
				m, r := s.obs[addr(1)], s.obs[addr(2)]
				r.Info.MasterLastIO = 2 * time.Second
				c.do(&m, &r)
				s.obs[addr(1)], s.obs[addr(2)] = m, r
				if m.InfoAt.After(s.now) || r.InfoAt.After(s.now) {
					s.now = s.now.Add(50 * time.Millisecond)
				}
				v := s.view()
				e := failover.Explain(v)
				if got := e.Choice.Candidates[0]; got.BehindBytes != c.bytes || got.BehindMs != c.ms || e.Loss != c.loss {
					t.Errorf("%d bytes and %d ms behind, lost %v; want %d, %d, %v", got.BehindBytes, got.BehindMs, e.Loss, c.bytes, c.ms, c.loss)
				}
				want := [2]int64{c.bytes, c.ms}
				if level < 3 {
					want = [2]int64{-1, -1}
				}
				b := failover.NewBegin(v, e.Choice, raftfsm.KindAutomatic, "")
				if got := b.Candidates[0]; got.BehindBytes != want[0] || got.BehindMs != want[1] {
					t.Errorf("a row at level %d tells %d, %d", level, got.BehindBytes, got.BehindMs)
				}
			}
		})
	}
}

// A glance takes what was read last for good as long as it is as old as it is where nothing happens, on whichever node.
func TestGlance(t *testing.T) {
	for _, c := range []struct {
		age             time.Duration
		explain, glance int
	}{{100 * time.Millisecond, 0, 0}, {10 * time.Second, 1, 0}, {70 * time.Second, 1, 0}, {76 * time.Second, 1, 1}} {
		s := newScene(t, 1)
		s.raise(raftfsm.Level)
		s.now = s.now.Add(c.age)
		v := s.view()
		looked := failover.Explain(v)
		v.Glance = true
		glanced := failover.Explain(v)
		if len(looked.Failover) != c.explain || len(glanced.Failover) != c.glance || glanced.MasterAgeMs != c.age.Milliseconds() {
			t.Errorf("after %s: %v, at a glance %v", c.age, looked.Failover, glanced.Failover)
		}
	}
}

// Two failovers may follow each other; the third waits, and says why and until when.
func TestCooldown(t *testing.T) {
	for _, c := range []struct {
		level uint32
		waits bool
	}{{2, false}, {raftfsm.Level, true}} {
		s := newScene(t, 3)
		s.raise(c.level)
		for range 2 {
			s.passFailover()
		}
		s.down(s.master().Address, "a", "b")
		left := 10*time.Second - time.Second
		rest, waits := s.next().(failover.Rest)
		if waits != c.waits || waits && (rest.For != left || rest.Reason == "") {
			t.Fatalf("level %d: %#v", c.level, s.next())
		}
		e := failover.Explain(s.view())
		if got := slices.Contains(codes(t, e.Failover), failover.BlockCooldown); got != c.waits {
			t.Errorf("level %d: %v", c.level, e.Failover)
		}
		if !c.waits {
			continue
		}
		b := failover.NewBegin(s.view(), e.Choice, raftfsm.KindForced, "a person")
		if s.pass(left); s.next().(failover.Begin).Kind != raftfsm.KindAutomatic {
			t.Errorf("afterwards: %#v", s.next())
		}
		s.now = s.now.Add(-left)
		s.commit(b)
	}
}

// passFailover has one second go by and the master fail over to another replica, which the others follow.
func (s *scene) passFailover() {
	s.t.Helper()
	s.pass(time.Second)
	old := s.master().Address
	id := s.obs[old].Info.ReplID
	s.down(old, "a", "b")
	row := s.begin()
	next := fmt.Sprintf("%040d", row.Epoch)
	s.see(row.To, func(o *detector.Observation) {
		o.Info = &detector.Info{Role: raftfsm.RoleMaster, ReplID: next, ReplID2: id, SecondOffset: 1001, Offset: 1001}
	})
	s.switched()
	for _, in := range s.master().Replicas() {
		if in.Addr == old {
			continue
		}
		s.fact(in.Addr, raftfsm.RoleReplica, next, next)
		s.see(in.Addr, func(o *detector.Observation) {
			o.Info = replicaInfo()
			o.Info.MasterHost, o.Info.ReplID, o.Info.Offset = row.To.Host, next, 1001
		})
	}
	s.pass(time.Second)
}

// BenchmarkExplain: gauges are made of it for every set at every scrape.
func BenchmarkExplain(b *testing.B) {
	s := newScene(b, 2)
	s.raise(raftfsm.Level)
	v := s.view()
	v.Glance = true
	b.ReportAllocs()
	for b.Loop() {
		failover.Explain(v)
	}
}
