package failover_test

import (
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// rejection is why a replica was not chosen.
func rejection(t *testing.T, cs []raftfsm.Candidate, a raftfsm.Addr) string {
	t.Helper()
	for _, c := range cs {
		if c.Addr == a {
			return c.Rejection
		}
	}
	t.Fatalf("%s is no candidate: %+v", a, cs)
	return ""
}

// A replica was moved to another set by mistake, was in sync there, and was told to come back just as the master died: it
// has more bytes than any other, all of them of others.
func TestDataOfAnotherSetNeverWins(t *testing.T) {
	s := newScene(t, 2)
	s.fact(addr(3), raftfsm.RoleReplica, foreignID, foreignID)
	s.see(addr(3), func(o *detector.Observation) {
		o.Info.ReplID, o.Info.Offset = foreignID, 999999
		o.Info.MasterLinkUp, o.Info.MasterLinkDown = false, time.Second
	})
	s.down(addr(1), "a", "b")
	if b := is[failover.Begin](t, s.next()); b.To != addr(2) {
		t.Errorf("%s: %+v", b.To, b.Candidates)
	}
	s.down(addr(2), "a") // and not as the last one either
	if sel := failover.Select(s.view(), raftfsm.Addr{}); sel.OK {
		t.Errorf("%+v", sel)
	}
}

// The master came back without its data and died again. While no replica has taken over the new history, the replicas hold
// the only copy; afterwards the former history is not the set's any more, however long it is.
func TestHistoryThatTheMasterHasLost(t *testing.T) {
	s := newScene(t, 2)
	s.fact(addr(1), raftfsm.RoleMaster, foreignID, "")
	s.see(addr(3), func(o *detector.Observation) { o.Info.Offset = 2000 })
	if sel := failover.Select(s.view(), raftfsm.Addr{}); sel.Best != addr(3) || !sel.OK {
		t.Errorf("%+v", sel)
	}
	s.see(addr(2), func(o *detector.Observation) { o.Info.ReplID, o.Info.Offset = foreignID, 10 })
	sel := failover.Select(s.view(), raftfsm.Addr{})
	if sel.Best != addr(2) || rejection(t, sel.Candidates, addr(3)) != failover.RejectLineage {
		t.Errorf("%+v", sel)
	}
}

// after has 10.0.0.2 promoted at offset 1000 and committed; the row is closed.
func after(t *testing.T, replicas int) *scene {
	t.Helper()
	s := newScene(t, replicas)
	s.down(addr(1), "a", "b")
	row := s.begin()
	s.promoted(row.To, 1001)
	s.switched()
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
		Master: "m", Epoch: row.Epoch, Outcome: raftfsm.OutcomeTimedOut,
	}}})
	return s
}

func TestReplicasThatDidNotFollowTheLastSwitch(t *testing.T) {
	s := after(t, 3)
	at := func(n int, id string, offset int64, priority int) {
		s.see(addr(n), func(o *detector.Observation) {
			o.Info.MasterLinkUp, o.Info.MasterLinkDown = false, time.Second
			o.Info.ReplID, o.Info.Offset, o.Info.Priority = id, offset, priority
		})
	}
	now := s.obs[addr(2)].Info.ReplID
	s.down(addr(2), "a", "b")
	at(3, setID, 1500, 1) // more of the former history than the master had: another branch of it
	at(4, setID, 1000, 1)
	b := is[failover.Begin](t, s.next())
	if b.To != addr(4) || rejection(t, b.Candidates, addr(3)) != failover.RejectLineage {
		t.Errorf("%s: %+v", b.To, b.Candidates)
	}
	s.fact(addr(3), raftfsm.RoleReplica, now, now)
	at(3, now, 1001, 100) // the master's own history goes before priority
	if b := is[failover.Begin](t, s.next()); b.To != addr(3) {
		t.Errorf("%s: %+v", b.To, b.Candidates)
	}
}

// A replica whose link broke days ago wins by nothing: not by a vote against its sibling, not by a failed attempt on it.
func TestLinkOfLongAgo(t *testing.T) {
	s := newScene(t, 2)
	s.see(addr(3), func(o *detector.Observation) {
		o.Info.MasterLinkUp, o.Info.MasterLinkDown, o.Info.Offset, o.Info.Priority = false, 72*time.Hour, 500, 1
	})
	s.down(addr(1), "a", "b")
	s.down(addr(2), "c")
	s.v.Memory.Failed = map[raftfsm.Addr]int{addr(2): 1}
	if b := is[failover.Begin](t, s.next()); b.To != addr(2) {
		t.Errorf("%s: %+v", b.To, b.Candidates)
	}
}
