package probe

import (
	"context"
	"maps"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// plan is how one instance is to be probed, as the state has it. It is immutable.
type plan struct {
	// set is what this plan was made of, nobody's to change.
	set    *raftfsm.Master
	target instance.Target
	limits detector.Limits
	// known is the instance in the state, nobody else's to change.
	known *raftfsm.Instance
	// primary: it is the committed master; head is that one, as the state has it.
	primary bool
	head    *raftfsm.Instance
	// hot: a verdict stands against the set's master, or a failover is open: every probe of the leader is an INFO, unless probes yield to a failover that is open.
	hot bool
	// members counts changes of the set that took instances away, so that an older list of replicas does not bring them back.
	members uint64
}

// sameWay tells whether connections made under q serve p too.
func (p *plan) sameWay(q *plan) bool {
	a, b := p.target, q.target
	return a.User == b.User && a.Pass == b.Pass && a.FormerPass == b.FormerPass && (a.TLS == nil) == (b.TLS == nil) &&
		maps.Equal(a.Rename, b.Rename)
}

// sameFacts tells whether an INFO that was asked for under q may be compared with the state that p came from. One from
// before a change could only undo it.
func (p *plan) sameFacts(q *plan) bool {
	return p.set.Generation == q.set.Generation && *p.known == *q.known && p.members == q.members
}

// sets is what the follower of the state remembers: the instances of each set.
type sets map[string]*set

type set struct {
	addrs   map[raftfsm.Addr]bool
	members uint64
}

// follow keeps the fleet as the state wants it until ctx ends. A node that is out of its cluster probes nothing more. Only masters that changed are looked at.
func (f *Fleet) follow(ctx context.Context) {
	known := sets{}
	var revision uint64
	var cluster string
	defer f.loop.Rest()
	for {
		f.loop.Step()
		changed := f.o.Cluster.Changed()
		s := f.o.Cluster.State()
		if s.Index() < revision || s.Cluster().ID != cluster {
			revision = 0 // another history: restored or recovered
		}
		f.sync(ctx, known, s, revision)
		revision, cluster = s.Index(), s.Cluster().ID
		f.loop.Rest()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-f.o.Cluster.Removed():
			f.sync(ctx, known, raftfsm.New(), 0)
			<-ctx.Done()
			return
		}
	}
}

func (f *Fleet) sync(ctx context.Context, known sets, s *raftfsm.State, revision uint64) {
	for name := range s.ChangedSince(revision) {
		f.syncSet(ctx, known, s, name)
	}
	if len(known) != s.MasterCount() { // a snapshot does not list what was removed before it
		for name := range known {
			if _, ok := s.Master(name); !ok {
				f.syncSet(ctx, known, s, name)
			}
		}
	}
	f.admit(revision == 0)
	f.phase.Store(int64(phase(s, f.o.Cluster.RaftID())))
	f.stretch.Store(max(1000, f.demand/probesPerSecond))
	f.yielding.Store(max(1000, f.demand/yieldingProbes))
	f.reporter.wake()
	f.stater.wake()
}

func (f *Fleet) syncSet(ctx context.Context, known sets, s *raftfsm.State, name string) {
	before := known[name]
	if before == nil {
		before = &set{}
	}
	m, ok := s.Master(name)
	now := map[raftfsm.Addr]bool{}
	if ok {
		for _, in := range m.Instances {
			now[in.Addr] = true
		}
	}
	members := before.members
	for a := range before.addrs {
		if now[a] {
			continue
		}
		members++
		if other, owned := s.Owner(a); owned {
			f.syncInstance(ctx, other, a, 0)
		} else if w, watched := f.watch(a); watched {
			f.demand -= w.sight.Load().plan.rate()
			w.end()
			f.watches.Delete(a)
			f.watched--
		}
	}
	if !ok {
		delete(known, name)
		return
	}
	known[name] = &set{addrs: now, members: members}
	for _, in := range m.Instances {
		f.syncInstance(ctx, m, in.Addr, members)
	}
	f.reporter.mark(name)
	f.stater.mark(name)
}

// syncInstance begins or goes on probing a as the set m wants it.
func (f *Fleet) syncInstance(ctx context.Context, m *raftfsm.Master, a raftfsm.Addr, members uint64) {
	p := f.planFor(m, a, members)
	f.demand += p.rate()
	f.impatience.Store(min(f.impatience.Load(), int64(p.limits.DownAfter)))
	if w, ok := f.watch(a); ok {
		f.demand -= w.sight.Load().plan.rate()
		w.replan(p)
		return
	}
	w := newWatch(ctx, f, p)
	f.watches.Store(a, w)
	f.newcomers = append(f.newcomers, w)
	f.watched++
}

const (
	// newcomersPerSecond are the instances that a node connects to for the first time in a second, apart from a burst: a thousand that are
	// put under watch at once, each with a connection, INFO and what it tells, must not be what every further change waits for.
	newcomersPerSecond = 100
	// foundPerSecond is the same for those found at a start, where nothing matters more.
	foundPerSecond  = 500
	newcomersAtOnce = 64
	// newcomerLimit is how long it would take to connect to everything that is watched: with many it is done faster.
	newcomerLimit = 30 * time.Second
)

// admit begins the new watches and spreads their first connections, half of them for masters, who do not wait for replicas. found: they are no
// news to others.
func (f *Fleet) admit(found bool) {
	gap := time.Second / newcomersPerSecond
	if found {
		gap = time.Second / foundPerSecond
	}
	gap = 2 * min(gap, newcomerLimit/time.Duration(max(f.watched, 1)))
	soonest := time.Now().Add(-newcomersAtOnce / 2 * gap)
	for _, w := range f.newcomers {
		last := f.admitted[w.plan.primary]
		if last.Before(soonest) {
			last = soonest
		}
		w.begins = last.Add(gap)
		f.admitted[w.plan.primary] = w.begins
		f.members.Add(1) // until it leaves
		go w.run()
	}
	f.newcomers = nil
}

func (f *Fleet) planFor(m *raftfsm.Master, a raftfsm.Addr, members uint64) *plan {
	p := &plan{
		set:     m,
		target:  instance.TargetOf(m, a, f.o.TLS, f.o.TLSDefault),
		limits:  detector.Limits{DownAfter: m.Options.DownAfter},
		primary: a == m.Address,
		hot:     m.Failover != nil || contested(m),
	}
	p.known, p.head = m.Record(a), m.Record(m.Address) // both are the set's, or it would not be probed
	if p.primary {
		p.members = members
		p.limits.Reboot = m.Options.MasterRebootDownAfter
	}
	return p
}

// contested tells whether any verdict stands that can lead to a failover. A replica that is down for a week leads to none.
func contested(m *raftfsm.Master) bool {
	for _, v := range m.Votes {
		if raftfsm.Counts(v.Cause) && v.Instance == m.Address {
			return true
		}
	}
	return false
}

// LongestPeriod bounds the period of probes, which is a tenth of down-after.
const LongestPeriod = 2 * time.Second

const (
	shortestPeriod = 50 * time.Millisecond
	gridStep       = 100 * time.Millisecond
)

func (p *plan) period() time.Duration {
	return min(max(p.limits.DownAfter/10, shortestPeriod), LongestPeriod)
}

// probesPerSecond is how many probes a node sends in a second, wherever that leaves each instance five in two down-afters: probing
// must not keep a node, nor a network, from what probing is for.
const probesPerSecond = 3000

const (
	// manyLost masters that do not answer make the probes of others yield to what has to be done for them: they are yieldingProbes a
	// second then, wherever that leaves each instance what probesPerSecond leaves it. One that is failed over is no master any more.
	manyLost       = 20
	yieldingProbes = 1000
)

// rarestProbe bounds a stretched period: what was last read of an instance must not be too old to be told.
const rarestProbe = 10 * time.Second

// stretchNow is how many times as many probes are asked for as are sent now, in thousandths.
func (f *Fleet) stretchNow() int64 {
	if f.yields() {
		return f.yielding.Load()
	}
	return f.stretch.Load()
}

// yields tells whether there is more to do than to probe.
func (f *Fleet) yields() bool { return f.lostMasters.n.Load() >= manyLost }

// rate is how many probes a second the plan asks for, in thousandths.
func (p *plan) rate() int64 { return int64(1000 * time.Second / p.period()) }

// stretched is a period where more probes are asked for than are sent: stretch is how many times as many, in thousandths.
func stretched(period, downAfter time.Duration, stretch int64) time.Duration {
	bound := min((2 * downAfter / 5).Truncate(gridStep), rarestProbe) // on the grid, which rounds up
	return max(period, min(period*time.Duration(stretch)/1000, bound))
}

// period is how often the instance is probed now: as its plan has it where this node may have to decide about a failover, else as
// often as there is room for. The caller holds mu.
func (w *watch) period(now time.Time) time.Duration {
	if w.deciding(now) {
		return w.plan.period()
	}
	return stretched(w.plan.period(), w.plan.limits.DownAfter, w.f.stretchNow())
}

// patience is how long an attempt to connect may take: a lost first packet is sent again by the kernel after 1 s.
func (p *plan) patience() time.Duration {
	return min(max(p.limits.DownAfter/2, gridStep), 2*time.Second)
}

// phase is how far a node's grid lies behind the steps of the clock. The voters' grids lie evenly between two steps, as far as
// their clocks agree: whenever an instance falls silent, a quorum of them asks it soon.
func phase(s *raftfsm.State, self string) time.Duration {
	rank, voters := 0, 0
	for _, v := range s.Servers() {
		if v.Voter && v.ID < self {
			rank++
		}
		if v.Voter {
			voters++
		}
	}
	return time.Duration(rank) * gridStep / time.Duration(max(voters, 1))
}

// grid is a moment of this node's grid.
func (f *Fleet) grid() time.Time { return f.origin.Add(time.Duration(f.phase.Load())) }

// due is the first moment after now at which an instance is to be probed. Moments lie on a grid common to the process, so
// that one wake-up serves many instances; seed spreads those of a long period over the grid's steps.
func due(origin, now time.Time, period time.Duration, seed uint64) time.Time {
	step := min(gridStep, period)
	slots := uint64((period + step - 1) / step)
	period = time.Duration(slots) * step
	first := origin.Add(time.Duration(seed%slots) * step)
	if now.Before(first) {
		return first
	}
	return first.Add((now.Sub(first)/period + 1) * period)
}
