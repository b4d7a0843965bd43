package raftfsm_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// That a batch comes to what its entries come to one by one, every test of the law shows (log.alike). Here is what none of them does.

// A state that was given out stays as it is while the batch goes on.
func TestBatchLeavesItsStatesAlone(t *testing.T) {
	l := newLog(t)
	b := raftfsm.NewBatch(l.state)
	var states []*raftfsm.State
	var images [][]byte
	for i := range 40 {
		b.Apply(l.index+1+uint64(i), withHeader(monitor(fmt.Sprintf("m%d", i), 1+i)))
		if i%3 == 0 {
			states = append(states, b.State())
			images = append(images, image(t, b.State()))
		}
	}
	if s := b.State(); s != b.State() {
		t.Error("the same state is made twice")
	}
	for i, s := range states {
		if !bytes.Equal(image(t, s), images[i]) || s.MasterCount() != 3*i+1 || len(slices.Collect(s.ChangedSince(0))) != 3*i+1 {
			t.Errorf("state %d has changed", i)
		}
	}
}

// What a command that panics has begun leaves no trace.
func TestBatchAfterAPanic(t *testing.T) {
	l := newLog(t)
	b := raftfsm.NewBatch(l.state)
	b.Apply(l.index+1, withHeader(monitor("m", 1)))
	want := image(t, b.State())
	b.Apply(l.index+2, withHeader(monitor("n", 2)))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it does not panic")
			}
		}()
		b.Apply(l.index+3, &raftlogv1.Command{})
	}()
	if b.Index() != l.index+2 || b.State().MasterCount() != 2 {
		t.Errorf("at index %d with %d masters", b.Index(), b.State().MasterCount())
	}
	if bytes.Equal(image(t, b.State()), want) {
		t.Error("what came before the panic is gone")
	}
}

// More events than the ring holds: the oldest fall out, whether they come at once or not.
func TestBatchOfMoreEventsThanAreKept(t *testing.T) {
	l := newLog(t)
	l.quick(monitor("m", 1))
	one, b := l.state, raftfsm.NewBatch(l.state)
	for i := range uint64(raftfsm.RingSize + 100) {
		c := withHeader(set("m", "quorum", fmt.Sprint(1+i%3)))
		one, _ = raftfsm.Apply(one, l.index+1+i, c)
		b.Apply(l.index+1+i, c)
	}
	events := func(s *raftfsm.State) (n int, first raftfsm.Cursor, whole bool) {
		list, whole := s.EventsSince(raftfsm.Cursor{})
		for e := range list {
			if n == 0 {
				first = e.Cursor
			}
			n++
		}
		return n, first, whole
	}
	n, first, whole := events(one)
	if got, at, ok := events(b.State()); got != n || at != first || ok != whole || n != raftfsm.RingSize || whole {
		t.Errorf("%d events from %v (whole %v); one by one %d from %v (%v)", got, at, ok, n, first, whole)
	}
	if !bytes.Equal(image(t, one), image(t, b.State())) {
		t.Error("the states differ")
	}
}
