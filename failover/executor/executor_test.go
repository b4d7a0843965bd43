package executor

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestCrashFailover(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		all[2].SetLag(100) // the other one is fresher
		all[0].Write(100)
		w.pass(100 * time.Millisecond)
		all[0].Crash()
		w.until("switched", 3*time.Second, func() bool { return w.master().Address == addr(2) })
		w.until("converged", 10*time.Second, w.converged)
		row := w.last()
		if row.Outcome != raftfsm.OutcomeCompleted || row.Kind != raftfsm.KindAutomatic {
			t.Errorf("outcome %v kind %v", row.Outcome, row.Kind)
		}
		if took := row.SwitchedAtMs - row.ODownAtMs; took > 15 {
			t.Errorf("from objectively down to the switch: %d ms", took)
		}
		if got, want := stepNames(row), []string{"fence", "promote", "switch", "save", "repoint"}; !slices.Equal(got, want) {
			t.Errorf("steps %v, want %v", got, want)
		}
		if n := w.begins(); n != 1 {
			t.Errorf("%d rows", n)
		}
		if c := row.Candidates; len(c) != 2 || !c[0].Chosen || c[1].Rejection == "" {
			t.Errorf("candidates %+v", c)
		}
		if row.Loss.Kind != raftfsm.LossUnknown { // its last INFO is older than what was written since
			t.Errorf("loss %+v of %+v by %+v", row.Loss, row, w.master().Instances)
		}
	})
}

func TestOldMasterReturnsAndIsDemoted(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		all[0].Crash()
		w.until("converged", 10*time.Second, w.converged)
		w.pass(30 * time.Second)
		all[0].Restart(true)
		w.until("demoted", 3*time.Second, func() bool { return !all[0].State().Master })
		w.until("converged", 5*time.Second, w.converged)
		if all[1].State().Empty {
			t.Error("the data is gone")
		}
		if n := w.begins(); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestOldMasterReturnsToANewLeader(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		end := w.lead("a", nil)
		w.pass(6 * time.Second)
		all[0].Crash()
		w.until("converged", 10*time.Second, w.converged)
		end()
		w.lead("b", nil)
		all[0].Restart(false)
		w.until("demoted", 3*time.Second, func() bool { return !all[0].State().Master })
		w.until("converged", 5*time.Second, w.converged)
		if m := w.master(); m.Hold != nil {
			t.Errorf("held: %s", m.Hold.Reason)
		}
	})
}

// The old master goes on taking writes behind a partition: they are lost, and counted exactly when it is seen again.
func TestPartitionedMasterLosesACountedAmount(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		for _, r := range all[1:] {
			r.SetLinkDelay(0, 4*time.Second) // keeps the row open until the old master is back
		}
		all[2].CutLink(true)
		all[0].Drop()
		for _, r := range all[1:] {
			r.CutLink(true)
		}
		all[0].Write(12345)
		w.until("switched", 5*time.Second, func() bool { return w.master().Address != addr(1) })
		all[0].Heal()
		w.until("demoted", 5*time.Second, func() bool { return !all[0].State().Master })
		for _, r := range all {
			r.CutLink(false)
		}
		w.until("converged", 20*time.Second, w.converged)
		if row := w.last(); row.Loss.Kind != raftfsm.LossExact || row.Loss.Bytes != 12345 {
			t.Errorf("loss %+v", row.Loss)
		}
	})
}

func TestNeverSyncedReplicaIsNotPromoted(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(0)
		r := w.net.Add(addr(2).String())
		r.SetLinkDelay(0, time.Hour)
		r.Replicate(addr(1))
		r.Restart(true)
		w.lead("a", nil)
		w.pass(30 * time.Second)
		if _, known := w.master().Instance(addr(2)); !known {
			t.Fatal("the replica is not known")
		}
		all[0].Crash()
		w.pass(20 * time.Second)
		if !w.master().IsODown() {
			t.Fatal("not objectively down")
		}
		if got := w.commands(); len(got) != 0 || w.begins() != 0 {
			t.Errorf("touched: %v, %d rows", got, w.begins())
		}
	})
}

func TestCandidateDiesAfterItsPromotion(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.pass(time.Second)
		all[2].SetLag(10)
		all[0].Write(10)
		w.pass(time.Second)
		var died atomic.Bool
		w.lead("a", func(p Point) {
			if p == AfterPromote && died.CompareAndSwap(false, true) {
				all[1].Crash()
				<-time.After(time.Millisecond)
			}
		})
		w.pass(6 * time.Second)
		all[0].Crash()
		w.until("a second epoch", 10*time.Second, func() bool { return w.master().Epoch >= 1 })
		w.until("the survivor leads", 10*time.Second, func() bool { return w.master().Address == addr(3) && w.master().Failover == nil })
		all[1].Restart(false)
		all[0].Restart(false)
		w.until("converged", 20*time.Second, w.converged)
		if m := w.master(); m.Epoch < 2 || m.Address != addr(3) {
			t.Errorf("epoch %d at %s", m.Epoch, m.Address)
		}
	})
}

func TestCandidateRefusesAndAnotherTakesItsPlace(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		all[2].SetPriority(200)
		w.lead("a", nil)
		w.pass(11 * time.Second)
		all[1].Deny("replicaof")
		all[0].Crash()
		w.until("switched", 5*time.Second, func() bool { return w.master().Address == addr(3) })
		row := w.master().Failover
		if row == nil || row.Replaces == 0 || row.Epoch != 2 {
			t.Errorf("row %+v", row)
		}
		if took := row.SwitchedAtMs - row.ODownAtMs; took > 60 {
			t.Errorf("another candidate took %d ms", took)
		}
	})
}

func TestMasterRecoversBeforeTheSwitch(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		var once atomic.Bool
		w.lead("a", func(p Point) {
			if p == AfterPromote && once.CompareAndSwap(false, true) {
				all[0].Resume()
				<-time.After(2 * time.Second)
			}
		})
		w.pass(6 * time.Second)
		all[0].Hang()
		w.until("a row that ended", 20*time.Second, func() bool { return len(w.master().History) > 0 })
		if row := w.last(); row.Outcome != raftfsm.OutcomeAborted || row.Switched {
			t.Errorf("outcome %v: %s", row.Outcome, row.EndReason)
		}
		w.until("the candidate is put back", 10*time.Second, w.converged)
		if m := w.master(); m.Address != addr(1) || m.Hold != nil {
			t.Errorf("master %s hold %+v", m.Address, m.Hold)
		}
	})
}

func TestParallelSyncsAreRespected(t *testing.T) {
	for _, limit := range []string{"1", "2"} {
		play(t, func(t *testing.T, w *world) {
			all := w.redis(5, "parallel-syncs", limit)
			for _, r := range all[1:] {
				r.SetLinkDelay(time.Second, 0)
			}
			w.lead("a", nil)
			w.pass(6 * time.Second)
			all[0].Crash()
			most := 0
			w.until("converged", 60*time.Second, func() bool {
				busy := 0
				for _, r := range all[1:] {
					if s := r.State(); w.master().Address != addr(1) && !s.Master && s.Follows == w.master().Address && !s.LinkUp {
						busy++
					}
				}
				most = max(most, busy)
				return w.converged()
			})
			if want := int(limit[0] - '0'); most != want {
				t.Errorf("parallel-syncs %s: %d at a time", limit, most)
			}
			if row := w.last(); row.Outcome != raftfsm.OutcomeCompleted {
				t.Errorf("outcome %v", row.Outcome)
			}
		})
	}
}

func TestPausedSetIsNotTouched(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		until := time.Now().Add(time.Minute)
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "test", UntilMs: until.UnixMilli()}}})
		all[0].Crash()
		w.pass(30 * time.Second)
		if got := w.commands(); len(got) != 0 || w.begins() != 0 {
			t.Errorf("touched: %v, %d rows", got, w.begins())
		}
		w.pass(29900*time.Millisecond - time.Since(until.Add(-30*time.Second))%time.Second)
		w.until("resumed and switched", 3*time.Second, func() bool { return w.master().Pause == nil && w.master().Address != addr(1) })
	})
}

func TestForcedFailoverOfAHealthyMaster(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis(2)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		w.mu.Lock()
		o := &office{member: w.nodes["a"], term: w.term}
		w.mu.Unlock()
		e, err := New(Options{Cluster: o, Fleet: o.fleet, Log: w.log, Dial: noDial, LookupHost: w.lookUp})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Begin(t.Context(), Order{Master: "m", To: addr(9), Kind: raftfsm.KindForced, OperationID: "op-0", Actor: "ann"}); err == nil {
			t.Error("a stranger was accepted")
		}
		res, err := e.Begin(t.Context(), Order{Master: "m", To: addr(3), Kind: raftfsm.KindForced, OperationID: "op-1", Actor: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		w.until("converged", 10*time.Second, func() bool { return w.master().Address == addr(3) && w.converged() })
		again, err := e.Begin(t.Context(), Order{Master: "m", To: addr(3), Kind: raftfsm.KindForced, OperationID: "op-1", Actor: "ann"})
		if err != nil || again.Epoch != res.Epoch || w.master().Address != addr(3) {
			t.Errorf("repeated: %+v %v", again, err)
		}
	})
}

func TestUnconfirmedVotesOpenNothing(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		all[0].Crash()
		w.mu.Lock()
		w.leader = "c" // somebody takes the reports
		w.silent["b"], w.silent["c"] = true, true
		w.mu.Unlock()
		w.pass(3 * time.Second)
		w.lead("a", nil)
		w.pass(10 * time.Second)
		if !w.master().IsODown() || w.begins() != 0 || len(w.commands()) != 0 {
			t.Fatalf("opened on old votes: %d rows, %v", w.begins(), w.commands())
		}
		w.mu.Lock()
		w.silent["b"] = false
		w.mu.Unlock()
		w.until("switched", time.Second, func() bool { return w.master().Address != addr(1) })
	})
}

func TestMasterPromotedByHandIsAdopted(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		w.hand(all[1], "NO", "ONE")
		w.hand(all[0], addr(2).Host, "6379")
		w.hand(all[2], addr(2).Host, "6379")
		w.until("adopted", 20*time.Second, func() bool { return w.master().Address == addr(2) })
		w.until("converged", 20*time.Second, w.converged)
		if w.begins() != 0 {
			t.Errorf("%d rows", w.begins())
		}
	})
}

func TestTwoMastersOnANewLeadershipAreHeld(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.hand(all[1], "NO", "ONE")
		w.pass(15 * time.Second)
		w.lead("a", nil)
		w.until("held", 20*time.Second, func() bool { return w.master().Hold != nil })
		w.pass(30 * time.Second)
		if !all[1].State().Master {
			t.Error("demoted though held")
		}
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", Enforce: true}}})
		w.until("enforced", 20*time.Second, w.converged)
	})
}

func TestStrayReplicaIsBroughtBack(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(20 * time.Second)
		w.hand(all[1], "NO", "ONE")
		w.until("put back", 30*time.Second, w.converged)
		other := w.net.Add("10.0.9.9:6379")
		other.Write(5)
		w.hand(all[2], "10.0.9.9", "6379")
		w.until("away", time.Second, func() bool { return all[2].State().LinkUp })
		w.until("brought back", 30*time.Second, w.converged)
		if got := w.net.Instance(other.Addr()).State(); !got.Master {
			t.Error("a stranger was touched")
		}
	})
}

func TestMasterTurnedReplicaIsRestored(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(20 * time.Second)
		w.hand(all[0], "10.0.9.9", "6379") // nobody is there
		w.until("restored", 30*time.Second, func() bool { return all[0].State().Master && w.converged() })
		if w.master().Address != addr(1) || w.begins() != 0 {
			t.Errorf("master %s, %d rows", w.master().Address, w.begins())
		}
	})
}

func TestLeaderInTheWrongPlaceHandsOver(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		end := w.lead("a", nil)
		defer end()
		w.pass(6 * time.Second)
		w.net.Drop("a", all[0].Addr())
		w.until("handed over", 10*time.Second, func() bool { return slices.Equal(w.offered(), []string{"b"}) })
		if w.begins() != 0 || len(w.commands()) != 0 {
			t.Errorf("%d rows, %v", w.begins(), w.commands())
		}
	})
}

// A replica is not repointed to a master that a node holds down: the master may be about to be replaced.
func TestNothingIsRepointedUnderADownVote(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2, "quorum", "3")
		w.lead("a", nil)
		w.pass(20 * time.Second)
		w.net.Drop("b", all[0].Addr())
		w.until("a vote", 5*time.Second, func() bool { return len(w.master().Votes) == 1 })
		w.hand(all[1], "NO", "ONE")
		w.pass(20 * time.Second)
		if !all[1].State().Master {
			t.Error("demoted under a down vote")
		}
		w.net.Heal("b", all[0].Addr())
		w.until("put back", 20*time.Second, w.converged)
	})
}
