package api

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// judgedAnew is how often a maintenance is begun anew whose set has changed since it was judged.
const judgedAnew = 5

// StartMaintenance has one instance left alone. What is so already, for the same reason and until the same time, is no
// change, whoever asked for it.
func (s *Server) StartMaintenance(ctx context.Context, req *sentinelv1.StartMaintenanceRequest) (*sentinelv1.StartMaintenanceResponse, error) {
	until, err := maintenanceEnd(req.GetReason(), req.GetDurationMs())
	if err != nil {
		return nil, err
	}
	for tries := 1; ; tries++ {
		resp, err := s.startMaintenance(ctx, req, until, same(req.GetReason(), until))
		if tries == judgedAnew || ReasonOf(err) != sentinelv1.ErrorReason_ERROR_REASON_REVISION_MISMATCH {
			return resp, err
		}
	}
}

// startMaintenance judges whether the set can spare the instance, and has the law refuse it where the set has changed since:
// another may have been taken meanwhile, and this one be the last. stands tells which maintenance stays as it is.
func (s *Server) startMaintenance(
	ctx context.Context, req *sentinelv1.StartMaintenanceRequest, until int64, stands func(*raftfsm.Pause) bool,
) (*sentinelv1.StartMaintenanceResponse, error) {
	base, m, in, err := s.instance(ctx, req.GetInstance())
	if err != nil {
		return nil, err
	}
	if in.Addr == m.Address {
		return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA,
			"%s is the master of %s, which nobody would watch then: switch it over first (sentinelctl switchover %s); nothing was changed",
			in.Addr, m.Name, m.Name)
	}
	if in.Maintenance != nil && stands(in.Maintenance) {
		return &sentinelv1.StartMaintenanceResponse{ClusterId: base.Cluster().Era, Revision: base.Index(), Master: s.view(base).master(m)}, nil
	}
	order := &raftlogv1.Maintain{Instance: in.Addr.Proto(), Reason: req.GetReason(), UntilMs: until}
	if !req.GetForce() {
		order.ExpectedRevision = m.Revision
	}
	out, err := s.carryOut(ctx, base, change{
		command: &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: order}},
		name:    m.Name, validate: req.GetValidateOnly(),
		preflight: func(ctx context.Context, _ *raftfsm.State) error {
			if req.GetForce() || in.Maintenance != nil {
				return nil
			}
			return s.leavesAnother(ctx, m, in.Addr)
		},
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "maintenance of "+in.Addr.String(), m.Name, out, req.GetValidateOnly())
	return &sentinelv1.StartMaintenanceResponse{
		ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed, Master: s.masterAfter(out, m.Name),
	}, nil
}

// same tells of a maintenance whether it has the reason and the end.
func same(reason string, until int64) func(*raftfsm.Pause) bool {
	return func(p *raftfsm.Pause) bool { return p.Reason == reason && p.UntilMs == until }
}

// outlasts tells of a maintenance whether it ends no earlier than until, or never.
func outlasts(until int64) func(*raftfsm.Pause) bool {
	return func(p *raftfsm.Pause) bool { return p.UntilMs == 0 || until != 0 && p.UntilMs >= until }
}

// EndMaintenance has an instance taken care of again.
func (s *Server) EndMaintenance(ctx context.Context, req *sentinelv1.EndMaintenanceRequest) (*sentinelv1.EndMaintenanceResponse, error) {
	base, m, in, err := s.instance(ctx, req.GetInstance())
	if err != nil {
		return nil, err
	}
	out, err := s.endMaintenance(ctx, base, m, in.Addr, req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &sentinelv1.EndMaintenanceResponse{
		ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed, Master: s.masterAfter(out, m.Name),
	}, nil
}

func (s *Server) endMaintenance(ctx context.Context, base *raftfsm.State, m *raftfsm.Master, a raftfsm.Addr, validate bool) (outcome, error) {
	out, err := s.carryOut(ctx, base, change{
		command: &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{Instance: a.Proto(), End: true}}},
		name:    m.Name, validate: validate,
	})
	if err != nil {
		return out, err
	}
	s.record(ctx, "end of maintenance of "+a.String(), m.Name, out, validate)
	return out, nil
}

// maintenanceEnd checks what a maintenance is begun with, and gives its end in Unix milliseconds; 0 for none.
func maintenanceEnd(reason string, durationMs int64) (int64, error) {
	if err := checkWords("reason", reason, maxReason); err != nil {
		return 0, err
	}
	switch {
	case durationMs < 0 || durationMs > maxPause.Milliseconds():
		return 0, invalid("duration_ms: %d is not allowed; want 1 to ten years, or 0 for until ended", durationMs)
	case durationMs == 0:
		return 0, nil
	}
	return time.Now().UnixMilli() + durationMs, nil
}

// instance finds an instance by the address under which it is known, or which clients are told of it, in a fresh state.
func (s *Server) instance(ctx context.Context, a *sentinelv1.Address) (*raftfsm.State, *raftfsm.Master, raftfsm.Instance, error) {
	addr, err := parseAddress("instance", a)
	if err != nil {
		return nil, nil, raftfsm.Instance{}, err
	}
	st, err := s.fresh(ctx)
	if err != nil {
		return nil, nil, raftfsm.Instance{}, err
	}
	if m, ok := st.Owner(addr); ok {
		in, _ := m.Instance(addr)
		return st, m, in, nil
	}
	for m := range st.Masters() {
		for _, in := range m.Instances {
			if st.Told(in.Addr) == addr {
				return st, m, in, nil
			}
		}
	}
	return nil, nil, raftfsm.Instance{}, fail(codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_INSTANCE_NOT_FOUND,
		"no watched set has an instance at %s", addr)
}

// leavesAnother refuses to take the last replica that could be promoted. One that could not be is no loss.
func (s *Server) leavesAnother(ctx context.Context, m *raftfsm.Master, a raftfsm.Addr) error {
	able, err := s.promotable(ctx, m.Name)
	if err != nil {
		return err
	}
	if len(able) > 1 || !slices.Contains(able, a) {
		return nil
	}
	return lastReplica(m, a)
}

func lastReplica(m *raftfsm.Master, a raftfsm.Addr) *Error {
	return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_LAST_REPLICA,
		"%s is the last healthy replica of %s: without it nothing could be promoted; sentinelctl explain %s tells why no other", a, m.Name, m.Name)
}

// promotable are the replicas of a set that could be promoted at this moment, the best first, as the leader sees them.
func (s *Server) promotable(ctx context.Context, name string) ([]raftfsm.Addr, error) {
	x, err := sentinelv1.NewAdminServiceClient(s.Direct()).ExplainMaster(ctx, &sentinelv1.ExplainMasterRequest{Name: name})
	if err != nil {
		return nil, err
	}
	var out []raftfsm.Addr
	for _, c := range x.GetCandidates() {
		if c.GetRejection() == "" || c.GetRejection() == failover.RejectOutranked {
			out = append(out, raftfsm.Addr{Host: c.GetAddress().GetHost(), Port: uint16(c.GetAddress().GetPort())})
		}
	}
	return out, nil
}
