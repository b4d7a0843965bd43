package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// begin opens a row where the votes, confirmed in this leadership, or the master's own word call for it; nil where they
// do not.
func begin(v View) Step {
	m := v.Master
	switch {
	case m.IsODown() && v.confirmed() < m.Options.Quorum:
		return Prepare{Candidate: ahead(v), Instances: v.replicas(), For: v.confirming()}
	case m.IsODown():
		return open(v, v.Memory.DownSince, fmt.Sprintf("objectively down: %d votes, quorum %d", v.State.DownVotes(m, m.Address), m.Options.Quorum))
	case v.State.DownVotes(m, m.Address) > 0:
		if to, ok := v.misplaced(m.Address); ok && v.longLonely() {
			return Transfer{To: to, Reason: fmt.Sprintf("this node alone cannot reach master %s", m.Address)}
		}
		return Prepare{Candidate: ahead(v), Instances: v.replicas(), For: ProbePeriod(m.Options)}
	case v.silent(m.Address):
		return Prepare{Candidate: ahead(v), Instances: v.replicas(), For: ProbePeriod(m.Options)}
	}
	return nil
}

// ahead is the candidate that would be chosen now.
func ahead(v View) raftfsm.Addr { return Select(v, raftfsm.Addr{}).Best }

func (v View) replicas() []raftfsm.Addr {
	var out []raftfsm.Addr
	for _, in := range v.Master.Replicas() {
		out = append(out, in.Addr)
	}
	return out
}

// open is the row to open. It waits, up to one probe period, for the INFO of replicas that answer and were not read
// lately: the one with the freshest data could be among them.
func open(v View, due time.Time, reason string) Step {
	if wait := v.Memory.Again.Sub(v.Now); wait > 0 {
		return Rest{Reason: fmt.Sprintf("%d failovers were given up; the next one waits", v.Memory.Aborted), For: wait}
	}
	period := ProbePeriod(v.Master.Options)
	sel := Select(v, raftfsm.Addr{})
	if len(sel.Stale) > 0 && v.Now.Sub(due) < period {
		return Measure{Instances: sel.Stale, Reason: "a failover is due", For: period}
	}
	if step := succeeded(v); step != nil {
		return step
	}
	if !sel.OK {
		if heir, ok := v.heir(); ok && !v.heldDown(heir) && !v.Master.InMaintenance(heir) {
			return Adopt{Address: heir, Reason: "it was promoted from this set, and no replica can be promoted"}
		}
		return stuck(v, sel)
	}
	if wait := v.cooling(); wait > 0 {
		return Rest{Reason: "failovers followed each other; failover-cooldown holds the next one back until " +
			v.Now.Add(wait).UTC().Format(clock), For: wait}
	}
	return NewBegin(v, sel, raftfsm.KindAutomatic, reason)
}

// clock is a moment of the day, for reasons.
const clock = "15:04:05.000 UTC"

// cooling is for how long the law lets no automatic failover begin. Neither a failover that a person orders nor one that
// replaces another waits for it.
func (v View) cooling() time.Duration {
	if v.State.FeatureLevel() < cooldownLevel {
		return 0
	}
	return time.Duration(v.Master.Cooling(v.Now.UnixMilli())) * time.Millisecond
}

// cooldownLevel is the feature level from which the law knows the cooldown.
const cooldownLevel = 3

// succeeded is what to do where somebody else has put another member in the place of a master that is down: Sentinels that
// were in charge until now, or an operator. Clients write there already, and to promote a second one would lose that. Where
// another member holds what the promoted one never had, nobody but an operator can choose. nil: nobody has.
func succeeded(v View) Step {
	heir, ok := v.heir()
	if !ok || v.ours(heir) || v.heldDown(heir) || !v.inCharge(heir) {
		return nil
	}
	i, _ := v.info(heir)
	in, _ := v.Master.Instance(heir)
	for _, other := range v.Master.Replicas() {
		o, fresh := v.info(other.Addr)
		if o == nil || !fresh || other.Addr == heir || o.ReplID == i.ReplID {
			continue
		}
		if lacks := v.lacks(in, i, other, o); lacks != "" {
			return Hold{Reason: fmt.Sprintf("%s was promoted from this set while %s is down, and %s has %s",
				heir, v.Master.Address, other.Addr, lacks)}
		}
	}
	return Adopt{Address: heir, Reason: fmt.Sprintf("it was promoted from this set, and %s is down", v.Master.Address)}
}

// inCharge tells whether a promoted instance is used as a master: it was written to since, or another member follows it. A
// replica that merely was restarted as a master looks as if it had been promoted, and nobody was sent to it.
func (v View) inCharge(heir raftfsm.Addr) bool {
	i, _ := v.info(heir)
	if i == nil {
		return false
	}
	if i.Offset >= i.SecondOffset {
		return true
	}
	for _, other := range v.Master.Replicas() {
		o, fresh := v.info(other.Addr)
		if o == nil || !fresh || other.Addr == heir || o.Role != raftfsm.RoleReplica {
			continue
		}
		at, err := raftfsm.NewAddr(o.MasterHost, o.MasterPort)
		if err == nil && at == heir || o.MasterLinkUp && o.ReplID == i.ReplID {
			return true
		}
	}
	return false
}

// lacks tells what another member has that a promoted one never had; "" for nothing. Offsets compare within one history
// only: where both have one that the master has lost, in that one.
func (v View) lacks(heir raftfsm.Instance, i *detector.Info, other raftfsm.Instance, o *detector.Info) string {
	own, its := v.lineage(heir, i), v.lineage(other, o)
	had, taken := its.shared, own.shared
	switch {
	case its.kin == kinNone:
		return ""
	case its.kin == kinOrphaned && own.kin == kinOrphaned && o.ReplID == i.ReplID2:
		had, taken = o.Offset, i.SecondOffset-1
	case its.kin == kinOrphaned || own.kin == kinOrphaned || own.kin == kinNone:
		return "data that cannot be compared with what it has"
	}
	if had <= taken {
		return ""
	}
	return fmt.Sprintf("%d bytes that it never had", had-taken)
}

// stuck is what to do where a failover is due and no replica can be promoted: hand over to a node that sees more, or
// look again.
func stuck(v View, sel Selection) Step {
	for _, c := range sel.Candidates {
		if c.Rejection != RejectDown && c.Rejection != RejectUnseen && c.Rejection != RejectStale || !v.long() {
			continue
		}
		if to, ok := v.misplaced(c.Addr); ok {
			return Transfer{To: to, Reason: fmt.Sprintf("this node alone cannot reach replica %s", c.Addr)}
		}
	}
	return Measure{Instances: v.replicas(), Reason: "a failover is due and no replica can be promoted", For: ProbePeriod(v.Master.Options)}
}

// NewBegin is the row that promotes the best of a selection, which must be OK.
func NewBegin(v View, sel Selection, kind raftfsm.FailoverKind, reason string) Begin {
	m := v.Master
	b := Begin{
		Kind: kind, Generation: m.Generation, From: m.Address, To: sel.Best, Candidates: v.recorded(sel.Candidates), Reason: reason,
		OldOffset: -1, OldOffsetAgeMs: -1, OldReplID: v.fact().ReplID,
	}
	if o, ok := v.Observe(m.Address); ok && o.Info != nil {
		b.OldOffset, b.OldOffsetAgeMs = o.Info.Offset, v.Now.Sub(o.InfoAt).Milliseconds()
		b.OldReplID = o.Info.ReplID
	}
	return b
}

// behindLevel is the feature level from which a row tells how far its candidates are behind.
const behindLevel = 3

// recorded are candidates as a row may tell of them at the present feature level.
func (v View) recorded(all []raftfsm.Candidate) []raftfsm.Candidate {
	if v.State.FeatureLevel() >= behindLevel {
		return all
	}
	out := slices.Clone(all)
	for i := range out {
		out[i].BehindBytes, out[i].BehindMs = -1, -1
	}
	return out
}

// replacing stands in the reason of a row between why its chain began and what it replaces.
const replacing = "; replaces epoch "

// replace is the row that takes over from the open one, which keeps what was seen of the old master before it was opened.
func replace(v View, sel Selection, why string) Begin {
	row := v.Master.Failover
	first, _, _ := strings.Cut(row.Reason, replacing)
	b := NewBegin(v, sel, row.Kind, fmt.Sprintf("%s%s%d: %s", first, replacing, row.Epoch, why))
	b.Replaces = row.Epoch
	if row.OldOffset >= 0 && b.OldReplID == row.OldReplID && b.OldOffset <= row.OldOffset {
		b.OldOffset, b.OldOffsetAgeMs = row.OldOffset, row.OldOffsetAgeMs+v.Now.Sub(v.Memory.RowSince).Milliseconds()
	}
	return b
}
