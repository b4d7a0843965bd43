package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// stallFile in a node's directory makes its log store hang while it is there; failpoints only.
const stallFile = "stall"

// ours is three nodes of sentineld.
type ours struct {
	cluster *stage.Cluster
	nodes   []api
	// writes makes every change another value.
	writes atomic.Int64
}

type api struct {
	conn    *grpc.ClientConn
	masters sentinelv1.SentinelServiceClient
	admin   sentinelv1.AdminServiceClient
	cluster sentinelv1.ClusterServiceClient
}

func newOurs(ctx context.Context, s *stage.Stage, binary, timing string) (*ours, error) {
	c, err := s.Cluster(3, stage.ClusterOptions{Binary: binary, Config: []string{"raft-timing " + timing}})
	if err != nil {
		return nil, err
	}
	o := &ours{cluster: c}
	for _, n := range c.Nodes {
		n.SetEnv("SENTINELD_STALL_FILE=" + filepath.Join(n.Dir(), stallFile))
		conn, err := grpc.NewClient("passthrough:///"+n.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		o.nodes = append(o.nodes, api{
			conn, sentinelv1.NewSentinelServiceClient(conn), sentinelv1.NewAdminServiceClient(conn),
			sentinelv1.NewClusterServiceClient(conn),
		})
	}
	return o, c.Start(ctx)
}

func (o *ours) name() string { return "sentineld" }

func (o *ours) procs() []*stage.Process {
	var out []*stage.Process
	for _, n := range o.cluster.Nodes {
		out = append(out, n.Process)
	}
	return out
}

func (o *ours) addrs() []string { return o.cluster.Addrs() }

func (o *ours) close() {
	for _, n := range o.nodes {
		_ = n.conn.Close()
	}
}

func (o *ours) monitor(ctx context.Context, master string) error {
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	quorum, after := int32(2), downAfter.Milliseconds()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := o.nodes[0].admin.MonitorMaster(ctx, &sentinelv1.MonitorMasterRequest{
			Name: setName, Address: &sentinelv1.Address{Host: host, Port: uint32(n)},
			Options: &sentinelv1.MasterOptions{Quorum: &quorum, DownAfterMs: &after},
		})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("monitor: %w", err)
		case <-time.After(pollEvery):
		}
	}
}

func (o *ours) leader(ctx context.Context) (int, error) {
	for i, n := range o.nodes {
		s, err := n.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
		if err == nil && s.GetRole() == sentinelv1.NodeRole_NODE_ROLE_LEADER {
			return i, nil
		}
	}
	return 0, errors.New("no node leads")
}

func (o *ours) rested(ctx context.Context, master string) error {
	if _, err := o.leader(ctx); err != nil {
		return err
	}
	for i, n := range o.nodes {
		r, err := n.masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: setName, Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
		if err != nil {
			return err
		}
		status, err := n.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
		if err != nil {
			return err
		}
		m := r.GetMaster()
		addr := net.JoinHostPort(m.GetAddress().GetHost(), strconv.Itoa(int(m.GetAddress().GetPort())))
		if addr != master || m.GetFailover() != nil || len(m.GetInstances()) != 3 || status.GetVoters() != 3 || status.GetLeaderNodeId() == "" {
			return fmt.Errorf("node %d names %s, failover %v, %d instances, %d voters", i+1, addr, m.GetFailover().GetEpoch(),
				len(m.GetInstances()), status.GetVoters())
		}
		for _, in := range m.GetInstances() {
			if len(in.GetVotes()) > 0 || in.GetRole() == sentinelv1.Role_ROLE_REPLICA && in.GetSyncedReplId() == "" {
				return fmt.Errorf("node %d: %v", i+1, in)
			}
		}
	}
	return nil
}

// write makes one change that is new, through one node.
func (o *ours) write(ctx context.Context, node int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	timeout := 100000 + o.writes.Add(1)
	_, err := o.nodes[node].admin.UpdateMaster(ctx, &sentinelv1.UpdateMasterRequest{
		Name: setName, Options: &sentinelv1.MasterOptions{FailoverTimeoutMs: &timeout},
	})
	return err
}

// steady counts the elections that a cluster at rest goes through beside two busy threads.
func steady(ctx context.Context, binary string, d time.Duration) (string, error) {
	s, err := stage.New("")
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	o, err := newOurs(ctx, s, binary, "default")
	if err != nil {
		return "", err
	}
	defer o.close()
	l, err := newSet(ctx, s, o)
	if err != nil {
		return "", err
	}
	if err := l.settle(ctx); err != nil {
		return "", err
	}
	before, err := o.term(ctx)
	if err != nil {
		return "", err
	}
	busy, stop := context.WithTimeout(ctx, d)
	defer stop()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for busy.Err() == nil {
			}
		})
	}
	wg.Wait()
	after, err := o.term(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Elections in %v at rest beside two busy threads, default timing: %d.", d, after-before), ctx.Err()
}

func (o *ours) term(ctx context.Context) (uint64, error) {
	s, err := o.nodes[0].cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
	return s.GetTerm(), err
}
