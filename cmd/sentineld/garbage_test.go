package main

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestGarbage(t *testing.T) {
	const mib = 1 << 20
	quick := slices.Repeat([]time.Duration{busyEvery / 2}, busyAfter)
	for _, c := range []struct {
		name string
		gaps []time.Duration // before each collection, the first one's aside
		live uint64
		then time.Duration
		want []int
	}{
		{"seldom", slices.Repeat([]time.Duration{busyEvery}, 2*busyAfter), 8 * mib, time.Minute, nil},
		{"a start", quick[1:], 8 * mib, time.Minute, nil},
		{"not in a row", slices.Concat(quick[1:], []time.Duration{busyEvery}, quick[1:]), 8 * mib, time.Minute, nil},
		{"busy", quick, 8 * mib, calmAfter / 2, []int{400}},
		{"busy, and then no more", quick, 8 * mib, calmAfter, []int{400, heapGrowth}},
		{"busy, and as many collections as it takes then", append(quick[:busyAfter:busyAfter], time.Second, calmAfter/2), 8 * mib, calmAfter / 2, []int{400}},
		{"large", quick, 300 * mib, time.Minute, nil},
		{"tiny", quick, 1, 0, []int{3200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []int
				g := &garbage{
					live:    func() uint64 { return c.live },
					set:     func(percent int) int { got = append(got, percent); return 0 },
					percent: heapGrowth,
				}
				g.collected(time.Now())
				for _, gap := range c.gaps {
					time.Sleep(gap)
					g.collected(time.Now())
				}
				time.Sleep(c.then)
				synctest.Wait()
				g.mu.Lock()
				defer g.mu.Unlock()
				if !slices.Equal(got, c.want) {
					t.Errorf("growth %v, want %v", got, c.want)
				}
				if g.calm != nil {
					g.calm.Stop()
				}
			})
		})
	}
}
