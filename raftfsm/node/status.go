package node

import (
	"cmp"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

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
	// ClusterID is what clients know the cluster by: its era; before this node has any state, the id that it was admitted under.
	ClusterID string
	Peers     int
	// Waiting says why this node has no cluster yet; empty once it has one.
	Waiting string
	// Loading: the state is older than what was answered before a restart.
	Loading  bool
	FsyncP50 time.Duration
}

// Status tells this node's part in Raft.
func (n *Node) Status() Status {
	s := n.State()
	st := Status{
		Role: "none", RaftID: string(n.self), NodeID: n.o.NodeID, AppliedIndex: s.Index(), LastContact: n.LastContact(),
		ClusterID: cmp.Or(s.Cluster().Era, n.id.get().ClusterID), Peers: len(s.Servers()), Loading: !n.told(s),
	}
	if t := n.timed.Load(); t != nil {
		st.FsyncP50 = t.P50()
	}
	if why := n.former.waiting.Load(); why != nil {
		st.Waiting = *why
	}
	r := n.raft.Load()
	switch {
	case n.isRemoved():
		st.Role = "removed"
	case r == nil && n.running.Load():
		st.Role = "joining"
	case r != nil:
		st.Role = n.role(r)
	}
	if r != nil {
		addr, id := r.LeaderWithID()
		st.LeaderID, st.Term, st.CommitIndex = string(id), r.CurrentTerm(), r.CommitIndex()
		st.Leader, _ = raftfsm.ParseAddr(string(addr))
	}
	return st
}

// Leading tells whether this node leads.
func (n *Node) Leading() bool {
	r := n.raft.Load()
	return r != nil && r.State() == raft.Leader && !n.stalled() && !n.isRemoved()
}

// Leader is the Raft server id of the leader that this node hears; "" for none.
func (n *Node) Leader() string {
	r := n.raft.Load()
	if r == nil {
		return ""
	}
	_, id := r.LeaderWithID()
	return string(id)
}

func (n *Node) role(r *raft.Raft) string {
	switch r.State() {
	case raft.Leader:
		if n.stalled() {
			return "none"
		}
		return "leader"
	case raft.Candidate:
		return "candidate"
	case raft.Shutdown:
		return "none"
	case raft.Follower:
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.ID == n.self && s.Suffrage == raft.Voter {
			return "follower"
		}
	}
	if n.o.Observer {
		return "observer"
	}
	return "joining"
}

// RaftStats are Raft's own figures, as it names them; none without a cluster.
func (n *Node) RaftStats() map[string]string {
	if r := n.raft.Load(); r != nil {
		return r.Stats()
	}
	return map[string]string{}
}
