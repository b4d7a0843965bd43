package goredis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/api/client"
)

const (
	// redialEvery is the pause between two attempts to reach the master that the cluster tells.
	redialEvery = 100 * time.Millisecond
	// askAfter is how long the master may give trouble before the cluster is asked for it: the node that is watched may have
	// died with it. A dial that takes as long is trouble.
	askAfter = time.Second
	// watchAgain is the pause after a watch has ended by an error.
	watchAgain = time.Second
)

// follower knows where the master is, and every connection to it.
type follower struct {
	cluster *client.Client
	name    string
	connect func(ctx context.Context, network, addr string) (net.Conn, error)
	timeout time.Duration

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	// trouble asks for a look at the cluster; one request may wait.
	trouble chan struct{}

	mu sync.Mutex
	// master is the latest that was told; here ends when its address changes. why is the reason where there is none.
	master client.Master
	here   context.Context
	leave  context.CancelFunc
	why    error
	// conns are all connections to master.Addr that are open.
	conns map[*conn]bool
}

func newFollower(c *client.Client, name string, connect func(context.Context, string, string) (net.Conn, error), timeout time.Duration) *follower {
	f := &follower{
		cluster: c, name: name, connect: connect, timeout: timeout, trouble: make(chan struct{}, 1),
		why: errors.New("no node has told it yet"), conns: map[*conn]bool{},
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.here, f.leave = context.WithCancel(f.ctx)
	return f
}

func (f *follower) start() {
	f.work.Go(f.watch)
	f.work.Go(f.ask)
}

func (f *follower) stop() {
	f.cancel()
	f.work.Wait()
}

// watch learns of every switch from the stream.
func (f *follower) watch() {
	for {
		for u, err := range f.cluster.Watch(f.ctx, f.name) {
			switch {
			case err != nil:
				f.unknown(err)
			case u.Master.Addr != "":
				f.take(u.Master)
			case u.Synced:
				f.unknown(errors.New("the cluster watches no set of this name"))
			}
		}
		select {
		case <-f.ctx.Done():
			return
		case <-time.After(watchAgain):
		}
	}
}

// ask asks for the master where it gives trouble and no switch was told: the answer comes from whichever node works.
func (f *follower) ask() {
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.trouble:
		}
		_, here := f.present()
		select {
		case <-here.Done():
			continue
		case <-time.After(askAfter):
		}
		m, err := f.cluster.Master(f.ctx, f.name)
		if err != nil {
			f.unknown(err)
			continue
		}
		f.take(m)
	}
}

// doubt tells that the master gives trouble.
func (f *follower) doubt() {
	select {
	case f.trouble <- struct{}{}:
	default:
	}
}

// take goes to the master that was told, unless it is older than what is known, and drops the connections to the former.
func (f *follower) take(m client.Master) {
	f.mu.Lock()
	if m.Cluster == f.master.Cluster && m.Revision <= f.master.Revision {
		f.mu.Unlock()
		return
	}
	former := f.master.Addr
	f.master = m
	var dropped map[*conn]bool
	if m.Addr != former {
		dropped, f.conns = f.conns, map[*conn]bool{}
		f.leave()
		f.here, f.leave = context.WithCancel(f.ctx)
	}
	f.mu.Unlock()
	for c := range dropped {
		c.drop(fmt.Errorf("the master of %s is %s now, no longer %s", f.name, m.Addr, former))
	}
}

func (f *follower) unknown(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.why = why
}

// present is the master's address, "" where it is not known, and what ends when it changes.
func (f *follower) present() (addr string, here context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.master.Addr, f.here
}

// dial is go-redis's dialer. It gives a connection to what is the master when it returns, and tries for as long as it may:
// a dial that fails at once counts against go-redis's pool, which then tries once a second.
func (f *follower) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	defer context.AfterFunc(f.ctx, cancel)()
	defer time.AfterFunc(askAfter, f.doubt).Stop()
	var failed error
	for ctx.Err() == nil {
		addr, here := f.present()
		var again <-chan time.Time
		if addr != "" {
			c, err := f.dialAt(ctx, here, network, addr)
			if c != nil {
				return c, nil
			}
			if err != nil && (failed == nil || ctx.Err() == nil) {
				// An attempt that the time ended says less than one before it.
				failed = err
			}
			again = time.After(redialEvery)
		}
		select {
		case <-here.Done():
		case <-again:
		case <-ctx.Done():
		}
	}
	return nil, f.undialled(failed)
}

// dialAt gives a connection only if addr is still the master; a nil one without an error where it is not.
func (f *follower) dialAt(ctx, here context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(here, cancel)()
	raw, err := f.connect(ctx, network, addr)
	if err != nil {
		if here.Err() != nil {
			return nil, nil
		}
		f.doubt()
		return nil, err
	}
	c := &conn{Conn: raw, follower: f}
	f.mu.Lock()
	defer f.mu.Unlock()
	if here.Err() != nil {
		c.drop(net.ErrClosed)
		return nil, nil
	}
	f.conns[c] = true
	return c, nil
}

// undialled is why there is no connection.
func (f *follower) undialled(failed error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ctx.Err() != nil:
		return redis.ErrClosed
	case failed != nil:
		return failed
	case f.master.Addr == "":
		return fmt.Errorf("the master of %s is not known: %w", f.name, f.why)
	}
	return fmt.Errorf("the master of %s at %s could not be reached in the time allowed", f.name, f.master.Addr)
}

// forget is told that a connection is closed.
func (f *follower) forget(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}
