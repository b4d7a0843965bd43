package upgrade

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// TestFromTheOldest starts the oldest release on the data directory that it left, grows that node to a cluster, and rolls it
// to this build; back, while one node is old still; and to the end.
func TestFromTheOldest(t *testing.T) {
	c := newCluster(t)
	old := must(released())(t)[0]
	kept := c.add(old, stage.NodeOptions{Name: "kept", Config: []string{"cluster-name kept"}})
	archive := filepath.Join("..", "..", "raftfsm", "node", "testdata", old+".tar.gz")
	if out, err := exec.Command("tar", "-xzf", archive, "-C", filepath.Join(kept.Dir(), "data")).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", archive, err, out)
	}
	c.start(kept)
	c.nodes = []*node{kept}
	c.until("the node knows what it left", func(ctx context.Context) error {
		m, err := ask(ctx, kept, "mymaster", linearizable)
		if err == nil && (m.GetEpoch() != 1 || m.GetAddress().GetPort() != 36002) {
			t.Fatalf("it has forgotten: %v", m)
		}
		return err
	})
	for _, name := range []string{"n2", "n3"} {
		n := c.add(old, stage.NodeOptions{
			Name: name, Peers: []string{kept.GRPCAddr()}, Config: []string{"cluster-name kept", "bootstrap-expect 0"},
		})
		c.start(n)
		c.nodes = append(c.nodes, n)
	}
	c.formed()
	// Its servers are long gone.
	c.until("the old set is removed", func(ctx context.Context) error {
		_, err := kept.api.Admin.RemoveMaster(ctx, &sentinelv1.RemoveMasterRequest{Name: "mymaster", AllowMissing: true})
		return err
	})
	c.serve("a", "b", "c", "d")
	level := c.level()
	c.healthy(level)
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]
	c.turn(n1, present, level)
	c.turn(n2, present, level)
	c.snapshot(n1)
	c.snapshot(n2)
	c.under(n2, level)
	c.turn(n2, old, level)
	c.under(n1, level)
	c.turn(n1, old, level)

	c.turn(n1, present, level)
	c.turn(n2, present, level)
	c.last(n3, level)
}

// TestFromTheNewest rolls a cluster of the last release to this build, one node back and forth.
func TestFromTheNewest(t *testing.T) {
	c := newCluster(t)
	versions := must(released())(t)
	old := versions[len(versions)-1]
	made, err := c.stage.Cluster(3, stage.ClusterOptions{Binary: must(program(old))(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, sn := range made.Nodes {
		c.nodes = append(c.nodes, c.take(sn, old))
	}
	if err := made.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.formed()
	c.serve("a", "b", "c", "d")
	level := c.level()
	c.healthy(level)
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]
	c.turn(n3, present, level)
	c.under(n3, level)
	c.turn(n3, old, level)
	c.turn(n3, present, level)
	c.turn(n1, present, level)
	c.last(n2, level)
}

// last makes the last node one of this build. The level rises from the one that it was, and from then on there is no way back:
// the old program refuses to start as that node, and to join as a new one.
func (c *cluster) last(n *node, before uint32) {
	c.t.Helper()
	old := n.version
	c.turn(n, present, raftfsm.Level)
	c.verify()
	if before == raftfsm.Level {
		c.t.Logf("%s knows this level: there is a way back to it", old)
		return
	}
	c.refused(n, old)
	blank := c.add(old, stage.NodeOptions{
		Name: "blank", Peers: []string{n.GRPCAddr()}, Config: []string{"cluster-name " + c.name(), "bootstrap-expect 0"},
	})
	if err := blank.Launch(); err != nil {
		c.t.Fatal(err)
	}
	want := fmt.Sprintf("the cluster is at feature level %d and node blank supports %d: upgrade it first", raftfsm.Level, before)
	c.until("a blank node of "+old+" is refused", func(context.Context) error {
		if log := blank.Log(1 << 20); !strings.Contains(log, want) {
			return fmt.Errorf("it does not say %q:\n%s", want, log)
		}
		return nil
	})
	c.healthy(raftfsm.Level)
}

// refused starts the old program as a node whose log is beyond it: it ends and says why. The node is then back as it was.
func (c *cluster) refused(n *node, old string) {
	c.t.Helper()
	if err := n.Stop(); err != nil {
		c.t.Fatal(err)
	}
	n.SetProgram(must(program(old))(c.t))
	said := len(n.Log(64 << 20))
	if err := n.Launch(); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-n.Ended():
	case <-time.After(lab.Limit):
		c.t.Fatalf("%s runs on as %s at level %d", old, n.Name(), raftfsm.Level)
	}
	log := n.Log(64 << 20)[said:]
	for _, words := range []string{"written at a newer feature level", "start the version that wrote the entry"} {
		if n.ExitCode() <= 0 || !strings.Contains(log, words) {
			c.t.Errorf("%s ended with %d and did not say %q:\n%s", old, n.ExitCode(), words, log)
		}
	}
	n.SetProgram(programs.node)
	c.start(n)
	c.healthy(raftfsm.Level)
}

// name is the cluster's.
func (c *cluster) name() string {
	c.t.Helper()
	s, err := c.nodes[0].api.Cluster.GetStatus(c.t.Context(), &sentinelv1.GetStatusRequest{Consistency: local})
	if err != nil {
		c.t.Fatal(err)
	}
	return s.GetClusterName()
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
