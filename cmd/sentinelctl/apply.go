package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) applyCmd() *cobra.Command {
	var dryRun, prune, yes bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Bring the cluster to what a sentinel.conf says of masters",
		Long: `Bring the cluster to what a file in sentinel.conf's syntax says of masters: what is missing is created, options that the file
names and that differ are set, and with --prune masters that it does not name are removed. An option that the file does not
name is left as it is, and no master's address is ever moved. FILE may be - for stdin; lines about a node are passed over.

With --dry-run the differences are printed, nothing is changed, and the exit status is 5 if there are any.`,
		Example:     "  sentinelctl apply /etc/redis/sentinel.conf --dry-run",
		Args:        args(1, 1),
		Annotations: changes,
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := a.readWanted(args[0])
			if err != nil {
				return err
			}
			return a.apply(cmd.Context(), w, dryRun, prune, yes)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what differs and change nothing")
	cmd.Flags().BoolVar(&prune, "prune", false, "remove masters that the file does not name")
	yesFlag(cmd, &yes)
	return cmd
}

// applied is the outcome of apply as JSON.
type applied struct {
	DryRun   bool    `json:"dry_run"`
	Changed  bool    `json:"changed"`
	Settings *deed   `json:"settings"`
	Masters  []*deed `json:"masters"`
}

func (a *app) apply(ctx context.Context, w *conf.Wanted, dryRun, prune, yes bool) error {
	present, err := a.present(ctx)
	if err != nil {
		return err
	}
	out := applied{DryRun: dryRun, Masters: []*deed{}}
	if out.Settings, err = a.applySettings(ctx, w.Settings); err != nil {
		return err
	}
	for _, seed := range w.Seeds {
		d, err := a.applySeed(ctx, present[seed.Name], seed)
		if err != nil {
			return err
		}
		out.Masters = append(out.Masters, d)
		delete(present, seed.Name)
	}
	extra := slices.Sorted(maps.Keys(present))
	var removals []*deed
	switch {
	case prune && len(extra) > 0 && !dryRun:
		err = a.confirm(yes, "end the watch over %s on every node: they will not be failed over any more", strings.Join(extra, ", "))
	case !prune && len(extra) > 0:
		a.say("not in the file, and left as they are (--prune removes them): %s", printable(strings.Join(extra, ", ")))
	}
	if err != nil {
		return err
	}
	if prune {
		for _, name := range extra {
			removals = append(removals, a.removal(present[name]))
		}
	}
	a.carryOut(ctx, &out, removals)
	out.Masters = append(out.Masters, removals...)
	all := out.Masters
	if out.Settings != nil {
		all = append([]*deed{out.Settings}, all...)
	}
	out.Changed = anyDone(all)
	if err := a.printPlan(out, all, dryRun); err != nil {
		return err
	}
	return verdict(all, dryRun)
}

// carryOut creates and sets, then removes, unless something went wrong before: a set is not given up for a file that cannot
// be carried out. An address that a removed set held is tried again for its new name, and the old set put back if that fails.
func (a *app) carryOut(ctx context.Context, out *applied, removals []*deed) {
	first := out.Masters
	if out.Settings != nil {
		first = append([]*deed{out.Settings}, first...)
	}
	a.attemptAll(ctx, first, out.DryRun)
	var taken, wrong []*deed
	for _, d := range first {
		why, _ := reason(d.err)
		old := holder(d, removals)
		if why == "ADDRESS_TAKEN" && old != nil {
			if err := a.rehearse(ctx, d, old); err != nil {
				d.err, d.Error = err, "could not take the place of "+old.Name+", which is not removed: "+a.words(err)
			} else {
				taken = append(taken, d)
				continue
			}
		}
		if d.err != nil {
			wrong = append(wrong, d)
		}
	}
	if len(wrong) > 0 {
		for _, d := range removals {
			d.err, d.Error = wrong[0].err, "not tried: nothing is removed while something else could not be done"
		}
		return
	}
	a.attemptAll(ctx, removals, out.DryRun)
	for _, d := range taken {
		d.err, d.Error = nil, ""
		if out.DryRun {
			// Whether it could be created then, nobody can tell before.
			d.note("its address belongs to a set that would be removed first")
			continue
		}
		a.attempt(ctx, d, false)
		// A removal of which nothing is known may have been made.
		if old := holder(d, removals); d.err != nil && (old.Done || exitStatus(old.err, true, false) == exitUnknown) {
			a.putBack(context.WithoutCancel(ctx), d, old)
		}
	}
}

// applySeed is the deed for one master of the file.
func (a *app) applySeed(ctx context.Context, m *sentinelv1.Master, seed conf.Seed) (*deed, error) {
	w := wantedOf(seed)
	if m == nil {
		d := newDeed(w.name, w.address.String(), actionCreate)
		d.Differences, d.wanted = w.all(), &w
		d.do = func(ctx context.Context, d *deed, validate bool) (bool, error) {
			q := &sentinelv1.MonitorMasterRequest{
				Name: w.name, Address: addressOf(w.address), Options: &sentinelv1.MasterOptions{}, ValidateOnly: validate,
			}
			if _, err := w.put(q.GetOptions(), w.named); err != nil {
				return false, err
			}
			return a.create(ctx, d, q)
		}
		return d, nil
	}
	differences, err := a.compare(ctx, m, w)
	if err != nil {
		return nil, err
	}
	d := newDeed(w.name, client.HostPort(m.GetAddress()), actionNone)
	if len(differences) > 0 {
		d = a.update(m, w, differences)
	}
	if !ofSet(m, w.address) {
		d.note("the file says %s, which is no instance of this set: apply never moves an address", w.address)
		if d.Action == actionNone {
			d.Action = actionDiffers
		}
		d.left = true
	}
	return d, nil
}

func (a *app) removal(m *sentinelv1.Master) *deed {
	d := newDeed(m.GetName(), client.HostPort(m.GetAddress()), actionRemove)
	d.set = m
	d.do = func(ctx context.Context, _ *deed, validate bool) (bool, error) {
		answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.RemoveMasterResponse, error) {
			return sentinelv1.NewAdminServiceClient(c).RemoveMaster(ctx, &sentinelv1.RemoveMasterRequest{
				Name: m.GetName(), AllowMissing: true, ValidateOnly: validate,
			})
		})
		return answer.GetChanged(), err
	}
	return d
}

// applySettings is the deed for the cluster's settings; nil where the file names none.
func (a *app) applySettings(ctx context.Context, settings map[string]string) (*deed, error) {
	if len(settings) == 0 {
		return nil, nil
	}
	r := &reading{a: a, consistency: sentinelv1.Consistency_CONSISTENCY_LINEARIZABLE}
	now, err := ask(ctx, r, func(ctx context.Context, c *client.Client, how sentinelv1.Consistency) (*sentinelv1.GetSettingsResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).GetSettings(ctx, &sentinelv1.GetSettingsRequest{Consistency: how})
	})
	if err != nil {
		return nil, err
	}
	d := newDeed("(cluster)", "", actionNone)
	q := &sentinelv1.UpdateSettingsRequest{Settings: &sentinelv1.Settings{}}
	word := map[bool]string{true: "yes", false: "no"}
	for _, s := range []struct {
		name string
		have bool
		to   **bool
	}{
		{"announce-hostnames", now.GetSettings().GetAnnounceHostnames(), &q.Settings.AnnounceHostnames},
		{"resolve-hostnames", now.GetSettings().GetResolveHostnames(), &q.Settings.ResolveHostnames},
	} {
		if want := settings[s.name]; want != "" && want != word[s.have] {
			*s.to = new(want == "yes")
			d.Differences = append(d.Differences, difference{s.name, word[s.have], want})
		}
	}
	for _, s := range []struct {
		name string
		have int64
		give func(n int64)
	}{
		{"failover-brake", int64(now.GetSettings().GetFailoverBrakePercent()), func(n int64) { q.Settings.FailoverBrakePercent = new(int32(n)) }},
		{"remove-dead-nodes-after", now.GetSettings().GetRemoveDeadNodesAfterMs() / 1000, func(n int64) { q.Settings.RemoveDeadNodesAfterMs = new(n * 1000) }},
	} {
		have, want := strconv.FormatInt(s.have, 10), settings[s.name]
		if want == "" || want == have {
			continue
		}
		n, _ := strconv.ParseInt(want, 10, 32) // the configuration's reader has checked it
		s.give(n)
		d.Differences = append(d.Differences, difference{s.name, have, want})
	}
	if len(d.Differences) == 0 {
		return d, nil
	}
	d.Action = actionSet
	d.do = func(ctx context.Context, _ *deed, validate bool) (bool, error) {
		q.ValidateOnly = validate
		answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.UpdateSettingsResponse, error) {
			return sentinelv1.NewAdminServiceClient(c).UpdateSettings(ctx, q)
		})
		return answer.GetChanged(), err
	}
	return d, nil
}
