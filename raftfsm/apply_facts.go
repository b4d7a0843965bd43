package raftfsm

import (
	"fmt"
	"slices"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// stateFacts commits one reading. An instance that is named and unknown was listed by the committed master: it joins the
// set, unless another set owns the address. A named unconfirmed one is confirmed.
func (d *draft) stateFacts(c *raftlogv1.StateFacts) verdict {
	m, ok := d.s.Master(c.GetMaster())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetMaster())
	}
	if m.Generation != c.GetGeneration() {
		return refuse(StaleGeneration, "master %s is at generation %d", m.Name, m.Generation)
	}
	e := d.edit(m.Name)
	for _, f := range c.GetInstances() {
		a := AddrOf(f.GetAddress())
		if before, known := e.Instance(a); known {
			d.update(e, before, f)
			continue
		}
		if _, err := lawfulAddr(f.GetAddress()); err == nil {
			d.discover(e, Instance{Addr: a}, f)
		}
	}
	for _, p := range c.GetGone() {
		a := AddrOf(p)
		in, known := e.Instance(a)
		candidate := e.Failover != nil && e.Failover.To == a
		if known && in.Unconfirmed && a != e.Address && !candidate && !e.Restored {
			d.drop(e, a)
		}
	}
	d.recount(e)
	return done()
}

// Bounds on a set. A master that lists more replicas, or ever new ones, does not fill the state.
const (
	maxInstances = 256
	maxConflicts = 64
)

func (d *draft) discover(m *Master, in Instance, f *raftlogv1.InstanceFacts) {
	a := in.Addr
	other, taken := d.s.Owner(a)
	switch {
	case taken && other.Name != m.Name:
		d.conflict(m, a, other.Name, "belongs to "+other.Name)
		return
	case twin(m, a, f.GetRunId()) != nil:
		d.conflict(m, a, m.Name, "is another address of an instance of this set")
		return
	case slices.Contains(m.Conflicts, Conflict{Addr: a, Other: m.Name}), len(m.Instances) >= maxInstances:
		return
	}
	m.Conflicts = slices.DeleteFunc(slices.Clone(m.Conflicts), func(c Conflict) bool { return c.Addr == a })
	in.Since = d.index
	d.put(m, m.learn(in, f))
	d.emitOn(m, EventSlave, a, Event{})
}

// conflict notes, once, why an address cannot join the set. There is one note an address.
func (d *draft) conflict(m *Master, a Addr, other, why string) {
	i := slices.IndexFunc(m.Conflicts, func(c Conflict) bool { return c.Addr == a })
	switch note := (Conflict{Addr: a, Other: other}); {
	case i >= 0 && m.Conflicts[i] == note, i < 0 && len(m.Conflicts) >= maxConflicts:
		return
	case i >= 0:
		m.Conflicts = slices.Clone(m.Conflicts)
		m.Conflicts[i] = note
	default:
		m.Conflicts = append(slices.Clone(m.Conflicts), note)
	}
	d.emitOn(m, EventConflict, a, Event{Detail: why})
}

// twin is another instance of the set with the run id: one process under two addresses is one instance.
func twin(m *Master, a Addr, runID string) *Instance {
	for i := range m.Instances {
		if in := &m.Instances[i]; runID != "" && in.Addr != a && in.RunID == runID {
			return in
		}
	}
	return nil
}

func (d *draft) update(m *Master, before Instance, f *raftlogv1.InstanceFacts) {
	if other := twin(m, before.Addr, f.GetRunId()); other != nil && before.RunID != f.GetRunId() && d.merge(m, before, *other) {
		return
	}
	after := m.learn(before, f)
	after.Unconfirmed = false
	d.put(m, after)
	if before.RunID != after.RunID {
		d.keepApart(m, after)
	}
	if before.RunID != "" && before.RunID != after.RunID {
		d.emitOn(m, EventReboot, before.Addr, Event{})
	}
	if before.Role != RoleUnknown && before.Role != after.Role {
		d.emitOn(m, EventRoleChange, before.Addr, Event{Detail: "new reported role is " + RoleWord(after.Role)})
	}
}

// keepApart holds a set that has a process of another set among its instances, under another spelling of its address. What
// one of the two does to the process the other would undo.
func (d *draft) keepApart(m *Master, in Instance) {
	other, ok := d.s.ProcessOwner(in.RunID, m.Name)
	if !ok || m.Hold != nil {
		return
	}
	reason := fmt.Sprintf("%s is an instance of master %s too, under another address; remove one of the two masters or forget the replica",
		in.Addr, other.Name)
	m.Hold = &Pause{Reason: reason, SinceMs: d.head.GetProposedAtMs()}
	d.emitOn(m, EventHold, in.Addr, Event{Detail: reason})
}

// merge drops one of two addresses of one process, and tells whether that was the instance in hand. The address that was
// known first stays as long as it answers, and the other is noted, since the master goes on listing it; where it is held
// down, the process has moved and the other takes its place. The committed master's and a candidate's stay in any case.
func (d *draft) merge(m *Master, in, other Instance) (dropped bool) {
	needed := func(a Addr) bool { return a == m.Address || m.Failover != nil && m.Failover.To == a }
	if needed(in.Addr) && needed(other.Addr) {
		return false
	}
	stays, goes := in.Addr, other.Addr
	if other.Since < in.Since {
		stays, goes = goes, stays
	}
	if d.s.DownVotes(m, stays) > 0 {
		stays, goes = goes, stays
	}
	if needed(goes) {
		stays, goes = goes, stays
	}
	moved := d.s.DownVotes(m, goes) > 0
	d.drop(m, goes)
	if !moved {
		d.conflict(m, goes, m.Name, "is another address of "+stays.String())
	}
	return goes == in.Addr
}

// learn is an instance with what it states of itself. That it was in sync counts only under a history of this set: one that
// follows a stranger is in sync with the stranger.
func (m *Master) learn(in Instance, f *raftlogv1.InstanceFacts) Instance {
	out := withFacts(in, f)
	if id := f.GetSyncedReplId(); m.OwnHistory(id) {
		out.SyncedReplID = id
	}
	return out
}

// OwnHistory tells whether a replication id is the committed master's, present or former.
func (m *Master) OwnHistory(id string) bool {
	master, _ := m.Instance(m.Address)
	return id != "" && (id == master.ReplID || id == master.ReplID2)
}

// withFacts is an instance with all that it states of itself but under which history it was in sync.
func withFacts(in Instance, f *raftlogv1.InstanceFacts) Instance {
	in.RunID, in.Role = f.GetRunId(), f.GetRole()
	in.ReplID, in.ReplID2, in.SecondOffset = f.GetReplId(), f.GetReplId2(), f.GetSecondOffset()
	return in
}

// put adds or replaces an instance, keeping address order.
func (d *draft) put(m *Master, in Instance) {
	list := slices.Clone(m.Instances)
	in.share(list)
	i, found := slices.BinarySearchFunc(list, in.Addr, func(x Instance, a Addr) int { return x.Addr.Compare(a) })
	if found {
		list[i] = in
	} else {
		list = slices.Insert(list, i, in)
	}
	m.Instances = list
}

// share keeps one copy of the replication ids that the instances of a set have in common: they are most of what it takes in memory.
func (in *Instance) share(others []Instance) {
	for _, id := range []*string{&in.ReplID, &in.ReplID2, &in.SyncedReplID} {
		for _, o := range others {
			switch *id {
			case o.ReplID:
				*id = o.ReplID
			case o.ReplID2:
				*id = o.ReplID2
			}
		}
	}
	if in.SyncedReplID == in.ReplID {
		in.SyncedReplID = in.ReplID
	}
}

// correct tells what was put right on an instance of the set, in no failover. Where that was the old master of a past one, and
// it could tell what was lost, the story of that failover is corrected; nothing else changes.
func (d *draft) correct(c *raftlogv1.Correct) verdict {
	m, ok := d.s.Master(c.GetMaster())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetMaster())
	}
	a, loss := AddrOf(c.GetInstance()), Loss{Kind: c.GetLoss().GetKind(), Bytes: c.GetLoss().GetBytes()}
	kind, known := corrections[c.GetKind()]
	switch _, member := m.Instance(a); {
	case m.Generation != c.GetGeneration():
		return refuse(StaleGeneration, "master %s is at generation %d", m.Name, m.Generation)
	case !known:
		return refuse(InvalidArgument, "master %s: unknown kind of correction %d", m.Name, c.GetKind())
	case c.GetEpoch() != 0 && !loss.told():
		return refuse(InvalidArgument, "master %s: a loss of kind %d with %d bytes is no correction", m.Name, loss.Kind, loss.Bytes)
	case a == m.Address || !member && c.GetEpoch() == 0: // an old master may be known by another address by now
		return refuse(NotFound, "%s is no replica of master %s", a, m.Name)
	}
	d.changed = true
	if c.GetEpoch() != 0 {
		d.amend(d.edit(m.Name), c.GetEpoch(), a, loss)
	}
	d.emitOn(m, kind, a, Event{Detail: clip(c.GetDetail()), Epoch: c.GetEpoch()})
	return done()
}

// amend replaces what a past failover is said to have lost by what its old master has told, where that says more. A story that
// is no longer kept cannot be corrected.
func (d *draft) amend(m *Master, epoch uint64, from Addr, loss Loss) {
	for i, f := range m.History {
		if f.Epoch == epoch && f.From == from && f.Switched && f.corrects(loss) {
			told := *f
			told.Loss = loss
			m.History = slices.Clone(m.History)
			m.History[i] = &told
		}
	}
}

// corrections are the events that tell of them.
var corrections = map[raftlogv1.CorrectionKind]string{
	CorrectionDemoted:   EventConvert,
	CorrectionRepointed: EventFix,
}

// RoleWord is Redis's word for a role, as INFO and the Sentinel protocol have it.
func RoleWord(r Role) string {
	switch r {
	case RoleMaster:
		return "master"
	case RoleReplica:
		return "slave"
	case RoleUnknown:
	}
	return "unknown"
}
