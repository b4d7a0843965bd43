package node

import (
	"context"
	"sync"

	"github.com/hashicorp/raft"
)

// herald tells followers of commits at once. By itself hashicorp/raft tells them with the next entry or after CommitTimeout
// (one lease or two here); a shorter one costs 3 % of a core at rest, and an entry made for the purpose a write to every disk.
//
// It sends what Raft would send at CommitTimeout: an AppendEntries without entries (Raft paper, section 5.3), whose previous
// entry is the highest that the follower has acknowledged in this term. The commit index in it is never above that entry:
// hashicorp/raft takes it up to the end of the follower's own log, and what lies there may be an earlier leader's. What is
// lost on the way comes at CommitTimeout.
type herald struct {
	quietable
	// committed is this node's commit index where it leads in the term; 0 where it does not.
	committed func(term uint64) uint64

	mu    sync.Mutex
	peers map[raft.ServerID]*told
	under tally
}

// told is what one follower has been told in a term.
type told struct {
	term   uint64
	target raft.ServerAddress
	// last is the request that it has acknowledged last, its entries left out and their end as previous entry.
	last raft.AppendEntriesRequest
	// commit is the highest commit index that it knows of or, while a request is under way, will.
	commit, coming uint64
	busy           bool
}

func newHerald(inner quietable, committed func(term uint64) uint64) *herald {
	return &herald{quietable: inner, committed: committed, peers: map[raft.ServerID]*told{}}
}

// AppendEntries implements raft.Transport.
func (h *herald) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	end, endTerm := req.PrevLogEntry, req.PrevLogTerm
	if n := len(req.Entries); n > 0 {
		end, endTerm = req.Entries[n-1].Index, req.Entries[n-1].Term
	}
	if end == 0 { // a heartbeat
		return h.quietable.AppendEntries(id, target, req, resp)
	}
	commit := min(req.LeaderCommitIndex, end)
	h.mu.Lock()
	p := h.peers[id]
	if p == nil || p.term < req.Term {
		p = &told{term: req.Term}
		h.peers[id] = p
	}
	if p.term > req.Term { // late, and about to be refused
		h.mu.Unlock()
		return h.quietable.AppendEntries(id, target, req, resp)
	}
	p.coming = commit
	h.mu.Unlock()

	err := h.quietable.AppendEntries(id, target, req, resp)

	h.mu.Lock()
	defer h.mu.Unlock()
	p.coming = 0
	if err != nil || !resp.Success || resp.Term != req.Term {
		return err
	}
	p.target, p.commit = target, max(p.commit, commit)
	p.last = *req
	p.last.Entries, p.last.PrevLogEntry, p.last.PrevLogTerm = nil, end, endTerm
	h.tell(id, p)
	return nil
}

// news has every follower told that may not know of the latest commit.
func (h *herald) news() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, p := range h.peers {
		h.tell(id, p)
	}
}

// tell sends to one follower unless it knows, will know by what is under way, or is being told; then it is looked at again.
// The caller holds mu.
func (h *herald) tell(id raft.ServerID, p *told) {
	commit := min(h.committed(p.term), p.last.PrevLogEntry)
	if p.busy || commit <= max(p.commit, p.coming) {
		return
	}
	p.busy, p.commit = true, commit
	target, req := p.target, p.last
	req.LeaderCommitIndex = commit
	h.under.add()
	go func() {
		defer h.under.done()
		var resp raft.AppendEntriesResponse
		// Its failure is Raft's to find out: the next heartbeat fails, too, or hears of the later term.
		_ = h.quietable.AppendEntries(id, target, &req, &resp)
		h.mu.Lock()
		defer h.mu.Unlock()
		p.busy = false
		if h.peers[id] == p {
			h.tell(id, p)
		}
	}()
}

// wait returns when nobody is being told any more, or with ctx's error.
func (h *herald) wait(ctx context.Context) error { return h.under.wait(ctx) }
