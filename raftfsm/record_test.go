package raftfsm_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestMonitorOfWhatAnotherControlPlaneKnew(t *testing.T) {
	l := level2(t)
	l.ok(monitor("n", 50))
	l.ok(l.facts("n", 51))
	since := l.index
	l.ok(foreign("m", 41, 1, 2, 1, 51, 902, 2))
	l.expect(since, "+monitor 10.0.0.1:1", "+new-epoch 10.0.0.1:1", "+slave 10.0.0.1:2", "+instance-conflict 10.0.0.1:51", "+slave redis-902.example:902")
	m := l.master("m")
	if m.Epoch != 41 || l.state.Epoch() != 41 || len(m.Instances) != 3 || len(m.Conflicts) != 1 || m.Conflicts[0].Other != "n" {
		t.Fatalf("%+v, epoch of the cluster %d", m, l.state.Epoch())
	}
	for _, in := range m.Instances {
		if in.Since != l.index || in.Unconfirmed != (in.Addr != m.Address) || in.SecondOffset != -1 || in.Role != raftfsm.RoleUnknown {
			t.Errorf("%+v", in)
		}
	}
	// The master lists one of the two, and lacks the other.
	l.ok(l.facts("m", 2))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: "m", Generation: m.Generation, Gone: []*raftlogv1.Address{addr(2), addr(902)},
	}}})
	if got := l.master("m").Replicas(); len(got) != 1 || got[0].Addr != raftfsm.AddrOf(addr(2)) || got[0].Unconfirmed {
		t.Errorf("%+v", got)
	}
	since = l.index
	l.ok(foreign("o", 7, 60))
	l.expect(since, "+monitor 10.0.0.1:60")
	if got := l.master("o").Epoch; got != 7 || l.state.Epoch() != 41 {
		t.Errorf("epoch %d, of the cluster %d", got, l.state.Epoch())
	}
	if got := l.ok(l.begin("m", 2, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch; got != 42 {
		t.Errorf("the next epoch is %d", got)
	}
	if res := l.ok(foreign("o", 99, 60, 61)); res.Changed || l.state.Epoch() != 42 {
		t.Errorf("a repeat changed the state: epoch %d", l.state.Epoch())
	}
	many := make([]int, 256)
	for i := range many {
		many[i] = 100 + i
	}
	before := l.state.Epoch()
	l.refused(raftfsm.TooMany, foreign("p", 1, 70, many...))
	l.refused(raftfsm.InvalidArgument, foreign("p", math.MaxInt64+1, 70))
	l.refused(raftfsm.InvalidArgument, foreign("p", 1, 70, 0))
	l.refused(raftfsm.AddressTaken, foreign("p", 1000, 51))
	if l.state.Epoch() != before {
		t.Errorf("a refused command raised the epoch to %d", l.state.Epoch())
	}
	l.ok(foreign("p", math.MaxInt64, 70, many[:255]...))
	if got := len(l.master("p").Instances); got != 256 {
		t.Errorf("%d instances", got)
	}
	if got := l.ok(l.begin("p", 100, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch; got != math.MaxInt64+1 {
		t.Errorf("the next epoch is %d", got)
	}
}

func TestCorrect(t *testing.T) {
	l := level2(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2))
	l.refused(raftfsm.InvalidArgument, l.correct("m", 2, 0))
	l.refused(raftfsm.InvalidArgument, l.correct("m", 2, 9))
	l.refused(raftfsm.NotFound, l.correct("m", 1, raftfsm.CorrectionDemoted))
	l.refused(raftfsm.NotFound, l.correct("m", 3, raftfsm.CorrectionDemoted))
	l.refused(raftfsm.NotFound, &raftlogv1.Command{Op: &raftlogv1.Command_Correct{Correct: &raftlogv1.Correct{Master: "x"}}})
	stale := l.correct("m", 2, raftfsm.CorrectionDemoted)
	l.ok(set("m", "down-after-milliseconds", "77"))
	l.refused(raftfsm.StaleGeneration, stale)
	before, since := *l.master("m"), l.index
	long := l.correct("m", 2, raftfsm.CorrectionRepointed)
	long.GetCorrect().Detail = strings.Repeat("x", 4000)
	l.ok(l.correct("m", 2, raftfsm.CorrectionDemoted))
	l.ok(long)
	l.expect(since, "+convert-to-slave 10.0.0.1:2", "+fix-slave-config 10.0.0.1:2")
	if got := *l.master("m"); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("it changed the set: %+v, before %+v", got, before)
	}
	for e := range must(l.state.EventsSince(raftfsm.Cursor{Index: since, Ordinal: math.MaxUint32 - 1})) {
		if e.Master != "m" || e.Role != raftfsm.RoleReplica || e.MasterAddr != at(1) || e.Detail == "" || len(e.Detail) > 512 {
			t.Errorf("%+v", e)
		}
	}
}

func TestDeliveredOnlyMovesForward(t *testing.T) {
	l := level2(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2))
	since := l.index
	for _, c := range []struct {
		index   uint64
		ordinal uint32
		changed bool
		want    raftfsm.Cursor
	}{
		{0, 0, false, raftfsm.Cursor{}},
		{3, 1, true, raftfsm.Cursor{Index: 3, Ordinal: 1}},
		{3, 0, false, raftfsm.Cursor{Index: 3, Ordinal: 1}},
		{2, 9, false, raftfsm.Cursor{Index: 3, Ordinal: 1}},
		{3, 1, false, raftfsm.Cursor{Index: 3, Ordinal: 1}},
		{3, 2, true, raftfsm.Cursor{Index: 3, Ordinal: 2}},
		{since, 0, true, raftfsm.Cursor{Index: since}},
	} {
		if res := l.ok(deliver(c.index, c.ordinal)); res.Changed != c.changed || l.state.Delivered() != c.want {
			t.Errorf("%d/%d: changed %t, at %+v", c.index, c.ordinal, res.Changed, l.state.Delivered())
		}
	}
	l.refused(raftfsm.InvalidArgument, deliver(l.index+1, 0)) // the entry that would say so
	l.expect(since)
	for name := range l.state.ChangedSince(since) {
		t.Errorf("%s changed", name)
	}
}

// An instance that the quorum holds down is adopted by nobody but an operator. Level 1 did not look, and is frozen.
func TestNoneHeldDownIsAdopted(t *testing.T) {
	for level, want := range map[uint32]raftfsm.Code{1: raftfsm.OK, 2: raftfsm.BadCandidate} {
		l := newLog(t)
		l.ok(raise(level))
		l.ok(monitor("m", 1))
		l.ok(l.facts("m", 2, 3))
		l.ok(l.down("a", "m", 3, raftfsm.CauseTimeout))
		for _, node := range []string{"a", "b"} {
			l.ok(l.down(node, "m", 2, raftfsm.CauseTimeout))
		}
		adopt := func(port int) *raftlogv1.Command {
			return &raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{
				Master: "m", Generation: l.master("m").Generation, Address: addr(port),
			}}}
		}
		if res := l.apply(adopt(2)); res.Code != want {
			t.Errorf("level %d: held down by the quorum: %v %s", level, res.Code, res.Detail)
		}
		if level == 2 {
			l.ok(adopt(3)) // by one node alone
			for _, node := range []string{"a", "b"} {
				l.ok(l.down(node, "m", 2, raftfsm.CauseTimeout))
			}
			l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", Adopt: addr(2)}}})
		}
	}
}

// What a released level tells of an entry is frozen; the next one tells more exactly.
func TestEventsByLevel(t *testing.T) {
	for level, want := range map[uint32][2]string{
		1: {"+adopt-master +switch-master +slave", "-failover-abort -monitor"},
		2: {"+new-epoch +adopt-master +switch-master +slave", "+failover-end -monitor"},
	} {
		l := newLog(t)
		l.ok(raise(level))
		l.ok(monitor("m", 1))
		l.ok(l.facts("m", 2))
		since := l.index
		l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{
			Master: "m", Generation: l.master("m").Generation, Address: addr(2),
		}}})
		if got := strings.Join(l.kinds(since), " "); got != want[0] {
			t.Errorf("level %d: an adoption tells %s", level, got)
		}
		epoch := l.ok(l.begin("m", 1, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch
		l.ok(switchTo("m", epoch, 2, 1))
		since = l.index
		l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
		if got := strings.Join(l.kinds(since), " "); got != want[1] {
			t.Errorf("level %d: the removal in a failover that has switched tells %s", level, got)
		}
	}
}
