package client

import (
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// rowOf is what a watch of an operation sends.
func rowOf(steps int, outcome sentinelv1.FailoverOutcome) *sentinelv1.WatchOperationResponse {
	return &sentinelv1.WatchOperationResponse{Failover: &sentinelv1.Failover{Steps: make([]*sentinelv1.Step, steps), Outcome: outcome}}
}

// TestWatchOperation goes on at another node when one leaves, falls silent or ends the stream, and ends with the operation.
func TestWatchOperation(t *testing.T) {
	const open = sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED
	for name, first := range map[string]*node{
		"leaves": {rows: []*sentinelv1.WatchOperationResponse{rowOf(1, open)}, fail: cannot(t, "stopping")},
		"silent": {rows: []*sentinelv1.WatchOperationResponse{rowOf(1, open)}},
		"frozen": {rows: []*sentinelv1.WatchOperationResponse{rowOf(1, open)}, frozen: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				second := &node{rows: []*sentinelv1.WatchOperationResponse{
					rowOf(2, open), rowOf(3, sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED), rowOf(9, open),
				}}
				c := world{"a:26479": first, "b:26479": second}.dial(t, "a", "b")
				var steps []int
				for r, err := range c.WatchOperation(t.Context(), "op") {
					if err != nil {
						t.Fatal(err)
					}
					steps = append(steps, len(r.GetFailover().GetSteps()))
				}
				want := []int{1, 2, 3}
				if first.frozen {
					want = want[1:]
				}
				if !slices.Equal(steps, want) {
					t.Errorf("steps %v", steps)
				}
			})
		})
	}
}

// TestWatchOfAnUnknownOperation: that there is none is an answer.
func TestWatchOfAnUnknownOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := &node{}
		c := world{"a:26479": {fail: status.Error(codes.NotFound, "no operation")}, "b:26479": second}.dial(t, "a", "b")
		for _, err := range c.WatchOperation(t.Context(), "op") {
			if status.Code(err) != codes.NotFound || len(second.asked) != 0 {
				t.Errorf("%v, second asked %d times", err, len(second.asked))
			}
		}
	})
}

// TestSwitchover: a node that hears no leader is passed over; a refusal is an answer; the first answer is all that is waited for.
func TestSwitchover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &sentinelv1.SwitchoverMasterRequest{Name: "m", RequestId: "op"}
		c := world{"a:26479": {noLeader: cannot(t, "no leader")}, "b:26479": {}}.dial(t, "a", "b")
		first, err := c.Switchover(t.Context(), q)
		if err != nil || first.GetOperationId() != "op" {
			t.Errorf("%v, %v", first, err)
		}
		second := &node{}
		c = world{"a:26479": {fail: status.Error(codes.FailedPrecondition, "down")}, "b:26479": second}.dial(t, "a", "b")
		if _, err = c.Switchover(t.Context(), q); status.Code(err) != codes.FailedPrecondition || len(second.asked) != 0 {
			t.Errorf("%v, second asked %d times", err, len(second.asked))
		}
	})
}
