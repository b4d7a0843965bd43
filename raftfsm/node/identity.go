package node

import "github.com/hashicorp/raft"

// identityRecord is what a node knows of itself beside Raft's stores.
type identityRecord struct {
	RaftID      raft.ServerID
	ClusterName string
	ClusterID   string        // "" until a cluster is founded or has admitted this node
	PromisedTo  raft.ServerID // founder; "" for nobody
	Founding    bool          // ClusterID was made here and Raft may not be bootstrapped yet
	HasState    bool          // Raft has held entries: an empty log beside this is a loss
	Removed     bool
}

// identity keeps the record on disk. All methods may be called concurrently; changes are fsynced when they return.
type identity struct{}

// openIdentity locks dir and reads or makes the identity; dir "" keeps it in memory.
func openIdentity(dir, nodeID, clusterName string) (*identity, error) { panic("soon") }

// get is the present record.
func (i *identity) get() identityRecord { panic("soon") }

// promise binds this node to a founder unless it is bound already; it gives to whom it is bound now.
func (i *identity) promise(founder raft.ServerID) (raft.ServerID, error) { panic("soon") }

// found records that this node founds the cluster, before Raft is bootstrapped.
func (i *identity) found(clusterID string) error { panic("soon") }

// join records the cluster that has admitted this node.
func (i *identity) join(clusterID string) error { panic("soon") }

// keepState records that Raft holds entries (call it once BootstrapCluster has returned, and at the first applied entry). Cheap when known.
func (i *identity) keepState() error { panic("soon") }

// remove records that the cluster has removed this node.
func (i *identity) remove() error { panic("soon") }

// Close releases dir.
func (i *identity) Close() error { panic("soon") }
