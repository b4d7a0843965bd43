package probe

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// asked counts what was asked of an instance from now on.
func (r *room) asked(a string, d time.Duration) (pings, infos int) {
	r.t.Helper()
	synctest.Wait()
	from := len(r.net.Log())
	time.Sleep(d)
	synctest.Wait()
	for _, c := range r.net.Log()[from:] {
		switch {
		case c.Instance != addrOf(a):
		case c.Args[0] == "PING":
			pings++
		case c.Args[0] == "INFO":
			infos++
		}
	}
	return pings, infos
}

// Whoever leads keeps what the instances of a set say fresh while its master is down. The others, who decide nothing, go on as ever,
// and a replica that is down concerns nobody's pace.
func TestOnlyTheLeaderAsksForInfoWhereAFailoverIsNear(t *testing.T) {
	inRoom(t, func(r *room) {
		for _, tc := range []struct {
			what    string
			leading bool
			dead    string
			often   bool
		}{
			{"follower, master down", false, master, false},
			{"leader, master down", true, master, true},
			{"leader, replica down", true, third, false},
		} {
			r.law.set(tc.leading, nil)
			r.at(tc.dead).Crash()
			time.Sleep(3 * time.Second)
			pings, infos := r.asked(replica, 5*time.Second)
			if often := infos > 40; often != tc.often || pings+infos < 45 {
				t.Errorf("%s: %d PINGs and %d INFOs in 5 s", tc.what, pings, infos)
			}
			r.at(tc.dead).Restart(false)
			if tc.dead != master {
				r.at(tc.dead).Replicate(addrOf(master))
			}
			time.Sleep(15 * time.Second)
		}
	})
}

// However far apart probes are, INFO is not older than what checks and decisions take for current.
func TestInfoStaysCurrentWhereProbesAreRare(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		r.net.Add(master)
		r.law.monitor("m", master, "down-after-milliseconds", "60000")
		r.start()
		for _, stretch := range []int64{1000, 2000, 3750, 9000} {
			r.fleet.stretch.Store(stretch)
			time.Sleep(30 * time.Second)
			var oldest time.Duration
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				oldest = max(oldest, time.Since(r.observe(master).InfoAt))
			}
			if oldest > 15*time.Second {
				t.Errorf("stretched by %d thousandths: an INFO %v old", stretch, oldest)
			}
		}
	})
}

// While a rack is gone the others' probes yield to what has to be done for it, and its own instances are dialled in turn.
func TestProbesYieldWhileManyAreLost(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		const masters = 800 // 2,667 probes a second
		name := func(i int) string { return fmt.Sprintf("10.9.%d.%d:6379", i/200, 1+i%200) }
		for i := range masters {
			r.net.Add(name(i))
			r.law.monitor(name(i), name(i), "down-after-milliseconds", "3000")
		}
		r.net.LogOnly(func([]string) bool { return true })
		r.start()
		time.Sleep(15 * time.Second)
		before, _ := r.asked(name(masters-1), 12*time.Second)
		for i := range 2 * manyLost {
			r.at(name(i)).Crash()
		}
		time.Sleep(10 * time.Second)
		during, _ := r.asked(name(masters-1), 12*time.Second)
		if during > before/2 {
			t.Errorf("%d PINGs before, %d while many are lost", before, during)
		}
		for i := range 2 * manyLost {
			r.at(name(i)).Restart(false)
		}
		time.Sleep(10 * time.Second)
		if n := r.fleet.lost.Load(); n != 0 {
			t.Errorf("%d are lost still", n)
		}
		if after, _ := r.asked(name(masters-1), 12*time.Second); after < before-2 {
			t.Errorf("%d PINGs before, %d when all are back", before, after)
		}
	})
}
