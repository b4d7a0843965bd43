package executor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// set is what this leadership keeps of one set. It belongs to the loop while it is not busy, and to its worker while it
// is; what mu guards is shared by the goroutines of one worker.
type set struct {
	name   string
	busy   bool
	cared  bool // its next step depends on what is observed
	memory failover.Memory
	// lookAt is when to look again without a change; zero for never. notBefore holds it back after a failure.
	lookAt    time.Time
	notBefore time.Time
	failures  int
	// at is its time on the agenda, and place where it is there; 0 where it is not.
	at        time.Time
	place     int
	refreshed map[raftfsm.Addr]time.Time
	misses    map[raftfsm.Addr]int       // attempts in a row to repoint an instance that failed
	undialled map[raftfsm.Addr]time.Time // until when a connection is not opened ahead, after a failure
	// corrected are the instances that were told to follow a master in no failover, and whom; until they are seen to.
	corrected map[raftfsm.Addr]raftfsm.Addr
	resting   string // why nothing is done, as last logged
	// urgent: its worker is counted among those whose set has no master. yields is until when it stands back for such.
	urgent bool
	yields time.Time
	owed   *owed // nil for nothing
	// begun is the epoch of the row that this leadership opened, and begunAt when it proposed it.
	begun   uint64
	begunAt time.Time

	mu    sync.Mutex
	conns map[raftfsm.Addr]Conn
	// vouched are connections that stood when this leadership proposed its last row, whose commit has confirmed it since.
	vouched map[raftfsm.Addr]Conn
	// alone is the connection over which, ahead, no control connection of another term was found last; nil for none.
	alone Conn
	// fenced are the instances at which none of another term is left that can do harm, as of a confirmation of this leadership.
	fenced map[raftfsm.Addr]bool
	read   map[raftfsm.Addr]reading
}

// reading is an INFO that came over a control connection; it counts while it is newer than the fleet's.
type reading struct {
	info *detector.Info
	at   time.Time
}

func newSet(name string) *set {
	return &set{
		name: name, misses: map[raftfsm.Addr]int{}, undialled: map[raftfsm.Addr]time.Time{}, refreshed: map[raftfsm.Addr]time.Time{},
		corrected: map[raftfsm.Addr]raftfsm.Addr{}, conns: map[raftfsm.Addr]Conn{},
		fenced: map[raftfsm.Addr]bool{}, read: map[raftfsm.Addr]reading{},
	}
}

// decide remembers the present look at the set and gives the step to perform; nil where there is only waiting to do.
func (d *duties) decide(s *set) failover.Step {
	step := d.next(s)
	if _, at := step.(failover.Promote); !at {
		s.vouch(nil) // it serves for what follows upon the commit, and for nothing later
	}
	return step
}

// next is decide, whatever was vouched for.
func (d *duties) next(s *set) failover.Step {
	now := time.Now()
	st := d.e.o.Cluster.State()
	m, ok := st.Master(s.name)
	s.lookAt = time.Time{}
	if !ok {
		return nil
	}
	s.cared = failover.NeedsCare(m)
	if now.Before(s.notBefore) {
		s.lookAt = s.notBefore
		return nil
	}
	v := d.viewOf(s, st, m)
	s.memory = v.Remember()
	v.Memory = s.memory
	d.e.looked(s.name, v, d.observer(s))
	s.followed(v)
	step := failover.Next(v)
	switch step := step.(type) {
	case failover.Rest:
		d.rest(s, m, step.Reason, step.For)
		return nil
	case failover.Measure:
		s.cared = true
		d.rest(s, m, step.Reason, step.For)
		d.refresh(s, m, step.Instances)
		return nil
	case failover.Prepare:
		s.cared = true
		s.lookIn(step.For)
		d.refresh(s, m, step.Instances)
		if step.Candidate.IsZero() || s.connected(step.Candidate) || now.Before(s.undialled[step.Candidate]) {
			return nil
		}
	case failover.Promote:
		if until := v.Memory.Avoid[step.Row.To]; now.Before(until) {
			d.rest(s, m, "the candidate failed and no other is better", until.Sub(now))
			return nil
		}
	case failover.Transfer:
		if !d.e.mayTransfer(now) {
			d.rest(s, m, step.Reason+"; leadership moved lately", failover.ProbePeriod(m.Options))
			return nil
		}
	}
	return step
}

// followed takes instances off the list of those corrected, once they follow: the next correction of one is another.
func (s *set) followed(v failover.View) {
	for a := range s.corrected {
		if _, member := v.Master.Instance(a); !member || follows(v, a) {
			delete(s.corrected, a)
		}
	}
}

// follows tells whether an instance was seen to follow the committed master.
func follows(v failover.View, a raftfsm.Addr) bool {
	o, ok := v.Observe(a)
	master, seen := v.Observe(v.Master.Address)
	if !ok || !seen || o.Info == nil || master.Info == nil || o.Info.Role != raftfsm.RoleReplica || !o.Info.MasterLinkUp {
		return false
	}
	_, astray := v.Astray(a, o.Info, master.Info)
	return !astray
}

// rest notes when to look again, and says once why nothing is done.
func (d *duties) rest(s *set, m *raftfsm.Master, reason string, wait time.Duration) {
	s.lookIn(wait)
	if len(m.Votes) == 0 && m.Failover == nil {
		s.hangUp()
	}
	if reason != s.resting {
		s.resting = reason
		if reason != "" {
			d.e.o.Log.Info("waiting", "master", m.Name, "reason", reason)
		}
	}
}

// lookIn notes when to look again; 0 = when something changes.
func (s *set) lookIn(wait time.Duration) {
	if wait > 0 {
		s.lookAt = time.Now().Add(wait)
	}
}

// refresh asks for INFO, each instance at most once in half a probe period.
func (d *duties) refresh(s *set, m *raftfsm.Master, instances []raftfsm.Addr) {
	now, least := time.Now(), failover.ProbePeriod(m.Options)/2
	for _, a := range instances {
		if o, ok := d.e.o.Fleet.Observe(a); !ok || now.Sub(s.refreshed[a]) < least || now.Sub(o.InfoAt) < least {
			continue
		}
		s.refreshed[a] = now
		d.e.o.Fleet.Refresh(a)
	}
}

// viewOf is the set as this leadership sees it: the fleet's observations, and what was read since over control connections.
func (d *duties) viewOf(s *set, st *raftfsm.State, m *raftfsm.Master) failover.View {
	v := d.e.view(st, m)
	v.Memory, v.Since = s.memory, d.since
	v.Heard = slices.DeleteFunc(slices.Clone(v.Heard), func(id string) bool {
		_, refused := d.refused.Load(id)
		return refused
	})
	v.Observe = frozen(d.observer(s))
	return v
}

// observer gives the fleet's observations, with what was read since over control connections.
func (d *duties) observer(s *set) observer {
	return func(a raftfsm.Addr) (detector.Observation, bool) {
		o, ok := d.e.o.Fleet.Observe(a)
		s.mu.Lock()
		r, have := s.read[a]
		s.mu.Unlock()
		if ok && have && !r.at.Before(o.InfoAt) { // of the same moment, this one followed upon a command
			o.Info, o.InfoAt = r.info, r.at
		}
		return o, ok
	}
}

// saw keeps an INFO that came over a control connection.
func (s *set) saw(a raftfsm.Addr, i *detector.Info) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read[a] = reading{info: i, at: time.Now()}
}

func (s *set) fence(a raftfsm.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fenced[a] = true
}

func (s *set) foundAlone(c Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone = c
}

func (s *set) isAlone(c Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.alone == c
}

func (s *set) isFenced(a raftfsm.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fenced[a]
}

func (s *set) connected(a raftfsm.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[a] != nil
}

// take gives the standing connection to a, if any, and leaves it to the caller.
func (s *set) take(a raftfsm.Addr) Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conns[a]
	delete(s.conns, a)
	return c
}

// standing are the connections that are open now.
func (s *set) standing() map[raftfsm.Addr]Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.conns)
}

// vouch notes that a quorum has confirmed this leadership while the connections stood.
func (s *set) vouch(standing map[raftfsm.Addr]Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.vouched = standing
}

// isVouched tells, once, whether leadership was confirmed while the connection stood.
func (s *set) isVouched(a raftfsm.Addr, c Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, ok := s.vouched[a]
	delete(s.vouched, a)
	return ok && was == c
}

// keep puts a connection that works aside for the next step.
func (s *set) keep(a raftfsm.Addr, c Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.conns[a]; old != nil {
		_ = old.Close() // the newer one is as good
	}
	s.conns[a] = c
}

// hangUp closes the standing connections.
func (s *set) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close() // nothing was in flight on it
	}
	clear(s.conns)
}

// blame counts a failed attempt to promote an instance and leaves it alone for a while.
func (s *set) blame(a raftfsm.Addr) {
	failed := maps.Clone(s.memory.Failed)
	if failed == nil {
		failed = map[raftfsm.Addr]int{}
	}
	failed[a]++
	s.memory.Failed, s.memory.FailedAt = failed, time.Now()
	s.avoid(a, backoff(failed[a]))
}

// miss counts a failed attempt to repoint an instance and leaves it alone for a while.
func (s *set) miss(a raftfsm.Addr) {
	s.misses[a]++
	s.avoid(a, min(10*time.Millisecond<<min(s.misses[a], 11), 10*time.Second))
}

func (s *set) avoid(a raftfsm.Addr, wait time.Duration) {
	avoid := maps.Clone(s.memory.Avoid)
	if avoid == nil {
		avoid = map[raftfsm.Addr]time.Time{}
	}
	avoid[a] = time.Now().Add(wait)
	s.memory.Avoid = avoid
}

// repointed notes that an instance was told to follow.
func (s *set) repointed(a raftfsm.Addr, at time.Time) {
	told := maps.Clone(s.memory.Repointed)
	if told == nil {
		told = map[raftfsm.Addr]time.Time{}
	}
	told[a] = at
	s.memory.Repointed = told
}

// stepName is the lower-case name of a step's type.
func stepName(s failover.Step) string {
	name := fmt.Sprintf("%T", s)
	return strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
}
