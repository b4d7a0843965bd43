package detector

import "time"

// Late tells whether something planned for one moment and done at another shows that this node was not there in between,
// by more than a tenth of down-after: then what has arrived is read first, and silence is counted from now.
func Late(planned, done time.Time, downAfter time.Duration) bool {
	return done.Sub(planned) > downAfter/10
}

// Pulse notices pauses of the whole process: stopped by a signal, a frozen virtual machine, a starved processor. It beats
// at a fixed period; a beat that comes late measures the pause. It reads the monotonic clock that its caller passes, so
// that a wall clock that jumps is no pause.
type Pulse struct {
	// Every is the period; above 0.
	Every time.Duration
	last  time.Time
}

// Beat records a beat and tells how late it came; 0 for the first.
func (p *Pulse) Beat(now time.Time) time.Duration {
	late := p.Late(now)
	p.last = now
	return late
}

// Late is how long the next beat is overdue; at least 0.
func (p *Pulse) Late(now time.Time) time.Duration {
	if p.last.IsZero() {
		return 0
	}
	return max(0, now.Sub(p.last)-p.Every)
}

// Doubts tells whether a pause of this length matters to an instance with this down-after.
func Doubts(pause, downAfter time.Duration) bool { return pause > downAfter/10 }
