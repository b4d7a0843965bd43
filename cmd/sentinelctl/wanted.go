package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	passOption   = "auth-pass"
	renameOption = "rename-command"
	// secretWord stands where a password does.
	secretWord = "******"
)

// wanted is a set as a file or Sentinels have it.
type wanted struct {
	name    string
	address raftfsm.Addr
	options raftfsm.Options
	// named are the options that are to have these values; the others are left as they are.
	named []string
}

func wantedOf(s conf.Seed) wanted {
	w := wanted{name: s.Name, address: s.Address, options: s.Options}
	for _, n := range s.Named {
		w.named = append(w.named, n.Name)
	}
	return w
}

// values are those of a named option: one, but for the renamed commands.
func (w wanted) values(option string) []string {
	var out []string
	for _, v := range w.options.Values() {
		if v.GetName() == option {
			out = append(out, v.GetValue())
		}
	}
	if len(out) == 0 && option != renameOption {
		return []string{""}
	}
	return out
}

// put gives the named options their values in a message, and tells its fields.
func (w wanted) put(o *sentinelv1.MasterOptions, options []string) ([]string, error) {
	var paths []string
	for _, name := range options {
		i := slices.IndexFunc(optionTable, func(o option) bool { return o.name == name })
		if i < 0 {
			return nil, fmt.Errorf("option %s: is not known to this sentinelctl", name)
		}
		for _, v := range w.values(name) {
			if err := optionTable[i].set(o, v); err != nil {
				return nil, fmt.Errorf("option %s: %w", name, err)
			}
		}
		paths = append(paths, optionTable[i].path)
	}
	return paths, nil
}

// all are the named options of a set that is to be made, as differences from nothing.
func (w wanted) all() []difference {
	out := []difference{}
	for _, name := range w.named {
		for _, v := range w.values(name) {
			if name == passOption && v != "" {
				v = secretWord
			}
			out = append(out, difference{Option: name, Wanted: v})
		}
	}
	return out
}

// compare tells what of the named options a set has otherwise. A password is never told: whether another one is wanted, the
// cluster is asked.
func (a *app) compare(ctx context.Context, m *sentinelv1.Master, w wanted) ([]difference, error) {
	out := []difference{}
	for _, name := range w.named {
		i := slices.IndexFunc(optionTable, func(o option) bool { return o.name == name })
		switch {
		case i < 0:
			return nil, fmt.Errorf("option %s: is not known to this sentinelctl", name)
		case name == renameOption:
			have := m.GetOptions().GetRenameCommand()
			for _, command := range slices.Sorted(maps.Keys(w.options.RenameCommand)) {
				if to := w.options.RenameCommand[command]; have[command] != to {
					out = append(out, difference{name + " " + command, have[command], to})
				}
			}
		case name == passOption:
			other, err := a.otherPassword(ctx, m, w)
			if err != nil {
				return nil, err
			}
			if other {
				mask := map[bool]string{true: secretWord}
				out = append(out, difference{name, mask[m.GetOptions().GetAuthPassSet()], mask[!w.options.AuthPass.IsZero()]})
			}
		default:
			if have, want := optionTable[i].get(m.GetOptions()), w.values(name)[0]; have != want {
				out = append(out, difference{name, have, want})
			}
		}
	}
	return out, nil
}

func (a *app) otherPassword(ctx context.Context, m *sentinelv1.Master, w wanted) (bool, error) {
	if set := !w.options.AuthPass.IsZero(); set != m.GetOptions().GetAuthPassSet() || !set {
		return set != m.GetOptions().GetAuthPassSet(), nil
	}
	q := &sentinelv1.UpdateMasterRequest{Name: m.GetName(), Options: &sentinelv1.MasterOptions{}, ValidateOnly: true, Force: true}
	if _, err := w.put(q.GetOptions(), []string{passOption}); err != nil {
		return false, err
	}
	answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.UpdateMasterResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).UpdateMaster(ctx, q)
	})
	if why, _ := reason(err); why == "SENTINELS_ACTIVE" {
		return true, nil // a password that is the same is never tried
	}
	return answer.GetChanged(), err
}

// update is the deed that gives a set the options in which it differs.
func (a *app) update(m *sentinelv1.Master, w wanted, differences []difference) *deed {
	d := newDeed(w.name, client.HostPort(m.GetAddress()), actionSet)
	d.Differences = differences
	d.do = func(ctx context.Context, d *deed, validate bool) (bool, error) {
		return a.setWanted(ctx, d, m, w, d.options(), validate)
	}
	return d
}

// options are the names of those that differ.
func (d *deed) options() []string {
	var out []string
	for _, x := range d.Differences {
		if name, _, _ := strings.Cut(x.Option, " "); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// setWanted gives a set the options that are named.
func (a *app) setWanted(ctx context.Context, d *deed, m *sentinelv1.Master, w wanted, options []string, validate bool) (bool, error) {
	q := &sentinelv1.UpdateMasterRequest{Name: w.name, Options: &sentinelv1.MasterOptions{}, ValidateOnly: validate}
	if slices.Contains(options, renameOption) {
		// An update replaces all renamed commands: those that are not named stay, and nobody else's change is lost.
		q.Options.RenameCommand = maps.Clone(m.GetOptions().GetRenameCommand())
		q.ExpectedRevision = m.GetRevision()
	}
	paths, err := w.put(q.GetOptions(), options)
	if err != nil {
		return false, err
	}
	q.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
	answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.UpdateMasterResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).UpdateMaster(ctx, q)
	})
	d.Notes = append(d.Notes, answer.GetWarnings()...)
	return answer.GetChanged(), err
}

// create sends a Monitor.
func (a *app) create(ctx context.Context, d *deed, q *sentinelv1.MonitorMasterRequest) (bool, error) {
	answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.MonitorMasterResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).MonitorMaster(ctx, q)
	})
	d.Notes = append(d.Notes, answer.GetWarnings()...)
	return answer.GetChanged(), err
}

func addressOf(a raftfsm.Addr) *sentinelv1.Address {
	return &sentinelv1.Address{Host: a.Host, Port: uint32(a.Port)}
}

// ofSet tells whether an address is an instance's of a set.
func ofSet(m *sentinelv1.Master, a raftfsm.Addr) bool {
	return client.HostPort(m.GetAddress()) == a.String() || slices.ContainsFunc(m.GetInstances(), func(in *sentinelv1.Instance) bool {
		return client.HostPort(in.GetAddress()) == a.String()
	})
}

// present are the cluster's sets by their names. What is changed is compared with what a majority knows.
func (a *app) present(ctx context.Context) (map[string]*sentinelv1.Master, error) {
	r := &reading{a: a, consistency: sentinelv1.Consistency_CONSISTENCY_LINEARIZABLE}
	list, err := r.masters(ctx)
	if err != nil {
		return nil, err
	}
	if r.local() {
		return nil, &exitError{exitUnreachable, fmt.Errorf("no leader is known; nothing changed")}
	}
	out := map[string]*sentinelv1.Master{}
	for _, m := range list.GetMasters() {
		out[m.GetName()] = m
	}
	return out, nil
}

// readWanted reads a file in sentinel.conf's syntax, - being stdin. The sets that are known need no monitor line.
func (a *app) readWanted(path string, known ...string) (*conf.Wanted, error) {
	w, warnings, err := conf.ParseWanted(conf.Input{Args: []string{path}, Open: a.open}, known...)
	for _, warning := range warnings {
		a.say("warning: %s", printable(warning.String()))
	}
	if err != nil {
		return nil, usagef("%w", err)
	}
	return w, nil
}

// open reads a configuration file, or the files of a pattern.
func (a *app) open(name string) ([]conf.File, error) {
	if name == "-" {
		text, err := io.ReadAll(a.stdin)
		return []conf.File{{Path: "stdin", Text: string(text)}}, err
	}
	names, err := filepath.Glob(name)
	if err != nil || len(names) == 0 {
		names = []string{name}
	}
	var files []conf.File
	for _, n := range names {
		text, err := os.ReadFile(n)
		if err != nil {
			return nil, err
		}
		files = append(files, conf.File{Path: n, Text: string(text)})
	}
	return files, nil
}
