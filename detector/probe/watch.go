package probe

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/progress"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// watch probes one instance. Its one goroutine connects, probes and judges; only in the midst of a silence is there a
// second one, which tries another connection, and while it dozes there is none.
//
// Every wait of the goroutine, for the network too, is bounded by the moment at which the verdict falls, so that it falls
// then and not at the next probe.
type watch struct {
	f    *Fleet
	addr raftfsm.Addr
	seed uint64
	ctx  context.Context // ends with the watch
	stop context.CancelFunc
	// begins is when it connects for the first time; in the past, at once.
	begins time.Time
	sight  atomic.Pointer[sight]
	// pending is the sending of the oldest unanswered probe in nanoseconds since the fleet's origin, plus 1; 0 for none.
	pending atomic.Int64
	// heeded is when somebody asked this node about the instance last, in nanoseconds since the fleet's origin.
	heeded atomic.Int64
	woken  chan struct{}
	loop   progress.Loop // rests while it waits for time or the network

	mu    sync.Mutex
	plan  *plan
	track detector.Track
	info  *detector.Info
	// infoAt, infoPlan: when info came, or was asked for by the metronome, and the plan under which it was asked for.
	infoAt   time.Time
	roleAt   time.Time // since when it tells the role that info tells
	infoPlan *plan
	// infoDue is when an INFO is due; infoWaits: later where nobody goes by it.
	infoDue   time.Time
	infoWaits bool
	pingTime  time.Duration
	urgent    bool // an INFO is wanted off the grid
	awaited   bool // somebody waits for the INFO that was asked for last
	// abort ends what the goroutine does on its present connection, or its attempt to get one. Its caller holds mu.
	abort context.CancelFunc
	// rouse ends its listening on an idle connection.
	rouse func()
	// resting is the present rest, nil for none.
	resting *rest
	// failures counts attempts since the last reply.
	failures int
	// spare is a second connection that answered; seconding tells that one is being tried, seconded when one was tried last.
	spare     *instance.Conn
	seconding bool
	seconded  time.Time
	// lost, lostMaster and downMaster tell that the fleet counts it so.
	lost, lostMaster, downMaster bool
	ended                        bool // nothing is counted any more
}

// sight is what a watch publishes. It is immutable.
type sight struct {
	obs detector.Observation
	// plan under which the verdict holds, and the one under which the INFO was asked for; nil without one.
	plan, infoPlan *plan
}

var hashSeed = maphash.MakeSeed()

func newWatch(ctx context.Context, f *Fleet, p *plan) *watch {
	w := &watch{
		f: f, addr: p.target.Addr, seed: maphash.Comparable(hashSeed, p.target.Addr),
		woken: make(chan struct{}, 1), plan: p, rouse: func() {},
	}
	w.ctx, w.stop = context.WithCancel(ctx)
	w.heeded.Store(-int64(heededFor)) // never
	w.sight.Store(&sight{obs: detector.Observation{Addr: w.addr}, plan: p})
	return w
}

// run waits for its turn, and then probes until the watch is stopped.
func (w *watch) run() {
	w.loop.Step()
	w.wait(w.ctx, w.begins, nil) // or until it is woken: then something depends on it
	w.live(nil)
}

// live probes, from the beginning or from the end of a rest without a goroutine on, until the watch is stopped or rests so again:
// then it returns, and whoever ends the rest has another goroutine go on.
func (w *watch) live(from *rest) {
	w.loop.Step()
	for ; w.ctx.Err() == nil; from = nil {
		ctx, cancel := context.WithCancel(w.ctx)
		w.mu.Lock()
		w.abort = func() {
			cancel()
			w.rouse() // a rest does not hear of it
		}
		w.mu.Unlock()
		var conn *instance.Conn
		next := step(w.probe)
		if from == nil {
			conn = w.open(ctx)
		} else {
			conn, next = from.conn, w.getUp(ctx, from, from.conn.Wake())
		}
		dozes := conn != nil && w.serve(ctx, conn, next)
		cancel()
		if dozes {
			return
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
	if from != nil {
		_ = from.conn.Close()
	}
	w.leave()
}

// open gets a new connection, or takes the one that answered beside the last; nil where the attempt was aborted.
func (w *watch) open(ctx context.Context) *instance.Conn {
	w.mu.Lock()
	conn := w.spare
	w.spare = nil
	w.mu.Unlock()
	if conn == nil {
		aside(func() { conn = w.connect(ctx) })
	}
	if conn == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.track.Connected()
	w.infoDue, w.infoWaits = time.Time{}, false // another process may answer now
	return conn
}

// end stops the watch.
func (w *watch) end() {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rouse()
}

// leave undoes at its end what the watch has beside it.
func (w *watch) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.countLost(false, false)
	w.ended = true
	if w.spare != nil {
		_ = w.spare.Close()
		w.spare = nil
	}
	w.loop.Rest()
	w.f.members.Done()
}

// step is what a watch does next on its connection. It returns false when the connection is of no more use.
type step func(ctx context.Context, conn *instance.Conn) bool

// serve probes over the connection until it is of no more use, or dozes.
func (w *watch) serve(ctx context.Context, conn *instance.Conn, next step) (dozes bool) {
	for next != nil {
		ok := false
		aside(func() { ok = w.toil(ctx, conn, next) })
		if !ok {
			return false
		}
		if next, dozes = w.rest(ctx, conn); dozes {
			return true
		}
	}
	return false
}

// toil does what is next, and probes by itself until the watch can rest. It returns false when the connection is of no more use.
func (w *watch) toil(ctx context.Context, conn *instance.Conn, next step) bool {
	for next(ctx, conn) {
		w.mu.Lock()
		rests := w.restful()
		w.mu.Unlock()
		if rests {
			return true
		}
		next = w.idleAndProbe
	}
	return false
}

// aside calls f on a stack of its own. A stack that has grown once stays so, for whoever waits on it still uses more than the quarter up
// to which Go halves it; and the stacks of those at rest are most of what an instance costs.
func aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// idleAndProbe waits for the next probe by itself, and sends it.
func (w *watch) idleAndProbe(ctx context.Context, conn *instance.Conn) bool {
	return w.idle(ctx, conn) && w.probe(ctx, conn)
}

// idle listens on the connection until the next probe is due, or wanted at once. It returns false when the connection is
// of no more use.
func (w *watch) idle(ctx context.Context, conn *instance.Conn) bool {
	for {
		listen, cancel := context.WithCancel(ctx)
		w.mu.Lock()
		begun := time.Now()
		next, urgent := due(w.f.grid(), begun, w.period(begun), w.seed), w.urgent
		until := next
		if d, ok := w.track.Deadline(w.plan.limits); ok && d.Before(next) {
			until = d
		}
		w.rouse = cancel
		w.mu.Unlock()
		if urgent {
			cancel()
			return true
		}
		w.loop.Rest()
		err := conn.Idle(bounded{listen, until})
		w.loop.Step()
		cancel()
		now := time.Now()
		w.mu.Lock()
		switch {
		case ctx.Err() != nil:
			w.track.Dropped()
			w.publish()
		case timedOut(err):
			w.judge(now, until)
		case !errors.Is(err, context.Canceled):
			w.track.Broken(now, instance.CauseOf(err))
			w.publish()
		}
		w.mu.Unlock()
		switch {
		case ctx.Err() != nil, !timedOut(err) && !errors.Is(err, context.Canceled):
			return false
		case !now.Before(next):
			return true
		}
	}
}

func (w *watch) dropped() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.track.Dropped()
	w.publish()
}

// wait sleeps until the moment, or until a slot is free where slots are given, and judges the instance whenever a deadline
// passes meanwhile. It returns false when the context ends or the watch is woken.
func (w *watch) wait(ctx context.Context, until time.Time, slots chan<- struct{}) bool {
	for {
		w.mu.Lock()
		next := until
		if d, ok := w.track.Deadline(w.plan.limits); ok && d.Before(next) {
			next = d
		}
		w.mu.Unlock()
		w.loop.Rest()
		slept, got := w.sleep(ctx, slots, next)
		w.loop.Step()
		if !slept {
			return got
		}
		now := time.Now()
		w.mu.Lock()
		w.judge(now, next)
		w.mu.Unlock()
		if !now.Before(until) {
			return true
		}
	}
}

// sleep returns at the moment, or before it where slept is false: then got tells whether a slot was got.
func (w *watch) sleep(ctx context.Context, slots chan<- struct{}, until time.Time) (slept, got bool) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, false
	case <-w.woken:
		return false, false
	case slots <- struct{}{}:
		return false, true
	case <-timer.C:
		return true, false
	}
}

// judge brings the verdict up to date at a moment that had been planned. Where the process was not there in between, it
// counts afresh instead. The caller holds mu.
func (w *watch) judge(now, planned time.Time) {
	patience := w.plan.limits.DownAfter
	if detector.Late(planned, now, patience) || detector.Doubts(w.f.Overdue(now), patience) {
		w.track.Doubt(now)
	}
	if w.track.Judge(now, w.plan.limits) {
		w.publish()
	}
}

// paused counts afresh after a pause of the process.
func (w *watch) paused(pause time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if detector.Doubts(pause, w.plan.limits.DownAfter) {
		w.track.Doubt(time.Now())
	}
}

// refresh asks for an INFO now.
func (w *watch) refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.urgent = true
	w.stir()
}

// stir ends the goroutine's present wait. The caller holds mu.
func (w *watch) stir() {
	w.rouse()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// replan goes on under another plan. Probes under way are disturbed only where the way to the instance changed, or where a
// silence is to be measured by another limit; the count of the silence goes on in any case, and what is at hand is judged
// anew at once.
func (w *watch) replan(p *plan) {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.plan
	w.plan = p
	_, silent := w.track.Silence()
	if w.abort != nil && (!p.sameWay(was) || silent && p.limits != was.limits) {
		w.abort()
		w.failures = 0
	}
	if p.limits != was.limits {
		w.track.Judge(time.Now(), p.limits)
	}
	news := !p.sameFacts(was)
	if news {
		w.infoDue, w.infoWaits = time.Time{}, false
	}
	leading := w.f.o.Cluster.Leading()
	// With many at once, an INFO of this period serves: it was asked for because a failover was near (deciding).
	// It may be looked at a step after it has come.
	served := w.f.yields() && time.Since(w.infoAt) <= p.period()+gridStep
	decided := leading && p.hot && !was.hot && !served
	if decided || p.primary && news && !w.f.yields() {
		w.urgent = true
	}
	w.publish()
	if w.urgent || !p.sameWay(was) || p.limits != was.limits {
		w.stir()
	}
}

// publish makes what is known visible, and tells those to whom it matters. The caller holds mu.
func (w *watch) publish() {
	was := w.sight.Load()
	next := &sight{obs: w.track.Observation(w.addr), plan: w.plan, infoPlan: w.infoPlan}
	next.obs.PingTime, next.obs.Info, next.obs.InfoAt, next.obs.RoleSince = w.pingTime, w.info, w.infoAt, w.roleAt
	w.notePending(next.obs.LastPingSent)
	w.sight.Store(next)
	_, silent := w.track.Silence()
	w.countLost(next.obs.Down, silent && w.failures > 1)
	verdict := stanceOf(next.obs) != stanceOf(was.obs)
	if verdict {
		w.f.reporter.mark(w.plan.set.Name)
		w.f.reporter.wake()
	}
	if next.obs.Info != was.obs.Info && (next.facts() != *w.plan.known || w.plan.primary && next.listsOthers()) {
		w.f.stater.mark(w.plan.set.Name)
		w.f.stater.wake()
	}
	if verdict || next.obs.Info != was.obs.Info && (w.awaited || next.obs.Info.Differs(was.obs.Info)) {
		w.f.tell(w.plan.set.Name)
	}
	if verdict && next.obs.Down != was.obs.Down {
		w.logVerdict(next.obs)
	}
}

// countLost has the fleet count the watch among those whose instance is held down, or does not answer. The caller holds mu.
func (w *watch) countLost(down, silent bool) {
	lost := (down || silent) && !w.ended
	count(func(by int64) { w.f.lost.Add(by) }, &w.lost, lost)
	count(w.f.lostMasters.add, &w.lostMaster, lost && w.plan.primary)
	count(w.f.downMasters.add, &w.downMaster, lost && w.plan.primary && down)
}

func count(add func(by int64), counted *bool, is bool) {
	switch {
	case is && !*counted:
		add(1)
	case !is && *counted:
		add(-1)
	}
	*counted = is
}

func (w *watch) logVerdict(o detector.Observation) {
	if !o.Down {
		w.f.o.Log.Info("instance is not subjectively down any more", "master", w.plan.set.Name, "instance", w.addr.String())
		return
	}
	w.f.o.Log.Info("instance is subjectively down", "master", w.plan.set.Name, "instance", w.addr.String(),
		"cause", raftfsm.CauseWord(o.Cause), "silent_ms", time.Since(o.DownSince).Milliseconds())
}

func (w *watch) notePending(sent time.Time) {
	if sent.IsZero() {
		w.pending.Store(0)
		return
	}
	w.pending.Store(int64(sent.Sub(w.f.origin)) + 1)
}

func (w *watch) pendingSince() time.Time {
	n := w.pending.Load()
	if n == 0 {
		return time.Time{}
	}
	return w.f.origin.Add(time.Duration(n - 1))
}
