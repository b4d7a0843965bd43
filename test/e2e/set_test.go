package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// set is a master with its replicas, as the lab knows them.
type set struct {
	*lab
	name     string
	password string
	servers  []*server
}

// server is one Redis with a connection to it. at is how the cluster knows it: its own address, or a proxy's.
type server struct {
	*stage.Redis
	at     string
	client *redis.Client
}

// setOptions say what a set is like; the zero value is a master with two replicas.
type setOptions struct {
	replicas  int
	password  string
	downAfter time.Duration
	// config goes to every server.
	config []string
	// proxied: everybody knows the master by the address that this gives.
	proxied func(addr string) string
}

// newSet starts a set whose replicas are in sync, and watches it.
func (l *lab) newSet(name string, o setOptions) *set {
	l.t.Helper()
	s := l.newServers(name, o)
	s.monitor(l.nodes[0], o)
	s.settled(s.servers[0])
	return s
}

// newServers starts the servers alone.
func (l *lab) newServers(name string, o setOptions) *set {
	l.t.Helper()
	if o.replicas == 0 {
		o.replicas = 2
	}
	if o.password != "" {
		o.config = append(o.config, "requirepass "+o.password, "masterauth "+o.password)
	}
	s := &set{lab: l, name: name, password: o.password}
	master := s.add(stage.RedisOptions{Name: name + "-0", Config: o.config})
	if o.proxied != nil {
		master.at = o.proxied(master.Addr())
		// It names that address when it follows another. A second one would take the first one's place where a node still holds
		// that down, and the story of the first would not be corrected.
		_, port, err := net.SplitHostPort(master.at)
		l.must(err)
		l.must(master.client.ConfigSet(l.t.Context(), "replica-announce-port", port).Err())
	}
	for i := range o.replicas {
		s.add(stage.RedisOptions{Name: fmt.Sprintf("%s-%d", name, i+1), ReplicaOf: master.at, Config: o.config})
	}
	// A set that nobody ever wrote to is judged more strictly: nothing tells its replicas from emptied ones.
	l.eventually(name+"'s replicas are in sync", soon, func(ctx context.Context) error {
		if err := s.follow(ctx, master); err != nil {
			return err
		}
		if err := master.client.Set(ctx, "key", "value", 0).Err(); err != nil {
			return err
		}
		if n, err := master.client.Wait(ctx, o.replicas, time.Second).Result(); err != nil || n < int64(o.replicas) {
			return fmt.Errorf("%d replicas have what was written, %w", n, err)
		}
		return nil
	})
	return s
}

// replicaOf changes a server by hand; nil makes it a master.
func (v *server) replicaOf(ctx context.Context, master *server) error {
	if master == nil {
		return v.client.Do(ctx, "REPLICAOF", "NO", "ONE").Err()
	}
	host, port, _ := strings.Cut(master.at, ":")
	return v.client.Do(ctx, "REPLICAOF", host, port).Err()
}

func (s *set) add(o stage.RedisOptions) *server {
	s.t.Helper()
	r, err := s.stage.Redis(o)
	s.must(err)
	s.must(r.Start(s.t.Context()))
	v := &server{r, r.Addr(), s.client(r.Addr(), s.password)}
	s.servers = append(s.servers, v)
	return v
}

// monitor has one node watch the set.
func (s *set) monitor(n *node, o setOptions) {
	s.t.Helper()
	if o.downAfter == 0 {
		o.downAfter = downAfter
	}
	quorum, after, timeout := int32(len(s.nodes)/2+1), o.downAfter.Milliseconds(), (20 * time.Second).Milliseconds()
	cooldown := int64(0) // what crashes again and again here is no flapping master
	opts := &sentinelv1.MasterOptions{Quorum: &quorum, DownAfterMs: &after, FailoverTimeoutMs: &timeout, FailoverCooldownMs: &cooldown}
	if s.password != "" {
		opts.AuthPass = &s.password
	}
	s.eventually("monitor "+s.name, soon, func(ctx context.Context) error {
		_, err := n.admin.MonitorMaster(ctx, &sentinelv1.MonitorMasterRequest{
			Name: s.name, Address: address(s.servers[0].at), Options: opts,
		})
		return err
	})
}

func address(hostport string) *sentinelv1.Address {
	host, port, _ := strings.Cut(hostport, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		panic(fmt.Sprintf("address %q: %v", hostport, err))
	}
	return &sentinelv1.Address{Host: host, Port: uint32(n)}
}

func text(a *sentinelv1.Address) string { return fmt.Sprintf("%s:%d", a.GetHost(), a.GetPort()) }

// local is the set as one node knows it, at once.
func (s *set) local(ctx context.Context, n *node) (*sentinelv1.Master, error) {
	r, err := n.masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: s.name, Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name(), err)
	}
	return r.GetMaster(), nil
}

// settled waits until the set is at rest with the given master: every running node names it, no failover is open, every
// running server is up in every node's eyes and known to have been in sync, and Redis itself agrees.
func (s *set) settled(master *server) {
	s.t.Helper()
	s.eventually(s.name+" is at rest with "+master.Name(), soon, func(ctx context.Context) error {
		for _, n := range s.running() {
			if err := s.restsOn(ctx, n, master); err != nil {
				return err
			}
		}
		return s.follow(ctx, master)
	})
}

func (s *set) restsOn(ctx context.Context, n *node, master *server) error {
	m, err := s.local(ctx, n)
	switch {
	case err != nil:
		return err
	case text(m.GetAddress()) != master.at:
		return fmt.Errorf("%s names %s", n.Name(), text(m.GetAddress()))
	case m.GetFailover() != nil:
		return fmt.Errorf("%s: failover %d is open: %v", n.Name(), m.GetFailover().GetEpoch(), m.GetFailover().GetSteps())
	case m.GetHold() != nil || m.GetPause() != nil:
		return fmt.Errorf("%s: held %v, paused %v", n.Name(), m.GetHold(), m.GetPause())
	}
	for _, v := range s.servers {
		if !v.Running() {
			continue
		}
		if err := rests(m, v, master); err != nil {
			return fmt.Errorf("%s: %w", n.Name(), err)
		}
	}
	return nil
}

func rests(m *sentinelv1.Master, v, master *server) error {
	history := ""
	for _, in := range m.GetInstances() {
		if text(in.GetAddress()) == master.at {
			history = in.GetReplId()
		}
	}
	for _, in := range m.GetInstances() {
		if text(in.GetAddress()) != v.at {
			continue
		}
		if len(in.GetVotes()) > 0 {
			return fmt.Errorf("%s is held down: %v", v.Name(), in.GetVotes())
		}
		// Until that is committed it could not take the place of a master that dies.
		if v != master && (history == "" || in.GetSyncedReplId() != history) {
			return fmt.Errorf("%s is not known to be in sync with %s: %q, %q", v.Name(), master.Name(), in.GetSyncedReplId(), history)
		}
		return nil
	}
	return fmt.Errorf("%s is not known", v.Name())
}

// follow tells why not every running server says that the given one is the master, which is up.
func (s *set) follow(ctx context.Context, master *server) error {
	for _, v := range s.servers {
		if !v.Running() {
			continue
		}
		role, err := v.role(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", v.Name(), err)
		}
		if want := "slave " + master.at + " connected"; v != master && role != want || v == master && role != "master" {
			return fmt.Errorf("%s says %q", v.Name(), role)
		}
	}
	return nil
}

// role is "master", or "slave HOST:PORT STATE".
func (v *server) role(ctx context.Context) (string, error) {
	r, err := v.client.Do(ctx, "ROLE").Slice()
	if err != nil {
		return "", err
	}
	if len(r) < 4 || r[0] != "slave" {
		return fmt.Sprint(r[0]), nil
	}
	return fmt.Sprintf("slave %v:%v %v", r[1], r[2], r[3]), nil
}

// switched waits until every running node names another master than the given one, and gives it.
func (s *set) switched(from *server) *server {
	s.t.Helper()
	var to *server
	s.eventually(s.name+" has another master than "+from.Name(), soon, func(ctx context.Context) error {
		names := map[string]bool{}
		for _, n := range s.running() {
			m, err := s.local(ctx, n)
			if err != nil {
				return err
			}
			names[text(m.GetAddress())] = true
		}
		for _, v := range s.servers {
			if names[v.at] {
				to = v
			}
		}
		if len(names) != 1 || names[from.at] || to == nil {
			return fmt.Errorf("nodes name %v", names)
		}
		return nil
	})
	return to
}

// failovers are the set's, newest first.
func (s *set) failovers() []*sentinelv1.Failover {
	s.t.Helper()
	var out []*sentinelv1.Failover
	s.eventually("failovers of "+s.name, soon, func(ctx context.Context) error {
		var errs []error
		for _, n := range s.running() {
			r, err := n.admin.ListFailovers(ctx, &sentinelv1.ListFailoversRequest{Name: s.name})
			if err == nil {
				out = r.GetFailovers()
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	return out
}

// switches fails the test unless the set was switched exactly n times and has no open failover.
func (s *set) switches(n int) {
	s.t.Helper()
	got := 0
	rows := s.failovers()
	for _, f := range rows {
		if f.GetSwitched() {
			got++
		}
		if f.GetOutcome() == sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED {
			s.t.Errorf("%s: failover %d is open", s.name, f.GetEpoch())
		}
	}
	events := s.events(s.name)
	if got != n || count(events, "+switch-master") != n {
		s.t.Errorf("%s: %d failovers switched and %d +switch-master, want %d: %v%s", s.name, got, count(events, "+switch-master"), n,
			rows, tell(events))
	}
}

// quiet fails the test if the set was ever objectively down or failed over.
func (s *set) quiet() {
	s.t.Helper()
	events := s.events(s.name)
	if count(events, "+odown") > 0 || count(events, "+switch-master") > 0 || len(s.failovers()) > 0 {
		s.t.Errorf("%s: something was done about a master that was up:%s", s.name, tell(events))
	}
}
