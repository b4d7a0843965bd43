package raftfsm

import "iter"

// RingSize is how many events the ring keeps.
const RingSize = 4096

// eventRing keeps the newest RingSize events, ordered by cursor.
type eventRing struct {
	events chunks[*Event]
	// dropped is the cursor of the newest event that fell out; zero while none did.
	dropped Cursor
}

// with is the ring with events added, which are newer than all in it and in order. It keeps them.
func (r eventRing) with(events []Event) eventRing {
	added := make([]*Event, len(events))
	for i := range events {
		added[i] = &events[i]
	}
	r.events = r.events.with(added...)
	if over := r.events.size - RingSize; over > 0 {
		r.dropped = r.events.at(over - 1).Cursor
		r.events = r.events.cut(over)
	}
	return r
}

// since are the events after a cursor.
func (r eventRing) since(c Cursor) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for e := range r.events.from(func(e *Event) bool { return e.Compare(c) > 0 }) {
			if !yield(*e) {
				return
			}
		}
	}
}

// EventsSince are the events after the cursor, in order. ok is false where some of them have already fallen out of the
// ring ("compacted"); the sequence then starts with the oldest one left.
func (s *State) EventsSince(c Cursor) (events iter.Seq[Event], ok bool) {
	return s.events.since(c), c.Compare(s.events.dropped) >= 0
}
