package node

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// pulseEvery is how often Raft's main loop is asked for a sign of life.
const pulseEvery = time.Second

// pulseTransport lets a node ask its own Raft, by the queue in which the requests of the others come.
type pulseTransport struct {
	quietable
	requests chan raft.RPC
	closed   chan struct{}
	close    sync.Once
}

// newPulseTransport is inner; it hands its requests on until it is closed.
func newPulseTransport(inner quietable) *pulseTransport {
	t := &pulseTransport{quietable: inner, requests: make(chan raft.RPC), closed: make(chan struct{})}
	go t.hand()
	return t
}

func (t *pulseTransport) hand() {
	for {
		select {
		case <-t.closed:
			return
		case rpc := <-t.quietable.Consumer():
			select {
			case <-t.closed:
				rpc.Respond(nil, raft.ErrTransportShutdown)
				return
			case t.requests <- rpc:
			}
		}
	}
}

// Consumer implements raft.Transport.
func (t *pulseTransport) Consumer() <-chan raft.RPC { return t.requests }

// Close implements raft.WithClose.
func (t *pulseTransport) Close() error {
	t.close.Do(func() { close(t.closed) })
	return t.quietable.Close()
}

// pulse is a request that is none: Raft's main loop refuses it as soon as it comes to it, in every state and without effect.
type pulse struct{}

// feel returns when Raft's main loop has turned, or ctx ends.
func (t *pulseTransport) feel(ctx context.Context) {
	refused := make(chan raft.RPCResponse, 1)
	select {
	case <-ctx.Done():
		return
	case t.requests <- raft.RPC{Command: pulse{}, RespChan: refused}:
	}
	select {
	case <-ctx.Done():
	case <-refused:
	}
}

// feelPulse feels it again and again.
func (n *Node) feelPulse(ctx context.Context, t *pulseTransport) {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		n.turns.Step()
		t.feel(ctx)
		n.turns.Rest()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ApplyStuck is for how long the present log entry, or piece of a snapshot, has been being applied and published. The
// writing of the applied index does not count: see [disk].
func (n *Node) ApplyStuck() time.Duration { return n.fsm.loop.Stuck() }

// RaftStuck is for how long Raft's main loop has not turned, where it does not wait for a disk. A log store that hangs makes
// a node fall silent; it is no reason to end it.
func (n *Node) RaftStuck() time.Duration { return min(n.turns.Stuck(), n.disk.quiet()) }

// Recalled is closed once the state that this node told before a restart is loaded, as far as no leader is needed for that.
func (n *Node) Recalled() <-chan struct{} { return n.recalled }

func (n *Node) toldRecalled() { n.recallOnce.Do(func() { close(n.recalled) }) }
