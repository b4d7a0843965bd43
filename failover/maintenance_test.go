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

// maintained is a scene whose cluster is at the level of maintenance, with 10.0.0.2 in it, until a moment or 0.
func maintained(t *testing.T, replicas int, until int64) *scene {
	t.Helper()
	s := newScene(t, replicas)
	for _, id := range []string{"a", "b", "c"} {
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: id, NodeId: id, MaxLevel: raftfsm.Level}}})
	}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
	s.apply(&raftlogv1.Command{
		Header: &raftlogv1.Header{Level: raftfsm.Level, Proposer: "a", ProposedAtMs: s.now.UnixMilli(), Actor: "ada"},
		Op:     &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{Instance: addr(2).Proto(), Reason: "new memory", UntilMs: until}},
	})
	return s
}

// An instance in maintenance would win by its data, and loses; asked for by name, too.
func TestMaintenanceIsNoCandidate(t *testing.T) {
	s := maintained(t, 2, 0)
	s.see(addr(2), func(o *detector.Observation) { o.Info.Offset = 2000 })
	sel := failover.Select(s.view(), raftfsm.Addr{})
	if sel.Best != addr(3) {
		t.Errorf("chosen: %s", sel.Best)
	}
	at := slices.IndexFunc(sel.Candidates, func(c raftfsm.Candidate) bool { return c.Addr == addr(2) })
	if c := sel.Candidates[at]; c.Rejection != failover.RejectMaintenance || c.Detail != "is in maintenance, begun by ada: new memory" {
		t.Errorf("%+v", c)
	}
	if sel := failover.Select(s.view(), addr(2)); sel.OK {
		t.Errorf("asked for: %+v", sel)
	}
	alone := maintained(t, 1, 0)
	if e := failover.Explain(alone.view()); e.Choice.OK || !slices.Contains(e.Hinders, "no replica can be promoted") {
		t.Errorf("%+v", e)
	}
}

// What is wrong with an instance in maintenance is its operator's; but nobody may write to a second master.
func TestMaintenanceIsLeftAlone(t *testing.T) {
	astray := func(s *scene) {
		s.see(addr(2), func(o *detector.Observation) { o.Info.MasterHost, o.Info.ReplID = "10.9.9.9", foreignID })
	}
	cases := []struct {
		name string
		do   func(s *scene)
		want []raftfsm.Addr
	}{
		{"follows a stranger", astray, nil},
		{"down", func(s *scene) { s.see(addr(2), func(o *detector.Observation) { o.Down = true }) }, nil},
		{"never read", func(s *scene) { s.see(addr(2), func(o *detector.Observation) { o.Info = nil }) }, nil},
		{"link down", func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) { o.Info.MasterLinkUp, o.Info.MasterHost = false, "10.0.0.3" })
		}, nil},
		{"a second master", func(s *scene) {
			s.next() // the set is seen to be as committed
			s.see(addr(2), func(o *detector.Observation) { o.Info.Role, o.Info.MasterHost = raftfsm.RoleMaster, "" })
		}, []raftfsm.Addr{addr(2)}},
		{"its sibling is not", func(s *scene) {
			astray(s)
			s.see(addr(3), func(o *detector.Observation) { o.Info.MasterHost, o.Info.ReplID = "10.9.9.9", foreignID })
		}, []raftfsm.Addr{addr(3)}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := maintained(t, 2, 0)
			c.do(s)
			var got []raftfsm.Addr
			for _, f := range failover.Reconcile(s.view()) {
				got = append(got, f.Addr)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("repointed %v, want %v", got, c.want)
			}
			if len(c.want) > 0 {
				return
			}
			if r, rests := s.next().(failover.Rest); !rests || r.For != 0 {
				t.Errorf("%#v", s.next())
			}
		})
	}
	t.Run("told on the connection itself", func(t *testing.T) {
		s := maintained(t, 2, 0)
		astray(s)
		if reason, wrong := s.view().Astray(addr(2), s.obs[addr(2)].Info, masterInfo()); wrong {
			t.Error(reason)
		}
	})
}

// A row closes without it, and does not tell that it follows.
func TestMaintenanceHoldsNoRowOpen(t *testing.T) {
	s := maintained(t, 2, 0)
	s.see(addr(2), func(o *detector.Observation) { o.Down = true })
	s.down(addr(1), "a", "b")
	if row := s.begin(); row.To != addr(3) {
		t.Fatalf("%+v", row)
	}
	s.promoted(addr(3), 1001)
	s.switched()
	for _, back := range []bool{false, true} {
		if back { // and follows the old master, as it was left
			s.see(addr(2), func(o *detector.Observation) { o.Down = false })
		}
		if e, ends := s.next().(failover.End); !ends || e.Outcome != raftfsm.OutcomeCompleted {
			t.Errorf("back %t: %#v", back, s.next())
		}
	}
	s.end()
}

// What an instance in maintenance says of itself keeps no set under watch, unless it says that it is a master.
func TestMaintenanceNeedsNoCare(t *testing.T) {
	s := maintained(t, 2, 0)
	s.fact(addr(2), raftfsm.RoleReplica, foreignID, "")
	if failover.NeedsCare(s.master()) {
		t.Error("of another history")
	}
	s.fact(addr(2), raftfsm.RoleMaster, foreignID, "")
	if !failover.NeedsCare(s.master()) {
		t.Error("a second master")
	}
}

func TestMaintenanceRunsOut(t *testing.T) {
	until := start.Add(time.Minute).UnixMilli()
	s := maintained(t, 2, until)
	if r := is[failover.Rest](t, s.next()); r.For != time.Minute {
		t.Errorf("%+v", r)
	}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", UntilMs: until - 1000}}})
	if r := is[failover.Rest](t, s.next()); r.For != 59*time.Second {
		t.Errorf("with a pause that ends before: %+v", r)
	}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m"}}})
	s.pass(time.Minute - time.Millisecond)
	if step, ends := s.next().(failover.EndMaintenance); ends {
		t.Errorf("too early: %#v", step)
	}
	s.pass(time.Millisecond)
	e := is[failover.EndMaintenance](t, s.next())
	if e.Instance != addr(2) || e.UntilMs != until {
		t.Errorf("%+v", e)
	}
	s.apply(&raftlogv1.Command{
		Header: &raftlogv1.Header{Level: raftfsm.Level, Proposer: "a"},
		Op:     &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{Instance: e.Instance.Proto(), End: true, UntilMs: e.UntilMs}},
	})
	is[failover.Rest](t, s.next())
}
