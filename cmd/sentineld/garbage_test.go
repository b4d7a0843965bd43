package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// collections are some of a kind, one after the other.
type collections struct {
	n     int
	every time.Duration
	spent time.Duration // of each
	live  uint64
}

func TestGarbage(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name string
		did  []collections
		then time.Duration
		want []int // percents that were set
		tidy int
	}{
		{"seldom", []collections{{10, 5 * time.Second, 300 * time.Millisecond, 150 * mib}}, time.Minute, nil, 0},
		{"a short time", []collections{{20, 40 * time.Millisecond, 10 * time.Millisecond, 8 * mib}}, time.Minute, nil, 0},
		{"look-ups", []collections{{40, 40 * time.Millisecond, 10 * time.Millisecond, 8 * mib}}, time.Second, []int{400}, 0},
		{"look-ups with little to mark", []collections{{40, 40 * time.Millisecond, time.Millisecond, 8 * mib}}, time.Second, []int{400}, 0},
		{"and then none", []collections{{40, 40 * time.Millisecond, 10 * time.Millisecond, 8 * mib}}, time.Minute, []int{400, heapGrowth}, 1},
		{
			"they go on: each of fewer collections costs as much",
			[]collections{{40, 40 * time.Millisecond, 10 * time.Millisecond, 8 * mib}, {100, 320 * time.Millisecond, 10 * time.Millisecond, 8 * mib}},
			time.Second,
			[]int{400},
			0,
		},
		{
			"they end, and it is collected now and then",
			[]collections{{40, 40 * time.Millisecond, 10 * time.Millisecond, 8 * mib}, {3, 4 * time.Second, 10 * time.Millisecond, 8 * mib}},
			0,
			[]int{400, heapGrowth},
			1,
		},
		{"it grows fast: masters are added", []collections{
			{10, 40 * time.Millisecond, 10 * time.Millisecond, 4 * mib},
			{20, 40 * time.Millisecond, 10 * time.Millisecond, 6 * mib},
			{20, 40 * time.Millisecond, 10 * time.Millisecond, 8 * mib},
		}, time.Minute, nil, 0},
		{"many fail over", []collections{{3, 2 * time.Second, time.Second, 128 * mib}}, 0, []int{200}, 0},
		{"very many", []collections{{3, 2 * time.Second, time.Second, 256 * mib}}, 0, []int{100}, 0},
		{"more than that", []collections{{3, 2 * time.Second, time.Second, 1024 * mib}}, 0, nil, 0},
		{"it grows meanwhile", []collections{{3, 2 * time.Second, time.Second, 128 * mib}, {2, 2 * time.Second, time.Second, 160 * mib}}, 0, []int{200, 160}, 0},
		{"hardly anything lives", []collections{{40, 40 * time.Millisecond, 10 * time.Millisecond, 1}}, 0, []int{3200}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var now heap
				var got []int
				tidied := 0
				g := &garbage{
					look:    func() heap { return now },
					set:     func(percent int) int { got = append(got, percent); return 0 },
					tidy:    func() { tidied++ },
					percent: heapGrowth, last: time.Now(),
				}
				for _, d := range c.did {
					now.live = d.live
					for range d.n {
						time.Sleep(d.every)
						now.spent += d.spent
						g.collected(time.Now())
					}
				}
				time.Sleep(c.then)
				synctest.Wait()
				if !slices.Equal(got, c.want) || tidied != c.tidy {
					t.Errorf("growth %v, want %v; tidied %d times, want %d", got, c.want, tidied, c.tidy)
				}
				if g.calm != nil {
					g.calm.Stop()
				}
			})
		})
	}
}

// Who knows what is coming need not wait until collecting is dear.
func TestGarbagePilesUpInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var got []int
		var tidied time.Duration
		g := &garbage{
			look:    func() heap { return heap{live: 128 << 20} },
			set:     func(percent int) int { got = append(got, percent); return 0 },
			tidy:    func() { tidied = time.Since(began) },
			percent: heapGrowth, last: began,
		}
		g.hurry()
		time.Sleep(hurryFor / 2)
		g.hurry() // it goes on
		time.Sleep(2 * hurryFor)
		synctest.Wait()
		if want := hurryFor/2 + hurryFor; !slices.Equal(got, []int{200, heapGrowth}) || tidied != want {
			t.Errorf("growth %v, tidied after %v, want after %v", got, tidied, want)
		}
	})
}

// Who braces has little garbage when CPU is dear, and braces once, however many racks are lost one after the other.
func TestGarbageIsCollectedBeforeAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		collected := make(chan struct{}, 9)
		var got []int // percents, and 0 where room was made
		g := &garbage{
			look:    func() heap { return heap{live: 128 << 20} },
			set:     func(percent int) int { got = append(got, percent); return 0 },
			room:    func() { got = append(got, 0) },
			collect: func() { collected <- struct{}{} }, tidy: func() {}, percent: heapGrowth,
		}
		braced := func(want int) {
			t.Helper()
			g.brace()
			synctest.Wait()
			if got := len(collected); got != want {
				t.Errorf("collected %d times, want %d", got, want)
			}
		}
		braced(1)
		time.Sleep(hurryFor - time.Millisecond)
		braced(1)
		time.Sleep(time.Millisecond)
		braced(2)
		time.Sleep(calmFor - time.Millisecond)
		g.hurry() // it goes on
		time.Sleep(hurryFor - time.Millisecond)
		synctest.Wait()
		if !slices.Equal(got, []int{200, -1, 0, 200, heapGrowth, 200, -1, 0, 200}) {
			t.Errorf("growth %v", got)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if !slices.Equal(got, []int{200, -1, 0, 200, heapGrowth, 200, -1, 0, 200, heapGrowth}) {
			t.Errorf("growth %v", got)
		}
	})
}

// What is thrown away after a node has braced needs no memory that the kernel would have to give first.
func TestRoomIsThere(t *testing.T) {
	g := newGarbage()
	g.percent = heapGrowth
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	fill := func() (pages int64) {
		debug.SetGCPercent(-1)
		before := faults(t)
		kept := make([]*[1 << 10]byte, roomy*3/4>>10)
		for i := range kept {
			kept[i] = new([1 << 10]byte)
			kept[i][0] = 1
		}
		runtime.KeepAlive(kept)
		return faults(t) - before
	}
	debug.FreeOSMemory()
	without := fill()
	if without < int64(roomy/2/os.Getpagesize()) {
		t.Skipf("%d pages for %d bytes: the kernel does not give memory page by page here", without, roomy*3/4)
	}
	debug.FreeOSMemory()
	g.ready()
	if with := fill(); with > without/4 {
		t.Errorf("%d pages had to be given, and %d where no room was made", with, without)
	}
}

// faults counts the pages that the kernel has had to give to this process.
func faults(t *testing.T) int64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Minflt
}
