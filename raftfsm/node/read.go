package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// notTold is the floor of a node that does not know yet what it has told before.
const notTold = math.MaxUint64

// Local is State with the promise that it is no older than any answer given before a restart (else ErrLoading), and the
// time since this node heard from a leader: 0 on the leader, -1 for not since the start.
func (n *Node) Local() (*raftfsm.State, time.Duration, error) {
	if n.isRemoved() {
		return nil, 0, ErrRemoved
	}
	s := n.State()
	if !n.told(s) {
		return nil, 0, ErrLoading
	}
	return s, n.LastContact(), nil
}

// told tells whether s may be told: a node that was not yet a member has nothing to say, and one that was must not fall
// behind what it has said.
func (n *Node) told(s *raftfsm.State) bool {
	return s.Index() >= n.floor.Load() && s.Cluster().ID != "" && isMember(s, n.self)
}

// LastContact is the time since this node heard from a leader: 0 on the leader, -1 for not since the start.
func (n *Node) LastContact() time.Duration {
	r := n.raft.Load()
	if r == nil {
		return -1
	}
	if r.State() == raft.Leader && !n.stalled() {
		return 0
	}
	last := r.LastContact()
	if last.IsZero() {
		return -1
	}
	return time.Since(last)
}

// Read is a state that includes every command committed before the call (Raft paper, section 6.4; Ongaro's thesis, section
// 6.4). Errors: ErrNoLeader, ErrNotLeader, ErrRemoved, or ctx's. Without a deadline in ctx it takes 5 s at most.
func (n *Node) Read(ctx context.Context) (*raftfsm.State, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var s *raftfsm.State
	err := n.seek(ctx, func(ctx context.Context) error {
		index, err := n.readIndex(ctx)
		if err != nil {
			return err
		}
		if err := n.waitApplied(ctx, index); err != nil {
			return fmt.Errorf("%w: index %d is not applied here: %w", ErrNoLeader, index, err)
		}
		s = n.State()
		return nil
	})
	return s, err
}

// readIndex is the index that a read beginning now must have applied.
func (n *Node) readIndex(ctx context.Context) (uint64, error) {
	if r := n.raft.Load(); r != nil && r.State() == raft.Leader {
		return n.readIndexHere(ctx)
	}
	return n.asks.confirm(ctx, n.future)
}

// askLeader is what a follower's reads wait for together.
func (n *Node) askLeader() (uint64, error) {
	ctx, stop := n.whileLeads(context.Background()) // no caller's: each of them leaves when it likes
	defer stop()
	client, err := n.leaderClient(ctx)
	if err != nil {
		return 0, err
	}
	// A leader that has just died is found out by the next election, not by this call: a read can be asked again.
	ctx, cancel := context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	resp, err := client.ReadIndex(ctx, &peerv1.ReadIndexRequest{})
	if err != nil {
		err = fromStatus(err)
		if errors.Is(err, ErrUnknownOutcome) {
			err = fmt.Errorf("%w: %w", ErrNoLeader, err)
		}
		return 0, err
	}
	return resp.GetIndex(), nil
}

// readIndexHere is the leader's part.
func (n *Node) readIndexHere(ctx context.Context) (uint64, error) {
	l, err := n.ready(ctx)
	if err != nil {
		return 0, err
	}
	committed, err := n.confirm(ctx, l)
	if err != nil {
		return 0, err
	}
	if err := n.waitApplied(ctx, committed); err != nil {
		return 0, fmt.Errorf("%w: index %d is not applied by the leader: %w", ErrNotLeader, committed, err)
	}
	return committed, nil
}
