package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) nodesCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "List the nodes of the cluster",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := a.reading()
			answer, err := r.nodes(cmd.Context())
			if err != nil {
				return err
			}
			return r.print(answer, func() *table { return nodesTable(answer.GetNodes()) })
		},
	}
}

func (r *reading) nodes(ctx context.Context) (*sentinelv1.ListNodesResponse, error) {
	return ask(ctx, r, func(ctx context.Context, c *client.Client, how sentinelv1.Consistency) (*sentinelv1.ListNodesResponse, error) {
		return sentinelv1.NewClusterServiceClient(c).ListNodes(ctx, &sentinelv1.ListNodesRequest{Consistency: how})
	})
}

func nodesTable(nodes []*sentinelv1.Node) *table {
	t := newTable("NODE", "ROLE", "HEARD", "GRPC", "SENTINEL", "RAFT", "VERSION", "HOLDS DOWN", "RAFT ID")
	for _, n := range nodes {
		role := "observer"
		switch {
		case n.GetLeader():
			role = "leader"
		case n.GetVoter():
			role = "voter"
		}
		heard := "?"
		if n.Heard != nil {
			heard = yesNo(n.GetHeard())
		}
		t.add(n.GetNodeId(), role, heard, client.HostPort(n.GetGrpc()), client.HostPort(n.GetResp()), client.HostPort(n.GetRaft()),
			n.GetVersion(), n.GetVotes(), n.GetRaftId())
	}
	return t
}

func (a *app) nodeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Change who the nodes are and which one leads",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(a.nodeRemoveCmd(), a.transferCmd())
	return cmd
}

func (a *app) nodeRemoveCmd() *cobra.Command {
	var ifExists, yes bool
	cmd := &cobra.Command{
		Use:               "remove NODE",
		Short:             "Take a node out of the cluster",
		Long:              "Take a node out of the cluster. It does not join again before its dir is emptied.",
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.confirm(yes, "take node %s out of the cluster; it joins again only with an emptied dir", args[0]); err != nil {
				return err
			}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.RemoveNodeResponse, error) {
				return sentinelv1.NewClusterServiceClient(c).RemoveNode(ctx, &sentinelv1.RemoveNodeRequest{Node: args[0], AllowMissing: ifExists})
			})
			if err != nil {
				return err
			}
			return a.printChange(answer, "node "+args[0]+" is removed", "there is no node "+args[0]+"; nothing changed")
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "succeed where there is no such node")
	yesFlag(cmd, &yes)
	return cmd
}

func (a *app) transferCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "transfer-leadership [NODE]",
		Short:             "Hand leadership to a voter: the one named, or any other",
		Args:              args(0, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &sentinelv1.TransferLeadershipRequest{}
			if len(args) == 1 {
				q.Node = args[0]
			}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.TransferLeadershipResponse, error) {
				return sentinelv1.NewClusterServiceClient(c).TransferLeadership(ctx, q)
			})
			if err != nil {
				return err
			}
			// The new leader may not be known yet.
			done := "leadership has been handed over"
			if leader := answer.GetLeaderNodeId(); leader != "" {
				done = leader + " leads"
			}
			return a.printChange(answer, done, answer.GetLeaderNodeId()+" leads already; nothing changed")
		},
	}
}
