package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// strangerEvery is how often a leader looks for nodes of another cluster among its peers.
const strangerEvery = 30 * time.Second

// strangers are the nodes of another cluster that a leader has found among its peers, in words.
type strangers struct {
	mu    sync.Mutex
	found []string
}

// Strangers are, on the leader, the nodes that answer where cluster-peers looks for those of this cluster and belong to another
// one. Neither cluster takes anything from the other, and who asks for a master may hear either.
func (n *Node) Strangers() []string {
	n.strangers.mu.Lock()
	defer n.strangers.mu.Unlock()
	return slices.Clone(n.strangers.found)
}

func (n *Node) noteStrangers(found []string) {
	n.strangers.mu.Lock()
	defer n.strangers.mu.Unlock()
	n.strangers.found = found
}

// watchStrangers looks for them for as long as this node leads.
func (n *Node) watchStrangers(ctx context.Context) error {
	defer n.noteStrangers(nil)
	tick := time.NewTicker(strangerEvery)
	defer tick.Stop()
	var known []string
	for {
		found := n.findStrangers(ctx)
		for _, who := range found {
			if !slices.Contains(known, who) {
				n.log.Warn("cluster-peers names a node of another cluster: give each cluster peers of its own, or empty the dir of that node to have it join",
					"peer", who, "cluster_id", n.id.get().ClusterID)
			}
		}
		known = found
		n.noteStrangers(found)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// findStrangers asks every peer that is no member, side by side. One that does not answer is none.
func (n *Node) findStrangers(ctx context.Context) []string {
	var members []string
	for v := range n.State().Nodes() {
		members = append(members, v.GRPC.String())
	}
	self := n.id.get().ClusterID
	var mu sync.Mutex
	var wg sync.WaitGroup
	var out []string
	for _, address := range n.acquaintances(ctx) {
		if slices.Contains(members, address) {
			continue
		}
		wg.Go(func() {
			d, err := n.whoIs(ctx, address)
			if err != nil || d.GetRemoved() || d.GetClusterId() == "" || d.GetClusterId() == self {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, fmt.Sprintf("%s, of cluster %s", described{address: address, nodeID: d.GetNodeId()}, d.GetClusterId()))
		})
	}
	wg.Wait()
	slices.Sort(out)
	return out
}
