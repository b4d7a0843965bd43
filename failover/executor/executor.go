package executor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	"github.com/raftsentinel/raftsentinel/progress"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Errors of the package.
var (
	errOptions = errors.New("executor: Cluster, Fleet, Dial, LookupHost and Log must be set")
	// errChanged: the set changed between a decision and its execution; it is decided anew.
	errChanged = errors.New("the set has changed meanwhile")
	// errUnfenced: an earlier leader may still hold a connection to the candidate.
	errUnfenced = errors.New("the candidate is not fenced yet, the failover is not closed before")
)

// Cluster is the replicated log as the executor needs it.
type Cluster interface {
	// Self is this node's Raft server id.
	Self() string
	State() *raftfsm.State
	// Changed is closed when the state after the one that State gave is applied. Take the channel first, then the state.
	Changed() <-chan struct{}
	// Propose commits a command and returns after it is applied on this node. It completes the header, all but the actor.
	// Where this node does not lead any more, another leader may commit it.
	Propose(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error)
	// ProposeIn commits what was decided in a leadership: nobody else does, and not after the term.
	ProposeIn(ctx context.Context, term uint64, c *raftlogv1.Command) (raftfsm.Result, error)
	// Verify confirms with a quorum that this node still leads in the given term.
	Verify(ctx context.Context, term uint64) error
	// Renewed holds the nodes that stood by their reports in this leadership, this node included.
	Renewed() map[string]bool
	// Heard are the Raft server ids of the members that the leader heard lately; nil where this node does not lead.
	Heard() []string
	// Leader is the Raft server id of the leader that this node hears; "" for none.
	Leader() string
	// TransferLeadership hands leadership to a voter.
	TransferLeadership(ctx context.Context, raftID string) error
}

// Fleet is what this node sees of the instances.
type Fleet interface {
	Observe(a raftfsm.Addr) (detector.Observation, bool)
	// Refresh asks for a fresh INFO without waiting for it.
	Refresh(a raftfsm.Addr)
	// Changed is closed when any verdict or INFO changes. Take the channel first, then observe.
	Changed() <-chan struct{}
	// News are the sets of which that was told since the last call.
	News() []string
	// Braked is why this node withholds its verdicts; "" where it does not.
	Braked() string
}

// Conn is a control connection to one instance; detector/instance describes each method.
type Conn interface {
	Info(ctx context.Context) (*detector.Info, error)
	Promote(ctx context.Context) (*detector.Info, error)
	SaveConfig(ctx context.Context) error
	Follow(ctx context.Context, a raftfsm.Addr, disconnect bool) (had int64, rewriteErr error, err error)
	ControlClients(ctx context.Context, prefix string) (map[int64]string, error)
	KillClient(ctx context.Context, id int64) error
	Demote(ctx context.Context, a raftfsm.Addr) (had int64, err error)
	PauseWrites(ctx context.Context, lease time.Duration) error
	Unpause(ctx context.Context) error
	Applications(ctx context.Context) ([]int64, error)
	KillClients(ctx context.Context, ids []int64, pause time.Duration) (int, error)
	Close() error
}

// Options of an Executor. Cluster, Fleet, Dial, LookupHost and Log must be set.
type Options struct {
	Cluster Cluster
	Fleet   Fleet
	// Dial connects to the instance a of the set m and names the connection. The connection must never dial again by itself
	// and never repeat a command.
	Dial func(ctx context.Context, m *raftfsm.Master, a raftfsm.Addr, clientName string) (Conn, error)
	// LookupHost gives the IP addresses of a host name.
	LookupHost func(ctx context.Context, host string) ([]string, error)
	// Parallel is how many sets are worked on at the same time; 0 = 64. Those whose master is down may be urgentShare times
	// as many.
	Parallel int
	// Deadline bounds each dial, each exchange with Redis and each confirmation of leadership; 0 = 1 s.
	Deadline time.Duration
	// OnPoint is told each point that is passed, before anything follows upon it; nil is nobody.
	OnPoint func(Point)
	Log     *slog.Logger
}

const (
	defaultParallel = 64
	defaultDeadline = time.Second
	urgentShare     = 4
	// proposeDeadline bounds a proposal. It is only a guard: while this node leads, a commit takes milliseconds.
	proposeDeadline = 5 * time.Second
	// In slowTick every set is looked at, lest a change be missed: a link that went down shows in no committed fact. They are looked at in so
	// many shares: all at once would keep the others waiting where there are thousands.
	slowTick   = 5 * time.Second
	slowShares = 20
	// transferEvery bounds how often this node gives leadership away for the sake of Redis.
	transferEvery = 30 * time.Second
)

// Executor carries out what package failover decides. It does so only inside [Executor.Duties].
type Executor struct {
	o    Options
	loop progress.Loop // of the duties; it rests where there are none

	lastAround atomic.Pointer[around]

	mu          sync.Mutex
	transferred time.Time
	// ordered is when the orders of this leadership were proposed, until its duties take them on; nil while there are no duties.
	ordered map[operation]time.Time
	// looks are how the duties looked at each set last; none where they are not at work.
	looks map[string]look
}

// look is what a leadership goes by beside the state.
type look struct {
	memory  failover.Memory
	since   uint64
	observe observer
}

// operation is an order for a set.
type operation struct{ master, id string }

// New validates the options and starts nothing.
func New(o Options) (*Executor, error) {
	if o.Cluster == nil || o.Fleet == nil || o.Dial == nil || o.LookupHost == nil || o.Log == nil {
		return nil, errOptions
	}
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	if o.Deadline <= 0 {
		o.Deadline = defaultDeadline
	}
	return &Executor{o: o, looks: map[string]look{}}, nil
}

// Stuck is for how long the duties have been looking at what is due without coming to an end.
func (e *Executor) Stuck() time.Duration { return e.loop.Stuck() }

// point passes a failpoint.
func (e *Executor) point(p Point) {
	if e.o.OnPoint != nil {
		e.o.OnPoint(p)
	}
	hit(p)
}

// mayTransfer tells whether leadership may be given away now, and counts it.
func (e *Executor) mayTransfer(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.transferred.IsZero() && now.Sub(e.transferred) < transferEvery {
		return false
	}
	e.transferred = now
	return true
}

// stayed takes back what mayTransfer counted: leadership did not move.
func (e *Executor) stayed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.transferred = time.Time{}
}

// lead begins or ends a leadership: what was ordered in another one is resumed like any row.
func (e *Executor) lead(leads bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ordered = nil
	if leads {
		e.ordered = map[operation]time.Time{}
	}
}

// note keeps the moment of an order that is about to be proposed, and tells whether it did. One that has its row already may
// be another leadership's; the state is looked at under the lock, so that it is none older than this leadership.
func (e *Executor) note(o operation) bool {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.o.Cluster.State().Master(o.master)
	if _, twice := e.ordered[o]; twice || e.ordered == nil || !ok || began(m, o.id) {
		return false
	}
	e.ordered[o] = now
	return true
}

// taken gives when an order was proposed in this leadership, if it was, and forgets it.
func (e *Executor) taken(o operation) (at time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok = e.ordered[o]
	delete(e.ordered, o)
	return at, ok
}

// around is what a decision looks at beside one set and its instances.
type around struct {
	at      time.Time
	index   uint64 // of the state then
	renewed map[string]bool
	heard   []string
	leader  string
	braked  string
}

// aroundAge is for how long a look around serves while the state stays: with hundreds of failovers at once each of their steps
// wants one.
const aroundAge = 2 * time.Millisecond

// around looks around, or gives the last look while it serves.
func (e *Executor) around() around {
	index := e.o.Cluster.State().Index()
	if a := e.lastAround.Load(); a != nil && a.index == index && time.Since(a.at) < aroundAge {
		return *a
	}
	a := &around{
		at: time.Now(), index: index, renewed: e.o.Cluster.Renewed(), heard: e.o.Cluster.Heard(), leader: e.o.Cluster.Leader(), braked: e.o.Fleet.Braked(),
	}
	e.lastAround.Store(a)
	return *a
}

// view is what a decision looks at when nothing is remembered.
func (e *Executor) view(s *raftfsm.State, m *raftfsm.Master) failover.View {
	a := e.around()
	return failover.View{
		State: s, Master: m, Observe: frozen(e.o.Fleet.Observe), Now: time.Now(), Self: e.o.Cluster.Self(), Renewed: a.renewed,
		Heard: a.heard, Leader: a.leader, Braked: a.braked,
	}
}

// observer gives what is seen of an instance.
type observer = func(raftfsm.Addr) (detector.Observation, bool)

// frozen is what an observer gives, the same for as long as one decision asks: a reading that came between two of its questions
// would make it one about two different moments. It is for one goroutine.
func frozen(observe observer) observer {
	type seen struct {
		of raftfsm.Addr
		o  detector.Observation
		ok bool
	}
	var all []seen
	return func(a raftfsm.Addr) (detector.Observation, bool) {
		for i := range all {
			if all[i].of == a {
				return all[i].o, all[i].ok
			}
		}
		o, ok := observe(a)
		all = append(all, seen{a, o, ok})
		return o, ok
	}
}

// looked keeps how the duties looked at a set, for whoever asks what they would do.
func (e *Executor) looked(name string, v failover.View, observe observer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looks[name] = look{memory: v.Memory, since: v.Since, observe: observe}
}

func (e *Executor) forget(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.looks, name)
}

// explained is what an explanation looks at: what the duties would, where they are at work, so that it tells what they do.
func (e *Executor) explained(s *raftfsm.State, m *raftfsm.Master) failover.View {
	v := e.view(s, m)
	e.mu.Lock()
	defer e.mu.Unlock()
	if l, ok := e.looks[m.Name]; ok {
		v.Memory, v.Since, v.Observe = l.memory, l.since, frozen(l.observe)
	}
	return v
}
