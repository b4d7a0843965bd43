package executor

import (
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func maintain(a raftfsm.Addr, until int64) *raftlogv1.Command {
	return &raftlogv1.Command{
		Header: &raftlogv1.Header{Level: raftfsm.Level},
		Op:     &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{Instance: a.Proto(), Reason: "new memory", UntilMs: until}},
	}
}

// Maintenance that was extended meanwhile does not end at its first end, and what was left alone follows afterwards.
func TestMaintenanceIsEndedByItsOwnEnd(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		first, last := time.Now().Add(time.Minute).UnixMilli(), time.Now().Add(2*time.Minute).UnixMilli()
		w.must(maintain(addr(2), first))
		w.pass(30 * time.Second)
		w.hand(all[1], "10.0.0.3", "6379")
		w.must(maintain(addr(2), last))
		w.pass(60 * time.Second)
		if !w.master().InMaintenance(addr(2)) {
			t.Fatal("ended at its first end")
		}
		if w.converged() {
			t.Error("it was repointed meanwhile")
		}
		w.until("ended", 32*time.Second, func() bool { return !w.master().InMaintenance(addr(2)) })
		if n := w.count(func(c *raftlogv1.Command) bool { return c.GetMaintain().GetEnd() && c.GetMaintain().GetUntilMs() == last }); n != 1 {
			t.Errorf("%d entries name the end", n)
		}
		w.until("it follows again", 30*time.Second, w.converged)
	})
}

// The old master of a failover that comes back in the midst of its maintenance takes no writes beside the new one.
func TestMaintenanceKeepsNoSecondMaster(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(5 * time.Second)
		all[0].Hang()
		w.until("failed over", 30*time.Second, func() bool { return w.master().Address != addr(1) && w.master().Failover == nil })
		w.must(maintain(addr(1), 0))
		all[0].Resume()
		w.until("demoted", 30*time.Second, w.converged)
		if !w.master().InMaintenance(addr(1)) {
			t.Error("its maintenance has ended")
		}
	})
}
