package failover

import (
	"fmt"
	"slices"
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
	if m.Enforce || master.Role != raftfsm.RoleMaster {
		return nil
	}
	if all := v.beyond(master); len(all) > 0 {
		if !fresh {
			return Measure{Instances: []raftfsm.Addr{m.Address}, Reason: "the data of the set differs from the state", For: period}
		}
		return v.hold(all, fmt.Sprintf("the data of %s goes on where that of the committed master %s does not: another may have been promoted since the state was true",
			join(all), m.Address))
	}
	if v.Memory.Settled {
		return nil
	}
	var rivals []raftfsm.Addr
	for _, a := range masters {
		if !v.ours(a) {
			rivals = append(rivals, a)
		}
	}
	if len(rivals) == 0 {
		return nil
	}
	return v.hold(rivals, fmt.Sprintf("%s and the committed master %s both say that they are masters", join(rivals), m.Address))
}

// beyond are the replicas of a restored set that hold what the committed master may never have had, and do not look for it: their
// master may be one that was promoted since, and out of reach. To have them follow the committed one would throw that away.
func (v View) beyond(master *detector.Info) []raftfsm.Addr {
	if !v.Master.Restored {
		return nil
	}
	var out []raftfsm.Addr
	for _, in := range v.Master.Replicas() {
		i, _ := v.info(in.Addr)
		if i == nil || i.Role != raftfsm.RoleReplica || leftAlone(in, i) {
			continue
		}
		own, its := master.Lineage(), i.Lineage()
		at, err := raftfsm.NewAddr(i.MasterHost, i.MasterPort)
		switch {
		case err == nil && at == v.Master.Address, its.SameHistory(own), own.HasAllOf(its):
		case v.chained(i), its.Related(own):
			out = append(out, in.Addr)
		}
	}
	return out
}

// hold holds a set because of what its instances say of themselves, once all of that was read just now, and since the committed master
// is this one, as far as this leadership knows. What was read before was said of another.
func (v View) hold(rivals []raftfsm.Addr, reason string) Step {
	var stale []raftfsm.Addr
	for _, a := range append(slices.Clip(rivals), v.Master.Address) {
		if _, fresh := v.info(a); !fresh || !v.readSince(a) {
			stale = append(stale, a)
		}
	}
	if len(stale) > 0 {
		return Measure{Instances: stale, Reason: "the roles of the set differ from the state", For: ProbePeriod(v.Master.Options)}
	}
	return Hold{Reason: reason}
}

// contradicted: the committed master says that it is a replica.
func contradicted(v View, master *detector.Info, masters []raftfsm.Addr) Step {
	m := v.Master
	if v.fact().Role != raftfsm.RoleReplica {
		return Rest{Reason: "the master's role is not committed yet"}
	}
	if heir, ok := v.heir(); ok && !v.heldDown(heir) {
		return Adopt{Address: heir, Reason: fmt.Sprintf("it was promoted from this set, and %s is a replica", m.Address)}
	}
	if len(masters) > 0 && !m.Enforce {
		return v.hold(masters, fmt.Sprintf("%s says that it is a master, the committed master %s that it is a replica, and it was not promoted from this set",
			join(masters), m.Address))
	}
	if v.handedBack(master) {
		return Restore{Reason: fmt.Sprintf("the failover from %s was given up, and it is a replica still", m.Address)}
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

// handedBack tells whether the committed master is a replica because it gave way to the candidate of the last row, which ended
// without a switch under a leader that did not come to the rest. There is nothing to wait for: it has what it had.
func (v View) handedBack(master *detector.Info) bool {
	row := v.unswitched()
	if row == nil {
		return false
	}
	at, err := raftfsm.NewAddr(master.MasterHost, master.MasterPort)
	return err == nil && at == row.To &&
		known(row.OldReplID) && master.ReplID == row.OldReplID && master.Offset >= row.OldOffset && !master.SyncInProgress && !master.Loading
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

// heldDown tells whether the quorum holds an instance down. The law lets nobody but an operator adopt such a one.
func (v View) heldDown(a raftfsm.Addr) bool {
	return v.State.DownVotes(v.Master, a) >= v.Master.Options.Quorum
}

// former tells whether an instance is an old master as it was before a failover took the mastership from it: it too was
// promoted from this set, once. To adopt it would undo that failover, and lose what was written since.
func (v View) former(a raftfsm.Addr) bool {
	i, _ := v.info(a)
	for _, row := range v.rows() {
		if !row.Switched || row.From != a || i == nil || !known(row.OldReplID) {
			continue
		}
		if row.OldReplID == i.ReplID || row.OldReplID == i.ReplID2 {
			return true
		}
	}
	return false
}

// ours tells whether it is this cluster's own doing that an instance is a master beside the committed one: it is the old
// master of a failover and was not brought back since, or a candidate that the last failover abandoned. What it says of
// its histories is the proof: the roles that the state knows come and go.
func (v View) ours(a raftfsm.Addr) bool {
	return v.deposed(a) || v.abandoned(a)
}

// deposed tells whether an instance lost the mastership in a failover and has had no data since of what came after it: it
// was in sync with none of the later masters, and was not promoted out of their histories.
func (v View) deposed(a raftfsm.Addr) bool {
	i, _ := v.info(a)
	in, _ := v.Master.Instance(a)
	later := []string{v.fact().ReplID}
	for _, row := range v.rows() {
		if !row.Switched || row.From != a {
			later = append(later, row.OldReplID)
			continue
		}
		return i != nil && !slices.ContainsFunc(later, func(id string) bool {
			return known(id) && (in.SyncedReplID == id || i.Lineage().Continues(id))
		})
	}
	return false
}

// abandoned tells whether an instance is a candidate that the last failover promoted and went on without. Nobody was ever
// sent to it: one that holds what was written since is somebody else's doing, and would lose it.
func (v View) abandoned(a raftfsm.Addr) bool {
	i, _ := v.info(a)
	rows := v.rows()
	if i == nil || len(rows) == 0 {
		return false
	}
	epoch := rows[0].Epoch
	for _, row := range rows {
		if row.Epoch != epoch {
			return false
		}
		if !row.Switched && row.To == a {
			return i.Lineage().PromotedFrom(row.OldReplID) && i.SecondOffset > measured(row) && i.Offset < i.SecondOffset
		}
		epoch = row.Replaces
	}
	return false
}

// measured is the offset at which the candidate of a row was chosen; -1 for unknown.
func measured(row *raftfsm.Failover) int64 {
	for _, c := range row.Candidates {
		if c.Addr == row.To {
			return c.Offset
		}
	}
	return -1
}

// rows are the failovers of the set, the newest first.
func (v View) rows() []*raftfsm.Failover {
	var out []*raftfsm.Failover
	if v.Master.Failover != nil {
		out = append(out, v.Master.Failover)
	}
	for _, row := range slices.Backward(v.Master.History) {
		out = append(out, row)
	}
	return out
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
