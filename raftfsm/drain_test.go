package raftfsm_test

import (
	"bytes"
	"slices"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func drainOf(l *log, node string) *raftfsm.Pause {
	l.t.Helper()
	return must(l.state.Node(node)).Drain
}

func TestDrain(t *testing.T) {
	l := level4(t)
	c := drain("b", "new disk")
	c.Header = &raftlogv1.Header{Level: 4, Proposer: "a", ProposedAtMs: 77, Actor: "ada"}
	since := l.index
	l.ok(c)
	l.expect(since, "+node-drain node-b new disk")
	if got := drainOf(l, "b"); got == nil || *got != (raftfsm.Pause{Actor: "ada", Reason: "new disk", SinceMs: 77}) || !l.state.Drained("b") {
		t.Fatalf("%+v", got)
	}
	if res := l.ok(drain("b", "new disk")); res.Changed {
		t.Error("the same once more changed something")
	}
	since = l.index
	l.ok(drain("b", ""))
	l.expect(since, "+node-drain node-b")
	if got := drainOf(l, "b"); got.SinceMs != 77 || got.Reason != "" {
		t.Errorf("another reason: %+v", got)
	}
	// What the node says of itself does not undrain it, nor does a report; a snapshot keeps it.
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
		RaftId: "b", NodeId: "node-b", MaxLevel: raftfsm.Level, Version: "next",
	}}})
	l.ok(monitor("m", 1))
	l.ok(l.down("b", "m", 1, raftfsm.CauseReset))
	l.servers("a", "b", "c", "d")
	back, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
	if err != nil || !l.state.Drained("b") || !back.Drained("b") || l.state.Drained("a") || l.state.Drained("nobody") {
		t.Fatalf("%v, drained %t, from a snapshot %t", err, l.state.Drained("b"), back.Drained("b"))
	}
	since = l.index
	l.ok(undrain("b"))
	l.expect(since, "-node-drain node-b")
	if res := l.ok(undrain("b")); res.Changed || l.state.Drained("b") {
		t.Error("undrained twice")
	}
}

// One voter that may lead is left, whatever is asked.
func TestDrainLeavesAVoter(t *testing.T) {
	l := level4(t)
	l.refused(raftfsm.UnknownNode, drain("nobody", ""))
	l.refused(raftfsm.UnknownNode, undrain("nobody"))
	l.ok(drain("a", ""))
	l.ok(drain("b", ""))
	l.refused(raftfsm.TooMany, drain("c", ""))
	l.ok(drain("b", "for another reason"))
	l.ok(undrain("a"))
	l.ok(drain("c", ""))
	l.servers("b")
	if !l.state.Drained("b") {
		t.Error("a removal undrained another node")
	}
	l.ok(undrain("b"))
	l.refused(raftfsm.TooMany, drain("b", ""))
}

func TestStranded(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("all", 1, "quorum", "3"))
	l.ok(monitor("impossible", 2, "quorum", "4"))
	l.ok(monitor("two", 3, "quorum", "2"))
	l.ok(monitor("every", 4, "quorum", "3"))
	for id, want := range map[string][]string{"a": {"all", "every"}, "nobody": nil} {
		if got := l.state.Stranded(id); !slices.Equal(got, want) {
			t.Errorf("without %s: %v, want %v", id, got, want)
		}
	}
}

func TestRemoveDeadNodesAfter(t *testing.T) {
	const name = "remove-dead-nodes-after"
	l := level4(t)
	if v, given := l.state.Setting(name); v != "0" || given || l.state.Settings().RemoveDeadAfter != 0 {
		t.Fatalf("before any: %q %t", v, given)
	}
	for _, bad := range []string{"", "no", "-1", "1", "59", "31536001", "60s"} {
		l.refused(raftfsm.InvalidArgument, configure(name, bad))
	}
	for _, step := range []struct {
		value string
		want  int
	}{{"060", 60}, {"31536000", 31536000}, {"0", 0}} {
		l.ok(configure(name, step.value))
		if got := l.state.Settings().RemoveDeadAfter; got != step.want {
			t.Errorf("%s: %d", step.value, got)
		}
	}
}
