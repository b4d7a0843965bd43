package node

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// errSilent is what a leader's replication gets while the leader's own log store hangs.
var errSilent = errors.New("log store hangs: this node sends no entries and no heartbeats until its write returns, so that another can lead")

// timedWrites is how many of the latest writes P50 looks at.
const timedWrites = 128

// timedStore is a raft.LogStore that knows how long its writes take and whether one hangs.
type timedStore struct {
	raft.LogStore
	limit time.Duration

	mu     sync.Mutex
	begun  []time.Time // writes under way; Raft has one at a time
	recent []time.Duration
	next   int
}

// newTimedStore times inner; a write under way for longer than limit is a stall.
func newTimedStore(inner raft.LogStore, limit time.Duration) *timedStore {
	return &timedStore{LogStore: inner, limit: limit, recent: make([]time.Duration, 0, timedWrites)}
}

// StoreLogs implements raft.LogStore.
func (s *timedStore) StoreLogs(logs []*raft.Log) error {
	begun := s.begin()
	defer s.end(begun)
	stall()
	return s.LogStore.StoreLogs(logs)
}

// StoreLog implements raft.LogStore.
func (s *timedStore) StoreLog(log *raft.Log) error {
	begun := s.begin()
	defer s.end(begun)
	stall()
	return s.LogStore.StoreLog(log)
}

// IsMonotonic implements raft.MonotonicLogStore by what inner says.
func (s *timedStore) IsMonotonic() bool {
	m, ok := s.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

func (s *timedStore) begin() time.Time {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = append(s.begun, now)
	return now
}

func (s *timedStore) end(begun time.Time) {
	took := time.Since(begun)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.begun, begun)
	s.begun = slices.Delete(s.begun, i, i+1)
	if len(s.recent) < timedWrites {
		s.recent = append(s.recent, took)
		return
	}
	s.recent[s.next] = took
	s.next = (s.next + 1) % timedWrites
}

// P50 is the median of the latest 128 writes; 0 before the first.
func (s *timedStore) P50() time.Duration {
	s.mu.Lock()
	sorted := slices.Clone(s.recent)
	s.mu.Unlock()
	if len(sorted) == 0 {
		return 0
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// Stalled tells whether a write has been under way for longer than the limit.
func (s *timedStore) Stalled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.begun) > 0 && time.Since(s.begun[0]) > s.limit
}

// quietable is the transport that silence wraps.
type quietable interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// silentTransport holds back whatever would tell a follower that its leader is well. Votes pass: a node whose log store
// hangs does not answer them anyway, its main loop being inside the write.
type silentTransport struct {
	quietable
	stalled func() bool
}

// newSilentTransport is inner, but sends no entries, heartbeats or snapshots while stalled says so. Pipelining is off: a
// pipeline would neither see the stall nor recover from a follower's (hashicorp/raft issue 612).
func newSilentTransport(inner quietable, stalled func() bool) quietable {
	return &silentTransport{quietable: inner, stalled: stalled}
}

// AppendEntries implements raft.Transport.
func (t *silentTransport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	if t.stalled() {
		return errSilent
	}
	return t.quietable.AppendEntries(id, target, req, resp)
}

// AppendEntriesPipeline implements raft.Transport.
func (t *silentTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// InstallSnapshot implements raft.Transport. A follower takes each as a sign of its leader too.
func (t *silentTransport) InstallSnapshot(
	id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	if t.stalled() {
		return errSilent
	}
	return t.quietable.InstallSnapshot(id, target, req, resp, data)
}
