package node

import (
	"context"
	"sync"
)

// broadcast wakes everyone who waits, any number of times. The zero value is ready.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// next is closed at the next wake. Take it first, then look at what it tells of.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// tally counts what is under way and lets one wait for none. Unlike a sync.WaitGroup it may be waited for while it is added
// to, and the wait has an end.
type tally struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n falls to 0; nil while nobody waits
}

func (t *tally) add() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n++
}

func (t *tally) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n--
	if t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

// wait returns when nothing is under way, or with ctx's error.
func (t *tally) wait(ctx context.Context) error {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return nil
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scope holds the present leadership and counts the duties that run in one.
type scope struct {
	mu     sync.Mutex
	now    *leadership
	closed bool
	duties tally
}

func (s *scope) get() *leadership {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// set begins a leadership; it is refused once the scope is closed.
func (s *scope) set(l *leadership) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.now = l
	return true
}

// end takes the leadership away from everyone who runs in it; nil where there was none.
func (s *scope) end(cause error) *leadership {
	s.mu.Lock()
	l := s.now
	s.now = nil
	s.mu.Unlock()
	if l != nil {
		l.end(cause)
	}
	return l
}

// close ends the leadership and lets no other begin.
func (s *scope) close(cause error) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(cause)
}

// enter counts a duty in l, unless l is over.
func (s *scope) enter(l *leadership) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != l {
		return false
	}
	s.duties.add()
	return true
}
