package api

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strconv"

	"google.golang.org/grpc"

	"github.com/raftsentinel/raftsentinel/failover"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// GetMaster answers one set. Callers by the network are answered by encoded, with the same in bytes.
func (s *Server) GetMaster(ctx context.Context, req *sentinelv1.GetMasterRequest) (*sentinelv1.GetMasterResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	return answerMaster(s.view(st), req.GetName(), age)
}

func answerMaster(v view, name string, ageMs int64) (*sentinelv1.GetMasterResponse, error) {
	m, ok := v.st.Master(name)
	if !ok {
		return nil, noMaster(name)
	}
	HeedSet(v.fleet, m)
	return &sentinelv1.GetMasterResponse{ClusterId: v.st.Cluster().Era, Revision: v.st.Index(), AgeMs: ageMs, Master: v.master(m)}, nil
}

// encoded is the interceptor that answers GetMaster with bytes which callers in the same millisecond share.
func (s *Server) encoded(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	get, ok := req.(*sentinelv1.GetMasterRequest)
	if !ok {
		return handle(ctx, req)
	}
	st, age, err := s.read(ctx, get.GetConsistency())
	if err != nil {
		return nil, err
	}
	return s.answers.master(s.view(st), get.GetName(), age)
}

// ListMasters answers a page of sets.
func (s *Server) ListMasters(ctx context.Context, req *sentinelv1.ListMastersRequest) (*sentinelv1.ListMastersResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	masters, more, err := page(st.Masters(), req.GetPageSize(), req.GetPageToken(), "masters",
		func(m *raftfsm.Master, last string) bool { return m.Name > last },
		func(m *raftfsm.Master) string { return m.Name }, s.view(st).master)
	if err != nil {
		return nil, err
	}
	return &sentinelv1.ListMastersResponse{
		ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age, Masters: masters, NextPageToken: more,
		Total: uint32(st.MasterCount()),
	}, nil
}

// ListReplicas answers a page of the replicas of one set.
func (s *Server) ListReplicas(ctx context.Context, req *sentinelv1.ListReplicasRequest) (*sentinelv1.ListReplicasResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	m, ok := st.Master(req.GetName())
	if !ok {
		return nil, noMaster(req.GetName())
	}
	v := s.view(st)
	replicas, more, err := page(slices.Values(m.Replicas()), req.GetPageSize(), req.GetPageToken(), "replicas",
		func(in raftfsm.Instance, last string) bool {
			a, err := raftfsm.ParseAddr(last)
			return err == nil && in.Addr.Compare(a) > 0
		},
		func(in raftfsm.Instance) string { return in.Addr.String() },
		func(in raftfsm.Instance) *sentinelv1.Instance { return v.instance(m, in) })
	if err != nil {
		return nil, err
	}
	return &sentinelv1.ListReplicasResponse{
		ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age, Replicas: replicas, NextPageToken: more, Epoch: m.Epoch,
	}, nil
}

// row is a failover and the master it is of.
type row struct {
	master string
	f      *raftfsm.Failover
}

// ListFailovers answers a page of failovers, newest first.
func (s *Server) ListFailovers(ctx context.Context, req *sentinelv1.ListFailoversRequest) (*sentinelv1.ListFailoversResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	if _, ok := st.Master(req.GetName()); !ok && req.GetName() != "" {
		return nil, noMaster(req.GetName())
	}
	v := s.view(st)
	failovers, more, err := page(slices.Values(failoverRows(st, req.GetName(), req.GetOperationId())),
		req.GetPageSize(), req.GetPageToken(), "failovers",
		func(r row, last string) bool {
			n, err := strconv.ParseUint(last, 10, 64)
			return err == nil && r.f.Epoch < n
		},
		func(r row) string { return strconv.FormatUint(r.f.Epoch, 10) },
		func(r row) *sentinelv1.Failover { return v.failover(r.master, r.f) })
	if err != nil {
		return nil, err
	}
	return &sentinelv1.ListFailoversResponse{
		ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age, Failovers: failovers, NextPageToken: more,
	}, nil
}

// failoverRows are the failovers of one master, or of all, newest first: each has an epoch above all earlier ones.
func failoverRows(st *raftfsm.State, master, operation string) []row {
	masters := st.Masters()
	if master != "" {
		masters = oneMaster(st, master)
	}
	var rows []row
	for m := range masters {
		all := slices.Clone(m.History)
		if m.Failover != nil {
			all = append(all, m.Failover)
		}
		for _, f := range all {
			if operation == "" || f.OperationID == operation {
				rows = append(rows, row{m.Name, f})
			}
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(b.f.Epoch, a.f.Epoch) })
	return rows
}

// oneMaster is the master of that name, or none.
func oneMaster(st *raftfsm.State, name string) iter.Seq[*raftfsm.Master] {
	return func(yield func(*raftfsm.Master) bool) {
		if m, ok := st.Master(name); ok {
			yield(m)
		}
	}
}

// CheckQuorum counts the voters that are heard. Asked LOCAL of a node that does not lead, it tells what that node can know:
// a majority while it hears the leader, itself alone otherwise.
func (s *Server) CheckQuorum(ctx context.Context, req *sentinelv1.CheckQuorumRequest) (*sentinelv1.CheckQuorumResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	m, ok := st.Master(req.GetName())
	if !ok {
		return nil, noMaster(req.GetName())
	}
	check := failover.CheckQuorum(s.usable(st), st.Voters(), m.Options.Quorum)
	return &sentinelv1.CheckQuorumResponse{
		ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age, Ok: check.OK(), Usable: uint32(check.Usable),
		Voters: uint32(check.Voters), Quorum: uint32(check.Quorum), QuorumReachable: check.QuorumOK,
		MajorityReachable: check.MajorityOK, Message: check.Text(),
	}, nil
}

// usable counts the voters that are known to be heard.
func (s *Server) usable(st *raftfsm.State) int {
	status := s.node.Status()
	if status.Role != RoleLeader {
		status.Heard = nil
	}
	return failover.Usable(st, status.RaftID, status.LeaderID, status.Heard)
}

// ExplainMaster tells what a failover would do now.
func (s *Server) ExplainMaster(ctx context.Context, req *sentinelv1.ExplainMasterRequest) (*sentinelv1.ExplainMasterResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	m, ok := st.Master(req.GetName())
	if !ok {
		return nil, noMaster(req.GetName())
	}
	x, err := s.failovers.Explain(ctx, st, m)
	if err != nil {
		return nil, s.readError(err)
	}
	status := s.node.Status()
	return &sentinelv1.ExplainMasterResponse{
		ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age, CanFailover: len(x.FailoverBlockers) == 0, Winner: address(x.Winner),
		Candidates: candidates(x.Candidates), Obstacles: details(x.FailoverBlockers), NodeId: status.NodeID,
		FromLeader: status.Role == RoleLeader, CanSwitchover: len(x.SwitchoverBlockers) == 0,
		FailoverBlockers: blockers(x.FailoverBlockers), SwitchoverBlockers: blockers(x.SwitchoverBlockers),
		PredictedLossKind: sentinelv1.LossKind(x.PredictedLoss.Kind), PredictedLossBytes: lossBytes(x.PredictedLoss), MasterAgeMs: x.MasterAgeMs,
		PlannedWinner: address(x.Heir), PlannedCandidates: candidates(x.Planned),
	}, nil
}

func blockers(in []Blocker) []*sentinelv1.Blocker {
	var out []*sentinelv1.Blocker
	for _, b := range in {
		out = append(out, &sentinelv1.Blocker{Code: b.Code, Detail: b.Detail})
	}
	return out
}

func details(in []Blocker) []string {
	var out []string
	for _, b := range in {
		out = append(out, b.Detail)
	}
	return out
}
