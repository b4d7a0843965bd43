package failover

import (
	"fmt"
	"strings"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// contest compares the committed state with what the instances say, before anything is demoted on its word; nil where
// they agree, or disagree in a way that this cluster brought about itself.
func contest(v View) Step {
	m := v.Master
	masters := v.masters()
	period := ProbePeriod(m.Options)
	master, fresh := v.info(m.Address)
	if master == nil || master.Loading {
		return nil
	}
	if !fresh && (len(masters) > 0 || v.masterIsReplica()) {
		return Measure{Instances: []raftfsm.Addr{m.Address}, Reason: "the roles of the set differ from the state", For: period}
	}
	if master.Role == raftfsm.RoleReplica {
		return contradicted(v, master, masters)
	}
	if m.Enforce || v.Memory.Settled || master.Role != raftfsm.RoleMaster {
		return nil
	}
	var rivals []string
	for _, a := range masters {
		if !v.ours(a) {
			rivals = append(rivals, a.String())
		}
	}
	if len(rivals) == 0 {
		return nil
	}
	return Hold{Reason: fmt.Sprintf("%s and the committed master %s both say that they are masters", strings.Join(rivals, ", "), m.Address)}
}

// contradicted: the committed master says that it is a replica.
func contradicted(v View, master *detector.Info, masters []raftfsm.Addr) Step {
	m := v.Master
	if v.fact().Role != raftfsm.RoleReplica {
		return Rest{Reason: "the master's role is not committed yet"}
	}
	if heir, ok := v.heir(); ok {
		return Adopt{Address: heir, Reason: fmt.Sprintf("it was promoted from this set, and %s is a replica", m.Address)}
	}
	if len(masters) > 0 && !m.Enforce {
		return Hold{Reason: fmt.Sprintf("%s says that it is a master, the committed master %s that it is a replica, and it was not promoted from this set",
			join(masters), m.Address)}
	}
	if wait := v.Now.Sub(v.Memory.ReplicaSince); wait < m.Options.DownAfter {
		return Measure{
			Instances: v.members(), Reason: "the master says that it is a replica",
			For: min(ProbePeriod(m.Options), m.Options.DownAfter-wait),
		}
	}
	if stale := v.staleMembers(); len(stale) > 0 && v.Now.Sub(v.Memory.ReplicaSince) < 2*m.Options.DownAfter {
		return Measure{Instances: stale, Reason: "the master says that it is a replica", For: ProbePeriod(m.Options)}
	}
	if v.ahead(master) {
		return Restore{Reason: fmt.Sprintf("%s says that it is a replica, and has all that the others have", m.Address)}
	}
	return open(v, v.Memory.ReplicaSince, fmt.Sprintf("%s says that it is a replica", m.Address))
}

// masters are the members other than the committed one that say they are masters.
func (v View) masters() []raftfsm.Addr {
	var out []raftfsm.Addr
	for _, in := range v.Master.Replicas() {
		if i, _ := v.info(in.Addr); i != nil && i.Role == raftfsm.RoleMaster {
			out = append(out, in.Addr)
		}
	}
	return out
}

// heir is the one other member that is a master, by a fresh reading, and was promoted from this set since the last switch.
func (v View) heir() (raftfsm.Addr, bool) {
	masters := v.masters()
	if len(masters) != 1 || !v.promoted(masters[0]) || v.former(masters[0]) {
		return raftfsm.Addr{}, false
	}
	return masters[0], true
}

// former tells whether an instance is an old master as it was before a failover took the mastership from it: it too was
// promoted from this set, once. To adopt it would undo that failover, and lose what was written since.
func (v View) former(a raftfsm.Addr) bool {
	i, _ := v.info(a)
	for _, row := range append([]*raftfsm.Failover{v.Master.Failover}, v.Master.History...) {
		if row == nil || !row.Switched || row.From != a || i == nil || !known(row.OldReplID) {
			continue
		}
		if row.OldReplID == i.ReplID || row.OldReplID == i.ReplID2 {
			return true
		}
	}
	return false
}

// ours tells whether it is this cluster's own doing that an instance is a master beside the committed one: the old master
// of a failover, or a candidate that was abandoned. An old master that was promoted again out of the present one's
// history is not: the state has missed something.
func (v View) ours(a raftfsm.Addr) bool {
	m := v.Master
	for _, row := range append([]*raftfsm.Failover{m.Failover}, m.History...) {
		switch {
		case row == nil:
		case !row.Switched && row.To == a:
			return true
		case row.Switched && row.From == a && !v.promotedAfter(a):
			return true
		}
	}
	return false
}

// promotedAfter tells whether an instance left the history that the committed master writes now.
func (v View) promotedAfter(a raftfsm.Addr) bool {
	i, _ := v.info(a)
	return i != nil && i.Lineage().PromotedFrom(v.fact().ReplID)
}

// ahead tells whether the committed master, though a replica, holds data of the set and no less of it than any sibling.
func (v View) ahead(master *detector.Info) bool {
	if master.MasterLinkUp || master.SyncInProgress || master.Loading || master.AsyncLoading || !known(master.ReplID) {
		return false
	}
	own := master.Lineage()
	if own.ReplID != v.fact().ReplID {
		return false
	}
	for _, in := range v.Master.Replicas() {
		if !v.answers(in.Addr) {
			continue
		}
		i, fresh := v.info(in.Addr)
		if i == nil || !fresh || !own.HasAllOf(i.Lineage()) {
			return false
		}
	}
	return true
}

func (v View) members() []raftfsm.Addr {
	var out []raftfsm.Addr
	for _, in := range v.Master.Instances {
		out = append(out, in.Addr)
	}
	return out
}

// staleMembers are those that answer and were not read lately.
func (v View) staleMembers() []raftfsm.Addr {
	var out []raftfsm.Addr
	for _, in := range v.Master.Instances {
		if _, fresh := v.info(in.Addr); !fresh && v.answers(in.Addr) {
			out = append(out, in.Addr)
		}
	}
	return out
}

func join(addrs []raftfsm.Addr) string {
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}
