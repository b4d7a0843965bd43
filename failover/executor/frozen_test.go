package executor

import (
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// All questions of one decision are about one moment, and the next decision is about its own.
func TestADecisionSeesOneMoment(t *testing.T) {
	var readings int
	live := func(a raftfsm.Addr) (detector.Observation, bool) {
		readings++
		return detector.Observation{Addr: a, PingTime: time.Duration(readings)}, a != addr(3)
	}
	for decision := range 2 {
		observe := frozen(live)
		for range 3 {
			for i := range 3 {
				o, ok := observe(addr(i + 1))
				if want := time.Duration(3*decision + i + 1); o.PingTime != want || o.Addr != addr(i+1) || ok != (i != 2) {
					t.Errorf("decision %d: %s is seen as %+v, %v", decision, addr(i+1), o, ok)
				}
			}
		}
	}
}
