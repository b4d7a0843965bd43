package node

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/progress"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// fsm is what Raft calls: it keeps the latest state, publishes each new one, and lets [raftfsm] decide everything.
//
// Invariants: entries are applied once, in order, whoever brings them (an entry at or below the state's index is passed
// over, because the node may have read it from its own log before Raft knew that it is committed); the published index never
// falls; after the first entry that this build does not understand nothing is applied and no snapshot is made.
type fsm struct {
	state atomic.Pointer[raftfsm.State]
	// applied learns each index before the state at it is published: what was told is never newer than what is kept.
	applied appliedStore
	// loop is Raft's goroutine that applies.
	loop progress.Loop
	// covered is the state's index when a snapshot was last begun, or read.
	covered atomic.Uint64
	// onApplied is told of each batch after its publication.
	onApplied func(b batch)

	mu      sync.Mutex // guards changed
	changed chan struct{}

	failure atomic.Pointer[error]
	failed  chan struct{}
}

// batch is what a publication was made of.
type batch struct {
	before, after *raftfsm.State
}

var _ raft.BatchingFSM = (*fsm)(nil)

func newFSM(applied appliedStore, onApplied func(batch)) *fsm {
	f := &fsm{applied: applied, onApplied: onApplied, changed: make(chan struct{}), failed: make(chan struct{})}
	f.state.Store(raftfsm.New())
	return f
}

// State is the latest one.
func (f *fsm) State() *raftfsm.State { return f.state.Load() }

// Changed is closed at the next publication.
func (f *fsm) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Failed is closed when an entry could not be applied; Err says which.
func (f *fsm) Failed() <-chan struct{} { return f.failed }

// Err is why the state can go no further; nil while it can.
func (f *fsm) Err() error {
	if p := f.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Apply is raft.FSM's; Raft uses ApplyBatch.
func (f *fsm) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies committed entries and publishes the state after the last of them, once.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	defer f.loop.Rest()
	out := make([]any, len(logs))
	before := f.State()
	entries := raftfsm.NewBatch(before)
	for i, l := range logs {
		f.loop.Step()
		if err := f.Err(); err != nil {
			out[i] = err
			continue
		}
		if l.Index <= entries.Index() {
			out[i] = raftfsm.Result{Index: l.Index, Term: l.Term}
			continue
		}
		res, err := applyEntry(entries, l)
		if err != nil {
			f.fail(err)
			out[i] = err
			continue
		}
		out[i] = res
	}
	if after := entries.State(); after != before {
		f.publish(batch{before: before, after: after})
	}
	return out
}

// applyEntry applies one entry.
func applyEntry(b *raftfsm.Batch, l *raft.Log) (res raftfsm.Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("log entry %d (term %d) cannot be applied: %v: %w", l.Index, l.Term, p, errStopped)
		}
	}()
	switch l.Type {
	case raft.LogConfiguration:
		c := raft.DecodeConfiguration(l.Data)
		b.ApplyServersAt(l.Index, appendedAt(l), servers(c))
		return raftfsm.Result{Index: l.Index, Term: l.Term}, nil
	case raft.LogCommand:
		c, err := raftfsm.Decode(l.Data)
		if err != nil {
			return res, fmt.Errorf("log entry %d (term %d) cannot be applied: %w: %w", l.Index, l.Term, err, errStopped)
		}
		res = b.Apply(l.Index, c)
		res.Term = l.Term
		return res, nil
	default: // Raft's own no-ops change nothing, not even the index.
		return raftfsm.Result{Index: l.Index, Term: l.Term}, nil
	}
}

// appendedAt is the leader's clock when it appended an entry, Unix milliseconds: part of the entry, equal on all nodes. 0 for
// an entry that no leader has appended, the first.
func appendedAt(l *raft.Log) int64 {
	if l.AppendedAt.IsZero() {
		return 0
	}
	return l.AppendedAt.UnixMilli()
}

func servers(c raft.Configuration) []raftfsm.Server {
	out := make([]raftfsm.Server, 0, len(c.Servers))
	for _, s := range c.Servers {
		out = append(out, raftfsm.Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	slices.SortFunc(out, func(a, b raftfsm.Server) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

func (f *fsm) publish(b batch) {
	f.loop.Rest()
	f.applied.store(b.after.Index())
	f.loop.Step()
	f.state.Store(b.after)
	f.mu.Lock()
	close(f.changed)
	f.changed = make(chan struct{})
	f.mu.Unlock()
	f.onApplied(b)
}

func (f *fsm) fail(err error) {
	if f.failure.CompareAndSwap(nil, &err) {
		close(f.failed)
	}
}

// Snapshot captures the state, which is immutable; writing it is Persist's.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.Err(); err != nil {
		return nil, fmt.Errorf("no snapshot: %w", err)
	}
	s := f.State()
	f.covered.Store(s.Index())
	return snapshot{s}, nil
}

// Restore replaces the state by a snapshot's. One that is older than the state, of the same cluster, adds nothing: the
// entries that Raft brings next are passed over until they are new.
func (f *fsm) Restore(rc io.ReadCloser) error {
	defer func() { _ = rc.Close() }()
	f.loop.Step()
	defer f.loop.Rest()
	s, err := raftfsm.ReadSnapshot(restfulReader{rc, &f.loop})
	if err != nil {
		if errors.Is(err, raftfsm.ErrTooNew) {
			f.fail(fmt.Errorf("snapshot cannot be restored: %w: %w", err, errStopped))
		}
		return err
	}
	f.covered.Store(s.Index())
	before := f.State()
	if s.Cluster().ID == before.Cluster().ID && s.Index() <= before.Index() {
		return nil
	}
	f.publish(batch{before: before, after: s})
	return nil
}

// restfulReader rests the loop while it waits for bytes.
type restfulReader struct {
	io.Reader
	loop *progress.Loop
}

// Read implements io.Reader.
func (r restfulReader) Read(p []byte) (int, error) {
	r.loop.Rest()
	defer r.loop.Step()
	return r.Reader.Read(p)
}

// snapshot is a state on its way to disk.
type snapshot struct{ state *raftfsm.State }

// Persist writes the state, and cancels the sink on every error.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	err := raftfsm.WriteSnapshot(sink, s.state)
	if err == nil {
		err = sink.Close()
	}
	if err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("snapshot at index %d: %w", s.state.Index(), err)
	}
	return nil
}

// Release has nothing to free.
func (snapshot) Release() {}
