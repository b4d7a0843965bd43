package raftfsm

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// However events are added, the ring holds the newest in order, tells which fell out, and leaves the rings that it came from as they were.
func TestRingIsTheNewestEvents(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []Event
	var r, before eventRing
	for len(all) < 3*RingSize {
		var more []Event
		for range rng.IntN(3 * chunkSize) {
			n := len(all) + len(more)
			more = append(more, Event{Cursor: Cursor{Index: uint64(1 + n/3), Ordinal: uint32(n % 3)}, OffsetMs: float64(n)})
		}
		before = r
		was := slices.Collect(before.since(Cursor{}))
		r = r.with(more)
		r.with([]Event{{Kind: "of another future", Cursor: Cursor{Index: 1 << 40}}})
		if !slices.Equal(slices.Collect(before.since(Cursor{})), was) {
			t.Fatal("an addition changed the ring that it was made of")
		}
		all = append(all, more...)
		held := all[max(0, len(all)-RingSize):]
		if got := slices.Collect(r.since(Cursor{})); !slices.Equal(got, held) {
			t.Fatalf("of %d events it holds %d, not the newest %d", len(all), len(got), len(held))
		}
		if out := len(all) - len(held); out > 0 && r.dropped != all[out-1].Cursor || out == 0 && r.dropped != (Cursor{}) {
			t.Fatalf("of %d events the newest that fell out is %v", len(all), r.dropped)
		}
		if len(held) == 0 {
			continue
		}
		at := rng.IntN(len(held))
		if got := slices.Collect(r.since(held[at].Cursor)); !slices.Equal(got, held[at+1:]) {
			t.Fatalf("after the event %d of %d there are %d", at+1, len(held), len(got))
		}
	}
}
