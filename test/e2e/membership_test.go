package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// ctl runs sentinelctl against a node, and wants its exit code.
func (l *lab) ctl(n *node, want int, args ...string) (output string) {
	l.t.Helper()
	code, stdout, stderr := execute(l.t, programs.ctl, append([]string{"--endpoints", n.GRPCAddr()}, args...)...)
	if code != want {
		l.t.Fatalf("sentinelctl %v: exit %d, want %d\n%s%s", args, code, want, stdout, stderr)
	}
	return stdout + stderr
}

// wipe empties the dir of a node that does not run.
func (l *lab) wipe(n *node) {
	l.t.Helper()
	data := filepath.Join(n.Dir(), "data")
	l.must(os.RemoveAll(data))
	l.must(os.Mkdir(data, 0o700))
}

// member waits until a node is a registered voter, by another Raft id than the one given.
func (l *lab) votes(n *node, but string) {
	l.t.Helper()
	l.eventually(n.Name()+" votes", soon, func(ctx context.Context) error {
		r, err := n.cluster.ListNodes(ctx, &sentinelv1.ListNodesRequest{})
		if err != nil {
			return err
		}
		for _, m := range r.GetNodes() {
			if m.GetNodeId() == n.Name() && m.GetVoter() && m.GetRaftId() != but {
				return nil
			}
		}
		return fmt.Errorf("members are %v", r.GetNodes())
	})
}

func (l *lab) raftID(n *node) string {
	l.t.Helper()
	s, err := n.cluster.GetStatus(l.t.Context(), &sentinelv1.GetStatusRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
	l.must(err)
	return s.GetRaftId()
}

// TestDrainedNode: the leader is drained and another leads; it is no candidate while it is, restarted too, and is again once
// it is undrained. Failovers go on meanwhile.
func TestDrainedNode(t *testing.T) {
	l := newLab(t)
	s := l.newSet("drained", setOptions{})
	first := l.leader()
	l.eventually("level 4", soon, func(ctx context.Context) error {
		r, err := first.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
		if err != nil || r.GetFeatureLevel() < 4 {
			return fmt.Errorf("level %d, %w", r.GetFeatureLevel(), err)
		}
		return nil
	})
	for _, said := range []string{"is drained; ", "is drained already; nothing changed"} {
		if out := l.ctl(l.follower(), 0, "node", "drain", first.Name(), "--reason", "new disk"); !strings.Contains(out, said) {
			t.Errorf("%q, want %q", out, said)
		}
	}
	second := l.leader()
	if second == first {
		t.Fatal("it leads on")
	}
	if out := l.ctl(first, 0, "nodes"); !strings.Contains(out, "voter, drained") || strings.Contains(out, "?") {
		t.Errorf("nodes:\n%s", out)
	}
	if out := l.ctl(first, 4, "node", "transfer-leadership", first.Name()); !strings.Contains(out, "is drained: undrain it first") {
		t.Errorf("transfer: %q", out)
	}
	l.must(first.Restart(t.Context()))
	l.formed()
	l.must(second.Kill())
	third := l.leader()
	if third == first {
		t.Fatal("a drained node was elected")
	}
	if out := l.ctl(first, 4, "node", "drain", third.Name()); !strings.Contains(out, "no voter beside") {
		t.Errorf("drain of the last one: %q", out)
	}
	l.must(s.servers[0].Kill())
	to := s.switched(s.servers[0])
	l.must(s.servers[0].Restart(t.Context()))
	l.must(second.Restart(t.Context()))
	l.formed()
	s.settled(to)
	l.ctl(second, 0, "node", "undrain", first.Name())
	l.lead(first)
	s.settled(to)
	s.switches(1)
}

// TestReplacedNode: a node whose disk is gone, and one that was removed and emptied, take the place of their former selves
// without a command; a removed one refuses everything, restarted too.
func TestReplacedNode(t *testing.T) {
	l := newLab(t)
	s := l.newSet("kept", setOptions{})
	n := l.follower()
	former := l.raftID(n)
	l.must(n.Kill())
	l.wipe(n)
	l.must(n.Start(t.Context()))
	l.eventually("it says why it waits", soon, func(ctx context.Context) error {
		r, err := n.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
		want := fmt.Sprintf("the member %s (%s) was heard of lately", n.Name(), former)
		if err != nil || !strings.Contains(strings.Join(r.GetProblems(), "; "), want) {
			return fmt.Errorf("problems %q, want %q, %w", r.GetProblems(), want, err)
		}
		return nil
	})
	l.votes(n, former)
	l.formed()
	s.settled(s.servers[0])

	former = l.raftID(n)
	l.ctl(l.leader(), 0, "node", "remove", n.Name(), "--yes")
	l.refuses(n, s)
	l.must(n.Restart(t.Context()))
	l.refuses(n, s)
	others := slices.DeleteFunc(slices.Clone(l.nodes), func(o *node) bool { return o == n })
	if out := l.ctl(others[0], 4, "node", "remove", others[1].Name(), "--yes"); !strings.Contains(out, s.name) {
		t.Errorf("what would leave a quorum of 2 to one voter: %q", out)
	}
	l.must(n.Stop())
	l.wipe(n)
	l.must(n.Start(t.Context()))
	l.votes(n, former)
	l.formed()
	s.settled(s.servers[0])
	s.quiet()
}

// refuses waits until a removed node knows that it is one, and holds it to that on every port.
func (l *lab) refuses(n *node, s *set) {
	l.t.Helper()
	l.eventually(n.Name()+" knows that it was removed", soon, func(ctx context.Context) error {
		r, err := n.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
		if err != nil || r.GetRole() != sentinelv1.NodeRole_NODE_ROLE_REMOVED {
			return fmt.Errorf("it says that it is %v, %w", r.GetRole(), err)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(l.t.Context(), callLimit)
	defer cancel()
	for _, c := range []sentinelv1.Consistency{sentinelv1.Consistency_CONSISTENCY_LOCAL, sentinelv1.Consistency_CONSISTENCY_LINEARIZABLE} {
		if r, err := n.masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: s.name, Consistency: c}); err == nil || !strings.Contains(err.Error(), "was removed") {
			l.t.Errorf("gRPC, %v: %v, %v", c, r, err)
		}
		if r, err := n.cluster.ListNodes(ctx, &sentinelv1.ListNodesRequest{Consistency: c}); err == nil {
			l.t.Errorf("nodes, %v: %v", c, r)
		}
	}
	client := l.client(n.Addr(), "")
	for _, command := range [][]any{{"SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.name}, {"SENTINEL", "MASTERS"}, {"SENTINEL", "REPLICAS", s.name}} {
		if r, err := client.Do(ctx, command...).Result(); err == nil {
			l.t.Errorf("%v: %v", command, r)
		}
	}
	_, port, _ := strings.Cut(n.Addr(), ":")
	sentinel, err := strconv.Atoi(port)
	l.must(err)
	for _, path := range []string{"/v1/masters/" + s.name, "/v1/masters/" + s.name + "/is-master?addr=" + s.servers[0].at, "/readyz"} {
		code, err := status(ctx, fmt.Sprintf("http://127.0.0.1:%d%s", sentinel+300, path))
		if err != nil || code != http.StatusServiceUnavailable {
			l.t.Errorf("%s: %d, %v", path, code, err)
		}
	}
}

// status is the code that an address of HTTP answers.
func status(ctx context.Context, url string) (code int, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	r, err := (&http.Client{Timeout: time.Second}).Do(q)
	if err != nil {
		return 0, err
	}
	return r.StatusCode, errors.Join(r.Body.Close())
}
