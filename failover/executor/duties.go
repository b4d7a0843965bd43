package executor

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftsentinel/raftsentinel/failover"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// duties is one leadership. Its loop decides which sets to look at; a worker performs the steps of one set, and no set has
// two workers.
type duties struct {
	e    *Executor
	term uint64
	// since is the index of the state with which this leadership began.
	since uint64
	sets  map[string]*set
	due   map[string]bool
	// watchful are the sets that may be due without a change of the state: few of them, where little is amiss.
	watchful map[string]*set
	// done brings back the set of a worker that has finished.
	done    chan *set
	running int
	// urgent counts the workers whose set has no master.
	urgent  atomic.Int64
	seen    uint64 // index of the state last looked at
	workers sync.WaitGroup
	// refused are the voters that did not take leadership over when it was offered to them.
	refused sync.Map
}

// Duties does the leader's work until ctx ends, and returns after its last goroutine has. The term is that of the
// leadership, whose Mark is applied here.
func (e *Executor) Duties(ctx context.Context, term uint64) error {
	d := &duties{e: e, term: term, sets: map[string]*set{}, due: map[string]bool{}, watchful: map[string]*set{}, done: make(chan *set)}
	d.since = e.o.Cluster.State().Index()
	e.lastAround.Store(nil)
	e.lead(true)
	defer e.lead(false)
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		for ; d.running > 0; d.running-- {
			<-d.done
		}
		d.workers.Wait()
		for _, s := range d.sets {
			s.hangUp()
			e.forget(s.name)
		}
	}()
	e.o.Log.Info("leading", "term", term)
	d.workers.Go(func() { d.resolve(ctx) })
	tick := time.NewTicker(slowTick)
	defer tick.Stop()
	d.all(e.o.Cluster.State())
	for {
		e.loop.Step()
		state, seen := e.o.Cluster.Changed(), e.o.Fleet.Changed()
		d.markNews(time.Now())
		d.look(ctx, time.Now())
		timer := time.NewTimer(d.nextLook(time.Now()))
		e.loop.Rest()
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-state:
		case <-seen:
		case s := <-d.done:
			d.finished(s)
		case <-timer.C:
		case <-tick.C:
			if d.running < e.o.Parallel { // else nobody could take them on, and to look through them costs those that are urgent
				d.all(e.o.Cluster.State())
			}
		}
		timer.Stop()
	}
}

// all makes every set due.
func (d *duties) all(s *raftfsm.State) {
	for m := range s.Masters() {
		d.due[m.Name] = true
	}
}

// markNews makes those due of which something was observed, where their next step depends on it, or their master has not answered
// this node for half of down-after: the replicas are asked for INFO then, which is news.
func (d *duties) markNews(now time.Time) {
	st := d.e.o.Cluster.State()
	for _, name := range d.e.o.Fleet.News() {
		s := d.sets[name]
		if s == nil || s.busy { // a busy one is looked at when its worker is done
			continue
		}
		if m, ok := st.Master(name); s.cared || ok && d.isSilent(m, now) {
			d.due[name] = true
		}
	}
}

// isSilent tells whether the master of a set that is not resting has not answered this node for half of down-after.
func (d *duties) isSilent(m *raftfsm.Master, now time.Time) bool {
	o, ok := d.e.o.Fleet.Observe(m.Address)
	return ok && !m.Resting() && !o.AuthRejected && !o.LastReply.IsZero() && now.Sub(o.LastReply) >= m.Options.DownAfter/2
}

func (d *duties) finished(s *set) {
	d.running--
	s.busy = false
	d.due[s.name] = true
}

// look decides about every set that is due, and starts workers for those that have something to do.
func (d *duties) look(ctx context.Context, now time.Time) {
	st := d.e.o.Cluster.State()
	if st.Index() < d.seen {
		d.all(st) // another history: restored
	} else {
		for name := range st.ChangedSince(d.seen) {
			d.due[name] = true
		}
	}
	d.seen = st.Index()
	for name, s := range d.watchful {
		if !s.busy && !s.lookAt.IsZero() && !now.Before(s.lookAt) {
			d.due[name] = true
		}
	}
	if len(d.due) == 0 {
		return
	}
	for _, urgent := range []bool{true, false} {
		limit := d.e.o.Parallel // an urgent one does not wait for those that are busy with less
		if urgent {
			limit *= urgentShare
		}
		for name := range d.due {
			busy := d.running
			if !urgent {
				busy -= int(d.urgent.Load()) // those that are busy with more are not in the way of the others
			}
			if busy >= limit {
				break // the rest stays due until a worker is done
			}
			m, ok := st.Master(name)
			if ok && urgent != isUrgent(m) || !urgent && d.standsBack(name, now) {
				continue
			}
			d.consider(ctx, st, name, urgent)
		}
	}
}

// isUrgent: the set has no master, or is about to have another.
func isUrgent(m *raftfsm.Master) bool {
	return m.IsODown() || m.Failover != nil && !m.Failover.Switched
}

// yieldLimit is how long a set that has a new master stands back at most for those that have none: what is left to do for it, its
// new master's configuration, its other replicas, the story, is not what anybody waits for.
const yieldLimit = 500 * time.Millisecond

// standsBack tells whether a set has to wait until every other one has a master.
func (d *duties) standsBack(name string, now time.Time) bool {
	s := d.sets[name]
	return s != nil && !s.busy && now.Before(s.yields) && d.urgent.Load() > 0
}

// givesWay counts a set whose worker goes on among those that have no master, or no longer, and tells whether the worker is to leave
// the rest for later: where the set has just got its master and others wait for theirs. Where the old one gave way there are clients that
// wait to be let go.
func (d *duties) givesWay(s *set) bool {
	m, ok := d.e.o.Cluster.State().Master(s.name)
	urgent := ok && isUrgent(m)
	if urgent == s.urgent {
		return false
	}
	s.urgent = urgent
	if urgent { // it became so while its worker was at something else
		d.urgent.Add(1)
		return false
	}
	waiting := d.urgent.Add(-1) > 0
	if !waiting || !ok || m.Failover == nil || m.Failover.Kind == raftfsm.KindPlanned || m.Failover.HandedOver() {
		return false
	}
	s.yields = time.Now().Add(yieldLimit)
	s.lookAt = s.yields
	return true
}

// consider decides about one set that is due. There is a worker to be had.
func (d *duties) consider(ctx context.Context, st *raftfsm.State, name string, urgent bool) {
	delete(d.due, name)
	s := d.sets[name]
	if s != nil && s.busy {
		return // looked at again when its worker is done
	}
	if _, ok := st.Master(name); !ok {
		if s != nil {
			s.hangUp()
		}
		d.e.forget(name)
		delete(d.sets, name)
		delete(d.watchful, name)
		return
	}
	if s == nil {
		s = newSet(name)
		d.sets[name] = s
	}
	step := d.decide(s)
	if s.cared || !s.lookAt.IsZero() {
		d.watchful[name] = s
	} else {
		delete(d.watchful, name)
	}
	if step != nil {
		d.start(ctx, s, step, urgent)
	}
}

func (d *duties) start(ctx context.Context, s *set, step failover.Step, urgent bool) {
	s.busy, s.urgent, s.yields = true, urgent, time.Time{}
	d.running++
	if urgent {
		d.urgent.Add(1)
	}
	d.workers.Go(func() {
		d.work(ctx, s, step)
		if s.urgent {
			d.urgent.Add(-1)
		}
		d.done <- s
	})
}

// nextLook is the time until some set is to be looked at again. One that is due waits for a worker, or stands back for a while.
func (d *duties) nextLook(now time.Time) time.Duration {
	wait := time.Hour
	for name, s := range d.watchful {
		if !s.busy && !s.lookAt.IsZero() && (!d.due[name] || d.standsBack(name, now)) {
			wait = min(wait, max(s.lookAt.Sub(now), 0))
		}
	}
	return wait
}

// work performs steps of one set until there is nothing to do, one failed, or the set has a master and others have none.
func (d *duties) work(ctx context.Context, s *set, step failover.Step) {
	for ctx.Err() == nil && step != nil {
		if err := d.perform(ctx, s, step); err != nil {
			if ctx.Err() == nil {
				d.failed(s, step, err)
			}
			return
		}
		s.failures = 0
		if d.givesWay(s) {
			return
		}
		step = d.decide(s)
	}
}

// failed makes the set wait a little longer after each failure in a row.
func (d *duties) failed(s *set, step failover.Step, err error) {
	s.failures++
	wait := backoff(s.failures)
	s.notBefore = time.Now().Add(wait)
	d.e.o.Log.Warn("step failed, looking again", "master", s.name, "step", stepName(step), "error", err, "wait_ms", wait.Milliseconds())
}

// backoff is 10 ms, doubling up to 2 s.
func backoff(failures int) time.Duration {
	return min(10*time.Millisecond<<min(failures-1, 8), 2*time.Second)
}
