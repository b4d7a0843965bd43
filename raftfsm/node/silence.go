package node

import (
	"time"

	"github.com/hashicorp/raft"
)

// quietable is the transport that silence wraps.
type quietable interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// timedStore is a raft.LogStore that knows how long its writes take and whether one hangs.
type timedStore struct{ raft.LogStore }

// newTimedStore times inner; a write under way for longer than limit is a stall.
func newTimedStore(inner raft.LogStore, limit time.Duration) *timedStore { panic("soon") }

// P50 is the median of the recent writes; 0 before the first.
func (s *timedStore) P50() time.Duration { panic("soon") }

// Stalled tells whether a write has been under way for longer than the limit.
func (s *timedStore) Stalled() bool { panic("soon") }

// newSilentTransport is inner, but sends no entries, heartbeats or snapshots while stalled says so. Pipelining is off.
func newSilentTransport(inner quietable, stalled func() bool) quietable { panic("soon") }
