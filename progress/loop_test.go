package progress

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Loop
		check := func(what string, want time.Duration) {
			t.Helper()
			if got := l.Stuck(); got != want {
				t.Errorf("%s: stuck for %v, want %v", what, got, want)
			}
		}
		time.Sleep(time.Hour)
		check("never begun", 0)
		for range 60 { // busy: a minute of pieces, each short
			l.Step()
			time.Sleep(time.Second)
		}
		check("busy", time.Second)
		time.Sleep(time.Minute)
		check("stuck", time.Minute+time.Second)
		l.Rest()
		time.Sleep(time.Hour)
		check("idle", 0)
	})
}
