package failover

import (
	"fmt"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// resume is the next step of a row whose master is not switched yet. Until it is, the committed master is the truth.
func resume(v View) Step {
	m, row := v.Master, v.Master.Failover
	if row.Kind == raftfsm.KindPlanned {
		return switching(v, row)
	}
	promoted := v.promoted(row.To)
	if reason := v.calledOff(row, promoted); reason != "" {
		return End{Epoch: row.Epoch, Outcome: raftfsm.OutcomeAborted, Reason: reason, Late: v.late()}
	}
	if row.Kind == raftfsm.KindAutomatic && m.IsODown() && v.confirmed() < m.Options.Quorum {
		return Rest{Reason: "the votes are not confirmed in this leadership yet", For: v.confirming()}
	}
	if promoted {
		return Promote{Row: row, Already: true}
	}
	sel := Select(v, raftfsm.Addr{})
	for _, c := range sel.Candidates {
		if c.Addr != row.To {
			continue
		}
		return v.carryOn(row, c, sel)
	}
	return v.another(row, sel, fmt.Sprintf("%s left the set", row.To))
}

// promoted tells whether an instance was seen to be a master that began its history where it left this set's.
func (v View) promoted(a raftfsm.Addr) bool {
	i, fresh := v.info(a)
	in, member := v.Master.Instance(a)
	if i == nil || !fresh || !member || i.Role != raftfsm.RoleMaster {
		return false
	}
	return v.promotedHere(in, i.ReplID, i.ReplID2)
}

// promotedHere tells whether the history id was begun where the set's was left. The set's is the committed master's, or, where
// that has come over to the new one already and resumed there, the one that it left itself.
func (v View) promotedHere(in raftfsm.Instance, id, second string) bool {
	if !known(second) || id == second {
		return false
	}
	row, master := v.Master.Failover, v.fact()
	return second == master.ReplID || second == master.ReplID2 && id == master.ReplID || second == in.SyncedReplID || (row != nil && second == row.OldReplID)
}

// calledOff is why a row that has not switched must end; "" where it goes on.
func (v View) calledOff(row *raftfsm.Failover, promoted bool) string {
	m := v.Master
	switch {
	case m.Hold != nil:
		return "the set is held: " + m.Hold.Reason
	case v.late():
		return fmt.Sprintf("failover-timeout (%s) has passed", failoverTimeout(m.Options))
	case row.Kind != raftfsm.KindAutomatic:
		return ""
	case m.Pause != nil && !promoted:
		return "paused: " + m.Pause.Reason
	case !m.IsODown() && v.fact().Role != raftfsm.RoleReplica:
		return fmt.Sprintf("master %s is not objectively down any more", m.Address)
	}
	return ""
}

// late tells whether the chain of rows has had its time.
func (v View) late() bool { return v.Now.Sub(v.Memory.ChainSince) > failoverTimeout(v.Master.Options) }

// carryOn promotes the row's candidate, or another one where it cannot be promoted or has failed and another is better.
func (v View) carryOn(row *raftfsm.Failover, c raftfsm.Candidate, sel Selection) Step {
	period := ProbePeriod(v.Master.Options)
	switch {
	case c.Rejection == "":
		return Promote{Row: row}
	case (c.Rejection == RejectStale || c.Rejection == RejectUnseen) && v.Now.Sub(v.Memory.RowSince) < 2*period:
		return Measure{Instances: []raftfsm.Addr{row.To}, Reason: "the candidate was not read lately", For: period}
	case c.Rejection == RejectOutranked && (v.Memory.Failed[row.To] == 0 || named(row) && v.Memory.Failed[row.To] < namedAttempts):
		return Promote{Row: row}
	case c.Rejection == RejectOutranked:
		return v.another(row, sel, fmt.Sprintf("promoting %s failed", row.To))
	}
	return v.another(row, sel, fmt.Sprintf("%s %s", row.To, c.Detail))
}

// namedAttempts are made on a replica that the operator named.
const namedAttempts = 3

// named tells whether the operator asked for this very candidate: none of the others was asked for.
func named(row *raftfsm.Failover) bool {
	for _, c := range row.Candidates {
		if c.Addr != row.To && c.Rejection != RejectNotAsked {
			return false
		}
	}
	return row.Kind != raftfsm.KindAutomatic
}

// another opens a row with the best of the others: at once where no attempt on it has failed, else after a pause that grows.
// Where the operator named the candidate there is no other.
func (v View) another(row *raftfsm.Failover, sel Selection, why string) Step {
	if named(row) {
		return End{Epoch: row.Epoch, Outcome: raftfsm.OutcomeAborted, Reason: "no other replica was asked for: " + why}
	}
	if !sel.OK || sel.Best == row.To {
		return stuck(v, sel)
	}
	if failed := v.Memory.Failed[sel.Best]; failed > 0 {
		if wait := v.Memory.FailedAt.Add(chainPause(failed)).Sub(v.Now); wait > 0 {
			return Rest{Reason: "attempts on every candidate have failed", For: wait}
		}
	}
	return replace(v, sel, why)
}

// chainPause is the pause before a candidate is named anew on which so many attempts have failed.
func chainPause(failed int) time.Duration {
	return min(100*time.Millisecond<<min(failed-1, 7), 10*time.Second)
}

// saveAttempts are made to have a new master keep its role, in one leadership.
const saveAttempts = 3

// unsaved tells whether the new master is to be told to keep its role. Each leadership sees to it: it does no harm twice.
func (v View) unsaved(row *raftfsm.Failover) bool {
	m := v.Master
	return v.Memory.Unsaved < saveAttempts && v.Memory.Saved != row.Epoch && v.answers(m.Address) && len(m.VotesAgainst(m.Address)) == 0 && !AtRest(m)
}

// finish is the next step of a row that has switched, apart from repointing; nil where it has to wait.
func finish(v View, r reconciliation) Step {
	m, row := v.Master, v.Master.Failover
	if limit := failoverTimeout(m.Options); !r.done && v.Now.Sub(v.Memory.SwitchedSince) > limit {
		return End{
			Epoch: row.Epoch, Outcome: raftfsm.OutcomeTimedOut, Loss: v.loss(row),
			Reason: fmt.Sprintf("failover-timeout (%s) has passed before every replica followed", limit),
		}
	}
	if unrecorded := v.unrecorded(row, r.following); len(unrecorded) > 0 {
		return Record{Following: unrecorded}
	}
	if r.done {
		return End{
			Epoch: row.Epoch, Outcome: raftfsm.OutcomeCompleted, Reason: "every replica that is up follows", Loss: v.loss(row),
		}
	}
	return nil
}

// unrecorded are the instances that follow and of which the row's story does not tell it, as far as it has room.
func (v View) unrecorded(row *raftfsm.Failover, following []raftfsm.Addr) []raftfsm.Addr {
	told := map[raftfsm.Addr]bool{}
	for _, s := range row.Steps {
		if s.Name == raftfsm.StepRepoint || s.Name == raftfsm.StepDemote {
			told[s.Instance] = true
		}
	}
	var out []raftfsm.Addr
	for _, a := range following {
		if room := raftfsm.MaxSteps - len(row.Steps); !told[a] && len(out) < room {
			out = append(out, a)
		}
	}
	return out
}

// Fit tells why the instance a cannot be promoted by what it says of itself at this moment; "" where it can. already
// tells that it is promoted, from this set.
func (v View) Fit(a raftfsm.Addr, i *detector.Info) (already bool, why string) {
	in, member := v.Master.Instance(a)
	if !member {
		return false, "is not an instance of the set"
	}
	if i.Role == raftfsm.RoleMaster && v.promotedHere(in, i.ReplID, i.ReplID2) {
		return true, ""
	}
	_, why = v.judgeInfo(in, i)
	return false, why
}
