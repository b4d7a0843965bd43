package failover

import (
	"fmt"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// switching is the next step of a switchover that is before its switch: forward where the candidate is promoted already, back
// where it cannot be finished in its time, else the hand-over, from wherever it stands.
func switching(v View, row *raftfsm.Failover) Step {
	if v.promoted(row.To) {
		return Promote{Row: row, Already: true}
	}
	if reason := v.turnBack(row); reason != "" {
		if v.unread(row.To) {
			return Measure{Instances: []raftfsm.Addr{row.To}, Reason: "an earlier leader may have promoted the candidate", For: ProbePeriod(v.Master.Options)}
		}
		return RollBack{Row: row, Reason: reason}
	}
	return HandOver{Row: row}
}

// turnBack is why a switchover must be rolled back; "" where it goes on.
func (v View) turnBack(row *raftfsm.Failover) string {
	m := v.Master
	o, _ := v.Observe(m.Address)
	wait := time.Duration(row.MaxWaitMs) * time.Millisecond
	switch {
	case m.Hold != nil:
		return "the set is held: " + m.Hold.Reason
	case m.IsODown() || o.Down:
		return fmt.Sprintf("master %s does not answer: it is down, and only a failover can replace it", m.Address)
	case v.Now.Sub(v.Memory.RowSince) > wait:
		return fmt.Sprintf("max-wait (%s) has passed", wait)
	}
	return ""
}

// unread tells whether an instance that answers was not read since this leadership has known the row: what it says of itself
// may be from before it was promoted. It is waited for two probe periods.
func (v View) unread(a raftfsm.Addr) bool {
	o, _ := v.Observe(a)
	return v.answers(a) && o.InfoAt.Before(v.Memory.RowSince) && v.Now.Sub(v.Memory.RowSince) < 2*ProbePeriod(v.Master.Options)
}

// Level is the check that counts: the candidate has every byte that the old master has. It proves something only once the old
// one takes no more writes, because it is a replica by now.
func Level(old, candidate *detector.Info) bool {
	return known(old.ReplID) && candidate.ReplID == old.ReplID && old.Offset >= 0 && candidate.Offset >= old.Offset
}

// Stage is how far a hand-over has come, by what both instances say of themselves at this moment.
type Stage int

// The stages.
const (
	// StageBegin: the old one is the master, the candidate follows it.
	StageBegin Stage = iota
	// StageDemoted: neither is a master.
	StageDemoted
	// StageLost: the two have nothing to do with each other any more.
	StageLost
)

// StageOf tells how far a hand-over has come whose candidate is not promoted yet, and in words why it cannot go on from there; "" where it can.
func (v View) StageOf(row *raftfsm.Failover, old, candidate *detector.Info) (Stage, string) {
	in, _ := v.Master.Instance(row.To)
	switch {
	case candidate.Role != raftfsm.RoleReplica:
		return StageLost, fmt.Sprintf("candidate %s says that it is a master, and was not promoted from this set", row.To)
	case old.ReplID != candidate.ReplID || !known(old.ReplID):
		return StageLost, fmt.Sprintf("candidate %s has data of history %s, the master of %s", row.To, short(candidate.ReplID), short(old.ReplID))
	case old.Role == raftfsm.RoleReplica:
		return StageDemoted, ""
	}
	if _, why := v.judgeInfo(in, candidate); why != "" {
		return StageBegin, fmt.Sprintf("candidate %s %s", row.To, why)
	}
	if !candidate.MasterLinkUp {
		return StageBegin, fmt.Sprintf("candidate %s has no link to the master", row.To)
	}
	return StageBegin, ""
}

// MayGiveWay tells whether the old master of an automatic failover may hand over first: this node hears it, whatever others
// do. One that has been silent for half of down-after would only cost time.
func (v View) MayGiveWay(row *raftfsm.Failover) bool {
	return row.Kind == raftfsm.KindAutomatic && v.answers(row.From) && !v.silent(row.From)
}

// unmoved tells whether the clients of an old master that gave way are still to be let go. Each leadership sees to it once.
// Where the leader was lost in between, a switchover's row does not tell that the old one gave way.
func (v View) unmoved(row *raftfsm.Failover) bool {
	return (row.HandedOver() || row.Kind == raftfsm.KindPlanned) && v.Memory.Moved != row.Epoch && v.answers(row.From)
}
