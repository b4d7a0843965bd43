package notify

import (
	"math"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Node is this member of the cluster, as far as it tells of events.
type Node interface {
	State() *raftfsm.State
	// Local is State, or an error while this node is loading or was removed.
	Local() (*raftfsm.State, time.Duration, error)
	// Changed is closed at the next state. Take it before the state, else a change between the two is told only with the next.
	Changed() <-chan struct{}
	// Self is this node's Raft server id.
	Self() string
}

// place is where a listener stands in the events of a cluster. The zero place is in none.
type place struct {
	cluster string
	// after is the last event that the listener has dealt with.
	after raftfsm.Cursor
}

// endOf is the place behind everything that st tells.
func endOf(st *raftfsm.State) place {
	return place{st.Cluster().ID, raftfsm.Cursor{Index: st.Index(), Ordinal: math.MaxUint32 - 1}}
}

// in tells whether p is a place in the events of st's cluster. Indexes of another cluster mean nothing here.
func (p place) in(st *raftfsm.State) bool { return p.cluster != "" && p.cluster == st.Cluster().ID }

// before is the place just before an event.
func before(c raftfsm.Cursor) raftfsm.Cursor {
	if c.Ordinal > 0 {
		return raftfsm.Cursor{Index: c.Index, Ordinal: c.Ordinal - 1}
	}
	return raftfsm.Cursor{Index: c.Index - 1, Ordinal: math.MaxUint32 - 1}
}
