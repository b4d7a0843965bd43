package node

import (
	"context"
	"io"
	"log/slog"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// formerOptions of a node that has no state yet.
type formerOptions struct {
	nodeID      string
	clusterName string
	expect      int
	peers       []string
	// self is what Join registers.
	self *raftlogv1.RegisterNode
	// dial connects to a resolved HOST:PORT; the closer ends the connection.
	dial func(address string) (peerv1.PeerServiceClient, io.Closer, error)
	log  *slog.Logger
}

// former finds a cluster, or founds one, for a node without state.
type former struct{}

func newFormer(id *identity, o formerOptions) *former { panic("soon") }

// run returns when this node has a cluster: founded tells that it is to be bootstrapped with this node alone, else it has
// been admitted. The identity records it already. Errors: ctx's, ErrRemoved, or a disk's.
func (f *former) run(ctx context.Context) (clusterID string, founded bool, err error) {
	panic("soon")
}

// promise answers PeerService.Promise. It may be called before, during and after run.
func (f *former) promise(req *peerv1.PromiseRequest) (*peerv1.PromiseResponse, error) {
	panic("soon")
}
