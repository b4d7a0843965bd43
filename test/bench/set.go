package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

const (
	downAfter = time.Second
	// limit bounds one measurement, and the wait for rest between two.
	limit     = 60 * time.Second
	pollEvery = 20 * time.Millisecond
)

// watcher is what watches the set: sentineld or redis-sentinel.
type watcher interface {
	name() string
	// procs are its processes, addrs where each answers as a Sentinel, in the same order.
	procs() []*stage.Process
	addrs() []string
	// monitor puts the master under watch.
	monitor(ctx context.Context, master string) error
	// leader is the place in procs of the node that carries out a failover.
	leader(ctx context.Context) (int, error)
	// rested tells why it is not yet at rest with the given master and two replicas.
	rested(ctx context.Context, master string) error
	close()
}

// set is a master with two replicas under watch.
type set struct {
	watcher
	servers []*stage.Redis
	clients []*redis.Client
	master  *stage.Redis
}

func newSet(ctx context.Context, s *stage.Stage, w watcher) (*set, error) {
	l := &set{watcher: w}
	for i := range 3 {
		o := stage.RedisOptions{}
		if i > 0 {
			o.ReplicaOf = l.servers[0].Addr()
		}
		r, err := s.Redis(o)
		if err != nil {
			return nil, err
		}
		if err := r.Start(ctx); err != nil {
			return nil, err
		}
		l.servers = append(l.servers, r)
		l.clients = append(l.clients, redis.NewClient(&redis.Options{
			Addr: r.Addr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true,
			DialTimeout: time.Second, ReadTimeout: time.Second,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}))
	}
	l.master = l.servers[0]
	if err := l.until(ctx, func(ctx context.Context) error { return l.following(ctx) }); err != nil {
		return nil, err
	}
	return l, w.monitor(ctx, l.master.Addr())
}

// until asks until the answer is no error.
func (l *set) until(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		once, cancelOnce := context.WithTimeout(ctx, 3*time.Second)
		err := ask(once)
		cancelOnce()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-time.After(pollEvery):
		}
	}
}

// following tells why Redis itself is not one master with two replicas in sync, and finds that master.
func (l *set) following(ctx context.Context) error {
	var master *stage.Redis
	follows := map[string]int{}
	for i, c := range l.clients {
		role, err := c.Do(ctx, "ROLE").Slice()
		switch {
		case err != nil:
			return err
		case role[0] == "master" && master != nil:
			return errors.New("two masters")
		case role[0] == "master":
			master = l.servers[i]
		case len(role) < 4 || role[3] != "connected":
			return fmt.Errorf("%s: %v", l.servers[i].Addr(), role)
		default:
			follows[net.JoinHostPort(fmt.Sprint(role[1]), fmt.Sprint(role[2]))]++
		}
	}
	if master == nil || follows[master.Addr()] != 2 {
		return fmt.Errorf("master %v, followed %v", master, follows)
	}
	l.master = master
	return nil
}

// settle revives what a round has ended, and waits until everything is at rest.
func (l *set) settle(ctx context.Context) error {
	for _, p := range l.procs() {
		if !p.Running() {
			if err := p.Start(ctx); err != nil {
				return err
			}
		}
	}
	for _, r := range l.servers {
		if !r.Running() {
			if err := r.Start(ctx); err != nil {
				return err
			}
		}
	}
	err := l.until(ctx, func(ctx context.Context) error {
		if err := l.following(ctx); err != nil {
			return err
		}
		return l.rested(ctx, l.master.Addr())
	})
	if err != nil {
		return err
	}
	// Phases of probes and timers differ from round to round.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(500+time.Now().UnixNano()%500) * time.Millisecond):
		return nil
	}
}

// others are the Sentinel addresses of all nodes but one.
func (l *set) others(not int) []string {
	var out []string
	for i, a := range l.addrs() {
		if i != not {
			out = append(out, a)
		}
	}
	return out
}
