package fakeredis

import (
	"net"
	"slices"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// noReplID stands where there is no second history.
const noReplID = "0000000000000000000000000000000000000000"

// Instance is one simulated Redis. All methods may be called at any time from any goroutine.
type Instance struct {
	net     *Net
	addr    raftfsm.Addr
	process *process // nil while it is down

	// What a restart keeps.
	saved  raftfsm.Addr // the master that the configuration file names; zero = none
	empty  bool
	offset int64
	history
	backlog bool // it has had a replica or been one; without, the first replica begins a history

	follows raftfsm.Addr // zero = it is a master
	link    link

	version     string
	priority    int
	unannounced bool
	noStale     bool
	loading     bool
	saving      bool
	busy        bool
	lag         int64
	cutLink     bool
	connectTime time.Duration
	copyTime    time.Duration
	replTimeout time.Duration
	rate        int64     // bytes a second, while a master
	accrued     time.Time // up to when rate is in offset
	passwords   map[string][]string
	denied      []string
	renamed     map[string]string
	rewriteErr  string
	last        string // the command after whose answer it crashes; "" = none
	config      map[string]string
	listen      string // address of the real port, "" = none
}

// history is what a replication offset belongs to.
type history struct {
	replID, replID2 string
	second          int64
}

// process is one life of an instance.
type process struct {
	runID       string
	started     time.Time
	clients     map[int64]*client
	lastClient  int64
	dead        chan struct{}
	thawed      chan struct{} // nil unless frozen; closed when it goes on
	frozenAt    time.Time
	pausedUntil time.Time
	pausedAll   bool
	listener    net.Listener
}

func newInstance(n *Net, a raftfsm.Addr) *Instance {
	i := &Instance{
		net: n, addr: a, empty: true, version: "7.0.15", priority: 100,
		history:     history{replID: n.newID(), replID2: noReplID, second: -1},
		connectTime: 100 * time.Millisecond, copyTime: 100 * time.Millisecond, replTimeout: time.Minute,
		config: map[string]string{"maxmemory": "0", "min-replicas-to-write": "0", "min-replicas-max-lag": "10"},
	}
	i.start()
	return i
}

func (i *Instance) start() {
	now := time.Now()
	i.process = &process{
		runID: i.net.newID(), started: now, clients: map[int64]*client{}, lastClient: 2, dead: make(chan struct{}),
	}
	i.accrued = now
	i.link = link{waiting: now}
}

// kill ends the process: every connection is reset.
func (i *Instance) kill() {
	p := i.process
	if p == nil {
		return
	}
	i.process = nil
	close(p.dead)
	if p.listener != nil {
		_ = p.listener.Close()
	}
	for _, c := range p.clients {
		c.abort()
	}
}

// change is how every knob is turned: all replication is brought up to date before, and again after.
func (i *Instance) change(f func()) {
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	i.net.settleAll()
	f()
	i.net.settleAll()
}

// Addr is where it is.
func (i *Instance) Addr() raftfsm.Addr { return i.addr }

// Crash resets every connection; the port refuses until [Instance.Restart].
func (i *Instance) Crash() { i.change(i.kill) }

// CrashAfter crashes it once the next such command is answered.
func (i *Instance) CrashAfter(command string) { i.change(func() { i.last = command }) }

// answered crashes it after its last command.
func (i *Instance) answered(command string) {
	i.net.mu.Lock()
	last := i.last != "" && strings.EqualFold(command, i.last)
	if last {
		i.last = ""
	}
	i.net.mu.Unlock()
	if last {
		i.Crash()
	}
}

// Restart starts the process again after a Crash (crashing it first where needed): with a new run id, in the role that
// was last saved by CONFIG REWRITE or [Instance.Replicate], with its data and offset as an RDB file holds them, or with
// empty data. On a closed [Net] it does nothing.
func (i *Instance) Restart(empty bool) {
	i.change(func() {
		if i.net.closed {
			return
		}
		i.kill()
		i.setFollows(i.saved)
		i.loading, i.saving, i.busy = false, false, false
		switch {
		case empty:
			i.empty, i.offset, i.backlog = true, 0, false
			i.history = history{replID: i.net.newID(), replID2: noReplID, second: -1}
		case i.saved.IsZero():
			i.newHistory()
		}
		i.start()
		if i.listen != "" {
			i.reopen()
		}
	})
}

// newHistory begins one of its own and keeps the former as the second (Redis replication.c, shiftReplicationId).
func (i *Instance) newHistory() {
	i.history = history{replID: i.net.newID(), replID2: i.replID, second: i.offset + 1}
}

// Hang freezes the process as SIGSTOP does: connections stand and are accepted, nothing is answered. Resume answers what
// has come in meanwhile.
func (i *Instance) Hang() {
	i.change(func() {
		if p := i.process; p != nil && p.thawed == nil {
			p.thawed, p.frozenAt = make(chan struct{}), time.Now()
		}
	})
}

// Resume ends a Hang.
func (i *Instance) Resume() {
	i.change(func() {
		if p := i.process; p != nil && p.thawed != nil {
			close(p.thawed)
			p.thawed, i.accrued = nil, time.Now()
		}
	})
}

// Drop is [Net.Drop] for every host.
func (i *Instance) Drop() { i.net.Drop("*", i.addr) }

// Heal ends Drop.
func (i *Instance) Heal() { i.net.Heal("*", i.addr) }

// SetLoading makes commands be answered -LOADING, as while a dataset is read from disk.
func (i *Instance) SetLoading(on bool) { i.change(func() { i.loading = on }) }

// SetSaving makes INFO tell of a BGSAVE, which goes on until it is set to false or the process ends.
func (i *Instance) SetSaving(on bool) { i.change(func() { i.saving = on }) }

// SetBusy makes commands be answered -BUSY, as while a script runs for too long. SCRIPT KILL ends it.
func (i *Instance) SetBusy(on bool) { i.change(func() { i.busy = on }) }

// SetServeStaleData (false) makes a replica without its link answer PING with -MASTERDOWN.
func (i *Instance) SetServeStaleData(on bool) { i.change(func() { i.noStale = !on }) }

// SetAuth asks for a password; user "" is the default user. Passwords of a user add up, until SetAuth with pass ""
// clears them. Connections that are open stay logged in.
func (i *Instance) SetAuth(user, pass string) {
	i.change(func() {
		if user == "" {
			user = "default"
		}
		if pass == "" {
			delete(i.passwords, user)
			return
		}
		if i.passwords == nil {
			i.passwords = map[string][]string{}
		}
		i.passwords[user] = append(i.passwords[user], pass)
	})
}

// Deny answers the commands ("config|rewrite", "multi") with -NOPERM; no arguments allow all again.
func (i *Instance) Deny(commands ...string) { i.change(func() { i.denied = slices.Clone(commands) }) }

// Rename renames a command; to "" removes it.
func (i *Instance) Rename(command, to string) {
	i.change(func() {
		if i.renamed == nil {
			i.renamed = map[string]string{}
		}
		i.renamed[strings.ToLower(command)] = strings.ToLower(to)
	})
}

// FailRewrite makes CONFIG REWRITE answer with the error text; "" = succeed.
func (i *Instance) FailRewrite(text string) { i.change(func() { i.rewriteErr = text }) }

// SetPriority sets replica-priority.
func (i *Instance) SetPriority(p int) { i.change(func() { i.priority = p }) }

// SetAnnounced sets replica-announced.
func (i *Instance) SetAnnounced(on bool) { i.change(func() { i.unannounced = !on }) }

// SetVersion sets redis_version.
func (i *Instance) SetVersion(v string) { i.change(func() { i.version = v }) }

// SetLinkDelay sets how long connecting to a master takes, and how long a full copy takes on top.
func (i *Instance) SetLinkDelay(connect, full time.Duration) {
	i.change(func() { i.connectTime, i.copyTime = connect, full })
}

// SetReplTimeout sets after which silence of its master a replica takes its link down; 60 s at first.
func (i *Instance) SetReplTimeout(d time.Duration) { i.change(func() { i.replTimeout = d }) }

// SetWriteRate makes a master's offset advance by so many bytes each second, while it is master and not paused.
func (i *Instance) SetWriteRate(bytesPerSecond int64) { i.change(func() { i.rate = bytesPerSecond }) }

// Write advances a master's offset. On a replica, or while writes are paused, it does nothing.
func (i *Instance) Write(bytes int64) {
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	i.settle(0)
	if p := i.process; p != nil && i.follows.IsZero() && !time.Now().Before(p.pausedUntil) {
		i.offset += bytes
		i.empty = false
	}
}

// SetLag keeps a replica's offset so many bytes behind its master's.
func (i *Instance) SetLag(bytes int64) { i.change(func() { i.lag = bytes }) }

// CutLink holds a replica's link to its master down (on), with nothing else lost.
func (i *Instance) CutLink(on bool) { i.change(func() { i.cutLink = on }) }

// Replicate attaches the instance to a master at once, synced, and saves it as its configuration.
func (i *Instance) Replicate(master raftfsm.Addr) {
	i.change(func() {
		m := i.net.instances[master]
		if m == nil {
			panic("fakeredis: no instance at " + master.String())
		}
		i.follow(master)
		i.saved = master
		i.attach(m)
	})
}

// State is what an instance is at one moment.
type State struct {
	// Running is false between Crash and Restart.
	Running bool
	Master  bool
	Follows raftfsm.Addr
	LinkUp  bool
	Syncing bool
	Offset  int64
	ReplID  string
	ReplID2 string
	// Second is second_repl_offset.
	Second int64
	RunID  string
	// Empty: no write has ever reached its data.
	Empty bool
	// Paused: CLIENT PAUSE holds.
	Paused bool
	// Saved is the master that its configuration file names.
	Saved raftfsm.Addr
}

// State is the present truth of the instance.
func (i *Instance) State() State {
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	i.settle(0)
	s := State{
		Running: i.process != nil, Master: i.follows.IsZero(), Follows: i.follows, LinkUp: i.link.up,
		Syncing: i.link.copying, Offset: i.offset, ReplID: i.replID, ReplID2: i.replID2, Second: i.second, Empty: i.empty,
		Saved: i.saved,
	}
	if p := i.process; p != nil {
		s.RunID, s.Paused = p.runID, time.Now().Before(p.pausedUntil)
	}
	return s
}

// Clients lists the names of the open connections, in the order they came; unnamed ones are "".
func (i *Instance) Clients() []string {
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	var names []string
	for _, c := range i.clients() {
		names = append(names, c.name)
	}
	return names
}
