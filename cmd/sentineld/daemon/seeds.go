package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	seedRetry   = 500 * time.Millisecond
	seedTimeout = 3 * time.Second
	// seedHops bounds the way from a replica to its master.
	seedHops = 4
)

// seeder proposes the masters of the configuration file, each once in a cluster's life: what the replicated state knows,
// or knows to be removed, wins over the file.
type seeder struct {
	node      api.Node
	inspector api.Inspector
	// fresh: this node had no state when it started. Only then does its file have a say about a master that another node's
	// file named otherwise.
	fresh bool
	log   *slog.Logger
}

// run ends when every seed is settled, and the first values of the cluster's settings are.
func (s seeder) run(ctx context.Context, seeds []conf.Seed, settings map[string]string) {
	for _, seed := range seeds {
		if !again(ctx, func() bool { return s.settle(ctx, seed) }) {
			return
		}
	}
	again(ctx, func() bool { return s.configure(ctx, settings) })
}

// again tries until it is done, and tells whether it ever was.
func again(ctx context.Context, try func() bool) bool {
	for !try() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(seedRetry):
		}
	}
	return true
}

// configure proposes the settings of the file that were never given a value, and warns of those that have another one: the
// first node to propose has its way, whatever the other nodes' files say.
func (s seeder) configure(ctx context.Context, settings map[string]string) bool {
	ctx, cancel := context.WithTimeout(ctx, seedTimeout)
	defer cancel()
	state, err := s.node.Read(ctx)
	if err != nil {
		return false
	}
	c := &raftlogv1.Configure{Seed: true}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if _, given := state.Setting(name); !given {
			c.Settings = append(c.Settings, &raftlogv1.OptionValue{Name: name, Value: settings[name]})
		}
	}
	if len(c.GetSettings()) == 0 {
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			if value, _ := state.Setting(name); value != settings[name] {
				s.log.Warn("the file's setting differs from the cluster's, which holds", "setting", name, "file", settings[name], "cluster", value)
			}
		}
		return true
	}
	// Refused until the whole cluster knows settings; and another node may be faster. Either way what holds is looked at again.
	_, _ = s.node.Propose(ctx, &raftlogv1.Command{
		Header: &raftlogv1.Header{Actor: "configuration file"}, Op: &raftlogv1.Command_Configure{Configure: c},
	})
	return false
}

// settle makes one attempt for one seed, and tells whether nothing is left to do.
func (s seeder) settle(ctx context.Context, seed conf.Seed) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*seedTimeout)
	defer cancel()
	state, err := s.node.Read(ctx)
	if err != nil {
		return false
	}
	if m, known := state.Master(seed.Name); known {
		return s.compare(ctx, m, seed)
	}
	if at, removed := state.Tombstone(seed.Name); removed {
		s.log.Info("seed was removed by hand and stays so", "master", seed.Name, "place", seed.Place, "removed_at", at)
		return true
	}
	monitor := &raftlogv1.Monitor{Name: seed.Name, Seed: true, Options: seed.Options.Values()}
	address, seen, reason := s.locate(ctx, seed)
	if reason == "" && len(seen.Sentinels) > 0 {
		reason = api.SentinelsReason(api.Introduce(ctx, s.inspector, address, seed.Options, seen.Sentinels))
	}
	if seen.SentinelsUnknown != "" {
		s.log.Warn("cannot tell whether sentinels are active", "master", seed.Name, "instance", address, "error", seen.SentinelsUnknown)
	}
	monitor.Address, monitor.PausedReason = address.Proto(), reason
	res, err := s.node.Propose(ctx, &raftlogv1.Command{
		Header: &raftlogv1.Header{Actor: "configuration file"}, Op: &raftlogv1.Command_Monitor{Monitor: monitor},
	})
	if err != nil {
		return false
	}
	if err := res.Err(); err != nil {
		s.log.Error("seed refused", "master", seed.Name, "place", seed.Place, "error", err)
		return true
	}
	if reason != "" {
		s.log.Warn("seed comes up paused", "master", seed.Name, "place", seed.Place, "reason", reason)
	}
	return true
}

// locate follows a seed that answers as a replica to its master, and tells what was seen there. The reason is why the set
// must come up paused.
func (s seeder) locate(ctx context.Context, seed conf.Seed) (at raftfsm.Addr, seen api.Inspection, reason string) {
	at = seed.Address
	for range seedHops {
		visit, cancel := context.WithTimeout(ctx, seedTimeout/seedHops)
		var err error
		seen, err = s.inspector.Inspect(visit, at, seed.Options)
		cancel()
		switch {
		case err != nil:
			return seed.Address, seen, fmt.Sprintf("the seed's instance %s does not answer: %v", at, err)
		case seen.AuthRejected != "":
			return seed.Address, seen, fmt.Sprintf("the seed's instance %s rejects the password: %s", at, seen.AuthRejected)
		case seen.Sentinel:
			return seed.Address, seen, fmt.Sprintf("the seed's instance %s is a Sentinel, not a Redis server", at)
		case seen.Info.Role != raftfsm.RoleReplica:
			return at, seen, ""
		}
		next, err := raftfsm.NewAddr(seen.Info.MasterHost, seen.Info.MasterPort)
		if err != nil {
			return seed.Address, seen, fmt.Sprintf("the seed's instance %s is a replica of nothing reachable", at)
		}
		s.log.Info("seed answers as a replica", "master", seed.Name, "instance", at, "follows", next)
		at = next
	}
	return seed.Address, seen, "the seed's instance is at the end of a chain of replicas"
}

// compare settles a seed whose name exists. An address that is a member of the set is no difference.
func (s seeder) compare(ctx context.Context, m *raftfsm.Master, seed conf.Seed) bool {
	if _, member := m.Instance(seed.Address); member || !s.fresh || m.Resting() || m.Epoch > 0 {
		return true
	}
	if at, _, reason := s.locate(ctx, seed); at == m.Address && reason == "" {
		return true
	}
	reason := fmt.Sprintf("nodes' configuration files disagree: %s says %s, the cluster has %s", seed.Place, seed.Address, m.Address)
	s.log.Warn("seed differs from the cluster's; the master is paused", "master", seed.Name, "reason", reason)
	_, err := s.node.Propose(ctx, &raftlogv1.Command{
		Header: &raftlogv1.Header{Actor: "configuration file"},
		Op:     &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: seed.Name, Reason: reason}},
	})
	return err == nil
}
