package node

import (
	"time"

	"github.com/hashicorp/raft"
)

// Heard are, on the leader, the Raft ids of the members that acknowledged it within a second or two of its heartbeats,
// itself included; nil on any other node.
func (n *Node) Heard() []string {
	r := n.raft.Load()
	if r == nil || r.State() != raft.Leader {
		return nil
	}
	limit := max(time.Second, 2*n.o.Timing.Heartbeat)
	out := []string{string(n.self)}
	for _, v := range n.State().Servers() {
		if id := raft.ServerID(v.ID); id != n.self && time.Since(n.acks.of(id).at) <= limit {
			out = append(out, v.ID)
		}
	}
	return out
}
