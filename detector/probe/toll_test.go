package probe

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// It rings for each rack, again for one that was there meanwhile, and not for one after the other of those that come and go.
func TestToll(t *testing.T) {
	rang := 0
	toll := toll{bell: func() { rang++ }}
	for _, c := range []struct{ by, times, want int }{
		{1, manyLost - 1, 0},
		{1, 1, 1},
		{1, manyLost - 1, 1},
		{1, 1, 2},
		{-1, 2 * manyLost, 2},
		{1, manyLost - 1, 2},
		{-1, 1, 2},
		{1, 1, 2},
		{1, 1, 3},
	} {
		for range c.times {
			toll.add(int64(c.by))
		}
		if rang != c.want {
			t.Errorf("%d times %+d: it rang %d times, want %d", c.times, c.by, rang, c.want)
		}
	}
}

// Who is to prepare for a rack's verdicts is told while there is time for it: where its connections break, and its down-after is short.
func TestOmen(t *testing.T) {
	for _, c := range []struct {
		what      string
		downAfter string
		lose      func(*room, string)
		want      int32
	}{
		{"a crash", "2000", func(r *room, a string) { r.at(a).Crash() }, 1},
		{"a crash, with a short down-after", "400", func(r *room, a string) { r.at(a).Crash() }, 0},
		{"a crash, with a long down-after", "30000", func(r *room, a string) { r.at(a).Crash() }, 0},
		{"a hang", "2000", func(r *room, a string) { r.at(a).Hang() }, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			inEmptyRoom(t, nil, func(r *room) {
				var omens, surges atomic.Int32
				r.fleet.o.Lost, r.fleet.o.Surge = func() { omens.Add(1) }, func() { surges.Add(1) }
				name := func(i int) string { return fmt.Sprintf("10.9.0.%d:6379", 1+i) }
				for i := range manyLost {
					r.net.Add(name(i))
					r.law.monitor(name(i), name(i), "down-after-milliseconds", c.downAfter)
				}
				r.start()
				time.Sleep(30 * time.Second)
				for i := range manyLost {
					c.lose(r, name(i))
				}
				time.Sleep(45 * time.Second)
				synctest.Wait()
				if omens.Load() != c.want || surges.Load() != 1 {
					t.Errorf("%d omens, want %d; %d surges", omens.Load(), c.want, surges.Load())
				}
			})
		})
	}
}
