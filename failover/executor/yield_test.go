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
		t.Run(fmt.Sprint("parallel ", parallel), func(t *testing.T) { standBack(t, parallel) })
	}
}

func standBack(t *testing.T, parallel int) {
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
		w.onDial(func(ctx context.Context, a raftfsm.Addr) error {
			if a != addr(12) {
				return nil
			}
			if m, _ := o.State().Master("other"); m.Failover != nil { // its candidate is not to be had
				<-ctx.Done()
			}
			return errGone
		})
		other.Crash()
		w.pass(200 * time.Millisecond)
		all[0].Crash()
		w.until("switched", 3*time.Second, func() bool { return w.master().Address == addr(2) })
		w.until("ended", 10*time.Second, func() bool { return w.master().Failover == nil })
		row := w.last()
		if took := row.SwitchedAtMs - row.ODownAtMs; took > 15 {
			t.Errorf("from objectively down to the switch: %d ms", took)
		}
		if got, want := stepNames(row), []string{"fence", "promote", "switch", "save"}; !slices.Equal(got, want) {
			t.Fatalf("steps %v, want %v", got, want)
		}
		if waited := row.Steps[3].AtMs - row.Steps[2].AtMs; waited < 400 || waited > 700 {
			t.Errorf("its configuration was saved %.0f ms after the switch", waited)
		}
		w.onDial(func(context.Context, raftfsm.Addr) error { return nil })
		w.until("the other one too", 10*time.Second, func() bool {
			m, _ := o.State().Master("other")
			return m.Address == addr(12)
		})
	})
}
