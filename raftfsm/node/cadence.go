package node

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// cadence has the heartbeats to all followers leave together. hashicorp/raft sends each at a random moment, after a tenth to a
// fifth of the heartbeat timeout: to a node at rest, waking up is most of what it costs. Here each waits for the next step of a
// tenth, which makes the interval a fifth, as long as the longest that Raft has by itself. Whoever asks whether this node still
// leads does not wait.
type cadence struct {
	quietable
	step  time.Duration
	began time.Time
	book  *ackBook

	mu sync.Mutex
	// sent is the last question that a follower has acknowledged, left when its last heartbeat set out.
	sent    map[raft.ServerID]uint64
	left    map[raft.ServerID]time.Time
	hurried chan struct{}
}

func newCadence(inner quietable, step time.Duration, book *ackBook) *cadence {
	return &cadence{
		quietable: inner, step: step, began: time.Now(), book: book, sent: map[raft.ServerID]uint64{}, left: map[raft.ServerID]time.Time{},
		hurried: make(chan struct{}),
	}
}

// AppendEntries implements raft.Transport.
func (c *cadence) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	if !isHeartbeat(req) {
		return c.quietable.AppendEntries(id, target, req, resp)
	}
	c.await(id)
	question := c.book.questions.Load()
	err := c.quietable.AppendEntries(id, target, req, resp)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent[id] = question
	}
	return err
}

// await returns at the next step, or when there is a question that the follower has not acknowledged. It waits for no step that would
// make the interval longer than two.
func (c *cadence) await(id raft.ServerID) {
	now := time.Now()
	past := now.Sub(c.began) % c.step
	next := now.Add(c.step - past)
	c.mu.Lock()
	asked := c.sent[id] != c.book.questions.Load()
	hurried := c.hurried
	last, known := c.left[id]
	c.mu.Unlock()
	if !asked && past > c.step/10 && (!known || next.Sub(last) <= 2*c.step) { // else it is the moment, or just after
		t := time.NewTimer(next.Sub(now))
		defer t.Stop()
		select {
		case <-t.C:
		case <-hurried:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left[id] = time.Now()
}

// hurry has the heartbeats that wait leave now. It follows upon a question.
func (c *cadence) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.hurried)
	c.hurried = make(chan struct{})
}
