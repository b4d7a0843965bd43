package node

import (
	"io"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// patience is how long is between two tries to bring entries to a follower.
const patience = 100 * time.Millisecond

// patientTransport tries again by itself to bring entries to a follower that does not take them. hashicorp/raft waits
// longer after each failure, up to 10 s (replication.go, maxFailureScale), while heartbeats go on as ever: a node that
// was away for half a minute would hear its leader, count as heard, and learn nothing for that long; and where its
// acknowledgement is needed for a majority, nothing would commit.
type patientTransport struct {
	quietable
	// still tells whether this node leads in the term, and the follower is a member at that address.
	still func(id raft.ServerID, target raft.ServerAddress, term uint64) bool
}

// isHeartbeat tells one from an attempt to bring entries, or the news of a commit.
func isHeartbeat(req *raft.AppendEntriesRequest) bool {
	return req.PrevLogEntry == 0 && req.LeaderCommitIndex == 0 && len(req.Entries) == 0
}

// AppendEntries implements raft.Transport. Heartbeats are tried once: Raft repeats those often.
func (t patientTransport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	if isHeartbeat(req) {
		return t.quietable.AppendEntries(id, target, req, resp)
	}
	return t.insist(id, target, req, resp)
}

// InstallSnapshot implements raft.Transport. A snapshot can be sent once: before it, a heartbeat finds out when the
// follower is there.
func (t patientTransport) InstallSnapshot(
	id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	beat := &raft.AppendEntriesRequest{RPCHeader: req.RPCHeader, Term: req.Term}
	if err := t.insist(id, target, beat, &raft.AppendEntriesResponse{}); err != nil {
		return err
	}
	return t.quietable.InstallSnapshot(id, target, req, resp, data)
}

func (t patientTransport) insist(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	for {
		*resp = raft.AppendEntriesResponse{}
		err := t.quietable.AppendEntries(id, target, req, resp)
		if err == nil || !t.still(id, target, req.Term) {
			return err
		}
		time.Sleep(patience)
		if !t.still(id, target, req.Term) {
			return err
		}
	}
}

// replicates tells whether this node, leading in a term, owes entries to a member at an address.
func (n *Node) replicates(id raft.ServerID, target raft.ServerAddress, term uint64) bool {
	r := n.raft.Load()
	return r != nil && r.State() == raft.Leader && r.CurrentTerm() == term &&
		slices.ContainsFunc(r.GetConfiguration().Configuration().Servers, func(s raft.Server) bool {
			return s.ID == id && s.Address == target
		})
}
