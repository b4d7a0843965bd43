package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// completeWithin is how long somebody who pressed the tab key is kept waiting for names from the cluster.
const completeWithin = time.Second

func (a *app) completionCmd() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "Print the completion script of a shell",
		Example:   "  source <(sentinelctl completion bash)\n  sentinelctl completion fish >~/.config/fish/completions/sentinelctl.fish",
		Args:      args(1, 1),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.stdout)
			case "fish":
				return cmd.Root().GenFishCompletion(a.stdout, true)
			}
			return usagef("shell %q: want bash, zsh or fish", args[0])
		},
	}
}

// names that the cluster knows; none when it does not answer soon, because a completion has nowhere to complain.
func (a *app) complete(cmd *cobra.Command, list func(context.Context, *reading) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	if a.set.resolve(cmd) != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	a.set.timeout, a.set.local = completeWithin, true
	names, err := list(cmd.Context(), a.reading())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completeMaster(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, func(ctx context.Context, r *reading) ([]string, error) {
		all, err := r.masters(ctx)
		var names []string
		for _, m := range all.GetMasters() {
			names = append(names, m.GetName())
		}
		return names, err
	})
}

// completeReplica tells the replicas of the master that is named, or of all.
func (a *app) completeReplica(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.complete(cmd, func(ctx context.Context, r *reading) ([]string, error) {
		all, err := r.masters(ctx)
		var names []string
		for _, m := range all.GetMasters() {
			for _, in := range m.GetInstances() {
				if in.GetRole() == sentinelv1.Role_ROLE_REPLICA && (len(args) == 0 || args[0] == m.GetName()) {
					names = append(names, client.HostPort(in.GetAddress()))
				}
			}
		}
		return names, err
	})
}

func (a *app) completeForget(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeReplica(cmd, nil, word)
}

func (a *app) completeNode(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeNodes(cmd, args, func(*sentinelv1.Node) bool { return true })
}

func (a *app) completeDrained(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completeNodes(cmd, args, func(n *sentinelv1.Node) bool { return n.GetDrain() != nil })
}

func (a *app) completeNodes(cmd *cobra.Command, args []string, want func(*sentinelv1.Node) bool) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, func(ctx context.Context, r *reading) ([]string, error) {
		all, err := r.nodes(ctx)
		var names []string
		for _, n := range all.GetNodes() {
			if want(n) {
				names = append(names, nodeName(n))
			}
		}
		return names, err
	})
}

// nodeName is how a node is named to the cluster; one that has not introduced itself has only its Raft id.
func nodeName(n *sentinelv1.Node) string {
	if n.GetNodeId() != "" {
		return n.GetNodeId()
	}
	return n.GetRaftId()
}

// completeOperation tells the ids of what is kept, newest first.
func (a *app) completeOperation(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ids, directive := a.complete(cmd, func(ctx context.Context, r *reading) ([]string, error) {
		all, err := r.failovers(ctx, &sentinelv1.ListFailoversRequest{}, 0)
		var ids []string
		for _, f := range all.GetFailovers() {
			ids = append(ids, f.GetOperationId()+"\t"+f.GetMaster()+" "+stampOf(f.GetBegunAt()))
		}
		return ids, err
	})
	return ids, directive | cobra.ShellCompDirectiveKeepOrder
}

// completeFile leaves the one argument to the shell.
func completeFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

func completeOption(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names := optionNames()
	for i := range names {
		names[i] += "="
	}
	return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}
