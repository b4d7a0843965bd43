package fakeredis

import (
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// link is a replica's connection to its master.
type link struct {
	up      bool
	since   time.Time // when it came up
	lastIO  time.Time // zero = never
	downAt  time.Time // zero = it never was up
	waiting time.Time // since when it could be connecting; zero = it cannot
	copying bool      // a full copy is under way
	dropped bool      // a full copy was begun: the offset of before is forgotten
	timer   *time.Timer
}

// maxChain bounds chains of replicas, and ends cycles.
const maxChain = 16

func (n *Net) settleAll() {
	for _, i := range n.order {
		i.settle(0)
	}
}

// settle brings offset and link up to the present. It is called with the lock, before and after every change, so that
// between two calls nothing but time has changed.
func (i *Instance) settle(depth int) {
	now := time.Now()
	if i.process == nil || depth > maxChain {
		return
	}
	if i.follows.IsZero() {
		i.accrue(now)
		return
	}
	m := i.net.instances[i.follows]
	if m != nil {
		m.settle(depth + 1)
	}
	switch {
	case i.link.up:
		i.keepUp(m, now)
	case i.canConnect(m):
		i.connect(m, now)
	default:
		i.link.waiting, i.link.copying = time.Time{}, false
	}
}

// accrue adds what clients wrote.
func (i *Instance) accrue(now time.Time) {
	if i.frozen() || i.loading || i.rate == 0 {
		i.accrued = now
		return
	}
	if i.accrued.Before(i.process.pausedUntil) {
		i.accrued = earlier(now, i.process.pausedUntil)
	}
	bytes := int64(now.Sub(i.accrued).Seconds() * float64(i.rate))
	if bytes > 0 {
		i.accrued = i.accrued.Add(time.Duration(float64(bytes) / float64(i.rate) * float64(time.Second)))
		i.offset += bytes
		i.empty = false
	}
}

// keepUp follows the stream, or ends the link: at once where the master's end closes, after the timeout where it is
// silent.
func (i *Instance) keepUp(m *Instance, now time.Time) {
	switch {
	case m == nil || m.process == nil || i.cutLink || m.replID != i.replID:
		i.disconnect(now)
	case i.frozen():
	case !i.hears(m):
		if now.Sub(i.link.lastIO) >= i.replTimeout {
			i.disconnect(i.link.lastIO.Add(i.replTimeout))
		}
	default:
		i.link.lastIO = now
		if reached := m.offset - i.lag; reached > i.offset {
			i.offset = reached
		}
		i.empty = i.empty && m.empty
	}
}

func (i *Instance) disconnect(at time.Time) {
	i.link.up, i.link.downAt, i.link.waiting = false, at, time.Time{}
}

func (i *Instance) canConnect(m *Instance) bool {
	return m != nil && m != i && m.process != nil && !i.cutLink && !i.frozen() && i.hears(m) && !m.loading &&
		(m.follows.IsZero() || m.link.up)
}

// hears: packets of m come through, and m sends some.
func (i *Instance) hears(m *Instance) bool {
	return !m.frozen() && !m.busy && !i.net.isCut(i.addr.Host, m.addr) && !i.net.isCut(m.addr.Host, i.addr)
}

func (i *Instance) connect(m *Instance, now time.Time) {
	l := &i.link
	if l.waiting.IsZero() {
		l.waiting = now
	}
	waited := now.Sub(l.waiting)
	if waited < i.connectTime {
		i.later(i.connectTime - waited)
		return
	}
	if !l.copying && !i.resumes(m) {
		l.copying, l.dropped = true, true
	}
	if waited -= i.connectTime; l.copying && waited < i.copyTime {
		i.later(i.copyTime - waited)
		return
	}
	i.attach(m)
}

// later settles again when the next thing is due.
func (i *Instance) later(d time.Duration) {
	if i.link.timer != nil {
		i.link.timer.Stop()
	}
	i.link.timer = time.AfterFunc(d, func() {
		i.net.mu.Lock()
		defer i.net.mu.Unlock()
		i.settle(0)
	})
}

// resumes is the condition of a partial resynchronisation, with a backlog without end (Redis replication.c,
// masterTryPartialResync).
func (i *Instance) resumes(m *Instance) bool {
	return !i.link.dropped && (i.replID == m.replID && i.offset <= m.offset || i.replID == m.replID2 && i.offset < m.second)
}

// attach brings the link up: what the instance has that m never had is gone. A master's first replica begins m's history
// (Redis replication.c, syncCommand).
func (i *Instance) attach(m *Instance) {
	if !m.backlog {
		m.backlog, m.history = true, history{replID: i.net.newID(), replID2: noReplID, second: -1}
	}
	i.backlog = true
	switch {
	case !i.resumes(m):
		i.history = history{replID: m.replID, replID2: noReplID, second: -1}
		i.offset, i.empty = max(0, m.offset-i.lag), m.empty
	case i.replID != m.replID:
		i.history = history{replID: m.replID, replID2: i.replID, second: i.offset + 1}
	}
	now := time.Now()
	i.link = link{up: true, since: now, lastIO: now, timer: i.link.timer}
	i.keepUp(m, now)
}

// follow is REPLICAOF HOST PORT; the replicas of its own must ask anew. The offset and ids stay, to resume from.
func (i *Instance) follow(master raftfsm.Addr) {
	i.settle(0)
	if i.link.up {
		i.disconnect(time.Now())
	}
	i.setFollows(master)
	i.link = link{timer: i.link.timer, dropped: i.link.dropped, downAt: i.link.downAt}
	i.disconnectReplicas()
	i.settle(0)
}

// promote is REPLICAOF NO ONE.
func (i *Instance) promote() {
	if i.follows.IsZero() {
		return
	}
	i.settle(0)
	i.setFollows(raftfsm.Addr{})
	i.link, i.accrued = link{timer: i.link.timer}, time.Now()
	i.newHistory()
	i.disconnectReplicas()
}

func (i *Instance) disconnectReplicas() {
	for _, r := range i.replicas() {
		if r.link.up {
			r.disconnect(time.Now())
		}
		r.settle(0)
	}
}

// setFollows keeps the index of followers.
func (i *Instance) setFollows(master raftfsm.Addr) {
	index := i.net.followers
	index[i.follows] = slices.DeleteFunc(index[i.follows], func(r *Instance) bool { return r == i })
	i.follows = master
	if !master.IsZero() {
		index[master] = append(index[master], i)
	}
}

// replicas are the running instances that follow i, in the order they began to.
func (i *Instance) replicas() []*Instance {
	var list []*Instance
	for _, r := range i.net.followers[i.addr] {
		if r.process != nil {
			list = append(list, r)
		}
	}
	return list
}

func (i *Instance) frozen() bool { return i.process != nil && i.process.thawed != nil }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
