package executor

import (
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// A set whose masters die one after another: two failovers are free, the third waits for failover-cooldown after the second,
// and an operator's does not. Each row tells how far its candidates were behind.
func TestAFlappingSet(t *testing.T) {
	for _, c := range []struct {
		name    string
		level   uint32
		options []string
		ordered bool
		// the third switch comes so long after the second
		least, most time.Duration
	}{
		{name: "waits", level: raftfsm.Level, least: 10 * time.Second, most: 11 * time.Second},
		{name: "by its option", level: raftfsm.Level, options: []string{"failover-cooldown", "20000"}, least: 20 * time.Second, most: 21 * time.Second},
		{name: "off", level: raftfsm.Level, options: []string{"failover-cooldown", "0"}, most: 3 * time.Second},
		{name: "before level 3", level: 2, most: 3 * time.Second},
		{name: "ordered", level: raftfsm.Level, ordered: true, most: 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			playAt(t, c.level, func(t *testing.T, w *world) {
				all := map[raftfsm.Addr]*fakeredis.Instance{}
				for n, i := range w.redis(3, c.options...) {
					all[addr(n+1)] = i
				}
				w.lead("a", nil)
				w.pass(6 * time.Second)
				crash := func() {
					was := w.master().Address
					all[was].Crash()
					w.until("down", 5*time.Second, func() bool { return w.master().IsODown() || w.master().Address != was })
				}
				for range 2 {
					was := w.master().Address
					crash()
					w.until("switched", 5*time.Second, func() bool { return w.master().Address != was })
					w.pass(500 * time.Millisecond)
				}
				second, was := w.last().SwitchedAtMs, w.master().Address
				crash()
				if c.ordered {
					w.mu.Lock()
					o := &office{member: w.nodes["a"], term: w.term}
					w.mu.Unlock()
					e, err := New(Options{Cluster: o, Fleet: o.fleet, Log: w.log, Dial: noDial, LookupHost: w.lookUp})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := e.Begin(w.ctx, Order{Master: "m", Kind: raftfsm.KindForced, OperationID: "op", Actor: "ann"}); err != nil {
						t.Fatal(err)
					}
				}
				w.until("the third switch", 30*time.Second, func() bool { return w.master().Address != was })
				w.until("its end", time.Minute, func() bool { return w.master().Failover == nil })
				took := time.Duration(w.last().SwitchedAtMs-second) * time.Millisecond
				if took < c.least || took > c.most {
					t.Errorf("the third switch came %v after the second, want %v to %v", took, c.least, c.most)
				}
				known := w.last().Candidates[0].BehindBytes >= 0
				if known != (c.level >= 3) {
					t.Errorf("%+v", w.last().Candidates[0])
				}
			})
		})
	}
}
