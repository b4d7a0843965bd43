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
	order, err := s.orderOf(ctx, raftfsm.KindForced, req)
	if err != nil {
		return nil, err
	}
	return s.place(ctx, order, terms{
		expected: req.GetExpectedRevision(), validate: req.GetValidateOnly(),
		may: func(m *raftfsm.Master) error {
			// That this node alone gets no answer is no reason to lose what the others' clients still write.
			if req.GetForce() || m.IsODown() {
				return nil
			}
			return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_HEALTHY,
				"master %s at %s is not objectively down: a failover may lose data; force it if that is meant", m.Name, m.Address)
		},
	})
}

// ordering is what requests for failovers of every kind have.
type ordering interface {
	GetName() string
	GetTo() *sentinelv1.Address
	GetRequestId() string
}

// orderOf is the order that a request gives.
func (s *Server) orderOf(ctx context.Context, kind raftfsm.FailoverKind, req ordering) (Order, error) {
	order := Order{Master: req.GetName(), Kind: kind, OperationID: req.GetRequestId(), Actor: s.actor(ctx)}
	if err := checkWords("request_id", order.OperationID, 128); err != nil {
		return order, err
	}
	if req.GetTo() == nil {
		return order, nil
	}
	var err error
	order.To, err = parseAddress("to", req.GetTo())
	return order, err
}

// terms are what an order must meet before it is carried out.
type terms struct {
	// expected is the master's revision that the caller saw; 0 = any.
	expected uint64
	validate bool
	// may refuses what its kind of failover is not for.
	may func(m *raftfsm.Master) error
}

// place carries an order out until its row is committed.
func (s *Server) place(ctx context.Context, order Order, t terms) (*sentinelv1.FailoverMasterResponse, error) {
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
	if err := mayMove(st, m, order.To, t.expected); err != nil {
		return nil, err
	}
	if order.To == m.Address {
		// What was ordered is so already.
		return &sentinelv1.FailoverMasterResponse{ClusterId: st.Cluster().Era, Revision: st.Index(), Epoch: m.Epoch}, nil
	}
	if err := t.may(m); err != nil {
		return nil, err
	}
	if order.OperationID == "" {
		order.OperationID = newOperation()
	}
	if t.validate {
		return s.rehearse(ctx, st, order)
	}
	return s.begin(ctx, order)
}

// newOperation makes an operation's id.
func newOperation() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
}

// mayMove holds an order of any kind against the state; the law does so again when it is committed.
func mayMove(st *raftfsm.State, m *raftfsm.Master, to raftfsm.Addr, expected uint64) error {
	if err := expect(st, m.Name, expected); err != nil {
		return err
	}
	if f := m.Failover; f != nil && !f.Switched {
		return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FAILOVER_IN_PROGRESS,
			"a failover of %s to %s is under way (operation %s, epoch %d)", m.Name, f.To, f.OperationID, f.Epoch)
	}
	if _, member := m.Instance(to); !to.IsZero() && to != m.Address && !member {
		return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA,
			"%s is no replica of %s", to, m.Name)
	}
	return nil
}

// orderWord is how the audit calls an order.
var orderWord = map[raftfsm.FailoverKind]string{raftfsm.KindForced: "failover", raftfsm.KindPlanned: "switchover"}

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
	s.record(ctx, orderWord[order.Kind], order.Master, outcome{st: st, index: res.Index, changed: res.Changed}, false)
	resp := &sentinelv1.FailoverMasterResponse{
		ClusterId: st.Cluster().Era, Revision: res.Index, Changed: res.Changed, OperationId: order.OperationID, Epoch: res.Epoch,
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
		ClusterId: st.Cluster().Era, Revision: st.Index(), OperationId: order.OperationID, Epoch: r.f.Epoch,
		Failover: s.view(st).failover(r.master, r.f),
	}, nil
}

// rehearse tells what an order would do.
func (s *Server) rehearse(ctx context.Context, st *raftfsm.State, order Order) (*sentinelv1.FailoverMasterResponse, error) {
	row, err := s.failovers.Rehearse(ctx, order)
	if err != nil {
		return nil, s.readError(err)
	}
	return &sentinelv1.FailoverMasterResponse{
		ClusterId: st.Cluster().Era, Revision: st.Index(), Changed: true, OperationId: order.OperationID,
		Failover: s.view(st).failover(order.Master, row),
	}, nil
}
