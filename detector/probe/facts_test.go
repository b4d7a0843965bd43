package probe

import (
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestFactsAreStatedOnce(t *testing.T) {
	inRoom(t, func(r *room) {
		m, _ := r.law.State().Master("m")
		if len(m.Instances) != 3 {
			t.Fatalf("instances %v", m.Instances)
		}
		truth := r.at(master).State()
		for _, in := range m.Instances {
			role := raftfsm.RoleReplica
			if in.Addr == m.Address {
				role = raftfsm.RoleMaster
			}
			if in.Role != role || in.RunID != r.at(in.Addr.String()).State().RunID || in.ReplID != truth.ReplID {
				t.Errorf("%+v", in)
			}
			if in.Addr != m.Address && in.SyncedReplID != truth.ReplID {
				t.Errorf("in sync, and not stated: %+v", in)
			}
		}
		before := len(r.law.facts())
		if before > 5 {
			t.Errorf("%d entries to learn a set of three", before)
		}
		r.at(master).SetWriteRate(100000)
		time.Sleep(5 * time.Minute)
		if n := len(r.law.facts()); n != before {
			t.Errorf("%d entries about nothing new: offsets that move are never replicated", n-before)
		}
		r.at(replica).Restart(false)
		time.Sleep(2 * time.Second)
		in, _ := must(r.law.State().Master("m")).Instance(addrOf(replica))
		if in.RunID != r.at(replica).State().RunID {
			t.Error("a new run id was not stated")
		}
	})
}

func TestNewReplicaIsFoundFromTheMasterAlone(t *testing.T) {
	inRoom(t, func(r *room) {
		r.net.Add("10.0.0.4:6379").Replicate(addrOf(replica)) // a replica's replica
		r.net.Add("10.0.0.5:6379").Replicate(addrOf(master))
		time.Sleep(11 * time.Second)
		m := must(r.law.State().Master("m"))
		if _, ok := m.Instance(addrOf("10.0.0.4:6379")); ok {
			t.Error("what a replica lists joined the set")
		}
		if _, ok := m.Instance(addrOf("10.0.0.5:6379")); !ok {
			t.Error("a new replica was not found within 11 s")
		}
	})
}

func TestListOfAMasterThatSaysItIsNoneIsIgnored(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Replicate(addrOf(third))
		r.net.Add("10.0.0.4:6379").Replicate(addrOf(master))
		time.Sleep(30 * time.Second)
		m := must(r.law.State().Master("m"))
		if _, ok := m.Instance(addrOf("10.0.0.4:6379")); ok {
			t.Error("what a replica lists joined the set")
		}
		if in, _ := m.Instance(m.Address); in.Role != raftfsm.RoleReplica {
			t.Errorf("%+v", in)
		}
	})
}

func TestResetConfirmsOrDrops(t *testing.T) {
	inRoom(t, func(r *room) {
		r.net.Instance(addrOf(third)).Crash()
		time.Sleep(30 * time.Second) // the master has dropped its link
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "*"}}})
		time.Sleep(time.Second)
		m := must(r.law.State().Master("m"))
		if _, ok := m.Instance(addrOf(third)); ok {
			t.Error("a replica that the master lists no more is still of the set")
		}
		if in, ok := m.Instance(addrOf(replica)); !ok || in.Unconfirmed {
			t.Errorf("%+v %v", in, ok)
		}
	})
}

func TestResetDropsNothingWithoutTheMaster(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Crash()
		r.at(third).Crash()
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "*"}}})
		time.Sleep(time.Minute)
		m := must(r.law.State().Master("m"))
		for _, a := range []string{replica, third} {
			if in, ok := m.Instance(addrOf(a)); !ok || !in.Unconfirmed {
				t.Errorf("%s: %+v %v", a, in, ok)
			}
		}
	})
}

// The committed master needs nobody's list: what it says of itself counts, though it became the master unconfirmed.
func TestAnAdoptedMasterIsConfirmedByItself(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Crash()
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "*"}}})
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", Adopt: addrOf(replica).Proto()}}})
		time.Sleep(30 * time.Second)
		m := must(r.law.State().Master("m"))
		if in, _ := m.Instance(m.Address); m.Address != addrOf(replica) || in.Unconfirmed {
			t.Errorf("%+v", in)
		}
	})
}

func TestForgottenReplicaComesBackOnlyIfListed(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(third).Crash()
		time.Sleep(time.Second)
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Forget{Forget: &raftlogv1.Forget{Name: "m", Address: addrOf(third).Proto()}}})
		time.Sleep(time.Minute)
		if _, ok := must(r.law.State().Master("m")).Instance(addrOf(third)); ok {
			t.Error("an older list brought it back")
		}
	})
}

// The state may be read before the watches have their plans from it: their list is older than the change all the same.
func TestListIsNotComparedWithAStateThatItsWatchHasNotSeen(t *testing.T) {
	inRoom(t, func(r *room) {
		now := r.law.State()
		forget := &raftlogv1.Command{
			Header: header(r.law),
			Op:     &raftlogv1.Command_Forget{Forget: &raftlogv1.Forget{Name: "m", Address: addrOf(third).Proto()}},
		}
		next, res := raftfsm.Apply(now, now.Index()+1, forget)
		if _, still := must(next.Master("m")).Instance(addrOf(third)); res.Code != raftfsm.OK || still {
			t.Fatal(res.Code, res.Detail)
		}
		if d := r.fleet.stater.difference(next, "m"); d != nil {
			t.Errorf("an older list brings it back: %v", d)
		}
	})
}

// What is marked while the sets are compared is compared again.
func TestMarkIsNotLost(t *testing.T) {
	inRoom(t, func(r *room) {
		stater := newStater(r.fleet)
		stater.mark("m")
		stater.names()
		stater.mark("m")
		stater.standing("m", nil, time.Now())
		if names := stater.names(); len(names) != 1 {
			t.Errorf("to be compared: %v", names)
		}
		stater.standing("m", &raftlogv1.StateFacts{}, time.Now())
		if names := stater.names(); len(names) != 1 {
			t.Errorf("a difference that stands is not looked at again: %v", names)
		}
		stater.standing("m", nil, time.Now())
		if names := stater.names(); len(names) != 0 {
			t.Errorf("without a mark or a difference: %v", names)
		}
	})
}

func TestFollowerStatesWhatStillStands(t *testing.T) {
	inRoom(t, func(r *room) {
		r.law.set(false, nil)
		before := len(r.law.facts())
		r.at(replica).Restart(false)
		r.fleet.Refresh(addrOf(replica))
		time.Sleep(notLeading - 100*time.Millisecond)
		if len(r.law.facts()) != before {
			t.Error("a follower did not wait for the leader")
		}
		time.Sleep(500 * time.Millisecond)
		if len(r.law.facts()) == before {
			t.Error("a follower that alone sees it keeps it to itself")
		}
		// Another node's newer facts are not undone by an older reading of our own.
		in, _ := must(r.law.State().Master("m")).Instance(addrOf(third))
		in.RunID = "newer"
		m := must(r.law.State().Master("m"))
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
			Master: "m", Generation: m.Generation, Instances: []*raftlogv1.InstanceFacts{factsProto(in)},
		}}})
		r.at(third).Hang()
		time.Sleep(5 * time.Second)
		if in, _ := must(r.law.State().Master("m")).Instance(addrOf(third)); in.RunID != "newer" {
			t.Error("an INFO from before the change undid it")
		}
	})
}

// Two nodes may reach two processes at one address. The one that does not lead gives way, and asks ever more seldom.
func TestTwoTruthsAboutOneAddressDoNotFillTheLog(t *testing.T) {
	inRoom(t, func(r *room) {
		r.law.set(false, nil)
		before := len(r.law.facts())
		for range 20 * 60 {
			m := must(r.law.State().Master("m"))
			in, _ := m.Instance(addrOf(third))
			if in.RunID != "theirs" {
				in.RunID = "theirs"
				r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
					Master: "m", Generation: m.Generation, Instances: []*raftlogv1.InstanceFacts{factsProto(in)},
				}}})
			}
			time.Sleep(time.Second)
		}
		if n := len(r.law.facts()) - before; n < 2 || n > 24 {
			t.Errorf("%d entries in 20 minutes", n)
		}
	})
}

func TestNothingIsStatedBeforeTheSwitch(t *testing.T) {
	inRoom(t, func(r *room) {
		res := r.begin("m")
		before := len(r.law.facts())
		r.at(third).Restart(false)
		time.Sleep(2 * time.Second)
		if len(r.law.facts()) != before {
			t.Error("an entry stood in the way of the switch")
		}
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
			Master: "m", Epoch: res.Epoch, Outcome: raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED,
		}}})
		time.Sleep(200 * time.Millisecond)
		if len(r.law.facts()) == before {
			t.Error("what changed meanwhile was never stated")
		}
	})
}

// While a verdict stands, INFO of every instance of the set comes at once and with every probe.
func TestContestedSetIsMeasuredOften(t *testing.T) {
	inRoom(t, func(r *room) {
		time.Sleep(37 * time.Millisecond)
		r.at(master).Crash()
		r.downAfter(master, 2*time.Second)
		fallen := time.Now()
		synctest.Wait()
		for range 10 {
			for _, a := range []string{replica, third} {
				if o := r.observe(a); time.Since(o.InfoAt) > 100*time.Millisecond || o.InfoAt.Before(fallen) {
					t.Fatalf("%s: INFO is %v old %v after the verdict", a, time.Since(o.InfoAt), time.Since(fallen))
				}
			}
			time.Sleep(77 * time.Millisecond)
		}
	})
}

// From half of down-after on, replicas are read before anybody votes: nobody waits for them when the quorum is there.
func TestReplicasAreMeasuredBeforeTheVerdict(t *testing.T) {
	inRoom(t, func(r *room) {
		time.Sleep(37 * time.Millisecond)
		r.at(master).Crash()
		crashed := time.Now()
		time.Sleep(400 * time.Millisecond)
		if o := r.observe(replica); time.Since(o.InfoAt) < 400*time.Millisecond {
			t.Errorf("a short silence of the master has the replicas read: %v ago", time.Since(o.InfoAt))
		}
		for time.Since(crashed) < 990*time.Millisecond {
			time.Sleep(10 * time.Millisecond)
			if o := r.observe(replica); time.Since(crashed) > 750*time.Millisecond && time.Since(o.InfoAt) > 110*time.Millisecond {
				t.Fatalf("%v after the crash the INFO is %v old", time.Since(crashed), time.Since(o.InfoAt))
			}
		}
		if r.observe(master).Down {
			t.Fatal("the verdict fell before its time")
		}
	})
}

func TestRefresh(t *testing.T) {
	inRoom(t, func(r *room) {
		time.Sleep(33 * time.Millisecond)
		now := time.Now()
		changed := r.fleet.Changed()
		r.fleet.Refresh(addrOf(replica))
		synctest.Wait()
		select {
		case <-changed:
		default:
			t.Error("nobody was told")
		}
		if o := r.observe(replica); !o.InfoAt.Equal(now) {
			t.Errorf("INFO of %v, now %v", o.InfoAt, now)
		}
	})
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("not there")
	}
	return v
}
