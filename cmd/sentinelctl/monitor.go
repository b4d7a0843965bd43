package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) monitorCmd() *cobra.Command {
	var pairs []string
	var force bool
	cmd := &cobra.Command{
		Use:         "monitor NAME HOST PORT QUORUM",
		Short:       "Put a master under watch, on every node",
		Example:     "  sentinelctl monitor mymaster 10.0.0.5 6379 2 --set down-after-milliseconds=5000 --set auth-pass=@pass",
		Args:        args(4, 4),
		Annotations: changes,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &sentinelv1.MonitorMasterRequest{Name: args[0], Options: &sentinelv1.MasterOptions{}, Force: force}
			var err error
			if q.Address, err = newAddress(args[1], args[2]); err != nil {
				return err
			}
			if _, err := a.setOptions(q.GetOptions(), append([]string{"quorum=" + args[3]}, pairs...)); err != nil {
				return err
			}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.MonitorMasterResponse, error) {
				return sentinelv1.NewAdminServiceClient(c).MonitorMaster(ctx, q)
			})
			if err != nil {
				return err
			}
			m := answer.GetMaster()
			return a.printChange(answer, fmt.Sprintf("monitoring %s at %s", m.GetName(), client.HostPort(m.GetAddress())),
				fmt.Sprintf("%s is monitored already, at %s; nothing changed", m.GetName(), client.HostPort(m.GetAddress())))
		},
	}
	cmd.Flags().StringArrayVar(&pairs, "set", nil, "set `OPTION=VALUE`; OPTION=@FILE or OPTION=- reads the value")
	cmd.Flags().BoolVar(&force, "force", false, "go on although the instance is a replica, rejects the password, or is loopback with remote replicas")
	_ = cmd.RegisterFlagCompletionFunc("set", completeOption)
	return cmd
}

func (a *app) setCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "set NAME OPTION=VALUE ...",
		Short: "Set options of a master, all or none",
		Long: "Set options of a master, all or none. OPTION=@FILE and OPTION=- read the value from a file and from stdin.\n\n" +
			"A user, password or tls is tried on every instance first. It is refused where an instance rejects it (--force overrides), and\n" +
			"where it shows that Sentinels are active on a set that is not paused: pause it first.\n\nOptions: " +
			strings.Join(optionNames(), ", "),
		Example:     "  sentinelctl set mymaster down-after-milliseconds=5000 quorum=2\n  sentinelctl set mymaster auth-pass=- <pass",
		Args:        args(2, -1),
		Annotations: changes,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return completeOption(cmd, args, word)
			}
			return a.completeMaster(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &sentinelv1.UpdateMasterRequest{Name: args[0], Options: &sentinelv1.MasterOptions{}, Force: force}
			if err := a.presentRenames(cmd.Context(), q, args[1:]); err != nil {
				return err
			}
			paths, err := a.setOptions(q.GetOptions(), args[1:])
			if err != nil {
				return err
			}
			q.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.UpdateMasterResponse, error) {
				return sentinelv1.NewAdminServiceClient(c).UpdateMaster(ctx, q)
			})
			if err != nil {
				return err
			}
			return a.printChange(answer, "options of "+args[0]+" set", args[0]+" has these options already; nothing changed")
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "set a password although instances reject it")
	return cmd
}

// presentRenames starts from the renamed commands that a set has, because an update replaces them all. The revision keeps
// an update that comes between from being lost.
func (a *app) presentRenames(ctx context.Context, q *sentinelv1.UpdateMasterRequest, pairs []string) error {
	if !slices.ContainsFunc(pairs, func(p string) bool { return strings.HasPrefix(strings.ToLower(p), "rename-command=") }) {
		return nil
	}
	r := &reading{a: a, consistency: sentinelv1.Consistency_CONSISTENCY_LINEARIZABLE}
	answer, err := r.master(ctx, q.GetName())
	if err != nil {
		return err
	}
	if r.local() {
		return &exitError{exitUnreachable, status.Error(codes.Unavailable, "no leader is known; nothing changed")}
	}
	q.Options.RenameCommand = answer.GetMaster().GetOptions().GetRenameCommand()
	q.ExpectedRevision = answer.GetMaster().GetRevision()
	return nil
}

func (a *app) removeCmd() *cobra.Command {
	var ifExists, yes bool
	cmd := &cobra.Command{
		Use:               "remove NAME",
		Short:             "End the watch over a master",
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.confirm(yes, "end the watch over %s on every node: it will not be failed over any more", args[0]); err != nil {
				return err
			}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.RemoveMasterResponse, error) {
				return sentinelv1.NewAdminServiceClient(c).RemoveMaster(ctx,
					&sentinelv1.RemoveMasterRequest{Name: args[0], AllowMissing: ifExists})
			})
			if err != nil {
				return err
			}
			return a.printChange(answer, args[0]+" is watched no more", args[0]+" is not watched; nothing changed")
		},
	}
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "succeed where there is no such master")
	yesFlag(cmd, &yes)
	return cmd
}

func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do not ask")
}

func (a *app) resetCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "reset PATTERN",
		Short:             "Forget what was learned about the masters whose names match, and look again",
		Example:           "  sentinelctl reset 'cache-*'",
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.ResetMastersResponse, error) {
				return sentinelv1.NewAdminServiceClient(c).ResetMasters(ctx, &sentinelv1.ResetMastersRequest{Pattern: args[0]})
			})
			if err != nil {
				return err
			}
			return a.printChange(answer, fmt.Sprintf("reset %d: %s", len(answer.GetNames()), strings.Join(answer.GetNames(), ", ")),
				fmt.Sprintf("no name matches %q; nothing changed", args[0]))
		},
	}
}

func (a *app) forgetCmd() *cobra.Command {
	return &cobra.Command{
		Use:         "forget HOST:PORT",
		Short:       "Drop a replica from its set; it comes back if the master still lists it",
		Args:        args(1, 1),
		Annotations: changes,

		ValidArgsFunction: a.completeForget,
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := parseAddress(args[0])
			if err != nil {
				return err
			}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.ForgetReplicaResponse, error) {
				return sentinelv1.NewAdminServiceClient(c).ForgetReplica(ctx, &sentinelv1.ForgetReplicaRequest{Address: addr})
			})
			if err != nil {
				return err
			}
			return a.printChange(answer, args[0]+" forgotten", args[0]+" is not known; nothing changed")
		},
	}
}
