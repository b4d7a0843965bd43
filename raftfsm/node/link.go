package node

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc/credentials"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// linkAuth is what this node presents and demands when nodes open connections to each other.
type linkAuth struct {
	clusterName string
	secret      raftfsm.Secret
	raftID      raft.ServerID
}

// raftLink is the raft.StreamLayer. Run must run from before the transport is made until after it is closed; until Open,
// every inbound connection is refused in words.
type raftLink struct{}

// newRaftLink owns the listener from now on. It starts nothing. advertise is what Addr tells.
func newRaftLink(l net.Listener, auth linkAuth, advertise raftfsm.Addr, log *slog.Logger) *raftLink {
	panic("soon")
}

// Run accepts and shakes hands until ctx ends or Close; it returns after its last goroutine has ended.
func (l *raftLink) Run(ctx context.Context) error { panic("soon") }

// Open lets members of the cluster in, and this node out.
func (l *raftLink) Open(clusterID string) { panic("soon") }

// newLinkTransport is raft's network transport over the link: pipelining off, each connection bound to the server id it is
// for. It implements raft.WithPreVote and raft.WithClose. It starts a goroutine: make it inside Run.
func newLinkTransport(l *raftLink, timeout time.Duration, log hclog.Logger) quietable { panic("soon") }

// newLinkCredentials authenticates node-to-node gRPC on both sides; servers admit other clients as anonymous.
func newLinkCredentials(auth linkAuth, log *slog.Logger) credentials.TransportCredentials {
	panic("soon")
}

// peerRaftID is the raft id of the node that opened the connection of a call; false for anyone else. FromNode is its second
// result.
func peerRaftID(ctx context.Context) (raft.ServerID, bool) { panic("soon") }
