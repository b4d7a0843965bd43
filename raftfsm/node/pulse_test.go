package node

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// stuck looks for a while, and tells the longest that a loop was seen stuck.
func stuck(ask func() time.Duration, within time.Duration) (longest time.Duration) {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		longest = max(longest, ask())
	}
	return longest
}

// slowApplied is a disk that takes its time for the applied index.
type slowApplied struct {
	appliedMemory
	takes time.Duration
}

func (a *slowApplied) store(index uint64) {
	time.Sleep(a.takes)
	a.appliedMemory.store(index)
}

// slowReader is a disk that takes its time for each piece of a snapshot.
type slowReader struct {
	io.Reader
	takes time.Duration
}

func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(r.takes)
	return r.Reader.Read(p[:min(len(p), 100)])
}

// What applies is stuck when one entry takes long, and not when there are many, none, or a disk that takes long.
func TestApplyStuck(t *testing.T) {
	const long = time.Minute
	logs := commands(history(t))
	whole := newFSM(&appliedMemory{}, func(batch) {})
	whole.ApplyBatch(logs)
	snapshot := bytesOf(t, whole.State())
	for _, c := range []struct {
		name    string
		applied appliedStore
		publish time.Duration // that each publication takes
		work    func(f *fsm)
		want    bool
	}{
		{"idle", &appliedMemory{}, 0, func(*fsm) { time.Sleep(2 * long) }, false},
		{"busy", &appliedMemory{}, time.Second, func(f *fsm) {
			for _, l := range logs {
				f.Apply(l)
			}
		}, false},
		{"the disk is slow", &slowApplied{takes: 2 * long}, 0, func(f *fsm) { f.ApplyBatch(logs) }, false},
		{"a snapshot is slow to read", &appliedMemory{}, 0, func(f *fsm) {
			if err := f.Restore(io.NopCloser(slowReader{bytes.NewReader(snapshot), 2 * long})); err != nil {
				t.Error(err)
			}
		}, false},
		{"a publication hangs", &appliedMemory{}, 2 * long, func(f *fsm) { f.ApplyBatch(logs) }, true},
		{"the publication of a snapshot hangs", &appliedMemory{}, 2 * long, func(f *fsm) {
			if err := f.Restore(io.NopCloser(bytes.NewReader(snapshot))); err != nil {
				t.Error(err)
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFSM(c.applied, func(batch) { time.Sleep(c.publish) })
				done := make(chan struct{})
				go func() {
					defer close(done)
					c.work(f)
				}()
				if longest := stuck(f.loop.Stuck, long); longest > 50*time.Second != c.want || longest > 2*time.Second && !c.want {
					t.Errorf("stuck for %v", longest)
				}
				<-done
				if now := f.loop.Stuck(); now != 0 {
					t.Errorf("stuck for %v, with nothing to do", now)
				}
			})
		})
	}
}

// Raft's main loop turns in every node, whatever it is in the cluster: with nothing to do, without a quorum, alone.
func TestRaftTurns(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		turns := func(what string) {
			t.Helper()
			for _, m := range w.members {
				if longest := stuck(m.RaftStuck, 10*time.Second); longest > 2*time.Second {
					t.Errorf("%s: n%d's raft is stuck for %v", what, m.number, longest)
				}
			}
		}
		turns("at rest")
		for _, m := range w.members[1:] {
			if err := m.halt(); err != nil {
				t.Error(err)
			}
			w.drop(m)
		}
		turns("without a quorum")
	})
}

// A main loop that hangs is seen, in whatever it hangs: here in a snapshot whose sender says nothing more. So is that it turns
// again.
func TestRaftStuck(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		m := w.others(w.leader())[0]
		r := m.raft.Load()
		reader, writer := io.Pipe()
		defer writer.Close()
		answer := make(chan raft.RPCResponse, 1)
		request := &raft.InstallSnapshotRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}, SnapshotVersion: raft.SnapshotVersionMax,
			Term: r.CurrentTerm(), LastLogIndex: 1 << 40, LastLogTerm: r.CurrentTerm(), Size: 1 << 20,
			Configuration: raft.EncodeConfiguration(r.GetConfiguration().Configuration()),
		}
		m.pulse.Load().requests <- raft.RPC{Command: request, Reader: reader, RespChan: answer}
		for range 30 {
			if _, err := writer.Write([]byte("a piece of a snapshot")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if now := m.RaftStuck(); now > 2*time.Second {
				t.Fatalf("stuck for %v, while a snapshot arrives", now)
			}
		}
		if longest := stuck(m.RaftStuck, time.Minute); longest < 50*time.Second {
			t.Errorf("it was stuck for %v only", longest)
		}
		if err := writer.CloseWithError(io.ErrUnexpectedEOF); err != nil {
			t.Fatal(err)
		}
		if a := <-answer; a.Error == nil {
			t.Error("half a snapshot was taken")
		}
		time.Sleep(2 * pulseEvery)
		if longest := stuck(m.RaftStuck, 10*time.Second); longest > 2*time.Second {
			t.Errorf("it is stuck for %v still", longest)
		}
	})
}

// A log store that hangs makes a node fall silent. It is not stuck, however long that takes.
func TestHangingStoreIsNotStuck(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		if err := l.halt(); err != nil {
			t.Fatal(err)
		}
		hang := &hangingStore{LogStore: l.stores.logs, release: make(chan struct{})}
		l.stores.logs = hang
		l.restart()
		w.leader()
		w.settle()
		hang.hangs.Store(true)
		w.mustPropose(w.leader(w.others(l)...), monitor("m", 100))
		if longest := max(stuck(l.RaftStuck, time.Hour), l.ApplyStuck()); longest > 2*time.Second {
			t.Errorf("stuck for %v", longest)
		}
		if !l.stalled() {
			t.Error("the store does not hang: this test proves nothing")
		}
		close(hang.release)
		hang.hangs.Store(false)
		w.settle()
	})
}
