package failover

import (
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Behind is how much of the master's stream the replica a lacks by what was last read of both, -1 for unknown. The two were not
// read at the same moment. Where the master was read later, what it says of the replica counts too, lest what was written in
// between passes for a lag. Where the replica was, and is ahead of what was read of the master, only the master's own word on
// the replica is left, of a master that answers and was read at most maxAge ago: how far the master has come since, nobody knows.
func Behind(a raftfsm.Addr, master, replica detector.Observation, now time.Time, maxAge time.Duration) int64 {
	m, r := master.Info, replica.Info
	if m == nil || r == nil || m.Offset < 0 || r.Offset < 0 || !r.Lineage().SameHistory(m.Lineage()) {
		return -1
	}
	line, listed := replicaLine(m, a)
	later := master.InfoAt.After(replica.InfoAt)
	has := r.Offset
	if later && listed {
		has = max(has, line.Offset)
	}
	switch {
	case has <= m.Offset:
		return m.Offset - has
	case !later && listed && line.State == onlineState && line.Offset <= m.Offset && !master.Down && now.Sub(master.InfoAt) <= maxAge:
		return m.Offset - line.Offset
	}
	return -1
}
