package api

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/doctor"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Node is this member of the cluster, as the API needs it.
type Node interface {
	// State is the latest applied state, without any promise of freshness.
	State() *raftfsm.State
	// Changed is closed when the state after the present one is applied. Take the channel first, then the state.
	Changed() <-chan struct{}
	// Local is State with the promise that it is no older than any answer given before, and the time since a leader was
	// heard; negative for never.
	Local() (*raftfsm.State, time.Duration, error)
	// Read is a state that includes every command committed before the call.
	Read(ctx context.Context) (*raftfsm.State, error)
	// Propose commits a command, from any node, and returns after it is applied here. It completes the header, all but the
	// actor.
	Propose(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error)
	Status() NodeStatus
	// LastContact is the time since a leader was heard: 0 on the leader, negative for never.
	LastContact() time.Duration
	// Contacts are those with the members, by Raft id, where this node has its own: on the leader, by what they acknowledge,
	// and on a node that hears no leader, by whether they answered it last. Nil where it has none.
	Contacts() map[string]Contact
	// LeaderConn leads to the API of the present leader. The connection is the Node's.
	LeaderConn(ctx context.Context) (*grpc.ClientConn, error)
	// NodeConn leads to the API of another member. The connection is the Node's, and may not stand: then a call tells why.
	NodeConn(ctx context.Context, raftID string) (*grpc.ClientConn, error)
	// RemoveNode takes a member out; leader only.
	RemoveNode(ctx context.Context, raftID string) error
	// TransferLeadership hands leadership to a voter that is not drained, "" to any other; leader only.
	TransferLeadership(ctx context.Context, raftID string) error
}

// RoleLeader is the Role of the node that leads, roleRemoved that of one that was removed from its cluster.
const (
	RoleLeader  = "leader"
	roleRemoved = "removed"
)

// NodeStatus is a node's account of its part in Raft, at one moment.
type NodeStatus struct {
	// Role: leader, follower, candidate, none, joining, observer, removed.
	Role         string
	RaftID       string
	NodeID       string
	LeaderID     string
	Term         uint64
	CommitIndex  uint64
	AppliedIndex uint64
	// LastContact is the time since a leader was heard; 0 on the leader, negative for never.
	LastContact time.Duration
	ClusterID   string
	Peers       int
	Loading     bool
	FsyncP50    time.Duration
	// Heard are, on the leader, the Raft ids of the members that were heard lately, itself included; nil where that is not
	// known.
	Heard []string
	// Lagging are, on the leader, the Raft ids of those of them whose logs are not known to be complete but for a few entries.
	Lagging []string
	// Joining are, on the leader, the Raft ids of the members that do not vote yet and are no observers.
	Joining []string
	// Awaited are, on a leader that has just founded the cluster, the ids of the nodes that promised to follow it and are no
	// members yet.
	Awaited []string
	// Strangers are, on the leader, the nodes of another cluster that answer where cluster-peers looks for members, in words.
	Strangers []string
	// Astray are, on the leader, the members whose wall clocks are more than five minutes from its own, by Raft id: how far
	// each is ahead of it.
	Astray map[string]time.Duration
	// Waiting says why the node has no cluster yet; empty once it has one.
	Waiting string
}

// Contact is what a node knows of its contact with a member.
type Contact struct {
	Heard bool
	// At is when the member gave its last sign of life; zero for none that is known.
	At time.Time
}

// Observation is what this node last saw of an instance.
type Observation = detector.Observation

// LagAge is how old a reading of an instance may be to tell how far a replica is behind: INFO is read every 10 s where nothing
// happens, and every 20 s at least where thousands are watched and many fail over; once a minute by a node that does not lead
// there, unless it is asked ([Fleet.Heed]).
const LagAge = 20 * time.Second

// Lag is how many bytes of its master's stream the replica a lacked when both were last read; -1 for unknown.
func Lag(a raftfsm.Addr, master, replica Observation, now time.Time) int64 {
	return failover.Behind(a, master, replica, now, LagAge)
}

// Fleet is what this node sees of the instances. It is nil on a node that probes nothing.
type Fleet interface {
	Observe(a raftfsm.Addr) (Observation, bool)
	// Heed has what is seen of instances kept current for a minute, and asks for what is not now. Where thousands are watched a node that
	// does not lead reads INFO once a minute only.
	Heed(addrs ...raftfsm.Addr)
	// Changed is closed when, after the call, what was asked for so comes, or a verdict changes. Take the channel first, then observe.
	Changed() <-chan struct{}
	// Probed counts the instances that are probed.
	Probed() int
	// Braked is why this node withholds its verdicts, doubting itself; "" where it does not.
	Braked() string
}

// HeedSet is [Fleet.Heed] for the instances of a set; f is nil on a node that probes nothing.
func HeedSet(f Fleet, m *raftfsm.Master) {
	if f == nil {
		return
	}
	for _, in := range m.Instances {
		f.Heed(in.Addr)
	}
}

// Order is a failover that an operator ordered.
type Order struct {
	Master string
	// To is the replica to promote; zero for the best.
	To raftfsm.Addr
	// Kind is forced or planned; MaxWait is how long a planned one may take until its candidate is promoted.
	Kind    raftfsm.FailoverKind
	MaxWait time.Duration
	// OperationID names it; unique.
	OperationID string
	Actor       string
}

// Failovers is the policy at work: on the leader it can begin a failover, on any node explain.
type Failovers interface {
	// Begin measures the set and commits the row of an order. What the law or the policy refuses is a
	// [raftfsm.Refusal].
	Begin(ctx context.Context, o Order) (raftfsm.Result, error)
	// Rehearse tells the row that Begin would commit, and refuses what Begin would. It changes nothing.
	Rehearse(ctx context.Context, o Order) (*raftfsm.Failover, error)
	// Explain tells which replica would be promoted now, from what this node observes.
	Explain(ctx context.Context, st *raftfsm.State, m *raftfsm.Master) (Explanation, error)
	// Glance is Explain by what this node read last. It asks nobody and is cheap.
	Glance(st *raftfsm.State, m *raftfsm.Master) Explanation
}

// Explanation is what a failover and a switchover would do, which nobody has ordered.
type Explanation struct {
	// Winner is the replica that a failover would promote; zero for none. Candidates are all of them, with the reason.
	Winner     raftfsm.Addr
	Candidates []raftfsm.Candidate
	// Heir and Planned are the same of a switchover.
	Heir    raftfsm.Addr
	Planned []raftfsm.Candidate
	// FailoverBlockers are what stands in the way of an automatic failover, were the master down now, SwitchoverBlockers what
	// does in that of a switchover. Their codes are a closed set.
	FailoverBlockers   []Blocker
	SwitchoverBlockers []Blocker
	// PredictedLoss is what a failover at this moment would lose: at least so much, or unknown.
	PredictedLoss raftfsm.Loss
	// MasterAgeMs is the age of what was last read of the master; -1 for never.
	MasterAgeMs int64
}

// Blocker is one thing that stands in the way.
type Blocker = failover.Blocker

// Inspection is what one visit to an instance showed.
type Inspection struct {
	// Info is nil where the instance rejected us.
	Info *detector.Info
	// AuthRejected is its error reply to our password, or to none; empty where it accepted us.
	AuthRejected string
	// Sentinel: it answers as a Sentinel, which holds no data.
	Sentinel bool
	// Sentinels are those that watch it at this moment, one for each connection; SentinelsUnknown says why that could not
	// be told.
	Sentinels        []ActiveSentinel
	SentinelsUnknown string
	// Lacks are the commands that a failover needs and that it does not know under the names that it was asked with;
	// LacksUnknown says why that could not be told.
	Lacks        []string
	LacksUnknown string
}

// ActiveSentinel is a Redis Sentinel as its connections to an instance, or its own words, show it. What is empty is not told.
type ActiveSentinel struct {
	// Host is the address that it connects from, or that it announces.
	Host string
	// Port is where it serves; 0 where only its connections show it.
	Port uint16
	// ID is its id, or the beginning of it.
	ID string
}

// Inspector visits an instance with the user, password, renamed commands and TLS of the options, and with no other
// password. An error tells that it could not be reached or understood.
type Inspector interface {
	Inspect(ctx context.Context, a raftfsm.Addr, o raftfsm.Options) (Inspection, error)
	// CheckUp looks whether it could be watched, promoted and followed, and what its settings are.
	CheckUp(ctx context.Context, a raftfsm.Addr, o raftfsm.Options) doctor.Instance
	// Hear listens to what Sentinels say of themselves on the instance, until it has heard so many or the context ends. They
	// speak every two seconds.
	Hear(ctx context.Context, a raftfsm.Addr, o raftfsm.Options, many int) []ActiveSentinel
}

// House is what this node's process and machine are to the doctor, and to a bug report.
type House interface {
	// Config is what holds, and what the configuration says now.
	Config() doctor.Config
	// Disk is all but the time of fsync.
	Disk() doctor.Disk
	// Reach opens a connection to a port and closes it.
	Reach(ctx context.Context, a raftfsm.Addr) error
	// Papers are the files of a bug report that tell of the process, by name. None has a password in it.
	Papers() []Paper
}

// Paper is a file of a bug report.
type Paper struct {
	Name  string
	Write func(w io.Writer) error
}

// Failure classes the errors of a [Node].
type Failure uint8

// The failures.
const (
	// FailureOther: none of the following.
	FailureOther Failure = iota
	// FailureNoLeader: no leader; nothing was appended.
	FailureNoLeader
	// FailureUnknownOutcome: the command may or may not be committed.
	FailureUnknownOutcome
	// FailureLoading: the node has not caught up since it started.
	FailureLoading
	// FailureRemoved: the node was removed from its cluster.
	FailureRemoved
	// FailureRefused: the present state of the cluster forbids the change; nothing was changed.
	FailureRefused
)
