package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// heapGrowth is by how much the heap may grow before garbage is collected, in percent of what lives. Nearly all of it lives long
	// and little is thrown away: half of Go's own saves a quarter of the memory and costs no CPU that can be measured.
	heapGrowth = 50
	// Collecting with heapGrowth is dear where for busyFor it takes busyShare of a core, or collections follow each other within busyEvery, for
	// each has its price beside the marking: whoever answers tens of thousands of calls a second, or fails hundreds of masters over, has
	// other things to do, and all of them wait for it. Then there may be as much garbage as busyGarbage allows, until for calmFor that
	// was not needed.
	busyShare = 0.25
	busyEvery = 100 * time.Millisecond
	busyFor   = time.Second
	calmFor   = 5 * time.Second
	// hurryFor is how long it may pile up when it is known before that all of the CPU will be needed.
	hurryFor = 15 * time.Second
)

// busyGarbage is how much garbage there may be beside what lives, in bytes, while collecting it is dear.
func busyGarbage(live uint64) uint64 { return min(max(2*live, 32<<20), max(256<<20, live/2)) }

// heap is what a collection leaves to go by.
type heap struct {
	live uint64 // bytes
	// spent is the CPU time that collections have taken from others since the beginning; what takes only idle time is not in it.
	spent time.Duration
}

// garbage decides when garbage is collected. It does nothing, and wakes nobody, while little is thrown away.
type garbage struct {
	look func() heap
	set  func(percent int) int
	// room takes memory from the kernel and throws it away; collect collects at once.
	room, collect func()
	// tidy gives back what the busy times took.
	tidy func()

	mu      sync.Mutex
	percent int
	spent   time.Duration
	last    time.Time
	// busy is since when collecting is dear while no more lives than base and a little; zero: it is not.
	busy  time.Time
	base  uint64
	until time.Time   // there may be more garbage until then
	calm  *time.Timer // runs meanwhile
	// braced is when it was last collected for what was to come.
	braced time.Time
}

// collectGarbage has the process collect its garbage so. hurry is for the moment in which all of the CPU is about to be needed for
// something else, and brace for when that is seconds away.
func collectGarbage() (brace, hurry func()) {
	g := newGarbage()
	g.grow(heapGrowth)
	g.await()
	return g.brace, g.hurry
}

func newGarbage() *garbage {
	return &garbage{look: readHeap, set: debug.SetGCPercent, room: takeRoom, collect: runtime.GC, tidy: debug.FreeOSMemory, last: time.Now()}
}

// await calls collected after the next collection, which finds that nobody holds the mark.
func (g *garbage) await() {
	type mark struct{ _ *byte }
	runtime.AddCleanup(&mark{}, func(g *garbage) {
		g.collected(time.Now())
		g.await()
	}, g)
}

// collected notes a collection.
func (g *garbage) collected(now time.Time) {
	h := g.look()
	g.mu.Lock()
	defer g.mu.Unlock()
	before, spent := g.last, h.spent-g.spent
	g.spent, g.last = h.spent, now
	every := now.Sub(before) * heapGrowth / time.Duration(g.percent) // with heapGrowth it would be so
	switch {
	case every >= busyEvery && float64(spent) < busyShare*float64(every):
		g.busy = time.Time{}
		return
	case g.busy.IsZero(), h.live > g.base+g.base/8:
		// What is new and stays is best kept close together: spread over a larger heap it would keep all of that.
		g.busy, g.base = before, h.live
	}
	if now.Sub(g.busy) < busyFor && g.calm == nil {
		return
	}
	g.pileUp(now.Add(calmFor), h.live)
}

// brace makes room and collects what there is, while there is time for it, and lets garbage pile up until the hurry, which is at most calmFor
// away. It does not wait.
func (g *garbage) brace() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.braced) >= hurryFor {
		g.braced = now
		g.pileUp(now.Add(calmFor), g.look().live)
		go g.ready()
	}
}

// ready makes room and collects. That is one collection: another one in its midst would have the runtime give the room back to the kernel
// before it is needed.
func (g *garbage) ready() {
	g.mu.Lock()
	g.set(-1)
	g.mu.Unlock()
	g.room()
	g.mu.Lock()
	g.set(g.percent)
	g.mu.Unlock()
	g.collect()
}

// hurry lets garbage pile up from now on: all of the CPU is about to be needed for something else.
func (g *garbage) hurry() {
	h := g.look()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pileUp(time.Now().Add(hurryFor), h.live)
}

// pileUp lets garbage pile up until then, at least. The caller holds mu.
func (g *garbage) pileUp(until time.Time, live uint64) {
	if until.After(g.until) {
		g.until = until
	}
	if g.calm == nil {
		g.calm = time.AfterFunc(time.Until(g.until), g.rest)
	}
	g.grow(max(heapGrowth, int(100*busyGarbage(live)/max(live, 1<<20))))
}

// rest is back to little garbage, once it is calm.
func (g *garbage) rest() {
	g.mu.Lock()
	if left := time.Until(g.until); left > 0 {
		g.calm = time.AfterFunc(left, g.rest)
		g.mu.Unlock()
		return
	}
	g.calm = nil
	g.grow(heapGrowth)
	g.mu.Unlock()
	g.tidy()
}

// roomy is what the node that leads throws away from when it braces until it has failed fifty masters over (19 MiB), and a little more, in bytes.
const roomy = 24 << 20

// takeRoom has the kernel give memory: to be given it page by page in the midst of what it is needed for takes longer than filling it. It is
// asked for in the pieces in which the runtime mostly asks, so that it lies where those to come are looked for first.
func takeRoom() {
	const piece = 8 << 10
	room := make([]*[piece]byte, roomy/piece)
	for i := range room {
		room[i] = new([piece]byte)
		for at := 0; at < piece; at += os.Getpagesize() {
			room[i][at] = 1
		}
	}
}

func (g *garbage) grow(percent int) {
	if g.percent != percent {
		g.percent = percent
		g.set(percent)
	}
}

func readHeap() heap {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
	}
	metrics.Read(s)
	return heap{live: s[0].Value.Uint64(), spent: time.Duration((s[1].Value.Float64() + s[2].Value.Float64()) * float64(time.Second))}
}
