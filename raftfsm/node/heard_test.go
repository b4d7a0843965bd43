package node

import (
	"testing"
	"testing/synctest"
	"time"
)

// Contacts: a leader knows them, one that has just followed another too, a follower leaves them to its leader, and who hears
// none finds out by itself.
func TestContacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		defer w.close()
		l := w.leader()
		w.settle()
		// expect checks what a node knows of another: whether it is heard, and its age between two bounds.
		expect := func(m, of *member, heard bool, least, most time.Duration) {
			t.Helper()
			c, known := m.Contacts()[string(of.self)]
			if age := time.Since(c.At); !known || c.Heard != heard || age < least || age > most {
				t.Errorf("node %d of %d: %+v known=%v, %v ago, want heard=%v between %v and %v", m.number, of.number, c, known, age, heard, least, most)
			}
		}
		others := w.others(l)
		for _, m := range others {
			expect(l, m, true, 0, time.Second)
			if c := m.Contacts(); c != nil {
				t.Errorf("a follower's: %v", c)
			}
		}
		expect(l, l, true, 0, 0)
		w.isolate(l, true)
		began := time.Now()
		next := w.leader(others...)
		time.Sleep(5 * time.Second)
		cut := time.Since(began)
		expect(next, l, false, cut, cut+time.Second)

		// The old leader is alone: it learns that nobody answers. The rest lose their majority, and two of them find each other.
		rest := []*member{next}
		for _, m := range others {
			if m != next {
				rest = append(rest, m)
			}
		}
		w.isolate(rest[2], true)
		w.isolate(rest[3], true)
		began = time.Now()
		time.Sleep(10 * time.Second)
		second := time.Since(began)
		one, two := rest[0], rest[1]
		expect(one, two, true, 0, 3*time.Second)
		expect(two, one, true, 0, 3*time.Second)
		expect(one, rest[2], false, second, second+time.Second)
		// Who votes for the next leader does not know the last contact with the one before to the millisecond.
		expect(two, l, false, second+5*time.Second, cut+second+time.Second)
		expect(l, one, false, cut+second, cut+second+time.Second)
		if one.Heard() != nil {
			t.Error("who does not lead has nobody heard for the cluster")
		}
		for _, m := range w.members {
			w.isolate(m, false)
		}
		w.leader()
		w.eventually("followers leave it to the leader again", func() bool {
			n := 0
			for _, m := range w.members {
				if m.Contacts() != nil {
					n++
				}
			}
			return n == 1
		})
	})
}
