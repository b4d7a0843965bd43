package resp

import (
	"maps"
	"slices"
	"testing"
)

// TestEveryCommandIsDescribed: no row of the tables lacks its description, and none describes nothing.
func TestEveryCommandIsDescribed(t *testing.T) {
	known := map[string]bool{}
	for _, e := range newCatalogue().all {
		known[e.name] = true
		if e.summary == "" || e.since == "" || e.group == "" || len(e.categories) == 0 {
			t.Errorf("%s: %+v", e.name, e.doc)
		}
		for _, c := range e.categories {
			if !slices.Contains(categories, c) {
				t.Errorf("%s: no category %s", e.name, c)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		if !known[name] {
			t.Errorf("%s is described and no listed command", name)
		}
	}
}
