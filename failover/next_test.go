package failover_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// is fails unless the step has the type of want, and gives it.
func is[T failover.Step](t *testing.T, got failover.Step) T {
	t.Helper()
	want, ok := got.(T)
	if !ok {
		t.Fatalf("step %T %+v, want %T", got, got, want)
	}
	return want
}

func TestBegin(t *testing.T) {
	s := newScene(t, 2)
	is[failover.Rest](t, s.next())
	s.down(addr(1), "b")
	if p := is[failover.Prepare](t, s.next()); p.Candidate != addr(2) {
		t.Errorf("%+v", p)
	}
	s.down(addr(1), "a")
	s.v.Renewed = map[string]bool{"a": true}
	is[failover.Prepare](t, s.next()) // objectively down, and only one vote is confirmed
	s.v.Renewed["b"] = true
	b := is[failover.Begin](t, s.next())
	if b.To != addr(2) || b.From != addr(1) || b.Kind != raftfsm.KindAutomatic || b.OldOffset != 1000 || b.OldReplID != setID ||
		b.Generation != s.master().Generation || len(b.Candidates) != 2 || b.Replaces != 0 {
		t.Errorf("%+v", b)
	}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "r"}}})
	is[failover.Rest](t, s.next())
}

func TestVotesOfNonVotersDoNotCount(t *testing.T) {
	s := newScene(t, 1)
	s.down(addr(1), "a", "b")
	s.st = raftfsm.ApplyServers(s.st, s.st.Index()+1, []raftfsm.Server{{ID: "a", Voter: true}, {ID: "b"}, {ID: "c", Voter: true}})
	if step, ok := s.next().(failover.Begin); ok {
		t.Errorf("%+v", step)
	}
}

func TestBeginWaitsForFreshReadings(t *testing.T) {
	s := newScene(t, 2)
	s.see(addr(3), func(o *detector.Observation) { o.InfoAt = s.now.Add(-time.Second) })
	s.down(addr(1), "a", "b")
	if m := is[failover.Measure](t, s.next()); !slices.Equal(m.Instances, []raftfsm.Addr{addr(3)}) {
		t.Errorf("%+v", m)
	}
	s.now = s.now.Add(100 * time.Millisecond) // one probe period: nobody waits longer
	is[failover.Begin](t, s.next())
}

func TestNoCandidate(t *testing.T) {
	s := newScene(t, 1)
	s.see(addr(2), func(o *detector.Observation) { o.Info.Priority = 0 })
	s.down(addr(1), "a", "b")
	is[failover.Measure](t, s.next())
	s.see(addr(2), func(o *detector.Observation) { o.Info.Priority = 1; o.Down, o.LastReply = true, time.Time{} })
	is[failover.Measure](t, s.next()) // the others may be about to say the same
	s.now = s.now.Add(time.Second)
	if x := is[failover.Transfer](t, s.next()); x.To != "b" && x.To != "c" {
		t.Errorf("%+v", x)
	}
	s.down(addr(2), "c")
	if x := is[failover.Transfer](t, s.next()); x.To != "b" {
		t.Errorf("%+v", x)
	}
}

func TestOpenRow(t *testing.T) {
	open := func(t *testing.T) *scene {
		s := newScene(t, 2)
		s.down(addr(1), "a", "b")
		s.begin()
		return s
	}
	t.Run("promote", func(t *testing.T) {
		if p := is[failover.Promote](t, open(t).next()); p.Already || p.Row.To != addr(2) {
			t.Errorf("%+v", p)
		}
	})
	t.Run("a better one does not push aside the named one", func(t *testing.T) {
		s := open(t)
		s.see(addr(3), func(o *detector.Observation) { o.Info.Offset = 5000 })
		if p := is[failover.Promote](t, s.next()); p.Row.To != addr(2) {
			t.Errorf("%+v", p)
		}
	})
	t.Run("go forward", func(t *testing.T) {
		s := open(t)
		s.promoted(addr(2), 1001)
		if p := is[failover.Promote](t, s.next()); !p.Already {
			t.Errorf("%+v", p)
		}
	})
	t.Run("another master is not the promoted candidate", func(t *testing.T) {
		s := open(t)
		s.see(addr(2), func(o *detector.Observation) {
			o.Info = &detector.Info{RunID: "new", Role: raftfsm.RoleMaster, ReplID: foreignID, SecondOffset: -1}
		})
		if b := is[failover.Begin](t, s.next()); b.To != addr(3) || b.Replaces != 1 {
			t.Errorf("%+v", b)
		}
	})
	t.Run("the candidate dies", func(t *testing.T) {
		s := open(t)
		s.down(addr(2), "a")
		if b := is[failover.Begin](t, s.next()); b.To != addr(3) || b.Replaces != 1 {
			t.Errorf("%+v", b)
		}
	})
	t.Run("the candidate failed", func(t *testing.T) {
		s := open(t)
		s.v.Memory.Failed = map[raftfsm.Addr]int{addr(2): 1}
		if b := is[failover.Begin](t, s.next()); b.To != addr(3) || b.Replaces != 1 {
			t.Errorf("%+v", b)
		}
	})
	t.Run("the master is well again", func(t *testing.T) {
		s := open(t)
		s.promoted(addr(2), 1001)
		s.up(addr(1), "a")
		if e := is[failover.End](t, s.next()); e.Outcome != raftfsm.OutcomeAborted || e.Epoch != 1 {
			t.Errorf("%+v", e)
		}
	})
	t.Run("votes of before are not enough to resume", func(t *testing.T) {
		s := open(t)
		s.v.Renewed = map[string]bool{"a": true}
		is[failover.Rest](t, s.next())
	})
	t.Run("paused before the promotion", func(t *testing.T) {
		s := open(t)
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "r"}}})
		is[failover.End](t, s.next())
		s.promoted(addr(2), 1001)
		is[failover.Promote](t, s.next())
	})
	t.Run("failover-timeout", func(t *testing.T) {
		s := open(t)
		s.next()
		s.pass(181 * time.Second)
		if e := is[failover.End](t, s.next()); e.Outcome != raftfsm.OutcomeAborted {
			t.Errorf("%+v", e)
		}
	})
}

func TestSwitchedRow(t *testing.T) {
	s := newScene(t, 3)
	s.down(addr(1), "a", "b")
	s.begin()
	s.promoted(addr(2), 1001)
	s.switched()
	s.v.Memory.Saved = 0
	if save := is[failover.Save](t, s.next()); save.Row.To != addr(2) {
		t.Errorf("%+v", save)
	}
	s.v.Memory.Saved = s.master().Failover.Epoch
	if r := is[failover.Repoint](t, s.next()); len(r.Actions) != 1 { // parallel-syncs 1
		t.Errorf("%+v", r)
	}
	s.v.Memory.Repointed = map[raftfsm.Addr]time.Time{addr(3): s.now}
	is[failover.Measure](t, s.next())
	id := s.obs[addr(2)].Info.ReplID
	follow := func(n int) {
		s.see(addr(n), func(o *detector.Observation) {
			o.Info.MasterHost, o.Info.ReplID, o.Info.ReplID2, o.Info.MasterLinkUp = "10.0.0.2", id, setID, true
		})
	}
	follow(3)
	if r := is[failover.Repoint](t, s.next()); r.Actions[0].Addr != addr(4) || r.Actions[0].Demote {
		t.Errorf("%+v", r)
	}
	follow(4)
	if r := is[failover.Record](t, s.next()); !slices.Equal(r.Following, []raftfsm.Addr{addr(3), addr(4)}) {
		t.Errorf("%+v", r)
	}
	for _, a := range []raftfsm.Addr{addr(3), addr(4)} {
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
			Master: "m", Epoch: 1, Step: &raftlogv1.Step{Name: raftfsm.StepRepoint, Instance: a.Proto()},
		}}})
	}
	e := is[failover.End](t, s.next()) // the old master is down: nobody waits for it
	if e.Outcome != raftfsm.OutcomeCompleted || e.Loss != (raftfsm.Loss{Kind: raftfsm.LossLowerBound}) {
		t.Errorf("%+v", e)
	}
	// It comes back as a master before the row is closed.
	s.up(addr(1))
	s.see(addr(1), func(o *detector.Observation) { o.Down = false; o.Info = masterInfo() })
	if r := is[failover.Repoint](t, s.next()); r.Actions[0].Addr != addr(1) || !r.Actions[0].Demote {
		t.Errorf("%+v", r)
	}
	s.v.Memory.Avoid = map[raftfsm.Addr]time.Time{addr(1): s.now.Add(time.Hour)}
	s.pass(181 * time.Second)
	if e := is[failover.End](t, s.next()); e.Outcome != raftfsm.OutcomeTimedOut {
		t.Errorf("%+v", e)
	}
}

func TestReconcileLeavesAlone(t *testing.T) {
	at := func(host string, up bool, id string) func(s *scene) {
		return func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) {
				o.Info.MasterHost, o.Info.MasterLinkUp, o.Info.ReplID = host, up, id
			})
		}
	}
	cases := []struct {
		name string
		do   func(s *scene)
		want string // what is done to 10.0.0.2
	}{
		{"follows", func(*scene) {}, ""},
		{"follows by another spelling", at("redis-1.example", true, setID), ""},
		{"hangs on a sibling", at("10.0.0.3", true, setID), "follow"},
		{"on its way", at("10.0.0.1", false, setID), ""},
		{"another lineage", at("10.9.9.9", true, foreignID), "follow"},
		{"looks at a sibling", at("10.0.0.3", false, setID), "follow"},
		{"a spelling whose link just broke", at("redis-1.example", false, setID), ""},
		{"a spelling whose link is down for long", func(s *scene) {
			at("redis-1.example", false, setID)(s)
			s.see(addr(2), func(o *detector.Observation) { o.Info.MasterLinkDown = time.Minute })
		}, "follow"},
		{"a master of its own, settled", func(s *scene) {
			s.next()
			s.promoted(addr(2), 1001)
		}, "demote"},
		{"a master of its own, before the set was compared", func(s *scene) { s.promoted(addr(2), 1001) }, "hold"},
		{"a down vote", func(s *scene) {
			at("10.9.9.9", true, foreignID)(s)
			s.down(addr(1), "b")
		}, ""},
		{"a rejected password of the master", func(s *scene) {
			at("10.9.9.9", true, foreignID)(s)
			n, _ := s.st.Node("b")
			s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: &raftlogv1.Report{Node: "b", Base: n.ReportBase, Down: []*raftlogv1.Verdict{{
				Master: "m", Instance: addr(1).Proto(), Generation: s.master().Generation, Cause: raftfsm.CauseAuth,
			}}}}})
		}, ""},
		{"the master's own process at another address", func(s *scene) {
			at("10.9.9.9", true, foreignID)(s)
			s.see(addr(2), func(o *detector.Observation) { o.Info.RunID = "run-1" })
		}, ""},
		{"unconfirmed and of another lineage", func(s *scene) {
			s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "m"}}})
			at("10.9.9.9", true, foreignID)(s)
		}, ""},
		{"old readings", func(s *scene) {
			at("10.9.9.9", true, foreignID)(s)
			s.see(addr(2), func(o *detector.Observation) { o.InfoAt = s.now.Add(-time.Minute) })
		}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 2)
			c.do(s)
			got := ""
			switch step := s.next().(type) {
			case failover.Repoint:
				got = "follow"
				if step.Actions[0].Demote {
					got = "demote"
				}
				if step.Actions[0].Addr != addr(2) || len(step.Actions) != 1 {
					t.Errorf("%+v", step)
				}
			case failover.Hold:
				got = "hold"
			case failover.Adopt, failover.Begin, failover.Restore:
				got = fmt.Sprintf("%T", step)
			}
			if got != c.want {
				t.Errorf("%q, want %q (%#v)", got, c.want, s.next())
			}
		})
	}
}

// The master is known by a loopback address: to a replica on another machine that is the replica's own machine.
// A replica that was told to follow one master is told at once when another takes over, and does not wait for the old
// master's copy of everything.
func TestSecondFailoverRepointsAtOnce(t *testing.T) {
	s := newScene(t, 3)
	s.down(addr(1), "a", "b")
	s.begin()
	s.promoted(addr(2), 1001)
	s.switched()
	is[failover.Repoint](t, s.next())
	s.v.Memory.Repointed = map[raftfsm.Addr]time.Time{addr(3): s.now, addr(4): s.now}
	is[failover.Measure](t, s.next())
	s.down(addr(2), "a", "b")
	s.begin()
	s.promoted(addr(3), 1002)
	s.switched()
	s.see(addr(2), func(o *detector.Observation) { // it is back, and copies
		o.Down, o.Info.Role, o.Info.MasterHost, o.Info.MasterLinkUp, o.Info.SyncInProgress = false, raftfsm.RoleReplica, "10.0.0.3", false, true
	})
	if r := is[failover.Repoint](t, s.next()); len(r.Actions) != 1 || r.Actions[0].Addr != addr(4) {
		t.Errorf("%+v", r)
	}
}

func TestNeverRepointedToItself(t *testing.T) {
	s := newScene(t, 1)
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
		Name: "n", Address: raftfsm.Addr{Host: "127.0.0.1", Port: 6379}.Proto(), Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "2"}},
	}}})
	n, _ := s.st.Master("n")
	far := raftfsm.Addr{Host: "10.1.1.1", Port: 6379}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: "n", Generation: n.Generation,
		Instances: []*raftlogv1.InstanceFacts{
			{Address: n.Address.Proto(), RunId: "n1", Role: raftfsm.RoleMaster, ReplId: setID},
			{Address: far.Proto(), RunId: "n2", Role: raftfsm.RoleReplica, ReplId: setID, SyncedReplId: setID},
		},
	}}})
	v := s.view()
	v.Master, _ = s.st.Master("n")
	s.see(n.Address, func(o *detector.Observation) { o.Info = masterInfo() })
	s.see(far, func(o *detector.Observation) {
		o.Info = replicaInfo()
		o.Info.MasterHost, o.Info.ReplID = "10.9.9.9", foreignID
	})
	if got := failover.Reconcile(v); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestContradiction(t *testing.T) {
	replica := func(s *scene) {
		s.fact(addr(1), raftfsm.RoleReplica, setID, "")
		s.see(addr(1), func(o *detector.Observation) {
			o.Info.Role, o.Info.MasterHost, o.Info.MasterPort, o.Info.MasterLinkDown = raftfsm.RoleReplica, "10.9.9.9", 6379, time.Second
		})
	}
	wait := func(s *scene) {
		s.next()
		s.pass(time.Second)
	}
	t.Run("adopt", func(t *testing.T) {
		s := newScene(t, 2)
		s.promoted(addr(2), 1001)
		replica(s)
		if a := is[failover.Adopt](t, s.next()); a.Address != addr(2) {
			t.Errorf("%+v", a)
		}
	})
	t.Run("adopt what the master follows already", func(t *testing.T) {
		s := newScene(t, 2)
		s.factOf(&raftlogv1.InstanceFacts{Address: addr(2).Proto(), RunId: "run-2", Role: raftfsm.RoleReplica, ReplId: "c" + setID[1:]})
		s.see(addr(2), func(o *detector.Observation) {
			o.Info = &detector.Info{Role: raftfsm.RoleMaster, ReplID: "b" + setID[1:], ReplID2: "c" + setID[1:], SecondOffset: 1001, Offset: 1000}
		})
		s.factOf(&raftlogv1.InstanceFacts{
			Address: addr(1).Proto(), RunId: "run-1", Role: raftfsm.RoleReplica, ReplId: "b" + setID[1:], ReplId2: "c" + setID[1:], SecondOffset: 1001,
		})
		s.see(addr(1), func(o *detector.Observation) {
			o.Info.Role, o.Info.MasterHost, o.Info.MasterPort, o.Info.MasterLinkUp = raftfsm.RoleReplica, "10.0.0.2", 6379, true
		})
		if a := is[failover.Adopt](t, s.next()); a.Address != addr(2) {
			t.Errorf("%+v", a)
		}
	})
	t.Run("hold for want of lineage", func(t *testing.T) {
		s := newScene(t, 2)
		replica(s)
		s.see(addr(2), func(o *detector.Observation) {
			o.Info = &detector.Info{RunID: "x", Role: raftfsm.RoleMaster, ReplID: foreignID, SecondOffset: -1}
		})
		is[failover.Hold](t, s.next())
	})
	t.Run("restore", func(t *testing.T) {
		s := newScene(t, 2)
		replica(s)
		is[failover.Measure](t, s.next()) // somebody may be in the midst of it
		wait(s)
		is[failover.Restore](t, s.next())
	})
	t.Run("fail over where a sibling has more", func(t *testing.T) {
		s := newScene(t, 2)
		replica(s)
		s.see(addr(3), func(o *detector.Observation) { o.Info.Offset = 2000 })
		wait(s)
		if b := is[failover.Begin](t, s.next()); b.To != addr(3) {
			t.Errorf("%+v", b)
		}
	})
	t.Run("a paused set is not compared", func(t *testing.T) {
		s := newScene(t, 2)
		s.promoted(addr(2), 1001)
		replica(s)
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "r", UntilMs: s.now.Add(time.Minute).UnixMilli()}}})
		if r := is[failover.Rest](t, s.next()); r.For != time.Minute {
			t.Errorf("%+v", r)
		}
		s.pass(time.Minute)
		is[failover.Resume](t, s.next())
	})
}

func TestLoss(t *testing.T) {
	row := &raftfsm.Failover{OldOffset: 1500, OldReplID: setID}
	promoted := raftfsm.Instance{ReplID: foreignID, ReplID2: setID, SecondOffset: 1001}
	old := func(offset int64, id string) *detector.Info {
		return &detector.Info{Role: raftfsm.RoleMaster, ReplID: id, Offset: offset, SecondOffset: -1}
	}
	cases := []struct {
		name string
		row  *raftfsm.Failover
		old  *detector.Info
		want raftfsm.Loss
	}{
		{"as last seen", row, nil, raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 500}},
		{"its process survived", row, old(17500, setID), raftfsm.Loss{Kind: raftfsm.LossExact, Bytes: 16500}},
		{"it restarted", row, old(0, "0"+setID[1:]), raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 500}},
		{"never seen", &raftfsm.Failover{OldOffset: -1, OldReplID: setID}, nil, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{"another history", &raftfsm.Failover{OldOffset: 9, OldReplID: foreignID}, nil, raftfsm.Loss{Kind: raftfsm.LossUnknown}},
	}
	for _, c := range cases {
		if got := failover.Loss(c.row, promoted, c.old); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestLonelyLeaderHandsOver(t *testing.T) {
	s := newScene(t, 1)
	s.down(addr(1), "a")
	s.see(addr(1), func(o *detector.Observation) { o.Down, o.LastReply = true, time.Time{} })
	is[failover.Prepare](t, s.next())
	s.now = s.now.Add(2 * time.Second)
	if x := is[failover.Transfer](t, s.next()); x.To != "b" {
		t.Errorf("%+v", x)
	}
}

// Every node was killed just after it reported, and comes back when the master is well: nodes stand by their old votes for a
// moment, and this one has not probed yet, or has an answer.
func TestVotesFromBeforeTheLeadershipAreDoubted(t *testing.T) {
	s := newScene(t, 1)
	s.down(addr(1), "b", "c")
	s.v.Since = s.st.Index()
	unseen := func() { s.see(addr(1), func(o *detector.Observation) { o.LastReply = time.Time{} }) }
	unseen()
	is[failover.Prepare](t, s.next())
	s.pass(1900 * time.Millisecond)
	unseen()
	is[failover.Prepare](t, s.next())
	s.pass(100 * time.Millisecond)
	is[failover.Prepare](t, s.next()) // it answers this node
	unseen()
	is[failover.Begin](t, s.next())
	s.see(addr(1), func(o *detector.Observation) { o.LastReply = s.now.Add(-2 * time.Second) })
	is[failover.Begin](t, s.next())

	s = newScene(t, 1)
	s.down(addr(1), "b", "a")
	s.see(addr(1), func(o *detector.Observation) { o.Down = false })
	s.v.Since = s.st.Index()
	s.next()
	s.pass(time.Minute)
	is[failover.Prepare](t, s.next()) // its own vote it does not see any reason for
	s.see(addr(1), func(o *detector.Observation) { o.Down = true })
	is[failover.Begin](t, s.next())
}

// The new master keeps its role in its file as soon as nobody beside it takes writes, and not for ever where that fails.
func TestNewMasterSaves(t *testing.T) {
	switched := func(t *testing.T) *scene {
		s := newScene(t, 2)
		s.down(addr(1), "a", "b")
		s.begin()
		s.promoted(addr(2), 1001)
		s.switched()
		s.v.Memory.Saved = 0
		return s
	}
	t.Run("the old master is demoted first", func(t *testing.T) {
		s := switched(t)
		s.see(addr(1), func(o *detector.Observation) { o.Down = false }) // it is back, as the master that it was
		if r := is[failover.Repoint](t, s.next()); !r.Actions[0].Demote {
			t.Errorf("%+v", r)
		}
		s.see(addr(1), func(o *detector.Observation) { o.Down = true })
		is[failover.Save](t, s.next())
	})
	t.Run("three attempts that come to nothing", func(t *testing.T) {
		s := switched(t)
		s.see(addr(1), func(o *detector.Observation) { o.Down = true })
		s.next()
		s.v.Memory.Unsaved = 3
		is[failover.Repoint](t, s.next())
	})
	t.Run("paused", func(t *testing.T) {
		s := switched(t)
		s.see(addr(1), func(o *detector.Observation) { o.Down = true })
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "r"}}})
		if step, saves := s.next().(failover.Save); saves {
			t.Errorf("%+v", step)
		}
	})
}

// One node that cannot reach the new master keeps nobody from closing the row.
func TestRowEndsInSpiteOfAVote(t *testing.T) {
	s := newScene(t, 1)
	s.down(addr(1), "a", "b")
	s.begin()
	s.promoted(addr(2), 1001)
	s.switched()
	s.down(addr(2), "c")
	s.v.Memory.Saved = 0 // nor does what is left to do on it
	is[failover.End](t, s.next())
}

// A paused set is switched over by order all the same, to the end.
func TestOrderedFailoverOfAPausedSet(t *testing.T) {
	s := newScene(t, 2)
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "r"}}})
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: &raftlogv1.BeginFailover{
		Master: "m", Generation: s.master().Generation, OperationId: "o", Kind: raftfsm.KindForced, From: addr(1).Proto(), Candidate: addr(2).Proto(),
	}}})
	is[failover.Promote](t, s.next())
	s.promoted(addr(2), 1001)
	s.switched()
	if r := is[failover.Repoint](t, s.next()); len(r.Actions) != 2 || !r.Actions[0].Demote {
		t.Errorf("%+v", r)
	}
}
