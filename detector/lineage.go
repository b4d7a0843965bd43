package detector

import "github.com/raftsentinel/raftsentinel/raftfsm"

// zeroReplID is what Redis shows where there is no second history.
const zeroReplID = "0000000000000000000000000000000000000000"

// Lineage is an instance's place in the replication histories: which history its data is of, and up to where it shares
// the one before. A Redis names each history by a replication id; a promotion begins a new one and remembers the former
// as the second id, with the first offset that is no longer shared (Redis docs, "Replication ID explained").
type Lineage struct {
	ReplID  string
	ReplID2 string
	// SecondOffset is the first offset that ReplID2 no longer vouches for; -1 for none.
	SecondOffset int64
	// Offset is how far the data goes; -1 where it is not known.
	Offset int64
}

// Lineage is what the instance says of its histories.
func (i *Info) Lineage() Lineage {
	return Lineage{ReplID: i.ReplID, ReplID2: i.ReplID2, SecondOffset: i.SecondOffset, Offset: i.Offset}
}

func known(id string) bool { return id != "" && id != zeroReplID }

// SameHistory tells whether a and b now write or follow one history, by the same replication id. How far each has come
// is not compared.
func (l Lineage) SameHistory(o Lineage) bool { return known(l.ReplID) && l.ReplID == o.ReplID }

// PromotedFrom tells whether the instance was promoted from a follower of the history replID: it began a history of its
// own where it left that one.
func (l Lineage) PromotedFrom(replID string) bool {
	return known(replID) && l.ReplID2 == replID && l.ReplID != replID
}

// Continues tells whether l carries on the history replID, by still being of it or by having been promoted from it.
func (l Lineage) Continues(replID string) bool {
	return known(replID) && (l.ReplID == replID || l.ReplID2 == replID)
}

// Related tells whether the two have a history in common, however long ago one of them left it.
func (l Lineage) Related(o Lineage) bool {
	return l.Continues(o.ReplID) || o.Continues(l.ReplID) || (known(l.ReplID2) && l.ReplID2 == o.ReplID2)
}

// Resumes tells whether l could follow master without copying its data whole: l's data is a prefix of master's. It is
// the condition of a partial resynchronisation (Redis replication.c, masterTryPartialResync) apart from the backlog,
// whose length INFO does not bound.
func (l Lineage) Resumes(master Lineage) bool {
	switch {
	case l.Offset < 0 || !known(l.ReplID):
		return false
	case l.ReplID == master.ReplID:
		return l.Offset <= master.Offset
	case l.ReplID == master.ReplID2:
		return l.Offset < master.SecondOffset
	}
	return false
}

// HasAllOf tells whether nothing that old holds is missing in l: both of one history and l as far, or l promoted from
// old's history no earlier than where old stands.
func (l Lineage) HasAllOf(old Lineage) bool { return old.Resumes(l) }

// LostBytes is how much of old's history the promoted instance never had, in bytes of the replication stream. It is exact
// only while old's process survived; ok is false where it cannot have: the promoted one did not leave old's very history,
// or left it further on than old now stands, which is then back from an older copy of its data.
func LostBytes(old, promoted Lineage) (bytes int64, ok bool) {
	if !promoted.PromotedFrom(old.ReplID) || promoted.SecondOffset < 1 || old.Offset < promoted.SecondOffset-1 {
		return 0, false
	}
	return old.Offset - (promoted.SecondOffset - 1), true
}

// InSync tells whether a replica has at this moment a whole copy of its master's data and follows it: the fact that a
// node states as "has been in sync under this replication id".
func (i *Info) InSync() bool {
	return i.Role == raftfsm.RoleReplica && i.MasterLinkUp && !i.SyncInProgress && i.whole()
}

// Promotable tells whether the data of a replica is a whole copy, so that promoting it would not empty the set. syncedID
// is the replication id under which it was last known in sync, "" for never; reached is the highest offset that the set's
// data is known to have come to, -1 for unknown.
//
// Real Redis shows three states that look promotable and are not: a replica that waits for its first copy (offset 0 or 1,
// link never up), one whose copy broke off while it replaced the former data (offset 0 or 1, link down, loading 0, the
// id of before), and one in the midst of it. With its link up the copy is whole, even at offset 0: nothing was written
// yet. With its link down it must have been seen in sync under an id that it still shows, and an offset of 0 or 1 is
// believed only where the set had come no further.
func (i *Info) Promotable(syncedID string, reached int64) bool {
	if i.Role != raftfsm.RoleReplica || i.SyncInProgress || !i.whole() {
		return false
	}
	if i.MasterLinkUp {
		return true
	}
	untouched := i.MasterLinkDown >= 0 && reached >= 0 && reached <= 1
	return i.Lineage().Continues(syncedID) && (i.Offset > 1 || untouched)
}

// whole: nothing is being loaded, and there is a history.
func (i *Info) whole() bool { return !i.Loading && !i.AsyncLoading && known(i.ReplID) }

// Restarted tells whether the process at an address is another than the one known by its run id.
func (i *Info) Restarted(runID string) bool { return runID != "" && i.RunID != "" && i.RunID != runID }

// Forgot tells whether a restarted master has lost its data: it is another process than runID, and neither of its
// histories is last's. Redis from 7.0 restores the former id as the second one; older versions, and all of them with
// only an AOF, come back with new ids, so that a true answer means "may have lost", never "has kept".
func (i *Info) Forgot(runID string, last Lineage) bool {
	if !i.Restarted(runID) || i.Loading {
		return false
	}
	now := i.Lineage()
	return !now.Continues(last.ReplID) || now.Offset < last.Offset
}
