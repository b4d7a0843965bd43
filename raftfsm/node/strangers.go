package node

import (
	"context"
	"time"
)

// strangersEvery is how often a leader looks.
const strangersEvery = 30 * time.Second

// watchStrangers tells, for as long as this node leads, of nodes under the addresses of cluster-peers that belong to another
// cluster: both would look after the same masters. So it is where two survivors of one lost majority were recovered.
func (n *Node) watchStrangers(ctx context.Context) error {
	log := newSparseLog(n.log)
	tick := time.NewTicker(strangersEvery)
	defer tick.Stop()
	for {
		for _, address := range n.acquaintances(ctx) {
			own := n.State().Cluster().ID
			d, err := n.whoIs(ctx, address)
			if err != nil || d.GetRemoved() || d.GetClusterId() == "" || d.GetClusterId() == own || d.GetClusterName() != n.o.ClusterName {
				continue
			}
			log.warn(d.GetRaftId(), "a node that this one knows belongs to another cluster, which may look after the same masters; empty the dirs of one of the two",
				"node", printable(d.GetNodeId()), "address", address, "its_cluster_id", printable(d.GetClusterId()), "cluster_id", own)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
