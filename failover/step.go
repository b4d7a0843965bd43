package failover

import (
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Step is what is to be done next about a set: one of the types below. It is derived anew from the state and fresh
// observations each time, so that whoever leads goes on from wherever things stand.
type Step interface{ step() }

// Rest: nothing is to be done until something changes, or until For has passed where that is not 0.
type Rest struct {
	Reason string
	For    time.Duration
}

// Measure: the instances are to be asked for INFO again; look again when it is there, at the latest after For.
type Measure struct {
	Instances []raftfsm.Addr
	Reason    string
	For       time.Duration
}

// Prepare: a failover may be near. A named connection to the candidate may be opened ahead; nothing may be changed.
type Prepare struct {
	Candidate raftfsm.Addr
	// Instances whose INFO is kept fresh meanwhile, once every For.
	Instances []raftfsm.Addr
	For       time.Duration
}

// Begin: a row is to be opened, or, where Replaces is not 0, to take over from the open one.
type Begin struct {
	Kind       raftfsm.FailoverKind
	Generation uint64
	From, To   raftfsm.Addr
	Candidates []raftfsm.Candidate
	Replaces   uint64
	Reason     string
	// MaxWait is how long a switchover may take until the candidate is promoted; 0 for the other kinds.
	MaxWait time.Duration
	// OldOffset and OldReplID are the old master's as last seen, OldOffsetAgeMs how long ago; -1 for never.
	OldOffset      int64
	OldOffsetAgeMs int64
	OldReplID      string
}

// Promote: the row's candidate is to become a master, where it is not one already, and then the committed one.
type Promote struct {
	Row *raftfsm.Failover
	// Already: the candidate was seen to be promoted; only the commit is missing.
	Already bool
}

// HandOver: the old master of a switchover is to give way to the candidate, from wherever that stands: writes paused, the
// candidate level, the old one demoted, level once more, the candidate promoted, and the commit.
type HandOver struct{ Row *raftfsm.Failover }

// RollBack: a switchover is to be given up, and its old master to be the master as before.
type RollBack struct {
	Row    *raftfsm.Failover
	Reason string
}

// Move: the clients of the open row's old master are to be let go, so that they find the new one.
type Move struct{ Row *raftfsm.Failover }

// Save: the new master of the open row is to keep its role in its configuration file.
type Save struct{ Row *raftfsm.Failover }

// Repoint: the instances are to follow the committed master. There are never more of them than parallel-syncs leaves room
// for, the masters that are to be demoted apart: an old master must not keep taking writes for want of room.
type Repoint struct{ Actions []Follow }

// Follow is one instance that is to follow the committed master.
type Follow struct {
	Addr raftfsm.Addr
	// Demote: it says that it is a master. Its offsets are recorded first and its clients disconnected.
	Demote bool
	Reason string
}

// Record: the instances follow, and the open row does not tell it yet.
type Record struct{ Following []raftfsm.Addr }

// End: the row is to be closed.
type End struct {
	Epoch   uint64
	Outcome raftfsm.FailoverOutcome
	Reason  string
	Loss    raftfsm.Loss
	// Late: failover-timeout has passed; nothing is waited for any more.
	Late bool
}

// Adopt: another member is the master already, and was promoted from this set.
type Adopt struct {
	Address raftfsm.Addr
	Reason  string
}

// Hold: the instances contradict the state in a way that only an operator can settle.
type Hold struct{ Reason string }

// Restore: the committed master calls itself a replica and has all that its siblings have; it is to be a master again.
type Restore struct{ Reason string }

// Resume: the pause that ends at UntilMs has run out.
type Resume struct{ UntilMs int64 }

// EndMaintenance: the maintenance of the instance that ends at UntilMs has run out.
type EndMaintenance struct {
	Instance raftfsm.Addr
	UntilMs  int64
}

// Settle: the instances of a set that was enforced or restored are as committed.
type Settle struct{}

// Transfer: this node cannot reach what the set needs and another voter can; it is to lead.
type Transfer struct {
	To     string
	Reason string
}

func (Rest) step()           {}
func (Measure) step()        {}
func (Prepare) step()        {}
func (Begin) step()          {}
func (Promote) step()        {}
func (HandOver) step()       {}
func (RollBack) step()       {}
func (Move) step()           {}
func (Save) step()           {}
func (Repoint) step()        {}
func (Record) step()         {}
func (End) step()            {}
func (Adopt) step()          {}
func (Hold) step()           {}
func (Restore) step()        {}
func (Resume) step()         {}
func (EndMaintenance) step() {}
func (Settle) step()         {}
func (Transfer) step()       {}
