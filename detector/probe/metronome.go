package probe

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/progress"
)

// metronome sends the PINGs of all watches at rest, those of one moment one after the other, and looks for the replies of those who doze.
// No timer is set for any of them, and a goroutine only waits where a connection cannot doze.
type metronome struct {
	f    *Fleet
	loop progress.Loop

	mu sync.Mutex // guards slots, done and paused
	// slots are the rests by the step of the grid at which each is due.
	slots map[int64][]*rest
	done  int64 // the last step that was taken
	// asked are those who doze and whose replies have not come; the goroutine's that takes the steps.
	asked  []*rest
	paused time.Time // when the last pause began
}

func newMetronome(f *Fleet) *metronome { return &metronome{f: f, slots: map[int64][]*rest{}} }

// rest is a time in which nothing is amiss with an instance.
type rest struct {
	w    *watch
	conn *instance.Conn
	// dozes: no goroutine waits; the metronome looks for the replies.
	dozes   bool
	due     bool // it was ended for a probe that is no PING
	dropped bool // it was ended to give its connection up
	// waited: its next PING was put off, and is not again; the metronome's goroutine's.
	waited bool
	// asked is the plan under which the INFO was asked for whose reply is outstanding, and askedAt when; nil for a PING.
	asked   *plan
	askedAt time.Time
}

// hearAfter is how long after the probes of a moment the metronome looks for the replies of those who doze. What has not come then is
// looked for at every later step, until it is there or the next probe is due.
const hearAfter = 5 * time.Millisecond

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
		m.listen()
		if m.send(now) {
			timer.Reset(hearAfter)
			if !m.wait(ctx, timer) {
				return
			}
			m.listen()
		}
		now = time.Now()
		timer.Reset(gridStep - now.Sub(m.f.grid())%gridStep)
		if !m.wait(ctx, timer) {
			return
		}
	}
}

// wait returns false when ctx ends.
func (m *metronome) wait(ctx context.Context, timer *time.Timer) bool {
	m.loop.Rest()
	defer m.loop.Step()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// send sends what is due, and tells whether there are replies to look for.
func (m *metronome) send(now time.Time) (asked bool) {
	step, paused := m.step(now), m.pauses()
	for _, r := range m.due(step) {
		switch wait := r.canWait(now, paused); {
		case wait > 0 && !r.waited:
			r.waited = true
			m.put(r, step+int64(wait/gridStep))
		case r.nudge(time.Now()):
			r.waited = false
			m.enter(r)
			if r.dozes {
				m.asked, asked = append(m.asked, r), true
			}
		}
	}
	return asked
}

// listen looks for the replies of those who doze.
func (m *metronome) listen() {
	m.asked = slices.DeleteFunc(m.asked, func(r *rest) bool { return r.listen(time.Now()) })
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

// longestSlack bounds a slack.
const longestSlack = 3 * time.Second

// slack is by how much a probe of such a period is put off, from the moment on at which manyLost masters more are held down and have no
// successor: where hundreds are watched, their probes are a tenth of what the failovers wait for, and most of it where it is thousands. Only
// what is stretched waits, by no more than its period, and so that half of down-after, from which on a silence matters, does not go by between two.
func (p *plan) slack(period time.Duration) time.Duration {
	if period <= p.period() {
		return 0
	}
	return min(p.limits.DownAfter/10, longestSlack, period, p.limits.DownAfter/2-period).Truncate(gridStep)
}

// pause begins a pause. Masters that stay down begin no other.
func (m *metronome) pause(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paused = now
}

// pauses tells since when what can wait has to; zero for not at all.
func (m *metronome) pauses() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.f.downMasters.n.Load() < manyLost {
		return time.Time{}
	}
	return m.paused
}

// canWait is by how much a probe may come later; 0 for not at all.
func (r *rest) canWait(now, paused time.Time) time.Duration {
	if paused.IsZero() {
		return 0
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	slack := r.w.plan.slack(r.w.period(now))
	if now.Sub(paused) >= slack || r.w.resting != r || r.w.urgent {
		return 0
	}
	return slack
}

// restful tells whether nothing is amiss with an instance, so that its PINGs may be left to the metronome, which asks for itself whether
// the master is silent: to ask here would double the stack of everyone at rest. The caller holds mu.
func (w *watch) restful() bool {
	_, pending := w.track.Deadline(w.plan.limits)
	return !pending && !w.track.Down() && !w.urgent && !w.pressing() && w.plan.period() >= gridStep
}

// pressing tells whether an answer about the set is waited for as soon as it is there. With many at once, none is: a goroutine for each
// costs more than it is worth that the metronome looks 5 ms after it has asked, or a step of the grid later.
func (w *watch) pressing() bool {
	return w.plan.hot && w.f.o.Cluster.Leading() && !w.f.yields()
}

// rest leaves the probing to the metronome for as long as nothing is amiss. Where the connection dozes the goroutine is not needed meanwhile.
// Where it cannot, all waiting of the healthy is done here, so that its way down to the network is kept short: the stacks are most of what
// an instance costs. next is what to do afterwards, nil where the connection is of no more use.
func (w *watch) rest(ctx context.Context, conn *instance.Conn) (next step, dozes bool) {
	r := w.lieDown(ctx, conn)
	if r == nil {
		return w.idleAndProbe, false
	}
	w.f.metronome.enter(r)
	if r.dozes {
		return nil, true
	}
	w.loop.Rest()
	err := conn.Attend(w.hear)
	w.loop.Step()
	return w.getUp(ctx, r, err), false
}

// lieDown begins a rest, where nothing is amiss. Whoever ends the context afterwards rouses.
func (w *watch) lieDown(ctx context.Context, conn *instance.Conn) *rest {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil || !w.restful() {
		return nil
	}
	r := &rest{w: w, conn: conn}
	w.resting = r
	if r.dozes = conn.Doze(&w.f.breaks, r.broken); r.dozes {
		w.abort = func() {
			r.dropped = true
			w.rouse()
		}
		w.rouse = func() {
			w.resting, w.rouse = nil, func() {}
			go w.live(r)
		}
		w.loop.Rest()
		return r
	}
	conn.Settle()
	w.rouse = func() { w.resting = nil; conn.Interrupt() }
	return r
}

// getUp ends a rest, and tells what is next; nil where the connection is of no more use.
func (w *watch) getUp(ctx context.Context, r *rest, err error) step {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting, w.rouse = nil, func() {}
	switch {
	case ctx.Err() != nil, r.dropped:
		w.track.Dropped()
	case err != nil && !errors.Is(err, context.Canceled):
		w.track.Broken(time.Now(), instance.CauseOf(err))
	case r.conn.Outstanding():
		return w.resume(r)
	case r.due:
		return w.probe
	default:
		return w.idleAndProbe
	}
	w.publish()
	return nil
}

// broken ends the rest of one who dozes, because its connection broke. The silence begins here, not when the goroutine has its turn: where a
// rack dies, that can be a tenth of a second later.
func (r *rest) broken() {
	got, p := r.end(time.Now())
	r.w.pursue(got.info, p)
}

// end notes the break, after the reply that came before it, if any did.
func (r *rest) end(now time.Time) (got reply, p *plan) {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resting != r {
		return reply{}, nil
	}
	if r.conn.Outstanding() {
		got = r.look(now)
	}
	switch {
	case w.resting != r: // the reply has ended the rest
	case timedOut(got.err):
		w.rouse() // no reply came, and no end: the goroutine finds out
	default:
		if err := r.conn.Broken(); err != nil {
			r.lose(now, err)
		} else {
			w.rouse()
		}
	}
	return got, w.plan
}

// lose ends the rest because the connection is of no more use. The caller holds the watch's mu.
func (r *rest) lose(now time.Time, err error) {
	r.w.track.Broken(now, instance.CauseOf(err))
	r.w.publish()
	r.w.rouse()
}

// hear takes the reply to a PING of the metronome, and tells whether the rest goes on.
func (w *watch) hear(class detector.ReplyClass, rtt time.Duration) bool {
	now := time.Now()
	w.loop.Step()
	defer w.loop.Rest()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.take(now, rtt, nil, pinged(class, nil))
	w.publish()
	if !w.restful() {
		w.resting = nil
	}
	return w.resting != nil
}

// listen takes the reply of one who dozes, and tells whether there is no more to look for.
func (r *rest) listen(now time.Time) bool {
	got, p := r.heard(now)
	r.w.pursue(got.info, p)
	return !timedOut(got.err)
}

// heard looks for the reply.
func (r *rest) heard(now time.Time) (got reply, p *plan) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.w.resting != r {
		return reply{}, nil
	}
	return r.look(now), r.w.plan
}

// look takes the reply to what was asked last, if it has come. The caller holds the watch's mu.
func (r *rest) look(now time.Time) (got reply) {
	w := r.w
	if r.asked == nil {
		got = pinged(r.conn.PingCame())
	} else {
		got = informed(r.conn.InfoCame())
		got.asked = r.askedAt
	}
	switch {
	case timedOut(got.err):
		return got
	case got.err != nil:
		r.lose(now, got.err)
		return got
	}
	w.take(now, r.conn.RTT(), r.asked, got)
	r.asked = nil
	w.publish()
	if !w.restful() {
		w.rouse()
	}
	return got
}

// nudge sends the probe that is due, and tells whether the rest goes on. It ends where the goroutine is to ask by itself, and
// where the last reply is outstanding: then it waits for it, and judges.
func (r *rest) nudge(now time.Time) bool {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resting != r {
		return false
	}
	if !r.ask(now) {
		r.due = true
		w.rouse()
		return false
	}
	w.track.Sent(now)
	w.notePending(now)
	return true
}

// ask sends a PING, or an INFO where that can be had without the goroutine. The caller holds the watch's mu.
func (r *rest) ask(now time.Time) bool {
	w := r.w
	switch {
	case !w.wantsInfo(now):
		return r.conn.Nudge()
	case !r.dozes, w.urgent, w.deciding(now) && !w.f.yields(), !r.conn.NudgeInfo():
		return false
	}
	r.asked, r.askedAt, w.awaited = w.plan, now, w.deciding(now)
	return true
}
