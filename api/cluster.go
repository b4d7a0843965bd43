package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// staleContact is the silence of the leader from which a node calls itself unwell.
const staleContact = 3 * time.Second

var nodeRoles = map[string]sentinelv1.NodeRole{
	"leader": sentinelv1.NodeRole_NODE_ROLE_LEADER, "follower": sentinelv1.NodeRole_NODE_ROLE_FOLLOWER,
	"candidate": sentinelv1.NodeRole_NODE_ROLE_CANDIDATE, "none": sentinelv1.NodeRole_NODE_ROLE_NONE,
	"joining": sentinelv1.NodeRole_NODE_ROLE_JOINING, "observer": sentinelv1.NodeRole_NODE_ROLE_OBSERVER,
	"removed": sentinelv1.NodeRole_NODE_ROLE_REMOVED,
}

// GetStatus is this node's account of itself. It always answers.
func (s *Server) GetStatus(context.Context, *sentinelv1.GetStatusRequest) (*sentinelv1.GetStatusResponse, error) {
	st, status := s.node.State(), s.node.Status()
	out := &sentinelv1.GetStatusResponse{
		ClusterId: status.ClusterID, Revision: st.Index(), AgeMs: contactMs(status.LastContact), ClusterName: st.Cluster().Name,
		NodeId: status.NodeID, RaftId: status.RaftID, Role: nodeRoles[status.Role], LeaderRaftId: status.LeaderID,
		Term: status.Term, CommitIndex: status.CommitIndex, AppliedIndex: status.AppliedIndex,
		Members: uint32(len(st.Servers())), Voters: uint32(st.Voters()), Loading: status.Loading, Version: s.version,
		FeatureLevel: st.FeatureLevel(), FsyncP50Ms: float64(status.FsyncP50) / float64(time.Millisecond),
		Masters: uint32(st.MasterCount()), Epoch: st.Epoch(),
	}
	if status.LeaderID != "" {
		out.LeaderNodeId = st.NodeName(status.LeaderID)
	}
	for m := range st.Masters() {
		count(out, st, m)
	}
	out.Problems = append(nodeProblems(st, status), out.GetProblems()...)
	out.Healthy = len(out.GetProblems()) == 0
	return out, nil
}

// count adds a master to the status.
func count(out *sentinelv1.GetStatusResponse, st *raftfsm.State, m *raftfsm.Master) {
	problem := func(format string, args ...any) {
		const most = 50
		if len(out.GetProblems()) < most {
			out.Problems = append(out.Problems, fmt.Sprintf(format, args...))
		}
	}
	down := st.DownVotes(m, m.Address)
	switch {
	case m.IsODown():
		out.MastersOdown++
		problem("master %s at %s is down: %d of %d votes", m.Name, m.Address, down, m.Options.Quorum)
	case down > 0:
		out.MastersSdown++
		problem("master %s at %s is held down by %d nodes, quorum %d", m.Name, m.Address, down, m.Options.Quorum)
	default:
		out.MastersOk++
	}
	if m.Pause != nil {
		out.MastersPaused++
	}
	if m.Hold != nil {
		out.MastersHeld++
		problem("master %s is held: %s", m.Name, m.Hold.Reason)
	}
	if m.Failover != nil {
		out.FailoversOpen++
	}
	if m.Options.Quorum > st.Voters() {
		problem("master %s has quorum %d and the cluster %d voters", m.Name, m.Options.Quorum, st.Voters())
	}
	for _, vote := range m.Votes {
		if vote.Cause == raftfsm.CauseAuth {
			problem("%s of master %s rejects the password of node %s", vote.Instance, m.Name, st.NodeName(vote.Node))
		}
	}
}

func nodeProblems(st *raftfsm.State, status NodeStatus) []string {
	var out []string
	switch {
	case status.Role == "removed":
		out = append(out, "this node was removed from its cluster")
	case status.Loading:
		out = append(out, "this node has not caught up since it started")
	case status.LeaderID == "":
		out = append(out, "no leader is known")
	case status.LastContact < 0 || status.LastContact > staleContact:
		out = append(out, fmt.Sprintf("nothing was heard of the leader %s lately", st.NodeName(status.LeaderID)))
	}
	if status.Role == RoleLeader && status.Heard != nil {
		heard := map[string]bool{}
		for _, id := range status.Heard {
			heard[id] = true
		}
		for _, v := range st.Servers() {
			if !heard[v.ID] {
				out = append(out, fmt.Sprintf("node %s is not heard", st.NodeName(v.ID)))
			}
		}
	}
	return out
}

// ListNodes lists the members in Raft id order.
func (s *Server) ListNodes(ctx context.Context, req *sentinelv1.ListNodesRequest) (*sentinelv1.ListNodesResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	out := &sentinelv1.ListNodesResponse{ClusterId: st.Cluster().ID, Revision: st.Index(), AgeMs: age}
	v, status := s.view(st), s.node.Status()
	for _, server := range st.Servers() {
		out.Nodes = append(out.Nodes, v.node(server, status))
	}
	return out, nil
}

// member finds a member by its node id or Raft id.
func member(st *raftfsm.State, name string) (raftfsm.Server, bool) {
	for _, v := range st.Servers() {
		if v.ID == name || st.NodeName(v.ID) == name {
			return v, true
		}
	}
	return raftfsm.Server{}, false
}

func noNode(name string) *Error {
	return fail(codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND, "no member named %q", name)
}

// RemoveNode takes a member out of the cluster.
func (s *Server) RemoveNode(ctx context.Context, req *sentinelv1.RemoveNodeRequest) (*sentinelv1.RemoveNodeResponse, error) {
	if req.GetNode() == "" {
		return nil, invalid("node: a node id or Raft id is required")
	}
	st, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	out := &sentinelv1.RemoveNodeResponse{ClusterId: st.Cluster().ID, Revision: st.Index()}
	v, ok := member(st, req.GetNode())
	switch {
	case !ok && !req.GetAllowMissing():
		return nil, noNode(req.GetNode())
	case !ok:
		return out, nil
	case v.Voter && st.Voters() == 1:
		return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT,
			"node %s is the only voter: a cluster cannot remove its last one", req.GetNode())
	}
	out.Changed = true
	if req.GetValidateOnly() {
		return out, nil
	}
	if err := s.node.RemoveNode(ctx, v.ID); err != nil {
		return nil, s.changeError(err)
	}
	s.log.Info("node removed", "node", st.NodeName(v.ID), "raft_id", v.ID, "actor", s.actor(ctx))
	out.Revision = s.node.State().Index()
	return out, nil
}

// TransferLeadership hands leadership to a voter. Naming the present leader changes nothing.
func (s *Server) TransferLeadership(ctx context.Context, req *sentinelv1.TransferLeadershipRequest) (*sentinelv1.TransferLeadershipResponse, error) {
	st, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	status := s.node.Status()
	out := &sentinelv1.TransferLeadershipResponse{
		ClusterId: st.Cluster().ID, Revision: st.Index(), LeaderNodeId: status.NodeID,
	}
	to := ""
	if req.GetNode() != "" {
		v, ok := member(st, req.GetNode())
		switch {
		case !ok:
			return nil, noNode(req.GetNode())
		case !v.Voter:
			return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT,
				"node %s does not vote; only a voter can lead", req.GetNode())
		case v.ID == status.RaftID:
			return out, nil
		}
		to = v.ID
	}
	if err := s.node.TransferLeadership(ctx, to); err != nil {
		return nil, s.changeError(err)
	}
	out.Changed = true
	out.LeaderNodeId = ""
	if leader := s.node.Status().LeaderID; leader != "" {
		out.LeaderNodeId = st.NodeName(leader)
	}
	s.log.Info("leadership transferred", "to", to, "actor", s.actor(ctx))
	return out, nil
}
