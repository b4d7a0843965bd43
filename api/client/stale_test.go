package client

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func progressUpdate(age time.Duration) *sentinelv1.WatchMastersResponse {
	return &sentinelv1.WatchMastersResponse{ClusterId: "c", Revision: 12, Update: &sentinelv1.WatchMastersResponse_Progress{
		Progress: &sentinelv1.WatchProgress{AgeMs: age.Milliseconds()},
	}}
}

// TestMasterWithoutLeader: what one node knows, marked, long before the caller's time is over.
func TestMasterWithoutLeader(t *testing.T) {
	noLeader := cannot(t, "no leader that a majority follows")
	for name, c := range map[string]struct {
		a, b *node
		// left is the caller's time; took bounds what the answer needs of it.
		left, took time.Duration
		want       Master
		code       codes.Code
	}{
		"refused at once": {
			&node{noLeader: noLeader, age: 3 * time.Second, master: set("h", 1, 2, 20)}, &node{noLeader: noLeader},
			5 * time.Second, 100 * time.Millisecond,
			Master{Name: "m", Addr: "h:1", Cluster: "c", Epoch: 2, Revision: 20, Stale: true, Age: 3 * time.Second},
			codes.OK,
		},
		"an election": {
			&node{hangs: true}, &node{hangs: true, master: set("h", 1, 2, 20), age: time.Second},
			5 * time.Second, confirmWithin + soon,
			Master{Name: "m", Addr: "h:1", Cluster: "c", Epoch: 2, Revision: 20, Stale: true, Age: time.Second},
			codes.OK,
		},
		"little time": {
			&node{hangs: true}, &node{hangs: true, master: set("h", 1, 2, 20)},
			400 * time.Millisecond, 300 * time.Millisecond,
			Master{Name: "m", Addr: "h:1", Cluster: "c", Epoch: 2, Revision: 20, Stale: true},
			codes.OK,
		},
		"a frozen node, and others hear a leader": {
			&node{stuck: true}, &node{master: set("h", 1, 2, 20)},
			5 * time.Second, confirmWithin,
			Master{Name: "m", Addr: "h:1", Cluster: "c", Epoch: 2, Revision: 20},
			codes.OK,
		},
		"a frozen node": {
			&node{stuck: true}, &node{hangs: true, master: set("h", 1, 2, 20)},
			5 * time.Second, confirmWithin + soon,
			Master{Name: "m", Addr: "h:1", Cluster: "c", Epoch: 2, Revision: 20, Stale: true},
			codes.OK,
		},
		"all frozen":    {&node{stuck: true}, &node{stuck: true}, 5 * time.Second, 3*confirmWithin + soon, Master{}, codes.DeadlineExceeded},
		"none is ready": {&node{fail: noLeader}, &node{fail: noLeader}, 5 * time.Second, 0, Master{}, codes.Unavailable},
		"unknown there": {
			&node{noLeader: noLeader, fail: status.Error(codes.NotFound, "no master")}, &node{noLeader: noLeader, fail: noLeader},
			5 * time.Second, 0,
			Master{},
			codes.NotFound,
		},
		"a leader": {
			&node{noLeader: noLeader}, &node{master: set("h", 1, 2, 20)},
			5 * time.Second, 0,
			Master{Name: "m", Addr: "h:1", Cluster: "c", Epoch: 2, Revision: 20},
			codes.OK,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := world{"a:26479": c.a, "b:26479": c.b}.dial(t, "a", "b")
				ctx, cancel := context.WithTimeout(t.Context(), c.left)
				defer cancel()
				begun := time.Now()
				m, err := cl.Master(ctx, "m")
				if m != c.want || status.Code(err) != c.code {
					t.Errorf("%+v, %v", m, err)
				}
				if took := time.Since(begun); took > c.took {
					t.Errorf("it took %v of %v", took, c.left)
				}
			})
		})
	}
}

// TestAnnounced: clients go where the cluster tells clients to go.
func TestAnnounced(t *testing.T) {
	m := set("redis-1.example", 6379, 1, 1)
	if got := masterOf(m, "c").Addr; got != "redis-1.example:6379" {
		t.Error(got)
	}
	m.Announced = &sentinelv1.Address{Host: "10.0.0.1", Port: 6379}
	if got := masterOf(m, "c").Addr; got != "10.0.0.1:6379" {
		t.Error(got)
	}
}

// follow collects what a watch tells until the test ends.
func (c *Client) collect(t *testing.T) (next func() string) {
	t.Helper()
	updates := make(chan string)
	go func() {
		for u, err := range c.Watch(t.Context(), "m") {
			line := fmt.Sprintf("%s synced %t removed %t", u.Master.Addr, u.Synced, u.Removed)
			switch {
			case err != nil:
				line = err.Error()
			case u.Stale:
				line += fmt.Sprintf(" stale %v", u.Age.Round(time.Second))
			}
			if u.Master.Name != "" && (u.Master.Stale != u.Stale || u.Master.Age != u.Age) {
				line += " and the master says otherwise"
			}
			select {
			case updates <- line:
			case <-t.Context().Done():
				return
			}
		}
	}()
	return func() string { return <-updates }
}

func wantLines(t *testing.T, next func() string, lines ...string) {
	t.Helper()
	for i, want := range lines {
		if got := next(); got != want {
			t.Fatalf("update %d: %q, want %q", i, got, want)
		}
	}
}

// TestWatchTellsStale: when the node loses the leader and when it hears one, each once, and the watch goes on.
func TestWatchTellsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{noLeader: cannot(t, "none"), live: make(chan *sentinelv1.WatchMastersResponse), script: []*sentinelv1.WatchMastersResponse{
			masterUpdate(set("a", 1, 1, 10), 10), syncedUpdate(12),
		}}
		next := world{"a:26479": n}.dial(t, "a").collect(t)
		wantLines(t, next, "a:1 synced false removed false", " synced true removed false")
		n.live <- progressUpdate(10 * time.Millisecond)
		n.live <- progressUpdate(2100 * time.Millisecond)
		wantLines(t, next, " synced false removed false stale 2s")
		time.Sleep(10 * time.Second)
		n.live <- progressUpdate(12100 * time.Millisecond)
		time.Sleep(3 * time.Second)
		n.live <- masterUpdate(set("b", 2, 2, 20), 20)
		wantLines(t, next, "b:2 synced false removed false stale 15s")
		n.live <- progressUpdate(0)
		wantLines(t, next, " synced false removed false")
		n.live <- masterUpdate(set("c", 3, 3, 30), 30)
		wantLines(t, next, "c:3 synced false removed false")
		n.live <- progressUpdate(-time.Millisecond)
		wantLines(t, next, " synced false removed false stale 0s")
	})
}

// TestWatchWithoutLeaderFromTheStart: the first values are marked too.
func TestWatchWithoutLeaderFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{noLeader: cannot(t, "none"), script: []*sentinelv1.WatchMastersResponse{
			progressUpdate(time.Minute), masterUpdate(set("a", 1, 1, 10), 10), syncedUpdate(12),
		}}
		next := world{"a:26479": n}.dial(t, "a").collect(t)
		wantLines(t, next, " synced false removed false stale 1m0s", "a:1 synced false removed false stale 1m0s",
			" synced true removed false stale 1m0s")
	})
}

// TestWatchWithoutNode: it is stale when no node can be followed for 2 s, and fresh once one can.
func TestWatchWithoutNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &node{script: []*sentinelv1.WatchMastersResponse{masterUpdate(set("a", 1, 1, 10), 10), syncedUpdate(12)}}
		b := &node{ready: time.Now().Add(time.Minute), script: []*sentinelv1.WatchMastersResponse{
			masterUpdate(set("old", 1, 1, 9), 12), syncedUpdate(12), masterUpdate(set("b", 2, 2, 20), 20),
		}}
		next := world{"a:26479": a, "b:26479": b}.dial(t, "a", "b").collect(t)
		wantLines(t, next, "a:1 synced false removed false", " synced true removed false")
		begun := time.Now()
		a.stop()
		got := next()
		if took := time.Since(begun); took < staleAfter || took > staleAfter+2*lastPause {
			t.Errorf("%q after %v", got, took)
		}
		// That b is back is told by its first message, whatever it is.
		wantLines(t, next, " synced false removed false", " synced true removed false", "b:2 synced false removed false")
		if took := time.Since(begun); took > time.Minute+2*lastPause {
			t.Errorf("b is followed after %v", took)
		}
	})
}

// TestWatchLeavesADeafNode for one that hears a leader, from where it is.
func TestWatchLeavesADeafNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := &node{noLeader: cannot(t, "none"), script: []*sentinelv1.WatchMastersResponse{
			masterUpdate(set("a", 1, 1, 10), 10), syncedUpdate(12), progressUpdate(3 * time.Second),
		}}
		hears := &node{script: []*sentinelv1.WatchMastersResponse{masterUpdate(set("b", 2, 2, 20), 20), syncedUpdate(20)}}
		next := world{"a:26479": deaf, "b:26479": hears}.dial(t, "a", "b").collect(t)
		begun := time.Now()
		wantLines(t, next, "a:1 synced false removed false", " synced true removed false", " synced false removed false stale 3s",
			"b:2 synced false removed false", " synced true removed false")
		if took := time.Since(begun); took > firstSearch+lastPause {
			t.Errorf("it took %v", took)
		}
		if q, ok := hears.asked[0].(*sentinelv1.WatchMastersRequest); !ok || q.GetAfterRevision() != 12 {
			t.Errorf("resumed by %v", hears.asked)
		}
	})
}

// TestWatchStaysWhereNoneHears a leader: moving would help nobody.
func TestWatchStaysWhereNoneHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{}
		for _, addr := range []string{"a:26479", "b:26479"} {
			w[addr] = &node{
				noLeader: cannot(t, "none"), live: make(chan *sentinelv1.WatchMastersResponse),
				script: []*sentinelv1.WatchMastersResponse{progressUpdate(3 * time.Second), syncedUpdate(12)},
			}
		}
		next := w.dial(t, "a", "b").collect(t)
		wantLines(t, next, " synced false removed false stale 3s", " synced true removed false stale 3s")
		for range 60 {
			time.Sleep(10 * time.Second)
			w["a:26479"].live <- progressUpdate(time.Hour)
		}
		w["a:26479"].live <- progressUpdate(0)
		wantLines(t, next, " synced false removed false")
		if a, b := len(w["a:26479"].asked), len(w["b:26479"].asked); a != 1 || b != 0 {
			t.Errorf("%d watches of a, %d of b", a, b)
		}
	})
}

// TestAnotherCluster begins anew: its revisions say nothing about those of the former.
func TestAnotherCluster(t *testing.T) {
	w := watcher{seen: map[string]uint64{}}
	var got []string
	tell := func(cluster string, r *sentinelv1.WatchMastersResponse) {
		r.ClusterId = cluster
		if u, due := w.update(r, time.Now()); due {
			got = append(got, u.Master.Addr+" of "+u.Master.Cluster)
		}
	}
	tell("c", masterUpdate(set("a", 1, 5, 50), 50))
	tell("c", masterUpdate(set("old", 1, 4, 40), 60))
	tell("d", masterUpdate(set("b", 2, 6, 6), 6))
	tell("d", masterUpdate(set("old", 2, 5, 5), 7))
	if want := []string{"a:1 of c", "b:2 of d"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
