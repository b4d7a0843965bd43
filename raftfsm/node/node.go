package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Errors that callers tell apart.
var (
	// ErrNoLeader: no leader was found within the deadline; nothing was appended.
	ErrNoLeader = errors.New("no leader")
	// ErrNotLeader: this node does not lead; nothing was appended.
	ErrNotLeader = errors.New("not the leader")
	// ErrUnknownOutcome: the command may or may not be committed; ask again.
	ErrUnknownOutcome = errors.New("unknown outcome")
	// ErrLoading: the node has not yet caught up with what it has answered before.
	ErrLoading = errors.New("loading")
	// ErrRemoved: this node was removed from its cluster.
	ErrRemoved = errors.New("this node was removed from its cluster")
	// ErrLeadershipLost is the cause with which a leadership's context ends.
	ErrLeadershipLost = errors.New("leadership lost")
)

// Timing is Raft's. It must be equal on all nodes.
type Timing struct {
	Heartbeat, Election, Lease time.Duration
}

// The timings of the raft-timing directive and of --dev.
var (
	TimingDefault = Timing{500 * time.Millisecond, 500 * time.Millisecond, 250 * time.Millisecond}
	TimingLAN     = Timing{200 * time.Millisecond, 200 * time.Millisecond, 100 * time.Millisecond}
	TimingDev     = Timing{50 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond}
)

// Options of a node. RaftListener is owned by the Node once New has returned without error.
type Options struct {
	NodeID      string
	ClusterName string
	// Dir holds log, snapshots and identity; "" keeps everything in memory and founds a cluster of one at once.
	Dir string
	// Peers are HOST:GRPCPORT, looked up anew at each attempt.
	Peers []string
	// BootstrapExpect is how many nodes without state must promise each other; 0 = only join.
	BootstrapExpect int
	// Secret authenticates nodes to each other; zero = loopback only.
	Secret raftfsm.Secret
	Timing Timing
	// StallLimit is how long the log store may hang before a leader falls silent; 0 = 1 s.
	StallLimit time.Duration
	// RaftListener accepts Raft connections. Announced addresses are what other nodes dial.
	RaftListener net.Listener
	Raft         raftfsm.Addr
	GRPC         raftfsm.Addr
	RESP         raftfsm.Addr
	HTTP         raftfsm.Addr
	Version      string
	Log          *slog.Logger
}

// Status is a node's account of its part in Raft, at one moment.
type Status struct {
	// Role: leader, follower, candidate, none, joining, observer, removed.
	Role        string
	RaftID      string
	NodeID      string
	LeaderID    string
	Leader      raftfsm.Addr // its Raft address
	Term        uint64
	CommitIndex uint64
	// AppliedIndex is what this node's state has applied, not what Raft has queued.
	AppliedIndex uint64
	// LastContact is the time since this node heard a leader; 0 on the leader, -1 for never.
	LastContact time.Duration
	ClusterID   string
	Peers       int
	// Loading: the state is older than what was answered before a restart.
	Loading  bool
	FsyncP50 time.Duration
}

// Node is one member, or one that means to become one.
type Node struct{}

// New validates the options and starts nothing.
func New(o Options) (*Node, error) { panic("contract only") }

// Run opens the stores, forms or joins a cluster, and serves until ctx ends; it hands leadership over first, and returns
// after its last goroutine has ended.
func (n *Node) Run(ctx context.Context) error { panic("contract only") }

// PeerServer answers the other nodes; the daemon registers it on its gRPC server.
func (n *Node) PeerServer() peerv1.PeerServiceServer { panic("contract only") }

// Credentials authenticate node-to-node gRPC connections on both sides by the cluster secret. A server that uses them
// serves other clients too, unauthenticated: see [FromNode].
func (n *Node) Credentials() credentials.TransportCredentials { panic("contract only") }

// FromNode tells whether the call in ctx came over a connection that a node of the cluster opened.
func FromNode(ctx context.Context) bool { panic("contract only") }

// LeaderConn is a gRPC connection to the present leader, to pass on what it alone can answer; ErrNoLeader without one. The
// connection belongs to the Node.
func (n *Node) LeaderConn(ctx context.Context) (*grpc.ClientConn, error) { panic("contract only") }

// State is the latest applied state, without any promise of freshness.
func (n *Node) State() *raftfsm.State { panic("contract only") }

// Changed is closed when the state after the one that [Node.State] gave is applied. Take the channel first, then the state.
func (n *Node) Changed() <-chan struct{} { panic("contract only") }

// Local is State with the promise that it is no older than any answer given before a restart (else ErrLoading), and the
// time since this node heard from a leader.
func (n *Node) Local() (*raftfsm.State, time.Duration, error) { panic("contract only") }

// Read is a state that includes every command committed before the call (Raft paper, section 6.4).
func (n *Node) Read(ctx context.Context) (*raftfsm.State, error) { panic("contract only") }

// Propose commits a command and returns after it is applied on this node. From a follower it is sent to the leader, once.
// An error of ErrNoLeader or ErrNotLeader means nothing was appended; ErrUnknownOutcome that it may have been. A refusal on
// the merits is no error: see Result.Code.
func (n *Node) Propose(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error) {
	panic("contract only")
}

// Lead runs duties whenever this node leads, after its Mark is applied here, with a context that ends with leadership and
// carries the cause. New duties start only after the old ones have returned. Lead returns when ctx ends.
func (n *Node) Lead(ctx context.Context, duties func(ctx context.Context, term uint64) error) error {
	panic("contract only")
}

// Verify confirms with a quorum that this node still leads in the given term.
func (n *Node) Verify(ctx context.Context, term uint64) error { panic("contract only") }

// Renewals are, on the leader, the nodes whose live reports were renewed in this leadership and when; the leader itself
// counts as renewed now. A node that proposed a report to this leadership counts too.
func (n *Node) Renewals() map[string]Renewal { panic("contract only") }

// Renewal is the last sign of a node that stands by its reports.
type Renewal struct {
	Base uint64
	At   time.Time
}

// Status tells this node's part in Raft.
func (n *Node) Status() Status { panic("contract only") }

// TransferLeadership hands leadership to a voter; "" lets Raft choose.
func (n *Node) TransferLeadership(ctx context.Context, raftID string) error { panic("contract only") }

// RemoveNode takes a member out of Raft's configuration. Leader only.
func (n *Node) RemoveNode(ctx context.Context, raftID string) error { panic("contract only") }
