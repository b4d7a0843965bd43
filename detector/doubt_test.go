package detector

import (
	"testing"
	"time"
)

func TestLate(t *testing.T) {
	for _, tc := range []struct {
		planned, done int
		downAfter     time.Duration
		want          bool
	}{
		{1000, 1000, time.Second, false},
		{1000, 1100, time.Second, false},
		{1000, 1101, time.Second, true},
		{1000, 4000, 30 * time.Second, false},
		{1000, 4001, 30 * time.Second, true},
		{1000, 900, time.Second, false},
	} {
		if got := Late(moment(tc.planned), moment(tc.done), tc.downAfter); got != tc.want {
			t.Errorf("planned %d, done %d, down-after %v: late %v, want %v", tc.planned, tc.done, tc.downAfter, got, tc.want)
		}
	}
}

func TestPulse(t *testing.T) {
	p := Pulse{Every: 100 * time.Millisecond}
	for _, tc := range []struct {
		at   int
		want time.Duration
	}{{5000, 0}, {5100, 0}, {5190, 0}, {5300, 10 * time.Millisecond}, {8400, 3 * time.Second}, {8500, 0}} {
		if late := p.Late(moment(tc.at)); late != tc.want {
			t.Errorf("at %d ms: overdue by %v, want %v", tc.at, late, tc.want)
		}
		if late := p.Beat(moment(tc.at)); late != tc.want {
			t.Errorf("beat at %d ms: late by %v, want %v", tc.at, late, tc.want)
		}
	}
	if Doubts(100*time.Millisecond, time.Second) || !Doubts(101*time.Millisecond, time.Second) {
		t.Error("a pause matters when it is longer than a tenth of down-after")
	}
}
