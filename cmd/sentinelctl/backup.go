package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/cmd/terminal"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// backupPiece is how much of a backup goes out in one message.
const backupPiece = 256 << 10

func (a *app) backupCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the cluster's state",
		Long: `Write a backup of the cluster's state: masters with their options and passwords, replicas, epochs, past failovers, settings.
FILE may be - for stdout. It holds passwords in clear, so its mode is 0600; it appears whole or not at all, and is read back
before it does. A FILE that exists is only replaced with --force.

Any node gives it. Where no leader answers it is the asked node's own copy, which may be old; it says so.`,
		Example:           "  sentinelctl backup /var/backups/sentineld/$(date +%F).backup",
		Args:              args(1, 1),
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.backup(cmd.Context(), args[0], force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a FILE that exists")
	return cmd
}

func (a *app) inspectCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Tell what a backup holds",
		Long: `Tell what a backup holds, without a cluster: of which cluster it is and from when, and every master with its address,
replicas and options. Passwords are not shown. FILE may be - for stdin. Exit 5 if it is damaged, cut short or no backup.`,
		Args:              args(1, 1),
		ValidArgsFunction: completeFile,
		RunE: func(_ *cobra.Command, args []string) error {
			b, size, err := a.readBackup(args[0])
			if err != nil {
				return err
			}
			told := inspectionOf(b, size)
			if a.set.json() {
				return a.writeValue(told)
			}
			if err := told.table().write(a.stdout); err != nil || len(told.Masters) == 0 {
				return err
			}
			if _, err := fmt.Fprintln(a.stdout); err != nil {
				return err
			}
			return told.masters().write(a.stdout)
		},
	}
}

func (a *app) restoreCmd() *cobra.Command {
	var replace, dryRun, yes bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Bring back what a backup holds",
		Long: `Bring back what a backup holds, all or nothing: masters with their options, replicas, epochs, past failovers and settings; never
who the nodes are. FILE may be - for stdin. All masters come up paused, and each is compared with its instances before anything
is done about them, so that nothing is demoted on old state: look at them, then run resume.

Only into a cluster without masters, unless --replace has those that it has give way. A backup of a cluster of another name is
refused, and so is one of a feature level above the cluster's. With --dry-run nothing is changed.`,
		Args:              args(1, 1),
		Annotations:       changes,
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := a.readBackupFile(args[0])
			if err != nil {
				return err
			}
			b, err := parseBackup(args[0], data)
			if err != nil {
				return err
			}
			return a.restore(cmd.Context(), restoring{data: data, told: summaryOf(b, len(data)), replace: replace}, dryRun, yes)
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "have the masters that the cluster has give way to those of the backup")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would be done")
	yesFlag(cmd, &yes)
	return cmd
}

// restoring is a backup that is to be restored.
type restoring struct {
	data    []byte
	told    backupSummary
	replace bool
}

// restore has the cluster try it first, so that nobody is asked about what is refused.
func (a *app) restore(ctx context.Context, r restoring, dryRun, yes bool) error {
	plan, err := a.sendBackup(ctx, r, true)
	if status.Code(err) == codes.DeadlineExceeded {
		return &exitError{exitUnreachable, errors.New(words(err) + "; nothing changed")}
	}
	if err != nil {
		return err
	}
	if dryRun || !plan.GetChanged() {
		return a.printRestored(plan, r.told, dryRun)
	}
	gone := ""
	if names := plan.GetRemoved(); len(names) > 0 {
		gone = "; watched no more: " + printable(strings.Join(names, ", "))
	}
	if err := a.confirm(yes, "bring back %s, taken on %s, paused%s", r.told, r.told.TakenAt, gone); err != nil {
		return err
	}
	done, err := a.sendBackup(ctx, r, false)
	if status.Code(err) == codes.Unavailable && len(status.Convert(err).Details()) == 0 { // it broke, and nobody said that nothing changed
		return &exitError{exitUnknown, errors.New(words(err))}
	}
	if err != nil {
		return err
	}
	return a.printRestored(done, r.told, false)
}

func (a *app) printRestored(m *sentinelv1.RestoreBackupResponse, told backupSummary, dryRun bool) error {
	done := "restored"
	if dryRun {
		done = "would be restored"
	}
	if m.GetChanged() {
		if names := m.GetRemoved(); len(names) > 0 {
			a.say("watched no more: %s", printable(strings.Join(names, ", ")))
		}
		if dryRun {
			a.say("the masters would be paused, until resume NAME or resume --all")
		} else {
			a.say("the masters are paused: look at them with masters and explain, then run resume NAME or resume --all")
		}
	}
	return a.printChange(m, fmt.Sprintf("%s: %s", done, told), "the cluster was restored from this backup already; nothing changed")
}

// sendBackup sends a backup within the time of a request, or of one for each MiB of it.
func (a *app) sendBackup(ctx context.Context, r restoring, validate bool) (*sentinelv1.RestoreBackupResponse, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.set.timeout*time.Duration(1+len(r.data)>>20))
	defer cancel()
	stream, err := sentinelv1.NewClusterServiceClient(c).RestoreBackup(ctx)
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(r.data, backupPiece) {
		if stream.Send(&sentinelv1.RestoreBackupRequest{Replace: r.replace, ValidateOnly: validate, Data: part}) != nil {
			break // the answer says why
		}
	}
	return stream.CloseAndRecv()
}

// backup fetches a backup whole, reads it back, and only then lets anybody see it.
func (a *app) backup(ctx context.Context, file string, force bool) error {
	if file == "-" && terminal.Is(a.stdout) {
		return usagef("a backup is not for a terminal: name a file, or redirect stdout")
	}
	if err := refuseExisting(file, force); err != nil {
		return err
	}
	r := a.reading()
	data, err := r.backup(ctx)
	if err != nil {
		return err
	}
	defer r.mark()
	b, err := raftfsm.ReadBackup(bytes.NewReader(data))
	if err != nil {
		return failedf("what the cluster sent is no good: %w", err)
	}
	told := summaryOf(b, len(data))
	if file == "-" {
		if _, err := a.stdout.Write(data); err != nil {
			return failedf("write the backup: %w", err)
		}
		a.say("%s", told)
		return nil
	}
	if err := writeBackup(file, data, force); err != nil {
		return err
	}
	if a.set.json() {
		return a.writeValue(struct {
			File string `json:"file"`
			backupSummary
		}{file, told})
	}
	_, err = fmt.Fprintf(a.stdout, "%s: %s\n", printable(file), told)
	return err
}

// refuseExisting refuses to replace a file that was not asked to give way.
func refuseExisting(file string, force bool) error {
	if file == "-" || force {
		return nil
	}
	switch _, err := os.Lstat(file); {
	case err == nil:
		return &exitError{exitRefused, fmt.Errorf("%s exists: give another name, or --force to replace it", printable(file))}
	case !errors.Is(err, fs.ErrNotExist):
		return failedf("write the backup: %w", err)
	}
	return nil
}

// writeBackup makes a file appear whole and durable, for its owner alone.
func writeBackup(file string, data []byte, force bool) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // of mode 0600
	if err != nil {
		return failedf("write the backup: %w", err)
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return failedf("write the backup: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	if err := refuseExisting(file, force); err != nil { // somebody was faster
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return failedf("write the backup: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return failedf("write the backup: make its name durable: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return failedf("write the backup: make its name durable: %w", err)
	}
	return nil
}

// backup fetches a backup. Its first piece must come within the time of a request, and each further one within as much again.
func (r *reading) backup(ctx context.Context) ([]byte, error) {
	answer, err := ask(ctx, r, func(first context.Context, c *client.Client, how sentinelv1.Consistency) (*fetched, error) {
		return r.fetch(ctx, first, c, how)
	})
	if err != nil {
		return nil, err
	}
	return answer.data, nil
}

func (r *reading) fetch(ctx, first context.Context, c *client.Client, how sentinelv1.Consistency) (*fetched, error) {
	call, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	begun := context.AfterFunc(first, func() { cancel(context.Cause(first)) })
	defer begun()
	failed := func(err error) error {
		if cause := context.Cause(call); cause != nil {
			return status.FromContextError(cause).Err()
		}
		return err
	}
	stream, err := sentinelv1.NewClusterServiceClient(c).CreateBackup(call, &sentinelv1.CreateBackupRequest{Consistency: how})
	if err != nil {
		return nil, failed(err)
	}
	out := &fetched{}
	for {
		part, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, failed(err)
		}
		out.ageMs = part.GetAgeMs()
		out.data = append(out.data, part.GetData()...)
		if begun() {
			out.next = time.AfterFunc(r.a.set.timeout, func() { cancel(context.DeadlineExceeded) })
			defer out.next.Stop()
		} else if out.next != nil {
			out.next.Reset(r.a.set.timeout)
		}
	}
}

// fetched is a backup as it came.
type fetched struct {
	data  []byte
	ageMs int64
	// next ends the wait for the next piece.
	next *time.Timer
}

// GetAgeMs is how old the state was.
func (f *fetched) GetAgeMs() int64 { return f.ageMs }

// readBackup reads a backup from a file, - being stdin, and gives its size.
func (a *app) readBackup(file string) (*raftfsm.Backup, int, error) {
	data, err := a.readBackupFile(file)
	if err != nil {
		return nil, 0, err
	}
	b, err := parseBackup(file, data)
	return b, len(data), err
}

func parseBackup(file string, data []byte) (*raftfsm.Backup, error) {
	b, err := raftfsm.ReadBackup(bytes.NewReader(data))
	switch {
	case errors.Is(err, raftfsm.ErrTooNew):
		return nil, failedf("%s: %w; or use the sentinelctl of the cluster that it is of", printable(file), err)
	case err != nil:
		return nil, checkf("%s: %w", printable(file), err)
	}
	return b, nil
}

func (a *app) readBackupFile(file string) ([]byte, error) {
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, failedf("read the backup: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, raftfsm.MaxBackupBytes+1))
	switch {
	case err != nil:
		return nil, failedf("read the backup: %w", err)
	case len(data) > raftfsm.MaxBackupBytes:
		return nil, checkf("%s: has more than %d bytes, which no backup has", printable(file), raftfsm.MaxBackupBytes)
	}
	return data, nil
}

// backupSummary is what a backup says of itself, as JSON.
type backupSummary struct {
	ClusterName  string `json:"cluster_name"`
	ClusterID    string `json:"cluster_id"`
	Revision     uint64 `json:"revision"`
	TakenAt      string `json:"taken_at"`
	NodeID       string `json:"node_id"`
	Version      string `json:"version"`
	Local        bool   `json:"local"`
	AgeMs        int64  `json:"age_ms"`
	FeatureLevel uint32 `json:"feature_level"`
	Epoch        uint64 `json:"epoch"`
	MasterCount  int    `json:"master_count"`
	SizeBytes    int    `json:"size_bytes"`
}

func summaryOf(b *raftfsm.Backup, size int) backupSummary {
	c := b.State.Cluster()
	return backupSummary{
		ClusterName: c.Name, ClusterID: c.Era, Revision: b.State.Index(), TakenAt: stampMs(b.TakenAtMs), NodeID: b.Node, Version: b.Version,
		Local: b.Local, AgeMs: b.AgeMs, FeatureLevel: b.State.FeatureLevel(), Epoch: b.State.Epoch(),
		MasterCount: b.State.MasterCount(), SizeBytes: size,
	}
}

func stampMs(ms int64) string { return time.UnixMilli(ms).UTC().Format(stampLayout) }

// String is one line.
func (s backupSummary) String() string {
	return fmt.Sprintf("%d masters of cluster %s (%s) at revision %d, %d bytes",
		s.MasterCount, printable(s.ClusterName), printable(s.ClusterID), s.Revision, s.SizeBytes)
}

// inspection is all that is told of a backup, as JSON.
type inspection struct {
	backupSummary
	Settings []inspectedOption `json:"settings"`
	Nodes    []string          `json:"nodes"`
	Removed  []string          `json:"removed"`
	Masters  []inspectedMaster `json:"masters"`
}

type inspectedMaster struct {
	Name      string             `json:"name"`
	Address   inspectedAddress   `json:"address"`
	Epoch     uint64             `json:"epoch"`
	Replicas  []inspectedAddress `json:"replicas"`
	Options   []inspectedOption  `json:"options"`
	Paused    *string            `json:"paused"`
	Held      *string            `json:"held"`
	Failovers int                `json:"failovers"`
}

type inspectedAddress struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

// inspectedOption has no value where that is a password.
type inspectedOption struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Secret bool    `json:"secret"`
}

func inspectionOf(b *raftfsm.Backup, size int) inspection {
	out := inspection{
		backupSummary: summaryOf(b, size), Settings: []inspectedOption{}, Nodes: []string{}, Removed: []string{}, Masters: []inspectedMaster{},
	}
	for _, s := range b.State.GivenSettings() {
		out.Settings = append(out.Settings, inspectedOption{Name: s.GetName(), Value: new(s.GetValue())})
	}
	for n := range b.State.Nodes() {
		out.Nodes = append(out.Nodes, n.NodeID)
	}
	slices.Sort(out.Nodes)
	out.Removed = append(out.Removed, b.State.Tombstones()...)
	for m := range b.State.Masters() {
		out.Masters = append(out.Masters, inspectedOf(m))
	}
	return out
}

func inspectedOf(m *raftfsm.Master) inspectedMaster {
	out := inspectedMaster{
		Name: m.Name, Address: inspectedAddress(m.Address), Epoch: m.Epoch, Replicas: []inspectedAddress{}, Options: []inspectedOption{},
		Paused: reasonOf(m.Pause), Held: reasonOf(m.Hold), Failovers: len(m.History),
	}
	for _, in := range m.Replicas() {
		out.Replicas = append(out.Replicas, inspectedAddress(in.Addr))
	}
	for _, v := range m.Options.Values() {
		o := inspectedOption{Name: v.GetName()}
		if known, _ := raftfsm.LookupOption(v.GetName()); known.Secret {
			o.Secret = true
		} else {
			o.Value = new(v.GetValue())
		}
		out.Options = append(out.Options, o)
	}
	return out
}

func reasonOf(p *raftfsm.Pause) *string {
	if p == nil {
		return nil
	}
	return &p.Reason
}

// String is NAME=VALUE.
func (o inspectedOption) String() string {
	if o.Secret {
		return o.Name + "=(set)"
	}
	return o.Name + "=" + *o.Value
}

func (i inspection) table() *table {
	t := newTable()
	t.add("cluster", fmt.Sprintf("%s (%s)", i.ClusterName, i.ClusterID))
	t.add("taken", fmt.Sprintf("%s by node %s, version %s", i.TakenAt, i.NodeID, i.Version))
	if i.Local {
		t.add("", "without a leader: that node's own copy, "+ageWord(i.AgeMs))
	}
	t.add("revision", i.Revision)
	t.add("feature level", i.FeatureLevel)
	t.add("highest epoch", i.Epoch)
	t.add("masters", i.MasterCount)
	t.add("removed by hand", strings.Join(i.Removed, ", "))
	t.add("settings", optionWords(i.Settings))
	t.add("nodes", strings.Join(i.Nodes, ", "))
	t.add("size", bytesWord(int64(i.SizeBytes)))
	return t
}

func ageWord(ms int64) string {
	if ms < 0 {
		return "which had heard from no leader since it started"
	}
	return fmt.Sprintf("%d ms old", ms)
}

func optionWords(options []inspectedOption) string {
	out := make([]string, len(options))
	for i, o := range options {
		out[i] = o.String()
	}
	return strings.Join(out, " ")
}

func (i inspection) masters() *table {
	t := newTable("NAME", "ADDRESS", "EPOCH", "REPLICAS", "FAILOVERS", "NOTE", "OPTIONS")
	for _, m := range i.Masters {
		var replicas, notes []string
		for _, a := range m.Replicas {
			replicas = append(replicas, raftfsm.Addr(a).String())
		}
		if m.Paused != nil {
			notes = append(notes, "paused: "+*m.Paused)
		}
		if m.Held != nil {
			notes = append(notes, "held: "+*m.Held)
		}
		t.add(m.Name, raftfsm.Addr(m.Address), m.Epoch, strings.Join(replicas, ","), m.Failovers, strings.Join(notes, "; "), optionWords(m.Options))
	}
	return t
}
