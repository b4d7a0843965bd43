package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) switchoverCmd() *cobra.Command {
	var to string
	var dry bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "switchover NAME",
		Short: "Make a replica the master without losing a write, or change nothing",
		Long: `Make a replica the master without losing a write: writes stop for some milliseconds, until the replica has every byte.
What cannot be done so within --max-wait is rolled back. It tells each step as it is made, and ends when every replica that
is up follows.

Exit status: 0 done, or the replica is the master already; 4 refused or rolled back, nothing changed; 3 no leader;
6 outcome unknown, ask by sentinelctl operation; 130 interrupted, the switchover goes on.`,
		Args:              args(1, 1),
		Annotations:       orders,
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &sentinelv1.SwitchoverMasterRequest{
				Name: args[0], RequestId: newOperation(), MaxWaitMs: wait.Milliseconds(), ValidateOnly: dry,
			}
			if q.GetMaxWaitMs() <= 0 {
				return usagef("--max-wait %v: want 100ms to 1m", wait)
			}
			if to != "" {
				var err error
				if q.To, err = parseAddress(to); err != nil {
					return err
				}
			}
			return a.switchover(cmd.Context(), q)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "promote the replica at `HOST:PORT` instead of the best one")
	cmd.Flags().DurationVar(&wait, "max-wait", 5*time.Second, "roll back what is not done within `DURATION`, 100ms to 1m")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only tell what would be done")
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeReplica)
	return cmd
}

func (a *app) switchover(ctx context.Context, q *sentinelv1.SwitchoverMasterRequest) error {
	answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.SwitchoverMasterResponse, error) {
		return c.Switchover(ctx, q)
	})
	if err != nil {
		return a.ordered(ctx, err, q.GetRequestId())
	}
	row := answer.GetFailover()
	if row == nil || q.GetValidateOnly() {
		return a.printChange(answer,
			fmt.Sprintf("would make %s the master of %s in place of %s", client.HostPort(row.GetTo()), q.GetName(), client.HostPort(row.GetFrom())),
			fmt.Sprintf("%s is the master of %s already; nothing changed", client.HostPort(q.GetTo()), q.GetName()))
	}
	for _, text := range answer.GetWarnings() {
		a.say("warning: %s", printable(text))
	}
	f, err := a.awaitEnd(ctx, row, time.Duration(q.GetMaxWaitMs())*time.Millisecond+lateBy)
	if err != nil {
		return a.ordered(ctx, err, answer.GetOperationId())
	}
	answer.Failover = f
	if err := a.print(answer, func() *table { return failoverTable(f) }); err != nil {
		return err
	}
	return howItEnded(f)
}
