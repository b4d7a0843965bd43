package doctor

import (
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Facts are what was gathered at one moment.
type Facts struct {
	Now time.Time
	// Asked is the node that gathered them, by whose clock the others' are judged.
	Asked string
	// Leader is the leader that the asked node hears; "" for none.
	Leader string
	// Level is the cluster's feature level, Voters how many members vote.
	Level  uint32
	Voters int
	// Nodes are the members, the asked one among them.
	Nodes []Node
	Sets  []Set

	views views
}

// Node is what is known of a member.
type Node struct {
	// ID is its name, or its Raft id where it has not introduced itself.
	ID, RaftID string
	// Unregistered: it has not introduced itself, so that nobody knows where to ask it.
	Unregistered bool
	// Drain, not nil: it is not to lead.
	Drain *raftfsm.Pause
	// Silent is why it did not answer, Unable why it answered and could not look at itself; "" where it did. All below is known
	// only where both are "".
	Silent, Unable string

	Version  string
	MaxLevel uint32
	// Role is Raft's, Leader whom it hears, "" for none.
	Role, Leader string
	Loading      bool
	// Waiting is why it has no cluster; "" where it has one.
	Waiting string
	// Braked is why it withholds its verdicts; "" where it does not.
	Braked string
	Clock  Clock
	Config Config
	Disk   Disk
	Ports  []Port
	// Unresolved are host names that it cannot resolve.
	Unresolved []Name
	// Probes: it watches instances. Unreached are those that it does not reach or that reject it; MoreUnreached: not all of them.
	Probes        bool
	Unreached     []Unreached
	MoreUnreached bool
}

// Clock is how far a node's clock is ahead of the asked one's, and by how much that may be wrong.
type Clock struct{ Ahead, Within time.Duration }

// Config is a node's configuration. The zero value is one that nothing is known of.
type Config struct {
	// File is where it was read; "" for none.
	File string
	// Faults and Warnings are of the configuration as it stands on disk now.
	Faults, Warnings []string
	// ReloadPending and RestartPending are directives that differ from what holds.
	ReloadPending, RestartPending []string
	// What holds.
	ClusterName, RaftTiming string
	BootstrapExpect         int
	Peers                   []string
}

// Disk is the file system of a node's dir.
type Disk struct {
	// Dir is "" where the state is in memory alone; Unknown is why the rest is not known.
	Dir, Unknown string
	// Memory: a reboot empties it.
	Memory bool
	// In bytes. Inodes is 0 where they are not counted.
	Free, Size         int64
	FreeInodes, Inodes int64
	// FsyncP50 is 0 where nothing was written yet.
	FsyncP50 time.Duration
}

// Port is a port of another member.
type Port struct {
	// Of is the node's name, Kind what the port is for.
	Of, Kind string
	Addr     raftfsm.Addr
	// Closed is why no connection was made; "" where one was.
	Closed string
}

// Name is a host name that does not resolve. Master is "" for one of cluster-peers.
type Name struct{ Host, Master, Error string }

// Unreached is an instance that a node does not reach, or that rejects its login.
type Unreached struct {
	Master   string
	Addr     raftfsm.Addr
	Reason   string
	Rejected bool
}

// Set is a master and what was found at its instances.
type Set struct {
	Master *raftfsm.Master
	// DownVotes are those against the master that count.
	DownVotes int
	// Instances are in the order of Master.Instances.
	Instances []Instance
}

// Instance is what a visit found.
type Instance struct {
	Addr raftfsm.Addr
	// Unvisited: there was no time.
	Unvisited bool
	// Silent is why it could not be asked; "" where it could. Expired: that is its certificate's end.
	Silent  string
	Expired bool
	// Rejected is its error reply to the login; "" where it took it. Sentinel: it holds no data. All below is known only
	// where it took the login and is none.
	Rejected string
	Sentinel bool

	Role    raftfsm.Role
	Version string
	// Priority is what a replica says; -1 for unknown.
	Priority int
	// Denied are commands that sentineld uses and that the user may not, Missing those that are not known under their names;
	// RightsUnknown is why that could not be told.
	Denied, Missing []string
	RightsUnknown   string
	// Settings are options of redis.conf by name. Of a password, only whether there is one: "set" or "". One that is not
	// there is not known, and SettingsUnknown is why some are not.
	Settings        map[string]string
	SettingsUnknown string
	// CertificateEnds is zero without TLS.
	CertificateEnds time.Time
}
