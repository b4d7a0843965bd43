package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// standAfter is for how many election timeouts a drained node must have heard no leader to stand for leadership all the
	// same: those that may lead are gone, or their logs are behind, and a cluster that is frozen cannot be undrained either.
	standAfter = 10
	// yieldEvery is how often a drained leader looks for one that takes over, and yieldAtMost how long it rests where hand-overs fail.
	yieldEvery, yieldAtMost = time.Second, time.Minute
	// yieldAfter is how long it leads on once it is drained: who asked for that by another node hears first that it is
	// committed; a change of the leader would leave the outcome unknown.
	yieldAfter = 50 * time.Millisecond
)

// reluctantTransport asks for no pre-votes while its node stands back. A candidate without them keeps its term, and goes on
// voting for others: nobody is disturbed. A vote that was asked for by a leader that hands over passes: the node has its
// term by then, and gives leadership up as soon as it has it.
type reluctantTransport struct {
	quietable
	standsBack func() bool
}

// RequestPreVote implements raft.WithPreVote.
func (t reluctantTransport) RequestPreVote(
	id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse,
) error {
	if t.standsBack() {
		*resp = raft.RequestPreVoteResponse{RPCHeader: req.RPCHeader, Term: req.Term}
		return nil
	}
	return t.quietable.RequestPreVote(id, target, req, resp)
}

// standsBack tells whether this node, whose Raft began at a time, leaves leadership to the others: it is drained, and a leader
// was heard not long ago.
func (n *Node) standsBack(began time.Time) bool {
	r := n.raft.Load()
	if r == nil || !n.State().Drained(string(n.self)) {
		return false
	}
	heard := r.LastContact()
	if began.After(heard) {
		heard = began
	}
	return time.Since(heard) < standAfter*n.o.Timing.Election
}

// yield gives leadership up whenever this node has it and is drained, as soon as another voter can take it over. A hand-over
// that fails costs the leader's duties half a second, and what was begun: it is tried again after ever longer pauses.
func (n *Node) yield(ctx context.Context) {
	log, pause := newSparseLog(n.log), yieldEvery
	for {
		changed, heard := n.Changed(), n.heard.next()
		wait := (<-chan time.Time)(nil)
		if n.leads.get() != nil && n.State().Drained(string(n.self)) {
			err := n.giveUp(ctx)
			if err != nil && ctx.Err() == nil {
				log.write(slog.LevelInfo, "", "drained node leads on", "error", err)
			}
			// Everything that is committed wakes too: the next try has its time.
			changed, heard, wait = nil, nil, time.After(pause)
			if err == nil || errors.Is(err, ErrNoSuccessor) {
				pause = yieldEvery
			} else {
				pause = min(2*pause, yieldAtMost)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		case <-changed:
		case <-heard:
		}
	}
}

// giveUp hands leadership over if this node is still drained in a moment.
func (n *Node) giveUp(ctx context.Context) error {
	select {
	case <-time.After(yieldAfter):
	case <-ctx.Done():
		return nil
	}
	if !n.State().Drained(string(n.self)) {
		return nil
	}
	return n.TransferLeadership(ctx, "")
}

// successor is the voter that is to lead next: of those that are heard and not drained the one whose log is longest.
func (n *Node) successor(r *raft.Raft) (raft.Server, error) {
	s, term := n.State(), r.CurrentTerm()
	var best raft.Server
	var match uint64
	for _, v := range r.GetConfiguration().Configuration().Servers {
		a := n.acks.of(v.ID)
		if v.ID == n.self || v.Suffrage != raft.Voter || s.Drained(string(v.ID)) || a.term != term || time.Since(a.at) > n.o.Timing.HeardWithin() {
			continue
		}
		if best.ID == "" || a.match > match {
			best, match = v, a.match
		}
	}
	if best.ID == "" {
		return best, fmt.Errorf("%w: no other voter is both heard and undrained", ErrNoSuccessor)
	}
	return best, nil
}

// awaitSuccessor waits until there is a successor: whoever has only just won, or whose connections are all stale because the others
// were restarted, has not heard them yet.
func (n *Node) awaitSuccessor(ctx context.Context, r *raft.Raft) (raft.Server, error) {
	for {
		noted := n.acks.noted()
		next, err := n.successor(r)
		if err == nil || r.State() != raft.Leader {
			return next, err
		}
		select {
		case <-noted:
		case <-ctx.Done():
			return next, err
		}
	}
}
