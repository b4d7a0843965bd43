package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/raftfsm/node"
)

// Recovery is the data directory of a node whose cluster has lost its majority for good.
type Recovery = node.Recovery

// RecoveryRefused tells whether nothing can be recovered there, or not now, because the node runs.
func RecoveryRefused(err error) bool {
	return errors.Is(err, node.ErrNothingToRecover) || errors.Is(err, node.ErrInUse)
}

// OpenRecovery opens the data directory of the node that the configuration describes, whose cluster has lost its majority for
// good. It fails while that node runs.
func OpenRecovery(ctx context.Context, c *conf.Config) (*Recovery, error) {
	switch {
	case c.Dir == "":
		return nil, fmt.Errorf("%w: a node without a dir has nothing to recover", ErrConfig)
	case c.NodeRole == conf.RoleObserver:
		return nil, fault(c, "node-role", errors.New("an observer leads no cluster: recover on a voter, or make this one a voter first"))
	}
	host, err := announcedHost(ctx, c, ownAddress)
	if err != nil {
		return nil, err
	}
	return node.OpenRecovery(node.RecoverOptions{
		Dir: c.Dir, NodeID: c.NodeID, ClusterName: c.ClusterName, Raft: raftfsm.Addr{Host: host, Port: uint16(c.RaftPort)},
	})
}
