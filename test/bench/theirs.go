package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

// theirs is three processes of redis-sentinel.
type theirs struct {
	sentinels []*stage.Sentinel
	clients   []*redis.SentinelClient
}

func newTheirs(ctx context.Context, s *stage.Stage) (*theirs, error) {
	t := &theirs{}
	for range 3 {
		p, err := s.Sentinel(stage.SentinelOptions{})
		if err != nil {
			return nil, err
		}
		if err := p.Start(ctx); err != nil {
			return nil, err
		}
		t.sentinels = append(t.sentinels, p)
		t.clients = append(t.clients, redis.NewSentinelClient(&redis.Options{
			Addr: p.Addr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true,
			DialTimeout: time.Second, ReadTimeout: time.Second,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}))
	}
	return t, nil
}

func (t *theirs) name() string { return "redis-sentinel" }

func (t *theirs) procs() []*stage.Process {
	var out []*stage.Process
	for _, s := range t.sentinels {
		out = append(out, s.Process)
	}
	return out
}

func (t *theirs) addrs() []string {
	var out []string
	for _, s := range t.sentinels {
		out = append(out, s.Addr())
	}
	return out
}

func (t *theirs) close() {
	for _, c := range t.clients {
		_ = c.Close()
	}
}

func (t *theirs) monitor(ctx context.Context, master string) error {
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		return err
	}
	for _, c := range t.clients {
		if err := c.Monitor(ctx, setName, host, port, "2").Err(); err != nil {
			return err
		}
		if err := c.Set(ctx, setName, "down-after-milliseconds", fmt.Sprint(downAfter.Milliseconds())).Err(); err != nil {
			return err
		}
	}
	return nil
}

// leader: any of them, since one is elected for each failover.
func (t *theirs) leader(context.Context) (int, error) { return 0, nil }

func (t *theirs) rested(ctx context.Context, master string) error {
	for i, c := range t.clients {
		m, err := c.Master(ctx, setName).Result()
		if err != nil {
			return err
		}
		if net.JoinHostPort(m["ip"], m["port"]) != master || m["flags"] != "master" || m["num-slaves"] != "2" || m["num-other-sentinels"] != "2" {
			return fmt.Errorf("sentinel %d: %v", i+1, m)
		}
		replicas, err := c.Replicas(ctx, setName).Result()
		if err != nil {
			return err
		}
		for _, r := range replicas {
			if r["flags"] != "slave" || r["master-link-status"] != "ok" || net.JoinHostPort(r["master-host"], r["master-port"]) != master {
				return fmt.Errorf("sentinel %d: %v", i+1, r)
			}
		}
	}
	return nil
}
