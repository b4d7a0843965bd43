package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/progress"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Cluster is the replicated state as the fleet needs it.
type Cluster interface {
	// State is the latest state applied here; Changed is closed when a later one is. Take the channel first.
	State() *raftfsm.State
	Changed() <-chan struct{}
	// Propose commits a command and returns after it is applied here.
	Propose(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error)
	// RaftID is this node's Raft server id; "" while it has none.
	RaftID() string
	// Leading tells whether this node leads.
	Leading() bool
	// Removed is closed once this node is out of its cluster for good.
	Removed() <-chan struct{}
}

// Options of a fleet.
type Options struct {
	Cluster Cluster
	Dialer  instance.Dialer
	// TLS is used for the sets that ask for it, and for all others too where TLSDefault is set.
	TLS        *tls.Config
	TLSDefault bool
	// Observer: this node probes nothing and votes on nothing.
	Observer bool
	// Lost is called when many masters more than before do not answer, and may be held down soon, but not at once (foresight, leeway). Surge is called
	// when many masters more are held down than before and have no successor. Neither may wait; nil for nobody.
	Lost, Surge func()
	Log         *slog.Logger
}

// Fleet probes every instance of every set. Observations may be read at any time, from any goroutine.
type Fleet struct {
	o      Options
	origin time.Time    // a step of the clock, before Run began
	phase  atomic.Int64 // nanoseconds from there to the grid of this node

	// demand is how many probes a second all plans ask for, in thousandths; the goroutine's that follows the state.
	demand int64
	// impatience is the shortest down-after of any plan so far.
	impatience atomic.Int64
	// stretch is how many times as many probes are asked for as are sent, in thousandths, at least 1000.
	stretch atomic.Int64
	// yielding is the same for the time in which many instances are lost.
	yielding atomic.Int64

	// lost is how many instances do not answer at present, lostMasters how many masters are among them, and downMasters how many of those
	// are held down.
	lost                     atomic.Int64
	lostMasters, downMasters toll

	// newcomers are the watches that have not begun yet, watched how many there are with them, and admitted when the last one that has begun
	// may connect, of masters and of replicas; the goroutine's that follows the state.
	newcomers []*watch
	watched   int
	admitted  map[bool]time.Time

	loop    progress.Loop // of the goroutine that follows the state
	watches sync.Map      // raftfsm.Addr -> *watch
	members sync.WaitGroup
	dials   chan struct{} // a slot per dial in flight
	pulse   struct {
		sync.Mutex
		detector.Pulse
	}

	news struct {
		sync.Mutex
		changed chan struct{}
		sets    map[string]bool // of which something changed, until News takes them
	}
	// braked is why verdicts are withheld; nil where they are not.
	braked    atomic.Pointer[string]
	metronome *metronome
	breaks    instance.Breaks
	reporter  *reporter
	stater    *stater
}

// dialsInFlight bounds the burst when a switch takes many instances away at once.
const dialsInFlight = 64

// errOptions is a mistake of the composition root.
var errOptions = errors.New("probe: options need a cluster and a log")

// New validates the options and starts nothing.
func New(o Options) (*Fleet, error) {
	if o.Cluster == nil || o.Log == nil {
		return nil, errOptions
	}
	f := &Fleet{o: o, dials: make(chan struct{}, dialsInFlight), admitted: map[bool]time.Time{}}
	f.pulse.Every = gridStep
	f.news.changed, f.news.sets = make(chan struct{}), map[string]bool{}
	f.impatience.Store(math.MaxInt64)
	f.stretch.Store(1000)
	f.yielding.Store(1000)
	f.metronome = newMetronome(f)
	f.lostMasters.bell, f.downMasters.bell = f.omen, f.surge
	f.reporter = newReporter(f)
	f.stater = newStater(f)
	return f, nil
}

// foresight is how long before a verdict it serves to prepare for it, and leeway how long down-after must be to leave time for that.
const (
	foresight = 5 * time.Second
	leeway    = 500 * time.Millisecond
)

// omen passes it on that many do not answer. Those that break their connections are noticed at once; the silent are lost when they are held
// down, and then it is too late.
func (f *Fleet) omen() {
	patience := time.Duration(f.impatience.Load())
	if f.o.Lost != nil && patience >= leeway && patience <= foresight && f.downMasters.n.Load() < manyLost/2 {
		f.o.Lost()
	}
}

func (f *Fleet) surge() {
	f.metronome.pause(time.Now())
	if f.o.Surge != nil {
		f.o.Surge()
	}
}

// Run probes until ctx ends, and returns after the last goroutine has ended.
func (f *Fleet) Run(ctx context.Context) error {
	if f.o.Observer {
		<-ctx.Done()
		return nil
	}
	now := time.Now()
	f.origin = now.Add(-time.Duration(now.UnixNano() % int64(gridStep)))
	var duties sync.WaitGroup
	duties.Go(func() { f.metronome.run(ctx) })
	duties.Go(func() { f.reporter.run(ctx) })
	duties.Go(func() { f.stater.run(ctx) })
	f.follow(ctx)
	f.watches.Range(func(_, w any) bool {
		w.(*watch).end()
		return true
	})
	f.members.Wait()
	duties.Wait()
	return f.breaks.Close()
}

// Observe is what this node last saw of the instance at a; ok is false where it is not probed.
func (f *Fleet) Observe(a raftfsm.Addr) (o detector.Observation, ok bool) {
	w, ok := f.watch(a)
	if !ok {
		return detector.Observation{}, false
	}
	o = w.sight.Load().obs
	o.LastPingSent = w.pendingSince()
	return o, true
}

// Probed counts the instances that are probed.
func (f *Fleet) Probed() int {
	n := 0
	f.watches.Range(func(_, _ any) bool {
		n++
		return true
	})
	return n
}

// StandsBy tells whether what this node sees agrees with a vote that it holds in the state.
func (f *Fleet) StandsBy(v raftfsm.Vote) bool {
	o, ok := f.Observe(v.Instance)
	if raftfsm.Counts(v.Cause) {
		return ok && stanceOf(o) == stanceDown
	}
	return ok && stanceOf(o) == stanceAuth
}

// Refresh asks for a fresh INFO of the instance at a now; its arrival is seen in [detector.Observation.InfoAt]. It does
// nothing where a is not probed.
func (f *Fleet) Refresh(a raftfsm.Addr) {
	if w, ok := f.watch(a); ok {
		w.refresh()
	}
}

// Heed is for whoever goes by what this node sees of instances: for a minute it is kept as current as it is on the leader, and where an INFO
// is older than it would be then, another one is asked for now, whose arrival is told by [Fleet.Changed].
func (f *Fleet) Heed(addrs ...raftfsm.Addr) {
	now := time.Now()
	for _, a := range addrs {
		w, ok := f.watch(a)
		if !ok {
			continue
		}
		w.heeded.Store(int64(now.Sub(f.origin)))
		if o := w.sight.Load().obs; o.Connected && !o.Down && now.Sub(o.InfoAt) > rarestInfo+f.infoSlack() {
			w.refresh()
		}
	}
}

// Changed is closed when after the call any verdict changes, or an INFO comes that was asked for off its turn or that
// differs from the last one in more than offsets and ages; many changes may be told at once. Take the channel first, then observe.
func (f *Fleet) Changed() <-chan struct{} {
	f.news.Lock()
	defer f.news.Unlock()
	return f.news.changed
}

// News are the sets of which something was told by [Fleet.Changed] since the last call. It is for one caller.
func (f *Fleet) News() []string {
	f.news.Lock()
	defer f.news.Unlock()
	sets := slices.Sorted(maps.Keys(f.news.sets))
	clear(f.news.sets)
	return sets
}

func (f *Fleet) tell(master string) {
	f.news.Lock()
	defer f.news.Unlock()
	f.news.sets[master] = true
	close(f.news.changed)
	f.news.changed = make(chan struct{})
}

func (f *Fleet) watch(a raftfsm.Addr) (*watch, bool) {
	w, ok := f.watches.Load(a)
	if !ok {
		return nil, false
	}
	return w.(*watch), true
}

// beat notices pauses of the process, and makes every instance that was silent meanwhile be counted afresh. moved: the beat was
// moved, which is no pause.
func (f *Fleet) beat(now time.Time, moved bool) {
	f.pulse.Lock()
	if moved {
		f.pulse.Pulse = detector.Pulse{Every: gridStep}
	}
	late := f.pulse.Beat(now)
	f.pulse.Unlock()
	if detector.Doubts(late, time.Duration(f.impatience.Load())) {
		f.watches.Range(func(_, w any) bool {
			w.(*watch).paused(late)
			return true
		})
	}
}

// Overdue is how long the process's own beat is missing.
func (f *Fleet) Overdue(now time.Time) time.Duration {
	f.pulse.Lock()
	defer f.pulse.Unlock()
	return f.pulse.Late(now)
}

// Stuck is for how long a part of the fleet, any one of its loops, has made no progress although it has something to do. What
// waits for the network is not stuck.
func (f *Fleet) Stuck() time.Duration {
	stuck := max(f.Overdue(time.Now()), f.loop.Stuck(), f.metronome.loop.Stuck(), f.reporter.loop.Stuck(), f.stater.loop.Stuck())
	f.watches.Range(func(_, w any) bool {
		stuck = max(stuck, w.(*watch).loop.Stuck())
		return true
	})
	return stuck
}

func header(c Cluster) *raftlogv1.Header {
	return &raftlogv1.Header{Level: 1, Proposer: c.RaftID(), ProposedAtMs: time.Now().UnixMilli()}
}
