package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// writeEvery is the pause between two writes of the demonstration's client.
const writeEvery = time.Millisecond

// silence keeps the Redis client's own complaints off the terminal: broken connections are what is being shown.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func redisOptions(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, MaxRetries: -1, DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
		PoolSize: 1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// view is the failover as clients see it: a watch on each node, and a writer that goes where the cluster tells it.
type view struct {
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu sync.Mutex
	// told is when each node first told another master than old.
	told []time.Time
	kill time.Time
	// target is where the writer writes; moved is closed when it changes.
	target string
	moved  chan struct{}
	writes writes
}

// writes are what a writer has had acknowledged. It counts up one key: what the new master lacks was lost.
type writes struct {
	acknowledged int
	// before is the last acknowledgement by the old master, after the first by another.
	before, after ack
}

type ack struct {
	at    time.Time
	value int64
}

// watchClients starts the clients; they end with view.stop.
func (d *demo) watchClients(ctx context.Context, old string) *view {
	ctx, cancel := context.WithCancel(ctx)
	v := &view{cancel: cancel, told: make([]time.Time, len(d.each)), target: old, moved: make(chan struct{})}
	for i, c := range d.each {
		v.work.Go(func() {
			for u, err := range c.Watch(ctx, demoMaster) {
				if err == nil && u.Master.Addr != "" && u.Master.Addr != old {
					v.tell(i, time.Now())
				}
			}
		})
	}
	v.work.Go(func() {
		for u, err := range d.all.Watch(ctx, demoMaster) {
			if err == nil && u.Master.Addr != "" {
				v.move(u.Master.Addr)
			}
		}
	})
	v.work.Go(func() { v.write(ctx, old) })
	return v
}

func (v *view) stop() {
	v.cancel()
	v.work.Wait()
}

func (v *view) tell(i int, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.told[i].IsZero() {
		v.told[i] = at
	}
}

func (v *view) move(addr string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.target != addr {
		v.target = addr
		close(v.moved)
		v.moved = make(chan struct{})
	}
}

func (v *view) where() (string, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.target, v.moved
}

func (v *view) killed(at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kill = at
}

// write counts up a key on the present master until ctx ends.
func (v *view) write(ctx context.Context, old string) {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		addr, moved := v.where()
		c := redis.NewClient(redisOptions(addr))
		for here := true; here; {
			if n, err := c.Incr(ctx, "sentinelctl:demo").Result(); err == nil {
				v.acknowledge(addr == old, ack{time.Now(), n})
			}
			select {
			case <-ctx.Done():
				here = false
			case <-moved:
				here = false
			case <-tick.C:
			}
		}
		_ = c.Close() // its server may be dead
	}
}

func (v *view) acknowledge(byOld bool, a ack) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writes.acknowledged++
	switch {
	case byOld:
		v.writes.before = a
	case v.writes.after.at.IsZero():
		v.writes.after = a
	}
}

func (v *view) seen() (told []time.Time, w writes) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append(told, v.told...), v.writes
}

// settle waits until the writer has had enough acknowledged to be called running.
func (v *view) settle(ctx context.Context) error {
	return await(ctx, "a client writes", 5*time.Second, func(context.Context) error {
		if _, w := v.seen(); w.acknowledged < 100 {
			return fmt.Errorf("%d writes acknowledged", w.acknowledged)
		}
		return nil
	})
}

// reached is what the clients saw, once they have seen it all.
func (v *view) reached(ctx context.Context, d *demo, to string) (told []time.Time, w writes, err error) {
	err = await(ctx, "clients reach the new master", 5*time.Second, func(context.Context) error {
		told, w := v.seen()
		for i, at := range told {
			if at.IsZero() {
				return fmt.Errorf("the watch on %s told nothing", d.nodes.Nodes[i].Name())
			}
		}
		if w.after.at.IsZero() {
			return fmt.Errorf("no write to %s was acknowledged", to)
		}
		return nil
	})
	told, w = v.seen()
	return told, w, err
}

// report prints what the clients saw of a crash.
func (v *view) report(ctx context.Context, d *demo, to string) error {
	told, w, err := v.reached(ctx, d, to)
	if err != nil {
		return err
	}
	d.printf("\nWhat clients saw, by their own clock\n\n  %11s  %12s\n", "from kill", "+down-after")
	for _, r := range rowsOf(d, told, w, to) {
		from, past := r.at.Sub(v.kill), ""
		if from >= demoDownAfter {
			past = fineOffset(from - demoDownAfter)
		}
		d.printf("  %11s  %12s  %s\n", fineOffset(from), past, r.what)
	}
	d.printf("\n  %s\n", w.told())
	return nil
}

// rowsOf is what the clients saw, in the order of time.
func rowsOf(d *demo, told []time.Time, w writes, to string) []seenAt {
	rows := []seenAt{
		{w.before.at, "last write acknowledged by the old master"},
		{w.after.at, "first write acknowledged by the new master"},
	}
	for i, at := range told {
		rows = append(rows, seenAt{at, "the watch on " + d.nodes.Nodes[i].Name() + " tells " + to})
	}
	slices.SortStableFunc(rows, func(a, b seenAt) int { return a.at.Compare(b.at) })
	return rows
}

// lost counts the acknowledged writes that the new master had not.
func (w writes) lost() int64 { return max(0, w.before.value+1-w.after.value) }

func (w writes) told() string {
	return fmt.Sprintf("The writer was stopped for %.1f ms; of %d acknowledged writes %d were lost.",
		float64(w.after.at.Sub(w.before.at))/float64(time.Millisecond), w.before.value, w.lost())
}

// seenAt is something that a client saw.
type seenAt struct {
	at   time.Time
	what string
}

func fineOffset(d time.Duration) string {
	return fmt.Sprintf("%+.1f ms", float64(d)/float64(time.Millisecond))
}

// eventStream is the events from now on, buffered, so that reading them keeps nobody waiting.
type eventStream struct {
	cancel context.CancelFunc
	ch     chan *sentinelv1.Event
	err    error
	work   sync.WaitGroup
}

// follow begins to follow the events. It returns once the cluster follows too, so that nothing after it is missed.
func (d *demo) follow(ctx context.Context) (*eventStream, error) {
	status, err := sentinelv1.NewClusterServiceClient(d.all).GetStatus(ctx, &sentinelv1.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &eventStream{cancel: cancel, ch: make(chan *sentinelv1.Event, 256)}
	from := &sentinelv1.EventCursor{ClusterId: status.GetClusterId(), Index: status.GetRevision(), Ordinal: math.MaxInt32}
	s.work.Go(func() { s.read(ctx, d.all, from) })
	return s, nil
}

func (s *eventStream) read(ctx context.Context, c *client.Client, from *sentinelv1.EventCursor) {
	defer close(s.ch)
	for r, err := range c.WatchEvents(ctx, from, demoMaster) {
		if err != nil {
			s.err = err
			return
		}
		for _, e := range r.GetBatch().GetEvents() {
			select {
			case s.ch <- e:
			case <-ctx.Done():
				return
			}
		}
	}
}

// next waits for one event.
func (s *eventStream) next(ctx context.Context, limit time.Duration) (*sentinelv1.Event, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no event for %v", limit))
	defer cancel()
	select {
	case e, ok := <-s.ch:
		if !ok {
			return nil, fmt.Errorf("the watch ended: %w", s.err)
		}
		return e, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ready is an event that is there already, or nil.
func (s *eventStream) ready() *sentinelv1.Event {
	select {
	case e := <-s.ch:
		return e
	default:
		return nil
	}
}

func (s *eventStream) stop() {
	s.cancel()
	s.work.Wait()
}
