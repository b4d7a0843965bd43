package executor

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The agenda gives each set once, at the last time it was put there for, in the order of time.
func TestAgenda(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	base := time.Now()
	var a agenda
	sets := make([]*set, 50)
	for i := range sets {
		sets[i] = newSet(string(rune('a' + i)))
	}
	want := map[*set]time.Duration{}
	for range 1000 {
		s := sets[r.IntN(len(sets))]
		switch r.IntN(4) {
		case 0:
			a.drop(s)
			delete(want, s)
		case 1:
			a.put(s, time.Time{})
			delete(want, s)
		default:
			d := time.Duration(1+r.IntN(1000)) * time.Second
			a.put(s, base.Add(d))
			want[s] = d
		}
	}
	for now := time.Duration(0); now <= 1000*time.Second; now += 10 * time.Second {
		var got []time.Duration
		for s := a.take(base.Add(now)); s != nil; s = a.take(base.Add(now)) {
			if d, ok := want[s]; !ok || d > now {
				t.Fatalf("%s is given at %v, wanted at %v (%v)", s.name, now, d, ok)
			}
			got = append(got, want[s])
			delete(want, s)
		}
		if !slices.IsSorted(got) {
			t.Errorf("out of order: %v", got)
		}
		next := time.Hour
		for _, d := range want {
			if d <= now {
				t.Errorf("at %v, one of %v was not given", now, d)
			}
			next = min(next, d-now)
		}
		if got := a.wait(base.Add(now)); got != next {
			t.Errorf("at %v the next is in %v, want %v", now, got, next)
		}
	}
	if len(want) > 0 {
		t.Errorf("never given: %d", len(want))
	}
}
