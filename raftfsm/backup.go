package raftfsm

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protodelim"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// backupMagic begins a backup, so that people and programs see what a file is. Behind it stands a snapshot whose header says
// how the backup was taken.
const backupMagic = "sentineld backup 1\n"

// MaxBackupBytes bounds a backup that is restored, and maxMasters what it tells of the masters with their past failovers.
// MaxRestoreBytes bounds the log entry, in which that is compressed: a follower must get it within the second of one exchange.
// 10,000 masters of three instances take 9 MB, and 2 MB of the entry.
const (
	MaxBackupBytes  = 64 << 20
	maxMasters      = 32 << 20
	MaxRestoreBytes = 8 << 20
)

// ErrNoBackup: what was read is not a backup at all.
var ErrNoBackup = errors.New("not a backup of sentineld")

// Backup is a whole state with an account of how it was taken. It holds passwords in clear.
type Backup struct {
	State *State
	// TakenAtMs is Unix milliseconds on the clock of the node that took it, Node the name of that and Version its build.
	TakenAtMs int64
	Node      string
	Version   string
	// Local: no leader answered, and the state is that node's own; AgeMs is how long ago it had heard from one, -1 for never.
	Local bool
	AgeMs int64
}

// WriteBackup writes a backup.
func WriteBackup(w io.Writer, b *Backup) error {
	if _, err := io.WriteString(w, backupMagic); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return writeSnapshot(w, b.State, &raftlogv1.Backup{
		TakenAtMs: b.TakenAtMs, NodeId: b.Node, Version: b.Version, Local: b.Local, AgeMs: b.AgeMs,
	})
}

// ReadBackup reads what WriteBackup wrote, to the end of r. Errors are [ErrNoBackup], [ErrDamaged], for one that is cut short
// too, and [ErrTooNew], or the reader's own.
func ReadBackup(r io.Reader) (*Backup, error) {
	in := bufio.NewReaderSize(r, snapshotBuffer) // which readSnapshot takes as it is
	magic, err := in.Peek(len(backupMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	if string(magic) != backupMagic {
		return nil, ErrNoBackup
	}
	if _, err := in.Discard(len(backupMagic)); err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	s, how, err := readSnapshot(in)
	if err != nil {
		return nil, fmt.Errorf("read backup: %w", err)
	}
	if how == nil {
		return nil, fmt.Errorf("read backup: %w: it does not say how it was taken", ErrDamaged)
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read backup: %w: something follows its end", ErrDamaged)
	}
	return &Backup{
		State: s, TakenAtMs: how.GetTakenAtMs(), Node: how.GetNodeId(), Version: how.GetVersion(), Local: how.GetLocal(), AgeMs: how.GetAgeMs(),
	}, nil
}

// Tombstones are the names that were removed by hand, in their order.
func (s *State) Tombstones() []string {
	var out []string
	it := s.tombstones.Root().Iterator()
	for name, _, ok := it.Next(); ok; name, _, ok = it.Next() {
		out = append(out, string(name))
	}
	return out
}

// GivenSettings are the settings that were given a value, in name order.
func (s *State) GivenSettings() []*raftlogv1.OptionValue { return s.settings.values() }

// Restore is the command that brings a backup back under the name of a new era. Verdicts, conflicts and events are of their
// moment and stay behind, and so do the nodes: who is a member is Raft's alone.
func (b *Backup) Restore(era string, replace bool) (*raftlogv1.Restore, error) {
	s := b.State
	c := &raftlogv1.Restore{
		Era: era, Replace: replace, ClusterName: s.cluster.Name, ClusterId: s.cluster.Era, Revision: s.index, Level: s.level,
		TakenAtMs: b.TakenAtMs, Epoch: s.epoch, Settings: s.settings.values(), Tombstones: s.Tombstones(),
	}
	var records []*raftlogv1.MasterRecord
	for m := range s.Masters() {
		r := masterRecord(m)
		r.Votes, r.Conflicts, r.OdownIndex, r.OdownAtMs = nil, nil, 0, 0
		records = append(records, r)
	}
	var err error
	c.Masters, err = packMasters(records)
	return c, err
}

// packMasters is how records stand in a Restore.
func packMasters(records []*raftlogv1.MasterRecord) ([]byte, error) {
	var out bytes.Buffer
	z, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	w := &recordWriter{w: bufio.NewWriter(z)}
	for _, r := range records {
		w.put(r)
	}
	err = errors.Join(w.err, w.w.Flush(), z.Close())
	return out.Bytes(), err
}

// unpackMasters is the inverse of packMasters.
func unpackMasters(data []byte) ([]*raftlogv1.MasterRecord, error) {
	limited := &io.LimitedReader{R: flate.NewReader(bytes.NewReader(data)), N: maxMasters}
	in := bufio.NewReader(limited)
	var out []*raftlogv1.MasterRecord
	for {
		r := &raftlogv1.MasterRecord{}
		err := protodelim.UnmarshalOptions{MaxSize: maxRecord}.UnmarshalFrom(in, r)
		switch {
		case limited.N == 0:
			return nil, fmt.Errorf("what it tells of masters takes more than %d bytes", maxMasters)
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("master %d: %w", len(out)+1, err)
		}
		out = append(out, r)
	}
}

// maxEpoch is the highest that may come from outside: there must be room to go on above it.
const maxEpoch = math.MaxInt64
