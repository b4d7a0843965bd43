package failover

import (
	"fmt"
	"slices"
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
	q := CkQuorum(v.State, m, v.hears)
	switch {
	case q.Quorum > q.Voters:
		out = append(out, Blocker{BlockQuorumImpossible, fmt.Sprintf("quorum %d can never be reached by %d voters", q.Quorum, q.Voters)})
	case !q.OK():
		out = append(out, Blocker{BlockVotersUnheard, fmt.Sprintf("%d of %d voters are heard; quorum %d and a majority of %d are needed",
			q.Usable, q.Voters, q.Quorum, q.Voters/2+1)})
	}
	if wait := v.cooling(); wait > 0 {
		out = append(out, Blocker{BlockCooldown, fmt.Sprintf("failovers followed each other; the next automatic one may begin in %d ms", wait.Milliseconds())})
	}
	if v.Braked != "" {
		out = append(out, Blocker{BlockBrake, v.Braked})
	}
	return out
}

// hears tells whether the leader has heard a member lately. Who does not lead knows of nobody, and holds none for lost.
func (v View) hears(raftID string) bool { return v.Heard == nil || slices.Contains(v.Heard, raftID) }

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

// CkQuorum counts the voters that heard names as usable, the deciding node among them; a nil heard counts all.
func CkQuorum(s *raftfsm.State, m *raftfsm.Master, heard func(raftID string) bool) QuorumCheck {
	c := QuorumCheck{Quorum: m.Options.Quorum}
	for _, v := range s.Servers() {
		if !v.Voter {
			continue
		}
		c.Voters++
		if heard == nil || heard(v.ID) {
			c.Usable++
		}
	}
	c.QuorumOK = c.Usable >= c.Quorum
	c.MajorityOK = c.Usable >= c.Voters/2+1
	return c
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
