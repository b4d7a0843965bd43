package failover

import (
	"fmt"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Explanation tells whether a failover or a switchover of a set could happen now, and who would win it.
type Explanation struct {
	// Choice is whom an automatic or forced failover would promote, Planned whom a switchover would.
	Choice, Planned Selection
	// Failover is what stands in the way of an automatic failover, were the master down now; Switchover what stands in that
	// of a planned one. Empty for nothing.
	Failover, Switchover []Blocker
	// Loss is what a failover at this moment would lose by what was seen: at least so much, or unknown, and never exact.
	Loss raftfsm.Loss
	// MasterAgeMs is the age of what was last read of the master; -1 for never.
	MasterAgeMs int64
}

// Explain looks at a set and tells what a failover and a switchover would do.
func Explain(v View) Explanation {
	e := Explanation{Choice: Select(v, raftfsm.Addr{}), MasterAgeMs: -1}
	e.Planned, e.Switchover = Preflight(v, raftfsm.Addr{})
	e.Switchover = append(v.uncommittable(0), e.Switchover...)
	e.Failover = append(v.unwilling(), v.noCandidate(e.Choice, raftfsm.Addr{})...)
	e.Loss = predicted(e.Choice)
	if o, ok := v.Observe(v.Master.Address); ok && o.Info != nil {
		e.MasterAgeMs = v.Now.Sub(o.InfoAt).Milliseconds()
	}
	return e
}

// unwilling is what stands in the way of an automatic failover apart from the replicas.
func (v View) unwilling() []Blocker {
	m := v.Master
	out := v.standing()
	if m.Pause != nil {
		out = append(out, Blocker{BlockPaused, "the set is paused: " + m.Pause.Reason})
	}
	out = append(out, v.uncommittable(m.Options.Quorum)...)
	if wait := v.cooling(); wait > 0 {
		out = append(out, Blocker{BlockCooldown, fmt.Sprintf("failovers followed each other; the next automatic one may begin in %d ms", wait.Milliseconds())})
	}
	if wait := v.Memory.Again.Sub(v.Now); wait > 0 {
		out = append(out, Blocker{BlockBackoff, fmt.Sprintf("%d failovers were given up; the next one waits %d ms", v.Memory.Aborted, wait.Milliseconds())})
	}
	if v.Heard != nil && m.IsODown() && v.confirmed() < m.Options.Quorum {
		out = append(out, Blocker{BlockVotesUnconfirmed, fmt.Sprintf("%d of %d votes are confirmed in this leadership; quorum %d is needed",
			v.confirmed(), v.State.DownVotes(m, m.Address), m.Options.Quorum)})
	}
	if v.Braked != "" {
		out = append(out, Blocker{BlockBrake, v.Braked})
	}
	return out
}

// uncommittable is what keeps the voters from agreeing on a decision that takes so many of them, and a majority in any case.
func (v View) uncommittable(quorum int) []Blocker {
	var out []Blocker
	q := CheckQuorum(Usable(v.State, v.Self, v.Leader, v.Heard), v.State.Voters(), quorum)
	if q.Quorum > q.Voters {
		out = append(out, Blocker{BlockQuorumImpossible, fmt.Sprintf("quorum %d can never be reached by %d voters", q.Quorum, q.Voters)})
	}
	switch {
	case v.Heard == nil && v.Leader == "":
		out = append(out, Blocker{BlockNoLeader, "this node hears no leader, and without one nothing can be decided"})
	case q.Quorum <= q.Voters && !q.OK():
		out = append(out, Blocker{BlockVotersUnheard, fmt.Sprintf("%d of %d voters are known to be heard; %d are needed",
			q.Usable, q.Voters, max(q.Quorum, q.Voters/2+1))})
	}
	return out
}

// predicted is what promoting the best would lose.
func predicted(sel Selection) raftfsm.Loss {
	for _, c := range sel.Candidates {
		if c.Chosen && c.BehindBytes >= 0 {
			return raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: c.BehindBytes}
		}
	}
	return raftfsm.Loss{Kind: raftfsm.LossUnknown}
}

// QuorumCheck is the answer to SENTINEL CKQUORUM.
type QuorumCheck struct {
	Usable, Voters, Quorum int
	// QuorumOK: enough voters are usable to hold the master down; MajorityOK: enough to commit anything at all.
	QuorumOK, MajorityOK bool
}

// CheckQuorum judges by the number of usable voters, the deciding node among them.
func CheckQuorum(usable, voters, quorum int) QuorumCheck {
	return QuorumCheck{Usable: usable, Voters: voters, Quorum: quorum, QuorumOK: usable >= quorum, MajorityOK: usable > voters/2}
}

// Usable counts the voters that a node knows to be heard: of the leader those that it heard, of who hears a leader a majority,
// of anybody else itself alone. A nil heard is of a node that does not lead, leader "" of one that hears none.
func Usable(s *raftfsm.State, self, leader string, heard []string) int {
	switch {
	case heard != nil:
		n := 0
		for _, id := range heard {
			if s.IsVoter(id) {
				n++
			}
		}
		return n
	case leader != "":
		return s.Voters()/2 + 1
	case s.IsVoter(self):
		return 1
	}
	return 0
}

// OK tells whether a failover could be authorized.
func (c QuorumCheck) OK() bool { return c.QuorumOK && c.MajorityOK }

// Text is Redis Sentinel's, without the leading OK or NOQUORUM.
func (c QuorumCheck) Text() string {
	words := []string{fmt.Sprintf("%d usable Sentinels", c.Usable)}
	if c.OK() {
		words = append(words, "Quorum and failover authorization can be reached")
	}
	if !c.QuorumOK {
		words = append(words, "Not enough available Sentinels to reach the specified quorum for this master")
	}
	if !c.MajorityOK {
		words = append(words, "Not enough available Sentinels to reach the majority and authorize a failover")
	}
	return strings.Join(words, ". ")
}
