package detector

import (
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Observation is what this node last saw of one instance. Values are immutable once published.
type Observation struct {
	Addr raftfsm.Addr
	// Down is this node's own verdict; Cause and DownSince belong to it.
	Down      bool
	Cause     raftfsm.Cause
	DownSince time.Time
	// AuthRejected: the instance lives and rejects our password or rights.
	AuthRejected bool
	// Connected: the probe connection stands.
	Connected bool
	// LastReply is when the last acceptable reply came; zero for never. LastReplyClass is the class of the last reply of any
	// kind, and LastAnyReply when that came.
	LastReply      time.Time
	LastAnyReply   time.Time
	LastReplyClass ReplyClass
	// LastPingSent is when the oldest unanswered PING was sent, or zero when none is pending.
	LastPingSent time.Time
	// PingTime is the round trip of the last answered probe; at rest what the kernel measured up to the last INFO.
	PingTime time.Duration
	// Info is the last INFO read, nil for never; InfoAt is when it arrived, or was asked for where nobody waited for it.
	Info   *Info
	InfoAt time.Time
	// RoleSince is when the role that Info tells was first told; zero for never.
	RoleSince time.Time
	// Rebooted: its process replaced another one and has not given a +PONG since.
	Rebooted bool
}

// ReplyClass is what a reply to a probe means.
type ReplyClass uint8

// The classes.
const (
	ReplyNone       ReplyClass = iota
	ReplyPong                  // +PONG: acceptable
	ReplyLoading               // -LOADING: acceptable, alive and not serving
	ReplyMasterDown            // -MASTERDOWN: acceptable, a replica that serves no stale data
	ReplyAuth                  // -NOAUTH, -WRONGPASS, -NOPERM: alive, rejects us
	ReplyBusy                  // -BUSY: blocked by a script or function
	ReplyOther                 // any other error: not acceptable
)

// Info is what an instance says of itself in INFO (sections server, replication, persistence; a missing field has its
// zero value, -1 for offsets and times).
type Info struct {
	Version string
	RunID   string
	Role    raftfsm.Role
	Uptime  time.Duration

	Loading      bool
	AsyncLoading bool
	// Saving: it writes an RDB file. Rewriting: it rewrites its AOF, or will as soon as it may.
	Saving    bool
	Rewriting bool

	ReplID       string
	ReplID2      string
	SecondOffset int64
	// Offset is slave_repl_offset of a replica, master_repl_offset of a master.
	Offset int64

	// Of a replica.
	MasterHost       string
	MasterPort       int
	MasterLinkUp     bool
	MasterLinkDown   time.Duration // since when the link is down; -1 = never was up
	MasterLastIO     time.Duration // since the last byte from the master; -1 = unknown
	SyncInProgress   bool
	Priority         int
	ReplicaAnnounced bool
	FailoverState    string

	// Replicas that a master lists, in its order.
	Replicas []ReplicaLine

	// Text is what it said in the sections server and replication, at most [MaxInfoText] bytes of it in whole lines.
	Text string
}

// ReplicaLine is one slaveN line of a master's INFO.
type ReplicaLine struct {
	Addr   raftfsm.Addr
	State  string
	Offset int64
	Lag    time.Duration
}

// RoleReply is the reply to ROLE.
type RoleReply struct {
	Role raftfsm.Role
	// Offset is the replication offset, of either role.
	Offset int64
	// Of a replica: whom it follows and the state of the link ("connected", "sync", ...).
	Master raftfsm.Addr
	Link   string
}
