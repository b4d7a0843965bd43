package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) maintenanceCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "maintenance",
		Short: "Have one instance left alone",
		Long: `Have one instance left alone: it is no candidate, is not repointed and not reported, and clients that ask for replicas
are not sent to it. It is still probed and shown. A master is switched over first.`,
		Args: args(0, -1),
		RunE: group,
	}
	cmd.AddCommand(a.maintenanceStartCmd(), a.maintenanceEndCmd())
	return cmd
}

// aside is what begins a maintenance.
type aside struct {
	span time.Duration
	why  string
}

func (s *aside) flags(cmd *cobra.Command, ends string) {
	cmd.Flags().DurationVar(&s.span, "for", 0, "end by itself after this long; 0 = "+ends)
	cmd.Flags().StringVar(&s.why, "reason", "", "what others are told")
}

func (s *aside) check() error {
	if s.span < 0 || s.span > 0 && s.span < time.Millisecond {
		return usagef("--for %v: want at least 1ms", s.span)
	}
	return nil
}

func (a *app) maintenanceStartCmd() *cobra.Command {
	var s aside
	var force bool
	cmd := &cobra.Command{
		Use:   "start HOST:PORT",
		Short: "Begin the maintenance of an instance, or give it another reason or end",
		Long: `Begin the maintenance of an instance, or give it another reason or end. The last replica that could be promoted is
refused, unless --force.`,
		Example:           "  sentinelctl maintenance start 10.0.0.2:6379 --for 2h --reason 'new memory'",
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeForget,
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := parseAddress(args[0])
			if err != nil {
				return err
			}
			if err := s.check(); err != nil {
				return err
			}
			return a.startMaintenance(cmd.Context(), &sentinelv1.StartMaintenanceRequest{
				Instance: at, Reason: s.why, DurationMs: s.span.Milliseconds(), Force: force,
			})
		},
	}
	s.flags(cmd, "when told to")
	cmd.Flags().BoolVar(&force, "force", false, "although no other replica could be promoted then")
	return cmd
}

func (a *app) startMaintenance(ctx context.Context, q *sentinelv1.StartMaintenanceRequest) error {
	answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.StartMaintenanceResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).StartMaintenance(ctx, q)
	})
	if err != nil {
		return err
	}
	until := "until ended"
	if t := instanceAt(answer.GetMaster(), q.GetInstance()).GetMaintenance().GetUntil(); t != nil {
		until = "until " + stamp(t)
	}
	name := client.HostPort(q.GetInstance())
	return a.printChange(answer, name+" is in maintenance "+until, name+" is in maintenance already; nothing changed")
}

func (a *app) maintenanceEndCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "end HOST:PORT",
		Short:             "End the maintenance of an instance",
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeMaintained,
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := parseAddress(args[0])
			if err != nil {
				return err
			}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.EndMaintenanceResponse, error) {
				return sentinelv1.NewAdminServiceClient(c).EndMaintenance(ctx, &sentinelv1.EndMaintenanceRequest{Instance: at})
			})
			if err != nil {
				return err
			}
			name := client.HostPort(at)
			return a.printChange(answer, "the maintenance of "+name+" has ended", name+" is not in maintenance; nothing changed")
		},
	}
}

// completeMaintained tells the instances in maintenance.
func (a *app) completeMaintained(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, func(ctx context.Context, r *reading) ([]string, error) {
		all, err := r.masters(ctx)
		var names []string
		for _, m := range all.GetMasters() {
			for _, in := range m.GetInstances() {
				if in.GetMaintenance() != nil {
					names = append(names, client.HostPort(in.GetAddress()))
				}
			}
		}
		return names, err
	})
}

// maintenanceWord tells who has an instance left alone, why and until when.
func maintenanceWord(p *sentinelv1.Pause) string {
	if p == nil {
		return ""
	}
	text := "by " + p.GetActor()
	if p.GetUntil() != nil {
		text += " until " + stamp(p.GetUntil())
	}
	if p.GetReason() != "" {
		text += ": " + p.GetReason()
	}
	return text
}

// maintenanceNotes tell which instances of a set are left alone.
func maintenanceNotes(m *sentinelv1.Master) []string {
	var notes []string
	for _, in := range m.GetInstances() {
		if p := in.GetMaintenance(); p != nil {
			notes = append(notes, client.HostPort(in.GetAddress())+" in maintenance "+maintenanceWord(p))
		}
	}
	return notes
}
