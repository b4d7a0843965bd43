package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// longReason is how long a pause's reason may be.
const longReason = 512

func (a *app) importCmd() *cobra.Command {
	var from []string
	var with, passFile string
	var login sentinelLogin
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "import --from-sentinel HOST:PORT,...",
		Short: "Take masters, replicas and options over from running Sentinels, all paused",
		Long: `Ask every Sentinel that is named for its masters, their replicas and options, and monitor them here, paused: the Sentinels
stay in charge. Where they disagree, that is told: on a master's address it is not imported, of options the safest value is
taken. What Sentinels do not tell (auth-user, auth-pass, rename-command) is read from --with FILE, in sentinel.conf's syntax;
what the file names wins. A set that exists and is paused is brought up to date; one that is not is only compared.

When the Sentinels are stopped: sentinelctl resume NAME. With --dry-run nothing is changed, and the exit status is 5 if there
is something to do.`,
		Example: "  sentinelctl import --from-sentinel 10.0.0.1:26379,10.0.0.2:26379,10.0.0.3:26379 --with /etc/redis/sentinel.conf --dry-run",
		Args:    args(0, 0), Annotations: changes,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(from) == 0 {
				return usagef("usage: %s: name the Sentinels", usage(cmd))
			}
			for i, at := range from {
				if _, err := raftfsm.ParseAddr(at); err != nil {
					return usagef("--from-sentinel: %w", err)
				}
				if slices.Contains(from[:i], at) {
					return usagef("--from-sentinel: %s is named twice", at)
				}
			}
			if passFile != "" {
				var err error
				if login.pass, err = a.value("@" + passFile); err != nil {
					return usagef("--sentinel-password-file: %w", err)
				}
			}
			return a.importFrom(cmd.Context(), from, login, with, dryRun)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&from, "from-sentinel", nil, "the running Sentinels, as `HOST:PORT,...`")
	f.StringVar(&with, "with", "", "a `FILE` in sentinel.conf's syntax with what Sentinels do not tell")
	f.StringVar(&login.user, "sentinel-user", "", "the ACL user of the Sentinels themselves")
	f.StringVar(&passFile, "sentinel-password-file", "", "a `FILE` with the password of the Sentinels themselves")
	f.BoolVar(&dryRun, "dry-run", false, "print what would be done and change nothing")
	return cmd
}

// imported is the outcome of import as JSON.
type imported struct {
	DryRun        bool           `json:"dry_run"`
	Changed       bool           `json:"changed"`
	Sentinels     []string       `json:"sentinels"`
	Disagreements []disagreement `json:"disagreements"`
	Masters       []*deed        `json:"masters"`
}

func (a *app) importFrom(ctx context.Context, from []string, login sentinelLogin, with string, dryRun bool) error {
	said, err := a.askSentinels(ctx, from, login)
	if err != nil {
		return err
	}
	found := weigh(said)
	if err := a.supply(found, with); err != nil {
		return err
	}
	present, err := a.present(ctx)
	if err != nil {
		return err
	}
	out := imported{DryRun: dryRun, Sentinels: from, Disagreements: []disagreement{}, Masters: []*deed{}}
	for _, v := range found {
		d, err := a.importOne(ctx, present[v.name], v, from)
		if err != nil {
			return err
		}
		d.Notes = append(d.Notes, v.notes...)
		out.Disagreements = append(out.Disagreements, v.disagreements...)
		out.Masters = append(out.Masters, d)
	}
	a.attemptAll(ctx, out.Masters, dryRun)
	out.Changed = anyDone(out.Masters)
	if !a.set.json() {
		for _, d := range out.Disagreements {
			a.say("%s: %s", printable(d.Master), printable(d.String()))
		}
	}
	if err := a.printPlan(out, out.Masters, dryRun); err != nil {
		return err
	}
	return verdict(out.Masters, dryRun)
}

// supply adds what a file says of the masters that were found.
func (a *app) supply(found []verdictOf, with string) error {
	if with == "" {
		return nil
	}
	var names []string
	for _, v := range found {
		names = append(names, v.name)
	}
	w, err := a.readWanted(with, names...)
	if err != nil {
		return err
	}
	for _, seed := range w.Seeds {
		i := slices.Index(names, seed.Name)
		if i < 0 {
			a.say("%s is in %s, and no Sentinel knows it: it is not imported", printable(seed.Name), with)
			continue
		}
		if err := found[i].supply(seed); err != nil {
			return usagef("%s: %w", with, err)
		}
	}
	return nil
}

func (v *verdictOf) supply(seed conf.Seed) error {
	if !seed.Address.IsZero() && v.err == nil && seed.Address != v.address {
		// A file may be of before a failover; the Sentinels know better where the master is.
		v.disagreements = append(v.disagreements, disagreement{
			Master: v.name, What: "the master's address", Taken: v.address.String(), who: "the file and the Sentinels",
			Says: []saying{{seed.Place.String(), seed.Address.String()}, {"every Sentinel", v.address.String()}},
		})
	}
	file := wantedOf(seed)
	for _, name := range file.named {
		for _, value := range file.values(name) {
			options, err := v.options.Set(name, value)
			if err != nil {
				return err
			}
			v.options = options
		}
		if !slices.Contains(v.named, name) {
			v.named = append(v.named, name)
		}
	}
	return nil
}

// importOne is the deed for one master of the Sentinels.
func (a *app) importOne(ctx context.Context, m *sentinelv1.Master, v verdictOf, from []string) (*deed, error) {
	if v.err != nil {
		d := newDeed(v.name, v.address.String(), actionNone)
		d.err, d.Error = v.err, v.err.Error()
		return d, nil
	}
	if m == nil {
		d := newDeed(v.name, v.address.String(), actionCreate)
		d.Differences = v.all()
		d.do = func(ctx context.Context, d *deed, validate bool) (bool, error) {
			return a.scriptsAside(d, v.wanted, v.named, func(options []string) (bool, error) {
				return a.monitorImported(ctx, d, v, from, options, validate)
			})
		}
		return d, nil
	}
	differences, err := a.compare(ctx, m, v.wanted)
	if err != nil {
		return nil, err
	}
	d := newDeed(v.name, client.HostPort(m.GetAddress()), actionNone)
	switch {
	case len(differences) == 0:
	case m.GetPause() != nil:
		d = a.update(m, v.wanted, differences)
		d.do = func(ctx context.Context, d *deed, validate bool) (bool, error) {
			return a.scriptsAside(d, v.wanted, d.options(), func(options []string) (bool, error) {
				return a.setWanted(ctx, d, m, v.wanted, options, validate)
			})
		}
	default:
		d.Action, d.Differences, d.left = actionDiffers, differences, true
		d.note("it is not paused: it was only compared")
	}
	if !ofSet(m, v.address) {
		d.note("the Sentinels say that the master is %s, which is no instance of this set here", v.address)
		d.left = true
		if d.Action == actionNone {
			d.Action = actionDiffers
		}
	}
	return d, nil
}

// monitorImported puts a set under watch, paused.
func (a *app) monitorImported(
	ctx context.Context, d *deed, v verdictOf, from, options []string, validate bool,
) (bool, error) {
	q := &sentinelv1.MonitorMasterRequest{
		Name: v.name, Address: addressOf(v.address), Options: &sentinelv1.MasterOptions{}, PausedReason: importReason(from),
		Epoch: v.epoch, ValidateOnly: validate,
	}
	for _, r := range v.replicas {
		q.Replicas = append(q.Replicas, addressOf(r))
	}
	if _, err := v.put(q.GetOptions(), options); err != nil {
		return false, err
	}
	return a.create(ctx, d, q)
}

// scriptsAside leaves scripts out where the cluster does not take them: that is told, and no reason not to import the rest.
func (a *app) scriptsAside(d *deed, w wanted, options []string, try func(options []string) (bool, error)) (bool, error) {
	changed, err := try(options)
	isScript := func(name string) bool { return strings.HasSuffix(name, "-script") }
	if why, meta := reason(err); why != "SCRIPTS_DENIED" && meta["script"] == "" {
		return changed, err
	}
	for _, name := range options {
		if isScript(name) {
			d.note("%s %s is not imported: %s", name, w.values(name)[0], a.words(err))
		}
	}
	d.Differences = slices.DeleteFunc(d.Differences, func(x difference) bool { return isScript(x.Option) })
	rest := slices.DeleteFunc(slices.Clone(options), isScript)
	if len(rest) == 0 {
		return false, nil
	}
	return try(rest)
}

// importReason says why an imported set is paused.
func importReason(from []string) string {
	const format = "imported from the Sentinels %s, which are in charge until they are stopped; then resume it"
	if text := fmt.Sprintf(format, strings.Join(from, ", ")); len(text) <= longReason {
		return text
	}
	return fmt.Sprintf(format, fmt.Sprintf("%s and %d more", from[0], len(from)-1))
}
