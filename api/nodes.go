package api

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// askMember bounds the question what a member says of itself.
const askMember = 500 * time.Millisecond

// ListNodes lists the members in Raft id order, with what each says of itself at this moment. It works without a leader.
func (s *Server) ListNodes(ctx context.Context, req *sentinelv1.ListNodesRequest) (*sentinelv1.ListNodesResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	out := &sentinelv1.ListNodesResponse{ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age}
	var asking sync.WaitGroup
	var contacts map[string]Contact
	asking.Go(func() { contacts = s.contacts(ctx, req.GetConsistency()) })
	accounts := s.accounts(ctx, st)
	asking.Wait()
	v, status := s.view(st), s.node.Status()
	for _, server := range st.Servers() {
		out.Nodes = append(out.Nodes, v.node(server, status, contacts))
	}
	addAccounts(out.GetNodes(), accounts)
	return out, nil
}

// accounts are what the members say of themselves, by Raft id; those that do not answer soon are left out. A call that was
// passed on asks nobody: whoever passed it on does.
func (s *Server) accounts(ctx context.Context, st *raftfsm.State) map[string]*sentinelv1.GetStatusResponse {
	own := s.status()
	out := map[string]*sentinelv1.GetStatusResponse{own.GetRaftId(): own}
	if forwarded(ctx) {
		return out
	}
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, metadata.Pairs(forwardedKey, "1")), askMember)
	defer cancel()
	var mu sync.Mutex
	var asking sync.WaitGroup
	for n := range st.Nodes() {
		if n.RaftID == own.GetRaftId() {
			continue
		}
		asking.Go(func() {
			account := s.account(ctx, n)
			if account == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[n.RaftID] = account
		})
	}
	asking.Wait()
	return out
}

// account is what a member says of itself; nil where it does not answer, or another node answers in its place.
func (s *Server) account(ctx context.Context, n *raftfsm.Node) *sentinelv1.GetStatusResponse {
	conn, err := s.node.NodeConn(ctx, n.RaftID)
	if err != nil {
		return nil
	}
	out, err := sentinelv1.NewClusterServiceClient(conn).GetStatus(ctx,
		&sentinelv1.GetStatusRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
	if err != nil || out.GetRaftId() != n.RaftID {
		return nil
	}
	return out
}

// addAccounts completes members by what they said. How far one is behind is told by the highest commit index that any knew of.
func addAccounts(nodes []*sentinelv1.Node, accounts map[string]*sentinelv1.GetStatusResponse) {
	var committed uint64
	for _, a := range accounts {
		committed = max(committed, a.GetCommitIndex(), a.GetAppliedIndex())
	}
	for _, n := range nodes {
		a := accounts[n.GetRaftId()]
		if a == nil {
			continue
		}
		n.Role, n.Term, n.AppliedIndex = new(a.GetRole()), new(a.GetTerm()), new(a.GetAppliedIndex())
		n.LagEntries = new(committed - a.GetAppliedIndex())
		n.UptimeMs, n.InstancesProbed = new(a.GetUptimeMs()), new(a.GetInstancesProbed())
	}
}
