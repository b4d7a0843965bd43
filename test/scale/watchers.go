package scale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

const (
	watches = 5000
	// sharedConns carry all watches, or each has a connection of its own.
	sharedConns = 64
	// watchedSwitches are how many masters die, one after the other. Their median is the figure.
	watchedSwitches = 5
	// recovery is more than what is left to do of a switch then takes.
	recovery = 3 * time.Second
	// openers are on how many connections watches are begun at once.
	openers = 64
)

// watchers has many follow the masters at one node, a follower, and tells how long after that node has a switch the last of
// them is told.
func watchers(ctx context.Context, o Options, _ bool) (out sample, err error) {
	out = sample{}
	for _, c := range []struct {
		name  string
		conns int
	}{{"shared", sharedConns}, {"own", watches}} {
		if err := o.watched(ctx, out, "watch-"+c.name, c.conns); err != nil {
			return nil, fmt.Errorf("over %d connections: %w", c.conns, err)
		}
	}
	return out, nil
}

func (o Options) watched(ctx context.Context, out sample, name string, conns int) (err error) {
	w, err := newWorld(ctx, o, false, watchedSwitches, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.monitor(ctx, w.sets); err != nil {
		return err
	}
	err = w.tellEach(ctx, w.sets, func(ctx context.Context, n *redis.Client, s *set) error {
		return n.Do(ctx, "SENTINEL", "SET", s.name, "down-after-milliseconds", fmt.Sprint(shortly.Milliseconds())).Err()
	})
	if err != nil {
		return err
	}
	if err := w.settle(ctx); err != nil {
		return err
	}
	_, at, err := w.leaderAndFollower(ctx)
	if err != nil {
		return err
	}
	proc := w.Procs()[at]
	without, err := memoryOf(proc)
	if err != nil {
		return err
	}
	defer gentleCollector()()
	a := newAudience()
	defer a.watching.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := time.Now()
	if err := a.gather(ctx, w.watcher.(*lab.Sentineld).Cluster.Nodes[at].GRPCAddr(), conns); err != nil {
		return err
	}
	o.say("%s: %d watches over %d connections in %.0f ms", name, watches, conns, millisSince(begun))
	if err := w.watchAtRest(ctx, out, name, at, without); err != nil {
		return err
	}
	profiles := w.profile(ctx, name, watchedSwitches*(shortly+recovery))
	var took []float64
	for _, s := range w.sets {
		d, err := w.toldOf(ctx, a, at, s)
		if err != nil {
			return err
		}
		took = append(took, millis(d))
		if err := sleep(ctx, recovery); err != nil { // its end is told, too
			return err
		}
	}
	o.say("%s: the last is told after %.0f ms", name, took)
	out[name] = median(took)
	return profiles()
}

// watchAtRest tells what the watches cost the node while nothing happens.
func (w *world) watchAtRest(ctx context.Context, out sample, name string, at int, without float64) error {
	procs := w.Procs()[at : at+1]
	before, err := timesOf(procs)
	if err != nil {
		return err
	}
	if err := sleep(ctx, measured); err != nil {
		return err
	}
	after, err := timesOf(procs)
	if err != nil {
		return err
	}
	with, err := memoryOf(procs[0])
	out[name+"-cpu"] = after.busiest(before)
	out[name+"-memory"] = (with - without) / (1 << 20)
	return err
}

// toldOf kills a master and tells how long after the first sign of its switch at the node, be it to a subscriber of the
// Sentinel protocol or to a watcher, the last watcher had it.
func (w *world) toldOf(ctx context.Context, a *audience, at int, s *set) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	sub := w.nodes[at].Subscribe(ctx, "+switch-master")
	defer func() { _ = sub.Close() }()
	if _, err := sub.Receive(ctx); err != nil {
		return 0, err
	}
	h := a.await(s)
	if err := w.kill([]*set{s}); err != nil {
		return 0, err
	}
	if _, err := sub.ReceiveMessage(ctx); err != nil {
		return 0, err
	}
	subscriber := time.Now()
	select {
	case <-h.all:
	case err := <-a.failed:
		return 0, err
	case <-ctx.Done():
		return 0, fmt.Errorf("%d of %d watchers are told of %s: %w", h.told.Load(), watches, s.name, context.Cause(ctx))
	}
	first := slices.MinFunc(h.at[:], time.Time.Compare)
	last := slices.MaxFunc(h.at[:], time.Time.Compare)
	if subscriber.Before(first) {
		first = subscriber
	}
	return last.Sub(first), nil
}

// audience is everyone who watches.
type audience struct {
	hears    atomic.Pointer[hearing]
	synced   sync.WaitGroup
	watching sync.WaitGroup
	failed   chan error // holds the first error

	mu sync.RWMutex
	// read are the latest messages by their bytes: all watchers get the same, and it is decoded once for all of them.
	read map[string]*sentinelv1.WatchMastersResponse
}

// hearing is one switch that all are to be told of.
type hearing struct {
	name, was string
	at        [watches]time.Time // zero: not told yet
	told      atomic.Int64
	all       chan struct{} // closed when all are told
}

func newAudience() *audience {
	return &audience{failed: make(chan error, 1), read: map[string]*sentinelv1.WatchMastersResponse{}}
}

// gather begins all watches, spread over so many connections, and returns when each has the present state. They end with ctx.
func (a *audience) gather(ctx context.Context, addr string, conns int) error {
	places := make(chan struct{}, openers)
	a.synced.Add(watches)
	for i := range conns {
		a.watching.Go(func() {
			err := a.watch(ctx, addr, i, conns, places)
			if ctx.Err() == nil {
				select {
				case a.failed <- fmt.Errorf("connection %d: %w", i, err):
				default:
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		a.synced.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case err := <-a.failed:
		return err
	case <-time.After(limit):
		return fmt.Errorf("not all %d watches stand after %v", watches, limit)
	}
}

// watch is the i-th connection, of every conns-th watcher. One of these begins after the other, when that one has the present
// state, and the connection takes one of the places until all have.
func (a *audience) watch(ctx context.Context, addr string, i, conns int, places chan struct{}) error {
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c, err := dial(ctx, addr, sentinelv1.SentinelService_WatchMasters_FullMethodName, nil)
	if err != nil {
		return err
	}
	latest := i
	if err := c.begin(&call{place: latest}); err != nil {
		return err
	}
	for {
		k, ended, err := c.next()
		if err != nil {
			return err
		}
		if ended {
			return fmt.Errorf("watcher %d: %w", k.place, io.EOF)
		}
		now := time.Now()
		m, err := a.decode(k.message)
		if err != nil {
			return err
		}
		a.note(k.place, m, now)
		if m.GetSynced() == nil || k.place != latest {
			continue
		}
		a.synced.Done()
		if latest += conns; latest >= watches {
			<-places
			continue
		}
		if err := c.begin(&call{place: latest}); err != nil {
			return err
		}
	}
}

// note notes that a watcher is told of the switch that all wait for, if that is what it is told.
func (a *audience) note(watcher int, m *sentinelv1.WatchMastersResponse, now time.Time) {
	h := a.hears.Load()
	if h == nil || !h.at[watcher].IsZero() || !h.isSwitch(m.GetMaster()) {
		return
	}
	h.at[watcher] = now
	if h.told.Add(1) == watches {
		close(h.all)
	}
}

// decode decodes what nobody has read yet.
func (a *audience) decode(b []byte) (*sentinelv1.WatchMastersResponse, error) {
	a.mu.RLock()
	m, ok := a.read[string(b)]
	a.mu.RUnlock()
	if ok {
		return m, nil
	}
	m = &sentinelv1.WatchMastersResponse{}
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.read[string(b)] = m
	return m, nil
}

// await has everyone listen for the switch of a set.
func (a *audience) await(s *set) *hearing {
	a.mu.Lock()
	clear(a.read)
	a.mu.Unlock()
	h := &hearing{name: s.name, was: s.master, all: make(chan struct{})}
	a.hears.Store(h)
	return h
}

func (h *hearing) isSwitch(m *sentinelv1.Master) bool {
	at := m.GetAddress()
	return m.GetName() == h.name && net.JoinHostPort(at.GetHost(), strconv.Itoa(int(at.GetPort()))) != h.was
}
