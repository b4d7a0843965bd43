package failover

import (
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// View is everything that a decision about one set may look at. Decisions are functions of it alone.
type View struct {
	State  *raftfsm.State
	Master *raftfsm.Master
	// Observe gives what this node last saw of an instance.
	Observe func(raftfsm.Addr) (detector.Observation, bool)
	Now     time.Time
	// Self is the Raft server id of the node that decides.
	Self string
	// Renewed holds the nodes that stood by their reports in the present leadership. Nobody else's vote opens or resumes
	// an automatic failover.
	Renewed map[string]bool
	// Heard holds the Raft server ids of the members that the leader heard lately; nil where this node does not lead. Nobody
	// else is offered leadership.
	Heard []string
	// Leader is the Raft server id of the leader that this node hears; "" for none.
	Leader string
	// Braked is why this node withholds its verdicts, doubting itself; "" where it does not.
	Braked string
	// Glance: INFO may be as old as it is where nothing happens. That is enough to tell what would be, and not to act on.
	Glance bool
	// Since is the index of the state with which the present leadership began; votes up to it are older than it.
	Since  uint64
	Memory Memory
}

// Memory is what one leadership remembers of a set between two decisions. All of it may be lost: a new leader begins with
// the zero value and comes to the same end, only more slowly.
type Memory struct {
	// Settled: in this leadership the committed master was seen to be the only one.
	Settled bool
	// Led is when this leadership first looked at the set, Ended when a row was last seen to end in it. Reread is when each side
	// of a row that ended without a switch was first read since.
	Led    time.Time
	Ended  time.Time
	Reread map[raftfsm.Addr]time.Time
	// Epoch is that of the row last seen, RowSince when this leadership first saw it and SwitchedSince when it first saw it
	// switched. ChainSince is when it first saw the row at the beginning of the chain that replaced each other.
	Epoch         uint64
	RowSince      time.Time
	ChainSince    time.Time
	SwitchedSince time.Time
	// DownSince is when the master was first seen objectively down, ReplicaSince when it was first seen to call itself a
	// replica, LonelySince when this node was first seen to hold it down against the majority.
	DownSince    time.Time
	ReplicaSince time.Time
	LonelySince  time.Time
	// Failed counts the attempts that failed on each candidate since the master was last well, and FailedAt is when the last
	// one did.
	Failed   map[raftfsm.Addr]int
	FailedAt time.Time
	// Aborted counts the automatic failovers that were given up since the master was last well. The next one begins at Again.
	Aborted int
	Again   time.Time
	// Avoid is until when an instance is left alone after a failed attempt.
	Avoid map[raftfsm.Addr]time.Time
	// Repointed is when each instance was last told to follow the committed master, which was then Head, as it is since HeadSince.
	Repointed map[raftfsm.Addr]time.Time
	Head      raftfsm.Addr
	HeadSince time.Time
	// Moved is the epoch of the row whose old master's clients were let go.
	Moved uint64
	// Saved is the epoch of the row whose new master was told to save its configuration.
	Saved uint64
	// Unsaved counts the attempts at that which never came to it.
	Unsaved int
	// Returned is what the old master of the open row said of itself before it was demoted; nil while it was not seen.
	Returned *detector.Info
}

// Remember is the memory after one more look at the set. The maps are carried over, or replaced, never changed.
func (v View) Remember() Memory {
	m, mem := v.Master, v.Memory
	row := m.Failover
	v.followRow(&mem)
	if mem.Head != m.Address {
		mem.Repointed = nil // they were told to follow another
		mem.Head, mem.HeadSince = m.Address, v.Now
	}
	mem.Led = since(true, mem.Led, v.Now)
	mem.Reread = v.reread(mem)
	mem.DownSince = since(m.IsODown(), mem.DownSince, v.Now)
	mem.ReplicaSince = since(v.masterIsReplica(), mem.ReplicaSince, v.Now)
	mem.LonelySince = since(v.lonely(), mem.LonelySince, v.Now)
	if !m.IsODown() && (row == nil || row.Switched) && !v.masterIsReplica() {
		mem.Failed, mem.FailedAt, mem.Aborted, mem.Again = nil, time.Time{}, 0, time.Time{}
	}
	if m.Resting() {
		mem.Settled = false
	} else if v.alone() {
		mem.Settled = true
	}
	return mem
}

// followRow brings the memory of the open row up to date. A row that replaces the one last seen continues its chain.
func (v View) followRow(mem *Memory) {
	row := v.Master.Failover
	switch {
	case row == nil && mem.Epoch != 0:
		if v.gaveUp(mem.Epoch) {
			mem.Again = v.Now.Add(min(time.Second<<min(mem.Aborted, 10), failoverTimeout(v.Master.Options)))
			mem.Aborted++
		}
		mem.Epoch, mem.RowSince, mem.ChainSince, mem.SwitchedSince = 0, time.Time{}, time.Time{}, time.Time{}
		mem.Ended, mem.Reread = v.Now, nil
	case row != nil:
		if mem.Epoch != row.Epoch {
			if row.Replaces == 0 || row.Replaces != mem.Epoch {
				mem.ChainSince = v.Now
			}
			mem.Epoch, mem.RowSince, mem.SwitchedSince, mem.Returned, mem.Unsaved = row.Epoch, v.Now, time.Time{}, nil, 0
		}
		mem.SwitchedSince = since(row.Switched, mem.SwitchedSince, v.Now)
	}
}

// gaveUp tells whether the row with the epoch was the last one, automatic, and ended without a switch.
func (v View) gaveUp(epoch uint64) bool {
	h := v.Master.History
	if len(h) == 0 {
		return false
	}
	last := h[len(h)-1]
	return last.Epoch == epoch && !last.Switched && last.Kind == raftfsm.KindAutomatic
}

// Avoids tells whether an instance is to be left alone for now.
func (m Memory) Avoids(a raftfsm.Addr, now time.Time) bool { return now.Before(m.Avoid[a]) }

// since is when a condition began to hold: its former value, now, or never.
func since(holds bool, began, now time.Time) time.Time {
	switch {
	case !holds:
		return time.Time{}
	case began.IsZero():
		return now
	}
	return began
}

// ProbePeriod is the pace at which an instance is probed: down-after/10, at least 50 ms and at most 2 s.
func ProbePeriod(o raftfsm.Options) time.Duration {
	return min(max(o.DownAfter/10, 50*time.Millisecond), 2*time.Second)
}

// minTimeout is the least that failover-timeout means: less would not let even one attempt come to its end.
const minTimeout = 2 * time.Second

// failoverTimeout bounds the attempts of one failover, and the time to reconfigure after it.
func failoverTimeout(o raftfsm.Options) time.Duration { return max(o.FailoverTimeout, minTimeout) }

// maxInfoAge is how old INFO may be to decide by: two probe periods.
func (v View) maxInfoAge() time.Duration {
	if v.Glance {
		return glanceAge
	}
	return 2 * ProbePeriod(v.Master.Options)
}

// info is the INFO that this node last read of an instance that it does not hold down; fresh tells whether it is young
// enough to act on.
func (v View) info(a raftfsm.Addr) (i *detector.Info, fresh bool) {
	o, ok := v.Observe(a)
	if !ok || o.Down || o.Info == nil {
		return nil, false
	}
	return o.Info, v.Now.Sub(o.InfoAt) <= v.maxInfoAge()
}

// readSince tells whether the last INFO of an instance came in this leadership, and since the committed master is this one.
func (v View) readSince(a raftfsm.Addr) bool {
	o, _ := v.Observe(a)
	return !o.InfoAt.Before(v.Memory.HeadSince)
}

// answers tells whether this node gets replies from an instance.
func (v View) answers(a raftfsm.Addr) bool {
	o, ok := v.Observe(a)
	return ok && !o.Down && !o.AuthRejected && !o.LastReply.IsZero()
}

// silent tells whether an instance that answered this node has not done so for half of down-after.
func (v View) silent(a raftfsm.Addr) bool {
	o, ok := v.Observe(a)
	return ok && !o.AuthRejected && !o.LastReply.IsZero() && v.Now.Sub(o.LastReply) >= v.Master.Options.DownAfter/2
}

// heard tells whether an instance gave this node an acceptable reply a moment ago.
func (v View) heard(a raftfsm.Addr) bool {
	o, ok := v.Observe(a)
	return ok && !o.Down && !o.LastReply.IsZero() && v.Now.Sub(o.LastReply) < max(doubt, 2*ProbePeriod(v.Master.Options))
}

// fact is what the state knows of the committed master.
func (v View) fact() raftfsm.Instance {
	in, _ := v.Master.Instance(v.Master.Address)
	return in
}

// masterIsReplica tells whether the committed master says of itself that it is a replica: in the state, and by the last
// INFO that this node read.
func (v View) masterIsReplica() bool {
	i, _ := v.info(v.Master.Address)
	return i != nil && i.Role == raftfsm.RoleReplica && v.fact().Role == raftfsm.RoleReplica
}

const (
	// settleAge is how old a reading may be to find a set in order by: the leader reads INFO every 10 s where nothing happens, and every 20 s
	// at least.
	settleAge = 20 * time.Second
	// glanceAge is the same for a mere outlook: where thousands are watched, nodes that do not lead read it once a minute.
	glanceAge = 75 * time.Second
)

// alone tells whether the committed master says that it is one, and none of the others that answer does. In a restored set one
// that does not answer may be the true master, unless the committed one has listed it since.
func (v View) alone() bool {
	m := v.Master
	for _, in := range m.Instances {
		o, ok := v.Observe(in.Addr)
		primary := in.Addr == m.Address
		switch {
		case !primary && !v.answers(in.Addr):
			if m.Restored && !m.Enforce && in.Unconfirmed && in.Maintenance == nil {
				return false
			}
		case !ok || o.Info == nil || v.Now.Sub(o.InfoAt) > settleAge:
			return false
		case (o.Info.Role == raftfsm.RoleMaster) != primary:
			return false
		}
	}
	return v.answers(m.Address)
}

// doubt is how long votes from before this leadership are doubted where this node does not hold the master down itself. A
// node that was restarted stands by its old votes before it has probed anything; by then it has taken them back.
const doubt = 2 * time.Second

// confirmed counts the votes against the master by voters that stand by them in this leadership: those that were cast in
// it, and older ones where this node sees the same with its own eyes, or nobody took them back for a while and this node has
// no answer from the master either.
func (v View) confirmed() int {
	o, _ := v.Observe(v.Master.Address)
	stood := !v.Memory.DownSince.IsZero() && v.Now.Sub(v.Memory.DownSince) >= doubt
	believed := o.Down || stood && !v.heard(v.Master.Address)
	n := 0
	for _, vote := range v.Master.VotesAgainst(v.Master.Address) {
		old := vote.Index <= v.Since
		switch {
		case !raftfsm.Counts(vote.Cause) || !v.State.IsVoter(vote.Node) || !v.Renewed[vote.Node]:
		case vote.Node == v.Self && !o.Down: // it has not seen that yet since it started, or not any more
		case old && !believed:
		default:
			n++
		}
	}
	return n
}

// confirming is how soon to look again where only the confirmation of votes is missing. It changes nothing in the state and
// nothing that is observed, and a master is down meanwhile.
func (v View) confirming() time.Duration {
	if v.Now.Sub(v.Memory.DownSince) < 200*time.Millisecond {
		return 5 * time.Millisecond
	}
	return min(ProbePeriod(v.Master.Options), 100*time.Millisecond)
}

// holds tells whether a node holds an instance down, for whatever cause.
func (v View) holds(node string, a raftfsm.Addr) bool {
	for _, vote := range v.Master.Votes {
		if vote.Node == node && vote.Instance == a {
			return true
		}
	}
	return false
}
