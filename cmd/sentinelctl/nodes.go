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
	t := newTable("NODE", "ROLE", "HEARD", "CONTACT", "TERM", "INDEX", "LAG", "UPTIME", "PROBES", "HOLDS DOWN", "VERSION", "GRPC", "SENTINEL",
		"RAFT", "RAFT ID")
	for _, n := range nodes {
		heard := "?"
		if n.Heard != nil {
			heard = yesNo(n.GetHeard())
		}
		contact := "?"
		if n.LastContactMs != nil {
			contact = age(ms(n.GetLastContactMs()))
		}
		row := []any{n.GetNodeId(), memberWord(n), heard, contact}
		if n.Role == nil { // it did not answer
			row = append(row, "?", "?", "?", "?", "?")
		} else {
			row = append(row, n.GetTerm(), n.GetAppliedIndex(), n.GetLagEntries(), age(ms(n.GetUptimeMs())), n.GetInstancesProbed())
		}
		t.add(append(row, n.GetVotes(), n.GetVersion(), client.HostPort(n.GetGrpc()), client.HostPort(n.GetResp()),
			client.HostPort(n.GetRaft()), n.GetRaftId())...)
	}
	return t
}

// memberWord is a member's part, and whether it is drained.
func memberWord(n *sentinelv1.Node) string {
	word := "non-voter"
	switch {
	case n.GetLeader():
		word = "leader"
	case n.GetVoter():
		word = "voter"
	case n.Role != nil:
		word = roleWord(n.GetRole()) // joining, or an observer
	}
	if n.GetDrain() != nil {
		word += ", drained"
	}
	return word
}

func (a *app) nodeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Change who the nodes are and which one leads",
		Args:  cobra.ArbitraryArgs,
		RunE:  group,
	}
	cmd.AddCommand(a.nodeRemoveCmd(), a.nodeDrainCmd(), a.nodeUndrainCmd(), a.transferCmd())
	return cmd
}

func (a *app) nodeRemoveCmd() *cobra.Command {
	var ifExists, force, yes bool
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the cluster",
		Long: `Take a node out of the cluster. It does not join again before its dir is emptied. Refused where the voters that are left
would be no majority that is heard; and, unless --force, where they would be fewer than the quorum of some master.`,
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.confirm(yes, "take node %s out of the cluster; it joins again only with an emptied dir", args[0]); err != nil {
				return err
			}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.RemoveNodeResponse, error) {
				return sentinelv1.NewClusterServiceClient(c).RemoveNode(ctx, &sentinelv1.RemoveNodeRequest{Node: args[0], AllowMissing: ifExists, Force: force})
			})
			if err != nil {
				return err
			}
			return a.printChange(answer, "node "+args[0]+" is removed", "there is no node "+args[0]+"; nothing changed")
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "succeed where there is no such node")
	cmd.Flags().BoolVar(&force, "force", false, "although the quorum of some master can then never be reached")
	yesFlag(cmd, &yes)
	return cmd
}

func (a *app) nodeDrainCmd() *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Have a node give up leadership and not lead until it is undrained",
		Long: `Have a node give up leadership and not lead until it is undrained, over restarts too. It goes on voting, probing and
answering. Refused where no other voter is heard that may lead.`,
		Example:           "  sentinelctl node drain n1 --reason 'slow disk'",
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.DrainNodeResponse, error) {
				return sentinelv1.NewClusterServiceClient(c).DrainNode(ctx, &sentinelv1.DrainNodeRequest{Node: args[0], Reason: why})
			})
			if err != nil {
				return err
			}
			done := "node " + args[0] + " is drained"
			switch leader := answer.GetLeaderNodeId(); leader {
			case "":
			case args[0]:
				done += "; it leads until another voter takes over"
			default:
				done += "; " + leader + " leads"
			}
			return a.printChange(answer, done, "node "+args[0]+" is drained already; nothing changed")
		},
	}
	cmd.Flags().StringVar(&why, "reason", "", "what others are told")
	return cmd
}

func (a *app) nodeUndrainCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "undrain NODE",
		Short:             "Let a drained node lead again",
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeDrained,
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.UndrainNodeResponse, error) {
				return sentinelv1.NewClusterServiceClient(c).UndrainNode(ctx, &sentinelv1.UndrainNodeRequest{Node: args[0]})
			})
			if err != nil {
				return err
			}
			return a.printChange(answer, "node "+args[0]+" may lead again", "node "+args[0]+" is not drained; nothing changed")
		},
	}
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
