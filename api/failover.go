package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"google.golang.org/grpc/codes"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// FailoverMaster begins a forced failover. The interceptor has brought it to the leader.
func (s *Server) FailoverMaster(ctx context.Context, req *sentinelv1.FailoverMasterRequest) (*sentinelv1.FailoverMasterResponse, error) {
	order := Order{Master: req.GetName(), Kind: raftfsm.KindForced, OperationID: req.GetRequestId(), Actor: s.actor(ctx)}
	if err := checkWords("request_id", order.OperationID, 128); err != nil {
		return nil, err
	}
	if req.GetTo() != nil {
		to, err := parseAddress("to", req.GetTo())
		if err != nil {
			return nil, err
		}
		order.To = to
	}
	st, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	m, ok := st.Master(order.Master)
	if !ok {
		return nil, noMaster(order.Master)
	}
	if done, err := s.begun(st, order); done != nil || err != nil {
		return done, err
	}
	if err := s.mayFailOver(st, m, order.To, req); err != nil {
		return nil, err
	}
	if order.To == m.Address {
		// What was ordered is so already.
		return &sentinelv1.FailoverMasterResponse{ClusterId: st.Cluster().ID, Revision: st.Index(), Epoch: m.Epoch}, nil
	}
	if order.OperationID == "" {
		var id [16]byte
		_, _ = rand.Read(id[:]) // it never fails
		order.OperationID = hex.EncodeToString(id[:])
	}
	if req.GetValidateOnly() {
		return s.rehearse(ctx, st, m, order)
	}
	return s.begin(ctx, order)
}

// mayFailOver holds an order against the state; the law does so again when it is committed.
func (s *Server) mayFailOver(st *raftfsm.State, m *raftfsm.Master, to raftfsm.Addr, req *sentinelv1.FailoverMasterRequest) error {
	if err := expect(st, m.Name, req.GetExpectedRevision()); err != nil {
		return err
	}
	if f := m.Failover; f != nil && !f.Switched {
		return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FAILOVER_IN_PROGRESS,
			"a failover of %s to %s is under way (operation %s, epoch %d)", m.Name, f.To, f.OperationID, f.Epoch)
	}
	if to == m.Address {
		return nil
	}
	if _, member := m.Instance(to); !to.IsZero() && !member {
		return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA,
			"%s is no replica of %s", to, m.Name)
	}
	if !req.GetForce() && !m.IsODown() && !s.seesDown(m.Address) {
		return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_HEALTHY,
			"master %s at %s is not held down: a failover may lose data; force it if that is meant", m.Name, m.Address)
	}
	return nil
}

// seesDown is this node's own verdict.
func (s *Server) seesDown(a raftfsm.Addr) bool {
	if s.fleet == nil {
		return false
	}
	o, ok := s.fleet.Observe(a)
	return ok && o.Down && raftfsm.Counts(o.Cause)
}

// begin commits the row.
func (s *Server) begin(ctx context.Context, order Order) (*sentinelv1.FailoverMasterResponse, error) {
	res, err := s.failovers.Begin(ctx, order)
	st := s.node.State()
	if r, ok := errors.AsType[raftfsm.Refusal](err); ok && r.Code == raftfsm.InProgress {
		// A repeat of the same request may have come first.
		if done, _ := s.begun(st, order); done != nil {
			return done, nil
		}
	}
	if err != nil {
		return nil, s.changeError(err)
	}
	if err := res.Err(); err != nil {
		return nil, s.readError(err)
	}
	s.record(ctx, "failover", order.Master, outcome{st: st, index: res.Index, changed: res.Changed}, false)
	resp := &sentinelv1.FailoverMasterResponse{
		ClusterId: st.Cluster().ID, Revision: res.Index, Changed: res.Changed, OperationId: order.OperationID, Epoch: res.Epoch,
	}
	for _, r := range failoverRows(st, order.Master, order.OperationID) {
		resp.Failover = s.view(st).failover(r.master, r.f)
	}
	return resp, nil
}

// begun is the first outcome of a request that is repeated; nil for a new one.
func (s *Server) begun(st *raftfsm.State, order Order) (*sentinelv1.FailoverMasterResponse, error) {
	if order.OperationID == "" {
		return nil, nil
	}
	rows := failoverRows(st, "", order.OperationID)
	if len(rows) == 0 {
		return nil, nil
	}
	r := rows[0]
	if r.master != order.Master {
		return nil, invalid("request_id: %q names a failover of %s already", order.OperationID, r.master)
	}
	return &sentinelv1.FailoverMasterResponse{
		ClusterId: st.Cluster().ID, Revision: st.Index(), OperationId: order.OperationID, Epoch: r.f.Epoch,
		Failover: s.view(st).failover(r.master, r.f),
	}, nil
}

// rehearse tells what an order would do.
func (s *Server) rehearse(ctx context.Context, st *raftfsm.State, m *raftfsm.Master, order Order) (*sentinelv1.FailoverMasterResponse, error) {
	x, err := s.failovers.Explain(ctx, st, m)
	if err != nil {
		return nil, s.readError(err)
	}
	to := order.To
	if to.IsZero() {
		to = x.Winner
	}
	if to.IsZero() {
		return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA,
			"no replica of %s can be promoted: explain tells why", m.Name)
	}
	return &sentinelv1.FailoverMasterResponse{
		ClusterId: st.Cluster().ID, Revision: st.Index(), Changed: true, OperationId: order.OperationID,
		Failover: &sentinelv1.Failover{
			OperationId: order.OperationID, Master: m.Name, Kind: sentinelv1.FailoverKind_FAILOVER_KIND_FORCED,
			From: address(m.Address), To: address(to), Candidates: candidates(x.Candidates),
		},
	}, nil
}
