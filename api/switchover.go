package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// How long a switchover may take until its candidate is promoted.
const (
	shortestWait = 100 * time.Millisecond
	usualWait    = 5 * time.Second
	longestWait  = time.Minute
)

// SwitchoverMaster begins a switchover and tells how it goes on, from what this node has applied: the leader may be lost in
// between, and the story goes on with the next.
func (s *Server) SwitchoverMaster(req *sentinelv1.SwitchoverMasterRequest, stream grpc.ServerStreamingServer[sentinelv1.SwitchoverMasterResponse]) error {
	ctx := stream.Context()
	first, err := s.Switchover(ctx, req)
	if err != nil {
		return err
	}
	if err := stream.Send(first); err != nil {
		return err
	}
	row := first.GetFailover()
	// The node that passed the call on follows the row by itself.
	if row == nil || req.GetValidateOnly() || forwarded(ctx) || hasEnded(row) {
		return nil
	}
	return s.followOperation(ctx, &operationWatch{
		master: req.GetName(), operation: first.GetOperationId(), least: first.GetRevision(), last: row,
		send: func(cluster string, revision uint64, f *sentinelv1.Failover) error {
			return stream.Send(&sentinelv1.SwitchoverMasterResponse{
				ClusterId: cluster, Revision: revision, Changed: first.GetChanged(), OperationId: first.GetOperationId(),
				Epoch: first.GetEpoch(), Failover: f,
			})
		},
	})
}

// Switchover begins a switchover, here or at the leader, and answers once its row is committed: the first answer of
// [Server.SwitchoverMaster], for whoever does not wait for more.
func (s *Server) Switchover(ctx context.Context, req *sentinelv1.SwitchoverMasterRequest) (*sentinelv1.SwitchoverMasterResponse, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if s.node.Status().Role != RoleLeader {
		return s.switchoverAtLeader(ctx, req)
	}
	order, err := s.orderOf(ctx, raftfsm.KindPlanned, req)
	if err != nil {
		return nil, err
	}
	if order.MaxWait, err = maxWait(req.GetMaxWaitMs()); err != nil {
		return nil, err
	}
	var warnings []string
	placed, err := s.place(ctx, order, terms{
		expected: req.GetExpectedRevision(), validate: req.GetValidateOnly(),
		may: func(m *raftfsm.Master) error {
			warnings = s.limits(m)
			return s.maySwitchOver(m)
		},
	})
	if err != nil {
		return nil, err
	}
	return &sentinelv1.SwitchoverMasterResponse{
		ClusterId: placed.GetClusterId(), Revision: placed.GetRevision(), Changed: placed.GetChanged(),
		OperationId: placed.GetOperationId(), Epoch: placed.GetEpoch(), Failover: placed.GetFailover(), Warnings: warnings,
	}, nil
}

// switchoverAtLeader takes the leader's first answer. That is all that the leader tells a node.
func (s *Server) switchoverAtLeader(ctx context.Context, req *sentinelv1.SwitchoverMasterRequest) (*sentinelv1.SwitchoverMasterResponse, error) {
	conn, out, err := s.toLeader(ctx, true)
	if err != nil {
		return nil, err
	}
	stream, err := sentinelv1.NewAdminServiceClient(conn).SwitchoverMaster(out, req)
	if err != nil {
		return nil, s.forwardError(err, true)
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, s.forwardError(err, true)
	}
	return first, nil
}

// maxWait reads how long a switchover may take.
func maxWait(ms int64) (time.Duration, error) {
	switch {
	case ms == 0:
		return usualWait, nil
	case ms < shortestWait.Milliseconds() || ms > longestWait.Milliseconds():
		return 0, invalid("max_wait_ms: %d is not allowed; want %d to %d, or 0 for %d", ms, shortestWait.Milliseconds(),
			longestWait.Milliseconds(), usualWait.Milliseconds())
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// maySwitchOver refuses what cannot be done without loss. A paused set may be switched over: a person ordered it.
func (s *Server) maySwitchOver(m *raftfsm.Master) error {
	if m.Hold != nil {
		return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_UNSETTLED,
			"master %s is held (%s): settle it by resume first", m.Name, m.Hold.Reason)
	}
	down := ""
	if m.IsODown() {
		down = "is objectively down"
	} else if s.fleet != nil {
		o, _ := s.fleet.Observe(m.Address)
		switch {
		case o.AuthRejected:
			down = "rejects our password or rights"
		case o.Down:
			down = "does not answer (" + raftfsm.CauseWord(o.Cause) + ")"
		}
	}
	if down == "" {
		return nil
	}
	return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_DOWN,
		"master %s at %s %s: without it nothing can be switched over without loss", m.Name, m.Address, down)
}

// limits are what the master of a set is too old for.
func (s *Server) limits(m *raftfsm.Master) []string {
	if s.fleet == nil {
		return nil
	}
	o, ok := s.fleet.Observe(m.Address)
	if !ok || o.Info == nil || o.Info.Version == "" || pausesWrites(o.Info.Version) {
		return nil
	}
	return []string{fmt.Sprintf("master %s at %s runs version %s, which cannot stop writes and go on answering (6.2 and later can): "+
		"the switchover does what that version allows, and its steps tell what that was", m.Name, m.Address, o.Info.Version)}
}

// pausesWrites tells whether a server of a version knows CLIENT PAUSE for writes alone.
func pausesWrites(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err1 := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	return err1 != nil || err2 != nil || a > 6 || a == 6 && b >= 2
}

// WatchOperation tells how a failover goes on, from what this node has applied.
func (s *Server) WatchOperation(req *sentinelv1.WatchOperationRequest, stream grpc.ServerStreamingServer[sentinelv1.WatchOperationResponse]) error {
	id := req.GetOperationId()
	if id == "" {
		return invalid("operation_id: is missing")
	}
	if err := checkWords("operation_id", id, 128); err != nil {
		return err
	}
	st, r, err := s.findOperation(stream.Context(), id)
	if err != nil {
		return err
	}
	return s.followOperation(stream.Context(), &operationWatch{
		master: r.master, operation: id, least: st.Index(),
		send: func(cluster string, revision uint64, f *sentinelv1.Failover) error {
			return stream.Send(&sentinelv1.WatchOperationResponse{ClusterId: cluster, Revision: revision, Failover: f})
		},
	})
}

// findOperation looks at what this node has applied, and only where that has no such operation at all that was committed.
func (s *Server) findOperation(ctx context.Context, id string) (*raftfsm.State, row, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	for _, how := range []sentinelv1.Consistency{
		sentinelv1.Consistency_CONSISTENCY_LOCAL, sentinelv1.Consistency_CONSISTENCY_LINEARIZABLE,
	} {
		st, _, err := s.read(ctx, how)
		if err != nil {
			return nil, row{}, err
		}
		if rows := failoverRows(st, "", id); len(rows) > 0 {
			return st, rows[0], nil
		}
	}
	return nil, row{}, noOperation(id)
}

func noOperation(id string) error {
	return fail(codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_OPERATION_NOT_FOUND,
		"no failover or switchover has the id %s, or its story is no longer kept", echo(id))
}

// operationWatch tells one failover's row as it grows.
type operationWatch struct {
	master, operation string
	// least is the revision from which on this node's state says no less than what was told.
	least uint64
	// last is what was told; nil for nothing yet.
	last *sentinelv1.Failover
	send func(cluster string, revision uint64, f *sentinelv1.Failover) error
}

// followOperation tells a row until its end.
func (s *Server) followOperation(ctx context.Context, w *operationWatch) error {
	if err := s.follow(ctx, w); !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// errEnded ends a watch that has told the end.
var errEnded = errors.New("the operation has ended")

func (w *operationWatch) step(st *raftfsm.State, _ time.Duration) error {
	if st.Index() < w.least {
		return nil // this node is behind the one that began it
	}
	var f *sentinelv1.Failover
	if rows := failoverRows(st, w.master, w.operation); len(rows) > 0 {
		f = view{st: st}.failover(w.master, rows[0].f)
	} else if _, watched := st.Master(w.master); watched || w.last == nil {
		return noOperation(w.operation)
	} else {
		// The story went with its master.
		f = proto.CloneOf(w.last)
		f.Outcome, f.EndReason = sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_REMOVED, "master "+w.master+" was removed"
	}
	if sameProgress(f, w.last) {
		return nil
	}
	w.last = f
	if err := w.send(st.Cluster().Era, st.Index(), f); err != nil {
		return err
	}
	if hasEnded(f) {
		return errEnded
	}
	return nil
}

// beat tells the row once more, so that whoever waits can tell a slow failover from a frozen node.
func (w *operationWatch) beat(st *raftfsm.State, _ time.Duration) error {
	if w.last == nil {
		return nil
	}
	return w.send(st.Cluster().Era, max(w.least, st.Index()), w.last)
}

// sameProgress tells whether there is nothing new to tell of a failover.
func sameProgress(f, told *sentinelv1.Failover) bool {
	return told != nil && len(f.GetSteps()) == len(told.GetSteps()) && f.GetSwitched() == told.GetSwitched() &&
		f.GetOutcome() == told.GetOutcome()
}

func hasEnded(f *sentinelv1.Failover) bool {
	return f.GetOutcome() != sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED
}
