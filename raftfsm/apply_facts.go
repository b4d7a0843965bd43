package raftfsm

import (
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
		if _, err := NewAddr(a.Host, int(a.Port)); err == nil {
			d.discover(e, a, f)
		}
	}
	for _, p := range c.GetGone() {
		a := AddrOf(p)
		in, known := e.Instance(a)
		candidate := e.Failover != nil && e.Failover.To == a
		if known && in.Unconfirmed && a != e.Address && !candidate {
			d.drop(e, a)
		}
	}
	d.recount(e)
	return done()
}

func (d *draft) discover(m *Master, a Addr, f *raftlogv1.InstanceFacts) {
	other, taken := d.s.Owner(a)
	if !taken {
		other = d.twin(m, a, f.GetRunId())
		taken = other != nil
	}
	if taken {
		conflict := Conflict{Addr: a, Other: other.Name}
		if !slices.Contains(m.Conflicts, conflict) {
			m.Conflicts = append(slices.Clone(m.Conflicts), conflict)
			d.emitOn(m, EventConflict, a, Event{Detail: "belongs to " + other.Name})
		}
		return
	}
	m.Conflicts = slices.DeleteFunc(slices.Clone(m.Conflicts), func(c Conflict) bool { return c.Addr == a })
	d.put(m, withFacts(Instance{Addr: a, SecondOffset: -1, Since: d.index}, f))
	d.emitOn(m, EventSlave, a, Event{})
}

// twin is m itself where another of its instances has the run id: one process under two addresses is one instance.
func (d *draft) twin(m *Master, a Addr, runID string) *Master {
	if runID != "" && slices.ContainsFunc(m.Instances, func(in Instance) bool { return in.Addr != a && in.RunID == runID }) {
		return m
	}
	return nil
}

func (d *draft) update(m *Master, before Instance, f *raftlogv1.InstanceFacts) {
	if before.Addr != m.Address && before.RunID != f.GetRunId() && d.twin(m, before.Addr, f.GetRunId()) != nil {
		d.drop(m, before.Addr)
		m.Conflicts = append(slices.Clone(m.Conflicts), Conflict{Addr: before.Addr, Other: m.Name})
		d.emitOn(m, EventConflict, before.Addr, Event{Detail: "is another address of an instance of this set"})
		return
	}
	after := withFacts(before, f)
	after.Unconfirmed = false
	d.put(m, after)
	if before.RunID != "" && before.RunID != after.RunID {
		d.emitOn(m, EventReboot, before.Addr, Event{})
	}
	if before.Role != RoleUnknown && before.Role != after.Role {
		d.emitOn(m, EventRoleChange, before.Addr, Event{Detail: "new reported role is " + RoleWord(after.Role)})
	}
}

func withFacts(in Instance, f *raftlogv1.InstanceFacts) Instance {
	in.RunID, in.Role = f.GetRunId(), f.GetRole()
	in.ReplID, in.ReplID2, in.SecondOffset = f.GetReplId(), f.GetReplId2(), f.GetSecondOffset()
	in.SyncedReplID = f.GetSyncedReplId()
	return in
}

// put adds or replaces an instance, keeping address order.
func (d *draft) put(m *Master, in Instance) {
	list := slices.Clone(m.Instances)
	i, found := slices.BinarySearchFunc(list, in.Addr, func(x Instance, a Addr) int { return x.Addr.Compare(a) })
	if found {
		list[i] = in
	} else {
		list = slices.Insert(list, i, in)
	}
	m.Instances = list
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
