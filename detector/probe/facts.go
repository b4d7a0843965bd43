package probe

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/progress"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// stater commits what instances state of themselves, when it changes. One reading by any node is enough; so that three
// nodes do not say the same thing thrice, the leader says it, and another node only what still stands after a while:
// then the leader cannot reach the instance.
type stater struct {
	f     *Fleet
	loop  progress.Loop
	mu    sync.Mutex
	dirty map[string]bool      // sets that may differ
	since map[string]time.Time // sets that do, and since when
	later map[string]time.Time // sets whose last entry failed or changed nothing: not before
	// corrected counts, while this node does not lead, what it has said of a set lately.
	corrected map[string]correction
	kick      chan struct{}
}

// correction is how often this node has corrected the leader on a set, and when last. Where two nodes reach two processes at
// one address, each would undo the other's facts for ever: every further correction waits twice as long.
type correction struct {
	times int
	last  time.Time
}

// Waits of the stater.
const (
	// notLeading is how long a difference stands before a node that does not lead proposes it; each further voter waits
	// another nextVoter.
	notLeading = 1200 * time.Millisecond
	nextVoter  = 400 * time.Millisecond
	factsRetry = 500 * time.Millisecond
	// gather is for how long what is new is gathered, so that what many sets have to say shares one write to the disks.
	gather = 50 * time.Millisecond
	// factsAtOnce are proposals in flight, for the moment in which everything is new.
	factsAtOnce = 64
	// forgetAfter is after how long a correction is forgotten; the longest wait is patienceLimit doublings.
	forgetAfter   = time.Hour
	patienceLimit = 9
)

func newStater(f *Fleet) *stater {
	return &stater{
		f: f, dirty: map[string]bool{}, since: map[string]time.Time{}, later: map[string]time.Time{}, corrected: map[string]correction{},
		kick: make(chan struct{}, 1),
	}
}

func (t *stater) mark(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty[name] = true
}

func (t *stater) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func (t *stater) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.kick:
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
		t.loop.Step()
		next := t.round(ctx)
		t.loop.Rest()
		if next > 0 {
			timer.Reset(next)
		}
	}
}

// round proposes what is due, and gives the time to the next round; 0 = when something changes.
func (t *stater) round(ctx context.Context) time.Duration {
	c := t.f.o.Cluster
	s, now, leading := c.State(), time.Now(), c.Leading()
	var turn time.Duration
	if !leading {
		turn = t.turn(s)
	}
	var next time.Duration
	sooner := func(d time.Duration) {
		if next == 0 || d < next {
			next = max(d, time.Millisecond)
		}
	}
	var todo []*raftlogv1.StateFacts
	for _, name := range t.names() {
		facts := t.difference(s, name)
		since, held := t.standing(name, facts, now)
		due := since.Add(turn << t.patience(name, now))
		switch {
		case facts == nil:
		case due.After(now):
			sooner(due.Sub(now))
		case held.After(now):
			sooner(held.Sub(now))
		case len(todo) < factsAtOnce:
			todo = append(todo, facts)
			if !leading {
				t.correct(name, now)
			}
		default:
			sooner(time.Millisecond)
		}
	}
	var wg sync.WaitGroup
	for _, facts := range todo {
		wg.Go(func() { t.propose(ctx, facts) })
	}
	t.loop.Rest()
	wg.Wait()
	t.loop.Step()
	if len(todo) > 0 {
		sooner(time.Millisecond)
	}
	return next
}

// names takes the marks. One that is set while the sets are compared is for the next round.
func (t *stater) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := slices.Sorted(maps.Keys(t.dirty))
	clear(t.dirty)
	return names
}

// standing tells since when a set differs, and until when it is left alone. One that does is looked at again, one that does
// not is forgotten.
func (t *stater) standing(name string, facts *raftlogv1.StateFacts, now time.Time) (since, held time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if facts == nil {
		delete(t.since, name)
		delete(t.later, name)
		return now, now
	}
	if _, ok := t.since[name]; !ok {
		t.since[name] = now
	}
	t.dirty[name] = true
	return t.since[name], t.later[name]
}

// patience is how many times the wait before a correction doubles.
func (t *stater) patience(name string, now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.corrected[name]
	if now.Sub(c.last) > forgetAfter {
		delete(t.corrected, name)
		return 0
	}
	return min(c.times, patienceLimit)
}

func (t *stater) correct(name string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.corrected[name] = correction{times: t.corrected[name].times + 1, last: now}
}

// turn is how long this node leaves a difference to others.
func (t *stater) turn(s *raftfsm.State) time.Duration {
	self, rank := t.f.o.Cluster.RaftID(), 0
	for _, v := range s.Servers() {
		if v.Voter && v.ID < self {
			rank++
		}
	}
	return notLeading + time.Duration(rank)*nextVoter
}

func (t *stater) propose(ctx context.Context, facts *raftlogv1.StateFacts) {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	c := &raftlogv1.Command{Header: header(t.f.o.Cluster), Op: &raftlogv1.Command_StateFacts{StateFacts: facts}}
	res, err := t.f.o.Cluster.Propose(ctx, c)
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		t.f.o.Log.Debug("facts not committed; they are looked at again", "master", facts.GetMaster(), "error", err)
	}
	if err != nil || !res.Changed {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.later[facts.GetMaster()] = time.Now().Add(factsRetry)
	}
}

// difference is what the instances of a set say otherwise than the state; nil for nothing. While a failover is about to
// switch the set, nothing is said of it: what happens to its instances then is told by the failover itself, and another
// entry would only stand in its way.
func (t *stater) difference(s *raftfsm.State, name string) *raftlogv1.StateFacts {
	m, ok := s.Master(name)
	if !ok || m.Failover != nil && !m.Failover.Switched {
		return nil
	}
	listed := t.listed(m)
	out := &raftlogv1.StateFacts{Master: name, Generation: m.Generation}
	for _, in := range m.Instances {
		told, ok := t.f.told(m, in)
		seen := listed[in.Addr] || !in.Unconfirmed || in.Addr == m.Address
		switch {
		case !seen && listed != nil && !m.Restored:
			out.Gone = append(out.Gone, in.Addr.Proto())
		case !seen:
		case ok && told != in:
			out.Instances = append(out.Instances, factsProto(told))
		case in.Unconfirmed:
			out.Instances = append(out.Instances, factsProto(in))
		}
		delete(listed, in.Addr)
	}
	for _, a := range slices.SortedFunc(maps.Keys(listed), raftfsm.Addr.Compare) {
		if !conflicting(s, m, a) {
			out.Instances = append(out.Instances, factsProto(raftfsm.Instance{Addr: a, SecondOffset: -1}))
		}
	}
	if len(out.GetInstances())+len(out.GetGone()) == 0 {
		return nil
	}
	return out
}

// listed are the replicas in the committed master's own INFO; nil where there is none that may be compared with m, or
// where it says that it is no master.
func (t *stater) listed(m *raftfsm.Master) map[raftfsm.Addr]bool {
	seen, ok := t.f.current(m, m.Address)
	if !ok || seen.obs.Info.Role != raftfsm.RoleMaster || seen.obs.Info.Loading {
		return nil
	}
	out := map[raftfsm.Addr]bool{}
	for _, line := range seen.obs.Info.Replicas {
		out[line.Addr] = true
	}
	return out
}

// conflicting tells whether it is known already that the address cannot join the set.
func conflicting(s *raftfsm.State, m *raftfsm.Master, a raftfsm.Addr) bool {
	owner, owned := s.Owner(a)
	return slices.ContainsFunc(m.Conflicts, func(c raftfsm.Conflict) bool {
		return c.Addr == a && (c.Other == m.Name || owned && owner.Name == c.Other)
	})
}

// told is an instance as its own last INFO has it; ok is false where that may not be compared with m.
func (f *Fleet) told(m *raftfsm.Master, in raftfsm.Instance) (raftfsm.Instance, bool) {
	seen, ok := f.current(m, in.Addr)
	if !ok {
		return in, false
	}
	return seen.facts(), true
}

// current is what was seen of the instance at a, if its INFO was asked for when the state already was what it is in m. A plan
// made of an earlier revision does not know what was taken away since; when it is replaced, the set is looked at again.
func (f *Fleet) current(m *raftfsm.Master, a raftfsm.Addr) (*sight, bool) {
	w, ok := f.watch(a)
	if !ok {
		return nil, false
	}
	seen := w.sight.Load()
	if seen.infoPlan == nil || !seen.infoPlan.sameFacts(seen.plan) || seen.plan.set.Name != m.Name ||
		seen.plan.set.Revision != m.Revision {
		return nil, false
	}
	return seen, true
}

// facts are what the state knows of the instance, brought up to date with what its INFO says.
func (s *sight) facts() raftfsm.Instance {
	in, info := *s.plan.known, s.obs.Info
	if info == nil || info.Loading {
		return in // what a process says while it loads is not settled yet
	}
	in.RunID, in.Role = info.RunID, info.Role
	in.ReplID, in.ReplID2, in.SecondOffset = info.ReplID, info.ReplID2, info.SecondOffset
	if info.InSync() && s.plan.ownHistory(info.ReplID) {
		in.SyncedReplID = info.ReplID
	}
	return in
}

// listsOthers tells whether the master lists other replicas than the set has, or one that is to be confirmed.
func (s *sight) listsOthers() bool {
	known, listed := s.plan.set.Instances, s.obs.Info.Replicas
	return len(listed) != len(known)-1 || slices.ContainsFunc(known, func(in raftfsm.Instance) bool {
		return in.Unconfirmed || in.Addr != s.plan.set.Address &&
			!slices.ContainsFunc(listed, func(line detector.ReplicaLine) bool { return line.Addr == in.Addr })
	})
}

// ownHistory is the law's: in sync counts only under a history of the set.
func (p *plan) ownHistory(id string) bool { return id == p.head.ReplID || id == p.head.ReplID2 }

func factsProto(in raftfsm.Instance) *raftlogv1.InstanceFacts {
	return &raftlogv1.InstanceFacts{
		Address: in.Addr.Proto(), RunId: in.RunID, Role: in.Role,
		ReplId: in.ReplID, ReplId2: in.ReplID2, SecondOffset: in.SecondOffset, SyncedReplId: in.SyncedReplID,
	}
}
