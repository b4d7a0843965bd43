package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func configure(value string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Configure{Configure: &raftlogv1.Configure{
		Settings: []*raftlogv1.OptionValue{{Name: "resolve-hostnames", Value: value}},
	}}}
}

// level of the state of each member that runs, where all are the same; 0 where they are not.
func (w *world) level() uint32 {
	var level uint32
	for _, m := range w.members {
		switch now := m.State().FeatureLevel(); {
		case !m.running.Load():
		case level != 0 && now != level:
			return 0
		default:
			level = now
		}
	}
	return level
}

// The level rises with the last voter that supports it, and not before: one that has not registered, and then one that has
// registered as an older version, hold it.
func TestLevelRisesWithTheLastVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		defer w.close()
		late := w.members[2]
		if err := late.halt(); err != nil { // before it could register
			t.Fatal(err)
		}
		l := w.leader(w.members[:2]...)
		w.eventually("two are registered", func() bool {
			_, a := l.State().Node(string(w.members[0].self))
			_, b := l.State().Node(string(w.members[1].self))
			return a && b
		})
		hold := func(why string) {
			time.Sleep(5 * time.Second)
			if got := w.level(); got != 1 {
				t.Fatalf("%s: level %d", why, got)
			}
			for _, m := range w.members[:2] {
				before := m.State().Index()
				res, err := m.Propose(t.Context(), configure("yes"))
				if err != nil || res.Code != raftfsm.LevelTooHigh || m.State().Index() != before {
					t.Errorf("%s: a command above the level: %+v, %v, index %d, before %d", why, res, err, m.State().Index(), before)
				}
			}
		}
		hold("a voter has said nothing")
		w.mustPropose(l, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
			RaftId: string(late.self), NodeId: "n3", MaxLevel: 1,
		}}})
		hold("a voter is older")
		late.restart() // as this version
		w.eventually("the level has risen everywhere", func() bool { return w.level() == raftfsm.Level })
		for _, m := range w.members {
			if res := w.mustPropose(m, configure("yes")); res.Index == 0 {
				t.Errorf("n%d: %+v", m.number, res)
			}
		}
		if got := l.State().Settings(); !got.ResolveHostnames {
			t.Errorf("settings %+v", got)
		}
	})
}

// A new leader has nothing to raise.
func TestTheLevelIsRaisedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.eventually("the level has risen", func() bool { return w.level() == raftfsm.Level })
		l := w.leader()
		if err := l.halt(); err != nil {
			t.Fatal(err)
		}
		next := w.leader(w.others(l)...)
		time.Sleep(2 * raiseRetry)
		raised := 0
		events, _ := next.State().EventsSince(raftfsm.Cursor{})
		for e := range events {
			if e.Kind == raftfsm.EventFeatureLevel {
				raised++
			}
		}
		if raised != 1 || w.level() != raftfsm.Level {
			t.Errorf("raised %d times, to %d", raised, w.level())
		}
	})
}

// From the raised level on the log holds an entry at which an older node stops: behind the raise, and at the head of each later
// leadership.
func TestTheLogTellsOlderNodesToStop(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.eventually("the level has risen", func() bool { return w.level() == raftfsm.Level })
		w.settle()
		l := w.leader()
		raised, fence := l.entry(func(c *raftlogv1.Command) bool { return c.GetSetFeatureLevel() != nil }), l.entry(atLevel)
		if raised == 0 || fence <= raised {
			t.Errorf("raised at entry %d, and an older node stops at %d", raised, fence)
		}
		if err := l.halt(); err != nil {
			t.Fatal(err)
		}
		next := w.leader(w.others(l)...)
		mark := next.entry(func(c *raftlogv1.Command) bool { return c.GetMark().GetNode() == string(next.self) && atLevel(c) })
		if mark <= fence {
			t.Errorf("the next leadership begins at entry %d, and its Mark stops nobody", mark)
		}
	})
}

func atLevel(c *raftlogv1.Command) bool { return c.GetHeader().GetLevel() == raftfsm.Level }

// entry is the index of the first command in a member's log that is as wanted; 0 for none.
func (m *member) entry(wanted func(*raftlogv1.Command) bool) uint64 {
	m.w.t.Helper()
	last, err := m.stores.logs.LastIndex()
	if err != nil {
		m.w.t.Fatal(err)
	}
	for index := uint64(1); index <= last; index++ {
		var l raft.Log
		if err := m.stores.logs.GetLog(index, &l); err != nil {
			m.w.t.Fatal(err)
		}
		if l.Type != raft.LogCommand {
			continue
		}
		c, err := raftfsm.Decode(l.Data)
		if err != nil {
			m.w.t.Fatal(err)
		}
		if wanted(c) {
			return index
		}
	}
	return 0
}
