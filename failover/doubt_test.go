package failover_test

import (
	"slices"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// A dead voter holds no verdict and cannot take it back: leadership is offered to those who are heard, and are not drained.
func TestLeadershipIsNotOfferedToTheDead(t *testing.T) {
	s := newScene(t, 1)
	s.v.Self, s.v.Heard, s.v.Renewed = "b", []string{"b", "c"}, map[string]bool{"b": true, "c": true}
	s.down(addr(1), "b", "c")
	for n := 1; n <= 2; n++ {
		s.see(addr(n), func(o *detector.Observation) { o.Down, o.LastReply = true, time.Time{} })
	}
	s.down(addr(2), "b")
	s.next()
	s.now = s.now.Add(time.Second)
	if x := is[failover.Transfer](t, s.next()); x.To != "c" {
		t.Errorf("%+v", x)
	}
	s.raise(4)
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_DrainNode{DrainNode: &raftlogv1.DrainNode{Node: "c"}}})
	is[failover.Measure](t, s.next())
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_DrainNode{DrainNode: &raftlogv1.DrainNode{Node: "c", End: true}}})
	is[failover.Transfer](t, s.next())
	s.v.Heard = []string{"b"}
	is[failover.Measure](t, s.next())
}

// demotes tells whether the set's other master is demoted; otherwise the set is held.
func demotes(t *testing.T, s *scene) bool {
	t.Helper()
	step := s.next()
	if _, held := step.(failover.Hold); held {
		return false
	}
	if !is[failover.Repoint](t, step).Actions[0].Demote {
		t.Fatalf("%+v", step)
	}
	return true
}

// promotedAgain has an instance promoted out of the history id at an offset, and written bytes to since.
func promotedAgain(s *scene, a raftfsm.Addr, id string, offset, written int64) {
	s.see(a, func(o *detector.Observation) {
		o.Down = false
		o.Info = &detector.Info{RunID: "run-" + a.Host[7:], Role: raftfsm.RoleMaster, ReplID: "e" + setID[1:], ReplID2: id, SecondOffset: offset + 1, Offset: offset + written}
	})
	s.fact(a, raftfsm.RoleMaster, "e"+setID[1:], "")
}

// What a new leader may demote of masters that it finds beside the committed one.
func TestOnlyOurOwnDoingIsDemoted(t *testing.T) {
	aborted := func(t *testing.T) (*scene, raftfsm.Addr) {
		s := newScene(t, 2)
		s.down(addr(1), "a", "b")
		row := s.begin()
		s.up(addr(1), "a", "b")
		s.end()
		s.newLeader()
		return s, row.To
	}
	t.Run("an abandoned candidate", func(t *testing.T) {
		s, to := aborted(t)
		promotedAgain(s, to, setID, 1000, 0)
		if !demotes(t, s) {
			t.Error("held")
		}
	})
	t.Run("a former candidate that was promoted by hand, a year later", func(t *testing.T) {
		s, to := aborted(t)
		s.pass(365 * 24 * time.Hour)
		s.newLeader()
		promotedAgain(s, to, setID, 5000, 100)
		if demotes(t, s) {
			t.Error("demoted")
		}
	})
	t.Run("another than the candidate", func(t *testing.T) {
		s, _ := aborted(t)
		promotedAgain(s, addr(3), setID, 1000, 0)
		if demotes(t, s) {
			t.Error("demoted")
		}
	})
	returned := func(t *testing.T, change func(i *detector.Info)) *scene {
		s := after(t, 2)
		s.up(addr(1))
		s.see(addr(1), func(o *detector.Observation) { o.Down, o.Info = false, masterInfo(); change(o.Info) })
		s.newLeader()
		return s
	}
	t.Run("the old master", func(t *testing.T) {
		if !demotes(t, returned(t, func(*detector.Info) {})) {
			t.Error("held")
		}
	})
	t.Run("the old master, restarted", func(t *testing.T) {
		if !demotes(t, returned(t, func(i *detector.Info) { i.ReplID = foreignID })) {
			t.Error("held")
		}
	})
	t.Run("the old master, promoted by hand after it had followed", func(t *testing.T) {
		if demotes(t, returned(t, func(i *detector.Info) { i.ReplID, i.ReplID2 = foreignID, "b"+setID[1:] })) {
			t.Error("demoted")
		}
	})
	t.Run("the old master, put back from elsewhere after it had followed", func(t *testing.T) {
		s := returned(t, func(i *detector.Info) { i.ReplID = foreignID })
		s.fact(addr(1), raftfsm.RoleReplica, "b"+setID[1:], "b"+setID[1:])
		s.fact(addr(1), raftfsm.RoleMaster, foreignID, "")
		if demotes(t, s) {
			t.Error("demoted")
		}
	})
}

func TestHoldOnlyOnFreshReadings(t *testing.T) {
	s := newScene(t, 2)
	s.promoted(addr(3), 1001)
	s.see(addr(3), func(o *detector.Observation) { o.InfoAt = s.now.Add(-time.Second) })
	if m := is[failover.Measure](t, s.next()); m.Instances[0] != addr(3) {
		t.Errorf("%+v", m)
	}
	s.see(addr(3), func(*detector.Observation) {})
	is[failover.Hold](t, s.next())
}

// What was read of the old master just before a switch says nothing against the new one, however young it is: not to a leader that comes
// right after it, and not to the one that made it.
func TestHoldOnlyOnReadingsSinceTheSwitch(t *testing.T) {
	end := func(s *scene) {
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
			Master: "m", Epoch: s.master().Failover.Epoch, Outcome: raftfsm.OutcomeTimedOut,
		}}})
	}
	for name, then := range map[string]func(s *scene){
		"the row is open":          func(*scene) {},
		"the row has ended":        end,
		"another leader, after it": func(s *scene) { end(s); s.newLeader() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, 2)
			s.down(addr(1), "a", "b")
			row := s.begin()
			s.promoted(row.To, 1001)
			s.now = s.now.Add(time.Millisecond)
			s.switched()
			s.up(addr(1), "a", "b")
			s.see(addr(1), func(o *detector.Observation) { o.InfoAt = s.now.Add(-time.Millisecond) })
			s.next()
			was := s.obs[addr(1)].InfoAt
			s.fact(addr(1), raftfsm.RoleReplica, "b"+setID[1:], "b"+setID[1:])
			s.now = s.now.Add(50 * time.Millisecond)
			then(s)
			s.see(addr(1), func(o *detector.Observation) { o.InfoAt = was })
			s.see(addr(2), func(*detector.Observation) {})
			if m := is[failover.Measure](t, s.next()); !slices.Contains(m.Instances, addr(1)) {
				t.Errorf("%+v", m)
			}
			s.pass(time.Millisecond)
			is[failover.Hold](t, s.next())
		})
	}
}

// Nor does it where a person made another the master, without a failover, and neither does what the master said before.
func TestHoldOnlyOnReadingsOfThisMaster(t *testing.T) {
	s := newScene(t, 1)
	s.promoted(addr(2), 1001)
	s.fact(addr(2), raftfsm.RoleMaster, "b"+setID[1:], "")
	hold := is[failover.Hold](t, s.next())
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: "m", Generation: s.master().Generation, Reason: hold.Reason}}})
	s.next()
	s.now = s.now.Add(time.Millisecond)
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", Adopt: addr(2).Proto()}}})
	if m := is[failover.Measure](t, s.next()); !slices.Equal(m.Instances, []raftfsm.Addr{addr(1), addr(2)}) {
		t.Errorf("%+v", m)
	}
	s.see(addr(1), func(*detector.Observation) {})
	if m := is[failover.Measure](t, s.next()); !slices.Equal(m.Instances, []raftfsm.Addr{addr(2)}) {
		t.Errorf("%+v", m)
	}
	s.see(addr(2), func(*detector.Observation) {})
	is[failover.Hold](t, s.next())
}

// Enforcing is over as soon as the set was seen as committed: a leader of months later does not demote by it.
func TestEnforceEnds(t *testing.T) {
	s := newScene(t, 2)
	s.promoted(addr(3), 1001)
	hold := is[failover.Hold](t, s.next())
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: "m", Generation: s.master().Generation, Reason: hold.Reason}}})
	is[failover.Rest](t, s.next())
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", Enforce: true}}})
	if r := is[failover.Repoint](t, s.next()); !r.Actions[0].Demote {
		t.Errorf("%+v", r)
	}
	s.see(addr(3), func(o *detector.Observation) { o.Info = replicaInfo() })
	is[failover.Settle](t, s.next())
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Settle{Settle: &raftlogv1.Settle{Name: "m", Generation: s.master().Generation}}})
	is[failover.Rest](t, s.next())
	s.newLeader()
	s.promoted(addr(3), 1001)
	is[failover.Hold](t, s.next())
}

// The votes are of before this leadership, and the master answers this node.
func TestOldVotesAgainstAMasterThatAnswers(t *testing.T) {
	s := newScene(t, 1, "down-after-milliseconds", "30000")
	s.down(addr(1), "b", "c")
	s.newLeader()
	for range 10 {
		is[failover.Prepare](t, s.next())
		s.pass(time.Second)
	}
}

// A master that has been silent for half of down-after may be about to be voted down: the way to the candidate is opened.
func TestSilenceIsPreparedFor(t *testing.T) {
	s := newScene(t, 1)
	s.see(addr(1), func(o *detector.Observation) { o.LastReply = s.now.Add(-499 * time.Millisecond) })
	is[failover.Rest](t, s.next())
	s.see(addr(1), func(o *detector.Observation) { o.LastReply = s.now.Add(-500 * time.Millisecond) })
	if p := is[failover.Prepare](t, s.next()); p.Candidate != addr(2) {
		t.Errorf("%+v", p)
	}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "r"}}})
	is[failover.Rest](t, s.next())
}

// The leader's own vote counts only while it sees the master down itself, though it has not been taken back in the log yet.
func TestTheLeadersOwnVoteIsWhatItSees(t *testing.T) {
	s := newScene(t, 1)
	s.v.Self, s.v.Renewed = "a", map[string]bool{"a": true, "b": true}
	s.down(addr(1), "a", "b")
	is[failover.Begin](t, s.next())
	s.see(addr(1), func(o *detector.Observation) { o.Down, o.LastReply = false, s.now })
	is[failover.Prepare](t, s.next())
	s.see(addr(1), func(o *detector.Observation) { o.Down = true })
	is[failover.Begin](t, s.next())
}
