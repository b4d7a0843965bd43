package fakeredis

import (
	"net"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Instance is one simulated Redis. All methods may be called at any time from any goroutine.
type Instance struct{}

// Addr is where it is.
func (i *Instance) Addr() raftfsm.Addr { panic("contract only") }

// Crash resets every connection; the port refuses until [Instance.Restart].
func (i *Instance) Crash() { panic("contract only") }

// Restart starts the process again after a Crash (crashing it first where needed): with a new run id, in the role that was
// last saved by CONFIG REWRITE or [Instance.Replicate], with its data and offset, or with empty data.
func (i *Instance) Restart(empty bool) { panic("contract only") }

// Hang freezes the process as SIGSTOP does: connections stand and are accepted, nothing is answered. Resume answers what
// has come in meanwhile.
func (i *Instance) Hang() { panic("contract only") }

// Resume ends a Hang.
func (i *Instance) Resume() { panic("contract only") }

// Drop and Heal are [Net.Drop] and [Net.Heal] for every host.
func (i *Instance) Drop() { panic("contract only") }

// Heal ends Drop.
func (i *Instance) Heal() { panic("contract only") }

// SetLoading, SetBusy: commands are answered -LOADING, -BUSY.
func (i *Instance) SetLoading(on bool) { panic("contract only") }

// SetBusy: see SetLoading.
func (i *Instance) SetBusy(on bool) { panic("contract only") }

// SetServeStaleData(false) makes a replica without its link answer PING with -MASTERDOWN.
func (i *Instance) SetServeStaleData(on bool) { panic("contract only") }

// SetAuth asks for a password; user "" is the default user. Passwords add up until SetAuth with pass "" clears them.
func (i *Instance) SetAuth(user, pass string) { panic("contract only") }

// Deny answers the commands ("config|rewrite", "multi") with -NOPERM; no arguments allow all again.
func (i *Instance) Deny(commands ...string) { panic("contract only") }

// Rename renames a command; to "" removes it.
func (i *Instance) Rename(command, to string) { panic("contract only") }

// FailRewrite makes CONFIG REWRITE answer with the error text; "" = succeed.
func (i *Instance) FailRewrite(text string) { panic("contract only") }

// SetPriority sets replica-priority; SetAnnounced replica-announced; SetVersion redis_version.
func (i *Instance) SetPriority(p int)    { panic("contract only") }
func (i *Instance) SetAnnounced(on bool) { panic("contract only") }
func (i *Instance) SetVersion(v string)  { panic("contract only") }

// SetLinkDelay sets how long connecting to a master takes, and how long a full copy takes on top.
func (i *Instance) SetLinkDelay(connect, full time.Duration) { panic("contract only") }

// SetWriteRate makes a master's offset advance by so many bytes each second, while it is master and not paused.
func (i *Instance) SetWriteRate(bytesPerSecond int64) { panic("contract only") }

// Write advances a master's offset.
func (i *Instance) Write(bytes int64) { panic("contract only") }

// SetLag keeps a replica's offset so many bytes behind its master's.
func (i *Instance) SetLag(bytes int64) { panic("contract only") }

// CutLink holds a replica's link to its master down (on), with nothing else lost.
func (i *Instance) CutLink(on bool) { panic("contract only") }

// Replicate attaches the instance to a master at once, synced, and saves it as its configuration.
func (i *Instance) Replicate(master raftfsm.Addr) { panic("contract only") }

// State is the present truth of the instance.
func (i *Instance) State() State { panic("contract only") }

// Clients lists the open connections by name.
func (i *Instance) Clients() []string { panic("contract only") }

// Listen serves the instance on a real TCP port of the loopback interface as well, until [Net.Close] or Crash.
func (i *Instance) Listen() (net.Addr, error) { panic("contract only") }

// State is a copy of what an instance is.
type State struct {
	Master  bool
	Follows raftfsm.Addr
	LinkUp  bool
	Syncing bool
	Offset  int64
	ReplID  string
	ReplID2 string
	Second  int64
	RunID   string
	Empty   bool
	Paused  bool
}
