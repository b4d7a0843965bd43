package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// trio runs three nodes until they are voters of one cluster with a leader.
func (w *world) trio(more ...string) []*runner {
	w.t.Helper()
	var nodes []*runner
	for i := range 3 {
		nodes = append(nodes, w.run(w.config(i+1, 3, more...)))
	}
	w.until("a cluster", func() bool {
		return !slices.ContainsFunc(nodes, func(n *runner) bool {
			return n.State().Voters() != 3 || n.Status().LeaderID == "" || n.State().FeatureLevel() < raftfsm.Level
		})
	})
	return nodes
}

// An observer probes nothing and votes on nothing; it serves reads of what the others decide, and takes changes to the leader.
func TestObserver(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		master, replica := raftfsm.Addr{Host: "10.0.0.1", Port: 6379}, raftfsm.Addr{Host: "10.0.0.2", Port: 6379}
		first := w.redis.Add(master.String())
		w.redis.Add(replica.String()).Replicate(master)
		nodes := w.trio()
		observer := w.run(w.config(4, 3, "node-role observer"))
		for _, n := range append(nodes, observer) {
			defer n.end()
		}
		w.until("the observer is a member", func() bool { return observer.Status().Role == "observer" })
		observer.must("SENTINEL", "MONITOR", "m", master.Host, fmt.Sprint(master.Port), "2")
		observer.must("SENTINEL", "SET", "m", "down-after-milliseconds", "1000")
		w.until("the replica is in sync", func() bool {
			in, known := observer.master().Instance(replica)
			return known && in.SyncedReplID != ""
		})
		first.Crash()
		lookup := func() string {
			got, err := observer.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m")
			return fmt.Sprint(got, err)
		}
		w.until("the observer tells the new master", func() bool { return strings.Contains(lookup(), replica.Host) })
		if n := observer.fleet.Probed(); n != 0 {
			t.Errorf("it probes %d instances", n)
		}
		events, _ := observer.State().EventsSince(raftfsm.Cursor{})
		votes := 0
		for e := range events {
			if e.Kind != raftfsm.EventSDown {
				continue
			}
			votes++
			if e.Node == observer.Status().RaftID {
				t.Errorf("it has voted: %+v", e)
			}
		}
		if votes == 0 || observer.State().IsVoter(observer.Status().RaftID) || observer.State().Voters() != 3 {
			t.Errorf("%d votes in all, %d voters", votes, observer.State().Voters())
		}
	})
}

// Every node comes back with another port for Raft, which nobody else knows: they find each other by cluster-peers.
func TestAllRaftPortsChange(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis.Add("10.0.0.1:6379")
		nodes := w.trio()
		nodes[0].must("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
		w.until("all know it", func() bool {
			return !slices.ContainsFunc(nodes, func(n *runner) bool { return n.State().MasterCount() == 0 })
		})
		for _, n := range nodes {
			n.stop()
		}
		for _, n := range nodes {
			n.end()
		}
		for i := range nodes {
			nodes[i] = w.run(w.config(i+1, 3, "raft-port 27999"))
			defer nodes[i].end()
		}
		w.until("a leader, and all at their new ports", func() bool {
			return !slices.ContainsFunc(nodes, func(n *runner) bool {
				moved := 0
				for _, v := range n.State().Servers() {
					if strings.HasSuffix(v.Address, ":27999") {
						moved++
					}
				}
				return n.Status().LeaderID == "" || moved != 3 || n.State().MasterCount() != 1
			})
		})
	})
}
