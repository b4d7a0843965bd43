package failover

import "github.com/raftsentinel/raftsentinel/raftfsm"

// Next is what to do now about a set. It is derived from the state and the observations alone, so that a new leader goes
// on wherever the last one stopped.
func Next(v View) Step {
	m := v.Master
	row := m.Failover
	if m.Pause != nil && m.Hold == nil && m.Pause.UntilMs != 0 && v.Now.UnixMilli() >= m.Pause.UntilMs {
		return Resume{UntilMs: m.Pause.UntilMs}
	}
	if row != nil && !row.Switched {
		return resume(v)
	}
	if step := v.ranOut(); step != nil {
		return step
	}
	if step := v.giveBack(); step != nil {
		return step
	}
	var near Step
	if !m.Resting() {
		near = begin(v)
		if _, waits := near.(Prepare); near != nil && !waits {
			return near
		}
		if near == nil && len(m.VotesAgainst(m.Address)) == 0 {
			if step := contest(v); step != nil {
				return step
			}
		}
	}
	if (m.Enforce || m.Restored) && !m.Resting() && m.Failover == nil && len(m.VotesAgainst(m.Address)) == 0 && v.alone() {
		return Settle{}
	}
	if row != nil && v.unmoved(row) {
		return Move{Row: row}
	}
	r := reconcile(v)
	if row != nil && v.unsaved(row) && !r.demotes() {
		return Save{Row: row}
	}
	if len(r.actions) > 0 {
		return Repoint{Actions: r.actions}
	}
	if row != nil {
		if step := finish(v, r); step != nil {
			return step
		}
	}
	if near != nil {
		return near
	}
	if ask := v.unsure(); len(ask) > 0 {
		return Measure{Instances: ask, Reason: "the last row ended without a switch; its sides are read again", For: ProbePeriod(m.Options)}
	}
	return idle(v, r)
}

// idle is when to look again where nothing can be done.
func idle(v View, r reconciliation) Step {
	m, period := v.Master, ProbePeriod(v.Master.Options)
	rest := v.rest()
	if m.Failover != nil || (!r.done && !m.Resting()) {
		ask := r.stale
		if m.Failover != nil {
			ask = v.members()
		}
		if len(ask) > 0 {
			return Measure{Instances: ask, Reason: "replicas are on their way", For: period}
		}
	}
	if r.waiting != "" {
		return Rest{Reason: r.waiting, For: rest}
	}
	return Rest{For: rest}
}

// NeedsCare tells, from the state alone, whether a set must be looked at when observations change, and not only when the
// state does.
func NeedsCare(m *raftfsm.Master) bool {
	if m.Failover != nil || m.IsODown() || len(m.Votes) > 0 || m.Enforce || m.Restored && !m.Resting() || m.Pause != nil && m.Pause.UntilMs != 0 {
		return true
	}
	if m.Resting() {
		return false
	}
	master, _ := m.Instance(m.Address)
	if master.Role != raftfsm.RoleMaster {
		return true
	}
	for _, in := range m.Instances {
		if in.Maintenance != nil && in.Role != raftfsm.RoleMaster {
			continue
		}
		if in.Addr != m.Address && (in.Role != raftfsm.RoleReplica || in.ReplID != master.ReplID) {
			return true
		}
	}
	return false
}
