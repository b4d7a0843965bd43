package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// Sentineld is three nodes of sentineld.
type Sentineld struct {
	Cluster *stage.Cluster
	Nodes   []API
}

// API is what one node serves over gRPC.
type API struct {
	conn    *grpc.ClientConn
	Masters sentinelv1.SentinelServiceClient
	Admin   sentinelv1.AdminServiceClient
	Cluster sentinelv1.ClusterServiceClient
}

// NewSentineld makes a cluster of the given program, with further lines of configuration, that does not run yet.
func NewSentineld(s *stage.Stage, binary string, config ...string) (*Sentineld, error) {
	c, err := s.Cluster(3, stage.ClusterOptions{Binary: binary, Config: config})
	if err != nil {
		return nil, err
	}
	d := &Sentineld{Cluster: c}
	for _, n := range c.Nodes {
		api, err := Dial(n)
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		d.Nodes = append(d.Nodes, api)
	}
	return d, nil
}

// Dial gives a connection to a node, which need not run yet. The caller closes it.
func Dial(n *stage.Node) (API, error) {
	conn, err := grpc.NewClient("passthrough:///"+n.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return API{}, err
	}
	return API{
		conn, sentinelv1.NewSentinelServiceClient(conn), sentinelv1.NewAdminServiceClient(conn), sentinelv1.NewClusterServiceClient(conn),
	}, nil
}

// Close closes the connection.
func (a API) Close() error { return a.conn.Close() }

// Start starts all nodes.
func (d *Sentineld) Start(ctx context.Context) error { return d.Cluster.Start(ctx) }

// Name is the program's.
func (d *Sentineld) Name() string { return "sentineld" }

// Procs are its processes.
func (d *Sentineld) Procs() []*stage.Process {
	var out []*stage.Process
	for _, n := range d.Cluster.Nodes {
		out = append(out, n.Process)
	}
	return out
}

// Addrs are where each node answers as a Sentinel.
func (d *Sentineld) Addrs() []string { return d.Cluster.Addrs() }

// Close closes the connections; the processes are the stage's.
func (d *Sentineld) Close() error {
	var errs []error
	for _, n := range d.Nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// Monitor puts the master under watch, as soon as the cluster takes changes.
func (d *Sentineld) Monitor(ctx context.Context, master string) error {
	host, port, err := net.SplitHostPort(master)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	// What crashes in every round shall not be taken for a flapping master.
	quorum, after, cooldown := int32(2), DownAfter.Milliseconds(), int64(0)
	return Until(ctx, func(ctx context.Context) error {
		_, err := d.Nodes[0].Admin.MonitorMaster(ctx, &sentinelv1.MonitorMasterRequest{
			Name: MasterName, Address: &sentinelv1.Address{Host: host, Port: uint32(n)},
			Options: &sentinelv1.MasterOptions{Quorum: &quorum, DownAfterMs: &after, FailoverCooldownMs: &cooldown},
		})
		return err
	})
}

// Leader is the place of the leader among the nodes.
func (d *Sentineld) Leader(ctx context.Context) (int, error) {
	for i, n := range d.Nodes {
		s, err := n.Cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
		if err == nil && s.GetRole() == sentinelv1.NodeRole_NODE_ROLE_LEADER {
			return i, nil
		}
	}
	return 0, errors.New("no node leads")
}

// Failover orders a failover although the master is up.
func (d *Sentineld) Failover(ctx context.Context) error {
	_, err := d.Nodes[0].Admin.FailoverMaster(ctx, &sentinelv1.FailoverMasterRequest{Name: MasterName, Force: true})
	return err
}

// Rested tells why the cluster is not at rest with the given master and two replicas.
func (d *Sentineld) Rested(ctx context.Context, master string) error {
	if _, err := d.Leader(ctx); err != nil {
		return err
	}
	for i, n := range d.Nodes {
		r, err := n.Masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{
			Name: MasterName, Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL,
		})
		if err != nil {
			return err
		}
		status, err := n.Cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
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

// Until asks until the answer is no error, at most for Limit.
func Until(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	for {
		once, cancelOnce := context.WithTimeout(ctx, 3*time.Second)
		err := ask(once)
		cancelOnce()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", Limit, err)
		case <-time.After(PollEvery):
		}
	}
}
