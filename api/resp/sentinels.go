package resp

import (
	"context"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// hearingLimit bounds the question to the leader whom it hears.
	hearingLimit = 200 * time.Millisecond
	// hearingAge is how long its answer, or that there was none, is good for.
	hearingAge = time.Second
)

// others counts the members other than this node: clients know them as other Sentinels.
func (s *Server) others(st *raftfsm.State) int {
	self, n := s.o.Node.Status().RaftID, 0
	for _, v := range st.Servers() {
		if v.ID != self {
			n++
		}
	}
	return n
}

// sentinels are the other members that clients can reach: those that have said where they answer this protocol.
func (s *Server) sentinels(ctx context.Context, c *conn, args []string) reply {
	st, m, refusal := s.lookup(c, args[0])
	if refusal != nil {
		return refusal
	}
	heard := s.hearing.of(ctx, s)
	self, now, out := s.o.Node.Status().RaftID, time.Now(), array{}
	for _, v := range st.Servers() {
		if n, registered := st.Node(v.ID); registered && v.ID != self && !n.RESP.IsZero() {
			out = append(out, sentinelMap(st, m, n, heard[v.ID], now))
		}
	}
	return out
}

// sentinelMap is a member in Sentinel's words (sentinel.c, addReplySentinelRedisInstance). Its link is Raft's, on which every
// message is a hello and an answer.
func sentinelMap(st *raftfsm.State, m *raftfsm.Master, n *raftfsm.Node, h hearingOf, now time.Time) reply {
	var f fields
	ago, since := age(now, h.at), age(now, h.since)
	id := api.SentinelID(n.NodeID)
	f.add("name", id)
	f.add("ip", n.RESP.Host)
	f.add("port", port(n.RESP))
	f.add("runid", id)
	f.add("flags", choose(h.lost, "s_down,sentinel,disconnected", "sentinel"))
	f.num("link-pending-commands", choose[int64](h.lost, 1, 0))
	f.num("link-refcount", int64(st.MasterCount()))
	f.num("last-ping-sent", choose(h.lost, ago, 0))
	f.num("last-ok-ping-reply", ago)
	f.num("last-ping-reply", ago)
	if h.lost {
		f.num("s-down-time", since)
	}
	f.num("down-after-milliseconds", m.Options.DownAfter.Milliseconds())
	f.num("last-hello-message", ago)
	// Nobody is elected for one master.
	f.add("voted-leader", "?")
	f.num("voted-leader-epoch", 0)
	return f
}

// hearing is what this node was told last of the members.
type hearing struct {
	mu sync.Mutex
	// asked is when the leader was asked last.
	asked   time.Time
	members map[string]hearingOf
	// asking is closed when the question under way is answered; nil for none.
	asking chan struct{}
}

// hearingOf is what is known of one member: the zero value where nobody has told yet.
type hearingOf struct {
	lost bool
	// at is when it gave its last sign of life, or this node was told of it first; since is from when a lost one counts as lost.
	at, since time.Time
}

// of is what is known of the members now: by this node's own contact with them, else by the leader's, which is asked again after
// hearingAge. Those who ask at the same time ask once. Where nobody tells, what was told last holds, and its ages go on.
func (h *hearing) of(ctx context.Context, s *Server) map[string]hearingOf {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.asking != nil {
		asking := h.asking
		h.mu.Unlock()
		<-asking // bounded by hearingLimit
		h.mu.Lock()
	}
	contacts := s.o.Node.Contacts()
	if contacts == nil && (h.asked.IsZero() || time.Since(h.asked) >= hearingAge) {
		h.asking = make(chan struct{})
		h.mu.Unlock()
		contacts = s.askContacts(ctx)
		h.mu.Lock()
		h.asked = time.Now()
		close(h.asking)
		h.asking = nil
	}
	if contacts != nil {
		h.note(time.Now(), contacts, s.o.HeardWithin)
	}
	return h.members
}

// note takes an account in. The map that it replaces may still be read. The caller holds mu.
func (h *hearing) note(now time.Time, contacts map[string]api.Contact, within time.Duration) {
	members := map[string]hearingOf{}
	for id, c := range contacts {
		was, told := h.members[id]
		m := hearingOf{lost: !c.Heard, at: c.At, since: was.since}
		switch {
		case m.at.IsZero() && !told:
			m.at = now
		case m.at.Before(was.at):
			m.at = was.at // who tells now has not known it for so long
		}
		if m.lost && !was.lost {
			if m.since = m.at.Add(within); m.since.After(now) {
				m.since = now
			}
		}
		members[id] = m
	}
	h.members = members
}

// askContacts asks the leader; nil where none answers.
func (s *Server) askContacts(ctx context.Context) map[string]api.Contact {
	ctx, cancel := context.WithTimeout(ctx, hearingLimit)
	defer cancel()
	resp, err := s.cluster.ListNodes(ctx, &sentinelv1.ListNodesRequest{})
	if err != nil {
		return nil
	}
	return api.ContactsOf(resp.GetNodes(), time.Now())
}
