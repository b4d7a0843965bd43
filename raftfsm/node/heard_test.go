package node

import (
	"fmt"
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

// A leader tells which members lack more of its log than a few entries, and which are yet to vote.
func TestLeaderTellsWhoIsNotReady(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		one := w.others(l)[0]
		for i := range promoteLag + 10 {
			w.mustPropose(l, monitor(fmt.Sprintf("m%d", i), 100+i))
		}
		w.settle()
		if lag, joining := l.Lagging(), l.Joining(); len(lag) != 0 || len(joining) != 0 || one.Lagging() != nil || one.Joining() != nil {
			t.Errorf("lagging %v, joining %v; a follower says %v, %v", lag, joining, one.Lagging(), one.Joining())
		}
		// It is heard, and what it has acknowledged is old.
		l.acks.mu.Lock()
		a := l.acks.peers[one.self]
		a.match = 1
		l.acks.peers[one.self] = a
		l.acks.mu.Unlock()
		if got := l.Lagging(); len(got) != 1 || got[0] != string(one.self) {
			t.Errorf("lagging %v, want %s", got, one.self)
		}
		w.mustPropose(l, monitor("more", 300))
		w.eventually("it has acknowledged the end", func() bool { return len(l.Lagging()) == 0 })

		// One that is admitted and does not run yet.
		m := w.add(4)
		if resp := w.apply(m); !resp.GetAdmitted() {
			t.Fatal(resp.GetReason())
		}
		w.eventually("it is a member", func() bool { return isMember(l.State(), m.self) })
		if got := l.Joining(); len(got) != 1 || got[0] != string(m.self) {
			t.Errorf("joining %v, want %s", got, m.self)
		}
		if err := m.id.join("c1"); err != nil {
			t.Fatal(err)
		}
		m.start()
		w.eventually("it votes", func() bool { return len(l.Joining()) == 0 && l.State().IsVoter(string(m.self)) })
	})
}
