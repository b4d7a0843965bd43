package raftfsm

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// However names change, are removed and come back, each is listed once, at its last change; the list stays short, and that of an older
// state stays as it was.
func TestChangedSinceListsEachNameAtItsLastChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	s, last, revision := New(), map[string]uint64{}, uint64(0)
	for range 2000 {
		before, was := *s, slices.Collect(s.ChangedSince(0))
		next := *s
		var changes []change
		for range rng.IntN(20) {
			revision++
			name := fmt.Sprint("m", rng.IntN(30))
			if rng.IntN(4) == 0 {
				next.masters, _, _ = next.masters.Delete([]byte(name))
				next.tombstones = insert(next.tombstones, name, revision)
			} else {
				next.tombstones, _, _ = next.tombstones.Delete([]byte(name))
				next.masters = insert(next.masters, name, &Master{Name: name, Revision: revision})
			}
			last[name] = revision
			changes = append(changes, change{name, revision})
		}
		next.changes = next.noted(changes)
		s.noted([]change{{"of another future", revision}})
		if got := slices.Collect(before.ChangedSince(0)); !slices.Equal(got, was) {
			t.Fatalf("an older state lists %v, and before %v", got, was)
		}
		s = &next
		since := revision - min(revision, uint64(rng.IntN(60)))
		want := slices.SortedFunc(maps.Keys(last), func(a, b string) int { return cmp.Compare(last[a], last[b]) })
		want = slices.DeleteFunc(want, func(name string) bool { return last[name] <= since })
		if got := slices.Collect(s.ChangedSince(since)); !slices.Equal(got, want) {
			t.Fatalf("since %d of %d\n got %v\nwant %v", since, revision, got, want)
		}
		if s.changes.size > 2*len(last)+chunkSize {
			t.Fatalf("%d changes of %d names are kept", s.changes.size, len(last))
		}
	}
}
