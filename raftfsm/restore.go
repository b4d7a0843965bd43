package raftfsm

import (
	"fmt"
	"slices"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// epochLeap is by how much the epochs go on above the highest that is known, where later ones may have been given that are not
// known any more: since a backup was taken, or by the majority that was lost.
const epochLeap = 1_000_000

// restore takes the state back to a backup. The log goes on, so that every node comes to it alike; clients see another era.
// Each set comes up paused, and is compared with its instances before anything is done about them.
func (d *draft) restore(c *raftlogv1.Restore) verdict {
	if c.GetEra() != "" && c.GetEra() == d.s.cluster.Era {
		return done()
	}
	if v := d.mayRestore(c); v.code != OK {
		return v
	}
	settings, err := d.s.settings.with(c.GetSettings(), false)
	if err != nil {
		return refuse(InvalidArgument, "the backup's settings: %v", err)
	}
	masters, v := d.restored(c)
	if v.code != OK {
		return v
	}
	was := d.s.Settings()
	before := slices.Collect(d.s.Masters())
	d.s.settings = settings
	d.s.cluster.Era = c.GetEra()
	d.s.epoch = leap(d.s.epoch, c.GetEpoch())
	for _, m := range before {
		d.s.disown(m)
		d.s.archive = d.s.archive.strike(m)
		d.s.dismiss(m)
	}
	d.entomb(c.GetTombstones())
	for _, m := range masters {
		d.s.tombstones, _, _ = d.s.tombstones.Delete([]byte(m.Name))
		d.track(m)
	}
	for _, m := range masters {
		d.s.archive = d.s.archive.file(m, d.s.level)
	}
	d.trim()
	d.changed = true
	d.emit(Event{Kind: EventNewEpoch, Epoch: d.s.epoch})
	for _, m := range before {
		d.supersede(m, was)
	}
	d.emit(Event{Kind: EventRestored, Epoch: d.s.epoch, Detail: fmt.Sprintf("%d masters from a backup of cluster %s taken at revision %d on %s",
		len(masters), c.GetClusterId(), c.GetRevision(), moment(c.GetTakenAtMs()))})
	return done()
}

// moment is a time as people read it.
func moment(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// leap is an epoch above all earlier ones, known or not.
func leap(known ...uint64) uint64 { return slices.Max(known) + epochLeap }

// mayRestore refuses a backup that is not for this cluster, or not now.
func (d *draft) mayRestore(c *raftlogv1.Restore) verdict {
	switch n := d.s.MasterCount(); {
	case c.GetEra() == "" || len(c.GetEra()) > 64 || c.GetEra() == d.s.cluster.ID:
		return refuse(InvalidArgument, "era %q: want an id of 1 to 64 bytes that the cluster has not had", c.GetEra())
	case c.GetClusterName() != d.s.cluster.Name:
		return refuse(ForeignCluster, "the backup is of a cluster named %q, this one is named %q", c.GetClusterName(), d.s.cluster.Name)
	case c.GetLevel() > d.s.level:
		return refuse(LevelTooHigh, "the backup is of feature level %d, and the cluster is at %d: upgrade every node first", c.GetLevel(), d.s.level)
	case c.GetEpoch() > maxEpoch:
		return refuse(InvalidArgument, "the backup's epoch is %d; at most %d is allowed", c.GetEpoch(), uint64(maxEpoch))
	case n > 0 && !c.GetReplace():
		return refuse(NotEmpty, "the cluster has %d masters: a backup is restored into one without any, unless it is told to replace them (restore --replace)", n)
	}
	for m := range d.s.Masters() {
		// Between the demotion and the switch of a switchover the set has no master, and only its row knows whom to make one.
		if f := m.Failover; f != nil && f.Kind == KindPlanned && !f.Switched {
			return refuse(InProgress, "a switchover of master %s is under way: wait until it has ended", m.Name)
		}
	}
	return done()
}

// restored makes the masters of a backup, or tells what is wrong with one.
func (d *draft) restored(c *raftlogv1.Restore) ([]*Master, verdict) {
	records, err := unpackMasters(c.GetMasters())
	if err != nil {
		return nil, refuse(InvalidArgument, "the backup cannot be restored: %v", err)
	}
	masters := make([]*Master, 0, len(records))
	owners := map[Addr]string{}
	for i, r := range records {
		m, err := d.revive(r, c)
		switch {
		case err == nil && i > 0 && m.Name <= masters[i-1].Name:
			err = fmt.Errorf("master %s does not stand in its place", m.Name)
		case err == nil:
			err = settle(owners, m)
		}
		if err != nil {
			return nil, refuse(InvalidArgument, "the backup cannot be restored: %v", err)
		}
		masters = append(masters, m)
	}
	return masters, done()
}

// settle notes whose the addresses of m are, each being of one set.
func settle(owners map[Addr]string, m *Master) error {
	for _, in := range m.Instances {
		if other, taken := owners[in.Addr]; taken {
			return fmt.Errorf("address %s is of master %s and of master %s", in.Addr, other, m.Name)
		}
		owners[in.Addr] = m.Name
	}
	return nil
}

// revive makes a master of its record: paused, with nothing that was of its moment, and its stories as this log knows them.
func (d *draft) revive(r *raftlogv1.MasterRecord, c *raftlogv1.Restore) (*Master, error) {
	if err := lawfulRecord(r); err != nil {
		return nil, err
	}
	m, err := masterOf(r)
	if err != nil {
		return nil, err
	}
	reason := "restored from a backup of " + moment(c.GetTakenAtMs())
	if m.Pause != nil {
		reason += "; it was paused then: " + m.Pause.Reason
	}
	if m.Hold != nil {
		reason += "; it was held then: " + m.Hold.Reason
	}
	m.Pause = &Pause{Actor: d.head.GetActor(), Reason: clip(reason), SinceMs: d.head.GetProposedAtMs()}
	m.Hold, m.Enforce, m.Restored = nil, false, true
	if m.Failover != nil {
		m.History = append(m.History, d.broken(m.Failover, "a backup that was taken in its midst was restored"))
		m.Failover = nil
	}
	for _, f := range m.History {
		if f.Epoch > c.GetEpoch() {
			return nil, fmt.Errorf("master %s has a failover with an epoch above the cluster's, %d", m.Name, c.GetEpoch())
		}
		f.Loss = d.lossAtEnd(f, f.Loss)
		f.BegunIndex, f.EndedIndex = d.index, d.index
		if f.Switched {
			f.SwitchedIndex = d.index
		}
	}
	m.Generation, m.Epoch = d.index, leap(d.s.epoch, c.GetEpoch())
	m.Votes, m.Conflicts, m.ODown, m.ODownAtMs = nil, nil, 0, 0
	for i := range m.Instances {
		in := &m.Instances[i]
		in.Since, in.Unconfirmed = d.index, in.Addr != m.Address
	}
	return m, nil
}

// broken is the story of a row that nobody carries to its end.
func (d *draft) broken(row *Failover, reason string) *Failover {
	f := *row
	f.Outcome, f.EndReason = OutcomeAborted, reason
	if f.Switched {
		f.Outcome = OutcomeTimedOut
	}
	f.EndedIndex, f.EndedAtMs = d.index, d.head.GetProposedAtMs()
	return &f
}

// lawfulRecord tells why a record cannot be that of a master.
func lawfulRecord(r *raftlogv1.MasterRecord) error {
	if err := CheckName(r.GetName()); err != nil {
		return err
	}
	opts, err := DefaultOptions().With(r.GetOptions())
	switch {
	case err != nil:
		return fmt.Errorf("master %s: %w", r.GetName(), err)
	case opts.Quorum < 1:
		return fmt.Errorf("master %s: the quorum must be 1 or greater", r.GetName())
	case len(r.GetInstances()) > maxInstances:
		return fmt.Errorf("master %s: %d instances; a set has at most %d", r.GetName(), len(r.GetInstances()), maxInstances)
	}
	member := false
	var last Addr
	for i, in := range r.GetInstances() {
		a, err := lawfulAddr(in.GetFacts().GetAddress())
		switch {
		case err != nil:
			return fmt.Errorf("master %s: %w", r.GetName(), err)
		case i > 0 && last.Compare(a) >= 0:
			return fmt.Errorf("master %s: instance %s does not stand in its place", r.GetName(), a)
		case in.GetIp() != "" && (!a.IsName() || !IsIP(in.GetIp())):
			return fmt.Errorf("master %s: instance %s has the IP address %q", r.GetName(), a, in.GetIp())
		}
		if a == AddrOf(r.GetAddress()) {
			member = in.GetMaintenance() == nil
		}
		last = a
	}
	if !member {
		return fmt.Errorf("master %s: its master %s is no instance of it that is in service", r.GetName(), AddrOf(r.GetAddress()))
	}
	return nil
}

// entomb keeps names from coming back as seeds.
func (d *draft) entomb(names []string) {
	for _, name := range names {
		if _, known := d.s.Tombstone(name); !known && CheckName(name) == nil {
			d.s.tombstones = insert(d.s.tombstones, name, d.index)
			d.note(name)
		}
	}
}

// supersede has clients hear what became of a master that gave way to a backup: that it is watched no more, or, by a switch,
// that they are told of another address.
func (d *draft) supersede(old *Master, was Settings) {
	if m, still := d.edited[old.Name]; still {
		from, _ := old.Instance(old.Address)
		to, _ := m.Instance(m.Address)
		switch {
		case m.Address != old.Address:
			d.emitOn(m, EventSwitch, m.Address, Event{Epoch: m.Epoch, From: old.Address, To: m.Address})
		case was.told(from) != d.s.Settings().told(to):
			d.emitOn(m, EventSwitch, m.Address, Event{Epoch: m.Epoch, From: was.told(from), To: d.s.Settings().told(to)})
		}
		return
	}
	d.entomb([]string{old.Name})
	d.emitOn(old, EventUnmonitor, old.Address, Event{})
}
