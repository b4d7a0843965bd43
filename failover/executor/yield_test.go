package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var errGone = errors.New("gone")

// What is left to do for a set that has its new master waits while another one has none, but not for ever.
func TestTheRestStandsBackForSetsWithoutAMaster(t *testing.T) {
	for _, parallel := range []int{0, 1} { // with 1, the sets without a master have all workers
		t.Run(fmt.Sprint("parallel ", parallel), func(t *testing.T) { standBack(t, parallel, false) })
	}
}

// Nor does it wait longer than there is one.
func TestTheRestGoesOnOnceEverySetHasAMaster(t *testing.T) { standBack(t, 0, true) }

// standBack has one set fail over while another one finds no candidate: for longer than anybody stands back, or for less.
func standBack(t *testing.T, parallel int, brief bool) {
	play(t, func(t *testing.T, w *world) {
		w.parallel = parallel
		all := w.redis(1)
		other := w.net.Add(addr(11).String())
		w.net.Add(addr(12).String()).Replicate(addr(11))
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{Name: "other", Address: addr(11).Proto(), Options: []*raftlogv1.OptionValue{
			{Name: "quorum", Value: "2"}, {Name: "down-after-milliseconds", Value: "1000"},
		}}}})
		w.pass(15 * time.Second)
		o, _ := w.office("a", nil)
		w.pass(6 * time.Second)
		found := make(chan struct{})
		w.onDial(func(ctx context.Context, a raftfsm.Addr) error {
			if a != addr(12) {
				return nil
			}
			if m, _ := o.State().Master("other"); m.Failover != nil { // its candidate is not to be had
				select {
				case <-ctx.Done():
				case <-found:
					return nil
				}
			}
			return errGone
		})
		other.Crash()
		w.pass(200 * time.Millisecond)
		all[0].Crash()
		w.until("switched", 3*time.Second, func() bool { return w.master().Address == addr(2) })
		if brief {
			w.pass(100 * time.Millisecond)
			close(found)
		}
		w.until("ended", 10*time.Second, func() bool { return w.master().Failover == nil })
		row := w.last()
		if took := row.SwitchedAtMs - row.ODownAtMs; took > 15 {
			t.Errorf("from objectively down to the switch: %d ms", took)
		}
		if got, want := stepNames(row), []string{"fence", "promote", "switch", "save"}; !slices.Equal(got, want) {
			t.Fatalf("steps %v, want %v", got, want)
		}
		least, most := 400.0, 700.0
		if brief {
			least, most = 90, 125
		}
		if waited := row.Steps[3].AtMs - row.Steps[2].AtMs; waited < least || waited > most {
			t.Errorf("its configuration was saved %.0f ms after the switch", waited)
		}
		w.onDial(func(context.Context, raftfsm.Addr) error { return nil })
		w.until("the other one too", 10*time.Second, func() bool {
			m, _ := o.State().Master("other")
			return m.Address == addr(12)
		})
	})
}
