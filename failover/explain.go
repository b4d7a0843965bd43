package failover

import (
	"fmt"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Explanation tells whether a failover of a set could happen now, and who would win it.
type Explanation struct {
	Master  raftfsm.Addr
	ODown   bool
	Votes   int
	Quorum  int
	Open    *raftfsm.Failover
	Choice  Selection
	Hinders []string // what stands against an automatic failover, were the master down; empty for nothing
}

// Explain looks at a set and tells what a failover would do.
func Explain(v View) Explanation {
	m := v.Master
	e := Explanation{
		Master: m.Address, ODown: m.IsODown(), Votes: v.State.DownVotes(m, m.Address), Quorum: m.Options.Quorum,
		Open: m.Failover, Choice: Select(v, raftfsm.Addr{}),
	}
	if m.Hold != nil {
		e.Hinders = append(e.Hinders, "the set is held: "+m.Hold.Reason)
	}
	if m.Pause != nil {
		e.Hinders = append(e.Hinders, "the set is paused: "+m.Pause.Reason)
	}
	if voters := v.State.Voters(); m.Options.Quorum > voters {
		e.Hinders = append(e.Hinders, fmt.Sprintf("quorum %d can never be reached by %d voters", m.Options.Quorum, voters))
	}
	if !e.Choice.OK {
		e.Hinders = append(e.Hinders, "no replica can be promoted")
	}
	return e
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
