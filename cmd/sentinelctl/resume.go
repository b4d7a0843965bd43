package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) resumeCmd() *cobra.Command {
	var adopt string
	var all, enforce, force, incomplete, yes bool
	cmd := &cobra.Command{
		Use:   "resume NAME | --all",
		Short: "End a pause, or settle a held master",
		Long: `End a pause, or settle a master that is held because its instances contradict what is committed:
--adopt takes the instance named as the master, --enforce makes all instances follow the committed one.

Refused while Redis Sentinels are still active on the set, or no instance of it answers so that this is not known: --force
overrides that and nothing else. Refused too while instances reject the login, or do not know the commands of a failover under
the names that rename-command gives: --incomplete overrides that, unless every instance that answers rejects the login. What was
overridden is told, and stands in the event of the resume.`,
		Args:              args(0, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &sentinelv1.ResumeMasterRequest{Enforce: enforce, Force: force, Incomplete: incomplete}
			if adopt != "" {
				if enforce || all {
					return usagef("--adopt names the master of one set; --enforce and --all exclude it")
				}
				var err error
				if q.Adopt, err = parseAddress(adopt); err != nil {
					return err
				}
			}
			names, err := a.resting(cmd.Context(), all, args, usage(cmd))
			if err != nil {
				return err
			}
			if enforce && len(names) > 0 {
				err := a.confirm(yes, "make every instance of %s follow its committed master; what only they hold is lost", strings.Join(names, ", "))
				if err != nil {
					return err
				}
			}
			return a.resumeEach(cmd.Context(), q, names)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all masters that are paused or held")
	cmd.Flags().StringVar(&adopt, "adopt", "", "of a held master: take the instance at `HOST:PORT` as the master")
	cmd.Flags().BoolVar(&enforce, "enforce", false, "of a held master: make its instances follow the committed one")
	cmd.Flags().BoolVar(&force, "force", false, "although Sentinels are, or may be, active on it")
	cmd.Flags().BoolVar(&incomplete, "incomplete", false, "although some instances reject the login or lack commands")
	yesFlag(cmd, &yes)
	return cmd
}

// resting are the masters that are to be resumed: the one named, or all that are paused or held.
func (a *app) resting(ctx context.Context, all bool, args []string, usage string) ([]string, error) {
	if !all || len(args) > 0 {
		return a.names(ctx, all, args, usage)
	}
	present, err := a.present(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for name, m := range present {
		if m.GetPause() != nil || m.GetHold() != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		a.say("no master is paused or held; nothing changed")
	}
	return names, nil
}

// resumeEach resumes what can be: what stands in the way of one set is no reason to leave another.
func (a *app) resumeEach(ctx context.Context, q *sentinelv1.ResumeMasterRequest, names []string) error {
	var failed []string
	var last error
	for _, name := range names {
		q.Name = name
		answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.ResumeMasterResponse, error) {
			return sentinelv1.NewAdminServiceClient(c).ResumeMaster(ctx, q)
		})
		if err != nil && len(names) == 1 {
			return err
		}
		if err != nil {
			a.say("%s: %s", printable(name), a.words(err))
			failed, last = append(failed, name), err
			continue
		}
		err = a.printChange(answer, fmt.Sprintf("%s is resumed, master %s", name, client.HostPort(answer.GetMaster().GetAddress())),
			name+" is not paused; nothing changed")
		if err != nil {
			return err
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) == len(names):
		return &exitError{exitStatus(last, true, false), fmt.Errorf("none was resumed")}
	}
	return failedf("not resumed: %s; the others are", strings.Join(failed, ", "))
}
