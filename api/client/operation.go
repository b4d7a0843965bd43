package client

import (
	"context"
	"iter"

	"google.golang.org/grpc"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// Switchover orders a switchover at the first node that works and gives the first answer: that it is begun, or what it is
// already. The request should have an id, so that it moves nothing twice and [Client.WatchOperation] can tell the rest.
func (c *Client) Switchover(ctx context.Context, q *sentinelv1.SwitchoverMasterRequest) (*sentinelv1.SwitchoverMasterResponse, error) {
	var first *sentinelv1.SwitchoverMasterResponse
	err := c.try(ctx, func(ctx context.Context, i int) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := sentinelv1.NewAdminServiceClient(c.conns[i]).SwitchoverMaster(ctx, q)
		if err != nil {
			return err
		}
		first, err = stream.Recv()
		return err
	})
	return first, err
}

// WatchOperation follows a failover or switchover from wherever it is to its end, which is the last message. It moves from
// node to node by itself, and may tell the same twice.
func (c *Client) WatchOperation(ctx context.Context, id string) iter.Seq2[*sentinelv1.WatchOperationResponse, error] {
	all := told(follow(ctx, c, feed[sentinelv1.WatchOperationResponse]{
		open: func(ctx context.Context, cc grpc.ClientConnInterface) (grpc.ServerStreamingClient[sentinelv1.WatchOperationResponse], error) {
			return sentinelv1.NewAdminServiceClient(cc).WatchOperation(ctx, &sentinelv1.WatchOperationRequest{OperationId: id})
		},
		note:     func(*sentinelv1.WatchOperationResponse) {},
		progress: func(*sentinelv1.WatchOperationResponse) *sentinelv1.WatchProgress { return nil },
	}))
	return func(yield func(*sentinelv1.WatchOperationResponse, error) bool) {
		for m, err := range all {
			ended := m.GetFailover().GetOutcome() != sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED
			if !yield(m, err) || ended {
				return
			}
		}
	}
}
