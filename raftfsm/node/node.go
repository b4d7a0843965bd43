package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/credentials"

	"github.com/raftsentinel/raftsentinel/progress"
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
	// ErrQuorum: the change would leave the cluster without a majority of voters that are heard.
	ErrQuorum = errors.New("the cluster would lose its quorum")
	// ErrInUse: another process has the data directory.
	ErrInUse = errors.New("another sentineld uses it")
	// ErrNoSuccessor: leadership cannot be handed to the voter that was named, or to any.
	ErrNoSuccessor = errors.New("leadership cannot be handed over")
	// errStopped ends Run: to go on would be to diverge from the other nodes.
	errStopped = errors.New("this node stops before it diverges from the others; start the version that wrote the entry")
	// errStopping is the cause with which everything ends when Run's context does.
	errStopping = errors.New("the node is stopping")
)

// Timing is Raft's. It must be equal on all nodes.
type Timing struct {
	Heartbeat, Election, Lease time.Duration
}

// The timings of the raft-timing directive and of --dev.
var (
	TimingDefault = Timing{500 * time.Millisecond, 500 * time.Millisecond, 250 * time.Millisecond}
	TimingLAN     = Timing{200 * time.Millisecond, 200 * time.Millisecond, 100 * time.Millisecond}
	TimingWAN     = Timing{time.Second, time.Second, 500 * time.Millisecond}
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
	// Observer joins a cluster and never votes; it founds none, whatever BootstrapExpect says.
	Observer bool
	// Secret authenticates nodes to each other; zero = loopback only.
	Secret raftfsm.Secret
	// Timing of elections; zero = TimingDefault.
	Timing Timing
	// StallLimit is how long the log store may hang before a leader falls silent; 0 = 1 s.
	StallLimit time.Duration
	// RaftListener accepts Raft connections. Announced addresses are what other nodes dial.
	RaftListener net.Listener
	// DialContext reaches other nodes; nil dials TCP.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	Raft        raftfsm.Addr
	GRPC        raftfsm.Addr
	RESP        raftfsm.Addr
	HTTP        raftfsm.Addr
	Version     string
	// StandsBy tells whether what this node has seen since it started agrees with a vote of its own; nil = it always does.
	// Verdicts that are known from the log alone, or that have been overtaken, are not renewed.
	StandsBy func(raftfsm.Vote) bool
	Log      *slog.Logger
}

// Node is one member, or one that means to become one.
type Node struct {
	o      Options
	log    *slog.Logger
	id     *identity
	self   raft.ServerID
	creds  *linkCredentials // nil like link
	link   *raftLink        // nil in tests that bring their own transport
	former *former
	fsm    *fsm
	disk   disk
	// turns is Raft's main loop: it steps when it is asked for a sign of life, and rests when it has given one.
	turns     progress.Loop
	acks      *ackBook
	contacts  contacts
	moves     moves
	clocks    clocks
	strangers strangers
	refusals  *sparseLog // of nodes that are not admitted
	// observers are, on the leader, the members that said that they mean not to vote.
	observers atomic.Pointer[[]raft.ServerID]
	conns     peers
	hooks     hooks
	running   atomic.Bool
	stopping  chan struct{} // closed when Run begins to end
	stopOnce  sync.Once
	// recalled is closed when the state from before a restart is loaded, as far as no leader is needed for that.
	recalled   chan struct{}
	recallOnce sync.Once

	// raft is nil until this node has a cluster, and again after it was removed from it.
	raft atomic.Pointer[raft.Raft]
	// floor is the index from which on the state may be told; math.MaxUint64 while that is not known.
	floor atomic.Uint64
	// removed is closed when this node learns that it is a member no more.
	removed    chan struct{}
	removeOnce sync.Once

	// resp is where this node says that it serves the Sentinel protocol; announced wakes who registers it.
	resp      atomic.Pointer[raftfsm.Addr]
	announced broadcast

	leads   scope
	asks    confirmer     // of the leader, for this node's reads while it follows
	heard   broadcast     // of a change of the leader, and of leaderships
	retake  chan struct{} // leadership is to be taken up anew
	futures tally         // waits for Raft's answers
	timed   atomic.Pointer[timedStore]
	trans   atomic.Pointer[quietable]
	herald  atomic.Pointer[herald]
	cadence atomic.Pointer[cadence]
	pulse   atomic.Pointer[pulseTransport]
}

// hooks let tests bring their own world; the zero value is the real one.
type hooks struct {
	identity  *identity
	stores    func() (*stores, error)
	transport func() quietable
	peers     peers
	// caller tells which node a call came from.
	caller  func(ctx context.Context) (raft.ServerID, bool)
	resolve resolver
	// now is the wall clock, as it is told to other nodes and compared with theirs.
	now func() time.Time
	// voters, not nil, stands in for formation: the configuration that every node of a test begins with.
	voters []raft.Server
}

// New validates the options and starts nothing; it locks the directory, which Run releases.
func New(o Options) (*Node, error) { return newNode(o, hooks{}) }

func newNode(o Options, h hooks) (*Node, error) {
	if err := o.complete(h); err != nil {
		return nil, err
	}
	id := h.identity
	if id == nil {
		var err error
		id, err = openIdentity(o.Dir, o.NodeID, o.ClusterName)
		if errors.Is(err, ErrInUse) {
			err = fmt.Errorf("%w; give each node a dir of its own", err)
		}
		if err != nil {
			return nil, err
		}
	}
	n := &Node{
		o: o, log: o.Log.With("component", "node"), id: id, self: id.get().RaftID, acks: newAckBook(), hooks: h,
		refusals: newSparseLog(o.Log.With("component", "node")),
		stopping: make(chan struct{}), recalled: make(chan struct{}), removed: make(chan struct{}), retake: make(chan struct{}, 1),
	}
	n.asks.ask = n.askLeader
	n.floor.Store(notTold)
	n.resp.Store(&n.o.RESP)
	auth := linkAuth{clusterName: o.ClusterName, secret: o.Secret, raftID: n.self}
	if h.transport == nil {
		n.link = newRaftLink(o.RaftListener, auth, o.Raft, n.log)
		if o.DialContext != nil {
			n.link.dialer = o.DialContext
		}
		n.creds = newLinkCredentials(auth, n.log)
	}
	if n.hooks.caller == nil {
		n.hooks.caller = peerRaftID
	}
	if n.hooks.resolve == nil {
		n.hooks.resolve = systemResolver
	}
	if n.hooks.now == nil {
		n.hooks.now = time.Now
	}
	n.conns = h.peers
	if n.conns == nil {
		n.conns = newConns(n.creds, o.DialContext)
	}
	n.fsm = newFSM(&appliedMemory{}, n.applied)
	var refusal func(string) string
	if n.creds != nil {
		refusal = n.creds.refusal
	}
	n.former = newFormer(id, formerOptions{
		nodeID: o.NodeID, clusterName: o.ClusterName, expect: o.BootstrapExpect, peers: o.Peers, self: n.registration(),
		dial: n.conns.dial, resolve: n.hooks.resolve, refusal: refusal, now: n.hooks.now, log: n.log,
	})
	return n, nil
}

// Close gives back what New has taken, where [Node.Run] will not be called.
func (n *Node) Close() error {
	if !n.running.CompareAndSwap(false, true) {
		return errors.New("node: Run was called; it closes the node")
	}
	var err error
	if n.link != nil {
		err = n.link.Close()
	}
	return errors.Join(err, n.conns.Close(), n.id.Close())
}

// complete checks the options and fills in what may be left out.
func (o *Options) complete(h hooks) error {
	var errs []error
	if o.NodeID == "" {
		errs = append(errs, errors.New("node-id is empty"))
	}
	if o.ClusterName == "" {
		errs = append(errs, errors.New("cluster-name is empty"))
	}
	if o.RaftListener == nil && h.transport == nil {
		errs = append(errs, errors.New("no listener for Raft"))
	}
	if o.Raft.IsZero() || o.GRPC.IsZero() {
		errs = append(errs, errors.New("the addresses to announce for Raft and gRPC must be given"))
	}
	if o.BootstrapExpect < 0 {
		errs = append(errs, fmt.Errorf("bootstrap-expect %d: must be 0 or more", o.BootstrapExpect))
	}
	switch {
	case o.Observer && len(o.Peers) == 0:
		errs = append(errs, errors.New("an observer needs other nodes: give it cluster-peers"))
	case o.Observer:
		o.BootstrapExpect = 0
	case o.Dir == "" && h.stores == nil:
		o.BootstrapExpect, o.Peers = 1, nil
	}
	if o.Timing == (Timing{}) {
		o.Timing = TimingDefault
	}
	if t := o.Timing; t.Lease > t.Heartbeat || t.Heartbeat > t.Election || t.Lease < 5*time.Millisecond {
		errs = append(errs, fmt.Errorf("raft timing %v: want 5ms ≤ lease ≤ heartbeat ≤ election", t))
	}
	if o.StallLimit <= 0 {
		o.StallLimit = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("node: %w", err)
	}
	return nil
}

// registration is what this node says of itself.
func (n *Node) registration() *raftlogv1.RegisterNode {
	return &raftlogv1.RegisterNode{
		RaftId: string(n.self), NodeId: n.o.NodeID, Raft: n.o.Raft.Proto(), Grpc: n.o.GRPC.Proto(), Resp: n.resp.Load().Proto(),
		Http: n.o.HTTP.Proto(), Version: n.o.Version, MaxLevel: raftfsm.Level,
	}
}

// AnnounceRESP changes where this node says that it serves the Sentinel protocol; the zero Addr is nowhere. The others learn
// of it by the log.
func (n *Node) AnnounceRESP(a raftfsm.Addr) {
	n.resp.Store(&a)
	n.announced.wake()
}

// Rekey has the connections that nodes open from now on be proven by a cluster secret, and tells whether it is another than
// before. Those that stand go on.
func (n *Node) Rekey(secret raftfsm.Secret) (changed bool) {
	n.creds.auth.rekey(secret)
	return n.link.auth.rekey(secret)
}

// Credentials authenticate node-to-node gRPC connections on both sides by the cluster secret. A server that uses them
// serves other clients too, unauthenticated: see [FromNode].
func (n *Node) Credentials() credentials.TransportCredentials { return n.creds }

// FromNode tells whether the call in ctx came over a connection that a node of the cluster opened.
func FromNode(ctx context.Context) bool {
	_, ok := peerRaftID(ctx)
	return ok
}

// RaftID is this node's Raft server id, made with its directory.
func (n *Node) RaftID() string { return string(n.self) }

// State is the latest applied state, without any promise of freshness.
func (n *Node) State() *raftfsm.State { return n.fsm.State() }

// Changed is closed when the state after the one that [Node.State] gave is applied. Take the channel first, then the state.
func (n *Node) Changed() <-chan struct{} { return n.fsm.Changed() }

// applied is told of each publication by the goroutine that made it.
func (n *Node) applied(b batch) {
	if h := n.herald.Load(); h != nil {
		h.news()
	}
	if isMember(b.before, n.self) && !isMember(b.after, n.self) {
		n.becomeRemoved()
	}
}

func isMember(s *raftfsm.State, id raft.ServerID) bool {
	for _, v := range s.Servers() {
		if v.ID == string(id) {
			return true
		}
	}
	return false
}

// becomeRemoved ends this node's part in the cluster, for good.
func (n *Node) becomeRemoved() {
	n.removeOnce.Do(func() {
		n.log.Warn("removed from the cluster; to join again, empty its dir", "raft_id", n.self)
		close(n.removed)
	})
}

// Removed is closed once this node is out of its cluster for good.
func (n *Node) Removed() <-chan struct{} { return n.removed }

func (n *Node) isRemoved() bool {
	select {
	case <-n.removed:
		return true
	default:
		return false
	}
}
