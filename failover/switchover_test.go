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

// planned commits the row of a switchover to a replica, under a new leader.
func (s *scene) planned(to raftfsm.Addr) *raftfsm.Failover {
	s.t.Helper()
	s.raise(3)
	row := s.commit(failover.NewBegin(s.view(), failover.Select(s.view(), to), raftfsm.KindPlanned, "ordered"))
	s.pass(time.Millisecond)
	s.newLeader()
	return row
}

// A new leader does not turn back before it has read the candidate: it may be promoted already. It does not wait for long.
func TestTurnsBackOnlyOnceTheCandidateIsRead(t *testing.T) {
	for _, read := range []bool{false, true} {
		s := newScene(t, 2)
		s.planned(addr(2))
		s.down(addr(1), "a", "b")
		s.now = s.now.Add(time.Millisecond)
		m, waits := s.next().(failover.Measure)
		if !waits || len(m.Instances) != 1 || m.Instances[0] != addr(2) {
			t.Fatalf("%#v", s.next())
		}
		if read {
			s.see(addr(2), func(*detector.Observation) {})
		} else {
			s.now = s.now.Add(2 * failover.ProbePeriod(s.master().Options))
		}
		if _, back := s.next().(failover.RollBack); !back {
			t.Errorf("read %v: %#v", read, s.next())
		}
		s.promoted(addr(2), 1001)
		if p, forward := s.next().(failover.Promote); !forward || !p.Already {
			t.Errorf("read %v, promoted: %#v", read, s.next())
		}
	}
}

// That the candidate had every byte proves nothing of an old master that came back as one: it took writes, maybe, before the
// switch was known.
func TestLossAfterTheCheck(t *testing.T) {
	row := &raftfsm.Failover{OldReplID: setID, OldOffset: 1000, Steps: []raftfsm.Step{{Name: raftfsm.StepCheck}}}
	promoted := raftfsm.Instance{Role: raftfsm.RoleMaster, ReplID: "b" + setID[1:], ReplID2: setID, SecondOffset: 1001}
	demoted := *row
	demoted.From, demoted.Steps = addr(1), slices.Concat(row.Steps, []raftfsm.Step{{Name: raftfsm.StepDemote, Instance: addr(1)}})
	for _, c := range []struct {
		name string
		row  *raftfsm.Failover
		old  *detector.Info
		want raftlogv1.LossKind
	}{
		{"not seen as a master", row, nil, raftfsm.LossExact},
		{"a replica", row, &detector.Info{Role: raftfsm.RoleReplica, ReplID: setID, Offset: 1000}, raftfsm.LossExact},
		{"restarted as a master", row, &detector.Info{Role: raftfsm.RoleMaster, ReplID: foreignID, Offset: 1200}, raftfsm.LossLowerBound},
		{"demoted by a leader that is gone", &demoted, nil, raftfsm.LossLowerBound},
	} {
		if got := failover.Loss(c.row, promoted, c.old); got.Kind != c.want || got.Bytes != 0 {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// What is known of the loss from the switch on is not forgotten because the new master restarts before the end.
func TestTheLossOutlivesTheNewMastersProcess(t *testing.T) {
	s := newScene(t, 1)
	s.raise(3)
	s.down(addr(1), "a", "b")
	s.commit(is[failover.Begin](t, s.next()))
	s.promoted(addr(2), 901)
	s.switched()
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: "m", Generation: s.master().Generation,
		Instances: []*raftlogv1.InstanceFacts{{Address: addr(2).Proto(), RunId: "other", Role: raftfsm.RoleMaster, ReplId: foreignID, SecondOffset: -1}},
	}}})
	s.see(addr(2), func(o *detector.Observation) {
		o.Info = &detector.Info{RunID: "other", Role: raftfsm.RoleMaster, ReplID: foreignID, SecondOffset: -1, Offset: 1}
	})
	s.pass(200 * time.Second)
	if got := is[failover.End](t, s.next()).Loss; got != (raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 100}) {
		t.Errorf("%+v", got)
	}
}

// Both sides of a row that ended without a switch are read twice: under a new leader, and under the one that ended it. Who is
// down is not waited for.
func TestSidesOfAGivenUpRowAreReadTwice(t *testing.T) {
	half := failover.ProbePeriod(newScene(t, 2).master().Options) / 2
	for _, c := range []struct {
		name  string
		fresh bool // the leader is another than the one that ended it
		after func(s *scene)
		want  []raftfsm.Addr
	}{
		{"not read since", true, func(*scene) {}, []raftfsm.Addr{addr(1), addr(2)}},
		{"not read since, by the same", false, func(*scene) {}, []raftfsm.Addr{addr(1), addr(2)}},
		{"read once", true, func(s *scene) { s.pass(half) }, []raftfsm.Addr{addr(1), addr(2)}},
		{"read twice at a time", true, func(s *scene) { s.pass(half); s.next(); s.pass(half / 2) }, []raftfsm.Addr{addr(1), addr(2)}},
		{"read twice", true, func(s *scene) { s.pass(half); s.next(); s.pass(half) }, nil},
		{"read twice by the same", false, func(s *scene) { s.pass(half); s.next(); s.pass(half) }, nil},
		{"the candidate rejects us", true, func(s *scene) { s.see(addr(2), func(o *detector.Observation) { o.AuthRejected = true }) }, []raftfsm.Addr{addr(1)}},
		{"the candidate is down", true, func(s *scene) { s.see(addr(2), func(o *detector.Observation) { o.Down = true }) }, []raftfsm.Addr{addr(1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 2)
			row := s.planned(addr(2))
			if !c.fresh {
				s.next()
			}
			s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
				Master: "m", Epoch: row.Epoch, Outcome: raftfsm.OutcomeAborted, Reason: "too slow",
			}}})
			s.next()
			c.after(s)
			m, _ := s.next().(failover.Measure)
			if !slices.Equal(m.Instances, c.want) {
				t.Errorf("%#v", s.next())
			}
		})
	}
}
