package node

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// ackBook records what followers acknowledge to this node as leader. It answers three questions that hashicorp/raft does
// not: does a majority of the voters still follow this term (its VerifyLeader counts non-voters, and answers that were sent
// before the question), who is heard, and how far is each follower's log.
type ackBook struct {
	// questions numbers the confirmations. An acknowledgement carries the number that stood when its request was sent, so it
	// answers every question up to that one, and no clock is needed to tell.
	questions atomic.Uint64

	mu      sync.Mutex
	peers   map[raft.ServerID]ack
	changed chan struct{} // closed at the next acknowledgement; nil while nobody waits
}

// ack is the newest acknowledgement of one follower.
type ack struct {
	term     uint64
	question uint64
	at       time.Time
	// match is the highest entry known to be in its log in this term; 0 for unknown.
	match uint64
}

func newAckBook() *ackBook { return &ackBook{peers: map[raft.ServerID]ack{}} }

func (b *ackBook) note(id raft.ServerID, term, question, match uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.peers[id]
	if term > a.term {
		a = ack{term: term}
	}
	if term < a.term {
		return
	}
	a.question, a.match, a.at = max(a.question, question), max(a.match, match), time.Now()
	b.peers[id] = a
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

func (b *ackBook) of(id raft.ServerID) ack {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peers[id]
}

// noted is closed at the next acknowledgement.
func (b *ackBook) noted() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next()
}

// next is what noted gives; the caller holds the lock.
func (b *ackBook) next() chan struct{} {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

// ask begins a question.
func (b *ackBook) ask() uint64 { return b.questions.Add(1) }

// majority waits until a majority of the voters, self counted, has acknowledged term to requests sent after the question.
func (b *ackBook) majority(ctx context.Context, self raft.ServerID, term, question uint64, config func() raft.Configuration) error {
	for {
		b.mu.Lock()
		voters, yes := 0, 0
		for _, s := range config().Servers {
			if s.Suffrage != raft.Voter {
				continue
			}
			voters++
			if a := b.peers[s.ID]; s.ID == self || (a.term == term && a.question >= question) {
				yes++
			}
		}
		if yes > voters/2 {
			b.mu.Unlock()
			return nil
		}
		changed := b.next()
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d voters confirm term %d: %w", yes, voters, term, context.Cause(ctx))
		}
	}
}

// ackTransport notes every acknowledgement on its way to Raft. Pipelining stays off: see raft issue 612.
type ackTransport struct {
	quietable
	book *ackBook
}

// AppendEntries is raft.Transport's, for entries and heartbeats alike.
func (t ackTransport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	question := t.book.questions.Load()
	if err := t.quietable.AppendEntries(id, target, req, resp); err != nil {
		return err
	}
	if resp.Term != req.Term {
		return nil
	}
	match := uint64(0)
	if resp.Success {
		match = req.PrevLogEntry
		if n := len(req.Entries); n > 0 {
			match = req.Entries[n-1].Index
		}
	}
	t.book.note(id, req.Term, question, match)
	return nil
}

// AppendEntriesPipeline refuses.
func (t ackTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// confirmer asks one question for many callers: who leads, and what is committed? A round that begins after a call serves it.
type confirmer struct {
	// ask gives an index at or above what was committed when it began, once it is certain that nobody led a later term then.
	ask func() (uint64, error)

	mu      sync.Mutex
	next    *round
	running bool
}

// round is one question and those who wait for it.
type round struct {
	done  chan struct{}
	index uint64
	err   error
}

// confirm asks, or joins those for whom a question is about to be asked. run starts the goroutine that asks.
func (c *confirmer) confirm(ctx context.Context, run func(func())) (uint64, error) {
	c.mu.Lock()
	r := c.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		c.next = r
	}
	if !c.running {
		c.running = true
		run(c.rounds)
	}
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.index, r.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (c *confirmer) rounds() {
	for {
		c.mu.Lock()
		r := c.next
		c.next = nil
		c.running = r != nil
		c.mu.Unlock()
		if r == nil {
			return
		}
		r.index, r.err = c.ask()
		close(r.done)
	}
}
