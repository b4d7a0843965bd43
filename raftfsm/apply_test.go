package raftfsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestCrashFailover(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	start := l.index
	l.ok(l.down("a", "m", 1, raftfsm.CauseReset))
	l.refused(raftfsm.NotDown, l.begin("m", 2))
	l.ok(l.down("b", "m", 1, raftfsm.CauseRefused))
	if !l.master("m").IsODown() {
		t.Fatal("two of quorum two hold it down and it is not objectively down")
	}
	res := l.ok(l.begin("m", 2))
	l.refused(raftfsm.InProgress, l.begin("m", 3))
	l.refused(raftfsm.StaleEpoch, switchTo("m", res.Epoch+1, 1, 2))
	l.refused(raftfsm.StaleEpoch, switchTo("m", res.Epoch, 1, 3))
	stale := l.down("c", "m", 1, raftfsm.CauseReset)
	l.ok(switchTo("m", res.Epoch, 1, 2))
	l.refused(raftfsm.StaleEpoch, switchTo("m", res.Epoch, 1, 2))
	m := l.master("m")
	if m.Address.Port != 2 || m.Epoch != res.Epoch || m.IsODown() || len(m.Votes) != 0 || len(m.Replicas()) != 2 {
		t.Fatalf("after the switch: %+v", m)
	}
	l.ok(stale)
	if got := l.master("m"); len(got.Votes) != 0 {
		t.Fatalf("a verdict of the former generation counts: %+v", got.Votes)
	}
	l.refused(raftfsm.StaleEpoch, end("m", res.Epoch, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED))
	l.ok(end("m", res.Epoch, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	m = l.master("m")
	if m.Failover != nil || len(m.History) != 1 || len(m.History[0].Votes) != 2 {
		t.Fatalf("after the end: %+v", m)
	}
	want := []string{
		"+sdown", "+sdown", "+odown", "+new-epoch", "+try-failover", "+selected-slave", "+promoted-slave", "+switch-master",
		"+slave", "+slave", "+failover-end",
	}
	if got := l.kinds(start); !slices.Equal(got, want) {
		t.Fatalf("events\n got %v\nwant %v", got, want)
	}
}

func TestAnotherCandidateIsAnotherEpoch(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	l.ok(l.down("a", "m", 1, raftfsm.CauseReset))
	l.ok(l.down("b", "m", 1, raftfsm.CauseReset))
	first := l.ok(l.begin("m", 2)).Epoch
	second := l.ok(l.begin("m", 3, func(b *raftlogv1.BeginFailover) { b.Replaces = first })).Epoch
	if second <= first {
		t.Fatalf("epoch %d follows %d", second, first)
	}
	l.refused(raftfsm.StaleEpoch, switchTo("m", first, 1, 2))
	l.ok(switchTo("m", second, 1, 3))
	if past := l.master("m").History; len(past) != 1 || past[0].Outcome != raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_OVERTAKEN {
		t.Fatalf("history: %+v", past)
	}
}

func TestOperationIDMovesTheMasterOnce(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	forced := func(b *raftlogv1.BeginFailover) {
		b.OperationId, b.Kind = "mine", raftlogv1.FailoverKind_FAILOVER_KIND_FORCED
	}
	epoch := l.ok(l.begin("m", 2, forced)).Epoch
	if again := l.ok(l.begin("m", 3, forced)); again.Epoch != epoch || again.Changed {
		t.Fatalf("repeat: %+v", again)
	}
	l.ok(switchTo("m", epoch, 1, 2))
	l.ok(end("m", epoch, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	if again := l.ok(l.begin("m", 3, forced)); again.Epoch != epoch || l.master("m").Failover != nil {
		t.Fatalf("repeat after the end: %+v", again)
	}
}

func TestReports(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2))
	old := l.down("a", "m", 1, raftfsm.CauseTimeout)
	l.ok(old)
	l.refused(raftfsm.StaleBase, &raftlogv1.Command{Op: old.GetOp()})
	l.refused(raftfsm.UnknownNode, l.down("zz", "m", 1, raftfsm.CauseTimeout))
	l.ok(l.down("b", "m", 1, raftfsm.CauseAuth))
	if l.master("m").IsODown() {
		t.Fatal("a rejected password counts towards objective down")
	}
	l.ok(l.down("b", "m", 1, raftfsm.CauseTimeout))
	if !l.master("m").IsODown() {
		t.Fatal("not objectively down")
	}
	l.ok(l.up("a", "m", 1))
	if l.master("m").IsODown() {
		t.Fatal("still objectively down")
	}
	l.ok(l.down("a", "m", 1, raftfsm.CauseTimeout))
	n, _ := l.state.Node("b")
	expire := func(base uint64) *raftlogv1.Command {
		return &raftlogv1.Command{Op: &raftlogv1.Command_ExpireReports{ExpireReports: &raftlogv1.ExpireReports{Node: "b", Base: base}}}
	}
	l.refused(raftfsm.StaleBase, expire(n.ReportBase+1))
	l.ok(expire(n.ReportBase))
	if m := l.master("m"); m.IsODown() || len(m.Votes) != 1 {
		t.Fatalf("after the expiry: %+v", m)
	}
}

func TestVotesOfNonVotersDoNotCount(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.down("a", "m", 1, raftfsm.CauseTimeout))
	l.ok(l.down("b", "m", 1, raftfsm.CauseTimeout))
	l.servers("a", "c")
	m := l.master("m")
	if m.IsODown() || len(m.Votes) != 1 {
		t.Fatalf("a removed node's vote stands: %+v", m)
	}
	if _, known := l.state.Node("b"); known {
		t.Fatal("a removed node is still registered")
	}
}

func TestMonitorRemoveSet(t *testing.T) {
	l := newLog(t)
	seed := monitor("m", 1)
	seed.GetMonitor().Seed = true
	l.ok(seed)
	l.ok(l.facts("m", 2))
	if res := l.ok(monitor("m", 2)); res.Changed {
		t.Fatal("monitor with a member's address changed the state")
	}
	l.refused(raftfsm.DuplicateName, monitor("m", 9))
	l.refused(raftfsm.DuplicateName, set2("m", 1, "quorum", "3"))
	l.refused(raftfsm.AddressTaken, monitor("n", 2))
	for _, bad := range []*raftlogv1.Command{
		monitor("", 9), monitor("a b", 9), monitor("a\nb", 9), monitor("n", 0), monitor("n", 65536),
		monitor("n", 9, "quorum", "0"), monitor("n", 9, "quorum", "x"), monitor("n", 9, "no-such", "1"),
		monitor("n", 9, "auth-pass", "a\nb"), monitor("n", 9, "down-after-milliseconds", "0"), monitor("n", 9, "tls", "maybe"),
		set("m", "parallel-syncs", "0"), set("m", "quorum", "5", "failover-timeout", "-1"),
	} {
		l.refused(raftfsm.InvalidArgument, bad)
	}
	if got := l.master("m").Options.Quorum; got != 2 {
		t.Fatalf("a refused set changed the quorum to %d", got)
	}
	before := l.master("m").Generation
	l.ok(set("m", "parallel-syncs", "3"))
	if l.master("m").Generation != before {
		t.Fatal("parallel-syncs began a new generation")
	}
	l.ok(set("m", "down-after-milliseconds", "500", "auth-pass", "one"))
	l.ok(set("m", "auth-pass", "two"))
	if m := l.master("m"); m.Generation == before || m.Options.FormerAuthPass.Reveal() != "one" {
		t.Fatalf("after set: %+v", m)
	}
	if res := l.ok(set("m", "auth-pass", "two")); res.Changed {
		t.Fatal("the same set again changed the state")
	}
	for e := range must(l.state.EventsSince(raftfsm.Cursor{})) {
		if strings.Contains(fmt.Sprint(e), "two") {
			t.Fatalf("a password stands in an event: %+v", e)
		}
	}
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
	l.refused(raftfsm.NotFound, set("m", "quorum", "1"))
	again := monitor("m", 1)
	again.GetMonitor().Seed = true
	l.refused(raftfsm.Removed, again)
	l.ok(monitor("m", 2))
	l.ok(monitor("n", 1))
}

func TestInstancesBelongToOneSet(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(monitor("n", 11))
	l.ok(l.facts("m", 2))
	l.ok(l.facts("n", 2))
	if n := l.master("n"); len(n.Instances) != 1 || len(n.Conflicts) != 1 || n.Conflicts[0].Other != "m" {
		t.Fatalf("n: %+v", n)
	}
	if res := l.ok(l.facts("n", 2)); res.Changed {
		t.Fatal("the same conflict again changed the state")
	}
	twin := l.facts("m", 5)
	twin.GetStateFacts().Instances[0].RunId = "run2"
	l.ok(twin)
	if m := l.master("m"); len(m.Instances) != 2 || len(m.Conflicts) != 1 {
		t.Fatalf("one process under two addresses became two instances: %+v", m)
	}
}

func TestResetDropsOnlyWhatTheMasterLacks(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	if res := l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "m*"}}}); res.Detail != "1" {
		t.Fatalf("reset %s masters", res.Detail)
	}
	if m := l.master("m"); len(m.Instances) != 3 {
		t.Fatalf("reset forgot instances: %+v", m.Instances)
	}
	c := l.facts("m", 2)
	c.GetStateFacts().Gone = []*raftlogv1.Address{addr(2), addr(3), addr(1)}
	l.ok(c)
	m := l.master("m")
	if len(m.Instances) != 2 || m.Replicas()[0].Addr.Port != 2 {
		t.Fatalf("after the reading: %+v", m.Instances)
	}
}

func TestPauseHoldResume(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	l.ok(l.down("a", "m", 1, raftfsm.CauseTimeout))
	l.ok(l.down("b", "m", 1, raftfsm.CauseTimeout))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "work"}}})
	l.refused(raftfsm.Paused, l.begin("m", 2))
	resume := func(r *raftlogv1.Resume) *raftlogv1.Command {
		r.Name = "m"
		return &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: r}}
	}
	l.ok(resume(&raftlogv1.Resume{}))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: "m", Generation: l.master("m").Generation, Reason: "two masters"}}})
	l.refused(raftfsm.Paused, l.begin("m", 2))
	l.refused(raftfsm.Unsettled, resume(&raftlogv1.Resume{}))
	l.refused(raftfsm.NotFound, resume(&raftlogv1.Resume{Adopt: addr(77)}))
	l.ok(resume(&raftlogv1.Resume{Adopt: addr(3)}))
	if m := l.master("m"); m.Address.Port != 3 || m.Hold != nil || m.Epoch == 0 {
		t.Fatalf("after adoption: %+v", m)
	}
}

func TestEventRingTellsWhatFellOut(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	at := raftfsm.Cursor{Index: l.index}
	for i := range raftfsm.RingSize + 10 {
		l.index++
		l.state, _ = raftfsm.Apply(l.state, l.index, withHeader(set("m", "parallel-syncs", fmt.Sprint(2+i%2))))
	}
	events, ok := l.state.EventsSince(at)
	n := 0
	for range events {
		n++
	}
	if ok || n != raftfsm.RingSize {
		t.Fatalf("ok %t with %d events", ok, n)
	}
	if _, ok := l.state.EventsSince(raftfsm.Cursor{Index: l.index - 100}); !ok {
		t.Fatal("recent events are said to be gone")
	}
}

func TestEveryVerbIsLaw(t *testing.T) {
	l := newLog(t)
	scenario(l)
	ops := (&raftlogv1.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("op").Fields()
	for i := range ops.Len() {
		c := &raftlogv1.Command{}
		r := c.ProtoReflect()
		r.Set(ops.Get(i), r.NewField(ops.Get(i)))
		// An empty command of each verb must have a verdict, and none may panic.
		l.apply(c)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a command without a verb is applied")
			}
		}()
		raftfsm.Apply(l.state, l.index+1, &raftlogv1.Command{Header: &raftlogv1.Header{}})
	}()
	if _, err := raftfsm.Encode(&raftlogv1.Command{Header: &raftlogv1.Header{Level: raftfsm.Level + 1}, Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{}}}); err == nil {
		t.Error("a command above the level is encoded")
	}
	beyond, err := proto.Marshal(&raftlogv1.Command{Header: &raftlogv1.Header{Level: 1}, Op: &raftlogv1.Command_SetFeatureLevel{
		SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level + 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raftfsm.Decode(beyond); !errors.Is(err, raftfsm.ErrTooNew) {
		t.Errorf("the level is raised beyond this build: %v", err)
	}
	unknown, err := proto.Marshal(&raftlogv1.Command{Header: &raftlogv1.Header{Level: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raftfsm.Decode(append(unknown, 0xfa, 0x3f, 0)); err == nil {
		t.Error("an entry with an unknown verb is decoded")
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true},
		{"*", "x", true},
		{"m*", "my", true},
		{"m*", "ym", false},
		{"?", "", false},
		{"a?c", "abc", true},
		{"[a-c]x", "bx", true},
		{"[^a-c]x", "bx", false},
		{"[^a-c]x", "dx", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{"a*b*c", "axxbyyc", true},
		{"a*b*c", "axxbyy", false},
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"[", "[", false},
		{"[a", "a", true},
		{"[]", "a", false},
		{"*a", "aaa", true},
		{"A", "a", false},
		{strings.Repeat("*a", 60) + "b", strings.Repeat("a", 4000), false},
	} {
		if got := raftfsm.Glob(c.pattern, c.s); got != c.want {
			t.Errorf("Glob(%q, %q) = %t", c.pattern, c.s, got)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := raftfsm.NewSecret("hunter2")
	opts := raftfsm.Options{AuthPass: s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{s, &s, opts, &opts, []raftfsm.Secret{s}} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74657232") {
				t.Errorf("%s of %T prints %s", verb, v, out)
			}
		}
	}
}

func TestADeposedLeadersDecisionIsRefused(t *testing.T) {
	l := newLog(t)
	l.ok(mark(3))
	in := func(term uint64, c *raftlogv1.Command) *raftlogv1.Command {
		c.Header = &raftlogv1.Header{Level: 1, Term: term}
		return c
	}
	l.ok(in(3, monitor("m", 1)))
	l.ok(mark(5))
	l.refused(raftfsm.StaleTerm, in(3, set("m", "parallel-syncs", "2")))
	back, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
	if err != nil {
		t.Fatal(err)
	}
	l.state = back
	l.refused(raftfsm.StaleTerm, in(4, set("m", "parallel-syncs", "2")))
	l.ok(in(5, set("m", "parallel-syncs", "2")))
}

func TestSyncWithAStrangerIsNotRemembered(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	master := l.facts("m", 1)
	master.GetStateFacts().Instances[0].Role, master.GetStateFacts().Instances[0].ReplId = raftfsm.RoleMaster, "r1"
	l.ok(master)
	l.ok(l.facts("m", 2))
	stranger := l.facts("m", 2)
	stranger.GetStateFacts().Instances[0].ReplId, stranger.GetStateFacts().Instances[0].SyncedReplId = "foreign", "foreign"
	l.ok(stranger)
	in, _ := l.master("m").Instance(raftfsm.AddrOf(addr(2)))
	if in.ReplID != "foreign" || in.SyncedReplID != "r1" {
		t.Fatalf("%+v", in)
	}
}

func TestPauseThatWasExtendedIsNotEndedByItsFormerEnd(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	pause := func(until int64) *raftlogv1.Command {
		return &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "work", UntilMs: until}}}
	}
	end := func(until int64) *raftlogv1.Command {
		return &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", UntilMs: until}}}
	}
	l.ok(pause(100))
	l.ok(pause(900))
	l.refused(raftfsm.StaleRevision, end(100))
	l.ok(end(900))
	l.refused(raftfsm.StaleRevision, end(900))
}

func TestStepsAreBounded(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2))
	epoch := l.ok(l.begin("m", 2, func(b *raftlogv1.BeginFailover) {
		b.Kind, b.Reason = raftlogv1.FailoverKind_FAILOVER_KIND_FORCED, strings.Repeat("ä", 4000)
	})).Epoch
	if got := len(l.master("m").Failover.Reason); got > 512 {
		t.Errorf("a reason of %d bytes is kept", got)
	}
	step := &raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: "m", Epoch: epoch, Step: &raftlogv1.Step{Name: raftfsm.StepRepoint},
	}}}
	for range raftfsm.MaxSteps {
		l.ok(step)
	}
	l.refused(raftfsm.TooMany, step)
}

func TestProcessAtTwoAddresses(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2))
	list := func(port int, runID string) raftfsm.Result {
		c := l.facts("m", port)
		c.GetStateFacts().Instances[0].RunId = runID
		return l.ok(c)
	}
	replica := func() string {
		if r := l.master("m").Replicas(); len(r) == 1 {
			return r[0].Addr.String()
		}
		return fmt.Sprint(l.master("m").Replicas())
	}
	// Reached at the address it was known by, and listed under another: that one is noted, once.
	list(5, "")
	list(5, "run2")
	if replica() != "10.0.0.1:2" || len(l.master("m").Conflicts) != 1 {
		t.Fatalf("%s, conflicts %v", replica(), l.master("m").Conflicts)
	}
	if list(5, "").Changed {
		t.Fatal("the same reading again changed the state")
	}
	// The known address goes silent: the process has moved.
	l.ok(l.down("a", "m", 2, raftfsm.CauseTimeout))
	l.ok(l.down("b", "m", 2, raftfsm.CauseTimeout))
	list(5, "")
	list(5, "run2")
	if replica() != "10.0.0.1:5" || len(l.master("m").Conflicts) != 0 {
		t.Fatalf("%s, conflicts %v", replica(), l.master("m").Conflicts)
	}
	// The candidate of an open row stays, whatever is learned of its other address.
	l.ok(l.begin("m", 5, func(b *raftlogv1.BeginFailover) { b.Kind = raftlogv1.FailoverKind_FAILOVER_KIND_FORCED }))
	again := l.facts("m", 6)
	again.GetStateFacts().Instances[0].RunId = ""
	l.ok(again)
	known := l.facts("m", 6)
	known.GetStateFacts().Instances[0].RunId = "run2"
	l.ok(known)
	if _, ok := l.master("m").Instance(raftfsm.AddrOf(addr(5))); !ok {
		t.Fatal("the candidate left the set")
	}
	if res := l.ok(known); res.Changed {
		t.Fatal("the same reading again changed the state")
	}
}

func TestAConflictFollowsTheOwner(t *testing.T) {
	l := newLog(t)
	for i, name := range []string{"a", "b", "m"} {
		l.ok(monitor(name, 10*i+1))
	}
	l.ok(l.facts("a", 5))
	l.ok(l.facts("m", 5))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "a"}}})
	l.ok(l.facts("b", 5))
	l.ok(l.facts("m", 5))
	if c := l.master("m").Conflicts; len(c) != 1 || c[0].Other != "b" {
		t.Fatalf("conflicts %v", c)
	}
	if res := l.ok(l.facts("m", 5)); res.Changed {
		t.Fatal("the same conflict again changed the state")
	}
}

func TestEnforceEndsWhenTheSetIsSettled(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	generation := l.master("m").Generation
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: "m", Generation: generation, Reason: "two masters"}}})
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", Enforce: true}}})
	if !l.master("m").Enforce {
		t.Fatal("enforce is not kept")
	}
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Settle{Settle: &raftlogv1.Settle{Name: "m", Generation: generation}}})
	if l.master("m").Enforce {
		t.Fatal("enforce outlives the settling")
	}
}

// Two spellings of one address are two addresses until the process behind them has said who it is.
func TestAProcessOfTwoSetsHoldsTheSecond(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 1, 2))
	l.ok(monitor("n", 11))
	same := l.facts("n", 11)
	same.GetStateFacts().Instances[0].RunId = "run1"
	l.ok(same)
	if n := l.master("n"); n.Hold == nil || l.master("m").Hold != nil {
		t.Fatalf("n: %+v, m: %+v", n.Hold, l.master("m").Hold)
	}
	if o, ok := l.state.ProcessOwner("run1", "n"); !ok || o.Name != "m" {
		t.Fatalf("owner %v", o)
	}
	back, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := back.ProcessOwner("run1", "m"); !ok || o.Name != "n" {
		t.Fatalf("owner after a restore %v", o)
	}
}
