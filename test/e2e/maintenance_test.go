package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// TestMaintenance: nothing is reported of a replica in maintenance, it is not promoted and not repointed, whoever leads; when
// the maintenance is over it follows.
func TestMaintenance(t *testing.T) {
	l := newLab(t)
	s := l.newSet("aside", setOptions{})
	master, aside, other := s.servers[0], s.servers[1], s.servers[2]
	l.eventually("maintenance begins", soon, func(ctx context.Context) error { // as soon as the cluster is at its level
		_, err := l.follower().admin.StartMaintenance(ctx, &sentinelv1.StartMaintenanceRequest{Instance: address(aside.at), Reason: "new memory"})
		return err
	})
	l.must(aside.Kill())
	s.eventually("every node sees that it is down", soon, func(ctx context.Context) error {
		for _, n := range s.running() {
			in, err := s.instance(ctx, n, aside)
			if err != nil || !in.GetObservation().GetDown() {
				return fmt.Errorf("%s: %v, %w", n.Name(), in, err)
			}
		}
		return nil
	})
	old := l.leader()
	l.must(old.Kill())
	l.leader()
	l.last(2 * downAfter)
	for _, n := range s.running() {
		in, err := s.instance(t.Context(), n, aside)
		if err != nil || len(in.GetVotes()) > 0 || in.GetMaintenance().GetReason() != "new memory" {
			t.Errorf("%s: %v, %v", n.Name(), in, err)
		}
	}
	if events := s.events(s.name); count(events, "+sdown") > 0 || count(events, "+maintenance") != 1 {
		t.Errorf("it was reported:%s", tell(events))
	}
	l.must(old.Restart(t.Context()))
	l.formed()
	l.must(aside.Restart(t.Context()))
	s.eventually("it follows as it was left", soon, func(ctx context.Context) error { return s.follow(ctx, master) })

	l.must(master.Kill())
	if to := s.switched(master); to != other {
		t.Fatalf("%s was promoted", to.Name())
	}
	s.eventually("the failover closes without it", soon, func(context.Context) error {
		if f := s.failovers()[0]; f.GetOutcome() != sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED {
			return fmt.Errorf("%v", f)
		}
		return nil
	})
	if role, err := aside.role(t.Context()); err != nil || !strings.HasPrefix(role, "slave "+master.at) {
		t.Errorf("it was repointed: %q, %v", role, err)
	}
	l.must(master.Restart(t.Context()))
	code, _, stderr := execute(t, programs.ctl, "--endpoints", l.follower().GRPCAddr(), "maintenance", "end", aside.at)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	s.settled(other)
	s.switches(1)
}

// instance is one server of the set as a node knows it.
func (s *set) instance(ctx context.Context, n *node, v *server) (*sentinelv1.Instance, error) {
	m, err := s.local(ctx, n)
	if err != nil {
		return nil, err
	}
	for _, in := range m.GetInstances() {
		if text(in.GetAddress()) == v.at {
			return in, nil
		}
	}
	return nil, fmt.Errorf("%s does not know %s", n.Name(), v.Name())
}

// TestHostDrain: the masters on a host go elsewhere and its instances into maintenance, though the leader dies in the midst of
// it; the last replica of a set is left. Afterwards the host is taken into care again.
func TestHostDrain(t *testing.T) {
	l := newLab(t)
	const near, far = "127.0.0.1", "127.0.0.2"
	var sets []*set
	for i, hosts := range [][]string{{far, near, near}, {far, near, far, near}, {near, far, near}, {near, far}} {
		s := &set{lab: l, name: fmt.Sprintf("drain%d", i)}
		for k, host := range hosts {
			o := stage.RedisOptions{Name: fmt.Sprintf("%s-%d", s.name, k), Host: host}
			if k > 0 {
				o.ReplicaOf = s.servers[0].at
			}
			s.add(o)
		}
		l.eventually(s.name+" is in sync", soon, func(ctx context.Context) error {
			return errors.Join(s.follow(ctx, s.servers[0]), s.servers[0].client.Set(ctx, "key", "value", 0).Err())
		})
		s.monitor(l.nodes[0], setOptions{})
		sets = append(sets, s)
	}
	for _, s := range sets {
		s.settled(s.servers[0])
	}
	leader := l.leader()
	asked := l.follower()
	drain := []string{"--endpoints", asked.GRPCAddr(), "--timeout", "20s", "host", "drain", far, "--reason", "kernel"}
	l.eventually("a dry run sees the last replica", soon, func(context.Context) error {
		code, stdout, stderr := execute(t, programs.ctl, append(drain, "--dry-run")...)
		if code != 4 || strings.Count(stdout, "in maintenance") != 4 || strings.Count(stdout, "refused") != 1 {
			return fmt.Errorf("exit %d: %s %s", code, stdout, stderr)
		}
		return nil
	})
	dead := make(chan error, 1)
	go func() {
		// As soon as anything is drained.
		for ctx := t.Context(); ; {
			m, err := sets[0].local(ctx, asked)
			if err == nil && m.GetFailover() != nil || m.GetEpoch() > 0 || ctx.Err() != nil {
				dead <- leader.Kill()
				return
			}
		}
	}()
	code, stdout, stderr := execute(t, programs.ctl, drain...)
	if code != 4 || strings.Count(stdout, "in maintenance") != 4 || strings.Count(stdout, "refused") != 1 {
		t.Fatalf("exit %d: %s %s", code, stdout, stderr)
	}
	l.must(<-dead)
	l.must(leader.Restart(t.Context()))
	l.formed()
	for i, s := range sets {
		m, err := s.local(t.Context(), l.follower())
		if err != nil || m.GetAddress().GetHost() != near {
			t.Fatalf("%s: %v, %v", s.name, m, err)
		}
		for _, in := range m.GetInstances() {
			drained := in.GetAddress().GetHost() == far && i != 3
			if p := in.GetMaintenance(); (p != nil) != drained || drained && p.GetReason() != "kernel" {
				t.Errorf("%s: %v", s.name, in)
			}
		}
	}
	code, _, stderr = execute(t, programs.ctl, "--endpoints", asked.GRPCAddr(), "host", "undrain", far, "--wait", "--max-wait", "30s")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for i, s := range sets {
		if i < 2 {
			s.switches(1)
			s.settled(s.switched(s.servers[0]))
		} else {
			s.settled(s.servers[0])
			s.quiet()
		}
	}
}
