package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// recover runs sentineld recover with the node's own configuration and checks its status and what it says.
func (l *lab) recover(n *node, status int, want string, args ...string) {
	l.t.Helper()
	code, stdout, stderr := execute(l.t, programs.node, append([]string{"recover", n.ConfigPath()}, args...)...)
	if code != status || !strings.Contains(stdout+stderr, want) {
		l.t.Fatalf("recover %v: status %d, want %d with %q; %s%s", args, code, status, want, stdout, stderr)
	}
}

func (n *node) data() string { return filepath.Join(n.Dir(), "data") }

// history is what a server says of its data: it changes when the server becomes a master or copies another's.
func (v *server) history(ctx context.Context) (string, error) {
	return v.info(ctx, "replication", "master_replid")
}

// info is a field of INFO.
func (v *server) info(ctx context.Context, section, field string) (string, error) {
	all, err := v.client.Info(ctx, section).Result()
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(all) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("%s has no %s", v.Name(), field)
}

// clusterID is what a node calls its cluster.
func (n *node) clusterID(ctx context.Context) (string, error) {
	s, err := n.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
	return s.GetClusterId(), err
}

// TestRecover: two of three nodes are lost for good, and the survivor missed the last failover. It goes on alone, and does not
// undo that; two blank nodes join it, a master that dies is failed over, and a lost node that comes back is out.
func TestRecover(t *testing.T) {
	l := newLab(t)
	s := l.newSet("kept", setOptions{})
	second := s.servers[1]
	survivor, lost := l.nodes[0], l.nodes[1:]
	before, err := survivor.clusterID(t.Context())
	l.must(err)
	l.must(survivor.Stop())
	l.ctl(lost[0], 0, "switchover", s.name, "--to", second.at)
	s.settled(second)
	replID, err := second.history(t.Context())
	l.must(err)
	l.must(killTogether(lost[0].Process, lost[1].Process))
	old := filepath.Join(t.TempDir(), "old")
	l.must(os.Rename(lost[0].data(), old))
	l.must(os.RemoveAll(lost[1].data()))

	l.recover(survivor, 2, "usage: sentineld recover --force-new-cluster")
	l.must(survivor.Start(t.Context()))
	l.recover(survivor, 4, "; stop it first", "--force-new-cluster", "--yes")
	alone := filepath.Join(t.TempDir(), "alone.backup")
	if said := l.ctl(survivor, 0, "backup", alone); !strings.Contains(said, "local") {
		t.Errorf("a backup without a leader says %q", said)
	}
	if stdout := l.ctl(survivor, 0, "inspect", alone); !strings.Contains(stdout, "without a leader") || !strings.Contains(stdout, s.servers[0].at) {
		t.Errorf("inspect says %s", stdout)
	}
	l.must(survivor.Stop())
	l.recover(survivor, 2, "there is no terminal to ask on", "--force-new-cluster")
	l.recover(survivor, 4, "there is nothing to recover", "--force-new-cluster", "--yes", "--dir", t.TempDir())
	l.recover(survivor, 0, "cluster "+before+" goes on as cluster ", "--force-new-cluster", "--yes")
	l.recover(survivor, 0, "nothing changed", "--force-new-cluster", "--yes")

	// Alone it leads at once, and takes the master that the lost nodes had made for what it is.
	l.must(survivor.Restart(t.Context()))
	s.settled(second)
	if now, err := second.history(t.Context()); err != nil || now != replID {
		t.Errorf("%s was demoted in between: history %s, then %s, %v", second.Name(), replID, now, err)
	}
	m, err := s.local(t.Context(), survivor)
	l.must(err)
	after, err := survivor.clusterID(t.Context())
	l.must(err)
	if m.GetEpoch() < 1_000_000 || after == before || after == "" {
		t.Errorf("epoch %d, cluster %s, before %s", m.GetEpoch(), after, before)
	}
	if events := s.events(""); count(events, "+recovered") != 1 || count(events, "+adopt-master") != 1 || count(events, "+odown") != 0 {
		t.Errorf("events:%s", tell(events))
	}

	for _, n := range lost {
		l.must(os.Mkdir(n.data(), 0o700))
		l.must(n.Start(t.Context()))
	}
	l.formed()
	l.must(second.Kill())
	third := s.switched(second)
	l.must(second.Restart(t.Context()))
	s.settled(third)
	if third == second || m.GetEpoch() >= s.failovers()[0].GetEpoch() {
		t.Errorf("%s, %v after epoch %d", third.Name(), s.failovers()[0], m.GetEpoch())
	}

	n := lost[0]
	l.must(n.Stop())
	l.must(os.RemoveAll(n.data()))
	l.must(os.Rename(old, n.data()))
	l.must(n.Start(t.Context()))
	l.eventually("the lost node knows that it is out", soon, func(ctx context.Context) error {
		st, err := n.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
		if err == nil && st.GetRole() != sentinelv1.NodeRole_NODE_ROLE_REMOVED {
			err = fmt.Errorf("it is %v", st.GetRole())
		}
		return err
	})
	if err := l.client(n.Addr(), "").Do(t.Context(), "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.name).Err(); err == nil {
		t.Error("it answers look-ups")
	}
	for _, other := range []*node{survivor, lost[1]} {
		st, err := other.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
		if err != nil || st.GetClusterId() != after || st.GetLeaderNodeId() == "" {
			t.Errorf("%s: %v, %v", other.Name(), st, err)
		}
	}
	if err := s.follow(t.Context(), third); err != nil {
		t.Error(err)
	}
}

// TestRestore: a backup that is older than the last failover is restored. Nothing is touched while the master is paused, and
// when it is resumed the true one is adopted: it was never demoted, nor its replica repointed.
func TestRestore(t *testing.T) {
	l := newLab(t)
	s := l.newSet("old", setOptions{password: "correct-horse-battery"})
	first, second := s.servers[0], s.servers[1]
	file := filepath.Join(t.TempDir(), "a.backup")
	var stdout string
	l.eventually("a backup", soon, func(context.Context) error { // the cluster may be electing
		code, out, stderr := execute(t, programs.ctl, "backup", file, "--force", "--endpoints="+l.follower().GRPCAddr())
		if code != 0 || stderr != "" {
			return fmt.Errorf("status %d, %s", code, stderr)
		}
		stdout = out
		return nil
	})
	if !strings.Contains(stdout, "1 masters of cluster sentineld") {
		t.Errorf("backup says %q", stdout)
	}
	if stdout = l.ctl(l.nodes[0], 0, "inspect", file); !strings.Contains(stdout, first.at) || strings.Contains(stdout, s.password) {
		t.Errorf("inspect says %s", stdout)
	}
	l.ctl(l.nodes[0], 4, "restore", file, "--yes") // it has masters
	l.ctl(l.follower(), 0, "switchover", s.name, "--to", second.at)
	s.settled(second)
	before, err := l.nodes[0].clusterID(t.Context())
	l.must(err)
	epoch := s.failovers()[0].GetEpoch()
	type untouched struct{ replID, full, partial string }
	look := func() (u untouched) {
		t.Helper()
		var errs [3]error
		u.replID, errs[0] = second.history(t.Context())
		u.full, errs[1] = second.info(t.Context(), "stats", "sync_full")
		u.partial, errs[2] = second.info(t.Context(), "stats", "sync_partial_ok")
		for _, err := range errs {
			l.must(err)
		}
		return u
	}
	seen := look()
	l.ctl(l.nodes[0], 0, "remove", s.name, "--yes")
	l.ctl(l.nodes[1], 2, "restore", file) // nobody to ask
	if stdout = l.ctl(l.follower(), 0, "restore", file, "--yes"); !strings.HasPrefix(stdout, "restored: 1 masters") {
		t.Errorf("restore says %q", stdout)
	}
	if stdout = l.ctl(l.follower(), 0, "restore", file, "--yes"); !strings.Contains(stdout, "nothing changed") {
		t.Errorf("restored again: %q", stdout)
	}
	for _, n := range l.nodes {
		l.eventually(n.Name()+" has it, paused", soon, func(ctx context.Context) error {
			m, err := s.local(ctx, n)
			if err != nil {
				return err
			}
			id, err := n.clusterID(ctx)
			if text(m.GetAddress()) != first.at || !strings.HasPrefix(m.GetPause().GetReason(), "restored from a backup of ") || m.GetEpoch() <= epoch ||
				len(m.GetInstances()) != 3 || id == before {
				return fmt.Errorf("%v, cluster %s, %w", m, id, err)
			}
			return nil
		})
	}
	l.last(3 * downAfter)
	if err := s.follow(t.Context(), second); err != nil {
		t.Errorf("something was done while it was paused: %v", err)
	}
	l.ctl(l.follower(), 0, "resume", s.name)
	s.settled(second)
	l.last(2 * downAfter)
	s.settled(second)
	if now := look(); now != seen {
		t.Errorf("%s was touched: %+v, then %+v", second.Name(), seen, now)
	}
	if events := s.events(s.name); count(events, "+adopt-master") != 1 || count(events, "+convert-to-slave") != 0 || count(events, "+fix-slave-config") != 0 {
		t.Errorf("events:%s", tell(events))
	}
	// It is a set like any other.
	l.must(second.Kill())
	to := s.switched(second)
	l.must(second.Restart(t.Context()))
	s.settled(to)
}
