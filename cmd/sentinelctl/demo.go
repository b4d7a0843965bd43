package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	demoMaster    = "demo"
	demoQuorum    = 2
	demoDownAfter = time.Second
	// demoLimit bounds the whole of it; it usually takes less than half.
	demoLimit = time.Minute
	// demoLog is how much of each node's log is shown when the demonstration fails, in bytes.
	demoLog = 3000
)

func (a *app) demoCmd() *cobra.Command {
	var node string
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a failover and a switchover with real processes on this machine",
		Long: `Start three sentineld nodes and three Redis servers on free loopback ports, kill the master, show how the cluster
fails over, restart the old master, switch over without losing a write, and clean up. Exit 0 only if all of that really happened.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), demoLimit, fmt.Errorf("not finished within %v", demoLimit))
			defer cancel()
			return a.demo(ctx, cmd.Context(), node, keep)
		},
	}
	cmd.Flags().StringVar(&node, "sentineld", "", "the sentineld program; default: beside this one, or in PATH")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave everything running at the end, until interrupted")
	return cmd
}

// demo is one demonstration. Whatever it started has ended when it returns.
func (a *app) demo(ctx, signals context.Context, node string, keep bool) (err error) {
	redis.SetLogger(silence{})
	s, err := stage.New("")
	if err != nil {
		return err
	}
	d := &demo{out: a.stdout, stage: s}
	defer func() {
		if err != nil && signals.Err() == nil && d.nodes != nil {
			for _, n := range d.nodes.Nodes {
				if text := n.Log(demoLog); text != "" {
					a.say("what %s wrote last:\n%s", n.Name(), text)
				}
			}
		}
		err = errors.Join(err, d.close(), s.Close())
		if err == nil {
			d.printf("\nAll of it happened; everything is stopped and removed.\n")
		}
	}()
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return d.start(ctx, node) },
		d.green, d.crash, d.comeback, d.switchover,
	} {
		if err := step(ctx); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = errors.Join(cause, err)
			}
			if signals.Err() != nil {
				return context.Canceled
			}
			return err
		}
	}
	d.tryNext(ctx, keep)
	if keep {
		<-signals.Done()
	}
	return nil
}

// demo is the state of the demonstration.
type demo struct {
	out   io.Writer
	stage *stage.Stage

	redis []*stage.Redis
	nodes *stage.Cluster
	// each holds a client of one node alone, all one of all nodes.
	each []*client.Client
	all  *client.Client
}

func (d *demo) close() error {
	var errs []error
	for _, c := range append(d.each, d.all) {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

func (d *demo) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d.out, format, args...)
}

// start starts three Redis servers, one of them the master, and three nodes that form a cluster.
func (d *demo) start(ctx context.Context, node string) error {
	for i := range 3 {
		o := stage.RedisOptions{Name: fmt.Sprintf("redis-%d", i+1)}
		if i > 0 {
			o.ReplicaOf = d.redis[0].Addr()
		}
		r, err := d.stage.Redis(o) //nolint:contextcheck // it only looks for a free port
		if err != nil {
			return err
		}
		d.redis = append(d.redis, r)
	}
	nodes, err := d.stage.Cluster(3, stage.ClusterOptions{Prefix: "node-", Binary: node}) //nolint:contextcheck // it only looks for free ports
	if err != nil {
		return err
	}
	d.nodes = nodes
	d.printf("Three Redis servers and three sentineld nodes on this machine.\n\n")
	for _, r := range d.redis {
		if err := r.Start(ctx); err != nil {
			return err
		}
	}
	if err := nodes.Start(ctx); err != nil {
		return err
	}
	for _, n := range nodes.Nodes {
		c, err := client.Dial([]string{n.GRPCAddr()})
		if err != nil {
			return err
		}
		d.each = append(d.each, c)
	}
	d.all, err = client.Dial(nodes.GRPCAddrs())
	return err
}

// addrs are the Redis servers as the cluster names them.
func (d *demo) addrs() []string {
	out := make([]string, len(d.redis))
	for i, r := range d.redis {
		out[i] = r.Addr()
	}
	return out
}

// errDied ends all waiting.
var errDied = errors.New("a node has died")

// await looks again and again until a check passes; what it then still missed is in the error.
func await(ctx context.Context, what string, limit time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := check(ctx)
		if err == nil || errors.Is(err, errDied) {
			return err
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %s", what, limit, words(last))
		case <-time.After(askAgain):
		}
	}
}

// green waits until the cluster has formed, puts the master under watch, and waits until every node sees the whole set.
func (d *demo) green(ctx context.Context) error {
	if err := await(ctx, "replicas in sync", 15*time.Second, d.replicasOnline); err != nil {
		return err
	}
	if err := await(ctx, "cluster formed", 15*time.Second, d.formed); err != nil {
		return err
	}
	addr, err := parseAddress(d.redis[0].Addr())
	if err != nil {
		return err
	}
	quorum, downAfter := int32(demoQuorum), demoDownAfter.Milliseconds()
	if _, err := sentinelv1.NewAdminServiceClient(d.all).MonitorMaster(ctx, &sentinelv1.MonitorMasterRequest{
		Name: demoMaster, Address: addr,
		Options: &sentinelv1.MasterOptions{Quorum: &quorum, DownAfterMs: &downAfter},
	}); err != nil {
		return fmt.Errorf("monitor the master: %w", err)
	}
	if err := await(ctx, "all green", 20*time.Second, func(ctx context.Context) error {
		return d.everyNode(ctx, func(m *sentinelv1.Master) error { return allUp(m, d.redis[0].Addr(), 2) })
	}); err != nil {
		return err
	}
	status, err := sentinelv1.NewClusterServiceClient(d.all).GetStatus(ctx, &sentinelv1.GetStatusRequest{})
	if err != nil {
		return err
	}
	t := newTable()
	t.add("  master", d.redis[0].Addr())
	t.add("  replicas", d.redis[1].Addr()+", "+d.redis[2].Addr()+", in sync")
	for i, n := range d.nodes.Nodes {
		role := ""
		if n.Name() == status.GetLeaderNodeId() {
			role = ", leads"
		}
		t.add("  "+n.Name(), fmt.Sprintf("gRPC %s, Sentinel protocol %s%s", n.GRPCAddr(), d.nodes.Nodes[i].Addr(), role))
	}
	t.add("  watched as", fmt.Sprintf("%s, quorum %d, down-after %d ms", demoMaster, demoQuorum, downAfter))
	if err := t.write(d.out); err != nil {
		return err
	}
	d.printf("\nAll green: every node sees the master up and both replicas in sync.\n")
	return nil
}

// replicasOnline asks the master itself whether both replicas are in sync.
func (d *demo) replicasOnline(ctx context.Context) error {
	text, err := info(ctx, d.redis[0].Addr())
	if err != nil {
		return err
	}
	if n := strings.Count(text, "state=online"); n != 2 {
		return fmt.Errorf("%d of 2 replicas are in sync", n)
	}
	return nil
}

// info is INFO replication of one Redis.
func info(ctx context.Context, addr string) (string, error) {
	c := redis.NewClient(redisOptions(addr))
	text, err := c.Info(ctx, "replication").Result()
	return text, errors.Join(err, c.Close())
}

// formed tells whether every node votes and hears the same leader.
func (d *demo) formed(ctx context.Context) error {
	leader := ""
	for i, c := range d.each {
		s, err := sentinelv1.NewClusterServiceClient(c).GetStatus(ctx, &sentinelv1.GetStatusRequest{})
		switch name := d.nodes.Nodes[i].Name(); {
		case !d.nodes.Nodes[i].Running():
			return fmt.Errorf("%s: %w", name, errDied)
		case err != nil:
			return fmt.Errorf("%s: %s", name, words(err))
		case s.GetVoters() != 3 || s.GetLeaderNodeId() == "" || s.GetAgeMs() < 0:
			return fmt.Errorf("%s knows %d of 3 voters and leader %q", name, s.GetVoters(), s.GetLeaderNodeId())
		case leader != "" && leader != s.GetLeaderNodeId():
			return fmt.Errorf("%s follows %s, another node %s", name, s.GetLeaderNodeId(), leader)
		default:
			leader = s.GetLeaderNodeId()
		}
	}
	return nil
}

// everyNode checks the set as each node knows it by itself.
func (d *demo) everyNode(ctx context.Context, check func(*sentinelv1.Master) error) error {
	for i, c := range d.each {
		r, err := sentinelv1.NewSentinelServiceClient(c).GetMaster(ctx,
			&sentinelv1.GetMasterRequest{Name: demoMaster, Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
		if err == nil {
			err = check(r.GetMaster())
		}
		if err != nil {
			return fmt.Errorf("%s: %s", d.nodes.Nodes[i].Name(), words(err))
		}
	}
	return nil
}

// allUp tells whether a node sees the master and its replicas, all up and in sync.
func allUp(m *sentinelv1.Master, master string, replicas int) error {
	if got := client.HostPort(m.GetAddress()); got != master {
		return fmt.Errorf("it tells master %s instead of %s", got, master)
	}
	if s := m.GetStatus(); s != sentinelv1.MasterStatus_MASTER_STATUS_OK {
		return fmt.Errorf("the master is %s", statusWord(s))
	}
	if int(m.GetReplicaCount()) != replicas {
		return fmt.Errorf("it knows %d of %d replicas", m.GetReplicaCount(), replicas)
	}
	for _, in := range m.GetInstances() {
		o, addr := in.GetObservation(), client.HostPort(in.GetAddress())
		switch {
		case o == nil || !o.GetConnected() || o.GetDown() || o.GetInfoAgeMs() < 0 || o.GetLoading():
			return fmt.Errorf("it does not reach %s yet", addr)
		case in.GetReportedRole() != in.GetRole():
			return fmt.Errorf("%s is not yet a %s", addr, enumWord(in.GetRole().String(), "ROLE_"))
		case in.GetRole() == sentinelv1.Role_ROLE_REPLICA && (!o.GetLinkUp() || client.HostPort(o.GetFollows()) != master):
			return fmt.Errorf("%s does not follow %s yet", addr, master)
		case in.GetRole() == sentinelv1.Role_ROLE_REPLICA && in.GetSyncedReplId() == "":
			return fmt.Errorf("%s is not known to have been in sync", addr)
		}
	}
	return nil
}

// tryNext tells what to do with a cluster of one's own.
func (d *demo) tryNext(ctx context.Context, keep bool) {
	if keep {
		e := strings.Join(d.nodes.GRPCAddrs(), ",")
		d.printf("\nIt runs until you press Ctrl-C. Try, in another terminal:\n")
		d.printf("  export SENTINELCTL_ENDPOINTS=%s\n", e)
		for _, line := range []string{
			"sentinelctl masters", "sentinelctl replicas " + demoMaster, "sentinelctl explain " + demoMaster,
			"sentinelctl history " + demoMaster + " --story", "sentinelctl events -f",
			"redis-cli -p " + d.nodes.Nodes[0].Addr()[strings.LastIndex(d.nodes.Nodes[0].Addr(), ":")+1:] +
				" SENTINEL GET-MASTER-ADDR-BY-NAME " + demoMaster,
			fmt.Sprintf("kill -9 %d   (the master now)", d.masterPID(ctx)),
		} {
			d.printf("  %s\n", line)
		}
		return
	}
	d.printf(`
What to try next
  sentinelctl demo --keep                             the same, left running until Ctrl-C
  sentineld --dev                                     one node for your own Redis, nothing on disk
  sentinelctl monitor mymaster 127.0.0.1 6379 1       put a master under watch
  sentinelctl masters                                 what is watched, and how it is
  sentinelctl explain mymaster                        who would win a failover now, and why not the others
  sentinelctl events -f                               what happens, as it happens
`)
}

func (d *demo) masterPID(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m, err := d.all.Master(ctx, demoMaster)
	for _, r := range d.redis {
		if err == nil && r.Addr() == m.Addr {
			return r.PID()
		}
	}
	return 0
}
