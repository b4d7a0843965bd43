package failover

import (
	"fmt"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// kinship is how the data of a replica is related to that of the committed master; the nearest is the lowest.
type kinship int

const (
	// kinPresent: it is of the master's present history, or left it.
	kinPresent kinship = iota
	// kinFormer: it is a beginning of that history, from before the master was promoted.
	kinFormer
	// kinOrphaned: it is of the history under which the replica was last in sync here, and the master has begun another that
	// nobody has taken over: it came back without its data, and the replicas alone still have the set's.
	kinOrphaned
	kinNone
)

func (k kinship) String() string {
	switch k {
	case kinPresent:
		return "of the master's history"
	case kinFormer:
		return "of the master's former history"
	case kinOrphaned:
		return "of a history that the master has lost"
	case kinNone:
	}
	return "not of this set"
}

// lineage is what there is to compare of the data of two replicas. Offsets of different histories are never compared.
type lineage struct {
	kin kinship
	// shared is how far the data follows the master's present history; -1 where it does not at all.
	shared int64
	// history is the replication id of the data.
	history string
}

func (v View) lineage(in raftfsm.Instance, i *detector.Info) lineage {
	l, master := i.Lineage(), v.fact()
	out := lineage{kin: kinNone, shared: -1, history: l.ReplID}
	switch {
	case l.SameHistory(lineageOf(master)):
		out.kin, out.shared = kinPresent, l.Offset
	case l.PromotedFrom(master.ReplID):
		out.kin, out.shared = kinPresent, min(l.Offset, l.SecondOffset-1)
	case known(master.ReplID2) && l.Continues(master.ReplID2):
		if l.Resumes(detector.Lineage{ReplID2: master.ReplID2, SecondOffset: master.SecondOffset}) {
			out.kin, out.shared = kinFormer, l.Offset
		}
	case l.Continues(in.SyncedReplID) && !v.takenOver():
		out.kin = kinOrphaned
	}
	return out
}

// stranger tells in words why the data of a replica is not of the set.
func (v View) stranger(i *detector.Info) string {
	master := v.fact()
	if known(master.ReplID2) && i.Lineage().Continues(master.ReplID2) {
		return fmt.Sprintf("its data is of history %s up to offset %d, which the master left at %d", short(master.ReplID2), i.Offset, master.SecondOffset)
	}
	return fmt.Sprintf("its data is of replication history %s, not %s", short(i.ReplID), short(master.ReplID))
}

// takenOver tells whether any replica has taken over the master's present history: then that is the set's data.
func (v View) takenOver() bool {
	id := v.fact().ReplID
	if !known(id) {
		return false
	}
	for _, in := range v.Master.Replicas() {
		if in.ReplID == id || in.SyncedReplID == id {
			return true
		}
		if o, ok := v.Observe(in.Addr); ok && o.Info != nil && o.Info.ReplID == id {
			return true
		}
	}
	return false
}

func lineageOf(in raftfsm.Instance) detector.Lineage {
	return detector.Lineage{ReplID: in.ReplID, ReplID2: in.ReplID2, SecondOffset: in.SecondOffset, Offset: -1}
}

// zeroReplID is what Redis shows for no history.
const zeroReplID = "0000000000000000000000000000000000000000"

func known(id string) bool { return id != "" && id != zeroReplID }

func short(id string) string {
	switch {
	case !known(id):
		return "unknown"
	case len(id) > 8:
		return id[:8]
	}
	return id
}
