package failover_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Why the only replica cannot be promoted.
func TestReject(t *testing.T) {
	info := func(change func(i *detector.Info)) func(s *scene) {
		return func(s *scene) { s.see(addr(2), func(o *detector.Observation) { change(o.Info) }) }
	}
	never := func(s *scene) { s.fact(addr(2), raftfsm.RoleReplica, foreignID, "") }
	cases := []struct {
		name string
		do   func(s *scene)
		want string
	}{
		{"well", func(*scene) {}, ""},
		{"down", func(s *scene) { s.down(addr(2), "a") }, failover.RejectDown},
		{"voted down by others", func(s *scene) { s.down(addr(2), "b", "c") }, failover.RejectVotedDown},
		{"one vote of another", func(s *scene) { s.down(addr(2), "b") }, ""},
		{"rejects us", func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) { o.AuthRejected = true })
		}, failover.RejectAuth},
		{"never read", func(s *scene) { s.see(addr(2), func(o *detector.Observation) { o.Info = nil }) }, failover.RejectUnseen},
		{"two periods old", func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) { o.InfoAt = s.now.Add(-200 * time.Millisecond) })
		}, ""},
		{"older", func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) { o.InfoAt = s.now.Add(-201 * time.Millisecond) })
		}, failover.RejectStale},
		{"a master", info(func(i *detector.Info) { i.Role = raftfsm.RoleMaster }), failover.RejectRole},
		{"loading", info(func(i *detector.Info) { i.Loading = true }), failover.RejectLoading},
		{"loading aside", info(func(i *detector.Info) { i.AsyncLoading = true }), failover.RejectLoading},
		{"full copy under way", info(func(i *detector.Info) { i.SyncInProgress, i.MasterLinkUp = true, false }), failover.RejectSyncing},
		{"never synced", func(s *scene) {
			never(s)
			info(func(i *detector.Info) {
				i.MasterLinkUp, i.MasterLinkDown, i.Offset, i.ReplID = false, -1, 0, foreignID
			})(s)
		}, failover.RejectNeverSynced},
		{"in sync for the first time", func(s *scene) { s.fact(addr(2), raftfsm.RoleReplica, setID, "") }, ""},
		{"link lost, once in sync", info(func(i *detector.Info) { i.MasterLinkUp, i.MasterLinkDown = false, time.Second }), ""},
		{"link lost, copy broke off", info(func(i *detector.Info) { i.MasterLinkUp, i.MasterLinkDown, i.Offset = false, time.Second, 1 }), failover.RejectNeverSynced},
		{"link lost, and nothing was written yet", func(s *scene) { s.untouched(time.Second) }, ""},
		{"link lost, and what was written since its master was read is not known", func(s *scene) { s.untouched(21 * time.Second) }, failover.RejectNeverSynced},
		{"follows a stranger", info(func(i *detector.Info) { i.MasterHost, i.ReplID = "10.9.9.9", foreignID }), failover.RejectOtherMaster},
		{"the master spelled otherwise", info(func(i *detector.Info) { i.MasterHost = "redis-1.example" }), ""},
		{"another lineage", info(func(i *detector.Info) { i.ReplID = foreignID }), failover.RejectLineage},
		{"the master came back without its data", func(s *scene) { s.fact(addr(1), raftfsm.RoleMaster, foreignID, "") }, ""},
		{"priority 0", info(func(i *detector.Info) { i.Priority = 0 }), failover.RejectPriority},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 1)
			c.do(s)
			sel := failover.Select(s.view(), raftfsm.Addr{})
			if got := sel.Candidates[0]; got.Rejection != c.want || sel.OK != (c.want == "") || (got.Detail == "") != (c.want == "") {
				t.Errorf("%q (%s), ok %t; want %q", got.Rejection, got.Detail, sel.OK, c.want)
			}
		})
	}
}

// untouched is a set whose replica lost its link at offset 1, where the master was, too, when it was read so long before it fell silent.
func (s *scene) untouched(age time.Duration) {
	s.see(addr(2), func(o *detector.Observation) {
		o.Info.MasterLinkUp, o.Info.MasterLinkDown, o.Info.Offset = false, time.Second, 1
	})
	s.see(addr(1), func(o *detector.Observation) {
		o.Info.Offset = 1
		o.LastReply = s.now.Add(-time.Minute)
		o.InfoAt = o.LastReply.Add(-age)
	})
}

func TestRejectLoopback(t *testing.T) {
	s := newScene(t, 1)
	local := raftfsm.Addr{Host: "127.0.0.1", Port: 7000}
	s.fact(raftfsm.Addr{Host: "127.0.0.1", Port: 7000}, raftfsm.RoleReplica, setID, setID)
	s.see(local, func(o *detector.Observation) { o.Info = replicaInfo() })
	sel := failover.Select(s.view(), raftfsm.Addr{})
	if c := sel.Candidates[1]; c.Addr != local || c.Rejection != failover.RejectLoopback {
		t.Errorf("%+v", c)
	}
}

// Of two that can be promoted, 10.0.0.2 would win by its run id; each case makes 10.0.0.3 better or worse by one thing.
func TestRank(t *testing.T) {
	both := func(change2, change3 func(i *detector.Info)) func(s *scene) {
		return func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) { change2(o.Info) })
			s.see(addr(3), func(o *detector.Observation) { change3(o.Info) })
		}
	}
	same := func(*detector.Info) {}
	linkDown := func(d time.Duration) func(i *detector.Info) {
		return func(i *detector.Info) { i.MasterLinkUp, i.MasterLinkDown = false, d }
	}
	cases := []struct {
		name string
		do   func(s *scene)
		want raftfsm.Addr
	}{
		{"run id", func(*scene) {}, addr(2)},
		{"address", both(func(i *detector.Info) { i.RunID = "x" }, func(i *detector.Info) { i.RunID = "x" }), addr(2)},
		{"offset", both(same, func(i *detector.Info) { i.Offset++ }), addr(3)},
		{"priority before offset", both(func(i *detector.Info) { i.Priority, i.Offset = 10, 500 }, func(i *detector.Info) { i.Priority = 20 }), addr(2)},
		{"priority 0 never wins", both(func(i *detector.Info) { i.Priority = 0 }, func(i *detector.Info) { i.Priority, i.Offset = 900, 2 }), addr(3)},
		{"link before priority", both(func(i *detector.Info) { i.Priority = 1; linkDown(time.Minute)(i) }, linkDown(time.Second)), addr(3)},
		{"links lost together are equal", both(func(i *detector.Info) { i.Priority = 1; linkDown(2 * time.Second)(i) }, linkDown(time.Second)), addr(2)},
		{"a link that still stands is no better than one just lost", both(linkDown(time.Second), func(i *detector.Info) { i.Priority = 200 }), addr(2)},
		{"votes before link", func(s *scene) {
			both(same, linkDown(10*time.Second))(s)
			s.down(addr(2), "b")
		}, addr(3)},
		{"failures before votes", func(s *scene) {
			s.down(addr(3), "b")
			s.v.Memory.Failed = map[raftfsm.Addr]int{addr(2): 1}
			s.down(addr(1), "a", "b")
		}, addr(3)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 2)
			c.do(s)
			sel := failover.Select(s.view(), raftfsm.Addr{})
			if sel.Best != c.want {
				t.Errorf("best %s, want %s: %+v", sel.Best, c.want, sel.Candidates)
			}
			if l := sel.Candidates[1]; l.Rejection == "" || l.Detail == "" || l.Chosen {
				t.Errorf("the loser is not told why: %+v", l)
			}
		})
	}
}

// The choice is a total order: whatever the set looks like, the order does not depend on where a replica stands in it.
func TestSelectIsATotalOrder(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		infos := make([]*detector.Info, 5)
		for n := range infos {
			i := replicaInfo()
			i.Offset = int64(1000 + r.IntN(3))
			i.Priority = r.IntN(3)
			i.RunID = string(rune('a' + r.IntN(3)))
			if r.IntN(2) == 0 {
				i.MasterLinkUp, i.MasterLinkDown = false, time.Duration(r.IntN(3))*5*time.Second
			}
			infos[n] = i
		}
		order := func(perm []int) (runs []*detector.Info) {
			s := newScene(t, len(perm))
			for at, n := range perm {
				s.see(addr(at+2), func(o *detector.Observation) { i := *infos[n]; o.Info = &i })
			}
			for _, c := range failover.Select(s.view(), raftfsm.Addr{}).Candidates {
				if c.Rejection == "" || c.Rejection == failover.RejectOutranked {
					runs = append(runs, infos[perm[c.Addr.Host[7]-'2']])
				}
			}
			return runs
		}
		want := order([]int{0, 1, 2, 3, 4})
		got := order(r.Perm(5))
		if !slices.EqualFunc(want, got, func(a, b *detector.Info) bool { return *keyOf(a) == *keyOf(b) }) {
			t.Fatalf("seed %d: the order depends on the addresses", seed)
		}
	}
}

// keyOf is what two replicas that differ in their address alone have in common.
func keyOf(i *detector.Info) *struct {
	offset   int64
	priority int
	run      string
	down     time.Duration
} {
	return &struct {
		offset   int64
		priority int
		run      string
		down     time.Duration
	}{i.Offset, i.Priority, i.RunID, i.MasterLinkDown}
}

func TestAskedForOne(t *testing.T) {
	s := newScene(t, 2)
	if sel := failover.Select(s.view(), addr(3)); sel.Best != addr(3) || !sel.OK {
		t.Errorf("%+v", sel)
	}
	if sel := failover.Select(s.view(), addr(7)); sel.OK {
		t.Errorf("%+v", sel)
	}
}
