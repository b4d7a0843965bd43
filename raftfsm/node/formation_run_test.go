package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// village is nodes without state on a network in memory. Node i has the address 10.0.0.i:1.
type village struct {
	t  *testing.T
	mu sync.Mutex
	// cut tells whether a call from one node to another is lost. It and after are called with mu held.
	cut func(from, to *villager) bool
	// after is called when a call was carried out and before it is answered; an error loses the answer.
	after func(from, to *villager, method string) error
	// names that resolve; with mu held.
	names  map[string][]string
	houses map[string]*villager
}

type villager struct {
	v       *village
	name    string
	address string
	dir     string
	expect  int
	peers   []string
	refusal func(string) string
	ahead   time.Duration // its clock is ahead by so much
	log     bytes.Buffer
	// Of the present run.
	id     *identity
	former *former
	up     bool
	stop   context.CancelFunc
	done   chan struct{}
	// Results.
	cluster string
	founded int
	members map[string]bool // of the cluster that it founded
	err     error
}

func newVillage(t *testing.T, size, expect int) (*village, []*villager) {
	v := &village{t: t, houses: map[string]*villager{}}
	var all []*villager
	var peers []string
	for i := 1; i <= size; i++ {
		peers = append(peers, fmt.Sprintf("10.0.0.%d:1", i))
	}
	for i, p := range peers {
		h := &villager{v: v, name: fmt.Sprintf("n%d", i+1), address: p, dir: t.TempDir(), expect: expect, peers: peers}
		v.houses[p] = h
		all = append(all, h)
	}
	t.Cleanup(func() {
		for _, h := range all {
			h.crash()
		}
	})
	return v, all
}

func (h *villager) start() {
	id, err := openIdentity(h.dir, h.name, "prod")
	if err != nil {
		h.v.t.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(h.address)
	if err != nil {
		h.v.t.Fatal(err)
	}
	self := &raftlogv1.RegisterNode{
		RaftId: string(id.get().RaftID), NodeId: h.name, Grpc: &raftlogv1.Address{Host: addr.Addr().String(), Port: uint32(addr.Port())},
	}
	f := newFormer(id, formerOptions{
		nodeID: h.name, clusterName: "prod", expect: h.expect, peers: h.peers, self: self, dial: h.dial,
		resolve: h.v.resolve, refusal: h.refusal, now: h.now, log: slog.New(slog.NewTextHandler(&h.log, nil)),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	h.v.mu.Lock()
	h.id, h.former, h.up, h.stop, h.done = id, f, true, cancel, done
	h.v.mu.Unlock()
	go func() {
		defer close(done)
		if rec := id.get(); rec.ClusterID != "" {
			h.settle(rec.ClusterID, rec.Founding)
			return
		}
		cluster, founded, err := f.run(ctx)
		if err != nil {
			h.err = err
			return
		}
		h.settle(cluster, founded)
	}()
}

func (h *villager) now() time.Time {
	h.v.mu.Lock()
	defer h.v.mu.Unlock()
	return time.Now().Add(h.ahead)
}

func (v *village) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []netip.Addr
	for _, a := range v.names[host] {
		out = append(out, netip.MustParseAddr(a))
	}
	if out == nil {
		return nil, errors.New("no such host")
	}
	return out, nil
}

func (h *villager) settle(cluster string, founded bool) {
	h.v.mu.Lock()
	defer h.v.mu.Unlock()
	h.cluster = cluster
	if founded && h.members == nil {
		h.founded++
		h.members = map[string]bool{string(h.id.get().RaftID): true}
	}
}

// crash ends a node; what it keeps is what is on its disk.
func (h *villager) crash() {
	h.v.mu.Lock()
	up := h.up
	h.up = false
	h.v.mu.Unlock()
	if !up {
		return
	}
	h.stop()
	<-h.done
	if err := h.id.Close(); err != nil {
		h.v.t.Error(err)
	}
}

func (h *villager) dial(address string) (peerv1.PeerServiceClient, io.Closer, error) {
	return villageWire{from: h, address: address}, io.NopCloser(nil), nil
}

// villageWire is a client that walks over to the other house.
type villageWire struct {
	peerv1.PeerServiceClient
	from    *villager
	address string
}

var errVillageCut = errors.New("dial tcp 10.0.0.9:1: connect: connection refused")

// walk gives the other end and who lives there now, 1 ms away, or an error where nobody opens.
func (w villageWire) walk(ctx context.Context) (*villager, *former, error) {
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	v := w.from.v
	v.mu.Lock()
	defer v.mu.Unlock()
	to := v.houses[w.address]
	if to == nil || !to.up || !w.from.up || (v.cut != nil && to != w.from && v.cut(w.from, to)) {
		return nil, nil, errVillageCut
	}
	return to, to.former, nil
}

func (w villageWire) back(to *villager, method string) error {
	w.from.v.mu.Lock()
	defer w.from.v.mu.Unlock()
	if w.from.v.after != nil {
		return w.from.v.after(w.from, to, method)
	}
	return nil
}

func (w villageWire) Describe(ctx context.Context, _ *peerv1.DescribeRequest, _ ...grpc.CallOption) (*peerv1.DescribeResponse, error) {
	to, f, err := w.walk(ctx)
	if err != nil {
		return nil, err
	}
	d := f.describeSelf()
	return &peerv1.DescribeResponse{
		ClusterName: d.clusterName, NodeId: d.nodeID, RaftId: string(d.raftID), ClusterId: d.clusterID, BootstrapExpect: uint32(d.expect),
		PromisedTo: string(d.promisedTo), Removed: d.removed, NowMs: f.o.now().UnixMilli(),
	}, w.back(to, "describe")
}

func (w villageWire) Promise(ctx context.Context, req *peerv1.PromiseRequest, _ ...grpc.CallOption) (*peerv1.PromiseResponse, error) {
	to, f, err := w.walk(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := f.promise(req)
	if err == nil {
		err = w.back(to, "promise")
	}
	return resp, err
}

// Join is answered by the founder; the others send there.
func (w villageWire) Join(ctx context.Context, req *peerv1.JoinRequest, _ ...grpc.CallOption) (*peerv1.JoinResponse, error) {
	to, _, err := w.walk(ctx)
	if err != nil {
		return nil, err
	}
	to.v.mu.Lock()
	defer to.v.mu.Unlock()
	if to.members == nil {
		for _, h := range to.v.houses {
			if h.members != nil && h.cluster == to.cluster {
				return &peerv1.JoinResponse{NotLeader: true, Reason: "this node does not lead", LeaderGrpc: h.former.o.self.GetGrpc()}, nil
			}
		}
		return &peerv1.JoinResponse{NotLeader: true, Reason: "this node does not lead"}, nil
	}
	to.members[req.GetNode().GetRaftId()] = true
	return &peerv1.JoinResponse{ClusterId: to.cluster, Admitted: true}, nil
}

// wantOneCluster fails unless all are members of one cluster that one node has founded once.
func wantOneCluster(t *testing.T, all []*villager) {
	t.Helper()
	founders := 0
	for _, h := range all {
		founders += h.founded
		if h.cluster == "" || h.cluster != all[0].cluster {
			t.Errorf("%s is in cluster %q, %s in %q\n%s", h.name, h.cluster, all[0].name, all[0].cluster, h.log.String())
		}
	}
	if founders != 1 {
		t.Errorf("%d foundings", founders)
	}
	for _, h := range all {
		if h.members != nil && len(h.members) != len(all) {
			t.Errorf("the founder %s has %d members of %d", h.name, len(h.members), len(all))
		}
	}
}

// wantNoCluster fails if any node has a cluster, and returns when it has said why n times.
func wantNoCluster(t *testing.T, h *villager, why string, times int) {
	t.Helper()
	if h.cluster != "" {
		t.Errorf("%s is in cluster %q", h.name, h.cluster)
	}
	if got := strings.Count(h.log.String(), why); got != times {
		t.Errorf("%s said %q %d times, want %d:\n%s", h.name, why, got, times, h.log.String())
	}
}

func TestFormationInAnyOrder(t *testing.T) {
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	for _, expect := range []int{2, 3} {
		for _, order := range orders {
			for _, gap := range []time.Duration{0, 10 * time.Millisecond, time.Second, 5 * time.Minute} {
				t.Run(fmt.Sprint(expect, order, gap), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						_, all := newVillage(t, 3, expect)
						for _, i := range order {
							all[i].start()
							time.Sleep(gap)
						}
						time.Sleep(5 * time.Second)
						synctest.Wait()
						wantOneCluster(t, all)
					})
				})
			}
		}
	}
}

// A node whose secret or cluster name is wrong is told so by those who refuse it, and tells its operator.
func TestFormationTellsWhyItIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, all := newVillage(t, 3, 3)
		h := all[2]
		v.cut = func(from, to *villager) bool { return from == h || to == h }
		h.refusal = func(address string) string {
			return map[string]string{"10.0.0.2:1": "the cluster secrets differ"}[address]
		}
		h.start()
		if h.former.waiting.Load() != nil {
			t.Error("it waits before it has asked")
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		const why = "the node at 10.0.0.2:1: the cluster secrets differ"
		wantNoCluster(t, h, why, 1)
		if got := h.former.waiting.Load(); got == nil || *got != why || !strings.Contains(h.log.String(), "level=WARN") {
			t.Errorf("waiting for %v, want %q", got, why)
		}
		if !strings.Contains(h.log.String(), "peer=10.0.0.1:1") {
			t.Errorf("it does not say that another peer is silent:\n%s", h.log.String())
		}
	})
}

func TestFormationAlone(t *testing.T) {
	for name, peers := range map[string][]string{"no peers": nil, "itself": {"10.0.0.1:1"}, "itself by name and address": {"10.0.0.1:1", "10.0.0.1:1"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, all := newVillage(t, 1, 1)
				all[0].peers = peers
				begun := time.Now()
				all[0].start()
				<-all[0].done
				wantOneCluster(t, all)
				if took := time.Since(begun); took > 10*time.Millisecond {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestFormationRefusesAndSaysSoOnce(t *testing.T) {
	for _, tc := range []struct {
		name  string
		size  int
		set   func(all []*villager)
		why   string
		level string
	}{
		{"expect not above half", 4, func(all []*villager) {
			for _, h := range all {
				h.expect = 2
			}
		}, "bootstrap-expect 2 is not more than half of the 4 nodes", "WARN"},
		{"expects differ", 3, func(all []*villager) { all[1].expect = 2 }, "bootstrap-expect is", "WARN"},
		{"same node-id", 3, func(all []*villager) { all[2].name = "n1" }, "have the same node-id", "WARN"},
		{"a clock hours off", 3, func(all []*villager) { all[1].ahead = -3 * time.Hour }, "are too far apart: ", "WARN"},
		{"only joiners", 3, func(all []*villager) {
			for _, h := range all {
				h.expect = 0
			}
		}, "bootstrap-expect is 0", "INFO"},
		{"too few", 3, func(all []*villager) { all[2].dir = "" }, "2 of the 3 nodes", "INFO"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, all := newVillage(t, tc.size, 3)
				tc.set(all)
				for _, h := range all {
					if h.dir != "" {
						h.start()
					}
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				for _, h := range all {
					if h.dir == "" {
						continue
					}
					wantNoCluster(t, h, tc.why, 1)
					if line := "level=" + tc.level + ` msg="no cluster yet" reason="`; !strings.Contains(h.log.String(), line) {
						t.Errorf("%s does not say %s:\n%s", h.name, line, h.log.String())
					}
				}
			})
		})
	}
}

func TestFormationJoinsWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, all := newVillage(t, 5, 3)
		for _, h := range all[2:] {
			h.start()
		}
		time.Sleep(10 * time.Second)
		// The others come later, lower in name, one expecting another number and one that is only to join; one of them sees
		// no founder, only a member that sends it there.
		all[0].expect, all[1].expect = 0, 2
		founder := all[2]
		v.mu.Lock()
		v.cut = func(from, to *villager) bool { return from == all[1] && to == founder }
		v.mu.Unlock()
		all[0].start()
		all[1].start()
		time.Sleep(10 * time.Second)
		v.mu.Lock()
		v.cut = nil
		v.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantOneCluster(t, all)
	})
}

// A name of cluster-peers is looked up at each attempt: by those who found, and by those who come later.
func TestFormationLooksNamesUpAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, all := newVillage(t, 3, 2)
		point := func(addresses ...string) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.names = map[string][]string{"sentinels": addresses}
		}
		for _, h := range all {
			h.peers = []string{"sentinels:1"}
		}
		all[0].start()
		all[1].start()
		for _, stale := range [][]string{nil, {"10.9.9.9"}, {"10.0.0.1", "10.9.9.8", "10.9.9.9"}} {
			point(stale...)
			time.Sleep(time.Minute)
			synctest.Wait()
			if all[0].cluster != "" || all[1].cluster != "" {
				t.Fatalf("a cluster, while the name stands for %v", stale)
			}
		}
		point("10.0.0.1", "10.0.0.2")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantOneCluster(t, all[:2])
		point("10.9.9.9")
		all[2].start()
		time.Sleep(time.Minute)
		synctest.Wait()
		if all[2].cluster != "" {
			t.Fatal("it has joined nobody")
		}
		point("10.0.0.2", "10.9.9.9") // a member that sends it to the founder
		time.Sleep(5 * time.Second)
		synctest.Wait()
		wantOneCluster(t, all)
	})
}

// A node that finds members of two clusters joins neither.
func TestFormationBetweenTwoClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := newVillage(t, 5, 2)
		for i, h := range all[:4] {
			h.peers = [][]string{{"10.0.0.1:1", "10.0.0.2:1"}, {"10.0.0.3:1", "10.0.0.4:1"}}[i/2]
			h.start()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		wantOneCluster(t, all[:2])
		wantOneCluster(t, all[2:4])
		h := all[4]
		h.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		wantNoCluster(t, h, "belong to two clusters, "+all[0].cluster+" and "+all[2].cluster, 1)
		if !strings.Contains(h.log.String(), "level=WARN") || h.founded > 0 {
			t.Errorf("%d foundings:\n%s", h.founded, h.log.String())
		}
	})
}

// Two of three suffice: whose clock is hours off is left out of the founding. It says so, and is in once its clock is right.
func TestFormationWithoutAClockHoursOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, all := newVillage(t, 3, 2)
		off := all[0] // who would found
		off.ahead = 3 * time.Hour
		// It does not see a cluster to join, and would found with either.
		v.cut = func(from, to *villager) bool { return from == off && to.cluster != "" }
		for _, h := range all {
			h.start()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantOneCluster(t, all[1:])
		if off.cluster != "" || off.founded > 0 {
			t.Fatalf("a second cluster: %q", off.cluster)
		}
		v.mu.Lock()
		off.ahead, v.cut = 0, nil
		v.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantOneCluster(t, all)
	})
}

func TestFormationFounderCrashesBeforeFounding(t *testing.T) {
	for promises := 1; promises <= 2; promises++ {
		t.Run(fmt.Sprintf("after %d promises", promises), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, all := newVillage(t, 3, 3)
				given := 0
				crashed := make(chan struct{})
				v.after = func(from, _ *villager, method string) error {
					if method != "promise" || from != all[0] {
						return nil
					}
					given++
					if given != promises {
						return nil
					}
					from.up = false
					from.stop()
					close(crashed)
					return errors.New("crashed")
				}
				for _, h := range all {
					h.start()
				}
				<-crashed
				<-all[0].done
				if err := all[0].id.Close(); err != nil {
					t.Fatal(err)
				}
				// Those who promised wait, however long, and say how to get out of it, once.
				time.Sleep(time.Hour)
				synctest.Wait()
				wantNoCluster(t, all[1], "has promised to follow the founder n1-", 1)
				// They do so after a restart too.
				all[1].crash()
				all[1].start()
				time.Sleep(time.Minute)
				synctest.Wait()
				wantNoCluster(t, all[1], "has promised to follow the founder n1-", 2)
				v.mu.Lock()
				v.after = nil
				v.mu.Unlock()
				all[0].start()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				wantOneCluster(t, all)
			})
		})
	}
}

func TestFormationFounderCrashesAfterFounding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, all := newVillage(t, 3, 2)
		v.cut = func(_, to *villager) bool { return to == all[0] && to.cluster != "" } // nobody can join
		for _, h := range all {
			h.start()
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if all[0].founded != 1 || all[1].cluster != "" || all[2].cluster != "" {
			t.Fatalf("want a founder alone: %+v", all[0])
		}
		// Those that promised are awaited, each until it comes, and not for ever.
		founder := all[0].former
		if got := founder.missing(); !slices.Equal(got, []string{"n2"}) {
			t.Errorf("awaited: %v", got)
		}
		if got := all[1].former.missing(); got != nil {
			t.Errorf("a node that founded nothing awaits %v", got)
		}
		time.Sleep(arrivalLimit)
		synctest.Wait()
		if got := founder.missing(); got != nil {
			t.Errorf("awaited after a minute: %v", got)
		}
		founder.awaitTil = founder.o.now().Add(time.Minute)
		founder.arrived(all[1].id.get().RaftID)
		if got := founder.missing(); got != nil {
			t.Errorf("awaited though admitted: %v", got)
		}
		// The two others are as many as bootstrap-expect asks for, and one of them is bound to the founder.
		all[0].crash()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if all[1].cluster != "" || all[2].cluster != "" {
			t.Fatal("a second cluster")
		}
		v.mu.Lock()
		v.cut = nil
		v.mu.Unlock()
		all[0].start()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantOneCluster(t, all)
	})
}

func TestFormationFoundersRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// n1 and n2 do not see each other, n3 sees both: either may found with it.
		v, all := newVillage(t, 3, 2)
		v.cut = func(from, to *villager) bool { return from.name != "n3" && to.name != "n3" }
		for _, h := range all {
			h.start()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if all[0].founded+all[1].founded+all[2].founded != 1 {
			t.Errorf("foundings: %d, %d, %d", all[0].founded, all[1].founded, all[2].founded)
		}
		v.mu.Lock()
		v.cut = nil
		v.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantOneCluster(t, all)
	})
}

// TestFormationUnderFaults lets nodes crash, return and lose calls and answers at random, then heals everything.
func TestFormationUnderFaults(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, wire := mathrand.New(mathrand.NewPCG(seed, 1)), mathrand.New(mathrand.NewPCG(seed, 2))
				size := 2 + r.IntN(4)
				expect := size/2 + 1 + r.IntN(size-size/2)
				v, all := newVillage(t, size, expect)
				lossy := true
				v.cut = func(_, _ *villager) bool { return lossy && wire.IntN(4) == 0 }
				v.after = func(_, _ *villager, _ string) error {
					if lossy && wire.IntN(6) == 0 {
						return errors.New("answer lost")
					}
					return nil
				}
				for range 30 {
					h := all[r.IntN(size)]
					if h.up {
						h.crash()
					} else {
						h.start()
					}
					time.Sleep(time.Duration(r.IntN(1500)) * time.Millisecond)
				}
				v.mu.Lock()
				lossy = false
				v.mu.Unlock()
				for _, h := range all {
					if !h.up {
						h.start()
					}
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				wantOneCluster(t, all)
			})
		})
	}
}

func TestSurveyCountsNodesNotAddresses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		peers []string
		names map[string][]string
		up    []int
		seen  []string
		other int
	}{
		{"all answer", []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}, nil, []int{2, 3}, []string{"n2", "n3"}, 0},
		{"one is silent", []string{"10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"}, nil, []int{2}, []string{"n2"}, 1},
		{"silent twice is silent once", []string{"10.0.0.2:1", "b:1"}, map[string][]string{"b": {"10.0.0.2"}}, nil, nil, 1},
		{"one name for all", []string{"all:1"}, map[string][]string{"all": {"10.0.0.1", "10.0.0.2", "10.0.0.3"}}, []int{2}, []string{"n1", "n2"}, 1},
		{"a name of two families, one deaf", []string{"b:1"}, map[string][]string{"b": {"10.0.0.2", "fd00::2"}}, []int{2}, []string{"n2"}, 0},
		{"a name of two families, both deaf", []string{"b:1"}, map[string][]string{"b": {"10.0.0.2", "fd00::2"}}, nil, nil, 1},
		{"a name unknown", []string{"nowhere:1", "10.0.0.2:1"}, nil, []int{2}, []string{"n2"}, 1},
		{"no address at all", []string{"10.0.0.2"}, nil, []int{2}, nil, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, all := newVillage(t, 3, 0)
				v.names = tc.names
				for _, i := range tc.up {
					all[i-1].start()
				}
				all[0].peers = tc.peers
				all[0].start()
				f := newFormer(all[0].id, all[0].former.o)
				peers, unknown := f.survey(t.Context())
				var seen []string
				for _, p := range peers {
					seen = append(seen, p.nodeID)
				}
				slices.Sort(seen)
				if !slices.Equal(seen, tc.seen) || unknown != tc.other {
					t.Errorf("saw %v and %d others, want %v and %d", seen, unknown, tc.seen, tc.other)
				}
			})
		})
	}
}

func TestPromiseIsRefused(t *testing.T) {
	good := func() *peerv1.PromiseRequest {
		return &peerv1.PromiseRequest{ClusterName: "prod", FounderNodeId: "n1", FounderRaftId: "n1-x", BootstrapExpect: 3}
	}
	for _, tc := range []struct {
		name   string
		expect int
		before func(*identity) error
		change func(*peerv1.PromiseRequest)
		want   string
	}{
		{"given", 3, nil, nil, ""},
		{"given again", 3, func(i *identity) error { _, err := i.promise("n1-x"); return err }, nil, ""},
		{"given to another", 3, func(i *identity) error { _, err := i.promise("n9-x"); return err }, nil, "follows the founder n9-x"},
		{"has state", 3, func(i *identity) error { return i.join("c1") }, nil, "belongs to cluster c1"},
		{"removed", 3, func(i *identity) error { return i.remove() }, nil, "removed"},
		{"other expect", 3, nil, func(r *peerv1.PromiseRequest) { r.BootstrapExpect = 2 }, "bootstrap-expect is 3 here and 2 there"},
		{"joiner", 0, nil, nil, "only joins"},
		{"other cluster", 3, nil, func(r *peerv1.PromiseRequest) { r.ClusterName = "staging" }, "cluster-name"},
		{"same node-id", 3, nil, func(r *peerv1.PromiseRequest) { r.FounderNodeId = "n2" }, "node-id"},
		{"a clock hours off", 3, nil, func(r *peerv1.PromiseRequest) { r.NowMs = time.Now().Add(3 * time.Hour).UnixMilli() }, "the clocks of n2 and n1 are too far apart: "},
		{"a clock minutes off", 3, nil, func(r *peerv1.PromiseRequest) { r.NowMs = time.Now().Add(-3 * time.Minute).UnixMilli() }, ""},
		{"nameless", 3, nil, func(r *peerv1.PromiseRequest) { r.FounderRaftId = "" }, "does not name itself"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id, err := openIdentity("", "n2", "prod")
			if err != nil {
				t.Fatal(err)
			}
			if tc.before != nil {
				if err := tc.before(id); err != nil {
					t.Fatal(err)
				}
			}
			req := good()
			if tc.change != nil {
				tc.change(req)
			}
			var log bytes.Buffer
			f := newFormer(id, formerOptions{
				nodeID: "n2", clusterName: "prod", expect: tc.expect, now: time.Now, log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			resp, err := f.promise(req)
			if err != nil || resp.GetGiven() != (tc.want == "") || !strings.Contains(resp.GetReason(), tc.want) {
				t.Errorf("got %v, %v, want %q", resp, err, tc.want)
			}
			if said := strings.Contains(log.String(), `level=WARN msg="no promise given to a founder"`); said == resp.GetGiven() {
				t.Errorf("given %v, and the log says: %s", resp.GetGiven(), log.String())
			}
			if resp.GetGiven() && id.get().PromisedTo != "n1-x" {
				t.Errorf("given to n1-x, but the identity says %q", id.get().PromisedTo)
			}
		})
	}
}
