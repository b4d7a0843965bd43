package resp

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pause is CLIENT PAUSE: while it is on, every command waits.
type pause struct {
	on      atomic.Bool
	waiting atomic.Int64

	mu    sync.Mutex
	until time.Time
	ended chan struct{} // closed when until is another moment
}

// longestPause bounds a pause: who waits holds a connection, and a node that answers nobody for long is none.
const longestPause = 5 * time.Minute

// begin pauses for at least d, up to longestPause: a longer pause that is on stays.
func (p *pause) begin(d time.Duration) {
	d = min(d, longestPause)
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(d); until.After(p.until) {
		p.set(until)
	}
}

// end lets everyone go on.
func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(time.Time{})
}

// set changes the end of the pause. The caller holds mu.
func (p *pause) set(until time.Time) {
	if p.ended != nil {
		close(p.ended)
	}
	p.until, p.ended = until, make(chan struct{})
	p.on.Store(until.After(time.Now()))
}

// sitOut waits for the end of the pause; false where the connection, and ctx with it, ends before.
func (p *pause) sitOut(ctx context.Context) bool {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	for {
		p.mu.Lock()
		left, ended := time.Until(p.until), p.ended
		if left <= 0 {
			p.on.Store(false)
			p.mu.Unlock()
			return true
		}
		p.mu.Unlock()
		over := time.NewTimer(left)
		select {
		case <-ended:
		case <-over.C:
		case <-ctx.Done():
		}
		over.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}
