package probe

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
)

// connect tries until a connection stands. It returns nil when the attempt was aborted.
func (w *watch) connect(ctx context.Context) *instance.Conn {
	for ctx.Err() == nil {
		if delay := w.retryDelay(); delay > 0 {
			for until := time.Now().Add(delay); !w.wait(ctx, until, nil) && ctx.Err() == nil; {
				continue
			}
		}
		for !w.wait(ctx, time.Now().Add(time.Hour), w.f.dials) && ctx.Err() == nil {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if conn, ok := w.attempt(ctx); ok {
			return conn
		}
	}
	w.dropped()
	return nil
}

const (
	// redialsPerSecond is how many attempts to reach lost instances a node makes in a second, wherever that leaves each of them one in
	// rarestRedial: a rack that is gone must not keep a node from failing its masters over.
	redialsPerSecond = 100
	rarestRedial     = 10 * time.Second
	// lastLead is how long before the verdict the last attempt is made, at least, where many masters are lost: the last attempts of all are to be
	// over when the first verdict falls, for from then on others wait.
	lastLead = 50 * time.Millisecond
)

// redialPeriod is the pause between two attempts to reach an instance, of so many that are lost.
func redialPeriod(period time.Duration, lost int64) time.Duration {
	return max(period, min(time.Duration(lost)*time.Second/redialsPerSecond, rarestRedial))
}

// retryDelay is nothing before the first attempt after a break, then the period of probes, or more where many are lost, with one
// attempt more just before the verdict, so that a process that comes back within down-after is found. It is jittered: many may
// have broken at once.
func (w *watch) retryDelay() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failures == 0 {
		return 0
	}
	period := w.plan.period()
	pause := redialPeriod(period, w.f.lost.Load())
	delay := pause*3/4 + rand.N(pause/2)
	at, pending := w.track.Deadline(w.plan.limits)
	lead, spread := period/8, period/4
	if w.f.yields() {
		lead, spread = max(lead, lastLead), max(spread, lastLead)
	}
	if left := time.Until(at); pending && left > lead+spread {
		return min(delay, left-lead-rand.N(spread))
	}
	return delay
}

// attempt dials once. The caller holds a slot, which is given back.
func (w *watch) attempt(ctx context.Context) (*instance.Conn, bool) {
	release := w.holdSlot()
	defer release()
	w.mu.Lock()
	p := w.plan
	now := time.Now()
	w.track.Sent(now)
	w.failures++
	w.publish()
	until, verdict := now.Add(p.patience()), false
	if d, ok := w.track.Deadline(p.limits); ok && d.Before(until) {
		until, verdict = d, true
	}
	w.mu.Unlock()
	within, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	w.loop.Rest()
	conn, err := w.f.o.Dialer.Dial(within, p.target, clientName)
	w.loop.Step()
	done := time.Now()
	if err == nil {
		return conn, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var refusal instance.ReplyError
	switch {
	case ctx.Err() != nil:
		w.track.Dropped()
	case errors.As(err, &refusal):
		w.track.Dropped()
		w.answered(done, detector.ProbeLogin, detector.ClassifyReply(refusal.Text))
	case timedOut(err) && verdict:
		w.track.Dropped() // cut short by the verdict, which stands on what was seen before
	default:
		w.track.Broken(done, instance.CauseOf(err))
	}
	w.publish()
	if timedOut(err) {
		w.judge(done, until)
	}
	return nil, false
}

// slotTime is how long a dial holds its slot at most: dials to hosts that swallow packets must not keep the living waiting.
const slotTime = 100 * time.Millisecond

func (w *watch) holdSlot() (release func()) {
	free := sync.OnceFunc(func() { <-w.f.dials })
	t := time.AfterFunc(slotTime, free)
	return func() {
		t.Stop()
		free()
	}
}

// clientName is what the instance's CLIENT LIST shows for a probe's connection.
const clientName = "sentineld-probe"
