package detector

import (
	"testing"
	"time"
)

func TestBrake(t *testing.T) {
	for _, c := range []struct {
		name    string
		census  Census
		percent int
		want    bool
	}{
		{"nothing answers", Census{Masters: 400, Silent: 400}, 50, true},
		{"a rack with most of the masters: their replicas answer", Census{Masters: 400, Silent: 300, Reached: true}, 50, false},
		{"half", Census{Masters: 20, Silent: 10}, 50, false},
		{"more than half", Census{Masters: 20, Silent: 11}, 50, true},
		{"few", Census{Masters: 9, Silent: 9}, 50, false},
		{"just enough", Census{Masters: 10, Silent: 10}, 50, true},
		{"another share", Census{Masters: 20, Silent: 14}, 70, false},
		{"all of them", Census{Masters: 20, Silent: 20}, 100, false},
		{"off", Census{Masters: 400, Silent: 400}, 0, false},
	} {
		var b Brake
		if got := b.Judge(time.Now(), c.census, c.percent); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// What was cut off comes back little by little: the first answer ends no doubt, and one that does not last begins anew.
func TestBrakeSettles(t *testing.T) {
	var b Brake
	cut, back := Census{Masters: 20, Silent: 20}, Census{Masters: 20, Silent: 19, Reached: true}
	now := time.Now()
	for i, c := range []struct {
		after  time.Duration
		census Census
		want   bool
	}{
		{0, cut, true},
		{time.Minute, cut, true},
		{time.Second, back, true},
		{1999 * time.Millisecond, back, true},
		{0, cut, true},
		{time.Second, back, true},
		{2 * time.Second, back, false},
		{0, back, false},
		{time.Second, cut, true},
		{time.Second, Census{Masters: 20, Silent: 3, Reached: true}, true},
		{2 * time.Second, Census{Masters: 20, Silent: 3, Reached: true}, false},
		{0, cut, true},
		{0, Census{Masters: 20, Silent: 3}, false},
	} {
		now = now.Add(c.after)
		if got := b.Judge(now, c.census, 50); got != c.want {
			t.Fatalf("%d: %t", i, got)
		}
	}
}
