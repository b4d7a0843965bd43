package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// TestFrozenNodes: nodes that were stopped for a while do not take their own absence for the master's. E2E_ROUNDS sets how
// often one, two and all are frozen.
func TestFrozenNodes(t *testing.T) {
	l := newLab(t)
	s := l.newSet("steady", setOptions{})
	rounds := 2
	if n, err := strconv.Atoi(os.Getenv("E2E_ROUNDS")); err == nil {
		rounds = n
	}
	for i := range rounds * len(l.nodes) {
		frozen := l.nodes[:i%len(l.nodes)+1]
		each(frozen, func(n *node) {
			if err := n.Freeze(); err != nil {
				t.Error(err)
			}
		})
		l.last(3 * downAfter)
		each(frozen, func(n *node) {
			if err := n.Thaw(); err != nil {
				t.Error(err)
			}
		})
		l.formed()
		l.last(downAfter)
	}
	s.settled(s.servers[0])
	s.quiet()
}

// TestOneNodeIsCutOff: with quorum 2, one node that alone cannot reach the master causes its own +sdown and nothing else.
func TestOneNodeIsCutOff(t *testing.T) {
	l := newLab(t)
	var p *proxy
	s := l.newSet("cut", setOptions{proxied: func(addr string) string {
		p = newProxy(t, addr)
		return p.addr()
	}})
	lonely := l.follower()
	pid := lonely.PID()
	p.block(func(owner int) bool { return owner == pid })
	l.eventually("its +sdown", soon, func(ctx context.Context) error {
		m, err := s.local(ctx, lonely)
		if err != nil || m.GetStatus() != sentinelv1.MasterStatus_MASTER_STATUS_SDOWN || m.GetDownVotes() != 1 {
			return fmt.Errorf("%v with %d votes, %w", m.GetStatus(), m.GetDownVotes(), err)
		}
		return nil
	})
	l.last(3 * downAfter)
	p.block(nobody)
	s.settled(s.servers[0])
	s.quiet()
	for _, e := range s.events(s.name) {
		if e.GetKind() == "+sdown" && (e.GetNodeId() != lonely.Name() || text(e.GetInstance()) != s.servers[0].at) {
			t.Errorf("+sdown of %s by %s", text(e.GetInstance()), e.GetNodeId())
		}
	}
}

// TestMajorityIsGone: one of three nodes fails nothing over, and answers local reads no older than before, restarted too. When
// the others return, the failover that is due happens.
func TestMajorityIsGone(t *testing.T) {
	l := newLab(t)
	s := l.newSet("frozen", setOptions{})
	survivor, others := l.nodes[0], l.nodes[1:]
	for _, n := range others {
		l.must(n.Kill())
	}
	before, err := survivor.masters.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{
		Name: s.name, Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL,
	})
	l.must(err)
	master := s.servers[0]
	l.must(master.Kill())
	l.last(3 * downAfter)
	l.answers(survivor, s, master, before.GetRevision())
	l.must(survivor.Restart(t.Context()))
	l.answers(survivor, s, master, before.GetRevision())
	for _, v := range s.servers[1:] {
		if role, err := v.role(t.Context()); err != nil || role == "master" {
			t.Fatalf("%s says %q, %v", v.Name(), role, err)
		}
	}
	for _, n := range others {
		l.must(n.Restart(t.Context()))
	}
	to := s.switched(master)
	l.must(master.Restart(t.Context()))
	s.settled(to)
	s.switches(1)
}

// answers waits until the node answers a local read, and checks what it says.
func (l *lab) answers(n *node, s *set, master *server, revision uint64) {
	l.t.Helper()
	l.eventually(n.Name()+" answers local reads", soon, func(ctx context.Context) error {
		r, err := n.masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{
			Name: s.name, Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL,
		})
		if err != nil {
			return err
		}
		if r.GetRevision() < revision || text(r.GetMaster().GetAddress()) != master.at {
			l.t.Fatalf("%s names %s at revision %d; before it was %s at %d", n.Name(), text(r.GetMaster().GetAddress()), r.GetRevision(),
				master.at, revision)
		}
		return nil
	})
}

// TestOrderlyStop: a leader that is asked to stop hands leadership over and ends with status 0, in less than 3 s.
func TestOrderlyStop(t *testing.T) {
	l := newLab(t)
	leader := l.leader()
	begun := time.Now()
	l.must(leader.Stop())
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	if next := l.leader(); next == leader {
		t.Error("it leads on")
	}
	s := l.newServers("after", setOptions{})
	s.monitor(l.running()[0], setOptions{})
	l.must(leader.Start(t.Context()))
	l.formed()
	s.settled(s.servers[0])

	// One that does not lead, and then the whole cluster.
	l.must(l.follower().Stop())
	each(l.running(), func(n *node) {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, n := range l.nodes {
		l.must(n.Start(t.Context()))
	}
	l.formed()
	s.settled(s.servers[0])
	s.quiet()
}

// TestWrongPassword: a password that is rejected fails nothing over, and every node says so.
func TestWrongPassword(t *testing.T) {
	const former, right, wrong = "opensesame", "swordfish", "tiddlywinks"
	l := newLab(t)
	s := l.newSet("locked", setOptions{password: former})
	for _, v := range s.servers {
		l.must(v.client.ConfigSet(t.Context(), "requirepass", right).Err())
		l.must(v.client.ConfigSet(t.Context(), "masterauth", right).Err())
		// Who is connected already would not notice.
		l.must(v.client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err())
		v.client = l.client(v.Addr(), right)
	}
	l.eventually("every node says that the password is rejected", soon, func(ctx context.Context) error {
		for _, n := range l.nodes {
			m, err := s.local(ctx, n)
			if err != nil {
				return err
			}
			rejected := false
			for _, in := range m.GetInstances() {
				rejected = rejected || text(in.GetAddress()) == s.servers[0].at && in.GetObservation().GetAuthRejected()
			}
			if !rejected {
				return fmt.Errorf("%s: %v", n.Name(), m.GetInstances())
			}
		}
		return nil
	})
	l.last(3 * downAfter)
	s.quiet()
	if err := s.follow(t.Context(), s.servers[0]); err != nil {
		t.Error(err)
	}
	if count(s.events(s.name), "+auth-rejected") == 0 {
		t.Errorf("no event tells of it:%s", tell(s.events(s.name)))
	}
	// A wrong new password is refused, the right one heals.
	for _, tt := range []struct {
		password string
		ok       bool
	}{{wrong, false}, {right, true}} {
		_, err := l.nodes[1].admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
			Name: s.name, Options: &sentinelv1.MasterOptions{AuthPass: &tt.password},
		})
		if (err == nil) != tt.ok {
			t.Fatalf("auth-pass, to be taken %v: %v", tt.ok, err)
		}
	}
	s.settled(s.servers[0])
	s.quiet()
	for _, n := range l.nodes {
		if log := n.Log(1 << 20); containsAny(log, former, right, wrong) {
			t.Errorf("%s logs a password", n.Name())
		}
	}
}

// TestAnyNodeTakesAnyChange: monitor, set and remove on any one node hold on all, and a restart of all forgets nothing.
func TestAnyNodeTakesAnyChange(t *testing.T) {
	l := newLab(t)
	s := l.newServers("shared", setOptions{})
	s.monitor(l.nodes[1], setOptions{})
	s.settled(s.servers[0])
	after := int64(7777)
	_, err := l.nodes[2].admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
		Name: s.name, Options: &sentinelv1.MasterOptions{DownAfterMs: &after},
	})
	l.must(err)
	for _, n := range l.nodes {
		l.must(n.Kill())
	}
	for _, n := range l.nodes {
		l.must(n.Launch())
	}
	l.formed()
	s.settled(s.servers[0])
	for _, n := range l.nodes {
		m, err := s.local(t.Context(), n)
		if err != nil || m.GetOptions().GetDownAfterMs() != after {
			t.Errorf("%s: down-after %d, %v", n.Name(), m.GetOptions().GetDownAfterMs(), err)
		}
		// The Sentinel protocol says the same.
		addr, err := l.client(n.Addr(), "").Do(t.Context(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.name).StringSlice()
		if err != nil || len(addr) != 2 || addr[0]+":"+addr[1] != s.servers[0].at {
			t.Errorf("%s: GET-MASTER-ADDR-BY-NAME: %v, %v", n.Name(), addr, err)
		}
	}
	_, err = l.nodes[0].admin.RemoveMaster(t.Context(), &sentinelv1.RemoveMasterRequest{Name: s.name})
	l.must(err)
	l.eventually("nobody knows it", soon, func(ctx context.Context) error {
		for _, n := range l.nodes {
			if m, err := s.local(ctx, n); err == nil {
				return fmt.Errorf("%s knows %s", n.Name(), m.GetName())
			}
		}
		return nil
	})
}

// odown waits until every running node holds the master objectively down.
func (s *set) odown() {
	s.t.Helper()
	s.eventually(s.name+" is objectively down", soon, func(ctx context.Context) error {
		for _, n := range s.running() {
			if m, err := s.local(ctx, n); err != nil || m.GetStatus() != sentinelv1.MasterStatus_MASTER_STATUS_ODOWN {
				return fmt.Errorf("%s: %v, %w", n.Name(), m.GetStatus(), err)
			}
		}
		return nil
	})
}

// explained wants every node to say that the replica cannot be promoted, and why.
func (s *set) explained(replica *server) {
	s.t.Helper()
	s.eventually("explain", soon, func(ctx context.Context) error {
		for _, n := range s.running() {
			r, err := n.admin.ExplainMaster(ctx, &sentinelv1.ExplainMasterRequest{Name: s.name})
			if err != nil {
				return err
			}
			if r.GetCanFailover() || len(r.GetObstacles()) == 0 {
				return fmt.Errorf("%s: can fail over %v, obstacles %v", n.Name(), r.GetCanFailover(), r.GetObstacles())
			}
			for _, c := range r.GetCandidates() {
				if text(c.GetAddress()) == replica.at && c.GetRejection() == "" {
					return errors.New("the replica is not rejected")
				}
			}
		}
		return nil
	})
}
