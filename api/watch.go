package api

import (
	"context"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// contact tells all watches at once that this node has lost its leader or hears one again: a state changes nothing then.
type contact struct {
	mu     sync.Mutex
	deaf   bool
	turned chan struct{}
}

// turn is closed when contact is lost or found the next time.
func (c *contact) turn() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turned
}

// note is told the present age of this node's state, now and then.
func (c *contact) note(age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if deaf := isDeaf(age); deaf != c.deaf {
		c.deaf = deaf
		close(c.turned)
		c.turned = make(chan struct{})
	}
}

// isDeaf tells that a state of this age is followed without a leader.
func isDeaf(age time.Duration) bool { return age < 0 || age > leaderSilence }

// watch is one watcher. It tells the age of the state when isDeaf of it has changed, and whenever beat is called.
type watch interface {
	// step tells what is new in a state.
	step(st *raftfsm.State, age time.Duration) error
	// beat tells that the watch lives.
	beat(st *raftfsm.State, age time.Duration) error
}

// follow steps with each new state, and when the leader is lost or found, until the caller leaves, a message cannot be
// sent, or this node cannot answer any more. It beats every progressEvery.
func (s *Server) follow(ctx context.Context, w watch) error {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	left := ctx.Done() // asked once: the way to it is long
	for due := false; ; {
		changed, turned := s.node.Changed(), s.contact.turn()
		st, age, err := s.node.Local()
		if err != nil {
			return s.readError(err)
		}
		if err := w.step(st, age); err != nil {
			return err
		}
		if due {
			if err := w.beat(st, age); err != nil {
				return err
			}
		}
		due = false
		select {
		case <-changed:
		case <-turned:
		case <-tick.C:
			due = true
		case <-left:
			return s.readError(context.Cause(ctx))
		case <-s.closing:
			return fail(codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NODE_STOPPING,
				"this node is stopping; resume the watch at another one")
		}
	}
}

// WatchMasters follows the state.
func (s *Server) WatchMasters(req *sentinelv1.WatchMastersRequest, stream grpc.ServerStreamingServer[sentinelv1.WatchMastersResponse]) error {
	for _, name := range req.GetNames() {
		if err := raftfsm.CheckName(name); err != nil {
			return invalid("names: %v", err)
		}
	}
	return s.follow(stream.Context(), &masterWatch{
		hub: s.hub, stream: stream, names: req.GetNames(), cluster: req.GetAfterClusterId(), sent: req.GetAfterRevision(),
	})
}

// masterWatch is one watch. It holds no value: what changed since sent is read from the state each time.
type masterWatch struct {
	hub    *hub
	stream grpc.ServerStream
	names  []string
	// cluster and sent say what the watcher has; "" for a cluster means that it has nothing.
	cluster string
	sent    uint64
	synced  bool
	deaf    bool
}

func (w *masterWatch) step(st *raftfsm.State, age time.Duration) error {
	if err := w.identify(st); err != nil {
		return err
	}
	// Before the values, so that a watcher knows whether they may be old when it gets them.
	if deaf := isDeaf(age); deaf != w.deaf {
		w.deaf = deaf
		if err := w.beat(st, age); err != nil {
			return err
		}
	}
	if st.Index() < w.sent {
		return nil // the watcher has seen more at another node
	}
	frames, err := w.hub.since(st, w.sent, w.names)
	if err != nil {
		return err
	}
	for _, f := range frames {
		if err := w.stream.SendMsg(f); err != nil {
			return err
		}
	}
	w.sent = st.Index()
	if w.synced {
		return nil
	}
	w.synced = true
	return w.stream.SendMsg(&sentinelv1.WatchMastersResponse{
		ClusterId: w.cluster, Revision: w.sent,
		Update: &sentinelv1.WatchMastersResponse_Synced{Synced: &sentinelv1.WatchSynced{}},
	})
}

// identify begins anew where what the watcher has is another cluster's.
func (w *masterWatch) identify(st *raftfsm.State) error {
	id := st.Cluster().Era
	if id == w.cluster {
		return nil
	}
	foreign := w.cluster != ""
	was := w.cluster
	w.cluster = id
	if !foreign {
		return nil
	}
	w.sent, w.synced = 0, false
	return w.stream.SendMsg(&sentinelv1.WatchMastersResponse{
		ClusterId: id,
		Update: &sentinelv1.WatchMastersResponse_Reset_{Reset_: &sentinelv1.WatchReset{
			Reason: "cluster " + was + " is now cluster " + id + "; all that was known of it is void",
		}},
	})
}

// beat holds before the watch is synced too: the watcher has all up to sent, from another node where this one lags.
func (w *masterWatch) beat(_ *raftfsm.State, age time.Duration) error {
	return w.stream.SendMsg(&sentinelv1.WatchMastersResponse{
		ClusterId: w.cluster, Revision: w.sent,
		Update: &sentinelv1.WatchMastersResponse_Progress{Progress: &sentinelv1.WatchProgress{AgeMs: contactMs(age)}},
	})
}

// WatchEvents follows the events.
func (s *Server) WatchEvents(req *sentinelv1.WatchEventsRequest, stream grpc.ServerStreamingServer[sentinelv1.WatchEventsResponse]) error {
	w := &eventWatch{hub: s.hub, stream: stream, master: req.GetMaster()}
	if after := req.GetAfter(); after != nil {
		w.placed = true
		w.cluster = after.GetClusterId()
		w.after = raftfsm.Cursor{Index: after.GetIndex(), Ordinal: after.GetOrdinal()}
	}
	return s.follow(stream.Context(), w)
}

// eventWatch is one watch of events.
type eventWatch struct {
	hub    *hub
	stream grpc.ServerStream
	master string
	// cluster of the cursor; "" = whatever answers.
	cluster string
	// after is the last event sent, or passed over; placed tells that there is one.
	after  raftfsm.Cursor
	placed bool
	synced bool
	deaf   bool
}

// endOf is the cursor behind every event of an entry.
func endOf(index uint64) raftfsm.Cursor {
	return raftfsm.Cursor{Index: index, Ordinal: math.MaxUint32 - 1}
}

func (w *eventWatch) step(st *raftfsm.State, age time.Duration) error {
	if err := w.tell(st); err != nil {
		return err
	}
	if deaf := isDeaf(age); deaf != w.deaf && w.synced {
		w.deaf = deaf
		return w.beat(st, age)
	}
	return nil
}

func (w *eventWatch) tell(st *raftfsm.State) error {
	if err := w.identify(st); err != nil {
		return err
	}
	if !w.placed {
		w.after, w.placed = endOf(st.Index()), true
	}
	if st.Index() < w.after.Index {
		return nil // the watcher has seen more at another node
	}
	events, complete := st.EventsSince(w.after)
	if !complete {
		if err := w.compacted(); err != nil {
			return err
		}
	}
	var entry []raftfsm.Event
	for e := range events {
		if len(entry) > 0 && entry[0].Index != e.Index {
			if err := w.send(st, entry); err != nil {
				return err
			}
			entry = nil
		}
		if w.master == "" || e.Master == w.master {
			entry = append(entry, e)
		}
	}
	if len(entry) > 0 {
		if err := w.send(st, entry); err != nil {
			return err
		}
	}
	w.after = endOf(st.Index())
	if w.synced {
		return nil
	}
	w.synced = true
	return w.stream.SendMsg(&sentinelv1.WatchEventsResponse{
		ClusterId: w.cluster, Revision: st.Index(),
		Update: &sentinelv1.WatchEventsResponse_Synced{Synced: &sentinelv1.WatchSynced{}},
	})
}

func (w *eventWatch) identify(st *raftfsm.State) error {
	id := st.Cluster().Era
	was := w.cluster
	w.cluster = id
	if was == "" || was == id {
		return nil
	}
	reason := "cluster " + was + " is now cluster " + id + ": a backup was restored"
	if !w.synced { // else the watcher knows all up to its place in this node's log, which goes on
		w.after, w.placed = raftfsm.Cursor{}, true
		reason = "the cursor belongs to cluster " + was + ", this is cluster " + id + "; the oldest event kept is next"
	}
	w.synced = false
	return w.stream.SendMsg(&sentinelv1.WatchEventsResponse{
		ClusterId: id, Update: &sentinelv1.WatchEventsResponse_Reset_{Reset_: &sentinelv1.WatchReset{Reason: reason}},
	})
}

func (w *eventWatch) compacted() error {
	return w.stream.SendMsg(&sentinelv1.WatchEventsResponse{
		ClusterId: w.cluster, Revision: w.after.Index,
		Update: &sentinelv1.WatchEventsResponse_Compacted{Compacted: &sentinelv1.EventsCompacted{
			After:  &sentinelv1.EventCursor{ClusterId: w.cluster, Index: w.after.Index, Ordinal: w.after.Ordinal},
			Reason: "events after the cursor were dropped from the ring; the oldest one kept is next",
		}},
	})
}

func (w *eventWatch) send(st *raftfsm.State, entry []raftfsm.Event) error {
	whole := w.master == "" && entry[0].Ordinal == 0
	f, err := w.hub.batch(st, entry, whole)
	if err != nil {
		return err
	}
	return w.stream.SendMsg(f)
}

func (w *eventWatch) beat(st *raftfsm.State, age time.Duration) error {
	if !w.synced {
		return nil
	}
	return w.stream.SendMsg(&sentinelv1.WatchEventsResponse{
		ClusterId: w.cluster, Revision: st.Index(),
		Update: &sentinelv1.WatchEventsResponse_Progress{Progress: &sentinelv1.WatchProgress{AgeMs: contactMs(age)}},
	})
}
