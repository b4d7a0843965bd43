package failover

import (
	"maps"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// unswitched is the last row of the set, where it was from the committed master and ended without a switch; else nil.
func (v View) unswitched() *raftfsm.Failover {
	m := v.Master
	if m.Failover != nil || len(m.History) == 0 {
		return nil
	}
	row := m.History[len(m.History)-1]
	if row.Switched || row.From != m.Address {
		return nil
	}
	return row
}

// unsure are the sides of a row that ended without a switch which may still do what they were told in it: the master step
// down, the candidate become one. A command waits in the connection of a process that stands still, and is executed once that
// goes on, after the row has ended; and what was read before this leadership says nothing of what the last one did. Each is
// read twice, because the first answer of a process that goes on may come before the command is executed. One that is down, or
// tells us nothing, is not waited for.
func (v View) unsure() []raftfsm.Addr {
	row := v.unswitched()
	if row == nil {
		return nil
	}
	var out []raftfsm.Addr
	for _, a := range []raftfsm.Addr{row.From, row.To} {
		_, member := v.Master.Instance(a)
		o, seen := v.Observe(a)
		first, once := v.Memory.Reread[a]
		if member && seen && o.Info != nil && !o.Down && !o.AuthRejected && !(once && o.InfoAt.Sub(first) >= ProbePeriod(v.Master.Options)/2) {
			out = append(out, a)
		}
	}
	return out
}

// reread notes who of those was read for the first time.
func (v View) reread(mem Memory) map[raftfsm.Addr]time.Time {
	row := v.unswitched()
	if row == nil {
		return nil
	}
	known := mem.Reread
	for _, a := range []raftfsm.Addr{row.From, row.To} {
		o, seen := v.Observe(a)
		if _, once := known[a]; once || !seen || !o.InfoAt.After(mem.Led) || !o.InfoAt.After(mem.Ended) {
			continue
		}
		known = maps.Clone(known)
		if known == nil {
			known = map[raftfsm.Addr]time.Time{}
		}
		known[a] = o.InfoAt
	}
	return known
}

// giveBack makes a master of the committed one where a person has paused the set and it stepped down in a switchover that was
// given up: that was this cluster's own doing.
func (v View) giveBack() Step {
	m := v.Master
	master, fresh := v.info(m.Address)
	if m.Pause == nil || m.Hold != nil || !fresh || master.Role != raftfsm.RoleReplica || len(v.masters()) > 0 || !v.handedBack(master) {
		return nil
	}
	return Restore{Reason: "the switchover from " + m.Address.String() + " was given up, and it is a replica still"}
}
