package daemon

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Restarting the nodes one by one, the leader first, hands leadership on at once and moves no master: nobody is held down, and
// no failover is begun.
func TestRestartsMoveNoMaster(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis.Add(first.String())
		w.redis.Add(second.String()).Replicate(first)
		seed := []string{"sentinel monitor m 10.9.0.1 6379 2", "sentinel down-after-milliseconds m 1000"}
		var nodes []*runner
		for i := range 3 {
			nodes = append(nodes, w.run(w.config(i+1, 3, seed...)))
		}
		well := func() bool {
			return !slices.ContainsFunc(nodes, func(r *runner) bool {
				m, ok := r.State().Master("m")
				return !ok || len(m.Replicas()) != 1 || r.State().Voters() != 3 || r.Status().LeaderID == "" || r.Status().Loading
			})
		}
		w.until("a cluster with a master", well)
		leads := func() int {
			return slices.IndexFunc(nodes, func(r *runner) bool { return member{r.node}.Leading() })
		}
		for _, i := range []int{leads(), (leads() + 1) % 3, (leads() + 2) % 3} {
			led := i == leads()
			stopping := time.Now()
			nodes[i].stop()
			if led {
				w.until("another leader", func() bool { l := leads(); return l >= 0 && l != i })
				if took := time.Since(stopping); took > 100*time.Millisecond {
					t.Errorf("leadership was handed on after %v: that is an election's time", took)
				}
			}
			nodes[i].end()
			time.Sleep(10 * time.Second) // longer than down-after, and than reports live that nobody renews
			nodes[i] = w.run(w.config(i+1, 3, seed...))
			w.until(fmt.Sprint("node ", i+1, " is back"), well)
		}
		for _, r := range nodes {
			m := r.master()
			if m.Address != first || m.Epoch != 0 || len(m.History) != 0 || len(m.Votes) != 0 {
				t.Errorf("master %s, epoch %d, %d failovers, votes %v", m.Address, m.Epoch, len(m.History), m.Votes)
			}
			for _, kind := range []string{"+sdown", "+odown", "+try-failover", "+switch-master"} {
				if n := r.count(kind); n != 0 {
					t.Errorf("%d events %s", n, kind)
				}
			}
		}
		for _, r := range nodes {
			r.stop()
		}
		for _, r := range nodes {
			r.end()
		}
	})
}
