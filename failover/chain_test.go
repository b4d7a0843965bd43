package failover_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// fail is a failed attempt on the row's candidate.
func (s *scene) fail() {
	failed := maps.Clone(s.v.Memory.Failed)
	if failed == nil {
		failed = map[raftfsm.Addr]int{}
	}
	failed[s.master().Failover.To]++
	s.v.Memory.Failed, s.v.Memory.FailedAt = failed, s.now
}

// Every candidate refuses for an hour: rows come ever more slowly, say briefly why, and end with failover-timeout.
func TestRowsOfAChainAreFewAndBounded(t *testing.T) {
	s := newScene(t, 2, "failover-timeout", "60000")
	s.down(addr(1), "a", "b")
	rows, ends, longest := 0, 0, 0
	for s.now.Sub(start) < time.Hour && rows < 1000 {
		wait := 10 * time.Millisecond
		switch step := s.next().(type) {
		case failover.Begin:
			s.commit(step)
			longest = max(longest, len(step.Reason))
			rows++
			continue
		case failover.Promote:
			s.fail()
			s.v.Memory.Avoid = nil
		case failover.Rest:
			wait = max(step.For, wait)
		case failover.End:
			s.end()
			ends++
		}
		s.pass(wait)
	}
	if rows > 400 || rows < 10 || ends < 10 {
		t.Errorf("%d rows, %d ends", rows, ends)
	}
	if longest > 120 {
		t.Errorf("a reason of %d bytes: %s", longest, s.master().Failover.Reason)
	}
}

func TestAnotherCandidateIsTakenAtOnce(t *testing.T) {
	s := newScene(t, 2)
	s.down(addr(1), "a", "b")
	first := s.begin()
	s.next()
	s.fail()
	b := is[failover.Begin](t, s.next())
	if b.To == first.To || !strings.HasPrefix(b.Reason, first.Reason) {
		t.Errorf("%+v", b)
	}
	s.commit(b)
	s.next()
	s.fail()
	is[failover.Rest](t, s.next()) // both have failed
	s.pass(100 * time.Millisecond)
	is[failover.Begin](t, s.next())
}

// failover-timeout counts from the first row of a chain, and a new chain waits a little.
func TestFailoverTimeoutBoundsTheChain(t *testing.T) {
	s := newScene(t, 2, "failover-timeout", "10000")
	s.down(addr(1), "a", "b")
	s.begin()
	s.next()
	s.pass(9 * time.Second)
	s.fail()
	s.begin()
	is[failover.Promote](t, s.next())
	s.pass(1001 * time.Millisecond)
	e := s.end()
	if e.Outcome != raftfsm.OutcomeAborted || !e.Late || !strings.Contains(e.Reason, "10s") {
		t.Errorf("%+v", e)
	}
	if r := is[failover.Rest](t, s.next()); r.For != time.Second {
		t.Errorf("%+v", r)
	}
	s.pass(time.Second)
	s.begin()
	s.next()
	s.pass(10001 * time.Millisecond)
	s.end()
	if r := is[failover.Rest](t, s.next()); r.For != 2*time.Second {
		t.Errorf("%+v", r)
	}
	s.up(addr(1), "a")
	s.next()
	s.down(addr(1), "a")
	is[failover.Begin](t, s.next()) // it was well in between
}

func TestTinyFailoverTimeoutLeavesTimeForAnAttempt(t *testing.T) {
	s := newScene(t, 2, "failover-timeout", "5")
	s.down(addr(1), "a", "b")
	s.begin()
	s.next()
	s.pass(2 * time.Second)
	is[failover.Promote](t, s.next())
	s.pass(time.Millisecond)
	is[failover.End](t, s.next())
}

// The operator named a replica: it is promoted or nothing is.
func TestOrderedFailoverIsNotRedirected(t *testing.T) {
	ordered := func(t *testing.T, to raftfsm.Addr) *scene {
		s := newScene(t, 3)
		s.see(addr(2), func(o *detector.Observation) { o.Info.Priority = 0 }) // it has a reason of its own besides
		v := s.view()
		s.commit(failover.NewBegin(v, failover.Select(v, to), raftfsm.KindForced, "ordered by ann"))
		s.see(addr(2), func(o *detector.Observation) { o.Info.Priority = 50 })
		return s
	}
	t.Run("it is unfit", func(t *testing.T) {
		s := ordered(t, addr(4))
		is[failover.Promote](t, s.next())
		s.see(addr(4), func(o *detector.Observation) { o.Info.Priority = 0 })
		if e := is[failover.End](t, s.next()); e.Outcome != raftfsm.OutcomeAborted {
			t.Errorf("%+v", e)
		}
	})
	t.Run("it fails", func(t *testing.T) {
		s := ordered(t, addr(4))
		s.fail()
		is[failover.Promote](t, s.next())
		s.fail()
		s.fail()
		is[failover.End](t, s.next())
	})
	t.Run("a new leader has not read it yet", func(t *testing.T) {
		s := ordered(t, addr(4))
		s.newLeader()
		s.see(addr(4), func(o *detector.Observation) { o.Info = nil })
		is[failover.Measure](t, s.next())
	})
	t.Run("nobody was named", func(t *testing.T) {
		s := ordered(t, raftfsm.Addr{})
		s.fail()
		is[failover.Begin](t, s.next())
	})
}

// 128 steps are all that a story holds: the row is closed all the same.
func TestFullStoryIsClosed(t *testing.T) {
	s := newScene(t, 2)
	s.down(addr(1), "a", "b")
	row := s.begin()
	s.promoted(row.To, 1001)
	s.switched()
	s.see(addr(1), func(o *detector.Observation) { o.Down = true })
	s.see(addr(3), func(o *detector.Observation) { o.Info.ReplID, o.Info.MasterHost = "b"+setID[1:], row.To.Host })
	is[failover.Record](t, s.next())
	for range raftfsm.MaxSteps {
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
			Master: "m", Epoch: row.Epoch, Step: &raftlogv1.Step{Name: raftfsm.StepDemote, Instance: addr(1).Proto()},
		}}})
	}
	if e := is[failover.End](t, s.next()); e.Outcome != raftfsm.OutcomeCompleted {
		t.Errorf("%+v", e)
	}
}
