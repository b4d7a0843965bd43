package raftfsm_test

import (
	"bytes"
	"slices"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestSnapshotIsTheState(t *testing.T) {
	l := newLog(t)
	scenario(l)
	data := image(t, l.state)
	back, err := raftfsm.ReadSnapshot(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, image(t, back)) {
		t.Fatal("a restored state differs from the state")
	}
	// The two must go on alike, too: what is not in the bytes must not matter.
	other := &log{t: t, state: back, index: l.index}
	for _, x := range []*log{l, other} {
		x.ok(x.down("c", "m", 3, raftfsm.CauseTimeout))
		x.refused(raftfsm.AddressTaken, monitor("j", 3))
		x.refused(raftfsm.Removed, seedOf("gone", 70))
		x.ok(configure("announce-hostnames", "yes"))
		x.ok(deliver(x.index-5, 0))
		x.ok(x.begin("f", 902, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced }))
	}
	if !bytes.Equal(image(t, l.state), image(t, other.state)) {
		t.Fatal("a restored state went on differently")
	}
	if got, want := slices.Collect(back.ChangedSince(0)), slices.Collect(l.state.ChangedSince(0)); len(got) == 0 || len(got) != len(want)-0 {
		t.Fatalf("changes: %v, %v", got, want)
	}
	for _, cut := range places(data) {
		if _, err := raftfsm.ReadSnapshot(bytes.NewReader(data[:cut])); err == nil {
			t.Fatalf("a snapshot cut at %d of %d is accepted", cut, len(data))
		}
	}
	for _, i := range places(data) {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		if s, err := raftfsm.ReadSnapshot(bytes.NewReader(bad)); err == nil {
			t.Fatalf("a snapshot with a flipped bit at %d is accepted: %v", i, s)
		}
	}
}

// places are where a test damages data: everywhere at its beginning and end, and at every seventh byte between, because
// reading it from the beginning each time is quadratic.
func places(data []byte) []int {
	var out []int
	for i := range data {
		if i < 512 || i >= len(data)-512 || i%7 == 0 {
			out = append(out, i)
		}
	}
	return out
}

// scenario leaves something of everything in the state.
func scenario(l *log) {
	l.ok(monitor("m", 1, "auth-pass", "secret", "rename-command", "CONFIG hidden"))
	l.ok(l.facts("m", 2, 3))
	l.ok(monitor("gone", 40))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "gone"}}})
	l.ok(l.down("a", "m", 1, raftfsm.CauseReset))
	l.ok(l.down("b", "m", 1, raftfsm.CauseRefused))
	e := l.ok(l.begin("m", 2, func(b *raftlogv1.BeginFailover) {
		b.Candidates = []*raftlogv1.Candidate{{Address: addr(2), Chosen: true, Offset: 7}, {Address: addr(3), Rejection: "behind", Detail: "7 bytes behind"}}
	})).Epoch
	l.ok(switchTo("m", e, 1, 2))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: "m", Epoch: e, Step: &raftlogv1.Step{Name: raftfsm.StepRepoint, Instance: addr(3), AtMs: 12.5, TookMs: 1},
	}}})
	l.ok(end("m", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	l.ok(l.begin("m", 3, func(b *raftlogv1.BeginFailover) { b.Kind = raftlogv1.FailoverKind_FAILOVER_KIND_FORCED }))
	l.ok(monitor("n", 50))
	l.ok(l.facts("n", 3))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "n", Reason: "why", UntilMs: 5}}})
	l.ok(l.down("c", "n", 50, raftfsm.CauseAuth))

	l.ok(raise(2))
	l.ok(configure("resolve-hostnames", "yes"))
	l.ok(foreign("f", 7, 901, 902, 3))
	l.ok(l.resolve("f", 901, "10.1.0.1", 902, "fd00::2"))
	l.ok(l.correct("f", 902, raftfsm.CorrectionRepointed))
	l.ok(deliver(l.index-1, 1))
	l.ok(foreign("k", 9, 80, 81))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{
		Master: "k", Generation: l.master("k").Generation, Address: addr(81), Reason: "by lineage",
	}}})
	e = l.ok(l.begin("k", 80, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch
	l.ok(switchTo("k", e, 81, 80))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "k"}}})
	l.ok(pausedUntil("p", 70, 99))
	l.ok(pausedUntil("q", 71, 98))
	l.ok(resumed("q", "something stood in the way"))

	l.ok(raise(3))
	l.ok(configure("failover-brake", "70"))
	l.ok(monitor("r", 170))
	l.ok(l.facts("r", 171))
	l.ok(maintain(171, "new memory"))
	l.ok(monitor("s", 60, "failover-cooldown", "5000"))
	l.ok(l.facts("s", 61, 62))
	e = l.ok(l.planned("s", 61)).Epoch
	l.ok(switchTo("s", e, 60, 61))
	l.ok(end("s", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	l.ok(l.amended("s", 60, e, raftlogv1.LossKind_LOSS_KIND_EXACT, 33))
	e = l.ok(l.planned("s", 62)).Epoch

	l.ok(raise(4))
	l.ok(configure("remove-dead-nodes-after", "3600"))
	l.ok(drain("b", "new disk"))
	backup := l.backup()
	l.ok(monitor("t", 180))
	l.refused(raftfsm.InProgress, restore(backup, "era-2", true))
	l.ok(end("s", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED))
	l.ok(restore(backup, "era-2", true))
	l.ok(l.down("c", "n", 50, raftfsm.CauseAuth))
	l.ok(l.planned("s", 62))
}
