package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// appliedStore keeps the index up to which this node's state has been told to anybody.
type appliedStore interface {
	// load gives the index kept; known is false where it cannot be told.
	load() (index uint64, known bool)
	// store is called in order before each publication; it must not wait for a disk.
	store(index uint64)
	io.Closer
}

// syncEvery is how often the applied index is forced to disk. A crash of the process loses nothing of it; one of the whole
// machine up to this much.
const syncEvery = time.Second

// appliedFile writes the index through to the page cache at once, which survives the death of the process, and to the disk
// every [syncEvery].
type appliedFile struct {
	f     *os.File
	index uint64
	known bool

	written atomic.Uint64
	stop    chan struct{}
	done    sync.WaitGroup
	errs    atomic.Pointer[error]
}

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func openApplied(dir string) (*appliedFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, "applied"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("applied index: %w", err)
	}
	a := &appliedFile{f: f, stop: make(chan struct{})}
	var b [12]byte
	_, err = f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = f.Close()
		return nil, fmt.Errorf("applied index: %w", err)
	}
	if err == nil && binary.BigEndian.Uint32(b[8:]) == crc32.Checksum(b[:8], crcTable) {
		a.index, a.known = binary.BigEndian.Uint64(b[:8]), true
	}
	a.done.Go(a.sync)
	return a, nil
}

func (a *appliedFile) load() (uint64, bool) { return a.index, a.known }

func (a *appliedFile) store(index uint64) {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:8], index)
	binary.BigEndian.PutUint32(b[8:], crc32.Checksum(b[:8], crcTable))
	if _, err := a.f.WriteAt(b[:], 0); err != nil {
		a.errs.CompareAndSwap(nil, &err)
		return
	}
	a.written.Store(index)
}

func (a *appliedFile) sync() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for last := uint64(0); ; {
		select {
		case <-a.stop:
			return
		case <-tick.C:
		}
		if now := a.written.Load(); now != last {
			if err := a.f.Sync(); err != nil {
				a.errs.CompareAndSwap(nil, &err)
			}
			last = now
		}
	}
}

// Close forces the last index to disk and tells the first error of the file's life.
func (a *appliedFile) Close() error {
	close(a.stop)
	a.done.Wait()
	err := errors.Join(a.f.Sync(), a.f.Close())
	if p := a.errs.Load(); p != nil {
		err = errors.Join(*p, err)
	}
	if err != nil {
		return fmt.Errorf("applied index: %w", err)
	}
	return nil
}

// appliedMemory is for a node without a disk.
type appliedMemory struct{ index atomic.Uint64 }

func (a *appliedMemory) load() (uint64, bool) { return a.index.Load(), true }
func (a *appliedMemory) store(index uint64)   { a.index.Store(index) }
func (a *appliedMemory) Close() error         { return nil }

// recall brings the state back to where it was told before a restart, without any help of a leader: the newest snapshot, and
// over it the node's own log up to the applied index. Those entries are known to be committed, because they were applied.
// It gives the index from which on the state may be told again, which is above the state's own only when the applied index
// is lost: then everything in the log may have been told.
func (f *fsm) recall(snaps raft.SnapshotStore, logs raft.LogStore) (floor uint64, err error) {
	last, err := logs.LastIndex()
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	applied, known := f.applied.load()
	state, covered, err := replay(f.State(), snaps, logs, min(applied, last))
	if err != nil {
		return 0, err
	}
	f.covered.Store(covered)
	f.begin(state)
	if !known {
		return max(last, state.Index()), nil
	}
	return applied, nil
}

// replay gives the state of the newest snapshot, else the one given, with the entries of the log up to an index; and the index of
// that snapshot.
func replay(state *raftfsm.State, snaps raft.SnapshotStore, logs raft.LogStore, upTo uint64) (_ *raftfsm.State, covered uint64, err error) {
	metas, err := snaps.List()
	if err != nil {
		return nil, 0, fmt.Errorf("list snapshots: %w", err)
	}
	if len(metas) > 0 {
		if state, err = readSnapshot(snaps, metas[0].ID); err != nil {
			return nil, 0, err
		}
		covered = metas[0].Index
	}
	b := raftfsm.NewBatch(state)
	for i := covered + 1; i <= upTo; i++ {
		var l raft.Log
		if err := logs.GetLog(i, &l); err != nil {
			return nil, 0, fmt.Errorf("read log entry %d: %w", i, err)
		}
		if l.Index <= b.Index() {
			continue
		}
		if _, err = applyEntry(b, &l); err != nil {
			return nil, 0, err
		}
	}
	return b.State(), covered, nil
}

func (f *fsm) begin(s *raftfsm.State) {
	f.state.Store(s)
}

// readSnapshot opens the newest snapshot. A damaged one is no reason to go on with an older one: what it covers is gone from
// the log.
func readSnapshot(snaps raft.SnapshotStore, id string) (*raftfsm.State, error) {
	_, rc, err := snaps.Open(id)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s cannot be opened (%w): remove this node from the cluster, empty its dir and let it join again", id, err)
	}
	defer func() { _ = rc.Close() }()
	s, err := raftfsm.ReadSnapshot(rc)
	if errors.Is(err, raftfsm.ErrTooNew) {
		return nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot %s cannot be read (%w): remove this node from the cluster, empty its dir and let it join again", id, err)
	}
	return s, nil
}
