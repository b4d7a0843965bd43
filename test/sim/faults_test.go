package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// fault is something that went wrong and can be mended.
type fault struct {
	name string
	mend func()
}

// Nodes and Redis crash, freeze, restart and lose each other at random, all at once too. At every moment the checker's
// invariants hold, and a minute after the last fault is mended everything is whole again. SIM_SEEDS and SIM_MINUTES make
// it longer, SIM_SEED is the first seed.
func TestRandomFaults(t *testing.T) {
	first, count := setting("SIM_SEED", 1), setting("SIM_SEEDS", 2)
	for seed := first; seed < first+count; seed++ {
		nodes := 3
		if seed%4 == 0 {
			nodes = 5
		}
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			play(t, nodes, func(t *testing.T, w *world) {
				w.start()
				w.addRedis(2)
				w.watch(2)
				r := random(t, uint64(seed))
				for end := time.Now().Add(time.Duration(minutes(2)) * time.Minute); time.Now().Before(end) && !t.Failed(); {
					w.trouble(r, 20*time.Second+r.Duration(40*time.Second))
				}
			})
		})
	}
}

// trouble makes faults for a while, mends them all, and waits until everything is whole.
func (w *world) trouble(r dice, d time.Duration) {
	w.t.Helper()
	open := []fault{}
	busy := map[string]bool{}
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.pass(10*time.Millisecond + r.Duration(3*time.Second))
		if len(open) > 0 && r.IntN(3) == 0 || len(open) >= 4 {
			i := r.IntN(len(open))
			w.note("mend " + open[i].name)
			delete(busy, open[i].name)
			open[i].mend()
			open = append(open[:i], open[i+1:]...)
			continue
		}
		if f := w.fault(r, busy); f.name != "" {
			w.note("fault " + f.name)
			busy[f.name] = true
			open = append(open, f)
		}
	}
	for _, f := range open {
		w.note("mend " + f.name)
		delete(busy, f.name)
		f.mend()
	}
	w.converge(time.Minute)
	w.checkRest()
}

func (w *world) note(what string) {
	fmt.Fprintf(w.log, "%s %s\n", time.Now().Format("15:04:05.000000"), what)
}

// checkRest holds what must be true when everything is whole: all nodes tell the same state.
func (w *world) checkRest() {
	w.t.Helper()
	w.until("all nodes have applied the same", 10*time.Second, func() bool {
		for _, n := range w.alive() {
			if n.State().Index() != w.nodes[0].State().Index() {
				return false
			}
		}
		return true
	})
	w.checker.compared = time.Time{}
	w.look()
}

// fault does one thing at random that is not under way; its name is empty where it found none.
func (w *world) fault(r dice, busy map[string]bool) fault {
	n := w.nodes[r.IntN(len(w.nodes))]
	o := w.others(n)[r.IntN(len(w.nodes)-1)]
	in := w.instances[r.IntN(len(w.instances))]
	node, redis := fmt.Sprint("n", n.number), in.Addr().String()
	free := func(name string, f func() func()) fault {
		if busy[name] {
			return fault{}
		}
		return fault{name, f()}
	}
	switch r.IntN(9) {
	case 0, 1:
		return free("crash "+node, func() func() {
			n.crash()
			return n.start
		})
	case 2:
		if busy["crash "+node] {
			return fault{}
		}
		w.note("restart " + node)
		n.halt()
		n.start()
		return fault{}
	case 3: // all of its links: to the nodes and to Redis
		return free("isolate "+node, func() func() {
			w.separate([]*simNode{n}, w.others(n))
			for _, in := range w.instances {
				w.lostTo(n, in.Addr(), true)
			}
			return func() {
				w.rejoin([]*simNode{n}, w.others(n))
				for _, in := range w.instances {
					w.lostTo(n, in.Addr(), busy["lost "+node+" "+in.Addr().String()])
				}
			}
		})
	case 4: // one direction of one link
		return free(fmt.Sprintf("deaf %s n%d", node, o.number), func() func() {
			w.net.Cut(n.host, o.host)
			return func() { w.net.Heal(n.host, o.host) }
		})
	case 5, 6:
		return w.redisFault(r, in, free)
	case 7:
		return free("lost "+node+" "+redis, func() func() {
			w.lostTo(n, in.Addr(), true)
			return func() { w.lostTo(n, in.Addr(), false) }
		})
	}
	return free("drop "+redis, func() func() {
		in.Drop()
		return in.Heal
	})
}

func (w *world) redisFault(r dice, in *fakeredis.Instance, free func(string, func() func()) fault) fault {
	redis := in.Addr().String()
	if r.IntN(2) == 0 {
		return free("down "+redis, func() func() {
			in.Crash()
			return func() { in.Restart(false) }
		})
	}
	return free("hang "+redis, func() func() {
		in.Hang()
		return in.Resume
	})
}
