package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// drainSilence is how long a drain may tell nothing before the node that carries it out is given up.
	drainSilence = 2 * time.Minute
	// drainAttempts is how many nodes a drain is begun at, each going on where the last one stopped.
	drainAttempts = 5
)

func (a *app) hostCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "host", Short: "Work on a machine that holds instances", Args: args(0, -1), RunE: group}
	cmd.AddCommand(a.hostDrainCmd(), a.hostUndrainCmd())
	return cmd
}

func (a *app) hostDrainCmd() *cobra.Command {
	var s aside
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "drain ADDR",
		Short: "Free a host of masters, and have its instances left alone",
		Long: `Free a host of masters, and have its instances left alone: every master on ADDR, an IP address or a host name, is switched
over without loss to a replica elsewhere, then each instance there goes into maintenance. The last replica of a set that could be
promoted is left as it is, and so is what cannot be switched over; the rest is drained, and the exit status is 4.
With --dry-run nothing is changed. A drain that was broken off is begun again.`,
		Example:           "  sentinelctl host drain 10.0.0.1 --for 1h --reason 'kernel update'",
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeHost,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.check(); err != nil {
				return err
			}
			return a.drain(cmd.Context(), &sentinelv1.DrainHostRequest{
				Host: args[0], Reason: s.why, DurationMs: s.span.Milliseconds(), ValidateOnly: dryRun, RequestId: newOperation(),
			})
		},
	}
	s.flags(cmd, "until undrained")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would become of each instance and change nothing")
	return cmd
}

// drained is the JSON of a drain.
type drained struct {
	Host      string            `json:"host"`
	RequestID string            `json:"request_id"`
	DryRun    bool              `json:"dry_run"`
	Changed   bool              `json:"changed"`
	Refused   int               `json:"refused"`
	Instances []json.RawMessage `json:"instances"`
}

// drain has a host drained, by another node where the one that carries it out is lost. Each step may be repeated.
func (a *app) drain(ctx context.Context, q *sentinelv1.DrainHostRequest) error {
	var told []*sentinelv1.DrainHostResponse
	var err error
	for range drainAttempts {
		told, err = a.drainOnce(ctx, q, told)
		if status.Code(err) != codes.Unavailable || ctx.Err() != nil || len(told) == 0 && absent(err) {
			break
		}
		a.progress("the node that drains was lost; another one goes on")
	}
	slices.SortStableFunc(told, func(x, y *sentinelv1.DrainHostResponse) int { return strings.Compare(x.GetMaster(), y.GetMaster()) })
	if len(told) > 0 {
		if printed := a.printDrained(q, told); printed != nil {
			return printed
		}
	}
	if err != nil {
		if len(told) > 0 {
			a.say("not everything on %s is drained; repeat the command", printable(q.GetHost()))
		}
		return err
	}
	if n := refusals(told); n > 0 {
		return &exitError{exitRefused, fmt.Errorf("%d of %d instances on %s: refused, and left as they are", n, len(told), q.GetHost())}
	}
	return nil
}

func refusals(told []*sentinelv1.DrainHostResponse) int {
	n := 0
	for _, d := range told {
		if d.GetRefusal() != "" {
			n++
		}
	}
	return n
}

// drainOnce follows a drain at one node, and adds to what was told of it before.
func (a *app) drainOnce(ctx context.Context, q *sentinelv1.DrainHostRequest, told []*sentinelv1.DrainHostResponse) ([]*sentinelv1.DrainHostResponse, error) {
	c, err := a.client()
	if err != nil {
		return told, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(drainSilence, func() { cancel(errSilentDrain) })
	defer silent.Stop()
	stream, err := sentinelv1.NewAdminServiceClient(c).DrainHost(ctx, q)
	if err != nil {
		return told, err
	}
	for {
		d, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return told, nil
		case err != nil && errors.Is(context.Cause(ctx), errSilentDrain):
			return told, errSilentDrain
		case err != nil:
			return told, err
		}
		silent.Reset(drainSilence)
		at := slices.IndexFunc(told, func(x *sentinelv1.DrainHostResponse) bool { return proto.Equal(x.GetInstance(), d.GetInstance()) })
		if at >= 0 {
			d.Changed = d.GetChanged() || told[at].GetChanged()
			told[at] = d
			continue
		}
		told = append(told, d)
		a.progress("%s of %s: %s", client.HostPort(d.GetInstance()), d.GetMaster(), drainWord(d))
	}
}

var errSilentDrain = &exitError{exitUnknown, fmt.Errorf("the node that drains has told nothing for %v: repeat the command", drainSilence)}

// drainWord tells what became of an instance.
func drainWord(d *sentinelv1.DrainHostResponse) string {
	var words []string
	if f := d.GetSwitchover(); f.GetSwitched() || f != nil && f.GetEpoch() == 0 {
		words = append(words, "master moves to "+client.HostPort(f.GetTo()))
	}
	if d.GetInMaintenance() {
		words = append(words, "in maintenance")
	}
	if d.GetRefusal() != "" {
		words = append(words, "refused: "+d.GetRefusal())
	}
	return strings.Join(words, ", ")
}

func (a *app) printDrained(q *sentinelv1.DrainHostRequest, told []*sentinelv1.DrainHostResponse) error {
	if a.set.json() {
		out := drained{Host: q.GetHost(), RequestID: q.GetRequestId(), DryRun: q.GetValidateOnly(), Refused: refusals(told)}
		for _, d := range told {
			out.Changed = out.Changed || d.GetChanged()
			out.Instances = append(out.Instances, sentinelv1.JSON(d))
		}
		return a.writeValue(out)
	}
	t := newTable("INSTANCE", "SET", "CHANGED", "WHAT BECOMES OF IT")
	for _, d := range told {
		t.add(client.HostPort(d.GetInstance()), d.GetMaster(), yesNo(d.GetChanged()), drainWord(d))
	}
	return t.write(a.stdout)
}

func (a *app) hostUndrainCmd() *cobra.Command {
	var wait bool
	var limit time.Duration
	var why string
	cmd := &cobra.Command{
		Use:   "undrain ADDR",
		Short: "End the maintenance of the instances on a host",
		Long: `End the maintenance of every instance on ADDR, also of those where it was begun one by one. With --reason only that which
was begun with this very reason ends.`,
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: a.completeHost,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit <= 0 {
				return usagef("--max-wait %v: want more than 0", limit)
			}
			q := &sentinelv1.UndrainHostRequest{Host: args[0]}
			given := ""
			if cmd.Flags().Changed("reason") {
				q.Reason, given = &why, " for that reason"
			}
			answer, err := change(cmd.Context(), a, func(ctx context.Context, c *client.Client) (*sentinelv1.UndrainHostResponse, error) {
				return sentinelv1.NewAdminServiceClient(c).UndrainHost(ctx, q)
			})
			if err != nil {
				return err
			}
			var names []string
			for _, in := range answer.GetInstances() {
				names = append(names, client.HostPort(in))
			}
			err = a.printChange(answer, args[0]+" is undrained: "+strings.Join(names, ", "), "nothing on "+args[0]+" is in maintenance"+given+"; nothing changed")
			if err != nil || !wait {
				return err
			}
			return a.awaitFollowing(cmd.Context(), answer.GetInstances(), limit)
		},
	}
	cmd.Flags().StringVar(&why, "reason", "", "end only what was begun with this reason")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until each of them follows its master")
	cmd.Flags().DurationVar(&limit, "max-wait", 5*time.Minute, "how long --wait waits")
	return cmd
}

// awaitFollowing looks at instances until each follows the master of its set.
func (a *app) awaitFollowing(ctx context.Context, instances []*sentinelv1.Address, limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		all, err := a.reading().masters(ctx)
		if err != nil && !leaderless(err) {
			return err
		}
		left := unsynced(all.GetMasters(), instances)
		if err == nil && len(left) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return checkf("not following after %v: %s", limit, strings.Join(left, ", "))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(askAgain):
		}
	}
}

// unsynced are those of the instances that a node does not see following their master. One that left its set is awaited no more.
func unsynced(masters []*sentinelv1.Master, instances []*sentinelv1.Address) []string {
	var left []string
	for _, m := range masters {
		for _, a := range instances {
			in := instanceAt(m, a)
			if in == nil || in.GetRole() == sentinelv1.Role_ROLE_MASTER {
				continue
			}
			if o := in.GetObservation(); o.GetDown() || !o.GetLinkUp() || !proto.Equal(o.GetFollows(), m.GetAddress()) {
				left = append(left, client.HostPort(a))
			}
		}
	}
	return left
}

// completeHost tells the hosts of all instances.
func (a *app) completeHost(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.complete(cmd, func(ctx context.Context, r *reading) ([]string, error) {
		all, err := r.masters(ctx)
		var names []string
		for _, m := range all.GetMasters() {
			for _, in := range m.GetInstances() {
				names = append(names, in.GetAddress().GetHost())
			}
		}
		slices.Sort(names)
		return slices.Compact(names), err
	})
}
