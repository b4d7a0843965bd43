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
	// sent is the last question that a follower was sent.
	sent    map[raft.ServerID]uint64
	hurried chan struct{}
}

func newCadence(inner quietable, step time.Duration, book *ackBook) *cadence {
	return &cadence{
		quietable: inner, step: step, began: time.Now(), book: book, sent: map[raft.ServerID]uint64{}, hurried: make(chan struct{}),
	}
}

// AppendEntries implements raft.Transport.
func (c *cadence) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	if isHeartbeat(req) {
		c.await(id)
	}
	return c.quietable.AppendEntries(id, target, req, resp)
}

// await returns at the next step, or when there is a question that the follower was not sent yet.
func (c *cadence) await(id raft.ServerID) {
	c.mu.Lock()
	asked := c.sent[id] != c.book.questions.Load()
	hurried := c.hurried
	c.mu.Unlock()
	past := time.Since(c.began) % c.step
	if !asked && past > c.step/10 { // else it is the moment, or just after
		t := time.NewTimer(c.step - past)
		defer t.Stop()
		select {
		case <-t.C:
		case <-hurried:
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[id] = c.book.questions.Load()
}

// hurry has the heartbeats that wait leave now. It follows upon a question.
func (c *cadence) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.hurried)
	c.hurried = make(chan struct{})
}
