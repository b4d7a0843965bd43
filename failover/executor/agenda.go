package executor

import (
	"container/heap"
	"time"
)

// agenda are the sets that are to be looked at at a time, each once, the earliest first. The loop keeps it: to look through all sets
// for the next one costs most when many have something to do.
type agenda struct{ byTime byTime }

// put has a set looked at at its time; zero is never.
func (a *agenda) put(s *set, at time.Time) {
	a.drop(s)
	if !at.IsZero() {
		s.at = at
		heap.Push(&a.byTime, s)
	}
}

// drop takes a set off.
func (a *agenda) drop(s *set) {
	if s.place != 0 {
		heap.Remove(&a.byTime, s.place-1)
	}
}

// take takes off one of the sets whose time has come; nil when there is none.
func (a *agenda) take(now time.Time) *set {
	if len(a.byTime) == 0 || now.Before(a.byTime[0].at) {
		return nil
	}
	return heap.Pop(&a.byTime).(*set)
}

// wait is how long it is until the next one.
func (a *agenda) wait(now time.Time) time.Duration {
	if len(a.byTime) == 0 {
		return time.Hour
	}
	return max(a.byTime[0].at.Sub(now), 0)
}

// byTime is the agenda's heap, for package heap alone. A set's place in it is one more than its index.
type byTime []*set

func (b byTime) Len() int           { return len(b) }
func (b byTime) Less(i, j int) bool { return b[i].at.Before(b[j].at) }

func (b byTime) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].place, b[j].place = i+1, j+1
}

// Push is [heap.Interface]'s.
func (b *byTime) Push(x any) {
	s := x.(*set)
	*b = append(*b, s)
	s.place = len(*b)
}

// Pop is [heap.Interface]'s.
func (b *byTime) Pop() any {
	last := len(*b) - 1
	s := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	s.place = 0
	return s
}
