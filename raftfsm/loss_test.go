package raftfsm_test

import (
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// handed is the switch of a master that gave way first.
func handed(name string, epoch uint64, from, to int) *raftlogv1.Command {
	c := switchTo(name, epoch, from, to)
	c.GetSwitchMaster().Steps = []*raftlogv1.Step{{Name: raftfsm.StepCheck, Instance: addr(to), AtMs: 4}}
	return c
}

func step(name string, epoch uint64, what string, port int) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: name, Epoch: epoch, Step: &raftlogv1.Step{Name: what, Instance: addr(port), AtMs: 9},
	}}}
}

func forced(offset int64) func(*raftlogv1.BeginFailover) {
	return func(b *raftlogv1.BeginFailover) {
		b.Kind, b.OldOffset, b.OldReplId = raftfsm.KindForced, offset, "r1"
	}
}

// A failover that is overtaken after its switch keeps what it may have lost, though nobody closes it and its new master is
// another's replica by then. The promoted one left the history r1 after 99 bytes.
func TestAnOvertakenFailoverKeepsItsLoss(t *testing.T) {
	overtakes := map[string]func(l *log) *raftlogv1.Command{
		"by another failover": func(l *log) *raftlogv1.Command { return l.begin("m", 3, forced(0)) },
		"by an adoption": func(l *log) *raftlogv1.Command {
			return &raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{
				Master: "m", Generation: l.master("m").Generation, Address: addr(3), Reason: "by lineage",
			}}}
		},
		"by hand": func(*log) *raftlogv1.Command {
			return &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", Adopt: addr(3)}}}
		},
		"by an end that tells of none": func(l *log) *raftlogv1.Command {
			return end("m", l.master("m").Failover.Epoch, raftfsm.OutcomeTimedOut)
		},
	}
	for _, c := range []struct {
		name   string
		level  uint32
		seen   int64
		oldID  string
		handed bool
		steps  []string
		want   raftfsm.Loss
	}{
		{name: "as last seen", level: 3, seen: 120, want: raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 21}},
		{name: "level with what was seen", level: 3, seen: 99, want: raftfsm.Loss{Kind: raftfsm.LossLowerBound}},
		{name: "seen before that", level: 3, seen: 98, want: raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{name: "never seen", level: 3, seen: -1, want: raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{name: "of another history", level: 3, seen: 120, oldID: "r9", want: raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{name: "of the promoted one's own", level: 3, seen: 120, oldID: "r2", want: raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{name: "of none that is known", level: 3, seen: 120, oldID: "0000000000000000000000000000000000000000", want: raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{name: "it gave way", level: 3, seen: 99, handed: true, steps: []string{raftfsm.StepRepoint}, want: raftfsm.Loss{Kind: raftfsm.LossExact}},
		{name: "it gave way and came back as a master", level: 3, seen: 99, handed: true, steps: []string{raftfsm.StepDemote}, want: raftfsm.Loss{Kind: raftfsm.LossLowerBound}},
		{name: "the same, unseen", level: 3, seen: 7, handed: true, steps: []string{raftfsm.StepDemote}, want: raftfsm.Loss{Kind: raftfsm.LossUnknown}},
		{name: "level 2 is frozen", level: 2, seen: 120},
	} {
		for how, command := range overtakes {
			t.Run(c.name+", "+how, func(t *testing.T) {
				l := newLog(t)
				l.ok(raise(c.level))
				l.ok(monitor("m", 1))
				l.ok(l.facts("m", 2, 3))
				e := l.ok(l.begin("m", 2, forced(c.seen), func(b *raftlogv1.BeginFailover) {
					if c.oldID != "" {
						b.OldReplId = c.oldID
					}
				})).Epoch
				if c.handed {
					l.ok(handed("m", e, 1, 2))
				} else {
					l.ok(switchTo("m", e, 1, 2))
				}
				for _, s := range c.steps {
					l.ok(step("m", e, s, 1))
				}
				// The new master follows somebody else by now, and knows no more of the history that it left.
				l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
					Master: "m", Generation: l.master("m").Generation,
					Instances: []*raftlogv1.InstanceFacts{{Address: addr(2), RunId: "run2", Role: raftfsm.RoleReplica, ReplId: "r5", SecondOffset: -1}},
				}}})
				l.ok(command(l))
				row := l.master("m").History[0]
				if row.Epoch != e || !row.Switched || row.Loss != c.want {
					t.Errorf("lost %+v of %+v, want %+v", row.Loss, row, c.want)
				}
			})
		}
	}
}

// A row that was switched before the cluster was at level 3 has kept nothing: nobody knows.
func TestARowFromBeforeTheLevelHasLostWhatNobodyKnows(t *testing.T) {
	l := newLog(t)
	l.ok(raise(2))
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	e := l.ok(l.begin("m", 2, forced(120))).Epoch
	l.ok(switchTo("m", e, 1, 2))
	l.ok(raise(3))
	l.ok(l.begin("m", 3, forced(0)))
	if got := l.master("m").History[0].Loss; got != (raftfsm.Loss{Kind: raftfsm.LossUnknown}) {
		t.Errorf("lost %+v", got)
	}
}

// Nothing was switched by it: it has lost nothing, and nothing is told of that.
func TestAnAbortedFailoverTellsOfNoLoss(t *testing.T) {
	l := level3(t)
	e := l.ok(l.begin("m", 2, forced(120))).Epoch
	l.ok(l.begin("m", 3, forced(120), func(b *raftlogv1.BeginFailover) { b.Replaces = e }))
	if got := l.master("m").History[0].Loss; got != (raftfsm.Loss{}) {
		t.Errorf("lost %+v", got)
	}
}

// What an old master tells after the end replaces what stands only where that says more; the nothing of one that gave way is
// taken back when it comes back as a master.
func TestWhatACorrectionReplaces(t *testing.T) {
	exact := func(n int64) raftfsm.Loss { return raftfsm.Loss{Kind: raftfsm.LossExact, Bytes: n} }
	bound, unknown := raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 3}, raftfsm.Loss{Kind: raftfsm.LossUnknown}
	for _, c := range []struct {
		name    string
		handed  bool
		follows bool
		stands  raftfsm.Loss
		told    raftfsm.Loss
		want    raftfsm.Loss
	}{
		{"it tells to the byte", false, false, bound, exact(7), exact(7)},
		{"it gave way, and tells to the byte", true, true, exact(0), exact(7), exact(7)},
		{"it gave way and came back", true, false, exact(0), bound, bound},
		{"it gave way and came back with nothing", true, false, exact(0), unknown, unknown},
		{"it gave way, followed, and became a master again", true, true, exact(0), bound, exact(0)},
		{"it gave way, and has told to the byte before", true, false, exact(7), bound, exact(7)},
		{"its process has told that nothing was lost", false, false, exact(0), bound, exact(0)},
		{"no more than was known", false, false, bound, unknown, bound},
		{"what a restarted process says is no bound", false, false, unknown, bound, unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := level3(t)
			e := l.ok(l.begin("m", 2, forced(99))).Epoch
			l.ok(map[bool]func(string, uint64, int, int) *raftlogv1.Command{true: handed, false: switchTo}[c.handed]("m", e, 1, 2))
			if c.follows {
				l.ok(step("m", e, raftfsm.StepRepoint, 1))
			}
			closes := end("m", e, raftfsm.OutcomeCompleted)
			closes.GetEndFailover().Loss = &raftlogv1.Loss{Kind: c.stands.Kind, Bytes: c.stands.Bytes}
			l.ok(closes)
			since := l.index
			l.ok(l.amended("m", 1, e, c.told.Kind, c.told.Bytes))
			if got := l.master("m").History[0].Loss; got != c.want {
				t.Errorf("%+v was corrected by %+v to %+v, want %+v", c.stands, c.told, got, c.want)
			}
			l.expect(since, "+convert-to-slave 10.0.0.1:1")
		})
	}
	l := level3(t)
	for _, told := range []raftfsm.Loss{{}, {Kind: raftfsm.LossUnknown, Bytes: 1}, {Kind: raftfsm.LossExact, Bytes: -1}, {Kind: 9}} {
		l.refused(raftfsm.InvalidArgument, l.amended("m", 2, 1, told.Kind, told.Bytes))
	}
}
