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
	self, out := s.o.Node.Status().RaftID, array{}
	for _, v := range st.Servers() {
		if n, registered := st.Node(v.ID); registered && v.ID != self && !n.RESP.IsZero() {
			out = append(out, sentinelMap(st, m, n, heard.about(v.ID)))
		}
	}
	return out
}

// sentinelMap is a member in Sentinel's words (sentinel.c, addReplySentinelRedisInstance). Its link is Raft's.
func sentinelMap(st *raftfsm.State, m *raftfsm.Master, n *raftfsm.Node, h hearingOf) reply {
	var f fields
	id := api.SentinelID(n.NodeID)
	f.add("name", id)
	f.add("ip", n.RESP.Host)
	f.add("port", port(n.RESP))
	f.add("runid", id)
	f.add("flags", choose(h.lost, "s_down,sentinel,disconnected", "sentinel"))
	f.num("link-pending-commands", choose[int64](h.lost, 1, 0))
	f.num("link-refcount", int64(st.MasterCount()))
	f.num("last-ping-sent", choose(h.lost, h.ago, 0))
	f.num("last-ok-ping-reply", h.ago)
	f.num("last-ping-reply", h.ago)
	if h.lost {
		f.num("s-down-time", h.ago)
	}
	f.num("down-after-milliseconds", m.Options.DownAfter.Milliseconds())
	f.num("last-hello-message", h.ago)
	// Nobody is elected for one master.
	f.add("voted-leader", "?")
	f.num("voted-leader-epoch", 0)
	return f
}

// hearing is whom the leader hears, as this node was told last.
type hearing struct {
	mu sync.Mutex
	at time.Time
	// known is nil where no leader tells.
	known map[string]bool
	// since is when a member was heard last, or the first time it was missing.
	since map[string]time.Time
	// asking is closed when the question under way is answered; nil for none.
	asking chan struct{}
}

// hearingOf is what is known of one member: how many milliseconds ago it was heard, and whether it is heard no more.
type hearingOf struct {
	lost bool
	ago  int64
}

// heardView is a hearing at one moment.
type heardView struct {
	now   time.Time
	known map[string]bool
	since map[string]time.Time
}

func (v heardView) about(id string) hearingOf {
	heard, told := v.known[id]
	at := v.since[id]
	if !told || at.IsZero() {
		return hearingOf{}
	}
	return hearingOf{!heard, max(0, v.now.Sub(at).Milliseconds())}
}

// of is whom the leader hears now: this node's own account where it leads, else the leader's, at most hearingAge old. Those
// who ask at the same time ask once.
func (h *hearing) of(ctx context.Context, s *Server) heardView {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.asking != nil {
		asking := h.asking
		h.mu.Unlock()
		<-asking // bounded by hearingLimit
		h.mu.Lock()
	}
	if status := s.o.Node.Status(); status.Role == api.RoleLeader {
		known := map[string]bool{}
		for _, v := range s.o.Node.State().Servers() {
			known[v.ID] = false
		}
		for _, id := range status.Heard {
			known[id] = true
		}
		h.note(time.Now(), known)
	} else if h.at.IsZero() || time.Since(h.at) >= hearingAge {
		h.asking = make(chan struct{})
		h.mu.Unlock()
		known := s.askHearing(ctx)
		h.mu.Lock()
		h.note(time.Now(), known)
		close(h.asking)
		h.asking = nil
	}
	return heardView{time.Now(), h.known, h.since}
}

// note takes an account in. The maps that it replaces may still be read. The caller holds mu.
func (h *hearing) note(now time.Time, known map[string]bool) {
	since := map[string]time.Time{}
	for id, heard := range known {
		if since[id] = now; !heard && !h.since[id].IsZero() {
			since[id] = h.since[id]
		}
	}
	h.at, h.known, h.since = now, known, since
}

// askHearing asks the leader; nil where none answers.
func (s *Server) askHearing(ctx context.Context) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, hearingLimit)
	defer cancel()
	resp, err := s.cluster.ListNodes(ctx, &sentinelv1.ListNodesRequest{})
	if err != nil {
		return nil
	}
	var known map[string]bool
	for _, n := range resp.GetNodes() {
		if n.Heard != nil {
			if known == nil {
				known = map[string]bool{}
			}
			known[n.GetRaftId()] = n.GetHeard()
		}
	}
	return known
}
