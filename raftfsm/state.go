package raftfsm

import (
	"iter"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// State is the whole replicated state at one index. It is immutable; the zero value is not usable, see [New].
type State struct {
	index   uint64
	level   uint32
	cluster Cluster
	former  []string // ids of clusters that were lost and went on as this one
	epoch   uint64
	term    uint64 // of the latest Mark
	atMs    int64  // of the latest command
	servers []Server
	// settings of the cluster, and the cursor of the webhooks
	settings  settings
	delivered Cursor

	nodes      *iradix.Tree[*Node]
	masters    *iradix.Tree[*Master]
	accused    *iradix.Tree[*Master] // those of masters that have Votes
	owners     *iradix.Tree[string]  // instance address -> name of its set
	processes  *iradix.Tree[string]  // (run id, name) -> name of a set with that process
	tombstones *iradix.Tree[uint64]  // removed name -> index of the removal
	changes    chunks[change]        // what has changed, oldest first; some names have changed again since
	events     eventRing
	archive    archive
}

// Cluster is the identity of a cluster.
type Cluster struct {
	// ID was given when it was founded, or recovered. It is what nodes belong to: one that lags behind a restore still does.
	ID   string
	Name string
	// Era is the id that clients know the cluster by: revisions, cursors and epochs are told under it. It is ID until a backup
	// is restored, which takes the state back to where it was and begins another.
	Era string
}

// Server is a member of Raft's own configuration, which alone says who is a member and who votes.
type Server struct {
	ID      string
	Address string
	Voter   bool
}

// Node is what a member says of itself.
type Node struct {
	// RaftID is the Raft server id: the name plus an incarnation made with the data directory.
	RaftID string
	// NodeID is the name operators see.
	NodeID   string
	Raft     Addr
	GRPC     Addr
	RESP     Addr
	HTTP     Addr
	Version  string
	MaxLevel uint32
	// ReportBase is the index of the node's last applied report or expiry: the base of its next report.
	ReportBase uint64
	Revision   uint64
	// Drain, not nil: the node gives leadership up and is no candidate for it.
	Drain *Pause
}

// Master is one watched set: a master and its replicas.
type Master struct {
	Name    string
	Options Options
	// Generation is the index of the last change that makes earlier verdicts void: Monitor, Reset, SwitchMaster, Adopt,
	// and changes of detection options.
	Generation uint64
	// Revision is the index of the last change of anything here.
	Revision uint64
	// Address of the committed master.
	Address Addr
	// Epoch of the failover that made Address the master; 0 before the first.
	Epoch uint64
	// Instances of the set in address order, the master included.
	Instances []Instance
	// Votes that nodes hold against instances of the set, in (instance, node) order.
	Votes []Vote
	// ODown is the index at which the master became objectively down; 0 while it is not.
	ODown     uint64
	ODownAtMs int64
	// Failover is the open row; nil for none.
	Failover *Failover
	// History holds closed failovers, oldest first.
	History []*Failover
	// AutomaticAtMs is when the last automatic failover switched and AutomaticBeforeMs when the one before it did, by the clocks
	// of their leaders; 0 for none, and for those below feature level 3. The archive may drop their stories, not these.
	AutomaticAtMs     int64
	AutomaticBeforeMs int64

	Pause *Pause
	Hold  *Pause
	// Enforce: after a hold, the instances are to follow the committed master whatever they say, until they were seen to.
	Enforce bool
	// Restored: it came out of a backup, or of a cluster that was recovered, and was not seen yet to be as committed. No instance
	// is dropped because the committed master does not list it: that one may be the wrong one.
	Restored bool
	// Conflicts are addresses that the master lists as replicas and another set owns.
	Conflicts []Conflict
}

// Instance is a Redis of a set, with the facts it states of itself.
type Instance struct {
	Addr  Addr
	RunID string
	Role  Role
	// ReplID and ReplID2 are master_replid and master_replid2; SecondOffset is second_repl_offset.
	ReplID       string
	ReplID2      string
	SecondOffset int64
	// SyncedReplID is the replication id under which it was last seen in sync with its master; "" for never.
	SyncedReplID string
	// Unconfirmed: known from before a Reset or a restore, or to another control plane, and not listed by the master since.
	Unconfirmed bool
	// Since is the index at which it became known.
	Since uint64
	// IP is what its host name was last resolved to; "" where the host is an address, or before that was committed.
	IP string
	// Maintenance, not nil: it is no candidate, is not repointed and not reported.
	Maintenance *Pause
}

// Vote is the verdict that one node holds against one instance.
type Vote struct {
	Instance Addr
	// Node is the Raft server id of its holder.
	Node  string
	Cause Cause
	// SinceMs: Unix milliseconds on the holder's clock; ReportedAtMs likewise, when it proposed the report.
	SinceMs      int64
	ReportedAtMs int64
	// Index of the report.
	Index uint64
}

// Pause says who made the cluster observe and not act, and why.
type Pause struct {
	Actor   string
	Reason  string
	SinceMs int64
	// UntilMs is 0 for "until resumed".
	UntilMs int64
}

// Conflict is an address that this set's master lists and the set Other owns.
type Conflict struct {
	Addr  Addr
	Other string
}

// Failover is a row: one failover from its decision to its end, and then its story.
type Failover struct {
	OperationID string
	Epoch       uint64
	Kind        raftlogv1.FailoverKind
	From, To    Addr
	// Switched: SwitchMaster is committed; To is the master.
	Switched bool
	Reason   string
	// Votes held against From when the row was opened.
	Votes      []Vote
	Candidates []Candidate
	Steps      []Step
	Outcome    raftlogv1.FailoverOutcome
	EndReason  string
	Loss       Loss
	// Leader is the Raft server id of the node that opened the row.
	Leader   string
	Replaces uint64
	// OldOffset is the old master's offset as last seen before the row, -1 for never; OldReplID its replication id.
	OldOffset      int64
	OldOffsetAgeMs int64
	OldReplID      string
	PromotedOffset int64
	// MaxWaitMs is how long a switchover may take until its candidate is promoted; 0 for the other kinds.
	MaxWaitMs int64
	// Actor is who ordered it; "" for the cluster itself, and before feature level 3.
	Actor string

	ODownAtMs     int64
	BegunIndex    uint64
	BegunAtMs     int64
	SwitchedIndex uint64
	SwitchedAtMs  int64
	EndedIndex    uint64
	EndedAtMs     int64
}

// Candidate is a replica as measured when a failover was decided.
type Candidate struct {
	Addr   Addr
	Chosen bool
	// Rejection is a code, Detail the words; empty for the chosen one.
	Rejection string
	Detail    string
	Offset    int64
	Priority  int
	RunID     string
	AgeMs     int64
	// BehindBytes is what it lacked of the master's stream by what was seen of both, BehindMs for how long it had received
	// nothing; -1 for unknown.
	BehindBytes int64
	BehindMs    int64
}

// Step is one thing that was done.
type Step struct {
	Name     string
	Instance Addr
	// AtMs is when it ended, from the row's BegunAtMs; TookMs how long it took. Milliseconds.
	AtMs   float64
	TookMs float64
	Detail string
}

// Loss is what may be lost of the old master's writes.
type Loss struct {
	Kind  raftlogv1.LossKind
	Bytes int64
}

// New is the state before the first entry.
func New() *State {
	return &State{
		nodes:      iradix.New[*Node](),
		masters:    iradix.New[*Master](),
		accused:    iradix.New[*Master](),
		owners:     iradix.New[string](),
		processes:  iradix.New[string](),
		tombstones: iradix.New[uint64](),
		archive:    newArchive(),
	}
}

// Index is that of the last entry applied.
func (s *State) Index() uint64 { return s.index }

// FeatureLevel is the level at which commands may be proposed; 0 before the cluster is founded.
func (s *State) FeatureLevel() uint32 { return s.level }

// Cluster is the cluster's identity; zero before it is founded.
func (s *State) Cluster() Cluster { return s.cluster }

// WasCluster tells whether the cluster with the id was lost, and went on as this one.
func (s *State) WasCluster(id string) bool { return id != "" && slices.Contains(s.former, id) }

// Epoch is the highest failover epoch ever given.
func (s *State) Epoch() uint64 { return s.epoch }

// Delivered is the cursor of the webhooks: every event up to it has been delivered.
func (s *State) Delivered() Cursor { return s.delivered }

// Servers are the members by Raft's configuration, in id order. The caller must not change the slice.
func (s *State) Servers() []Server { return s.servers }

// IsVoter tells whether the Raft server id votes.
func (s *State) IsVoter(id string) bool {
	return slices.ContainsFunc(s.servers, func(v Server) bool { return v.ID == id && v.Voter })
}

// Voters counts them.
func (s *State) Voters() int {
	n := 0
	for _, v := range s.servers {
		if v.Voter {
			n++
		}
	}
	return n
}

// Stranded are the masters, in name order, whose quorum the voters can reach now and could not without the given member.
func (s *State) Stranded(without string) []string {
	if !s.IsVoter(without) {
		return nil
	}
	voters := s.Voters()
	var out []string
	for m := range s.Masters() {
		if m.Options.Quorum == voters {
			out = append(out, m.Name)
		}
	}
	return out
}

// Node finds a member by its Raft server id.
func (s *State) Node(raftID string) (*Node, bool) { return s.nodes.Get([]byte(raftID)) }

// NodeName is the operators' name of a Raft server id, or the id itself where it is not registered.
func (s *State) NodeName(raftID string) string {
	if n, ok := s.Node(raftID); ok {
		return n.NodeID
	}
	return raftID
}

// Drained tells whether a member is to lead no more.
func (s *State) Drained(raftID string) bool {
	n, ok := s.Node(raftID)
	return ok && n.Drain != nil
}

// DrainedNodes are the operators' names of the members that are drained, in Raft id order.
func (s *State) DrainedNodes() []string {
	var out []string
	for n := range s.Nodes() {
		if n.Drain != nil {
			out = append(out, n.NodeID)
		}
	}
	return out
}

// Nodes are the registered members in Raft id order.
func (s *State) Nodes() iter.Seq[*Node] { return values(s.nodes) }

// Master finds a master by name.
func (s *State) Master(name string) (*Master, bool) { return s.masters.Get([]byte(name)) }

// Masters are all of them in name order.
func (s *State) Masters() iter.Seq[*Master] { return values(s.masters) }

// Accused are the masters with a verdict against an instance of theirs, in name order.
func (s *State) Accused() iter.Seq[*Master] { return values(s.accused) }

// MasterCount counts them.
func (s *State) MasterCount() int { return s.masters.Len() }

// Owner finds the set that an address belongs to, whatever its role in it.
func (s *State) Owner(a Addr) (*Master, bool) {
	name, ok := s.owners.Get([]byte(a.String()))
	if !ok {
		return nil, false
	}
	return s.Master(name)
}

// ProcessOwner finds a set, other than the one named, that has the process with the run id under whatever address.
func (s *State) ProcessOwner(runID, other string) (*Master, bool) {
	if runID == "" {
		return nil, false
	}
	it := s.processes.Root().Iterator()
	it.SeekPrefix([]byte(runID + "\x00"))
	for _, name, ok := it.Next(); ok; _, name, ok = it.Next() {
		if name != other {
			return s.Master(name)
		}
	}
	return nil, false
}

// Tombstone tells whether a name was removed by hand, and at which index.
func (s *State) Tombstone(name string) (uint64, bool) { return s.tombstones.Get([]byte(name)) }

func values[T any](t *iradix.Tree[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		it := t.Root().Iterator()
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if !yield(v) {
				return
			}
		}
	}
}

// Instance finds an instance of the set.
func (m *Master) Instance(a Addr) (Instance, bool) {
	if in := m.Record(a); in != nil {
		return *in, true
	}
	return Instance{}, false
}

// Record is the set's own record of an instance, nobody's to change; nil where it has none.
func (m *Master) Record(a Addr) *Instance {
	i, ok := slices.BinarySearchFunc(m.Instances, a, func(in Instance, a Addr) int { return in.Addr.Compare(a) })
	if !ok {
		return nil
	}
	return &m.Instances[i]
}

// Replicas are the instances other than the committed master.
func (m *Master) Replicas() []Instance {
	out := make([]Instance, 0, len(m.Instances))
	for _, in := range m.Instances {
		if in.Addr != m.Address {
			out = append(out, in)
		}
	}
	return out
}

// VotesAgainst are the verdicts held against one instance, in node order.
func (m *Master) VotesAgainst(a Addr) []Vote {
	var out []Vote
	for _, v := range m.Votes {
		if v.Instance == a {
			out = append(out, v)
		}
	}
	return out
}

// DownVotes counts the voters of s whose verdict against a counts towards objective down.
func (s *State) DownVotes(m *Master, a Addr) int {
	n := 0
	for _, v := range m.Votes {
		if v.Instance == a && Counts(v.Cause) && s.IsVoter(v.Node) {
			n++
		}
	}
	return n
}

// IsODown tells whether the committed master is objectively down.
func (m *Master) IsODown() bool { return m.ODown != 0 }

// Resting tells whether automatic action is suspended, by a pause or a hold.
func (m *Master) Resting() bool { return m.Pause != nil || m.Hold != nil }
