package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// moves are the Raft addresses at which members say that they are, where Raft's configuration has others. A leader commits
// them; where so many members have moved that none can be elected, they are how the members find each other to elect one.
// They may be wrong: a connection is bound to the server that it is for.
type moves struct {
	mu     sync.Mutex
	of     map[raft.ServerID]move
	sealed map[raft.ServerID]raft.ServerAddress // see settle
}

// move is from the address of the configuration; once that has another one, it holds no more.
type move struct{ from, to raft.ServerAddress }

func (m *moves) note(id raft.ServerID, from, to raft.ServerAddress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from == to {
		delete(m.of, id)
		return
	}
	if m.of == nil {
		m.of = map[raft.ServerID]move{}
	}
	m.of[id] = move{from, to}
}

// target is where a member is that the configuration has at an address.
func (m *moves) target(id raft.ServerID, configured raft.ServerAddress) raft.ServerAddress {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, moved := m.of[id]; moved && v.from == configured {
		return v.to
	}
	return configured
}

// settleFor is longer than hashicorp/raft rests between two tries to bring entries to a follower.
const settleFor = 150 * time.Millisecond

var errMoving = errors.New("the member is given its new address")

// settle does what gives a member another address than the one that the configuration has, while no entries are brought to
// it there: hashicorp/raft changes the address under the feet of a follower's replication, which reads it without the lock
// after each success (replication.go, updateLastAppended). Heartbeats go on, and so does everything at the new address.
func (m *moves) settle(id raft.ServerID, configured raft.ServerAddress, change func() error) error {
	m.mu.Lock()
	if m.sealed == nil {
		m.sealed = map[raft.ServerID]raft.ServerAddress{}
	}
	m.sealed[id] = configured
	m.mu.Unlock()
	time.Sleep(settleFor)
	err := change()
	m.mu.Lock()
	delete(m.sealed, id)
	m.mu.Unlock()
	return err
}

func (m *moves) isSealed(id raft.ServerID, target raft.ServerAddress) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, sealed := m.sealed[id]
	return sealed && at == target
}

// noteMove takes in where a node that presents itself is, if it is a member.
func (n *Node) noteMove(req *peerv1.JoinRequest) {
	r := n.raft.Load()
	if r == nil || req.GetClusterId() != n.State().Cluster().ID {
		return
	}
	id := raft.ServerID(req.GetNode().GetRaftId())
	members := r.GetConfiguration().Configuration().Servers
	if i := slices.IndexFunc(members, func(v raft.Server) bool { return v.ID == id }); i >= 0 {
		n.moves.note(id, members[i].Address, raft.ServerAddress(raftfsm.AddrOf(req.GetNode().GetRaft()).String()))
	}
}

// moveSelf has the configuration say where this node is, which leads and whose address nobody else will correct.
func (n *Node) moveSelf(ctx context.Context, r *raft.Raft) error {
	f := r.GetConfiguration()
	own := raft.ServerAddress(n.o.Raft.String())
	for _, v := range f.Configuration().Servers {
		if v.ID != n.self || v.Address == own {
			continue
		}
		if err := n.await(ctx, func() error { return r.AddVoter(n.self, own, f.Index(), changeLimit).Error() }); err != nil {
			return fmt.Errorf("this leader's new address %s was not committed: %w", own, err)
		}
		n.log.Info("node has moved", "raft_id", n.self, "from", v.Address, "to", own)
	}
	return nil
}

// movedTransport reaches members where they are.
type movedTransport struct {
	quietable
	moves *moves
}

// AppendEntries implements raft.Transport.
func (t movedTransport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	if !isHeartbeat(req) && t.moves.isSealed(id, target) {
		return errMoving
	}
	return t.quietable.AppendEntries(id, t.moves.target(id, target), req, resp)
}

// RequestVote implements raft.Transport.
func (t movedTransport) RequestVote(
	id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse,
) error {
	return t.quietable.RequestVote(id, t.moves.target(id, target), req, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t movedTransport) RequestPreVote(
	id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse,
) error {
	return t.quietable.RequestPreVote(id, t.moves.target(id, target), req, resp)
}

// InstallSnapshot implements raft.Transport.
func (t movedTransport) InstallSnapshot(
	id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	return t.quietable.InstallSnapshot(id, t.moves.target(id, target), req, resp, data)
}

// TimeoutNow implements raft.Transport.
func (t movedTransport) TimeoutNow(
	id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse,
) error {
	return t.quietable.TimeoutNow(id, t.moves.target(id, target), req, resp)
}
