package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// replaceAfter is for how long a member must be unheard of before a node of the same name without state takes its place.
	replaceAfter = 10 * time.Second
	// absenceEvery is how often the leader looks who is heard.
	absenceEvery = 250 * time.Millisecond
	// removeAgain is how long it rests after it could not remove a dead member.
	removeAgain = 10 * time.Second
)

// absences are for how long members have been unheard of in one leadership. Time in which this node itself did not run is
// not counted, nor is what was before it led: nobody is given up for dead because the leader slept.
type absences struct {
	mu     sync.Mutex
	lasted map[raft.ServerID]time.Duration
}

// count adds what has passed since the last look; heard tells who was heard since then.
func (a *absences) count(passed time.Duration, members []raft.Server, heard func(raft.ServerID) bool) {
	next := make(map[raft.ServerID]time.Duration, len(members))
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range members {
		if !heard(v.ID) {
			next[v.ID] = a.lasted[v.ID] + min(passed, 2*absenceEvery)
		}
	}
	a.lasted = next
}

// of is for how long a member has been unheard of; 0 for one that is heard, or that was never looked for.
func (a *absences) of(id raft.ServerID) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lasted[id]
}

// watchAbsences counts who is unheard of and, where remove-dead-nodes-after says so, removes members that have been for longer.
func (n *Node) watchAbsences(ctx context.Context, r *raft.Raft, l *leadership) error {
	log := newSparseLog(n.log)
	tick := time.NewTicker(absenceEvery)
	defer tick.Stop()
	last, rest := time.Now(), time.Time{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		l.absences.count(now.Sub(last), r.GetConfiguration().Configuration().Servers, func(id raft.ServerID) bool {
			a := n.acks.of(id)
			return id == n.self || a.term == l.term && a.at.After(last)
		})
		last = now
		if now.After(rest) && !n.removeDead(ctx, l, log) {
			rest = now.Add(removeAgain)
		}
	}
}

// removeDead removes one member that has been unheard of for too long. It is false where one could not be removed.
func (n *Node) removeDead(ctx context.Context, l *leadership, log *sparseLog) bool {
	s := n.State()
	limit := time.Duration(s.Settings().RemoveDeadAfter) * time.Second
	if limit == 0 {
		return true
	}
	possible := true
	for dead := range s.Nodes() {
		silent := l.absences.of(raft.ServerID(dead.RaftID))
		if silent < limit {
			continue
		}
		err := n.removeUnheard(ctx, s, dead)
		if err == nil {
			n.log.Warn("a node that was unheard of for too long is removed", "node", dead.NodeID, "raft_id", dead.RaftID, "silent_for", silent)
			return true
		}
		log.warn(dead.RaftID, "a node is unheard of and is not removed", "node", dead.NodeID, "silent_for", silent, "reason", err)
		possible = false
	}
	return possible
}

var errAnswers = errors.New("it answers at its gRPC address: only its Raft cannot be reached")

func (n *Node) removeUnheard(ctx context.Context, s *raftfsm.State, dead *raftfsm.Node) error {
	if masters := s.Stranded(dead.RaftID); len(masters) > 0 {
		return errors.New("the quorum of masters could never be reached without it: " + strings.Join(masters, ", "))
	}
	if n.answers(ctx, dead) {
		return errAnswers
	}
	return n.RemoveNode(ctx, dead.RaftID)
}
