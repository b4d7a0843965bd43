package raftfsm_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// level3 is a log at feature level 3, with a master and two replicas.
func level3(t testing.TB, kv ...string) *log {
	l := newLog(t)
	l.ok(raise(3))
	l.ok(monitor("m", 1, kv...))
	l.ok(l.facts("m", 2, 3))
	return l
}

func TestMaintenance(t *testing.T) {
	l := level3(t)
	l.ok(l.down("a", "m", 2, raftfsm.CauseReset))
	l.ok(l.down("b", "m", 2, raftfsm.CauseAuth))
	c := maintain(2, "new memory")
	c.Header = &raftlogv1.Header{Level: 3, Proposer: "a", ProposedAtMs: 77, Actor: "ada"}
	c.GetMaintain().UntilMs = 500
	since := l.index
	l.ok(c)
	if got, want := l.kinds(since), []string{raftfsm.EventSDownEnd, raftfsm.EventAuthEnd, raftfsm.EventMaintenance}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	in := must(l.master("m").Instance(at(2)))
	if in.Maintenance == nil || *in.Maintenance != (raftfsm.Pause{Actor: "ada", Reason: "new memory", SinceMs: 77, UntilMs: 500}) {
		t.Fatalf("%+v", in.Maintenance)
	}
	if len(l.master("m").Votes) != 0 {
		t.Errorf("votes %v: what is meant to be down is not held against it", l.master("m").Votes)
	}
	same := maintain(2, "new memory")
	same.Header = &raftlogv1.Header{Level: 3, Proposer: "b", ProposedAtMs: 99, Actor: "ada"}
	same.GetMaintain().UntilMs = 500
	if res := l.ok(same); res.Changed {
		t.Error("the same once more changed something")
	}
	l.refused(raftfsm.BadCandidate, l.planned("m", 2))
	l.refused(raftfsm.BadCandidate, maintain(1, "it is the master"))
	l.refused(raftfsm.NotFound, maintain(9, "nobody's"))
	ends := func(until int64) *raftlogv1.Command {
		return &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{Instance: addr(2), End: true, UntilMs: until}}}
	}
	l.refused(raftfsm.StaleRevision, ends(400))
	l.ok(ends(500))
	if l.master("m").InMaintenance(at(2)) {
		t.Error("it did not end")
	}
	if res := l.ok(ends(0)); res.Changed {
		t.Error("what had ended ended again")
	}
	l.ok(l.planned("m", 2))
	l.refused(raftfsm.InProgress, maintain(2, "it is the candidate"))
}

// Whoever judged that the set can spare an instance judged it as it was then.
func TestMaintenanceOfASetThatHasChanged(t *testing.T) {
	l := level3(t)
	seen := func(port int) *raftlogv1.Command {
		c := maintain(port, "new memory")
		c.GetMaintain().ExpectedRevision = l.master("m").Revision
		return c
	}
	first, second := seen(2), seen(3)
	l.ok(first)
	l.refused(raftfsm.StaleRevision, second)
	l.ok(seen(3))
}

// The clocks are those of the leaders that proposed: a leader whose clock is behind holds nothing up.
func TestCooldown(t *testing.T) {
	var l *log
	at := func(c *raftlogv1.Command, ms int64) *raftlogv1.Command {
		c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c), Proposer: "a", ProposedAtMs: ms}
		return c
	}
	port := func() (from, to int) {
		from = int(l.master("m").Address.Port)
		return from, from%3 + 1
	}
	due := func() {
		from, _ := port()
		l.ok(l.down("a", "m", from, raftfsm.CauseReset))
		l.ok(l.down("b", "m", from, raftfsm.CauseReset))
	}
	fail := func(ms int64) {
		due()
		from, to := port()
		e := l.ok(at(l.begin("m", to), ms)).Epoch
		l.ok(at(switchTo("m", e, from, to), ms))
		l.ok(end("m", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	}
	for _, c := range []struct {
		name   string
		option string
		before []int64
		at     int64
		want   raftfsm.Code
	}{
		{"the first", "10000", nil, 0, raftfsm.OK},
		{"the second at once", "10000", []int64{1000}, 1001, raftfsm.OK},
		{"the third at once", "10000", []int64{1000, 2000}, 2001, raftfsm.Cooldown},
		{"the third a little too early", "10000", []int64{1000, 2000}, 11999, raftfsm.Cooldown},
		{"the third in time", "10000", []int64{1000, 2000}, 12000, raftfsm.OK},
		{"the fourth after a third in time", "10000", []int64{1000, 2000, 12000}, 13000, raftfsm.Cooldown},
		{"the fourth in time", "10000", []int64{1000, 2000, 12000}, 22000, raftfsm.OK},
		{"the fifth after a fourth in time", "10000", []int64{1000, 2000, 12000, 22000}, 31999, raftfsm.Cooldown},
		{"the fifth in time", "10000", []int64{1000, 2000, 12000, 22000}, 32000, raftfsm.OK},
		{"not quiet for long enough", "10000", []int64{1000, 20999}, 21000, raftfsm.Cooldown},
		{"quiet for twice the time", "10000", []int64{1000, 21000}, 21001, raftfsm.OK},
		{"a new burst is spent as the first", "10000", []int64{1000, 2000, 22000, 23000}, 23001, raftfsm.Cooldown},
		{"by a clock that is behind", "10000", []int64{1000, 2000}, 1500, raftfsm.OK},
		{"off", "0", []int64{1000, 2000}, 2001, raftfsm.OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			l = level3(t, "failover-cooldown", c.option)
			for _, ms := range c.before {
				fail(ms)
			}
			due()
			_, to := port()
			if got := l.apply(at(l.begin("m", to), c.at)); got.Code != c.want {
				t.Errorf("code %d (%s), want %d", got.Code, got.Detail, c.want)
			}
		})
	}
	t.Run("a person, and a candidate that failed, do not wait", func(t *testing.T) {
		l = level3(t)
		fail(1000)
		fail(2000)
		due()
		_, to := port()
		forced := l.begin("m", to, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })
		e := l.ok(at(forced, 2001)).Epoch
		l.ok(at(l.begin("m", to%3+1, func(b *raftlogv1.BeginFailover) { b.Replaces = e }), 2002))
	})
}

// The cooldown goes by what no bound on the stories drops, and a snapshot holds.
func TestCooldownOutlivesTheStories(t *testing.T) {
	l := level3(t)
	ms := func(c *raftlogv1.Command, ms int64) *raftlogv1.Command {
		c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c), Proposer: "a", ProposedAtMs: ms}
		return c
	}
	due := func(port int) {
		l.ok(l.down("a", "m", port, raftfsm.CauseReset))
		l.ok(l.down("b", "m", port, raftfsm.CauseReset))
	}
	for i, at := range []int64{1000, 2000} {
		due(i + 1)
		e := l.ok(ms(l.begin("m", i+2), at)).Epoch
		l.ok(ms(switchTo("m", e, i+1, i+2), at))
		l.ok(end("m", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	}
	l.ok(monitor("other", 11))
	l.ok(l.facts("other", 12))
	long := make([]*raftlogv1.Candidate, 1000)
	for i := range long {
		long[i] = &raftlogv1.Candidate{Address: addr(12), Detail: strings.Repeat("x", 500)}
	}
	for len(l.master("m").History) > 1 {
		e := l.ok(l.begin("other", 12, func(b *raftlogv1.BeginFailover) {
			b.Kind, b.Candidates = raftfsm.KindForced, long
		})).Epoch
		l.ok(end("other", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED))
		if len(l.master("other").History) > 50 {
			t.Fatal("the stories are without bound")
		}
	}
	restored, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
	if err != nil {
		t.Fatal(err)
	}
	for name, st := range map[string]*raftfsm.State{"at work": l.state, "restored": restored} {
		m, _ := st.Master("m")
		if got := m.Cooling(2001); got != 9999 {
			t.Errorf("%s: it waits for %d ms", name, got)
		}
	}
	due(3)
	l.refused(raftfsm.Cooldown, ms(l.begin("m", 1), 2001))
}

func TestALossIsCorrectedWhenTheOldMasterTells(t *testing.T) {
	l := level3(t)
	l.ok(l.down("a", "m", 1, raftfsm.CauseReset))
	l.ok(l.down("b", "m", 1, raftfsm.CauseReset))
	e := l.ok(l.begin("m", 2)).Epoch
	l.ok(switchTo("m", e, 1, 2))
	l.ok(end("m", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	before := l.master("m").History[0]
	l.ok(l.amended("m", 3, e, raftfsm.LossExact, 5)) // another instance has nothing to say of it
	if l.master("m").History[0].Loss != before.Loss {
		t.Error("corrected by a replica")
	}
	l.ok(l.amended("m", 1, e, raftfsm.LossExact, 16500))
	if got := l.master("m").History[0].Loss; got != (raftfsm.Loss{Kind: raftfsm.LossExact, Bytes: 16500}) {
		t.Errorf("%+v", got)
	}
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Forget{Forget: &raftlogv1.Forget{Name: "m", Address: addr(1)}}})
	l.refused(raftfsm.NotFound, l.correct("m", 1, raftfsm.CorrectionDemoted))
	l.ok(l.amended("m", 1, e, raftfsm.LossExact, 16400)) // it is known by another address by now
	if got := l.master("m").History[0].Loss.Bytes; got != 16400 {
		t.Errorf("%d bytes after it was forgotten", got)
	}
	if before.Loss.Bytes != 0 {
		t.Error("a state that was published has changed")
	}
}

func TestSwitchoverNeedsTheMaster(t *testing.T) {
	l := level3(t)
	l.ok(l.down("a", "m", 1, raftfsm.CauseReset))
	l.ok(l.down("b", "m", 1, raftfsm.CauseReset))
	l.refused(raftfsm.MasterDown, l.planned("m", 2))
}

// Somebody else may have made a master of what is in maintenance. It is watched from then on like any master.
func TestMasterIsInNoMaintenance(t *testing.T) {
	l := level3(t)
	l.ok(maintain(2, "new memory"))
	m := l.master("m")
	since := l.index
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{
		Master: "m", Generation: m.Generation, Address: addr(2), Reason: "it was promoted from this set",
	}}})
	if l.master("m").Address != at(2) || l.master("m").InMaintenance(at(2)) {
		t.Errorf("%+v", l.master("m"))
	}
	if !slices.Contains(l.kinds(since), raftfsm.EventMaintenanceEnd) {
		t.Errorf("events %v", l.kinds(since))
	}
}
