package node

import (
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Contact is what a node knows of its contact with a member.
type Contact struct {
	Heard bool
	// At is when the member gave its last sign of life; zero for none that is known.
	At time.Time
}

// contacts are signs of life of other members beside what followers acknowledge.
type contacts struct {
	mu    sync.Mutex
	leads raft.ServerID
	at    map[raft.ServerID]time.Time
	// asked tells which members answered when this node, hearing no leader, asked around last; nil where it had no need to.
	asked map[raft.ServerID]bool
}

// follow notes who leads, and when the one before was heard last: who leads next has not heard it itself. For who
// has voted in between that is too late by as long as the election took: Raft counts a vote as contact.
func (c *contacts) follow(leader raft.ServerID, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leads != "" && c.leads != leader {
		c.note(c.leads, last)
	}
	c.leads = leader
}

// note keeps the newest sign of life. The caller holds mu.
func (c *contacts) note(id raft.ServerID, at time.Time) {
	if c.at == nil {
		c.at = map[raft.ServerID]time.Time{}
	}
	if at.After(c.at[id]) {
		c.at[id] = at
	}
}

// round takes in when each member answered that was asked, zero for one that did not; nil for a round that was not needed.
func (c *contacts) round(answers map[raft.ServerID]time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = nil
	if len(answers) > 0 {
		c.asked = map[raft.ServerID]bool{}
	}
	for id, at := range answers {
		c.asked[id] = !at.IsZero()
		c.note(id, at)
	}
}

// HeardWithin is for how long a member counts as heard after it acknowledged its leader last.
func (t Timing) HeardWithin() time.Duration { return max(time.Second, 2*t.Heartbeat) }

// Contacts are those with the members, by Raft id, where this node has its own: on the leader, by what they acknowledge, and
// on a node that hears no leader, by whether they answered it last. Nil on any other, and before it has asked.
func (n *Node) Contacts() map[string]Contact {
	r := n.raft.Load()
	if r == nil {
		return nil
	}
	leads := r.State() == raft.Leader
	_, leader := r.LeaderWithID()
	c := &n.contacts
	c.mu.Lock()
	defer c.mu.Unlock()
	if !leads && (leader != "" || c.asked == nil) {
		return nil
	}
	now, out := time.Now(), map[string]Contact{}
	for _, v := range n.State().Servers() {
		id := raft.ServerID(v.ID)
		if id == n.self {
			out[v.ID] = Contact{Heard: true, At: now}
			continue
		}
		known := Contact{Heard: c.asked[id], At: n.acks.of(id).at}
		if leads {
			known.Heard = now.Sub(known.At) <= n.o.Timing.HeardWithin()
		}
		if c.at[id].After(known.At) {
			known.At = c.at[id]
		}
		out[v.ID] = known
	}
	return out
}

// Lagging are, on the leader, the Raft ids of the members that it hears and whose logs are not known to be complete but for a
// few entries; nil on any other node.
func (n *Node) Lagging() []string {
	r := n.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return nil
	}
	var out []string
	for _, id := range n.Heard() {
		if raft.ServerID(id) != n.self && !n.keepsUp(raft.ServerID(id), r) {
			out = append(out, id)
		}
	}
	return out
}

// keepsUp tells whether a member's log is known to lack a few entries at most.
func (n *Node) keepsUp(id raft.ServerID, r *raft.Raft) bool {
	a := n.acks.of(id)
	return a.term == r.CurrentTerm() && a.match != 0 && a.match+promoteLag >= r.CommitIndex()
}

// Joining are, on the leader, the Raft ids of the members that do not vote yet and are no observers; nil on any other node.
func (n *Node) Joining() []string {
	r := n.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return nil
	}
	observers := n.observers.Load()
	var out []string
	for _, v := range n.State().Servers() {
		if !v.Voter && (observers == nil || !slices.Contains(*observers, raft.ServerID(v.ID))) {
			out = append(out, v.ID)
		}
	}
	return out
}

// Awaited are, on the leader that founded the cluster, the ids of the nodes that promised to follow it and have not come yet,
// for a minute; nil on any other node.
func (n *Node) Awaited() []string {
	if r := n.raft.Load(); r == nil || r.State() != raft.Leader {
		return nil
	}
	return n.former.missing()
}

// Heard are, on the leader, the Raft ids of the members that acknowledged it within a second or two of its heartbeats,
// itself included; nil on any other node.
func (n *Node) Heard() []string {
	r := n.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return nil
	}
	out := []string{string(n.self)}
	for _, v := range n.State().Servers() {
		if id := raft.ServerID(v.ID); id != n.self && time.Since(n.acks.of(id).at) <= n.o.Timing.HeardWithin() {
			out = append(out, v.ID)
		}
	}
	return out
}
