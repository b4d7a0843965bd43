package node

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// compactAfter is after how many entries a snapshot takes their place: the log's file never shrinks, and a restart applies
	// what lies above the snapshot. trailing of them stay, for followers that were away.
	compactAfter = 1024
	trailing     = 2048
	// compactEvery is how often, or half as often, Raft by itself looks at their number, whatever goes on.
	compactEvery = 30 * time.Second
	// calmAfter is how long there must be calm before it is done sooner, or up to twice as long, so that the nodes do not write and delete
	// all at once: a storm of failovers has its entries first. There is calm where fewer than calmEntries have come meanwhile.
	calmAfter   = 2 * time.Second
	calmEntries = 64
)

// compact makes a snapshot once there is calm after many entries: a node that is restarted after a storm is back without reading
// what was appended in it.
func (n *Node) compact(ctx context.Context, r *raft.Raft) {
	for last := n.State().Index(); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(calmAfter + rand.N(calmAfter)):
		}
		now := n.State().Index()
		if now < last+calmEntries && now >= n.fsm.covered.Load()+compactAfter {
			n.fsm.covered.Store(now) // one try: Raft logs an error, and comes to it again by itself
			_ = n.await(ctx, func() error { return r.Snapshot().Error() })
		}
		last = now
	}
}
