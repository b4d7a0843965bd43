package node

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

func drain(m *member, end bool) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_DrainNode{DrainNode: &raftlogv1.DrainNode{Node: string(m.self), End: end}}}
}

// drained drains a member once the cluster knows how.
func (w *world) drained(m *member) {
	w.t.Helper()
	w.eventually("level 4", func() bool { return w.leader().State().FeatureLevel() >= 4 })
	w.mustPropose(w.leader(), drain(m, false))
}

// A drained leader gives leadership up, by hand-over and not by an election, and is no candidate for it until it is undrained.
func TestDrainedNodeLeadsNoMore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		m := w.leader()
		w.drained(m)
		begun := time.Now()
		rest := w.others(m)
		l := w.leader(rest...)
		if took := time.Since(begun); took > 500*time.Millisecond {
			t.Errorf("another leads after %v: that was an election", took)
		}
		for range 3 {
			if err := l.TransferLeadership(t.Context(), string(m.self)); !errors.Is(err, ErrNoSuccessor) {
				t.Errorf("hand-over to it: %v", err)
			}
			if w.leader(l) != l {
				t.Fatal("a transfer that was refused cost the leadership")
			}
			// An election, and a hand-over to any.
			w.isolate(l, true)
			next := w.leader(w.others(l)...)
			w.isolate(l, false)
			if next == m {
				t.Fatal("a drained node was elected")
			}
			w.settle()
			if err := next.TransferLeadership(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if l = w.leader(rest...); l == next {
				t.Error("leadership was not handed over")
			}
			m.restart()
			w.settle()
		}
		if err := l.halt(); err != nil {
			t.Fatal(err)
		}
		other := w.others(m)[0]
		if other == l {
			other = w.others(m)[1]
		}
		if w.leader(other, m) != other {
			t.Fatal("a leader that stopped handed over to a drained node")
		}
		l.restart()
		w.settle()
		w.mustPropose(m, drain(m, true))
		if err := other.TransferLeadership(t.Context(), string(m.self)); err != nil {
			t.Fatal(err)
		}
		w.leader(m)
	})
}

// A leader that stops waits a moment for the only one that may follow it, and that it does not hear.
func TestStoppingLeaderWaitsForItsSuccessor(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		drained, next := w.others(l)[0], w.others(l)[1]
		w.drained(drained)
		w.settle()
		w.isolate(next, true)
		w.eventually("it is not heard", func() bool { _, err := l.successor(l.raft.Load()); return err != nil })
		time.AfterFunc(100*time.Millisecond, func() { w.isolate(next, false) })
		if err := l.halt(); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if w.leader(next, drained) != next {
			t.Fatal("it handed over to a drained node")
		}
		if took := time.Since(begun); took > 400*time.Millisecond {
			t.Errorf("another leads after %v: that was an election", took)
		}
		l.restart()
	})
}

// A cluster of which only drained nodes are left is not frozen: one of them leads after a while, and gives leadership back.
func TestOnlyDrainedNodesAreLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		m := w.leader()
		w.drained(m)
		other := w.leader(w.others(m)...)
		third := w.others(m)[0]
		if third == other {
			third = w.others(m)[1]
		}
		w.mustPropose(m, drain(other, false))
		if w.leader(third) != third {
			t.Fatal("the one that is left does not lead")
		}
		w.settle()
		if err := third.TransferLeadership(t.Context(), ""); !errors.Is(err, ErrNoSuccessor) {
			t.Errorf("hand-over with nobody left: %v", err)
		}
		if err := third.halt(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(standAfter*TimingDefault.Election - time.Second)
		for _, d := range []*member{m, other} {
			if d.leads.get() != nil {
				t.Fatalf("n%d leads before its time", d.number)
			}
		}
		l := w.leader(m, other)
		w.mustPropose(l, monitor("m", 100))
		time.Sleep(time.Minute)
		if l.leads.get() == nil {
			t.Error("it gave leadership up, with nobody to give it to")
		}
		third.restart()
		w.eventually("the undrained one leads", func() bool { return third.leads.get() != nil })
		w.mustPropose(m, drain(m, true))
	})
}

// The undrained voter whose log is behind cannot lead; the drained one brings it up to date and hands over.
func TestDrainedNodeBringsTheOthersUpToDate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		m := w.leader()
		rest := w.others(m)
		behind := rest[0]
		w.eventually("level 4", func() bool { return m.State().FeatureLevel() >= 4 })
		w.settle()
		if err := behind.halt(); err != nil {
			t.Fatal(err)
		}
		w.mustPropose(m, drain(m, false))
		l := w.leader(rest[1])
		w.mustPropose(l, monitor("m", 100))
		w.settle()
		if err := l.halt(); err != nil {
			t.Fatal(err)
		}
		behind.restart()
		w.eventually("the one that was behind leads", func() bool { return behind.leads.get() != nil })
		if _, ok := behind.State().Master("m"); !ok {
			t.Error("a committed entry is lost")
		}
		l.restart()
	})
}

// A node that is drained and cut off does not disturb the others when it comes back, however long it was away.
func TestDrainedNodeComesBackQuietly(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		m := w.others(l)[0]
		w.drained(m)
		w.settle()
		term := l.leads.get().term
		w.isolate(m, true)
		time.Sleep(time.Minute)
		w.isolate(m, false)
		time.Sleep(time.Minute)
		w.settle()
		if now := l.leads.get(); now == nil || now.term != term {
			t.Error("the leader was disturbed")
		}
	})
}

// deafTransport loses the word by which a leader hands over, while it is told to.
type deafTransport struct {
	quietable
	deaf *atomic.Bool
}

func (t deafTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	if t.deaf.Load() {
		return errors.New("lost")
	}
	return t.quietable.TimeoutNow(id, target, req, resp)
}

// A hand-over that fails again and again does not keep the drained leader from its duties: it tries less and less often.
func TestDrainedLeaderIsNotHeldUpByHandOvers(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.eventually("level 4", func() bool { return w.leader().State().FeatureLevel() >= 4 })
		w.settle()
		var deaf atomic.Bool
		for _, m := range w.members {
			if err := m.halt(); err != nil {
				t.Fatal(err)
			}
			m.create(m.id, m.hooks.voters)
			m.hooks.transport = func() quietable { return deafTransport{m.transport(), &deaf} }
			m.start()
			w.settle()
		}
		l := w.leader()
		deaf.Store(true)
		w.mustPropose(l, drain(l, false))
		before := strings.Count(l.log.String(), "msg=leading ")
		time.Sleep(10 * time.Minute)
		if begun := strings.Count(l.log.String(), "msg=leading ") - before; begun < 5 || begun > 20 {
			t.Errorf("in ten minutes leadership began %d times", begun)
		}
		deaf.Store(false)
		time.Sleep(2 * yieldAtMost)
		if w.leader() == l {
			t.Error("it leads still")
		}
	})
}
