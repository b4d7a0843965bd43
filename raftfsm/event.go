package raftfsm

import "cmp"

// Kinds of events: Redis Sentinel's names where it has one.
const (
	EventMonitor          = "+monitor"
	EventUnmonitor        = "-monitor"
	EventSet              = "+set"
	EventReset            = "+reset-master"
	EventSlave            = "+slave"
	EventForget           = "-slave"
	EventSDown            = "+sdown"
	EventSDownEnd         = "-sdown"
	EventODown            = "+odown"
	EventODownEnd         = "-odown"
	EventAuth             = "+auth-rejected"
	EventAuthEnd          = "-auth-rejected"
	EventReboot           = "+reboot"
	EventRoleChange       = "+role-change"
	EventNewEpoch         = "+new-epoch"
	EventTryFailover      = "+try-failover"
	EventSelected         = "+selected-slave"
	EventPromoted         = "+promoted-slave"
	EventSwitch           = "+switch-master"
	EventReconfDone       = "+slave-reconf-done"
	EventConvert          = "+convert-to-slave"
	EventFix              = "+fix-slave-config"
	EventFailoverEnd      = "+failover-end"
	EventFailoverTimeout  = "+failover-end-for-timeout"
	EventFailoverAbort    = "-failover-abort"
	EventPause            = "+pause"
	EventResume           = "-pause"
	EventMaintenance      = "+maintenance"
	EventMaintenanceEnd   = "-maintenance"
	EventHold             = "+hold"
	EventAdopt            = "+adopt-master"
	EventConflict         = "+instance-conflict"
	EventStep             = "+failover-step"
	EventNode             = "+sentinel"
	EventNodeGone         = "-sentinel"
	EventDrain            = "+node-drain"
	EventDrainEnd         = "-node-drain"
	EventReportsExpired   = "+reports-expired"
	EventFeatureLevel     = "+feature-level"
	EventFounded          = "+founded"
	EventRestored         = "+restored"
	EventRecovered        = "+recovered"
	EventConfigure        = "+configure"
	EventQuorumImpossible = "+quorum-impossible"
)

// Cursor is the place of an event: the index of its entry and its number within it. Cursors order events.
type Cursor struct {
	Index   uint64
	Ordinal uint32
}

// Compare orders cursors.
func (c Cursor) Compare(d Cursor) int {
	return cmp.Or(cmp.Compare(c.Index, d.Index), cmp.Compare(c.Ordinal, d.Ordinal))
}

// Event is something that the state's change means to people and clients.
type Event struct {
	Cursor
	Kind string
	// AtMs is the proposer's clock, Unix milliseconds.
	AtMs   int64
	Master string
	// Instance is what it is about, Role what that is in the set; MasterAddr is the committed master then.
	Instance   Addr
	Role       Role
	MasterAddr Addr
	// Node whose verdict or membership it is about: a Raft server id.
	Node string
	// Actor proposed the entry: a Raft server id.
	Actor string
	Epoch uint64
	// From and To of a switch are the master's addresses. Where only what clients are told of the master has changed, they
	// are what clients were and are told.
	From, To Addr
	// Of those of the four that are host names: the IP address that clients were told instead when it happened. It stays
	// with the event: the set may be gone, or have other addresses, when the event is read.
	InstanceIP, MasterIP, FromIP, ToIP string

	Cause Cause
	// Detail ends Sentinel's payload, such as "#quorum 2/2", or says why.
	Detail string
	// OffsetMs is, in a failover, milliseconds since its decision.
	OffsetMs float64
}
