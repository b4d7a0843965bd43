package probe

import (
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestDueLiesOnTheGrid(t *testing.T) {
	origin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		now, period, want int // ms
		seed              uint64
	}{
		{now: 0, period: 100, want: 100},
		{now: 99, period: 100, want: 100},
		{now: 100, period: 100, want: 200},
		{now: 1, period: 50, want: 50},
		{now: 120, period: 60, want: 180},
		{now: 0, period: 150, want: 200},
		{now: 10, period: 2000, want: 300, seed: 3},
		{now: 300, period: 2000, want: 2300, seed: 23},
		{now: 5000, period: 2000, want: 6300, seed: 3},
	} {
		got := due(origin, origin.Add(time.Duration(tc.now)*time.Millisecond), time.Duration(tc.period)*time.Millisecond, tc.seed)
		if ms := got.Sub(origin).Milliseconds(); ms != int64(tc.want) {
			t.Errorf("now %d, period %d, seed %d: due at %d, want %d", tc.now, tc.period, tc.seed, ms, tc.want)
		}
	}
}

func TestPeriodIsATenthOfDownAfter(t *testing.T) {
	for downAfter, want := range map[time.Duration]time.Duration{
		time.Millisecond: 50 * time.Millisecond, 100 * time.Millisecond: 50 * time.Millisecond,
		time.Second: 100 * time.Millisecond, 30 * time.Second: 2 * time.Second,
	} {
		p := &plan{}
		p.limits.DownAfter = downAfter
		if got := p.period(); got != want {
			t.Errorf("down-after %v: period %v, want %v", downAfter, got, want)
		}
	}
}

func TestVotersProbeInTurn(t *testing.T) {
	s := raftfsm.ApplyServers(raftfsm.New(), 1, []raftfsm.Server{
		{ID: "c", Voter: true}, {ID: "a", Voter: true}, {ID: "ab"}, {ID: "b", Voter: true},
	})
	for id, want := range map[string]time.Duration{"a": 0, "b": gridStep / 3, "c": 2 * gridStep / 3} {
		if got := phase(s, id); got != want {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
}

func TestPeriodIsStretchedWhereTooManyAreProbed(t *testing.T) {
	for _, tc := range []struct {
		period, downAfter, stretch, want int // ms, ms, thousandths, ms
	}{
		{100, 1000, 1000, 100},
		{100, 1000, 2000, 200},
		{100, 1000, 9000, 400}, // five in two down-afters, come what may
		{100, 600, 9000, 200},  // on the grid, which rounds up
		{100, 1000, 1300, 130},
		{2000, 30000, 2250, 4500},
		{2000, 60000, 9000, 10000}, // what is known must not grow too old
		{50, 100, 9000, 50},        // never shorter than it was
	} {
		got := stretched(time.Duration(tc.period)*time.Millisecond, time.Duration(tc.downAfter)*time.Millisecond, int64(tc.stretch))
		if got != time.Duration(tc.want)*time.Millisecond {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

func TestTheLostAreDialledInTurn(t *testing.T) {
	for _, tc := range []struct {
		period time.Duration
		lost   int64
		want   time.Duration
	}{
		{100 * time.Millisecond, 1, 100 * time.Millisecond},
		{100 * time.Millisecond, 50, 500 * time.Millisecond},
		{2 * time.Second, 50, 2 * time.Second}, // never sooner than it was
		{2 * time.Second, 300, 3 * time.Second},
		{2 * time.Second, 18000, rarestRedial},
	} {
		if got := redialPeriod(tc.period, tc.lost); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}
