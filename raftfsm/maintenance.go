package raftfsm

import raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

// maintain begins, changes or ends the maintenance of an instance. Its verdicts are void while it lasts: nobody reports it,
// and what was reported before says nothing about what is meant.
func (d *draft) maintain(c *raftlogv1.Maintain) verdict {
	a := AddrOf(c.GetInstance())
	m, ok := d.s.Owner(a)
	if !ok {
		return refuse(NotFound, "no instance at %s", a)
	}
	in, _ := m.Instance(a)
	was := in.Maintenance
	if c.GetEnd() {
		return d.endMaintenance(m, in, c.GetUntilMs())
	}
	if want := c.GetExpectedRevision(); want != 0 && want != m.Revision {
		return refuse(StaleRevision, "master %s is at revision %d, not %d: read it again", m.Name, m.Revision, want)
	}
	if a == m.Address {
		return refuse(BadCandidate, "%s is the master of %s: switch it over first", a, m.Name)
	}
	if f := m.Failover; f != nil && !f.Switched && f.To == a {
		return refuse(InProgress, "%s is the candidate of the failover of %s that is under way (epoch %d)", a, m.Name, f.Epoch)
	}
	p := Pause{Actor: d.head.GetActor(), Reason: clip(c.GetReason()), SinceMs: d.head.GetProposedAtMs(), UntilMs: c.GetUntilMs()}
	if was != nil {
		p.SinceMs = was.SinceMs
		if p == *was {
			return done()
		}
	}
	e := d.edit(m.Name)
	in.Maintenance = &p
	d.put(e, in)
	d.acquit(e, a)
	d.emitOn(e, EventMaintenance, a, Event{Detail: p.Reason})
	return done()
}

func (d *draft) endMaintenance(m *Master, in Instance, until int64) verdict {
	switch was := in.Maintenance; {
	case until != 0 && (was == nil || was.UntilMs != until):
		return refuse(StaleRevision, "the maintenance of %s does not end at %d any more", in.Addr, until)
	case was == nil:
		return done()
	}
	d.over(d.edit(m.Name), in)
	return done()
}

// over ends the maintenance of an instance. It is over too once the instance is the master: nobody may be left alone there.
func (d *draft) over(m *Master, in Instance) {
	in.Maintenance = nil
	d.put(m, in)
	d.emitOn(m, EventMaintenanceEnd, in.Addr, Event{})
}

// acquit takes back every verdict against an instance.
func (d *draft) acquit(m *Master, a Addr) {
	var kept []Vote
	for _, v := range m.Votes {
		if v.Instance != a {
			kept = append(kept, v)
			continue
		}
		kind := EventSDownEnd
		if !Counts(v.Cause) {
			kind = EventAuthEnd
		}
		d.emitOn(m, kind, a, Event{Node: v.Node})
	}
	m.Votes = kept
}

// InMaintenance tells whether an instance is left alone.
func (m *Master) InMaintenance(a Addr) bool {
	in, ok := m.Instance(a)
	return ok && in.Maintenance != nil
}
