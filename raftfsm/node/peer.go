package node

import (
	"context"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// peerService answers the other nodes of the cluster, and nobody else.
type peerService struct {
	peerv1.UnimplementedPeerServiceServer
	n *Node
}

// PeerServer answers the other nodes; the daemon registers it on its gRPC server.
func (n *Node) PeerServer() peerv1.PeerServiceServer { return peerService{n: n} }

// caller is the node that a call came from. claimed, if not empty, must be its raft id.
func (p peerService) caller(ctx context.Context, claimed string) error {
	id, ok := p.n.hooks.caller(ctx)
	switch {
	case !ok:
		return status.Error(codes.PermissionDenied, "this call is for the nodes of the cluster")
	case claimed != "" && string(id) != claimed:
		return status.Errorf(codes.PermissionDenied, "node %s speaks for %s", id, claimed)
	}
	return nil
}

// Describe tells who this node is.
func (p peerService) Describe(ctx context.Context, _ *peerv1.DescribeRequest) (*peerv1.DescribeResponse, error) {
	if err := p.caller(ctx, ""); err != nil {
		return nil, err
	}
	n, rec := p.n, p.n.id.get()
	d := &peerv1.DescribeResponse{
		ClusterName: n.o.ClusterName, NodeId: n.o.NodeID, RaftId: string(n.self), ClusterId: rec.ClusterID,
		BootstrapExpect: uint32(n.o.BootstrapExpect), Raft: n.o.Raft.Proto(), Grpc: n.o.GRPC.Proto(),
		PromisedTo: string(rec.PromisedTo), Version: n.o.Version, MaxLevel: raftfsm.Level, Removed: rec.Removed || n.isRemoved(), Observer: n.o.Observer,
		NowMs: n.hooks.now().UnixMilli(),
	}
	if r := n.raft.Load(); r != nil {
		_, id := r.LeaderWithID()
		d.LeaderId = string(id)
		if a, err := n.leaderAddr(); err == nil {
			d.LeaderGrpc = a.Proto()
		}
	}
	return d, nil
}

// Promise binds this node, if it has no state, to a founder.
func (p peerService) Promise(ctx context.Context, req *peerv1.PromiseRequest) (*peerv1.PromiseResponse, error) {
	if err := p.caller(ctx, req.GetFounderRaftId()); err != nil {
		return nil, err
	}
	return p.n.former.promise(req)
}

// Join admits the caller.
func (p peerService) Join(ctx context.Context, req *peerv1.JoinRequest) (*peerv1.JoinResponse, error) {
	if err := p.caller(ctx, req.GetNode().GetRaftId()); err != nil {
		return nil, err
	}
	if p.n.isRemoved() {
		return nil, toStatus(ErrRemoved)
	}
	p.n.noteMove(req)
	ctx, cancel := context.WithTimeout(ctx, 2*changeLimit)
	defer cancel()
	resp, err := p.n.join(ctx, req)
	if reason := resp.GetReason(); reason != "" && !resp.GetAdmitted() && !resp.GetNotLeader() {
		node := req.GetNode()
		p.n.refusals.warn(node.GetRaftId()+firstClause(reason), "admission refused",
			"node", node.GetNodeId(), "raft_id", node.GetRaftId(), "reason", reason)
	}
	return resp, toStatus(err)
}

// Propose appends a command of another node's.
func (p peerService) Propose(ctx context.Context, req *peerv1.ProposeRequest) (*peerv1.ProposeResponse, error) {
	if err := p.caller(ctx, ""); err != nil {
		return nil, err
	}
	data, err := raftfsm.Encode(req.GetCommand())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := p.n.State().CheckLevel(req.GetCommand()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if p.n.isRemoved() {
		return nil, toStatus(ErrRemoved)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := p.n.proposeHere(ctx, req.GetCommand(), data)
	if err != nil {
		return nil, toStatus(err)
	}
	return &peerv1.ProposeResponse{
		Index: res.Index, Code: uint32(res.Code), Detail: res.Detail, Epoch: res.Epoch, Changed: res.Changed, Term: res.Term,
	}, nil
}

// ReadIndex tells another node what its read must wait for.
func (p peerService) ReadIndex(ctx context.Context, _ *peerv1.ReadIndexRequest) (*peerv1.ReadIndexResponse, error) {
	if err := p.caller(ctx, ""); err != nil {
		return nil, err
	}
	if p.n.isRemoved() {
		return nil, toStatus(ErrRemoved)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	index, err := p.n.readIndexHere(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &peerv1.ReadIndexResponse{Index: index}, nil
}

// Renew notes that the caller stands by its reports.
func (p peerService) Renew(ctx context.Context, req *peerv1.RenewRequest) (*peerv1.RenewResponse, error) {
	if err := p.caller(ctx, req.GetRaftId()); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	l, err := p.n.ready(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	if id := raft.ServerID(req.GetRaftId()); isMember(p.n.State(), id) {
		l.renew(string(id), req.GetBase())
	}
	return &peerv1.RenewResponse{Term: l.term}, nil
}
