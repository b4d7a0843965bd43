package resp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/grpc/status"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const errInProgress = failure("INPROG Failover already in progress")

// failover moves a master that is up by a switchover, which loses nothing, and forces a failover of one that is down, which
// COORDINATED never does. It answers once the row is committed.
func (s *Server) failover(ctx context.Context, c *conn, args []string) reply {
	switch {
	case len(args) > 2:
		return arity("sentinel|failover")
	case len(args) == 2 && !strings.EqualFold(args[1], "COORDINATED"):
		return failure("ERR Unknown failover option specified")
	}
	st, m, no := s.lookup(c, args[0])
	switch {
	case no != nil:
		return no
	case m.Failover != nil && !m.Failover.Switched:
		return errInProgress
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	id := requestID(st, m)
	if len(args) < 2 {
		resp, err := s.admin.FailoverMaster(ctx, &sentinelv1.FailoverMasterRequest{Name: m.Name, RequestId: id})
		if api.ReasonOf(err) != sentinelv1.ErrorReason_ERROR_REASON_MASTER_HEALTHY {
			return begun(resp, err)
		}
	}
	if m.Failover != nil {
		// The last one still brings its replicas along: as in a Sentinel it is not over, and the next node that a playbook asks
		// must not move the master back.
		return errInProgress
	}
	resp, err := s.o.Switchover(ctx, &sentinelv1.SwitchoverMasterRequest{Name: m.Name, RequestId: id})
	return begun(resp, err)
}

// begun is the answer to whoever ordered a failover. Another node, or the same client again, may have asked for it before.
func begun(resp interface {
	GetChanged() bool
	GetFailover() *sentinelv1.Failover
}, err error,
) reply {
	if err != nil {
		return failoverRefusal(err)
	}
	switch row := resp.GetFailover(); {
	case resp.GetChanged() || row.GetSwitched():
		return simple("OK")
	case row.GetEndedAt() != nil:
		return failure("NOGOODSLAVE the failover was given up: " + row.GetEndReason())
	}
	return errInProgress
}

// requestID names the next failover of a master as this state has it. The protocol has no ids of its own: whoever asks again,
// on whatever node, before that failover has shown in the state means the same one, and begins no second.
func requestID(st *raftfsm.State, m *raftfsm.Master) string {
	last := uint64(0)
	if n := len(m.History); n > 0 {
		last = m.History[n-1].Epoch
	}
	if m.Failover != nil {
		last = m.Failover.Epoch
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d", st.Cluster().Era, m.Name, m.Generation, last))
	return "sentinel-" + hex.EncodeToString(sum[:12])
}

// failoverRefusal has Sentinel's codes.
func failoverRefusal(err error) reply {
	switch api.ReasonOf(err) {
	case sentinelv1.ErrorReason_ERROR_REASON_FAILOVER_IN_PROGRESS:
		return errInProgress
	case sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA:
		return failure("NOGOODSLAVE No suitable replica to promote: " + status.Convert(err).Message())
	case sentinelv1.ErrorReason_ERROR_REASON_MASTER_DOWN, sentinelv1.ErrorReason_ERROR_REASON_MASTER_UNSETTLED,
		sentinelv1.ErrorReason_ERROR_REASON_FEATURE_LEVEL:
		return failure("NOGOODSLAVE " + status.Convert(err).Message() + "; nothing changed")
	default:
		return refusal(err)
	}
}

// reset has the masters whose names match looked at anew, and counts them. Nodes are members and are not forgotten.
func (s *Server) reset(ctx context.Context, _ *conn, args []string) reply {
	if args[0] == "" { // matches no name
		return integer(0)
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	resp, err := s.admin.ResetMasters(ctx, &sentinelv1.ResetMastersRequest{Pattern: args[0]})
	if err != nil {
		return refusal(err)
	}
	return integer(len(resp.GetNames()))
}
