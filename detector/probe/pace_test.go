package probe

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
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

// While probes yield, whoever carries a failover out asks for what that takes: the probes do not.
func TestAnOpenFailoverIsNotWatchedWhileProbesYield(t *testing.T) {
	for _, lost := range []int{0, manyLost} {
		inEmptyRoom(t, nil, func(r *room) {
			r.net.Add(master)
			r.net.Add(replica).Replicate(addrOf(master))
			r.law.monitor("m", master)
			for i := range lost {
				a := fmt.Sprintf("10.9.0.%d:6379", 1+i)
				r.net.Add(a)
				r.law.monitor(a, a)
			}
			r.law.set(true, nil)
			r.start()
			time.Sleep(3 * time.Second)
			for i := range lost {
				r.at(fmt.Sprintf("10.9.0.%d:6379", 1+i)).Crash()
			}
			time.Sleep(3 * time.Second)
			r.begin("m")
			time.Sleep(time.Second)
			pings, infos := r.asked(replica, 2*time.Second)
			if watched := infos > 15; watched != (lost == 0) || pings+infos < 15 {
				t.Errorf("%d masters lost: %d PINGs and %d INFOs in 2 s", lost, pings, infos)
			}
		})
	}
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

// Where probes are stretched, a node that does not lead reads INFO once a minute, unless somebody has asked it lately; one that takes the
// lead over reads it as often as ever.
func TestFollowerReadsInfoSeldom(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		r.net.Add(master)
		r.net.Add(replica).Replicate(addrOf(master))
		r.law.monitor("m", master, "down-after-milliseconds", "30000")
		r.law.set(false, nil)
		r.start()
		time.Sleep(30 * time.Second)
		for _, c := range []struct {
			what             string
			stretch          int64
			leads, heeds     bool
			longest, atLeast time.Duration // between two INFOs of both instances, within two minutes
		}{
			{"not stretched", 1000, false, false, 13 * time.Second, 0},
			{"stretched", 3000, false, false, seldomInfo + restingSlack, 50 * time.Second},
			{"asked about", 3000, false, true, 15 * time.Second, 0},
			{"nobody asks any more", 3000, false, false, seldomInfo + restingSlack, 50 * time.Second},
			{"it leads", 3000, true, false, 15 * time.Second, 0},
		} {
			r.law.set(c.leads, nil)
			r.fleet.stretch.Store(c.stretch)
			time.Sleep(2 * time.Minute)
			for _, a := range []string{master, replica} {
				var longest time.Duration
				if c.heeds {
					r.fleet.Heed(addrOf(a))
					time.Sleep(time.Second)
				}
				for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
					longest = max(longest, time.Since(r.observe(a).InfoAt))
					if c.heeds {
						r.fleet.Heed(addrOf(a))
					}
				}
				if longest > c.longest || longest < c.atLeast {
					t.Errorf("%s: %s was read %v ago", c.what, a, longest)
				}
			}
		}
		r.law.set(false, nil)
		r.at(replica).CutLink(true)
		time.Sleep(seldomInfo + restingSlack)
		r.fleet.stretch.Store(3000)
		if _, infos := r.asked(replica, 30*time.Second); infos < 4 { // its period is 6 s
			t.Errorf("%d INFOs in 30 s of a replica whose link is down", infos)
		}
	})
}

// Whoever asks about an instance that was not read for a while has it read at once, and is told; whoever asks about one that is down waits for
// nothing.
func TestHeedHasItReadAtOnce(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		r.net.Add(master)
		r.law.monitor("m", master, "down-after-milliseconds", "30000")
		r.law.set(false, nil)
		r.start()
		time.Sleep(5 * time.Second) // its facts are committed, after which nothing changes
		r.fleet.stretch.Store(3000)
		for age := time.Duration(0); age < 30*time.Second; age = time.Since(r.observe(master).InfoAt) {
			time.Sleep(time.Second)
		}
		changed := r.fleet.Changed()
		r.fleet.Heed(addrOf(master), addrOf(replica)) // which is none
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond):
			t.Error("nothing is told")
		}
		if age := time.Since(r.observe(master).InfoAt); age > 10*time.Millisecond {
			t.Errorf("its INFO is %v old", age)
		}
		if _, infos := r.asked(master, 5*time.Second); infos != 0 {
			t.Errorf("%d INFOs more", infos)
		}
		r.at(master).Crash()
		time.Sleep(40 * time.Second)
		before := r.observe(master)
		r.fleet.Heed(addrOf(master))
		synctest.Wait()
		if w, _ := r.fleet.watch(addrOf(master)); !before.Down || w.urgent {
			t.Errorf("down %v, an INFO wanted %v", before.Down, w.urgent)
		}
	})
}

// A replica whose link is down is read every second: once it is in sync again somebody has to know before its master dies.
func TestReplicaWithoutItsLinkIsReadOften(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		r.net.Add(master)
		r.net.Add(replica).Replicate(addrOf(master))
		r.law.monitor("m", master, "down-after-milliseconds", "30000")
		r.start()
		time.Sleep(30 * time.Second)
		if _, infos := r.asked(replica, 30*time.Second); infos > 4 {
			t.Errorf("%d INFOs in 30 s with its link up", infos)
		}
		r.at(replica).CutLink(true)
		time.Sleep(15 * time.Second)
		if _, infos := r.asked(replica, 30*time.Second); infos < 14 { // its period is 2 s
			t.Errorf("%d INFOs in 30 s with its link down", infos)
		}
		r.at(replica).CutLink(false)
		time.Sleep(4 * time.Second)
		if o := r.observe(replica); !o.Info.MasterLinkUp {
			t.Errorf("its link is up again, and the last INFO is %v old", time.Since(o.InfoAt))
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
		if n, masters := r.fleet.lost.Load(), r.fleet.lostMasters.n.Load(); n != 0 || masters != 0 {
			t.Errorf("%d and %d masters are lost still", n, masters)
		}
		if after, _ := r.asked(name(masters-1), 12*time.Second); after < before-2 {
			t.Errorf("%d PINGs before, %d when all are back", before, after)
		}
	})
}

// When many masters are held down, probes that come more seldom than every tenth of down-after are put off once by that, 3 s at most, and no others.
func TestWhatCanWaitIsPutOffOnceWhenManyAreDown(t *testing.T) {
	for what, c := range map[string]struct {
		demand int64
		waits  bool
	}{
		"hundreds": {4000 * probesPerSecond, true}, // every 4 s where down-after is 10 s, and every 800 ms where it is 2 s
		"a few":    {0, false},                     // every 1 s, and every 200 ms
	} {
		t.Run(what, func(t *testing.T) { inEmptyRoom(t, nil, func(r *room) { whatCanWait(t, r, c.demand, c.waits) }) })
	}
}

func whatCanWait(t *testing.T, r *room, demand int64, waits bool) {
	name := func(i int) string { return fmt.Sprintf("10.9.0.%d:6379", 1+i) }
	for i := range 3 * manyLost {
		r.net.Add(name(i))
		r.law.monitor(name(i), name(i), "down-after-milliseconds", "2000")
	}
	watched := map[string]time.Duration{} // down-after by address
	for i := range 15 {
		for _, downAfter := range []time.Duration{2 * time.Second, 10 * time.Second} {
			a := fmt.Sprintf("10.8.%d.%d:6379", int(downAfter.Seconds()), 1+i)
			watched[a] = downAfter
			r.net.Add(a)
			r.law.monitor(a, a, "down-after-milliseconds", fmt.Sprint(downAfter.Milliseconds()))
		}
	}
	r.fleet.demand = demand
	var lost, surges atomic.Int64
	r.fleet.o.Lost = func() { lost.Add(1) }
	r.fleet.o.Surge = func() { surges.Add(1) }
	r.start()
	time.Sleep(30*time.Second + 57*time.Millisecond) // the surge falls between two steps of the grid
	for i := range manyLost {
		r.at(name(i)).Crash()
	}
	for r.fleet.downMasters.n.Load() < manyLost {
		time.Sleep(time.Millisecond)
	}
	down := time.Now()
	for i := manyLost; i < 3*manyLost; i++ { // one rack after the other
		r.at(name(i)).Crash()
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(26 * time.Second)
	synctest.Wait()
	// asked is how often an instance was asked in that time, how often of that in its beginning, and the longest pause.
	asked := func(a string, beginning time.Duration) (n, soon int, longest time.Duration) {
		var last time.Time
		for _, c := range r.net.Log() {
			if c.Instance != addrOf(a) {
				continue
			}
			if c.At.After(down.Add(gridStep)) {
				n++
				longest = max(longest, c.At.Sub(last))
				if c.At.Before(down.Add(beginning)) {
					soon++
				}
			}
			last = c.At
		}
		return n, soon, longest
	}
	for a, downAfter := range watched {
		period, slack := downAfter/10, time.Duration(0)
		if waits {
			period, slack = 2*downAfter/5, downAfter/10
		}
		n, soon, longest := asked(a, slack-gridStep/5)
		if soon > 0 || longest > period+slack || n < int(20*time.Second/period) || n > int(32*time.Second/period) {
			t.Errorf("down-after %v: %s was asked %d times, %d at once, longest pause %v", downAfter, a, n, soon, longest)
		}
	}
	if surges.Load() != 3 { // a rack of 20 each
		t.Errorf("told %d times that many are held down", surges.Load())
	}
	if lost.Load() != 1 { // the other racks die while some are held down
		t.Errorf("told %d times that many are lost", lost.Load())
	}
}

// However instances are lost, they are counted for as long as they are watched.
func TestTheLostAreCounted(t *testing.T) {
	for what, lose := range map[string]func(*room, string){
		"crash": func(r *room, a string) { r.at(a).Crash() },
		"hang":  func(r *room, a string) { r.at(a).Hang() },
		"cut":   func(r *room, a string) { r.net.Drop("a", addrOf(a)) },
	} {
		inRoom(t, func(r *room) {
			counts := func(lost, masters int64) {
				t.Helper()
				synctest.Wait()
				l, m, d := r.fleet.lost.Load(), r.fleet.lostMasters.n.Load(), r.fleet.downMasters.n.Load()
				if l != lost || m != masters || d != masters { // whoever is lost here is held down
					t.Errorf("%s: %d lost, %d masters of them, %d held down, want %d and %d", what, l, m, d, lost, masters)
				}
			}
			counts(0, 0)
			lose(r, master)
			lose(r, third)
			time.Sleep(3 * time.Second)
			counts(2, 1)
			r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
			time.Sleep(time.Second)
			counts(0, 0)
		})
	}
}

// A rack whose processes are back just before the verdict is found so, however many they are.
func TestManyThatReturnInTimeAreNotHeldDown(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		const masters = 300
		name := func(i int) string { return fmt.Sprintf("10.9.%d.%d:6379", i/200, 1+i%200) }
		for i := range masters {
			r.net.Add(name(i))
			r.law.monitor(name(i), name(i), "down-after-milliseconds", "5000")
		}
		r.start()
		time.Sleep(5 * time.Second)
		for i := range masters {
			r.at(name(i)).Crash()
		}
		time.Sleep(4500 * time.Millisecond)
		for i := range masters {
			r.at(name(i)).Restart(false)
		}
		time.Sleep(2 * time.Second)
		if n := r.verdicts.n.Load(); n != 0 {
			t.Errorf("%d verdicts", n)
		}
	})
}

// The last attempts to reach the masters of a rack are over before the first verdict falls, and still late enough to find what returns in time.
func TestLastAttemptsOfARackAreOverBeforeItsVerdicts(t *testing.T) {
	var mu sync.Mutex
	last := map[string]time.Time{}
	counting := func(n *fakeredis.Net) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			last[addr] = time.Now()
			mu.Unlock()
			return n.DialContext(ctx, network, addr)
		}
	}
	inEmptyRoom(t, counting, func(r *room) {
		const masters, downAfter = 2 * manyLost, time.Second
		name := func(i int) string { return fmt.Sprintf("10.9.0.%d:6379", 1+i) }
		for i := range masters {
			r.net.Add(name(i))
			r.law.monitor(name(i), name(i), "down-after-milliseconds", fmt.Sprint(downAfter.Milliseconds()))
		}
		r.start()
		time.Sleep(3 * time.Second)
		first := time.Now()
		for i := range masters {
			r.at(name(i)).Crash()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Until(first.Add(downAfter + masters*time.Millisecond + 5*time.Millisecond)))
		if n := r.verdicts.n.Load(); n != masters {
			t.Errorf("%d verdicts on %d masters", n, masters)
		}
		mu.Lock()
		defer mu.Unlock()
		for i := range masters {
			died := first.Add(time.Duration(i) * time.Millisecond)
			if after := last[name(i)].Sub(died); after < downAfter-2*lastLead || last[name(i)].After(first.Add(downAfter)) {
				t.Errorf("%s: the last attempt was made %v after its end", name(i), after)
			}
		}
	})
}

// Newcomers are connected to at a pace, sooner where they are found at a start or there are many, and masters do not wait for replicas.
func TestNewcomersTakeTurns(t *testing.T) {
	for _, c := range []struct {
		name    string
		found   bool
		watched int
		last    time.Duration // of 100 masters, and of 100 replicas
	}{
		{"added", false, 200, 68 * 20 * time.Millisecond},
		{"found at a start", true, 200, 68 * 4 * time.Millisecond},
		{"some of many", false, 30000, 68 * 2 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, err := New(Options{Cluster: &law{}, Log: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				ended, end := context.WithCancel(t.Context())
				end()
				now := time.Now()
				come := func(n int, primary bool) (last time.Duration, together int) {
					f.watched = c.watched
					for range n {
						f.newcomers = append(f.newcomers, newWatch(ended, f, &plan{primary: primary}))
					}
					all := slices.Clone(f.newcomers)
					f.admit(c.found)
					f.members.Wait()
					for _, w := range all {
						last = max(last, w.begins.Sub(now))
						if !w.begins.After(now) {
							together++
						}
					}
					return last, together
				}
				for _, primary := range []bool{false, true} {
					if last, together := come(100, primary); last != c.last || together != newcomersAtOnce/2 {
						t.Errorf("masters %v: %d at once, the last after %v; want %d and %v", primary, together, last, newcomersAtOnce/2, c.last)
					}
				}
			})
		})
	}
}

// Until its turn has come nothing is asked of a newcomer, unless somebody needs it.
func TestNewcomersWaitForTheirTurn(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		r.start()
		time.Sleep(time.Second)
		name := func(i int) string { return fmt.Sprintf("10.9.0.%d:6379", 1+i) }
		for i := range 50 {
			r.net.Add(name(i))
			r.law.monitor(name(i), name(i))
		}
		connected := func() (n int) {
			synctest.Wait()
			for i := range 50 {
				if o, ok := r.fleet.Observe(addrOf(name(i))); ok && o.Connected {
					n++
				}
			}
			return n
		}
		time.Sleep(10 * time.Millisecond)
		if n := connected(); n < newcomersAtOnce/2 || n > newcomersAtOnce/2+2 {
			t.Errorf("%d are connected to at once, want %d", n, newcomersAtOnce/2)
		}
		r.fleet.Refresh(addrOf(name(49)))
		if o := r.observe(name(49)); !o.Connected {
			t.Error("the last one has to wait although it is wanted")
		}
		time.Sleep(time.Second)
		if n := connected(); n != 50 {
			t.Errorf("%d are connected to in the end", n)
		}
	})
}
