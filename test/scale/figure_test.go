package scale

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	tab := newTable(3)
	for _, v := range []float64{70, 40, 50} {
		tab.add(sample{"fifty-median": v, "many-false": 0}, false)
		tab.add(sample{"fifty-median": 20 * v}, true)
	}
	tab.add(sample{"rest-commands": 1.9}, false)
	text := tab.String()
	for _, want := range []string{
		"median | ≤ 60 ms | **50** (70, 40, 50) ms | reached | **1000** (1400, 800, 1000) | 20.00 |",
		"false verdicts | none | **0** (0, 0, 0)  | reached |",
		"≤ 1.80 /s | **1.90** (1.90) /s | **missed** |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "900 of 9,000") {
		t.Error("a line for what was not measured")
	}
}

func TestReachedIsABound(t *testing.T) {
	for _, tc := range []struct {
		f    figure
		v    float64
		want bool
	}{
		{figure{reach: 60}, 60, true},
		{figure{reach: 60}, 60.1, false},
		{figure{reach: 40000, atLeast: true}, 40000, true},
		{figure{reach: 40000, atLeast: true}, 39999, false},
	} {
		if got := tc.f.reached(tc.v); got != tc.want {
			t.Errorf("%v of %v: %v", tc.v, tc.f.reach, got)
		}
	}
}

func TestEveryFigureHasOneLine(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range figures {
		if f.id == "" || f.what == "" || seen[f.id] {
			t.Errorf("%+v", f)
		}
		seen[f.id] = true
	}
}
