package probe

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/progress"
)

// metronome sends the PINGs of all watches at rest, those of one moment one after the other: of such a watch the goroutine
// only ever waits for bytes, and no timer is set for it.
type metronome struct {
	f    *Fleet
	loop progress.Loop

	mu sync.Mutex
	// slots are the rests by the step of the grid at which each is due.
	slots map[int64][]*rest
	done  int64 // the last step that was taken
	// paused is when the last pause began, and before how many masters were down then, or fewer since; the goroutine's that takes the steps.
	paused time.Time
	before int64
}

func newMetronome(f *Fleet) *metronome { return &metronome{f: f, slots: map[int64][]*rest{}} }

// rest is a time in which nothing is amiss with an instance.
type rest struct {
	w    *watch
	conn *instance.Conn
	due  bool // it was ended for a probe that is no PING
	// waited: its next PING was put off, and is not again; the metronome's goroutine's.
	waited bool
}

// run takes the steps of the grid until ctx ends. They are the pulse of the process, too.
func (m *metronome) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var phase int64
	for {
		now := time.Now()
		m.loop.Step()
		moved := phase != m.f.phase.Load()
		phase = m.f.phase.Load()
		m.f.beat(now, moved)
		step, pausing := m.step(now), m.pauses(now)
		for _, r := range m.due(step) {
			switch {
			case pausing && !r.waited && r.canWait(now):
				r.waited = true
				m.put(r, step+int64(pauseFor/gridStep))
			case r.nudge(time.Now()):
				r.waited = false
				m.enter(r)
			}
		}
		m.loop.Rest()
		now = time.Now()
		timer.Reset(gridStep - now.Sub(m.f.grid())%gridStep)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// step is the number of the last step of the grid up to now.
func (m *metronome) step(now time.Time) int64 { return int64(now.Sub(m.f.grid()) / gridStep) }

// due takes out what is due at steps up to this one.
func (m *metronome) due(step int64) []*rest {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*rest
	for ; m.done < step; m.done++ {
		out = append(out, m.slots[m.done+1]...)
		delete(m.slots, m.done+1)
	}
	return out
}

// enter has the next PING sent when it is due, if the rest still goes on then.
func (m *metronome) enter(r *rest) {
	now := time.Now()
	r.w.mu.Lock()
	at := due(m.f.grid(), now, r.w.period(now), r.w.seed)
	r.w.mu.Unlock()
	m.put(r, m.step(at))
}

// put has it done at a step, or at the next one where that is over.
func (m *metronome) put(r *rest, step int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	step = max(step, m.done+1)
	m.slots[step] = append(m.slots[step], r)
}

// pauseFor is by how much probes are put off whose period is longer, from the moment on at which manyLost masters more are held down and have
// no successor: where thousands are watched, their probes are most of what the failovers wait for.
const pauseFor = 3 * time.Second

// pauses tells whether what can wait has to. Masters that stay down begin no other pause.
func (m *metronome) pauses(now time.Time) bool {
	down := m.f.downMasters.Load()
	m.before = min(m.before, down)
	if down >= m.before+manyLost {
		m.paused, m.before = now, down
	}
	return !m.paused.IsZero() && down >= manyLost && now.Sub(m.paused) < pauseFor
}

// canWait tells whether a probe may come later: an instance that is probed more rarely than that is not missed for so long.
func (r *rest) canWait(now time.Time) bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.w.resting == r && !r.w.urgent && r.w.period(now) > pauseFor
}

// restful tells whether nothing is amiss with an instance, so that its PINGs may be left to the metronome, which asks for itself whether
// the master is silent: to ask here would double the stack of everyone at rest. The caller holds mu.
func (w *watch) restful() bool {
	_, pending := w.track.Deadline(w.plan.limits)
	return !pending && !w.track.Down() && !w.urgent && !(w.plan.hot && w.f.o.Cluster.Leading()) && w.plan.period() >= gridStep
}

// restEnd is how a rest ended.
type restEnd int

const (
	restNone        restEnd = iota // something is or may be amiss, or about to be: the goroutine waits by itself
	restDue                        // it is time for a probe that is no PING
	restOutstanding                // the reply to the last PING is outstanding
	restBroken                     // the connection is of no more use
)

// rest leaves the probing to the metronome for as long as nothing is amiss. All waiting of the healthy is done here, so that its
// way down to the network is kept short: the stacks are most of what an instance costs.
func (w *watch) rest(ctx context.Context, conn *instance.Conn) restEnd {
	r := w.lieDown(ctx, conn)
	if r == nil {
		return restNone
	}
	w.f.metronome.enter(r)
	w.loop.Rest()
	err := conn.Attend(w.hear)
	w.loop.Step()
	return w.getUp(ctx, r, err)
}

// lieDown begins a rest, where nothing is amiss. Whoever ends the context afterwards rouses.
func (w *watch) lieDown(ctx context.Context, conn *instance.Conn) *rest {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil || !w.restful() {
		return nil
	}
	r := &rest{w: w, conn: conn}
	conn.Settle()
	w.resting = r
	w.rouse = func() { w.resting = nil; conn.Interrupt() }
	return r
}

// getUp ends a rest.
func (w *watch) getUp(ctx context.Context, r *rest, err error) restEnd {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting, w.rouse = nil, func() {}
	switch {
	case ctx.Err() != nil:
		w.track.Dropped()
	case err != nil && !errors.Is(err, context.Canceled):
		w.track.Broken(time.Now(), instance.CauseOf(err))
	case r.conn.Outstanding():
		return restOutstanding
	case r.due:
		return restDue
	default:
		return restNone
	}
	w.publish()
	return restBroken
}

// hear takes the reply to a PING of the metronome, and tells whether the rest goes on.
func (w *watch) hear(class detector.ReplyClass, rtt time.Duration) bool {
	now := time.Now()
	w.loop.Step()
	defer w.loop.Rest()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pingTime = rtt
	w.answered(now, detector.ProbePing, class)
	w.publish()
	if !w.restful() {
		w.resting = nil
	}
	return w.resting != nil
}

// nudge sends the PING that is due, and tells whether the rest goes on. It ends where something else is to be asked, and
// where the last reply is outstanding: then the goroutine waits for it by itself, and judges.
func (r *rest) nudge(now time.Time) bool {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.resting != r:
		return false
	case w.wantsInfo(now) || !r.conn.Nudge():
		r.due = true
		w.rouse()
		return false
	}
	w.track.Sent(now)
	w.notePending(now)
	return true
}
