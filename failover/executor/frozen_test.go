package executor

import (
	"testing"
	"time"
)

// All questions of one decision are about one moment, and the next decision is about its own, whoever asks: the duties, or somebody who
// wants it explained.
func TestADecisionSeesOneMoment(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis(1)
		o, _ := w.office("a", nil)
		w.pass(6 * time.Second)
		m := w.master()
		d, s := &duties{e: o.e}, newSet("m")
		duty, bare, explained := d.viewOf(s, o.State(), m), o.e.view(o.State(), m), o.e.explained(o.State(), m)
		for who, observe := range map[string]observer{"duties": duty.Observe, "view": bare.Observe, "explanation": explained.Observe} {
			before, ok := observe(addr(1))
			w.pass(15 * time.Second)
			if after, _ := observe(addr(1)); !ok || after.LastReply != before.LastReply || after.InfoAt != before.InfoAt {
				t.Errorf("%s: a reply of %v became one of %v", who, before.LastReply, after.LastReply)
			}
			if next, _ := d.viewOf(s, o.State(), m).Observe(addr(1)); next.LastReply.Equal(before.LastReply) {
				t.Errorf("%s: the next decision sees nothing new", who)
			}
		}
	})
}
