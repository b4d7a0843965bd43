package node

import (
	"fmt"
	"testing"
	"time"
)

// What a storm has appended goes into a snapshot as soon as there is calm, on every node, and not before. A node that comes back has
// nothing to make another one of.
func TestCompactsInCalm(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		covered := func(m *member) uint64 {
			t.Helper()
			metas, err := m.stores.snaps.List()
			if err != nil {
				t.Fatal(err)
			}
			if len(metas) == 0 {
				return 0
			}
			return metas[0].Index
		}
		w.mustPropose(w.leader(), monitor("m", 100))
		for i := range 2 * compactAfter { // which takes less than Raft's own timer does
			w.mustPropose(w.leader(), option("m", "down-after-milliseconds", fmt.Sprint(1000+i)))
			time.Sleep(calmAfter / (4 * calmEntries))
		}
		for _, m := range w.members {
			if at := covered(m); at != 0 {
				t.Errorf("n%d has made a snapshot at %d in the midst of the storm", m.number, at)
			}
		}
		w.settle()
		time.Sleep(4*calmAfter + time.Second)
		m := w.members[0]
		at := m.State().Index()
		for _, m := range w.members {
			if got := covered(m); got < at {
				t.Errorf("n%d: the newest snapshot is at %d, the state at %d", m.number, got, at)
			}
		}
		m.restart()
		w.mustPropose(w.leader(), option("m", "down-after-milliseconds", "999"))
		w.settle()
		time.Sleep(2 * compactEvery)
		if got := covered(m); got > m.State().Index()-1 {
			t.Errorf("restarted in calm, n%d has made another snapshot, at %d", m.number, got)
		}
	})
}
