package main

import (
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
	// busyGarbage is how much garbage may pile up, where heapGrowth is less, once busyAfter collections have followed each other
	// within busyEvery each: whoever answers tens of thousands of calls a second would spend a fifth of its CPU on them. Fewer
	// come with a start or with masters that are added: what will live is then best kept close together.
	busyGarbage = 32 << 20
	busyAfter   = 10
	busyEvery   = 100 * time.Millisecond
	// calmAfter so long without a collection, garbage is as little again as it was.
	calmAfter = 3 * time.Second
)

// garbage decides when garbage is collected. It does nothing, and wakes nobody, while little is thrown away.
type garbage struct {
	live func() uint64
	set  func(percent int) int

	mu      sync.Mutex
	percent int
	last    time.Time
	quick   int         // collections that followed the one before within busyEvery, in a row
	calm    *time.Timer // runs while the process is busy
}

// collectGarbage has the process collect its garbage so.
func collectGarbage() {
	g := &garbage{live: liveHeap, set: debug.SetGCPercent}
	g.mu.Lock()
	g.grow(heapGrowth)
	g.mu.Unlock()
	g.await()
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
	g.mu.Lock()
	defer g.mu.Unlock()
	g.quick++
	if now.Sub(g.last) >= busyEvery {
		g.quick = 0
	}
	g.last = now
	switch {
	case g.calm != nil:
		g.calm.Reset(calmAfter)
	case g.quick >= busyAfter:
		g.calm = time.AfterFunc(calmAfter, g.rest)
	default:
		return
	}
	g.grow(max(heapGrowth, int(100*busyGarbage/max(g.live(), 1<<20))))
}

// rest is back to little garbage.
func (g *garbage) rest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calm = nil
	g.grow(heapGrowth)
}

func (g *garbage) grow(percent int) {
	if g.percent != percent {
		g.percent = percent
		g.set(percent)
	}
}

// liveHeap is what the last collection left.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
