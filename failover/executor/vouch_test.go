package executor

import (
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// What a commit has vouched for serves for the step that follows upon it, and for nothing later.
func TestAVouchedConnectionServesOnce(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis(1)
		w.lead("a", nil)
		w.pass(time.Second)
		w.mu.Lock()
		o := &office{member: w.nodes["a"], term: w.term}
		w.mu.Unlock()
		e, err := New(Options{Cluster: o, Fleet: o.fleet, Log: w.log, Dial: noDial, LookupHost: w.lookUp})
		if err != nil {
			t.Fatal(err)
		}
		c := &stopping{}
		for name, rests := range map[string]bool{"used": false, "after a look that promotes nobody": true, "after one that is held back": true} {
			d, s := &duties{e: e, term: w.term}, newSet("m")
			s.vouch(map[raftfsm.Addr]Conn{addr(2): c})
			if rests {
				if name == "after one that is held back" {
					s.notBefore = time.Now().Add(time.Second)
				}
				if step := d.decide(s); step != nil {
					t.Fatalf("%s: %T", name, step)
				}
			}
			if got := s.isVouched(addr(2), c); got == rests {
				t.Errorf("%s: vouched for: %v", name, got)
			}
			if s.isVouched(addr(2), c) {
				t.Errorf("%s: a second time", name)
			}
		}
	})
}
