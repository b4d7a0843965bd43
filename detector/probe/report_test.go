package probe

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestReportsOfOneMomentAreOneEntry(t *testing.T) {
	inRoom(t, func(r *room) {
		for _, a := range []string{master, replica, third} {
			r.at(a).Crash()
		}
		r.downAfter(third, 3*time.Second)
		time.Sleep(time.Second)
		down := 0
		for _, e := range r.law.reports() {
			down += len(e.c.GetReport().GetDown())
			if e.res.Code != raftfsm.OK {
				t.Errorf("refused: %v", e.res)
			}
		}
		if down != 3 {
			t.Errorf("%d verdicts reported, want 3", down)
		}
	})
}

func TestReportIsTriedAgainUntilItHolds(t *testing.T) {
	inRoom(t, func(r *room) {
		r.law.set(true, errNoLeader)
		r.at(master).Crash()
		r.downAfter(master, 2*time.Second)
		time.Sleep(10 * time.Second)
		if len(r.law.votes(master)) != 0 {
			t.Fatal("a vote without a leader")
		}
		r.law.mu.Lock()
		calls := r.law.calls
		r.law.mu.Unlock()
		if calls < 20 || calls > 60 {
			t.Errorf("%d attempts in 10 s", calls)
		}
		r.law.set(true, nil)
		// A new leader's first entry is what shows that it is worth trying again.
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{Node: "b", Term: 2}}})
		synctest.Wait()
		if v := r.law.votes(master); len(v) != 1 {
			t.Errorf("votes %v", v)
		}
	})
}

func TestExpiredReportIsMadeAgain(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Crash()
		r.downAfter(master, 2*time.Second)
		for range 2 {
			node, _ := r.law.State().Node("a")
			r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_ExpireReports{ExpireReports: &raftlogv1.ExpireReports{
				Node: "a", Base: node.ReportBase,
			}}})
			synctest.Wait()
			if len(r.law.votes(master)) != 1 {
				t.Error("an expired verdict that still holds was not reported again")
			}
		}
	})
}

func TestGenerationIsJudgedAnewFromEvidenceAtHand(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Crash()
		r.downAfter(master, 2*time.Second)
		before := r.law.State().Index()
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "*"}}})
		synctest.Wait()
		m, _ := r.law.State().Master("m")
		if m.Generation <= before || len(r.law.votes(master)) != 1 {
			t.Errorf("generation %d, votes %v", m.Generation, m.Votes)
		}
		for _, e := range r.law.reports() {
			if e.res.Code != raftfsm.OK {
				t.Errorf("refused: %v", e.res)
			}
		}
	})
}

// The reporter may see a state before the watches have judged under it.
func TestVerdictOfAnotherGenerationIsNotReported(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Crash()
		r.downAfter(master, 2*time.Second)
		synctest.Wait()
		s := r.law.State()
		next, res := raftfsm.Apply(s, s.Index()+1, &raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{
			Name: "m", Options: options("down-after-milliseconds", "60000"),
		}}})
		if res.Code != raftfsm.OK {
			t.Fatal(res.Detail)
		}
		r.fleet.reporter.mark("m")
		if d, _ := r.fleet.reporter.difference(next); d != nil {
			t.Errorf("reported: %v", d)
		}
	})
}

func TestRestartedNodeTakesNothingBackWithoutEvidence(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		r.net.Add(master).Hang()
		r.law.monitor("m", master)
		m, _ := r.law.State().Master("m")
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: &raftlogv1.Report{Node: "a", Down: []*raftlogv1.Verdict{{
			Master: "m", Instance: m.Address.Proto(), Generation: m.Generation, Cause: raftfsm.CauseTimeout,
		}}}}})
		r.start()
		time.Sleep(10 * time.Second)
		if n := len(r.law.reports()); n != 1 || len(r.law.votes(master)) != 1 {
			t.Fatalf("%d reports, votes %v: only the one from before is wanted", n, r.law.votes(master))
		}
		r.at(master).Resume()
		time.Sleep(200 * time.Millisecond)
		if len(r.law.votes(master)) != 0 {
			t.Error("alive, and the verdict from before the restart stands")
		}
	})
}

func TestSwitchLeavesProbesAlone(t *testing.T) {
	inRoom(t, func(r *room) {
		clients := func() []string { return slices.Concat(r.at(replica).Clients(), r.at(third).Clients()) }
		before := clients()
		r.at(master).Crash()
		r.downAfter(master, 2*time.Second)
		m, _ := r.law.State().Master("m")
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{
			Master: "m", Generation: m.Generation, Address: addrOf(replica).Proto(), Reason: "test",
		}}})
		synctest.Wait()
		if m, _ := r.law.State().Master("m"); m.Address != addrOf(replica) || len(r.law.votes(master)) != 1 {
			t.Errorf("%v, votes %v: the dead former master is to be held down under the new generation", m.Address, m.Votes)
		}
		if !slices.Equal(before, clients()) {
			t.Errorf("clients %v, were %v", clients(), before)
		}
	})
}

func TestRemovedSetIsProbedNoMore(t *testing.T) {
	inRoom(t, func(r *room) {
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
		synctest.Wait()
		if _, ok := r.fleet.Observe(addrOf(master)); ok || slices.Contains(r.at(master).Clients(), clientName) {
			t.Errorf("still probed: %v", r.at(master).Clients())
		}
		r.law.monitor("n", replica)
		time.Sleep(time.Second)
		if o := r.observe(replica); o.LastReply.IsZero() {
			t.Errorf("%+v", o)
		}
	})
}

// A node that is out of its cluster leaves the instances alone, and says nothing more about them.
func TestRemovedNodeProbesNothing(t *testing.T) {
	inRoom(t, func(r *room) {
		close(r.law.removed)
		synctest.Wait()
		if n := r.fleet.Probed(); n != 0 || slices.Contains(r.at(master).Clients(), clientName) {
			t.Errorf("%d are still probed: %v", n, r.at(master).Clients())
		}
		r.law.monitor("n", "10.9.9.9:6379")
		time.Sleep(time.Minute)
		if n := r.fleet.Probed(); n != 0 {
			t.Errorf("%d are probed again", n)
		}
		if d := r.fleet.Stuck(); d != 0 {
			t.Errorf("stuck for %v", d)
		}
	})
}

// A snapshot from the leader does not list what was removed before it was taken.
func TestRestoredStateIsFollowed(t *testing.T) {
	inRoom(t, func(r *room) {
		other := newLaw()
		other.state = r.law.State()
		other.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
		other.monitor("n", "10.0.0.9:6379")
		var image bytes.Buffer
		if err := raftfsm.WriteSnapshot(&image, other.state); err != nil {
			t.Fatal(err)
		}
		restored, err := raftfsm.ReadSnapshot(&image)
		if err != nil {
			t.Fatal(err)
		}
		r.law.mu.Lock()
		r.law.state = restored
		close(r.law.changed)
		r.law.changed = make(chan struct{})
		r.law.mu.Unlock()
		synctest.Wait()
		for a, want := range map[string]bool{master: false, replica: false, "10.0.0.9:6379": true} {
			if _, ok := r.fleet.Observe(addrOf(a)); ok != want {
				t.Errorf("%s: probed %v, want %v", a, ok, want)
			}
		}
	})
}

func TestObserverProbesNothing(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		r.net.Add(master)
		r.law.monitor("m", master)
		r.fleet.o.Observer = true
		r.start()
		time.Sleep(time.Minute)
		if _, ok := r.fleet.Observe(addrOf(master)); ok || len(r.net.Log()) != 0 {
			t.Error("an observer probed")
		}
	})
}

// An instance in maintenance is probed and not reported; what was on its way when that began is taken back, once.
func TestMaintenanceIsNotReported(t *testing.T) {
	inRoom(t, func(r *room) {
		at, err := raftfsm.ParseAddr(replica)
		if err != nil {
			t.Fatal(err)
		}
		maintain := func(end bool) {
			res := r.law.apply(&raftlogv1.Command{
				Header: &raftlogv1.Header{Level: raftfsm.Level},
				Op:     &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{Instance: at.Proto(), End: end}},
			})
			if res.Code != raftfsm.OK {
				t.Fatal(res.Detail)
			}
			synctest.Wait()
		}
		for _, v := range r.law.State().Servers() {
			r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
				RaftId: v.ID, NodeId: v.ID, MaxLevel: raftfsm.Level,
			}}})
		}
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
		r.at(replica).Crash()
		r.downAfter(replica, 2*time.Second)
		if len(r.law.votes(replica)) != 1 {
			t.Fatal("not reported")
		}
		maintain(false)
		before := len(r.law.reports())
		m, _ := r.law.State().Master("m")
		node, _ := r.law.State().Node("a")
		// As if it had been proposed before the maintenance and committed after it.
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: &raftlogv1.Report{Node: "a", Base: node.ReportBase, Down: []*raftlogv1.Verdict{{
			Master: "m", Instance: at.Proto(), Generation: m.Generation, Cause: raftfsm.CauseRefused,
		}}}}})
		time.Sleep(time.Minute)
		if n := len(r.law.reports()) - before; len(r.law.votes(replica)) != 0 || n != 2 {
			t.Errorf("votes %v after %d reports, want none after the late one and what takes it back", r.law.votes(replica), n)
		}
		if o, ok := r.fleet.Observe(at); !ok || !o.Down {
			t.Errorf("it is not probed: %+v", o)
		}
		maintain(true)
		if len(r.law.votes(replica)) != 1 {
			t.Error("not reported when the maintenance was over")
		}
	})
}
