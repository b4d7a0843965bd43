package raftfsm_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestCommandsAboveTheLevelAreRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		level uint32
		make  func(l *log) *raftlogv1.Command
	}{
		{"monitor", 1, func(*log) *raftlogv1.Command { return monitor("n", 9) }},
		{"monitor with an epoch", 2, func(*log) *raftlogv1.Command { return foreign("n", 1, 9) }},
		{"monitor with replicas", 2, func(*log) *raftlogv1.Command { return foreign("n", 0, 9, 10) }},
		{"monitor with a pause that ends", 2, func(*log) *raftlogv1.Command { return pausedUntil("n", 9, 77) }},
		{"resume on the record", 2, func(l *log) *raftlogv1.Command {
			l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "why"}}})
			return resumed("m", "x is missing")
		}},
		{"configure", 2, func(*log) *raftlogv1.Command { return configure("announce-hostnames", "yes") }},
		{"resolve hosts", 2, func(l *log) *raftlogv1.Command { return l.resolve("m", 901, "10.1.0.1") }},
		{"correct", 2, func(l *log) *raftlogv1.Command { return l.correct("m", 902, raftfsm.CorrectionDemoted) }},
		{"monitor with a cooldown", 3, func(*log) *raftlogv1.Command { return monitor("n", 9, "Failover-Cooldown", "1") }},
		{"set a cooldown", 3, func(*log) *raftlogv1.Command { return set("m", "failover-cooldown", "1") }},
		{"configure the brake", 3, func(*log) *raftlogv1.Command { return configure("Failover-Brake", "60") }},
		{"maintain", 3, func(*log) *raftlogv1.Command { return maintain(902, "why") }},
		{"switchover", 3, func(l *log) *raftlogv1.Command { return l.planned("m", 902) }},
		{"correct a loss", 3, func(l *log) *raftlogv1.Command { return l.amended("m", 902, 1, raftfsm.LossExact, 7) }},
		{"drain a node", 4, func(*log) *raftlogv1.Command { return drain("b", "why") }},
		{"configure the removal of the dead", 4, func(*log) *raftlogv1.Command {
			return configure("Remove-Dead-Nodes-After", "60", "failover-brake", "60")
		}},
		{"restore", 4, func(l *log) *raftlogv1.Command { return restore(l.backup(), "era-2", true) }},
		{"delivered", 2, func(*log) *raftlogv1.Command { return deliver(1, 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLog(t)
			l.ok(monitor("m", 901))
			l.ok(l.facts("m", 902))
			if got := raftfsm.LevelOf(c.make(l)); got != c.level {
				t.Fatalf("level %d, want %d", got, c.level)
			}
			if c.level > 1 {
				res := l.apply(c.make(l))
				if res.Code != raftfsm.LevelTooHigh || !strings.Contains(res.Detail, "upgrade every node first") {
					t.Fatalf("at level 1: code %d: %s", res.Code, res.Detail)
				}
				low := c.make(l)
				low.Header = &raftlogv1.Header{Level: 1}
				if _, err := raftfsm.Encode(low); err == nil {
					t.Error("it is encoded with a header of level 1: an old node would take it for something else")
				}
			}
			l.ok(raise(max(c.level, 2)))
			if res := l.ok(c.make(l)); !res.Changed {
				t.Error("it changed nothing")
			}
		})
	}
}

func TestCheckLevelCountsTheHeader(t *testing.T) {
	l := newLog(t)
	high := mark(1)
	high.Header = &raftlogv1.Header{Level: 2}
	var r raftfsm.Refusal
	if err := l.state.CheckLevel(high); !errors.As(err, &r) || r.Code != raftfsm.LevelTooHigh {
		t.Errorf("a header above the level: %v", err)
	}
	if err := raftfsm.New().CheckLevel(mark(1)); err != nil {
		t.Errorf("before the cluster is founded: %v", err)
	}
}

func TestSupportedLevel(t *testing.T) {
	register := func(id string, level uint32) *raftlogv1.Command {
		return &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: id, NodeId: id, MaxLevel: level}}}
	}
	for _, c := range []struct {
		name string
		// levels of the voters a, b, ... and of the others; 0 = not registered.
		voters, others []uint32
		want           uint32
	}{
		{"all new", []uint32{2, 2, 2}, nil, 2},
		{"one old voter", []uint32{2, 1, 2}, nil, 1},
		{"a voter that has said nothing", []uint32{2, 0, 2}, nil, 0},
		{"newer than this build", []uint32{9, 9}, nil, raftfsm.Level},
		{"an old observer", []uint32{2}, []uint32{1}, 1},
		{"one that is being admitted", []uint32{2}, []uint32{0}, 2},
		{"nobody", nil, nil, raftfsm.Level},
	} {
		t.Run(c.name, func(t *testing.T) {
			var servers []raftfsm.Server
			for i := range len(c.voters) + len(c.others) {
				id := string(rune('a' + i))
				servers = append(servers, raftfsm.Server{ID: id, Address: id + ":1", Voter: i < len(c.voters)})
			}
			l := &log{t: t, state: raftfsm.ApplyServers(raftfsm.New(), 1, servers), index: 1}
			for i, level := range append(c.voters, c.others...) {
				if level > 0 {
					l.ok(register(servers[i].ID, level))
				}
			}
			if got := l.state.SupportedLevel(); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if old := c.want < raftfsm.Level && len(c.others) == 0; old {
				l.refused(raftfsm.LevelTooHigh, raise(raftfsm.Level))
			} else {
				l.ok(raise(c.want))
			}
		})
	}
}

func TestANodeBelowTheLevelIsNotRegistered(t *testing.T) {
	l := newLog(t)
	l.ok(raise(2))
	l.servers("a", "b", "c", "d")
	l.refused(raftfsm.LevelTooHigh, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
		RaftId: "d", NodeId: "node-d", MaxLevel: 1,
	}}})
}

// pausedUntil is a new set whose pause ends by itself.
func pausedUntil(name string, port int, until int64) *raftlogv1.Command {
	c := monitor(name, port)
	c.GetMonitor().PausedReason, c.GetMonitor().PausedUntilMs = "why", until
	return c
}

// resumed is a resume that overrode something.
func resumed(name, overridden string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: name, Overridden: overridden}}}
}

// TestAPauseFromTheBeginning: it has its end, and the resume of it says what it overrode.
func TestAPauseFromTheBeginning(t *testing.T) {
	l := level2(t)
	l.ok(pausedUntil("m", 1, 77))
	if m, _ := l.state.Master("m"); m.Pause == nil || m.Pause.UntilMs != 77 || m.Pause.Reason != "why" {
		t.Fatalf("%+v", m.Pause)
	}
	since := l.index
	l.ok(resumed("m", "x is missing"))
	for e := range must(l.state.EventsSince(raftfsm.Cursor{Index: since, Ordinal: math.MaxUint32 - 1})) {
		if e.Kind != raftfsm.EventResume || e.Detail != "x is missing" {
			t.Errorf("%+v", e)
		}
	}
}
