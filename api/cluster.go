package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// staleContact is the silence of the leader from which a node calls itself unwell.
const staleContact = 3 * time.Second

// mostProblems are told.
const mostProblems = 50

var nodeRoles = map[string]sentinelv1.NodeRole{
	"leader": sentinelv1.NodeRole_NODE_ROLE_LEADER, "follower": sentinelv1.NodeRole_NODE_ROLE_FOLLOWER,
	"candidate": sentinelv1.NodeRole_NODE_ROLE_CANDIDATE, "none": sentinelv1.NodeRole_NODE_ROLE_NONE,
	"joining": sentinelv1.NodeRole_NODE_ROLE_JOINING, "observer": sentinelv1.NodeRole_NODE_ROLE_OBSERVER,
	roleRemoved: sentinelv1.NodeRole_NODE_ROLE_REMOVED,
}

// GetStatus is this node's account of itself, together with what the leader and the other members find wrong. It always answers.
func (s *Server) GetStatus(ctx context.Context, req *sentinelv1.GetStatusRequest) (*sentinelv1.GetStatusResponse, error) {
	out := s.status()
	leads := out.GetRole() == sentinelv1.NodeRole_NODE_ROLE_LEADER
	if req.GetConsistency() == sentinelv1.Consistency_CONSISTENCY_LOCAL {
		out.Local = !leads
		return out, nil
	}
	st, leader := s.node.State(), out
	var asking sync.WaitGroup
	if !leads {
		asking.Go(func() { leader = s.leaderStatus(ctx) })
	}
	accounts := s.accounts(ctx, st)
	asking.Wait()
	out.Local, out.Heard = leader == nil, leader.GetHeard()
	if leader == nil && out.GetLeaderRaftId() != "" {
		out.Problems = append(out.Problems, fmt.Sprintf("the leader %s does not tell node %s which nodes it hears",
			out.GetLeaderNodeId(), out.GetNodeId()))
	}
	addProblems(out, leader.GetProblems())
	for _, v := range st.Servers() {
		n, registered := st.Node(v.ID)
		switch account := accounts[v.ID]; {
		case !registered:
			addProblems(out, []string{fmt.Sprintf("node %s has not introduced itself yet", v.ID)})
		case account != nil:
			addProblems(out, account.GetProblems())
		case slices.Contains(out.GetHeard(), v.ID):
			addProblems(out, []string{fmt.Sprintf("node %s is heard by the leader and does not answer at %s", n.NodeID, n.GRPC)})
		}
	}
	out.Healthy = leader != nil && len(out.GetProblems()) == 0
	return out, nil
}

// addProblems adds what is not among the problems yet.
func addProblems(out *sentinelv1.GetStatusResponse, problems []string) {
	for _, p := range problems {
		if !slices.Contains(out.GetProblems(), p) && len(out.GetProblems()) < mostProblems {
			out.Problems = append(out.Problems, p)
		}
	}
}

// leaderStatus is the leader's account of itself; nil where none leads or it does not answer soon.
func (s *Server) leaderStatus(ctx context.Context) *sentinelv1.GetStatusResponse {
	return askTheLeader(ctx, s, func(ctx context.Context, leader sentinelv1.ClusterServiceClient) *sentinelv1.GetStatusResponse {
		out, err := leader.GetStatus(ctx, &sentinelv1.GetStatusRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
		if err != nil || out.GetRole() != sentinelv1.NodeRole_NODE_ROLE_LEADER {
			return nil
		}
		return out
	})
}

// askTheLeader asks it what it alone can know; the zero value where none leads.
func askTheLeader[T any](ctx context.Context, s *Server, question func(context.Context, sentinelv1.ClusterServiceClient) T) (none T) {
	if _, deaf := s.silence(); deaf || forwarded(ctx) {
		return none
	}
	ctx, cancel := context.WithTimeout(ctx, askLeader)
	defer cancel()
	conn, err := s.node.LeaderConn(ctx)
	if err != nil {
		return none
	}
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs(forwardedKey, "1"))
	return question(ctx, sentinelv1.NewClusterServiceClient(conn))
}

// contacts are the leader's with the members; nil where no leader tells, or is not to be asked.
func (s *Server) contacts(ctx context.Context, c sentinelv1.Consistency) map[string]Contact {
	if s.node.Status().Role == RoleLeader {
		return s.node.Contacts()
	}
	if c == sentinelv1.Consistency_CONSISTENCY_LOCAL {
		return nil
	}
	return askTheLeader(ctx, s, func(ctx context.Context, leader sentinelv1.ClusterServiceClient) map[string]Contact {
		nodes, err := leader.ListNodes(ctx, &sentinelv1.ListNodesRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
		if err != nil {
			return nil
		}
		return ContactsOf(nodes.GetNodes(), time.Now())
	})
}

// ContactsOf are the leader's contacts as it told of them; nil where it did not.
func ContactsOf(nodes []*sentinelv1.Node, now time.Time) map[string]Contact {
	var out map[string]Contact
	for _, n := range nodes {
		if n.Heard == nil {
			continue
		}
		if out == nil {
			out = map[string]Contact{}
		}
		c := Contact{Heard: n.GetHeard()}
		if n.LastContactMs != nil {
			c.At = now.Add(-time.Duration(n.GetLastContactMs()) * time.Millisecond)
		}
		out[n.GetRaftId()] = c
	}
	return out
}

// status is what this node knows by itself.
func (s *Server) status() *sentinelv1.GetStatusResponse {
	st, status := s.node.State(), s.node.Status()
	out := &sentinelv1.GetStatusResponse{
		ClusterId: status.ClusterID, Revision: st.Index(), AgeMs: contactMs(status.LastContact), ClusterName: st.Cluster().Name,
		NodeId: status.NodeID, RaftId: status.RaftID, Role: nodeRoles[status.Role], LeaderRaftId: status.LeaderID,
		Term: status.Term, CommitIndex: status.CommitIndex, AppliedIndex: status.AppliedIndex,
		Members: uint32(len(st.Servers())), Voters: uint32(st.Voters()), Loading: status.Loading, Version: s.version,
		FeatureLevel: st.FeatureLevel(), FsyncP50Ms: float64(status.FsyncP50) / float64(time.Millisecond),
		Masters: uint32(st.MasterCount()), Epoch: st.Epoch(), Heard: status.Heard, UptimeMs: time.Since(s.began).Milliseconds(),
		Drained: st.DrainedNodes(),
	}
	if s.fleet != nil {
		out.InstancesProbed = uint32(s.fleet.Probed())
	}
	if status.LeaderID != "" {
		out.LeaderNodeId = st.NodeName(status.LeaderID)
	}
	v := s.view(st)
	for m := range st.Masters() {
		count(out, v, m)
	}
	out.Versions = runningVersions(st)
	problems := nodeProblems(st, status)
	if s.fleet != nil && s.fleet.Braked() != "" {
		problems = append(problems, fmt.Sprintf("node %s withholds its verdicts: %s", status.NodeID, s.fleet.Braked()))
	}
	out.Problems = slices.Concat(problems, out.GetProblems())
	out.Healthy = len(out.GetProblems()) == 0
	return out
}

// count adds a master to the status.
func count(out *sentinelv1.GetStatusResponse, v view, m *raftfsm.Master) {
	st := v.st
	problem := func(format string, args ...any) {
		if len(out.GetProblems()) < mostProblems {
			out.Problems = append(out.Problems, fmt.Sprintf(format, args...))
		}
	}
	down := st.DownVotes(m, m.Address)
	switch v.status(m) {
	case sentinelv1.MasterStatus_MASTER_STATUS_ODOWN:
		out.MastersOdown++
		problem("master %s at %s is down: %s", m.Name, m.Address, votes(down, m.Options.Quorum))
	case sentinelv1.MasterStatus_MASTER_STATUS_SDOWN:
		out.MastersSdown++
		if down > 0 {
			problem("master %s at %s is held down: %s", m.Name, m.Address, votes(down, m.Options.Quorum))
		} else {
			problem("master %s at %s is down for node %s, which has no vote on it yet", m.Name, m.Address, out.GetNodeId())
		}
	case sentinelv1.MasterStatus_MASTER_STATUS_AUTH_REJECTED:
		out.MastersAuthRejected++
		if !rejects(m, m.Address) {
			problem("%s", passwordProblem(m, m.Address, out.GetNodeId()))
		}
	case sentinelv1.MasterStatus_MASTER_STATUS_UNKNOWN:
		out.MastersUnknown++
		problem("master %s at %s was never reached", m.Name, m.Address)
	case sentinelv1.MasterStatus_MASTER_STATUS_OK, sentinelv1.MasterStatus_MASTER_STATUS_UNSPECIFIED:
		out.MastersOk++
	}
	if m.Pause != nil {
		out.MastersPaused++
	}
	if m.Hold != nil {
		out.MastersHeld++
		problem("master %s is held: %s", m.Name, m.Hold.Reason)
	}
	if f := m.Failover; f != nil {
		out.FailoversOpen++
		what := "failover"
		if f.Kind == raftfsm.KindPlanned {
			what = "switchover"
		}
		problem("the %s %d of master %s has not ended", what, f.Epoch, m.Name)
	}
	if m.Options.Quorum > st.Voters() {
		problem("master %s has quorum %d and the cluster %d voters", m.Name, m.Options.Quorum, st.Voters())
	}
	for _, vote := range m.Votes {
		if vote.Cause == raftfsm.CauseAuth {
			problem("%s", passwordProblem(m, vote.Instance, st.NodeName(vote.Node)))
		}
	}
	for _, c := range m.Conflicts {
		problem("%s is listed by the master of %s and belongs to master %s", c.Addr, m.Name, c.Other)
	}
}

// votes tells how many there are beside how many are needed.
func votes(n, quorum int) string {
	plural := "s"
	if n == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d vote%s, quorum %d", n, plural, quorum)
}

func passwordProblem(m *raftfsm.Master, a raftfsm.Addr, node string) string {
	if m.Options.AuthPass.IsZero() {
		return fmt.Sprintf("%s of master %s wants a password from node %s, and none is set", a, m.Name, node)
	}
	return fmt.Sprintf("%s of master %s rejects the password of node %s", a, m.Name, node)
}

func nodeProblems(st *raftfsm.State, status NodeStatus) []string {
	var out []string
	switch {
	case status.Role == roleRemoved:
		out = append(out, fmt.Sprintf("node %s was removed from its cluster", status.NodeID))
	case status.Waiting != "":
		out = append(out, "no cluster yet: "+status.Waiting)
	case status.Loading:
		out = append(out, fmt.Sprintf("node %s has not caught up since it started", status.NodeID))
	case status.LeaderID == "":
		out = append(out, fmt.Sprintf("node %s knows of no leader", status.NodeID))
	case status.LastContact < 0 || status.LastContact > staleContact:
		out = append(out, fmt.Sprintf("node %s has heard nothing of the leader %s lately", status.NodeID, st.NodeName(status.LeaderID)))
	}
	if status.Role == RoleLeader {
		out = append(out, memberProblems(st, status)...)
	}
	return out
}

// memberProblems are what the leader finds wrong with the members.
func memberProblems(st *raftfsm.State, status NodeStatus) []string {
	var out []string
	for _, name := range status.Awaited {
		out = append(out, fmt.Sprintf("node %s promised to follow and has not joined yet", name))
	}
	for _, who := range status.Strangers {
		out = append(out, "cluster-peers names a node of another cluster: "+who)
	}
	for _, v := range st.Servers() {
		name := st.NodeName(v.ID)
		switch {
		case status.Heard != nil && !slices.Contains(status.Heard, v.ID):
			out = append(out, fmt.Sprintf("node %s is not heard", name))
		case slices.Contains(status.Joining, v.ID):
			out = append(out, fmt.Sprintf("node %s does not vote yet", name))
		case slices.Contains(status.Lagging, v.ID):
			out = append(out, fmt.Sprintf("node %s has not caught up with the leader's log", name))
		}
		if ahead, astray := status.Astray[v.ID]; astray {
			out = append(out, fmt.Sprintf("the clocks of node %s and of the leader %s are %v apart", name, status.NodeID, ahead.Abs().Round(time.Second)))
		}
	}
	return out
}

// runningVersions are what the members have registered, by version.
func runningVersions(st *raftfsm.State) []*sentinelv1.RunningVersion {
	var out []*sentinelv1.RunningVersion
	for _, v := range st.Servers() {
		n, registered := st.Node(v.ID)
		if !registered {
			continue
		}
		at, found := slices.BinarySearchFunc(out, n, func(r *sentinelv1.RunningVersion, n *raftfsm.Node) int {
			return cmp.Or(cmp.Compare(r.GetFeatureLevel(), n.MaxLevel), cmp.Compare(r.GetVersion(), n.Version))
		})
		if !found {
			out = slices.Insert(out, at, &sentinelv1.RunningVersion{Version: n.Version, FeatureLevel: n.MaxLevel})
		}
		out[at].NodeIds = append(out[at].NodeIds, n.NodeID)
	}
	return out
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
	return fail(codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND, "no member named %s", echo(name))
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
	out := &sentinelv1.RemoveNodeResponse{ClusterId: st.Cluster().Era, Revision: st.Index()}
	v, ok := member(st, req.GetNode())
	switch {
	case !ok && !req.GetAllowMissing():
		return nil, noNode(req.GetNode())
	case !ok:
		return out, nil
	case v.Voter && st.Voters() == 1:
		return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT,
			"node %s is the only voter: a cluster cannot remove its last one", st.NodeName(v.ID))
	}
	if masters := st.Stranded(v.ID); len(masters) > 0 && !req.GetForce() {
		return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT,
			"%d voters would be left without node %s, and these masters need more to be failed over: %s: nothing was changed; "+
				"lower their quorum or add a voter first, or force", st.Voters()-1, st.NodeName(v.ID), strings.Join(masters, ", "))
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
		ClusterId: st.Cluster().Era, Revision: st.Index(), LeaderNodeId: status.NodeID,
	}
	to := ""
	if req.GetNode() != "" {
		v, ok := member(st, req.GetNode())
		switch {
		case !ok:
			return nil, noNode(req.GetNode())
		case !v.Voter:
			return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT,
				"node %s does not vote; only a voter can lead", st.NodeName(v.ID))
		case v.ID == status.RaftID:
			return out, nil
		case st.Drained(v.ID):
			return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT,
				"node %s is drained: undrain it first", st.NodeName(v.ID))
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
