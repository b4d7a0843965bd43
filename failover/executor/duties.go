package executor

import (
	"context"
	"maps"
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
	due   due
	// agenda are the sets that are due at a time, whether or not the state changes.
	agenda agenda
	// turn are the sets that the slow look at all has not come to yet, of those that there were at turned; share of them at a time.
	turn   []string
	turned time.Time
	share  int
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
	d := &duties{e: e, term: term, sets: map[string]*set{}, due: newDue(), done: make(chan *set)}
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
	tick := time.NewTicker(slowTick / slowShares)
	defer tick.Stop()
	d.all(e.o.Cluster.State())
	for {
		e.loop.Step()
		state, seen := e.o.Cluster.Changed(), e.o.Fleet.Changed()
		d.markNews(time.Now())
		d.look(ctx, time.Now())
		timer := time.NewTimer(d.agenda.wait(time.Now()))
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
			if d.running < e.o.Parallel { // else nobody could take them on
				d.lookOn(e.o.Cluster.State())
			}
		}
		timer.Stop()
	}
}

// due are sets to be looked at.
type due struct {
	// urgent are those that have no master. back are those that stand back for them; they are on the agenda for when they do no more.
	urgent, other, back map[string]bool
}

func newDue() due {
	return due{urgent: map[string]bool{}, other: map[string]bool{}, back: map[string]bool{}}
}

func (d due) drop(name string) {
	delete(d.urgent, name)
	delete(d.other, name)
	delete(d.back, name)
}

// mark makes a set due. How urgent it is changes only with the state, and then it is marked again.
func (d *duties) mark(st *raftfsm.State, name string, now time.Time) {
	d.due.drop(name)
	m, ok := st.Master(name)
	switch {
	case ok && isUrgent(m):
		d.due.urgent[name] = true
	case d.standsBack(name, now):
		d.due.back[name] = true
		d.agenda.put(d.sets[name], d.sets[name].yields)
	default:
		d.due.other[name] = true
	}
}

// all makes every set due.
func (d *duties) all(st *raftfsm.State) {
	now := time.Now()
	for m := range st.Masters() {
		d.mark(st, m.Name, now)
	}
}

// lookOn makes the next share of the sets due that are looked at though nothing is known to have changed.
func (d *duties) lookOn(st *raftfsm.State) {
	now := time.Now()
	if len(d.turn) == 0 {
		if now.Sub(d.turned) < slowTick-slowTick/slowShares {
			return
		}
		d.turned = now
		for m := range st.Masters() {
			d.turn = append(d.turn, m.Name)
		}
		d.share = (len(d.turn) + slowShares - 1) / slowShares
	}
	n := min(d.share, len(d.turn))
	for _, name := range d.turn[:n] {
		d.mark(st, name, now)
	}
	d.turn = d.turn[n:]
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
			d.mark(st, name, now)
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
	d.agenda.put(s, s.lookAt)
	d.mark(d.e.o.Cluster.State(), s.name, time.Now())
}

// look decides about every set that is due, and starts workers for those that have something to do.
func (d *duties) look(ctx context.Context, now time.Time) {
	st := d.e.o.Cluster.State()
	if st.Index() < d.seen {
		d.all(st) // another history: restored
	} else {
		for name := range st.ChangedSince(d.seen) {
			d.mark(st, name, now)
		}
	}
	d.seen = st.Index()
	for s := d.agenda.take(now); s != nil; s = d.agenda.take(now) {
		d.mark(st, s.name, now)
	}
	if d.urgent.Load() == 0 {
		maps.Copy(d.due.other, d.due.back)
		clear(d.due.back)
	}
	// An urgent one does not wait for those that are busy with less, and those that are busy with more are not in the way of the others.
	for name := range d.due.urgent {
		if d.running >= urgentShare*d.e.o.Parallel {
			break // the rest stays due until a worker is done
		}
		d.consider(ctx, st, name, true)
	}
	for name := range d.due.other {
		if d.running-int(d.urgent.Load()) >= d.e.o.Parallel {
			break
		}
		d.consider(ctx, st, name, false)
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
	d.due.drop(name)
	s := d.sets[name]
	if s != nil && s.busy {
		return // looked at again when its worker is done
	}
	if _, ok := st.Master(name); !ok {
		if s != nil {
			s.hangUp()
			d.agenda.drop(s)
		}
		d.e.forget(name)
		delete(d.sets, name)
		return
	}
	if s == nil {
		s = newSet(name)
		d.sets[name] = s
	}
	step := d.decide(s)
	if step == nil {
		d.agenda.put(s, s.lookAt)
		return
	}
	d.agenda.drop(s) // what it is to be looked at for next is its worker's to say
	d.start(ctx, s, step, urgent)
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
