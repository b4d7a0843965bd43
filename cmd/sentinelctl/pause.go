package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) pauseCmd() *cobra.Command {
	var all bool
	var span time.Duration
	var why string
	cmd := &cobra.Command{
		Use:   "pause NAME | --all",
		Short: "Observe a master and do not act on it",
		Long: `Observe a master and do not act on it. A pause is replaced by another of its kind; one without an end is given none by --for,
because the end of a time resumes without looking at what resume looks at.`,
		Example:           "  sentinelctl pause mymaster --for 30m --reason 'kernel update'",
		Args:              args(0, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			if span < 0 || span > 0 && span < time.Millisecond {
				return usagef("--for %v: want at least 1ms", span)
			}
			names, err := a.names(cmd.Context(), all, args, usage(cmd))
			if err != nil {
				return err
			}
			for _, name := range names {
				err := a.pause(cmd.Context(), &sentinelv1.PauseMasterRequest{Name: name, Reason: why, DurationMs: span.Milliseconds()})
				if code, _ := reason(err); all && code == "MASTER_PAUSED" {
					// Paused it is, and longer than was asked for.
					a.say("skipped: %s", printable(a.words(err)))
					continue
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all masters")
	cmd.Flags().DurationVar(&span, "for", 0, "resume by itself after this long; 0 = when told to")
	cmd.Flags().StringVar(&why, "reason", "", "what others are told")
	return cmd
}

func (a *app) pause(ctx context.Context, q *sentinelv1.PauseMasterRequest) error {
	answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.PauseMasterResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).PauseMaster(ctx, q)
	})
	if err != nil {
		return err
	}
	until := "until resumed"
	if t := answer.GetMaster().GetPause().GetUntil(); t != nil {
		until = "until " + stamp(t)
	}
	return a.printChange(answer, q.GetName()+" is paused "+until, q.GetName()+" is paused already; nothing changed")
}

// names are the masters that a command is about: the one named, or all.
func (a *app) names(ctx context.Context, all bool, args []string, usage string) ([]string, error) {
	if all == (len(args) == 1) {
		return nil, usagef("usage: %s: give a name or --all", usage)
	}
	if !all {
		return args, nil
	}
	list, err := a.reading().masters(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range list.GetMasters() {
		names = append(names, m.GetName())
	}
	return names, nil
}
