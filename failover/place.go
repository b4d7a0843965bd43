package failover

import (
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// lonely tells whether this node holds the master down and most voters do not.
func (v View) lonely() bool {
	m := v.Master
	return v.holds(v.Self, m.Address) && !m.IsODown() && 2*v.State.DownVotes(m, m.Address) < v.State.Voters()
}

// longLonely: the others had every time to notice what this node noticed.
func (v View) longLonely() bool {
	patience := max(v.Master.Options.DownAfter, 2*time.Second)
	return !v.Memory.LonelySince.IsZero() && v.Now.Sub(v.Memory.LonelySince) >= patience
}

// long: the master, or the row, has been waiting for a candidate so long that the other nodes had every time to notice
// which instances are down.
func (v View) long() bool {
	began := v.Memory.DownSince
	if began.IsZero() || !v.Memory.RowSince.IsZero() && v.Memory.RowSince.Before(began) {
		began = v.Memory.RowSince
	}
	return !began.IsZero() && v.Now.Sub(began) >= max(2*ProbePeriod(v.Master.Options), time.Second)
}

// misplaced tells whether this node is the wrong one to lead where the instance a is needed: it gets no reply from a, and
// another voter, one that is heard and may lead, holds no verdict against it. The voter named is the one with the fewest verdicts against the set.
func (v View) misplaced(a raftfsm.Addr) (to string, ok bool) {
	if v.answers(a) {
		return "", false
	}
	fewest := 0
	for _, s := range v.State.Servers() {
		if !s.Voter || s.ID == v.Self || !slices.Contains(v.Heard, s.ID) || v.State.Drained(s.ID) || v.holds(s.ID, a) {
			continue
		}
		n := 0
		for _, in := range v.Master.Instances {
			if v.holds(s.ID, in.Addr) {
				n++
			}
		}
		if !ok || n < fewest {
			to, fewest, ok = s.ID, n, true
		}
	}
	return to, ok
}
