package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	for _, tt := range []struct {
		in                  []time.Duration
		least, median, most time.Duration
	}{
		{[]time.Duration{5}, 5, 5, 5},
		{[]time.Duration{3, 1}, 1, 2, 3},
		{[]time.Duration{9, 1, 4}, 1, 4, 9},
	} {
		if l, m, h := quantiles(tt.in); l != tt.least || m != tt.median || h != tt.most {
			t.Errorf("quantiles(%v) = %v, %v, %v", tt.in, l, m, h)
		}
	}
}

func TestReached(t *testing.T) {
	r := result{row: row{median: 20, max: 60}, ours: []time.Duration{10, 20, 60}}
	if !r.reached() {
		t.Error("20 and 60 are within 20 and 60")
	}
	r.ours[2] = 61
	if r.reached() {
		t.Error("61 is above 60")
	}
	r.max, r.median = 0, 19
	if r.reached() {
		t.Error("a median of 20 is above 19")
	}
}

func TestReplaceIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := replaceIn(path, "x", "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if want := "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if err := os.WriteFile(path, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replaceIn(path, "x", "x"); !errors.Is(err, errNoMarks) {
		t.Errorf("a document without marks: %v", err)
	}
}
