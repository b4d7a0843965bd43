package upgrade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// node is a sentineld, of changing versions, with a connection to it.
type node struct {
	*stage.Node
	version string
	begun   time.Time
	api     lab.API
	client  *redis.Client // of the Sentinel protocol
}

// cluster is rolled from one version to another while its sets fail over.
type cluster struct {
	t       *testing.T
	stage   *stage.Stage
	nodes   []*node
	sets    []*set
	apps    []*application
	witness *witness
	ids     []string // Raft ids of the members
	turns   int      // how many masters were killed
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	t.Parallel()
	s, err := stage.New("")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, stage: s, witness: newWitness()}
	t.Cleanup(func() {
		if t.Failed() {
			var b bytes.Buffer
			_ = s.WriteLogs(&b, 4000)
			t.Log(b.String())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// add makes a node of a version known to the test. It does not run yet.
func (c *cluster) add(version string, o stage.NodeOptions) *node {
	c.t.Helper()
	o.Config = append(o.Config, "loglevel debug")
	path, err := program(version)
	if err != nil {
		c.t.Fatal(err)
	}
	o.Binary = path
	sn, err := c.stage.Node(o)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.take(sn, version)
}

// take connects to a node that was made of a version.
func (c *cluster) take(sn *stage.Node, version string) *node {
	c.t.Helper()
	api, err := lab.Dial(sn)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &node{Node: sn, version: version, api: api, client: redis.NewClient(lab.Plain(sn.Addr()))}
	c.t.Cleanup(func() { _, _ = n.api.Close(), n.client.Close() })
	return n
}

func (c *cluster) start(n *node) {
	c.t.Helper()
	n.begun = time.Now()
	if err := n.Start(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// until asks until the answer is no error, and ends the test where that takes too long.
func (c *cluster) until(what string, ask func(ctx context.Context) error) {
	c.t.Helper()
	if err := lab.Until(c.t.Context(), ask); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// formed waits until all nodes are voters that have registered, and remembers them.
func (c *cluster) formed() {
	c.t.Helper()
	c.until("all nodes vote", func(ctx context.Context) error {
		ids, err := c.members(ctx)
		if err == nil && len(ids) != len(c.nodes) {
			err = fmt.Errorf("%d voters are registered", len(ids))
		}
		c.ids = ids
		return err
	})
}

// members are the Raft ids of the voters that have registered, as every node that runs knows them.
func (c *cluster) members(ctx context.Context) ([]string, error) {
	var all []string
	for i, n := range c.nodes {
		r, err := n.api.Cluster.ListNodes(ctx, &sentinelv1.ListNodesRequest{Consistency: local})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Name(), err)
		}
		var ids []string
		for _, v := range r.GetNodes() {
			if v.GetRegistered() && v.GetVoter() {
				ids = append(ids, v.GetRaftId())
			}
		}
		if i > 0 && !slices.Equal(ids, all) {
			return nil, fmt.Errorf("%s knows the members %v, and another %v", n.Name(), ids, all)
		}
		all = ids
	}
	return all, nil
}

// serve makes sets that the cluster watches, and applications that use them, until the test ends.
func (c *cluster) serve(names ...string) {
	c.t.Helper()
	for _, name := range names {
		s := newSet(c.t, c.stage, name)
		c.sets = append(c.sets, s)
		quorum, after := int32(2), lab.DownAfter.Milliseconds()
		c.until(name+" is watched", func(ctx context.Context) error {
			host, port := "127.0.0.1", uint32(s.master().Port())
			_, err := c.nodes[0].api.Admin.MonitorMaster(ctx, &sentinelv1.MonitorMasterRequest{
				Name: name, Address: &sentinelv1.Address{Host: host, Port: port},
				Options: &sentinelv1.MasterOptions{Quorum: &quorum, DownAfterMs: &after},
			})
			return err
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	c.t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	for _, s := range c.sets {
		app := newApplication(s, c.nodes)
		c.apps = append(c.apps, app)
		work.Go(func() { app.run(ctx) })
		work.Go(func() { c.witness.confirm(ctx, c.nodes, s) })
	}
	for _, n := range c.nodes {
		work.Go(func() { c.witness.watch(ctx, n, c.sets) })
	}
	work.Go(func() { c.operate(ctx) })
	for _, s := range c.sets {
		c.until("the replicas of "+s.name+" are known", func(ctx context.Context) error {
			m, err := ask(ctx, c.nodes[0], s.name, linearizable)
			if err == nil && len(m.GetInstances()) != 3 {
				err = fmt.Errorf("%d instances", len(m.GetInstances()))
			}
			return err
		})
	}
}

// operate changes an option all the while, so that the log grows and snapshots are made.
func (c *cluster) operate(ctx context.Context) {
	for i := int32(0); ctx.Err() == nil; i++ {
		syncs := 1 + i%2
		once, cancel := context.WithTimeout(ctx, time.Second)
		_, _ = c.nodes[int(i)%len(c.nodes)].api.Admin.UpdateMaster(once, &sentinelv1.UpdateMasterRequest{
			Name: c.sets[0].name, Options: &sentinelv1.MasterOptions{ParallelSyncs: &syncs},
		})
		cancel()
		pause(ctx, 15*time.Millisecond)
	}
}

// next is the set whose master is killed next.
func (c *cluster) next() *set {
	s := c.sets[c.turns%len(c.sets)]
	c.turns++
	return s
}

// turn makes a node one of another version, as an operator does: it is stopped, the program is exchanged, it is started, and
// the next is not touched before the cluster is healthy. A master dies as the node is stopped, and one while it is away or as
// it returns.
func (c *cluster) turn(n *node, version string, level uint32) {
	c.t.Helper()
	begun, from := time.Now(), n.version
	path, err := program(version)
	if err != nil {
		c.t.Fatal(err)
	}
	first, second := c.next(), c.next()
	c.kill(first)
	if err := n.Stop(); err != nil {
		c.t.Fatal(err)
	}
	away := time.Now()
	n.SetProgram(path)
	n.version, n.begun = version, time.Now()
	atReturn := c.turns%4 == 0
	if !atReturn {
		c.kill(second)
	}
	if err := n.Launch(); err != nil {
		c.t.Fatal(err)
	}
	if atReturn {
		c.kill(second)
	}
	if err := n.Ready(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	back := time.Now()
	var g errgroup.Group
	for _, s := range []*set{first, second} {
		g.Go(func() error { return s.revive(c.t.Context()) })
	}
	if err := g.Wait(); err != nil {
		c.t.Fatal(err)
	}
	over := time.Now()
	c.risen(level)
	leader := c.healthy(level)
	c.t.Logf("%s from %s to %s: %v in all: away %v, failovers over after %v, healthy %v later; %s leads, at level %d", n.Name(), from, version,
		time.Since(begun).Round(time.Millisecond), back.Sub(away).Round(time.Millisecond), over.Sub(begun).Round(time.Millisecond),
		time.Since(over).Round(time.Millisecond), leader, level)
}

// under has a node lead, whatever the versions of the others, and a master fail.
func (c *cluster) under(n *node, level uint32) {
	c.t.Helper()
	begun := time.Now()
	c.until(n.Name()+" leads", func(context.Context) error {
		if code, _, errs := c.ctl("node", "transfer-leadership", n.Name()); code != 0 {
			return fmt.Errorf("exit %d: %s", code, errs)
		}
		if leader := c.healthy(level); leader != n.Name() {
			return fmt.Errorf("%s leads", leader)
		}
		return nil
	})
	s := c.next()
	c.kill(s)
	if err := s.revive(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	leader := c.healthy(level)
	c.t.Logf("%s of %s was made to lead, and a master failed over, in %v; %s leads", n.Name(), n.version,
		time.Since(begun).Round(time.Millisecond), leader)
}

func (c *cluster) kill(s *set) {
	c.t.Helper()
	if err := s.master().Kill(); err != nil {
		c.t.Fatal(err)
	}
}

// healthy asks sentinelctl whether it is safe to go on. When it is, every node knows the committed masters, over either
// protocol, no member is lost, and applications write.
func (c *cluster) healthy(level uint32) (leader string) {
	c.t.Helper()
	code, out, errs := c.ctl("status", "--wait", "healthy", "--max-wait", "60s", "-o", "json")
	if code != 0 {
		c.t.Fatalf("status --wait healthy: exit %d\n%s%s", code, out, errs)
	}
	for _, s := range c.sets {
		for _, n := range c.nodes {
			if at, err := lookUp(c.t.Context(), n.client, s.name); err != nil || at != s.master().Addr() {
				c.t.Errorf("healthy, and %s names %s as the master of %s, %v; it is %s", n.Name(), at, s.name, err, s.master().Addr())
			}
			for _, consistency := range []sentinelv1.Consistency{local, linearizable} {
				if m, err := ask(c.t.Context(), n, s.name, consistency); err != nil || text(m.GetAddress()) != s.master().Addr() {
					c.t.Errorf("healthy, and %s knows %s as the master of %s, %v; it is %s", n.Name(), text(m.GetAddress()), s.name, err, s.master().Addr())
				}
			}
		}
	}
	if ids, err := c.members(c.t.Context()); err != nil || !slices.Equal(ids, c.ids) {
		c.t.Errorf("healthy, and the members are %v, %v; they were %v", ids, err, c.ids)
	}
	for _, n := range c.nodes {
		s, err := n.api.Cluster.GetStatus(c.t.Context(), &sentinelv1.GetStatusRequest{Consistency: local})
		if err != nil || s.GetFeatureLevel() != level {
			c.t.Errorf("%s is at level %d, %v; want %d", n.Name(), s.GetFeatureLevel(), err, level)
		}
	}
	for _, a := range c.apps {
		before := a.writes()
		c.until("an application writes to "+a.set.name, func(context.Context) error {
			if a.writes() == before {
				return errors.New("no write was acknowledged")
			}
			return nil
		})
	}
	var status struct {
		Leader string `json:"leader_node_id"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		c.t.Fatal(err)
	}
	return status.Leader
}

// ctl runs this build's sentinelctl, which may ask any node.
func (c *cluster) ctl(args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	var at []string
	for _, n := range c.nodes {
		at = append(at, n.GRPCAddr())
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(c.t.Context(), programs.ctl, append([]string{"--endpoints", strings.Join(at, ",")}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, c.stage.Dir()
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// risen waits until every node is at the level.
func (c *cluster) risen(level uint32) {
	c.t.Helper()
	c.until(fmt.Sprintf("level %d", level), func(ctx context.Context) error {
		for _, n := range c.nodes {
			s, err := n.api.Cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{Consistency: local})
			if err != nil || s.GetFeatureLevel() != level {
				return fmt.Errorf("%s is at level %d, %w", n.Name(), s.GetFeatureLevel(), err)
			}
		}
		return nil
	})
}

// level waits until the cluster is at the level that all its nodes support, and tells it.
func (c *cluster) level() (level uint32) {
	c.t.Helper()
	c.until("the level that all support", func(ctx context.Context) error {
		r, err := c.nodes[0].api.Cluster.ListNodes(ctx, &sentinelv1.ListNodesRequest{Consistency: local})
		if err != nil {
			return err
		}
		level = r.GetNodes()[0].GetFeatureLevel()
		for _, n := range r.GetNodes() {
			level = min(level, n.GetFeatureLevel())
		}
		s, err := c.nodes[0].api.Cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{Consistency: local})
		if err == nil && s.GetFeatureLevel() != level {
			err = fmt.Errorf("it is %d, and all support %d", s.GetFeatureLevel(), level)
		}
		return err
	})
	return level
}

// snapshot waits until a node has written one since it was started: another version must read it.
func (c *cluster) snapshot(n *node) {
	c.t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(c.t.Context(), 90*time.Second)
	defer cancel()
	for {
		entries, err := os.ReadDir(filepath.Join(n.Dir(), "data", "snapshots"))
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && info.ModTime().After(n.begun) && !strings.HasSuffix(e.Name(), ".tmp") {
				c.t.Logf("%s of %s has made a snapshot, waited for %v", n.Name(), n.version, time.Since(begun).Round(time.Millisecond))
				return
			}
		}
		select {
		case <-ctx.Done():
			c.t.Fatalf("%s of %s makes no snapshot", n.Name(), n.version)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// verify compares what the cluster keeps with what was seen: every failover has its record, and nobody was told of a master that
// there never was.
func (c *cluster) verify() {
	c.t.Helper()
	asked, failovers, writes := 0, 0, 0
	for i, s := range c.sets {
		r, err := c.nodes[0].api.Admin.ListFailovers(c.t.Context(), &sentinelv1.ListFailoversRequest{Name: s.name, Consistency: linearizable, PageSize: 1000})
		if err != nil {
			c.t.Fatal(err)
		}
		records := r.GetFailovers()
		slices.SortFunc(records, func(a, b *sentinelv1.Failover) int { return int(int64(a.GetEpoch()) - int64(b.GetEpoch())) })
		kept := []string{s.servers[0].Addr()}
		for _, f := range records {
			if !f.GetSwitched() {
				continue
			}
			if from := kept[len(kept)-1]; text(f.GetFrom()) != from {
				c.t.Errorf("%s: failover %d is from %s, and the master was %s", s.name, f.GetEpoch(), text(f.GetFrom()), from)
			}
			if f.GetOutcome() == sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED || f.GetEndedAt() == nil {
				c.t.Errorf("%s: failover %d has not ended", s.name, f.GetEpoch())
			}
			kept = append(kept, text(f.GetTo()))
		}
		var seen []string
		for _, m := range s.masters {
			seen = append(seen, m.Addr())
		}
		if !slices.Equal(seen, kept) {
			c.t.Errorf("%s: its masters were %v, and the records tell of %v", s.name, seen, kept)
		}
		a := c.apps[i]
		a.mu.Lock()
		for at := range a.told {
			if !slices.Contains(kept, at) {
				c.t.Errorf("%s: an application was told that %s is the master, which it never was", s.name, at)
			}
		}
		writes += a.acknowledged
		a.mu.Unlock()
		failovers += len(kept) - 1
	}
	c.witness.mu.Lock()
	asked = c.witness.asked
	for _, f := range c.witness.faults {
		c.t.Error(f)
	}
	c.witness.mu.Unlock()
	if failovers < c.turns {
		c.t.Errorf("%d masters were killed, and %d failovers are on record", c.turns, failovers)
	}
	c.t.Logf("%d failovers, %d answers compared, %d writes acknowledged", failovers, asked, writes)
}
