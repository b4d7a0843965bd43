package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// connectLimit is how long a connection to another node may take before the call is given up, unsent.
const connectLimit = 500 * time.Millisecond

// peers reach other nodes by their gRPC addresses.
type peers interface {
	// client is for calls to the node at address. Its error means that nothing was sent.
	client(ctx context.Context, address string) (peerv1.PeerServiceClient, error)
	// warm begins to connect.
	warm(address string)
	conn(address string) (*grpc.ClientConn, error)
	// dial makes a connection of the caller's own.
	dial(address string) (peerv1.PeerServiceClient, io.Closer, error)
	Close() error
}

// conns keeps one connection to each node that was ever called.
type conns struct {
	creds  credentials.TransportCredentials
	dialer func(ctx context.Context, network, address string) (net.Conn, error) // nil: TCP

	mu     sync.Mutex
	open   map[string]*grpc.ClientConn
	closed bool
}

func newConns(creds credentials.TransportCredentials, dialer func(ctx context.Context, network, address string) (net.Conn, error)) *conns {
	return &conns{creds: creds, dialer: dialer, open: map[string]*grpc.ClientConn{}}
}

func (c *conns) make(address string) (*grpc.ClientConn, error) {
	// passthrough: the dialer resolves, anew at each attempt, and no proxy of the environment comes between two nodes.
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(c.creds), grpc.WithNoProxy(),
		// After a cut has healed, a connection that TCP still waits for must not hold up calls.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			// Short, because it cannot be cut short: ClientConn.ResetConnectBackoff goes through a map that the connection's own
			// goroutine writes (grpc-go 1.85). Nobody is dialled unless somebody calls.
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: connectLimit,
		}),
	}
	if c.dialer != nil {
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return c.dialer(ctx, "tcp", address)
		}))
	}
	cc, err := grpc.NewClient("passthrough:///"+address, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to node %s: %w", address, err)
	}
	return cc, nil
}

func (c *conns) conn(address string) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errStopping
	}
	if cc := c.open[address]; cc != nil {
		return cc, nil
	}
	cc, err := c.make(address)
	if err == nil {
		c.open[address] = cc
	}
	return cc, err
}

func (c *conns) warm(address string) {
	if cc, err := c.conn(address); err == nil {
		cc.Connect()
	}
}

func (c *conns) client(ctx context.Context, address string) (peerv1.PeerServiceClient, error) {
	cc, err := c.conn(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	cc.Connect()
	for {
		s := cc.GetState()
		switch s {
		case connectivity.Ready:
			return peerv1.NewPeerServiceClient(cc), nil
		case connectivity.Shutdown:
			return nil, errStopping
		case connectivity.TransientFailure:
			return nil, fmt.Errorf("node %s cannot be reached", address)
		case connectivity.Idle, connectivity.Connecting:
		}
		if !cc.WaitForStateChange(ctx, s) {
			return nil, fmt.Errorf("node %s cannot be reached: %w", address, context.Cause(ctx))
		}
	}
}

func (c *conns) dial(address string) (peerv1.PeerServiceClient, io.Closer, error) {
	cc, err := c.make(address)
	if err != nil {
		return nil, nil, err
	}
	return peerv1.NewPeerServiceClient(cc), cc, nil
}

// Close ends every connection; calls under way fail.
func (c *conns) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, cc := range c.open {
		errs = append(errs, cc.Close())
	}
	c.open = nil
	return errors.Join(errs...)
}

// leaderAddr is the gRPC address of the present leader.
func (n *Node) leaderAddr() (raftfsm.Addr, error) {
	if n.isRemoved() {
		return raftfsm.Addr{}, ErrRemoved
	}
	r := n.raft.Load()
	if r == nil {
		return raftfsm.Addr{}, fmt.Errorf("%w: this node belongs to no cluster yet", ErrNoLeader)
	}
	_, id := r.LeaderWithID()
	if id == "" {
		return raftfsm.Addr{}, ErrNoLeader
	}
	node, ok := n.State().Node(string(id))
	if !ok {
		return raftfsm.Addr{}, fmt.Errorf("%w: the address of %s is not known yet", ErrNoLeader, id)
	}
	return node.GRPC, nil
}

// leaderClient is for calls to a leader other than this node.
func (n *Node) leaderClient(ctx context.Context) (peerv1.PeerServiceClient, error) {
	a, err := n.leaderAddr()
	if err != nil {
		return nil, err
	}
	if a == n.o.GRPC {
		return nil, fmt.Errorf("%w: leadership is changing", ErrNoLeader)
	}
	c, err := n.conns.client(ctx, a.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoLeader, err)
	}
	return c, nil
}

// LeaderConn is a gRPC connection to the present leader, to pass on what it alone can answer; ErrNoLeader without one. The
// connection belongs to the Node. On the leader itself it leads back to it.
func (n *Node) LeaderConn(context.Context) (*grpc.ClientConn, error) {
	a, err := n.leaderAddr()
	if err != nil {
		return nil, err
	}
	return n.conns.conn(a.String())
}

// NodeConn is a gRPC connection to another member, by its Raft id. It belongs to the Node. One that failed before is tried
// anew; where it does not stand after a while, a call on it tells why.
func (n *Node) NodeConn(ctx context.Context, raftID string) (*grpc.ClientConn, error) {
	node, ok := n.State().Node(raftID)
	if !ok {
		return nil, fmt.Errorf("the address of %s is not known", raftID)
	}
	cc, err := n.conns.conn(node.GRPC.String())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	for s := cc.GetState(); s != connectivity.Ready && s != connectivity.Shutdown; s = cc.GetState() {
		cc.Connect() // it does nothing but where the connection is idle, as it is after a failure
		if !cc.WaitForStateChange(ctx, s) {
			break
		}
	}
	return cc, nil
}
