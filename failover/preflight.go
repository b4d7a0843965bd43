package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Blocker is one thing that stands in the way of a failover or a switchover.
type Blocker struct {
	// Code is one of the constants below: a closed set, which alarms and gauges go by.
	Code   string
	Detail string
}

// What can stand in the way.
const (
	BlockPaused           = "paused"            // by an operator
	BlockHeld             = "held"              // the instances contradict the state
	BlockInProgress       = "in_progress"       // a failover is before its switch
	BlockFeatureLevel     = "feature_level"     // not every node knows what is needed
	BlockNoReplica        = "no_replica"        // the set has none
	BlockNoGoodReplica    = "no_good_replica"   // it has some, and none can be promoted
	BlockSaving           = "saving"            // the same, and one of them could be once it has saved its data
	BlockLineage          = "lineage"           // the same, because all hold data of another history
	BlockQuorumImpossible = "quorum_impossible" // there are fewer voters than the quorum
	BlockVotersUnheard    = "voters_unheard"    // too few of them are heard
	BlockNoLeader         = "no_leader"         // this node hears none
	BlockCooldown         = "cooldown"          // failovers have followed each other
	BlockBackoff          = "backoff"           // one was given up lately
	BlockVotesUnconfirmed = "votes_unconfirmed" // the master is down by votes from before this leadership
	BlockBrake            = "brake"             // this node doubts itself
	BlockMasterDown       = "master_down"       // it gives no answer, to this node or to the quorum
	BlockMasterUnseen     = "master_unseen"     // this node has not read it, or not lately
	BlockMasterRole       = "master_role"       // it says that it is no master
	BlockMasterLoading    = "master_loading"    // it loads its data
	BlockMasterBusy       = "master_busy"       // it moves by a command of its own
)

// maxSwitchoverLag is how many bytes the candidate of a switchover may be behind. What it lacks it must receive while writes
// are stopped or fewer: 64 MiB are half a second of a link of 1 Gbit/s.
const maxSwitchoverLag = 64 << 20

// onlineState is what a master says of a replica that it sends its stream to.
const onlineState = "online"

// noFailover is what a master that moves by no command of its own shows; "" before Redis 6.2.
const noFailover = "no-failover"

// switchoverLevel is the feature level that a switchover's row needs.
const switchoverLevel = 3

// Preflight tells which replica a switchover would promote, why each other one would not be, and what stands in the way of
// it at this moment; nothing where it can begin. Where to is not zero, only that one may be chosen.
func Preflight(v View, to raftfsm.Addr) (Selection, []Blocker) {
	sel := choose(v, to, v.judgePlanned)
	blockers := v.standing()
	if v.State.FeatureLevel() < switchoverLevel {
		blockers = append(blockers, Blocker{BlockFeatureLevel, fmt.Sprintf(
			"a switchover needs feature level %d, and the cluster is at %d: upgrade every node first", switchoverLevel, v.State.FeatureLevel())})
	}
	if b, blocked := v.masterUnfit(); blocked {
		blockers = append(blockers, b)
	}
	return sel, append(blockers, v.noCandidate(sel, to)...)
}

// standing are the blockers that both kinds have in common.
func (v View) standing() []Blocker {
	var out []Blocker
	m := v.Master
	if m.Hold != nil {
		out = append(out, Blocker{BlockHeld, "the set is held: " + m.Hold.Reason})
	}
	if row := m.Failover; row != nil && !row.Switched {
		out = append(out, Blocker{BlockInProgress, fmt.Sprintf("a failover to %s is under way (epoch %d)", row.To, row.Epoch)})
	}
	return out
}

// masterUnfit is why nobody can switch over from the master without loss.
func (v View) masterUnfit() (Blocker, bool) {
	m := v.Master
	o, seen := v.Observe(m.Address)
	age := v.Now.Sub(o.InfoAt)
	switch {
	case m.IsODown():
		return Blocker{BlockMasterDown, fmt.Sprintf("master %s is objectively down", m.Address)}, true
	case seen && o.Down:
		return Blocker{BlockMasterDown, fmt.Sprintf("master %s gives this node no answer: %s", m.Address, raftfsm.CauseWord(o.Cause))}, true
	case o.AuthRejected:
		return Blocker{BlockMasterDown, fmt.Sprintf("master %s rejects our password or rights", m.Address)}, true
	case !seen || o.Info == nil || o.LastReply.IsZero():
		return Blocker{BlockMasterUnseen, fmt.Sprintf("this node has read nothing of master %s yet", m.Address)}, true
	case age > v.maxInfoAge():
		return Blocker{BlockMasterUnseen, fmt.Sprintf("master %s was last read %d ms ago; at most %d ms are allowed",
			m.Address, age.Milliseconds(), v.maxInfoAge().Milliseconds())}, true
	case o.Info.Role != raftfsm.RoleMaster:
		return Blocker{BlockMasterRole, fmt.Sprintf("%s says that it is a %s, not a master", m.Address, raftfsm.RoleWord(o.Info.Role))}, true
	case o.Info.Loading || o.Info.AsyncLoading:
		return Blocker{BlockMasterLoading, fmt.Sprintf("master %s loads its data", m.Address)}, true
	case o.Info.FailoverState != "" && o.Info.FailoverState != noFailover:
		return Blocker{BlockMasterBusy, fmt.Sprintf("master %s is in a FAILOVER that it was told by itself: %s", m.Address, o.Info.FailoverState)}, true
	}
	return Blocker{}, false
}

// noCandidate says why a selection has no best.
func (v View) noCandidate(sel Selection, to raftfsm.Addr) []Blocker {
	_, member := v.Master.Instance(to)
	switch {
	case sel.OK:
		return nil
	case len(sel.Candidates) == 0:
		return []Blocker{{BlockNoReplica, "the set has no replica"}}
	case !to.IsZero() && (!member || to == v.Master.Address):
		return []Blocker{{BlockNoGoodReplica, fmt.Sprintf("%s is no replica of %s", to, v.Master.Name)}}
	}
	code := BlockLineage
	var why []string
	for _, c := range sel.Candidates {
		switch {
		case c.Rejection == RejectSaving:
			code = BlockSaving
		case c.Rejection != RejectLineage && code != BlockSaving:
			code = BlockNoGoodReplica
		}
		if to.IsZero() || c.Addr == to {
			why = append(why, c.Addr.String()+" "+c.Detail)
		}
	}
	return []Blocker{{code, "no replica can be promoted: " + strings.Join(why, "; ")}}
}

// judgePlanned tells why a replica cannot be promoted in a switchover; "" where it can: besides what is asked of every
// candidate it must follow the master at this moment, lack little, and not be in the midst of a save. That one comes last: it is
// the only one that goes by itself.
func (v View) judgePlanned(in raftfsm.Instance, o detector.Observation) (code, detail string) {
	if code, detail = v.judge(in, o); code != "" {
		return code, detail
	}
	master, _ := v.Observe(v.Master.Address)
	if !o.Info.MasterLinkUp {
		return RejectLink, "its link to the master is down"
	}
	if master.Info == nil {
		return "", "" // the master is a blocker then
	}
	if !o.Info.Lineage().SameHistory(master.Info.Lineage()) {
		return RejectLineage, fmt.Sprintf("its data is of replication history %s, the master's of %s", short(o.Info.ReplID), short(master.Info.ReplID))
	}
	if line, listed := replicaLine(master.Info, in.Addr); listed && line.State != onlineState {
		return RejectOffline, fmt.Sprintf("the master says that it is in state %s", line.State)
	}
	if behind := v.behindBytes(in, o); behind > maxSwitchoverLag {
		return RejectLag, fmt.Sprintf("%d bytes behind; at most %d are allowed", behind, int64(maxSwitchoverLag))
	}
	if o.Info.Saving {
		return RejectSaving, "writes an RDB file, which could stall it: wait until that has ended"
	}
	if o.Info.Rewriting {
		return RejectSaving, "rewrites its AOF, which could stall it: wait until that has ended"
	}
	return "", ""
}

// replicaLine is what the master says of a replica, where it lists it by its address.
func replicaLine(master *detector.Info, a raftfsm.Addr) (detector.ReplicaLine, bool) {
	i := slices.IndexFunc(master.Replicas, func(l detector.ReplicaLine) bool { return l.Addr == a })
	if i < 0 {
		return detector.ReplicaLine{}, false
	}
	return master.Replicas[i], true
}

// behindBytes is [Behind] of a replica of the set.
func (v View) behindBytes(in raftfsm.Instance, o detector.Observation) int64 {
	master, _ := v.Observe(v.Master.Address)
	return Behind(in.Addr, master, o, v.Now, v.maxInfoAge())
}

// behindMs is for how long a replica has received nothing of the master's stream, -1 for unknown. A master that nobody writes
// to sends a PING every 10 s, so that less says nothing.
func (v View) behindMs(o detector.Observation) int64 {
	var silent time.Duration
	switch {
	case o.Info == nil:
		return -1
	case o.Info.MasterLinkUp:
		silent = o.Info.MasterLastIO
	default:
		silent = o.Info.MasterLinkDown
	}
	if silent < 0 {
		return -1
	}
	return (silent + v.Now.Sub(o.InfoAt)).Milliseconds()
}
