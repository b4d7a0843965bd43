// Package progress tells a loop that is stuck from one that is busy or idle.
package progress

import (
	"sync"
	"time"
)

// Loop is what a loop tells of itself: it takes a step whenever it begins a piece of work that ends soon by itself, and rests
// while it waits for work, for the network, or for a disk, which no restart would hurry. The zero value rests.
type Loop struct {
	mu    sync.Mutex
	since time.Time // when the present piece of work was begun; zero at rest
}

// Step begins a piece of work, or the next one.
func (l *Loop) Step() {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = now
}

// Rest ends the present piece of work.
func (l *Loop) Rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Time{}
}

// Stuck is how long the present piece of work has been under way; 0 at rest.
func (l *Loop) Stuck() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return 0
	}
	return time.Since(l.since)
}
