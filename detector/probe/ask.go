package probe

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// bounded is a context with a deadline that costs no timer: a connection takes the deadline for its own. It is not for
// dialling, which waits for Done.
type bounded struct {
	context.Context
	until time.Time
}

// Deadline is the bound.
func (b bounded) Deadline() (time.Time, bool) { return b.until, true }

// lastLook is for what has arrived and was not seen yet.
const lastLook = time.Millisecond

// InfoEvery is how often INFO takes the place of a PING; more rarely where probes are stretched, but not beyond rarestInfo: a reading of
// more than 20 s is too old for the checks of load balancers and for finding a set in order.
const (
	InfoEvery  = 10 * time.Second
	rarestInfo = 12 * time.Second
	// seldomInfo is how often a node that does not lead asks where probes are stretched, and heededFor how long after somebody has asked
	// it about an instance it asks as often as ever: what thousands say is the leader's to know, and costs as much as all else.
	seldomInfo = time.Minute
	heededFor  = time.Minute
)

// restingSlack is how late an INFO may be: where the next probe would come later, it is asked for now. yieldingSlack is the same while
// probes yield, for an INFO costs three PINGs.
const (
	restingSlack  = 2500 * time.Millisecond
	yieldingSlack = 7500 * time.Millisecond
)

func (f *Fleet) infoSlack() time.Duration {
	if f.yields() {
		return yieldingSlack
	}
	return restingSlack
}

// infoSoon is how soon it is asked for again where it was refused, and of a replica whose link is down: until it is read in sync under the history
// that its master has now, it cannot be promoted without its master. Redis Sentinel asks such a one every second, too.
const infoSoon = time.Second

// reply is what came of a probe.
type reply struct {
	kind  detector.ProbeKind
	class detector.ReplyClass
	info  *detector.Info
	// asked is when an INFO was asked for by the metronome, where nobody waits for the reply: what it tells may be as old as that, however
	// late it is looked at. Zero for any other.
	asked time.Time
	err   error // the connection failed
}

// probe sends one probe and waits for its reply, however long: meanwhile it judges, and has another connection tried. It
// returns false when the connection is of no more use.
func (w *watch) probe(ctx context.Context, conn *instance.Conn) bool {
	w.mu.Lock()
	now := time.Now()
	asked, kind := w.plan, w.kind(now)
	w.track.Sent(now)
	w.notePending(now)
	until := w.bound(now)
	w.mu.Unlock()
	return w.heard(ctx, conn, asked, w.insist(ctx, conn, until, w.ask(bounded{ctx, until}, conn, kind, false)))
}

// resume waits for the reply to what the metronome asked last in a rest.
func (w *watch) resume(r *rest) step {
	return func(ctx context.Context, conn *instance.Conn) bool {
		w.mu.Lock()
		asked, kind, at := w.plan, detector.ProbePing, time.Time{}
		if r.asked != nil {
			asked, kind, at = r.asked, detector.ProbeInfo, r.askedAt
		}
		until := w.bound(time.Now())
		w.mu.Unlock()
		late := w.insist(ctx, conn, until, w.ask(bounded{ctx, until}, conn, kind, true))
		late.asked = at
		return w.heard(ctx, conn, asked, late)
	}
}

// insist takes up the waiting again for as long as it timed out. The last wait was until the given moment.
func (w *watch) insist(ctx context.Context, conn *instance.Conn, until time.Time, r reply) reply {
	kind := r.kind
	for timedOut(r.err) && ctx.Err() == nil {
		if r = w.ask(bounded{ctx, time.Now().Add(lastLook)}, conn, kind, true); !timedOut(r.err) {
			break
		}
		now := time.Now()
		w.mu.Lock()
		w.judge(now, until.Add(lastLook))
		w.publish()
		w.second(ctx)
		until = w.bound(now)
		w.mu.Unlock()
		r = w.ask(bounded{ctx, until}, conn, kind, true)
	}
	return r
}

// kind chooses the next probe. The caller holds mu.
func (w *watch) kind(now time.Time) detector.ProbeKind {
	if w.wantsInfo(now) {
		w.awaited = w.urgent || w.deciding(now)
		w.urgent = false
		return detector.ProbeInfo
	}
	return detector.ProbePing
}

// wantsInfo tells whether the next probe is to be an INFO. The caller holds mu.
func (w *watch) wantsInfo(now time.Time) bool {
	due := w.infoDue
	if w.infoWaits && w.unheeded(now) {
		due = due.Add(seldomInfo - rarestInfo)
	}
	return w.urgent || !now.Before(due) || w.deciding(now) || now.Add(w.period(now)).After(due.Add(w.f.infoSlack()))
}

// unheeded tells whether nobody goes by what this node reads of the instance: another one leads, and nobody has asked this one lately.
func (w *watch) unheeded(now time.Time) bool {
	return w.f.stretch.Load() > 1000 && !w.f.o.Cluster.Leading() && now.Sub(w.f.origin)-time.Duration(w.heeded.Load()) > heededFor
}

// deciding tells whether this node may have to decide about a failover of the set: it leads, and there is one, or one is near. What
// the instances say is then kept fresh, so that nobody has to wait for it. Where another node leads, three would ask for what one
// decides by; one that takes the lead over asks anew. While probes yield, whoever carries a failover out asks for what that takes, and
// the rest can wait.
func (w *watch) deciding(now time.Time) bool {
	return w.f.o.Cluster.Leading() && !(w.plan.set.Failover != nil && w.f.yields()) && (w.plan.hot || w.foreboding(now))
}

// foreboding tells whether the set's master has been silent towards this node for half of down-after.
func (w *watch) foreboding(now time.Time) bool {
	if w.plan.primary {
		return false
	}
	o, ok := w.f.Observe(w.plan.head.Addr)
	return ok && !o.LastReply.IsZero() && now.Sub(o.LastReply) > w.plan.limits.DownAfter/2
}

// bound is how long to wait for a reply before something is to be done: at half of down-after another connection is tried,
// then the verdict falls, then one is tried again and again. The caller holds mu.
func (w *watch) bound(now time.Time) time.Time {
	later := now.Add(w.plan.patience())
	since, silent := w.track.Silence()
	deadline, ok := w.track.Deadline(w.plan.limits)
	if !ok {
		return later
	}
	if half := since.Add(w.plan.limits.DownAfter / 2); silent && now.Before(half) && half.Before(deadline) {
		return half
	}
	if now.Before(deadline) {
		return deadline
	}
	return later
}

// heard takes what came of a probe.
func (w *watch) heard(ctx context.Context, conn *instance.Conn, asked *plan, r reply) bool {
	ok, p := w.record(ctx, conn, asked, r)
	w.pursue(r.info, p)
	return ok
}

// pursue has the master asked where a replica is in sync under a history that the state does not know of: it has begun one. It is called
// without w's lock, for the other watch may be asking in turn.
func (w *watch) pursue(i *detector.Info, p *plan) {
	if i != nil && i.InSync() && !p.ownHistory(i.ReplID) && !p.primary {
		w.f.Refresh(p.head.Addr)
	}
}

// record notes what came of a probe, and gives the plan that stood then.
func (w *watch) record(ctx context.Context, conn *instance.Conn, asked *plan, r reply) (ok bool, p *plan) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case r.err == nil:
		w.take(now, conn.RTT(), asked, r)
	case w.spare != nil, ctx.Err() != nil:
		w.track.Dropped()
	default:
		w.track.Broken(now, instance.CauseOf(r.err))
	}
	w.judge(now, now)
	w.publish()
	return r.err == nil && ctx.Err() == nil, w.plan
}

// take takes a reply. The caller holds mu.
func (w *watch) take(now time.Time, rtt time.Duration, asked *plan, r reply) {
	w.pingTime = rtt
	if r.info != nil {
		w.track.Process(now, r.info.RunID)
		if w.info == nil || w.info.Role != r.info.Role {
			w.roleAt = now
		}
		w.info, w.infoAt, w.infoPlan = r.info, now, asked
		if !r.asked.IsZero() {
			w.infoAt = r.asked
		}
		w.infoDue, w.infoWaits = now.Add(min(InfoEvery*time.Duration(w.f.stretch.Load())/1000, rarestInfo)), true
		if r.info.Role == raftfsm.RoleReplica && !r.info.MasterLinkUp && !w.f.yields() {
			w.infoDue, w.infoWaits = now.Add(infoSoon), false
		}
		if !asked.sameFacts(w.plan) {
			w.infoDue, w.infoWaits = now, false
		}
	} else if r.kind == detector.ProbeInfo {
		w.infoDue, w.infoWaits = now.Add(infoSoon), false
	}
	w.answered(now, r.kind, r.class)
}

// answered records a reply, on whichever connection. The caller holds mu.
func (w *watch) answered(now time.Time, kind detector.ProbeKind, class detector.ReplyClass) {
	w.track.Answered(now, kind, class)
	if class.Acceptable() {
		w.failures = 0
	}
	w.track.Judge(now, w.plan.limits)
}

// second tries another connection while the first is silent: a firewall may have dropped the established flow. An answer
// on either counts. The caller holds mu.
func (w *watch) second(ctx context.Context) {
	now := time.Now()
	if w.seconding || w.spare != nil || now.Before(w.seconded.Add(redialPeriod(0, w.f.lost.Load()))) {
		return
	}
	w.seconding, w.seconded = true, now
	w.track.Sent(now)
	p, until := w.plan, now.Add(w.plan.patience())
	w.f.members.Go(func() {
		within, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		conn, class, err := w.tryAnother(within, p)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seconding = false
		var refusal instance.ReplyError
		switch {
		case err == nil:
			w.answered(time.Now(), detector.ProbePing, class)
		case errors.As(err, &refusal):
			w.answered(time.Now(), detector.ProbeLogin, detector.ClassifyReply(refusal.Text))
		default:
			return // no evidence: the first connection stands
		}
		w.publish()
		if conn == nil {
			return
		}
		if !class.Acceptable() || ctx.Err() != nil {
			_ = conn.Close()
			return
		}
		w.spare = conn
		w.abort()
	})
}

func (w *watch) tryAnother(ctx context.Context, p *plan) (*instance.Conn, detector.ReplyClass, error) {
	select {
	case <-ctx.Done():
		return nil, detector.ReplyNone, ctx.Err()
	case w.f.dials <- struct{}{}:
	}
	release := w.holdSlot()
	conn, err := w.f.o.Dialer.Dial(ctx, p.target, clientName)
	release()
	if err != nil {
		return nil, detector.ReplyNone, err
	}
	class, err := conn.Ping(ctx)
	if err != nil {
		_ = conn.Close()
		return nil, class, err
	}
	return conn, class, nil
}

// ask rests while it waits for the reply.
func (w *watch) ask(ctx context.Context, conn *instance.Conn, kind detector.ProbeKind, late bool) reply {
	w.loop.Rest()
	defer w.loop.Step()
	return ask(ctx, conn, kind, late)
}

// ask sends a probe, or reads on for the reply to the last one.
func ask(ctx context.Context, conn *instance.Conn, kind detector.ProbeKind, late bool) reply {
	switch {
	case kind == detector.ProbePing && late:
		return pinged(conn.PingLate(ctx))
	case kind == detector.ProbePing:
		return pinged(conn.Ping(ctx))
	case late:
		return informed(conn.InfoLate(ctx))
	}
	return informed(conn.Info(ctx))
}

// pinged is what came of a PING.
func pinged(class detector.ReplyClass, err error) reply {
	return reply{kind: detector.ProbePing, class: class, err: err}
}

// informed is what came of an INFO.
func informed(info *detector.Info, err error) reply {
	r := reply{kind: detector.ProbeInfo, info: info, err: err}
	var refusal instance.ReplyError
	switch {
	case errors.As(r.err, &refusal):
		r.class, r.err = detector.ClassifyReply(refusal.Text), nil
	case r.err != nil:
	case r.info.Loading:
		r.class = detector.ReplyLoading
	default:
		r.class = detector.ReplyPong
	}
	return r
}

func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
