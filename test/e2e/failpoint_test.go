package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/failover/executor"
)

// arm has a node die, or freeze, at a point of its next failover as the leader, and makes it the leader.
func (l *lab) arm(n *node, point string) {
	l.t.Helper()
	n.SetEnv("SENTINELD_FAILPOINT=" + point)
	l.must(n.Restart(l.t.Context()))
	l.formed()
	l.lead(n)
}

// disarm lets a node that died at its point live again.
func (l *lab) disarm(n *node) {
	l.t.Helper()
	n.SetEnv()
	l.must(n.Restart(l.t.Context()))
	l.formed()
}

// dies waits until a node has died at its point.
func (l *lab) dies(n *node) {
	l.t.Helper()
	l.eventually(n.Name()+" dies at its point", soon, func(context.Context) error {
		if n.Running() {
			return errors.New("it lives")
		}
		return nil
	})
}

// TestLeaderDiesAtEachPoint: the leader of a failover dies between two of its effects. Another finishes the work: one
// master, everyone follows it, the row is closed, and the master moved once.
func TestLeaderDiesAtEachPoint(t *testing.T) {
	t.Parallel()
	var points []executor.Point
	for _, p := range executor.Points() {
		// Adopting and restoring are no steps of a crash's failover: see TestLeaderDiesWhileCorrecting. Nor are those of a switchover:
		// see TestSwitchoverLosesItsLeader.
		switch name, _, _ := strings.Cut(string(p), "."); name {
		case "adopt", "restore", "pause", "step-down", "check", "rollback", "move":
		default:
			points = append(points, p)
		}
	}
	half := len(points) / 2
	for name, points := range map[string][]executor.Point{"first": points[:half], "second": points[half:]} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			s := l.newSet(name, setOptions{})
			master := s.servers[0]
			for i, p := range points {
				master = s.leaderDiesAt(l.nodes[i%len(l.nodes)], p, master)
				if t.Failed() {
					t.Fatalf("at point %s", p)
				}
			}
			s.switches(len(points))
		})
	}
}

// leaderDiesAt goes through one failover, and gives the master that it made.
func (s *set) leaderDiesAt(n *node, p executor.Point, master *server) *server {
	s.t.Helper()
	s.t.Logf("point %s, leader %s, master %s", p, n.Name(), master.Name())
	s.arm(n, string(p))
	s.must(master.Kill())
	if strings.HasPrefix(string(p), "demote.") {
		// The old master is demoted when it returns.
		to := s.switched(master)
		s.settled(to)
		s.must(master.Restart(s.t.Context()))
		s.dies(n)
		s.settled(to)
		s.disarm(n)
		s.settled(to)
		return to
	}
	s.dies(n)
	to := s.switched(master)
	s.settled(to)
	s.disarm(n)
	s.must(master.Restart(s.t.Context()))
	s.settled(to)
	return to
}

// TestLeaderDiesWhilePuttingBack: the leader dies with the candidate promoted and nothing switched, the old master is
// back before another leads, and that one dies while it makes the candidate a replica again.
func TestLeaderDiesWhilePuttingBack(t *testing.T) {
	l := newLab(t)
	s := l.newSet("putback", setOptions{})
	master := s.servers[0]
	for _, p := range []executor.Point{executor.BeforeDemote, executor.AfterDemote} {
		l.armAll(string(p))
		first := l.nodes[0]
		l.arm(first, string(executor.AfterPromote))
		l.must(master.Freeze())
		l.dies(first)
		l.must(master.Thaw())
		l.eventually("the next leader dies too", soon, func(context.Context) error {
			if n := len(l.running()); n > 1 {
				return fmt.Errorf("%d nodes live", n)
			}
			return nil
		})
		s.settledDespite(2, master)
	}
	s.switches(0)
}

// TestLeaderDiesWhileCorrecting: the set was changed by hand, and the leader dies while it makes the master a master again,
// or adopts the new one.
func TestLeaderDiesWhileCorrecting(t *testing.T) {
	l := newLab(t)
	s := l.newSet("byhand", setOptions{})
	master, other := s.servers[0], s.servers[1]
	for _, p := range []executor.Point{executor.BeforeRestore, executor.AfterRestore} {
		l.armAll(string(p))
		// A replica of nobody: of one of its own replicas it would be in sync with itself.
		l.must(master.client.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err())
		s.settledDespite(1, master)
	}
	for _, p := range []executor.Point{executor.BeforeAdopt, executor.AfterAdopt} {
		// Without that, nothing would show that the new master was promoted from this set, and the set would be held.
		s.historyKnown(master)
		for _, n := range l.nodes {
			l.must(n.Kill())
		}
		l.must(other.replicaOf(t.Context(), nil))
		for _, v := range s.servers {
			if v != other {
				l.must(v.replicaOf(t.Context(), other))
			}
		}
		for _, n := range l.nodes {
			n.SetEnv("SENTINELD_FAILPOINT=" + string(p))
			l.must(n.Launch())
		}
		s.settledDespite(1, other)
		master, other = other, master
	}
}

// historyKnown waits until every node knows the replication id that the master has by now.
func (s *set) historyKnown(master *server) {
	s.t.Helper()
	s.eventually("the history of "+s.name, soon, func(ctx context.Context) error {
		info, err := master.client.Info(ctx, "replication").Result()
		if err != nil {
			return err
		}
		for _, n := range s.running() {
			m, err := s.local(ctx, n)
			if err != nil {
				return err
			}
			for _, in := range m.GetInstances() {
				if text(in.GetAddress()) == master.at && !strings.Contains(info, "master_replid:"+in.GetReplId()) {
					return fmt.Errorf("%s knows %s", n.Name(), in.GetReplId())
				}
			}
		}
		return nil
	})
}

// armAll has every node die at a point.
func (l *lab) armAll(point string) {
	l.t.Helper()
	for _, n := range l.nodes {
		n.SetEnv("SENTINELD_FAILPOINT=" + point)
		l.must(n.Restart(l.t.Context()))
		l.formed()
	}
}

// settledDespite waits until the set is at rest although nodes die at their points: each lives again without its point.
// At least as many must have died.
func (s *set) settledDespite(deaths int, master *server) {
	s.t.Helper()
	died := 0
	s.eventually(s.name+" is at rest in spite of deaths", soon, func(ctx context.Context) error {
		for _, n := range s.nodes {
			if !n.Running() {
				died++
				n.SetEnv()
				return errors.Join(errors.New(n.Name()+" had died"), n.Launch())
			}
		}
		if died < deaths {
			return fmt.Errorf("%d nodes have died", died)
		}
		for _, n := range s.nodes {
			if err := s.restsOn(ctx, n, master); err != nil {
				return err
			}
		}
		return s.follow(ctx, master)
	})
}

// TestFrozenLeaderWakes: a leader stops between its check and its command, is overtaken, and wakes. Its command takes no effect.
func TestFrozenLeaderWakes(t *testing.T) {
	l := newLab(t)
	s := l.newSet("asleep", setOptions{})
	master := s.servers[0]
	sleeper := l.nodes[0]
	l.arm(sleeper, string(executor.AfterFence)+":freeze")
	l.must(master.Kill())
	awake := &set{lab: &lab{t: t, stage: l.stage, nodes: l.nodes[1:]}, name: s.name, servers: s.servers}
	to := awake.switched(master)
	awake.settled(to)
	l.must(sleeper.Thaw())
	l.formed()
	l.must(master.Restart(t.Context()))
	s.settled(to)
	l.last(3 * downAfter)
	s.settled(to)
	s.switches(1)
}
