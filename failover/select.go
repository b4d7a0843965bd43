package failover

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Why a replica cannot be, or was not, chosen.
const (
	RejectMaintenance = "maintenance"  // somebody is at work on it
	RejectDown        = "down"         // this node holds it down
	RejectVotedDown   = "voted-down"   // as many nodes as the quorum hold it down
	RejectAuth        = "auth"         // it rejects our password or rights
	RejectUnseen      = "unseen"       // this node has read no INFO of it
	RejectStale       = "stale-info"   // its INFO is too old to decide by
	RejectRole        = "role"         // it says that it is no replica
	RejectLoading     = "loading"      // it loads its data
	RejectSyncing     = "syncing"      // its data is being replaced by a full copy
	RejectNeverSynced = "never-synced" // it never had a whole copy of the master's data
	RejectOtherMaster = "other-master" // it follows an instance that is not of this set
	RejectLineage     = "lineage"      // its data is of another replication history
	RejectLoopback    = "loopback"     // a loopback address among addresses of other machines
	RejectPriority    = "priority"     // replica-priority 0: never
	RejectNotAsked    = "not-asked"    // the operator named another
	RejectOutranked   = "outranked"    // it could be promoted; another is better
	RejectLink        = "link-down"    // of a switchover: it does not follow the master at this moment
	RejectOffline     = "not-online"   // of a switchover: the master does not send it its stream
	RejectLag         = "lag"          // of a switchover: it lacks too much
	RejectSaving      = "saving"       // of a switchover: it writes its data to disk; wait
)

// linkSlack is by how much the moments at which replicas lost their link may differ and still be the same moment: INFO
// counts in whole seconds, and a replica notices on its own timer.
const linkSlack = 2 * time.Second

// Selection is the choice among the replicas of a set.
type Selection struct {
	// Best is the one to promote; OK is false where there is none.
	Best raftfsm.Addr
	OK   bool
	// Candidates are all replicas: the best first, then those that lost by rank in that order, then the impossible ones.
	Candidates []raftfsm.Candidate
	// Stale are those that answer and whose INFO is too old to judge them.
	Stale []raftfsm.Addr
}

// contender is a replica that can be promoted, with what it is ranked by.
type contender struct {
	raftfsm.Candidate
	lineage
	failed   int
	votes    int
	linkDown time.Duration // 0 while up
	late     time.Duration // how much longer than the others its link is down, beyond the slack
	far      bool          // so much longer that a few failed attempts or votes against the others weigh less
}

// Select chooses the replica to promote and tells why each other one is not. Where to is not zero, only that one may be
// chosen. The order of the instances does not matter, and no two replicas are ever equal: the kinship of its data, a link
// that broke long before the others', failed attempts, votes against it, the state and age of its link, priority (the
// lowest wins), the freshest offset of one history, run id, and the address last.
func Select(v View, to raftfsm.Addr) Selection { return choose(v, to, v.judge) }

// choose is Select with what a replica is judged by.
func choose(v View, to raftfsm.Addr, judge func(raftfsm.Instance, detector.Observation) (code, detail string)) Selection {
	var sel Selection
	var able []contender
	var unable []raftfsm.Candidate
	for _, in := range v.Master.Replicas() {
		o, _ := v.Observe(in.Addr)
		c := candidate(v, in, o)
		code, detail := judge(in, o)
		if !to.IsZero() && to != in.Addr {
			code, detail = notAsked(to, detail)
		}
		if code == RejectStale {
			sel.Stale = append(sel.Stale, in.Addr)
		}
		if code != "" {
			c.Rejection, c.Detail = code, detail
			unable = append(unable, c)
			continue
		}
		able = append(able, contender{
			Candidate: c, lineage: v.lineage(in, o.Info), failed: v.Memory.Failed[in.Addr],
			votes: v.State.DownVotes(v.Master, in.Addr), linkDown: linkDown(v, o),
		})
	}
	rank(able, v.Master.Options)
	for i, c := range able {
		if i == 0 {
			sel.Best, sel.OK = c.Addr, true
			c.Chosen = true
		} else {
			c.Rejection, c.Detail = RejectOutranked, outranked(able[0], c)
		}
		sel.Candidates = append(sel.Candidates, c.Candidate)
	}
	slices.SortFunc(unable, func(a, b raftfsm.Candidate) int { return a.Addr.Compare(b.Addr) })
	sel.Candidates = append(sel.Candidates, unable...)
	return sel
}

// notAsked is why a replica is not chosen where the operator asked for another, with what else is against it.
func notAsked(to raftfsm.Addr, detail string) (code, _ string) {
	if detail != "" {
		detail = "; it " + detail
	}
	return RejectNotAsked, "the operator asked for " + to.String() + detail
}

// candidate is the measurement, as the row keeps it.
func candidate(v View, in raftfsm.Instance, o detector.Observation) raftfsm.Candidate {
	c := raftfsm.Candidate{Addr: in.Addr, RunID: in.RunID, Offset: -1, AgeMs: -1, BehindBytes: v.behindBytes(in, o), BehindMs: v.behindMs(o)}
	if o.Info != nil {
		c.Offset, c.Priority, c.AgeMs = o.Info.Offset, o.Info.Priority, v.Now.Sub(o.InfoAt).Milliseconds()
		if o.Info.RunID != "" {
			c.RunID = o.Info.RunID
		}
	}
	return c
}

// judge tells why a replica cannot be promoted; "" where it can.
func (v View) judge(in raftfsm.Instance, o detector.Observation) (code, detail string) {
	votes, age := v.State.DownVotes(v.Master, in.Addr), v.Now.Sub(o.InfoAt)
	switch {
	case in.Maintenance != nil:
		return RejectMaintenance, maintained(in.Maintenance)
	case o.Down:
		return RejectDown, "no acceptable reply: " + raftfsm.CauseWord(o.Cause)
	case o.AuthRejected:
		return RejectAuth, "rejects our password or rights"
	case votes >= v.Master.Options.Quorum:
		return RejectVotedDown, fmt.Sprintf("held down by %d nodes", votes)
	case o.Info == nil:
		return RejectUnseen, "this node has read nothing of it yet"
	case age > v.maxInfoAge():
		return RejectStale, fmt.Sprintf("last read %d ms ago; at most %d ms are allowed", age.Milliseconds(), v.maxInfoAge().Milliseconds())
	}
	return v.judgeInfo(in, o.Info)
}

// judgeInfo is the part of judge that looks at what the instance says of itself. The executor asks it once more on the
// connection over which it promotes.
func (v View) judgeInfo(in raftfsm.Instance, i *detector.Info) (code, detail string) {
	follows, err := raftfsm.NewAddr(i.MasterHost, i.MasterPort)
	switch {
	case i.Role != raftfsm.RoleReplica:
		return RejectRole, "says that it is a " + raftfsm.RoleWord(i.Role) + ", not a replica"
	case i.Loading || i.AsyncLoading:
		return RejectLoading, "loads its data"
	case i.SyncInProgress:
		return RejectSyncing, "a full copy is replacing its data"
	case !i.Promotable(in.SyncedReplID, v.reached(i)):
		return RejectNeverSynced, "never finished a first copy of the master's data"
	case err != nil || v.strange(follows, i):
		return RejectOtherMaster, fmt.Sprintf("follows %s:%d", i.MasterHost, i.MasterPort)
	case v.Master.Restored && i.MasterLinkUp && v.chained(i) && i.Lineage().PromotedFrom(v.fact().ReplID):
		return RejectOtherMaster, fmt.Sprintf("follows %s, which was promoted since the state was true that was brought back, and runs", follows)
	case v.lineage(in, i).kin == kinNone:
		return RejectLineage, v.stranger(i)
	case in.Addr.IsLoopback() != v.Master.Address.IsLoopback():
		return RejectLoopback, fmt.Sprintf("master %s and replica %s do not mean the same machine to everybody: "+
			"monitor the set by addresses that every machine can reach", v.Master.Address, in.Addr)
	case i.Priority == 0:
		return RejectPriority, "replica-priority is 0"
	}
	return "", ""
}

// reached is the offset that the master is known to have come to in the history of the replica's data, -1 for unknown. What was read of it
// long before it fell silent does not tell: a node that has just begun to lead may have read it a minute ago.
func (v View) reached(i *detector.Info) int64 {
	o, ok := v.Observe(v.Master.Address)
	if !ok || o.Info == nil || !o.Info.Lineage().SameHistory(i.Lineage()) || o.LastReply.Sub(o.InfoAt) > settleAge {
		return -1
	}
	return o.Info.Offset
}

// strange tells whether a replica that follows the given address has left the set. The committed master may be spelled in
// another way, or be reached through another member: then the history is the master's own.
func (v View) strange(follows raftfsm.Addr, i *detector.Info) bool {
	if follows == v.Master.Address {
		return false
	}
	if owner, owned := v.State.Owner(follows); owned {
		return owner.Name != v.Master.Name
	}
	return !known(v.fact().ReplID) || i.ReplID != v.fact().ReplID
}

// linkDown is for how long the replica's link to its master has been down; 0 while it is up.
func linkDown(v View, o detector.Observation) time.Duration {
	switch {
	case o.Info.MasterLinkUp:
		return 0
	case o.Info.MasterLinkDown < 0:
		return math.MaxInt64 // never up since it started
	}
	return o.Info.MasterLinkDown + v.Now.Sub(o.InfoAt)
}

// rank sorts the best first.
func rank(able []contender, o raftfsm.Options) {
	best := time.Duration(math.MaxInt64)
	for _, c := range able {
		best = min(best, c.linkDown)
	}
	for i := range able {
		if over := able[i].linkDown - best; over > linkSlack {
			able[i].late, able[i].far = over.Truncate(time.Second), over > linkSlack+10*o.DownAfter
		}
	}
	slices.SortFunc(able, compare)
}

func compare(a, b contender) int {
	return cmp.Or(
		cmp.Compare(a.kin, b.kin),
		compareBool(a.far, b.far),
		cmp.Compare(a.failed, b.failed),
		cmp.Compare(a.votes, b.votes),
		cmp.Compare(a.late, b.late),
		cmp.Compare(a.Priority, b.Priority),
		cmp.Compare(b.shared, a.shared),
		cmp.Compare(a.history, b.history),
		cmp.Compare(b.Offset, a.Offset), // of one history
		cmp.Compare(a.RunID, b.RunID),
		a.Addr.Compare(b.Addr),
	)
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// outranked says by what c lost to the best.
func outranked(best, c contender) string {
	switch {
	case c.kin != best.kin:
		return fmt.Sprintf("its data is %s; that of %s is %s", c.kin, best.Addr, best.kin)
	case c.far != best.far:
		return fmt.Sprintf("its link to the master broke long before that of %s", best.Addr)
	case c.failed != best.failed:
		return fmt.Sprintf("an attempt to promote it has failed %d times", c.failed)
	case c.votes != best.votes:
		return fmt.Sprintf("held down by %d nodes, %s by %d", c.votes, best.Addr, best.votes)
	case c.late != best.late:
		return fmt.Sprintf("its link to the master broke earlier than that of %s", best.Addr)
	case c.Priority != best.Priority:
		return fmt.Sprintf("priority %d; %s has %d", c.Priority, best.Addr, best.Priority)
	case c.shared != best.shared:
		return fmt.Sprintf("offset %d is %d behind %s", c.shared, best.shared-c.shared, best.Addr)
	case c.history != best.history:
		return fmt.Sprintf("its data is of history %s, that of %s of %s", short(c.history), best.Addr, short(best.history))
	case c.Offset != best.Offset:
		return fmt.Sprintf("offset %d is %d behind %s", c.Offset, best.Offset-c.Offset, best.Addr)
	case c.RunID != best.RunID:
		return fmt.Sprintf("equal to %s but for its run id", best.Addr)
	}
	return fmt.Sprintf("equal to %s but for its address", best.Addr)
}
