package node

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func entry(t *testing.T, index uint64, c *raftlogv1.Command) *raft.Log {
	t.Helper()
	c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c)}
	data, err := raftfsm.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: data}
}

// history begins a cluster of one and watches and forgets a master.
func history(t *testing.T) []*raft.Log {
	t.Helper()
	config := raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "10.0.0.1:1"}}})
	return []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: config},
		{Index: 2, Term: 1, Type: raft.LogNoop},
		entry(t, 3, &raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{ClusterId: "c"}}}),
		entry(t, 4, monitor("m", 100)),
		entry(t, 5, &raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}}),
		entry(t, 6, &raftlogv1.Command{Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{}}}),
	}
}

func commands(logs []*raft.Log) (out []*raft.Log) {
	for _, l := range logs {
		if l.Type != raft.LogNoop {
			out = append(out, l)
		}
	}
	return out
}

func bytesOf(t *testing.T, s *raftfsm.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := raftfsm.WriteSnapshot(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What the node has read from its own log Raft brings again; each publication must be newer than the last.
func TestEntriesAreAppliedOnce(t *testing.T) {
	logs := history(t)
	plain := newFSM(&appliedMemory{}, func(batch) {})
	plain.ApplyBatch(commands(logs))
	for floor := range uint64(len(logs) + 1) {
		store := raft.NewInmemStore()
		if err := store.StoreLogs(logs); err != nil {
			t.Fatal(err)
		}
		applied := &appliedMemory{}
		applied.store(floor)
		var last uint64
		f := newFSM(applied, func(b batch) {
			if b.after.Index() <= last {
				t.Errorf("floor %d: published index %d after %d", floor, b.after.Index(), last)
			}
			last = b.after.Index()
		})
		told, err := f.recall(raft.NewInmemSnapshotStore(), store)
		if err != nil || told != floor {
			t.Fatalf("floor %d: recall gives %d, %v", floor, told, err)
		}
		last = f.State().Index()
		for _, l := range commands(logs) {
			f.Apply(l)
		}
		if !bytes.Equal(bytesOf(t, plain.State()), bytesOf(t, f.State())) {
			t.Errorf("floor %d: the state differs from that of a node which was never restarted", floor)
		}
	}
}

func TestOnePublicationForABatch(t *testing.T) {
	var got []batch
	f := newFSM(&appliedMemory{}, func(b batch) { got = append(got, b) })
	changed := f.Changed()
	f.ApplyBatch(commands(history(t)))
	select {
	case <-changed:
	default:
		t.Error("Changed is not closed")
	}
	if len(got) != 1 || got[0].after.Index() != 6 {
		t.Errorf("publications %+v, want one at 6", got)
	}
}

func TestSnapshotPersistAndRestore(t *testing.T) {
	f := newFSM(&appliedMemory{}, func(batch) {})
	f.ApplyBatch(commands(history(t)))
	snap, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	good := &sink{}
	if err := snap.Persist(good); err != nil || !good.closed || good.cancelled {
		t.Fatalf("persist: %v, %+v", err, good)
	}
	for _, bad := range []*sink{{failWrite: true}, {failClose: true}} {
		if err := snap.Persist(bad); err == nil || !bad.cancelled {
			t.Errorf("a sink that fails: error %v, cancelled %v", err, bad.cancelled)
		}
	}
	g := newFSM(&appliedMemory{}, func(batch) {})
	if err := g.Restore(io.NopCloser(bytes.NewReader(good.Bytes()))); err != nil || !bytes.Equal(bytesOf(t, g.State()), bytesOf(t, f.State())) {
		t.Errorf("restore: %v", err)
	}
	if err := g.Restore(io.NopCloser(bytes.NewReader(good.Bytes()[:good.Len()-3]))); !errors.Is(err, raftfsm.ErrDamaged) || g.State().Index() != 6 {
		t.Errorf("restore of half a snapshot: %v", err)
	}
	f.ApplyBatch([]*raft.Log{entry(t, 7, monitor("n", 101))})
	if err := f.Restore(io.NopCloser(bytes.NewReader(good.Bytes()))); err != nil || f.State().Index() != 7 {
		t.Errorf("an old snapshot takes the state back to %d, %v", f.State().Index(), err)
	}
	// Not even one from before a backup was restored, under another era of the same cluster.
	backup := raftfsm.Backup{State: f.State()}
	restore, err := backup.Restore("era-2", true)
	if err != nil {
		t.Fatal(err)
	}
	f.ApplyBatch([]*raft.Log{
		entry(t, 8, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: "a", NodeId: "a", MaxLevel: 4}}}),
		entry(t, 9, &raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: 4}}}),
		entry(t, 10, &raftlogv1.Command{Op: &raftlogv1.Command_Restore{Restore: restore}}),
	})
	if err := f.Restore(io.NopCloser(bytes.NewReader(good.Bytes()))); err != nil || f.State().Index() != 10 || f.State().Cluster().Era != "era-2" {
		t.Errorf("a snapshot from before a restore takes the state back to %d, era %s, %v", f.State().Index(), f.State().Cluster().Era, err)
	}
}

type sink struct {
	bytes.Buffer
	failWrite, failClose, closed, cancelled bool
}

func (s *sink) Write(b []byte) (int, error) {
	if s.failWrite {
		return 0, errors.New("disk full")
	}
	return s.Buffer.Write(b)
}

func (s *sink) Close() error {
	if s.failClose {
		return errors.New("disk full")
	}
	s.closed = true
	return nil
}

func (s *sink) Cancel() error { s.cancelled = true; return nil }
func (s *sink) ID() string    { return "s" }

func TestAppliedIndexIsKept(t *testing.T) {
	dir := t.TempDir()
	a, err := openApplied(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, known := a.load(); known {
		t.Error("a new file knows an index")
	}
	a.store(41)
	a.store(42)
	// Another process that reads it now, as after a kill, finds it without any sync or close.
	b, err := openApplied(dir)
	if err != nil {
		t.Fatal(err)
	}
	if i, known := b.load(); !known || i != 42 {
		t.Errorf("kept %d, %v", i, known)
	}
	if _, err := b.f.WriteAt([]byte{9}, 3); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*appliedFile{a, b} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	c, err := openApplied(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, known := c.load(); known {
		t.Error("a torn index is believed")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
