package node

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// gatedStore is a log store whose writes hang while its gate is shut. The gate is a channel: waiting for a mutex would
// stop the virtual clock.
type gatedStore struct {
	*raft.InmemStore
	gate chan error
}

func newGatedStore() *gatedStore {
	g := &gatedStore{InmemStore: raft.NewInmemStore(), gate: make(chan error, 1)}
	g.open(nil)
	return g
}

func (g *gatedStore) shut() {
	if err := <-g.gate; err != nil {
		panic("the gate was shut")
	}
}
func (g *gatedStore) open(err error) { g.gate <- err }

func (g *gatedStore) StoreLogs(logs []*raft.Log) error {
	err := <-g.gate
	g.gate <- err
	if err != nil {
		return err
	}
	return g.InmemStore.StoreLogs(logs)
}

type nullFSM struct{}

func (nullFSM) Apply(*raft.Log) any                  { return nil }
func (nullFSM) Snapshot() (raft.FSMSnapshot, error)  { return nil, errors.New("none") }
func (nullFSM) Restore(snapshot io.ReadCloser) error { return snapshot.Close() }

type quietNode struct {
	raft  *raft.Raft
	store *gatedStore
	timed *timedStore
}

// quietCluster is real raft over memory; a stall limit below the test's hour makes leaders fall silent.
func quietCluster(t *testing.T, limit time.Duration) []*quietNode {
	t.Helper()
	const size = 3
	var nodes []*quietNode
	var transports []*raft.InmemTransport
	var servers []raft.Server
	for i := range size {
		addr, transport := raft.NewInmemTransportWithTimeout(raft.ServerAddress(fmt.Sprintf("n%d", i)), time.Second)
		transports = append(transports, transport)
		servers = append(servers, raft.Server{ID: raft.ServerID(addr), Address: addr})
	}
	for i, a := range transports {
		for j, b := range transports {
			if i != j {
				a.Connect(b.LocalAddr(), b)
			}
		}
		store := newGatedStore()
		timed := newTimedStore(store, limit)
		conf := raft.DefaultConfig()
		conf.LocalID = servers[i].ID
		conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 250*time.Millisecond
		conf.Logger = hclog.NewNullLogger()
		snaps := raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(conf, timed, store, snaps, a, raft.Configuration{Servers: servers}); err != nil {
			t.Fatal(err)
		}
		r, err := raft.NewRaft(conf, nullFSM{}, timed, store, snaps, newSilentTransport(a, timed.Stalled))
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, &quietNode{raft: r, store: store, timed: timed})
	}
	return nodes
}

// leaderBut waits for a leader other than one node that accepts a command, and tells how long it took.
func leaderBut(nodes []*quietNode, but *quietNode, within time.Duration) (*quietNode, time.Duration) {
	for begun := time.Now(); time.Since(begun) < within; time.Sleep(10 * time.Millisecond) {
		for _, n := range nodes {
			if n != but && n.raft.State() == raft.Leader && n.raft.Apply([]byte("x"), time.Second).Error() == nil {
				return n, time.Since(begun)
			}
		}
	}
	return nil, within
}

func stopAll(t *testing.T, nodes []*quietNode) {
	t.Helper()
	for _, n := range nodes {
		if err := n.raft.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	}
}

func TestLeaderWithHangingStoreIsReplaced(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit time.Duration
		want  bool
	}{
		{"silent after a second", time.Second, true},
		{"plain raft is held for ever", time.Hour, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nodes := quietCluster(t, tc.limit)
				defer stopAll(t, nodes)
				old, _ := leaderBut(nodes, nil, 10*time.Second)
				if old == nil {
					t.Fatal("no first leader")
				}
				old.store.shut()
				pending := old.raft.Apply([]byte("hangs"), time.Second)
				next, took := leaderBut(nodes, old, 10*time.Minute)
				switch {
				case tc.want && next == nil:
					t.Error("nobody took over")
				case tc.want && took > 3*time.Second:
					t.Errorf("took over after %v, want at most 3s", took)
				case !tc.want && next != nil:
					t.Errorf("another took over after %v: this test proves nothing", took)
				}
				old.store.open(nil)
				err := pending.Error()
				if tc.want && err == nil {
					t.Error("a deposed leader's command was committed")
				}
				time.Sleep(5 * time.Second)
				if got, _ := leaderBut(nodes, nil, time.Minute); got == nil {
					t.Error("no leader after the store recovered")
				}
				if old.timed.Stalled() {
					t.Error("still stalled after the write returned")
				}
				time.Sleep(5 * time.Second)
				for _, n := range nodes {
					if want, got := n.raft.LastIndex(), old.raft.LastIndex(); want != got {
						t.Errorf("the old leader has index %d, the cluster %d: it does not go on", got, want)
					}
				}
			})
		})
	}
}

func TestShortStallChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := quietCluster(t, time.Second)
		defer stopAll(t, nodes)
		old, _ := leaderBut(nodes, nil, 10*time.Second)
		term := old.raft.CurrentTerm()
		old.store.shut()
		pending := old.raft.Apply([]byte("late"), time.Second)
		time.Sleep(900 * time.Millisecond)
		old.store.open(nil)
		if err := pending.Error(); err != nil {
			t.Errorf("the late command: %v", err)
		}
		time.Sleep(10 * time.Second)
		if old.raft.State() != raft.Leader || old.raft.CurrentTerm() != term {
			t.Errorf("a stall of 900 ms cost the leadership: %v in term %d, was %d", old.raft.State(), old.raft.CurrentTerm(), term)
		}
	})
}

func TestLeaderWithFullDiskIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := quietCluster(t, time.Second)
		defer stopAll(t, nodes)
		old, _ := leaderBut(nodes, nil, 10*time.Second)
		old.store.shut()
		old.store.open(errors.New("no space left on device"))
		if err := old.raft.Apply([]byte("x"), time.Second).Error(); err == nil {
			t.Error("a command was committed by a leader that cannot write")
		}
		// It may be elected again, having the longest log, and step down again.
		if next, took := leaderBut(nodes, old, time.Minute); next == nil {
			t.Errorf("nobody took over within %v", took)
		}
	})
}

func TestTimedStoreP50(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newGatedStore()
		s := newTimedStore(inner, time.Second)
		if got := s.P50(); got != 0 {
			t.Errorf("P50 before the first write is %v", got)
		}
		for i := range 3 * timedWrites {
			inner.shut()
			done := make(chan error)
			go func() { done <- s.StoreLogs([]*raft.Log{{Index: uint64(i + 1)}}) }()
			synctest.Wait()
			time.Sleep(time.Duration(i) * time.Millisecond)
			inner.open(nil)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		// The latest 128 writes took 256 to 383 ms.
		if got, want := s.P50(), 320*time.Millisecond; got != want {
			t.Errorf("P50 = %v, want %v", got, want)
		}
	})
}
