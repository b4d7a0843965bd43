package node

import (
	"io"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// disk knows of the calls to the stores: a loop of Raft's that waits for a disk is slow and not stuck, and a new process would
// wait for the same disk.
type disk struct {
	mu    sync.Mutex
	calls int       // under way
	moved time.Time // when the last one that moved data ended
}

// quiet is for how long no data has been moved; 0 while a call is under way.
func (d *disk) quiet() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.calls > 0:
		return 0
	case d.moved.IsZero():
		return math.MaxInt64
	}
	return time.Since(d.moved)
}

// call counts a call that looks something up, until the function that it gives is called. That it ends is no sign of progress:
// Raft's other goroutines look now and then how long the log is.
func (d *disk) call() (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.calls--
	}
}

// move counts a call that moves data.
func (d *disk) move() (end func()) {
	looked := d.call()
	return func() {
		looked()
		now := time.Now()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.moved = now
	}
}

// diskLogs is the log of a Raft.
type diskLogs struct {
	*timedStore
	disk *disk
}

// FirstIndex implements raft.LogStore.
func (l diskLogs) FirstIndex() (uint64, error) {
	defer l.disk.call()()
	return l.timedStore.FirstIndex()
}

// LastIndex implements raft.LogStore.
func (l diskLogs) LastIndex() (uint64, error) {
	defer l.disk.call()()
	return l.timedStore.LastIndex()
}

// GetLog implements raft.LogStore.
func (l diskLogs) GetLog(index uint64, log *raft.Log) error {
	defer l.disk.call()()
	return l.timedStore.GetLog(index, log)
}

// StoreLog implements raft.LogStore.
func (l diskLogs) StoreLog(log *raft.Log) error {
	defer l.disk.move()()
	return l.timedStore.StoreLog(log)
}

// StoreLogs implements raft.LogStore.
func (l diskLogs) StoreLogs(logs []*raft.Log) error {
	defer l.disk.move()()
	return l.timedStore.StoreLogs(logs)
}

// DeleteRange implements raft.LogStore.
func (l diskLogs) DeleteRange(first, last uint64) error {
	defer l.disk.move()()
	return l.timedStore.DeleteRange(first, last)
}

// diskStable keeps a Raft's term and vote.
type diskStable struct {
	raft.StableStore
	disk *disk
}

// Set implements raft.StableStore.
func (s diskStable) Set(key, value []byte) error {
	defer s.disk.move()()
	return s.StableStore.Set(key, value)
}

// Get implements raft.StableStore.
func (s diskStable) Get(key []byte) ([]byte, error) {
	defer s.disk.call()()
	return s.StableStore.Get(key)
}

// SetUint64 implements raft.StableStore.
func (s diskStable) SetUint64(key []byte, value uint64) error {
	defer s.disk.move()()
	return s.StableStore.SetUint64(key, value)
}

// GetUint64 implements raft.StableStore.
func (s diskStable) GetUint64(key []byte) (uint64, error) {
	defer s.disk.call()()
	return s.StableStore.GetUint64(key)
}

// diskSnaps keeps a Raft's snapshots.
type diskSnaps struct {
	raft.SnapshotStore
	disk *disk
}

// Create implements raft.SnapshotStore.
func (s diskSnaps) Create(
	version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration, configurationIndex uint64, trans raft.Transport,
) (raft.SnapshotSink, error) {
	defer s.disk.call()()
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, err
	}
	return diskSink{sink, s.disk}, nil
}

// List implements raft.SnapshotStore.
func (s diskSnaps) List() ([]*raft.SnapshotMeta, error) {
	defer s.disk.call()()
	return s.SnapshotStore.List()
}

// Open implements raft.SnapshotStore.
func (s diskSnaps) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	defer s.disk.call()()
	meta, rc, err := s.SnapshotStore.Open(id)
	if err != nil {
		return nil, nil, err
	}
	return meta, diskReader{rc, s.disk}, nil
}

// diskSink is a snapshot that is being written.
type diskSink struct {
	raft.SnapshotSink
	disk *disk
}

// Write implements io.Writer.
func (s diskSink) Write(p []byte) (int, error) {
	defer s.disk.move()()
	return s.SnapshotSink.Write(p)
}

// Close implements io.Closer.
func (s diskSink) Close() error {
	defer s.disk.move()()
	return s.SnapshotSink.Close()
}

// Cancel implements raft.SnapshotSink.
func (s diskSink) Cancel() error {
	defer s.disk.call()()
	return s.SnapshotSink.Cancel()
}

// diskReader is a snapshot that is being read.
type diskReader struct {
	io.ReadCloser
	disk *disk
}

// Read implements io.Reader.
func (r diskReader) Read(p []byte) (int, error) {
	defer r.disk.move()()
	return r.ReadCloser.Read(p)
}

// diskApplied keeps the applied index.
type diskApplied struct {
	appliedStore
	disk *disk
}

func (a diskApplied) store(index uint64) {
	defer a.disk.move()()
	a.appliedStore.store(index)
}
