package executor

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/failover"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// The leader explains by what its duties remember: failovers that were given up hold the next one back, and that is told.
func TestExplainTellsWhatTheDutiesWaitFor(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis(1, "failover-timeout", "2000")
		o, end := w.office("a", nil)
		w.pass(6 * time.Second)
		codes := func() (all []string) {
			x, err := o.e.Explain(w.ctx, w.nodes["a"].State(), w.master())
			if err != nil {
				t.Fatal(err)
			}
			glance := o.e.Glance(w.nodes["a"].State(), w.master())
			if !slices.Equal(x.Failover, glance.Failover) {
				t.Errorf("at a glance %v, looked at %v", glance.Failover, x.Failover)
			}
			for _, b := range x.Failover {
				all = append(all, b.Code)
			}
			return all
		}
		if got := codes(); len(got) != 0 {
			t.Errorf("all is well, and %v stands in the way", got)
		}
		w.onDial(func(context.Context, raftfsm.Addr) error { return errors.New("no way there") })
		w.net.Instance(addr(1)).Crash()
		w.until("given up", 20*time.Second, func() bool { return w.begins() > 0 && w.master().Failover == nil })
		w.pass(10 * time.Millisecond)
		if got := codes(); !slices.Equal(got, []string{failover.BlockBackoff}) {
			t.Errorf("one failover was given up, and %v stands in the way", got)
		}
		end()
		w.pass(10 * time.Millisecond)
		if got := codes(); len(got) != 0 {
			t.Errorf("the leadership is over, and %v stands in the way", got)
		}
	})
}
