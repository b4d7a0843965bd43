package main

import (
	"testing"
	"time"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func TestPauseOf(t *testing.T) {
	steps := []*sentinelv1.Step{
		{Name: "fence", AtMs: 3, TookMs: 2},
		{Name: "pause", AtMs: 4, TookMs: 0.5},
		{Name: "level", AtMs: 5, TookMs: 1},
		{Name: "promote", AtMs: 8.25, TookMs: 1},
		{Name: "switch", AtMs: 12, TookMs: 3},
	}
	if paused, untold, err := pauseOf(steps); err != nil || paused != 4750*time.Microsecond || untold != 8500*time.Microsecond {
		t.Errorf("got %v, %v, %v; want 4.75ms, 8.5ms", paused, untold, err)
	}
	for i := range steps {
		if paused, untold, err := pauseOf(steps[:i]); err == nil {
			t.Errorf("the first %d steps give %v, %v", i, paused, untold)
		}
	}
}

func TestOutage(t *testing.T) {
	begun := time.Now()
	at := func(ms int) acked { return acked{at: begun.Add(time.Duration(ms) * time.Millisecond)} }
	w := &writer{ended: begun.Add(6 * time.Millisecond)}
	for hand := range hands {
		w.acked[hand] = []acked{at(-90), at(-1), at(3), at(5)}
	}
	if d, err := w.outage(1, begun); err != nil || d != 4*time.Millisecond {
		t.Errorf("got %v, %v; want 4ms", d, err)
	}
	w.acked[2], w.ended = []acked{at(-7), at(15), at(16)}, begun.Add(17*time.Millisecond)
	w.acked[0], w.acked[1] = append(w.acked[0], at(9), at(13)), append(w.acked[1], at(9), at(13))
	w.acked[3] = append(w.acked[3], at(9), at(13))
	for i, want := range []time.Duration{4 * time.Millisecond, 22 * time.Millisecond} {
		if d, err := w.outage(i, begun); err != nil || d != want {
			t.Errorf("application %d: got %v, %v; want %v", i, d, err, want)
		}
	}
	w.ended = begun.Add(500 * time.Millisecond)
	w.acked[0], w.acked[1] = []acked{at(-1), at(1), at(499)}, []acked{at(-1), at(1), at(2)}
	if d, err := w.outage(0, begun); err != nil || d != 498*time.Millisecond {
		t.Errorf("a hand that did not come back gives %v, %v; want 498ms", d, err)
	}
	w.acked[1] = []acked{at(-7), at(-3)}
	if d, err := w.outage(0, begun); err == nil {
		t.Errorf("a hand that wrote nothing any more gives %v", d)
	}
}
