package raftfsm

import "fmt"

// Code is how a command ended. The enum is closed: RESP texts and gRPC reasons are one table each.
type Code uint32

// The codes. Their numbers travel between nodes and are never reused.
const (
	// OK: the command holds, whether or not it changed anything.
	OK Code = 0
	// NotFound: no master of that name, or no such instance in it.
	NotFound Code = 1
	// DuplicateName: a master of that name exists with another address or quorum.
	DuplicateName Code = 2
	// AddressTaken: the address belongs to another set.
	AddressTaken Code = 3
	// InvalidArgument: a value is not allowed.
	InvalidArgument Code = 4
	// StaleBase: a report on another base than the node's last one.
	StaleBase Code = 5
	// StaleGeneration: judged or decided under another generation of the set.
	StaleGeneration Code = 6
	// StaleRevision: the master has changed since the proposer saw it.
	StaleRevision Code = 7
	// StaleEpoch: no open failover with that epoch, or not in that phase.
	StaleEpoch Code = 8
	// NotDown: not enough confirmed votes for an automatic failover.
	NotDown Code = 9
	// Paused: the master is paused or held.
	Paused Code = 10
	// InProgress: another failover of this master is open.
	InProgress Code = 11
	// BadCandidate: the named candidate cannot be promoted.
	BadCandidate Code = 12
	// Removed: the name was removed by hand; a seed does not bring it back.
	Removed Code = 13
	// UnknownNode: the proposer is not registered.
	UnknownNode Code = 14
	// LevelTooHigh: a voter does not support the level.
	LevelTooHigh Code = 15
	// Unsettled: the set is held; say how to settle it.
	Unsettled Code = 16
	// AlreadyFounded: the cluster has its identity.
	AlreadyFounded Code = 17
	// Duplicate: another member has that name or address.
	Duplicate Code = 18
	// StaleTerm: decided in a leadership that is over.
	StaleTerm Code = 19
	// TooMany: a bound on what the state keeps, or on how many nodes are drained.
	TooMany Code = 20
	// MasterDown: the master is objectively down; a switchover needs it.
	MasterDown Code = 21
	// Cooldown: the master was failed over again and again lately.
	Cooldown Code = 22
	// NotEmpty: the cluster has masters; a restore would have to replace them.
	NotEmpty Code = 30
	// ForeignCluster: of a cluster of another name.
	ForeignCluster Code = 31
)

// Result is what applying a command gave. Code and Detail are the same on every node.
type Result struct {
	// Index of the entry.
	Index uint64
	// Term in which it was committed; filled by the proposer's node, not by Apply.
	Term   uint64
	Code   Code
	Detail string
	// Changed tells whether the state differs but for its index.
	Changed bool
	// Epoch given to a BeginFailover.
	Epoch uint64
}

// Err is nil for OK, else a [Refusal].
func (r Result) Err() error {
	if r.Code == OK {
		return nil
	}
	return Refusal{Code: r.Code, Detail: r.Detail}
}

// Refusal is a command refused on its merits: it is in the log and changed nothing.
type Refusal struct {
	Code   Code
	Detail string
}

func (r Refusal) Error() string {
	if r.Detail == "" {
		return fmt.Sprintf("refused (code %d)", r.Code)
	}
	return r.Detail
}
