package lab

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

// RedisSentinel is three processes of Redis Sentinel.
type RedisSentinel struct {
	sentinels []*stage.Sentinel
	clients   []*redis.SentinelClient
}

// NewRedisSentinel makes three Sentinels that do not run yet.
func NewRedisSentinel(s *stage.Stage) (*RedisSentinel, error) {
	r := &RedisSentinel{}
	for range 3 {
		p, err := s.Sentinel(stage.SentinelOptions{})
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.sentinels = append(r.sentinels, p)
		r.clients = append(r.clients, redis.NewSentinelClient(Plain(p.Addr())))
	}
	return r, nil
}

// Plain are the options of a client that adds nothing of its own: no handshake, no retry.
func Plain(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true,
		DialTimeout: time.Second, ReadTimeout: time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Start starts all three.
func (r *RedisSentinel) Start(ctx context.Context) error {
	for _, p := range r.sentinels {
		if err := p.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Name is the program's.
func (r *RedisSentinel) Name() string { return "redis-sentinel" }

// Procs are its processes.
func (r *RedisSentinel) Procs() []*stage.Process {
	var out []*stage.Process
	for _, s := range r.sentinels {
		out = append(out, s.Process)
	}
	return out
}

// Addrs are where each answers.
func (r *RedisSentinel) Addrs() []string {
	var out []string
	for _, s := range r.sentinels {
		out = append(out, s.Addr())
	}
	return out
}

// Close closes the connections; the processes are the stage's.
func (r *RedisSentinel) Close() error {
	var errs []error
	for _, c := range r.clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Monitor puts the master under watch in each of them.
func (r *RedisSentinel) Monitor(ctx context.Context, master string) error {
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		return err
	}
	for _, c := range r.clients {
		if err := c.Monitor(ctx, MasterName, host, port, "2").Err(); err != nil {
			return err
		}
		if err := c.Set(ctx, MasterName, "down-after-milliseconds", fmt.Sprint(DownAfter.Milliseconds())).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Leader is any of them, since one is elected for each failover.
func (r *RedisSentinel) Leader(context.Context) (int, error) { return 0, nil }

// Failover orders a failover of one of them.
func (r *RedisSentinel) Failover(ctx context.Context) error {
	return r.clients[0].Failover(ctx, MasterName).Err()
}

// Rested tells why they are not at rest with the given master and two replicas.
func (r *RedisSentinel) Rested(ctx context.Context, master string) error {
	for i, c := range r.clients {
		m, err := c.Master(ctx, MasterName).Result()
		if err != nil {
			return err
		}
		if net.JoinHostPort(m["ip"], m["port"]) != master || m["flags"] != "master" || m["num-slaves"] != "2" || m["num-other-sentinels"] != "2" {
			return fmt.Errorf("sentinel %d: %v", i+1, m)
		}
		replicas, err := c.Replicas(ctx, MasterName).Result()
		if err != nil {
			return err
		}
		for _, v := range replicas {
			if v["flags"] != "slave" || v["master-link-status"] != "ok" || net.JoinHostPort(v["master-host"], v["master-port"]) != master {
				return fmt.Errorf("sentinel %d: %v", i+1, v)
			}
		}
	}
	return nil
}
