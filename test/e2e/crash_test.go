package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestMasterEnds: however a master ends, there is exactly one failover, and the old master becomes a replica when it is back.
func TestMasterEnds(t *testing.T) {
	l := newLab(t)
	debug := []string{"enable-debug-command yes"}
	if !l.debugDirective() {
		debug = nil
	}
	for _, tt := range []struct {
		name  string
		end   func(s *set, master *server) error
		again func(master *server) error
	}{
		{
			"sigkill",
			func(_ *set, m *server) error { return m.Kill() },
			func(m *server) error { return m.Restart(t.Context()) },
		},
		{
			"sigstop",
			func(_ *set, m *server) error { return m.Freeze() },
			func(m *server) error { return m.Thaw() },
		},
		{
			"shutdown",
			func(_ *set, m *server) error {
				_ = m.client.Do(t.Context(), "SHUTDOWN", "NOSAVE").Err() // it cannot answer any more
				select {
				case <-m.Ended():
					return nil
				case <-time.After(soon):
					return errors.New("it did not shut down")
				}
			},
			func(m *server) error { return m.Restart(t.Context()) },
		},
		{
			"sleep",
			func(_ *set, m *server) error {
				// It answers after 30 s.
				if err := m.client.Do(t.Context(), "DEBUG", "SLEEP", "30").Err(); err != nil && !isTimeout(err) {
					return err
				}
				return nil
			},
			func(*server) error { return nil },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := l.in(t)
			s := l.newSet(tt.name, setOptions{config: debug})
			master := s.servers[0]
			l.must(tt.end(s, master))
			to := s.switched(master)
			if tt.name == "sleep" {
				// Its connections are accepted and unanswered until the 30 s are over.
				l.eventually("the sleeper wakes", time.Minute, func(ctx context.Context) error {
					_, err := master.role(ctx)
					return err
				})
			}
			l.must(tt.again(master))
			s.settled(to)
			s.switches(1)
		})
	}
}

// TestPortDropsPackets: the master's host is well and nothing gets through to its port.
func TestPortDropsPackets(t *testing.T) {
	l := newLab(t)
	var p *proxy
	s := l.newSet("dropped", setOptions{proxied: func(addr string) string {
		p = newProxy(t, addr)
		return p.addr()
	}})
	master := s.servers[0]
	p.block(func(int) bool { return true })
	to := s.switched(master)
	p.block(nobody)
	s.settled(to)
	s.switches(1)
}

// TestShortPause: a pause shorter than down-after is never a failover.
func TestShortPause(t *testing.T) {
	l := newLab(t)
	const after = 2 * time.Second
	s := l.newSet("pausing", setOptions{downAfter: after})
	for range 4 {
		l.must(s.servers[0].Freeze())
		l.last(after / 2)
		l.must(s.servers[0].Thaw())
		l.last(after / 4)
	}
	s.settled(s.servers[0])
	s.quiet()
}

// TestLeaderAndMasterDieTogether is one failover like any other.
func TestLeaderAndMasterDieTogether(t *testing.T) {
	l := newLab(t)
	s := l.newSet("both", setOptions{})
	leader, master := l.leader(), s.servers[0]
	l.must(killTogether(leader.Process, master.Process))
	to := s.switched(master)
	l.must(leader.Restart(t.Context()))
	l.must(master.Restart(t.Context()))
	l.formed()
	s.settled(to)
	s.switches(1)
}

// TestCandidateDies: the replica that was promoted dies at once, and the other one becomes master under another epoch.
func TestCandidateDies(t *testing.T) {
	l := newLab(t)
	s := l.newSet("candidate", setOptions{})
	master := s.servers[0]
	l.must(master.Kill())
	var candidate *server
	l.eventually("a replica is promoted", soon, func(ctx context.Context) error {
		for _, v := range s.servers[1:] {
			if role, err := v.role(ctx); err == nil && role == "master" {
				candidate = v
				return v.Kill()
			}
		}
		return errors.New("both are replicas")
	})
	other := s.servers[1]
	if other == candidate {
		other = s.servers[2]
	}
	s.settled(other)
	l.must(master.Restart(t.Context()))
	l.must(candidate.Restart(t.Context()))
	s.settled(other)

	epochs := map[uint64]string{}
	for _, f := range s.failovers() {
		epochs[f.GetEpoch()] += text(f.GetTo())
		if f.GetOutcome() == 0 {
			t.Errorf("failover %d is open", f.GetEpoch())
		}
	}
	if len(epochs) != 2 || epochs[newest(epochs)] != other.at {
		t.Errorf("epochs and their candidates: %v; want two, the last for %s", epochs, other.at)
	}
}

func newest(epochs map[uint64]string) uint64 {
	var n uint64
	for e := range epochs {
		n = max(n, e)
	}
	return n
}

// TestAllNodesDieWhenFailoverIsDue: the nodes return long after the master has recovered, and touch nothing.
func TestAllNodesDieWhenFailoverIsDue(t *testing.T) {
	l := newLab(t)
	s := l.newSet("late", setOptions{})
	master := s.servers[0]
	l.arm(l.leader(), "begin.after-commit")
	l.must(master.Freeze())
	// The leader dies with the row committed; the others must not live to lead.
	l.eventually("the leader dies in its failover", soon, func(context.Context) error {
		if len(l.running()) == len(l.nodes) {
			return errors.New("all nodes live")
		}
		return nil
	})
	for _, n := range l.running() {
		l.must(n.Kill())
	}
	l.must(master.Thaw())
	for _, v := range s.servers[1:] {
		if role, err := v.role(t.Context()); err != nil || role == "master" {
			t.Fatalf("%s: %s, %v: the test came too late", v.Name(), role, err)
		}
	}
	for _, n := range l.nodes {
		n.SetEnv()
		l.must(n.Launch())
	}
	l.formed()
	s.settled(master)
	for _, f := range s.failovers() {
		if f.GetSwitched() {
			t.Errorf("failover %d switched a master that was up", f.GetEpoch())
		}
	}
}

// TestNeverSyncedReplica: a replica that still waits for its first copy of the data is not promoted; it would empty the set.
func TestNeverSyncedReplica(t *testing.T) {
	l := newLab(t)
	s := &set{lab: l, name: "unsynced"}
	// The master lists its replica, and lets it wait for a minute.
	master := s.add(redisOptions("unsynced-0", "", "repl-diskless-sync-delay 60"))
	replica := s.add(redisOptions("unsynced-1", master.at))
	l.must(master.client.Set(t.Context(), "key", "value", 0).Err())
	s.monitor(l.nodes[0], setOptions{})
	l.eventually("the replica is known", soon, func(ctx context.Context) error {
		for _, n := range l.nodes {
			m, err := s.local(ctx, n)
			if err != nil || len(m.GetInstances()) != 2 {
				return fmt.Errorf("%s: %v, %w", n.Name(), m.GetInstances(), err)
			}
		}
		return nil
	})
	l.must(master.Kill())
	s.odown()
	l.last(3 * downAfter)
	if role, err := replica.role(t.Context()); err != nil || role == "master" {
		t.Errorf("the replica says %q, %v", role, err)
	}
	s.explained(replica)
	l.must(master.Restart(t.Context()))
	l.must(master.client.ConfigSet(t.Context(), "repl-diskless-sync-delay", "0").Err())
	s.settled(master)
	s.switches(0)
}
