package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// downAfter of every set, unless its test says otherwise.
	downAfter = time.Second
	// soon bounds everything that has no bound of its own: a failover with an election in it takes 3 s.
	soon      = 30 * time.Second
	pollEvery = 20 * time.Millisecond
	callLimit = 3 * time.Second
	// What a failed test shows of each log.
	nodeLogLimit = 32 << 10
	logLimit     = 1500
)

// slots bounds how many labs live at a time: each is a dozen processes.
var slots = make(chan struct{}, 2)

// lab is one cluster and the Redis servers that it watches.
type lab struct {
	t     *testing.T
	stage *stage.Stage
	nodes []*node
}

// node is a sentineld with a connection to it.
type node struct {
	*stage.Node
	conn    *grpc.ClientConn
	masters sentinelv1.SentinelServiceClient
	admin   sentinelv1.AdminServiceClient
	cluster sentinelv1.ClusterServiceClient
}

// newLab starts three nodes, with lines of their configuration, and waits until all are voters of one cluster. It makes the test
// a parallel one.
func newLab(t *testing.T, config ...string) *lab {
	t.Helper()
	t.Parallel()
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
	s, err := stage.New("")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, stage: s}
	t.Cleanup(l.close)
	c, err := s.Cluster(3, stage.ClusterOptions{Binary: programs.node, Config: append([]string{"loglevel debug"}, config...)})
	if err != nil {
		t.Fatal(err)
	}
	for _, sn := range c.Nodes {
		l.nodes = append(l.nodes, dial(t, sn))
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.formed()
	return l
}

func dial(t *testing.T, sn *stage.Node) *node {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+sn.GRPCAddr(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}
	return &node{
		sn, conn, sentinelv1.NewSentinelServiceClient(conn), sentinelv1.NewAdminServiceClient(conn),
		sentinelv1.NewClusterServiceClient(conn),
	}
}

func (l *lab) close() {
	if l.t.Failed() {
		var b strings.Builder
		l.explain(&b)
		for _, n := range l.nodes {
			fmt.Fprintf(&b, "--- %s\n%s\n", n.Name(), n.Log(nodeLogLimit))
		}
		b.WriteString("--- all, in short\n")
		_ = l.stage.WriteLogs(&b, logLimit)
		l.t.Log(b.String())
	}
	for _, n := range l.nodes {
		_ = n.conn.Close()
	}
	if err := l.stage.Close(); err != nil {
		l.t.Error(err)
	}
}

// explain shows what each node has to say about each set.
func (l *lab) explain(w io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	for _, n := range l.running() {
		once, cancelOnce := context.WithTimeout(ctx, callLimit)
		r, err := n.masters.ListMasters(once, &sentinelv1.ListMastersRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
		fmt.Fprintf(w, "--- %s: %v\n", n.Name(), err)
		for _, m := range r.GetMasters() {
			e, err := n.admin.ExplainMaster(once, &sentinelv1.ExplainMasterRequest{
				Name: m.GetName(), Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL,
			})
			fmt.Fprintf(w, "%v\n%v, %v\n", m, e, err)
		}
		cancelOnce()
	}
}

// eventually asks until the answer is no error, and fails the test with the last error when the limit has passed.
func (l *lab) eventually(what string, limit time.Duration, ask func(ctx context.Context) error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var before error
	for {
		once, cancelOnce := context.WithTimeout(ctx, callLimit)
		err := ask(once)
		cancelOnce()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
			before = err
		case <-ctx.Done():
			l.t.Fatalf("%s: not within %v: %v; before that: %v", what, limit, err, before)
		}
	}
}

// last keeps a fault up for as long as it is meant to last.
func (l *lab) last(d time.Duration) {
	l.t.Helper()
	select {
	case <-time.After(d):
	case <-l.t.Context().Done():
		l.t.Fatal(l.t.Context().Err())
	}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// running are the nodes that have a process.
func (l *lab) running() []*node {
	var out []*node
	for _, n := range l.nodes {
		if n.Running() {
			out = append(out, n)
		}
	}
	return out
}

// formed waits until every running node hears one and the same leader, and knows all voters by name.
func (l *lab) formed() {
	l.t.Helper()
	l.eventually("one cluster with a leader", soon, func(ctx context.Context) error {
		leader := ""
		if len(l.running()) == 0 {
			return errors.New("no node lives")
		}
		for _, n := range l.running() {
			s, err := n.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name(), err)
			}
			known, err := n.cluster.ListNodes(ctx, &sentinelv1.ListNodesRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
			if err != nil {
				return fmt.Errorf("%s: %w", n.Name(), err)
			}
			registered := 0
			for _, k := range known.GetNodes() {
				if k.GetRegistered() && k.GetVoter() {
					registered++
				}
			}
			if s.GetLeaderNodeId() == "" || leader != "" && leader != s.GetLeaderNodeId() || s.GetLoading() || registered != len(l.nodes) {
				return fmt.Errorf("%s: leader %q, others say %q, loading %v, %d voters registered", n.Name(), s.GetLeaderNodeId(), leader,
					s.GetLoading(), registered)
			}
			leader = s.GetLeaderNodeId()
		}
		return nil
	})
}

// leader waits until a running node says that it leads.
func (l *lab) leader() *node {
	l.t.Helper()
	var found *node
	l.eventually("a leader", soon, func(ctx context.Context) error {
		for _, n := range l.running() {
			s, err := n.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
			if err == nil && s.GetRole() == sentinelv1.NodeRole_NODE_ROLE_LEADER {
				found = n
				return nil
			}
		}
		return errors.New("no node says that it leads")
	})
	return found
}

// follower is a running node that does not lead.
func (l *lab) follower() *node {
	l.t.Helper()
	leader := l.leader()
	for _, n := range l.running() {
		if n != leader {
			return n
		}
	}
	l.t.Fatal("no follower")
	return nil
}

// lead makes n the leader.
func (l *lab) lead(n *node) {
	l.t.Helper()
	l.eventually(n.Name()+" leads", soon, func(ctx context.Context) error {
		if l.leader() == n {
			return nil
		}
		_, err := n.cluster.TransferLeadership(ctx, &sentinelv1.TransferLeadershipRequest{Node: n.Name()})
		return errors.Join(errors.New("another leads"), err)
	})
}

// events are all that the cluster kept about a master, as a node that works tells them.
func (l *lab) events(master string) []*sentinelv1.Event {
	l.t.Helper()
	var out []*sentinelv1.Event
	l.eventually("events of "+master, soon, func(ctx context.Context) error {
		var errs []error
		for _, n := range l.running() {
			events, err := n.events(ctx, master)
			if err == nil {
				out = events
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	return out
}

func (n *node) events(ctx context.Context, master string) ([]*sentinelv1.Event, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := n.masters.WatchEvents(ctx, &sentinelv1.WatchEventsRequest{After: &sentinelv1.EventCursor{}, Master: master})
	if err != nil {
		return nil, err
	}
	var out []*sentinelv1.Event
	for {
		m, err := w.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil, errors.New("the watch ended before it was synced")
		case err != nil:
			return nil, err
		case m.GetSynced() != nil:
			return out, nil
		}
		out = append(out, m.GetBatch().GetEvents()...)
	}
}

// count counts events of a kind.
func count(events []*sentinelv1.Event, kind string) int {
	n := 0
	for _, e := range events {
		if e.GetKind() == kind {
			n++
		}
	}
	return n
}

// tell shows events in a failure.
func tell(events []*sentinelv1.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "\n  %s %s %s %s", e.GetAt().AsTime().Format("15:04:05.000"), e.GetKind(), e.GetPayload(), e.GetDetail())
	}
	return b.String()
}

// each runs a deed for every item, side by side, and waits for all.
func each[T any](items []T, do func(T)) {
	var wg sync.WaitGroup
	for _, it := range items {
		wg.Go(func() { do(it) })
	}
	wg.Wait()
}

// client speaks to one Redis, or to one node's Sentinel protocol, and does not try again by itself.
func (l *lab) client(addr, password string) *redis.Client {
	c := redis.NewClient(&redis.Options{
		Addr: addr, Password: password, Protocol: 2, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true,
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}
