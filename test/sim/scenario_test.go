package sim

import (
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// A crashed master is replaced exactly once, by the replica that was selected, and follows when it returns.
func TestCrashFailover(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		play(t, nodes, func(t *testing.T, w *world) {
			w.start()
			w.addRedis(2)
			w.watch(nodes/2 + 1)
			w.instances[1].SetLag(500)
			w.pass(11 * time.Second)
			began := time.Now()
			w.instances[0].Crash()
			w.until("every node answers the new master", 5*time.Second, func() bool {
				for _, n := range w.nodes {
					if a, err := w.lookup(n); err != nil || a != address(3) {
						return false
					}
				}
				return true
			})
			if took := time.Since(began); took > downAfter+300*time.Millisecond {
				t.Errorf("%d nodes: the failover took %s", nodes, took)
			}
			w.converge(20 * time.Second)
			w.instances[0].Restart(false)
			w.converge(20 * time.Second)
			w.rest(2 * time.Minute)
			w.converge(0)
			m := w.master(w.nodes[0])
			if len(m.History) != 1 || m.History[0].Outcome != raftfsm.OutcomeCompleted || m.History[0].To != address(3) || m.Epoch != 1 {
				t.Errorf("%d nodes:\n%s", nodes, w.describe())
			}
			promotions := 0
			for _, c := range w.controls(0) {
				if len(c.Args) == 3 && c.Args[1] == "NO" {
					promotions++
				}
			}
			if promotions != 1 {
				t.Errorf("%d nodes: %d promotions\n%s", nodes, promotions, w.describe())
			}
		})
	}
}
