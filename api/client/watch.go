package client

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// confirmWithin bounds how long a leader's answer is waited for, and then each node's own.
	confirmWithin = time.Second
	// soon bounds a leader's answer by way of a second node, where the first one did not answer.
	soon = 250 * time.Millisecond
	// staleAfter is how long a watch goes without a leader before its values count as stale; nodes tell it at the same bound.
	staleAfter = 2 * time.Second
)

// Master is where the master of a set is.
type Master struct {
	Name string
	// Addr is HOST:PORT, as the cluster tells it to clients.
	Addr string
	// Cluster is the id of the cluster that says so. Epoch and Revision count within it.
	Cluster string
	// Epoch of the failover that made Addr the master; of two answers the higher one is newer.
	Epoch uint64
	// Revision of the last change to the set.
	Revision uint64
	// Stale: no leader vouches for it. It is the latest that one node knows, and there may have been a failover since.
	Stale bool
	// Age of what that node knows, if Stale: the time since a leader is known to have been heard; negative for never.
	Age time.Duration
}

func masterOf(m *sentinelv1.Master, cluster string) Master {
	return Master{
		Name: m.GetName(), Addr: cmp.Or(HostPort(m.GetAnnounced()), HostPort(m.GetAddress())), Cluster: cluster,
		Epoch: m.GetEpoch(), Revision: m.GetRevision(),
	}
}

// HostPort is an address as HOST:PORT, IPv6 in brackets; "" for none.
func HostPort(a *sentinelv1.Address) string {
	if a == nil {
		return ""
	}
	return net.JoinHostPort(a.GetHost(), strconv.FormatUint(uint64(a.GetPort()), 10))
}

// Master asks where a set's master is, every failover that was committed before the call included. Where no leader can be
// had, within a second and half of the time that ctx leaves, it is what one node knows, and marked Stale. Who must not have
// that asks GetMaster of sentinel.v1 through the client:
//
//	sentinelv1.NewSentinelServiceClient(c).GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: name})
func (c *Client) Master(ctx context.Context, name string) (Master, error) {
	q := &sentinelv1.GetMasterRequest{Name: name}
	m, err := c.master(ctx, q, confirmWithin)
	if status.Code(err) == codes.DeadlineExceeded && len(c.conns) > 1 {
		// The node may be frozen while others hear the leader: those answer soon.
		next := c.preferred()
		again, other := c.master(ctx, q, soon)
		if !unanswered(other) {
			return again, other
		}
		c.set(next)
	}
	var none *NoNodeError
	if !unanswered(err) || errors.As(err, &none) {
		return m, err
	}
	q.Consistency = sentinelv1.Consistency_CONSISTENCY_LOCAL
	// A frozen node lets its time pass, and the next attempt begins at another one.
	for range c.conns {
		m, local := c.master(ctx, q, confirmWithin)
		m.Stale = local == nil
		if status.Code(local) != codes.DeadlineExceeded {
			return m, local
		}
	}
	return Master{}, err
}

// master asks the first node that can be reached, and waits within for its answer, for a part of the time that ctx leaves.
func (c *Client) master(ctx context.Context, q *sentinelv1.GetMasterRequest, within time.Duration) (Master, error) {
	var r sentinelv1.GetMasterResponse
	err := c.try(ctx, func(ctx context.Context, i int) error {
		if end, ok := ctx.Deadline(); ok {
			within = min(within, time.Until(end)/2)
		}
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return c.conns[i].Invoke(ctx, sentinelv1.SentinelService_GetMaster_FullMethodName, q, &r)
	})
	if err != nil {
		return Master{}, err
	}
	m := masterOf(r.GetMaster(), r.GetClusterId())
	m.Age = ageOf(r.GetAgeMs())
	return m, nil
}

// unanswered tells an error that says nothing about what was asked.
func unanswered(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

func ageOf(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func isStale(age time.Duration) bool { return age < 0 || age > staleAfter }

// Update is one step of a watch.
type Update struct {
	// Master is the latest value; of a removed one only the name is set. Without a name, and if not Synced, the update tells
	// nothing but that Stale has changed.
	Master  Master
	Removed bool
	// Synced: every set as it was when the watch began has been told.
	Synced bool
	// Stale: for 2 s no leader was heard by the node that is followed, or no node can be followed. The values told before are
	// the latest known, and the watch goes on. As in Master, every update tells it.
	Stale bool
	Age   time.Duration
}

// Watch follows where the masters of the named sets are, of all sets without names. First comes every set that exists,
// then Synced, then each change as the latest value; a set is never told older than before. The watch needs no leader: it
// is of what one node knows, and tells when that becomes stale and when it is fresh again. It moves by itself to another
// node when its own is gone, or hears no leader and another one does. It ends with ctx, or with an error that another node
// would give too.
func (c *Client) Watch(ctx context.Context, names ...string) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		w := &watcher{seen: map[string]uint64{}, lost: time.Now()}
		for r, err := range follow(ctx, c, mastersFeed(names)) {
			if err != nil {
				yield(Update{}, err)
				return
			}
			if u, due := w.update(r, time.Now()); due && !yield(u, nil) {
				return
			}
		}
	}
}

// watcher is what a watch knows.
type watcher struct {
	// seen is the revision told of each set, within cluster.
	seen    map[string]uint64
	cluster string
	stale   bool
	// heard is when a leader is known to have been heard; zero for never.
	heard time.Time
	// lost is since when no node is followed; zero while one is.
	lost time.Time
}

// update is what a message tells the user, if anything; nil is a message that there is no node.
func (w *watcher) update(r *sentinelv1.WatchMastersResponse, now time.Time) (u Update, due bool) {
	was := w.stale
	w.judge(r, now)
	u, due = w.news(r)
	if w.stale {
		u.Stale, u.Age = true, -1
		if !w.heard.IsZero() {
			u.Age = now.Sub(w.heard)
		}
		u.Master.Stale, u.Master.Age = u.Stale, u.Age
	}
	return u, due || w.stale != was
}

// judge finds out whether the watch is stale. A node without a leader says so before all else.
func (w *watcher) judge(r *sentinelv1.WatchMastersResponse, now time.Time) {
	p := r.GetProgress()
	switch {
	case r == nil && w.lost.IsZero():
		w.lost = now
	case r == nil:
		w.stale = w.stale || now.Sub(w.lost) >= staleAfter
	case p != nil:
		age := ageOf(p.GetAgeMs())
		w.lost, w.stale = time.Time{}, isStale(age)
		if age >= 0 {
			w.heard = now.Add(-age)
		}
	case !w.lost.IsZero() || !w.stale:
		w.lost, w.stale, w.heard = time.Time{}, false, now
	}
}

func (w *watcher) news(r *sentinelv1.WatchMastersResponse) (u Update, due bool) {
	if id := r.GetClusterId(); id != "" && id != w.cluster {
		w.cluster = id
		clear(w.seen)
	}
	switch v := r.GetUpdate().(type) {
	case *sentinelv1.WatchMastersResponse_Master:
		m := masterOf(v.Master, w.cluster)
		if m.Revision <= w.seen[m.Name] {
			return Update{}, false
		}
		w.seen[m.Name] = m.Revision
		return Update{Master: m}, true
	case *sentinelv1.WatchMastersResponse_Removed:
		delete(w.seen, v.Removed.GetName())
		return Update{Master: Master{Name: v.Removed.GetName(), Cluster: w.cluster}, Removed: true}, true
	case *sentinelv1.WatchMastersResponse_Synced:
		return Update{Synced: true}, true
	}
	return Update{}, false
}

// WatchMasters is [Client.Watch] with all that the cluster tells, as it comes.
func (c *Client) WatchMasters(ctx context.Context, names ...string) iter.Seq2[*sentinelv1.WatchMastersResponse, error] {
	return told(follow(ctx, c, mastersFeed(names)))
}

func mastersFeed(names []string) feed[sentinelv1.WatchMastersResponse] {
	q := &sentinelv1.WatchMastersRequest{Names: names}
	return feed[sentinelv1.WatchMastersResponse]{
		open: func(ctx context.Context, cc grpc.ClientConnInterface) (grpc.ServerStreamingClient[sentinelv1.WatchMastersResponse], error) {
			return sentinelv1.NewSentinelServiceClient(cc).WatchMasters(ctx, proto.CloneOf(q))
		},
		progress: (*sentinelv1.WatchMastersResponse).GetProgress,
		note: func(r *sentinelv1.WatchMastersResponse) {
			// Between the first message and synced the state is incomplete: only from synced on can a watch resume.
			if r.GetSynced() != nil || q.GetAfterClusterId() != "" {
				q.AfterClusterId, q.AfterRevision = r.GetClusterId(), r.GetRevision()
			}
			if r.GetReset_() != nil {
				q.AfterClusterId, q.AfterRevision = "", 0
			}
		},
	}
}

// WatchEvents follows the events after a cursor, gap-free as far back as the cluster keeps them: nil for new events only,
// index 0 for all that are kept. An empty master is all. It moves from node to node by itself, as [Client.Watch] does.
func (c *Client) WatchEvents(ctx context.Context, after *sentinelv1.EventCursor, master string) iter.Seq2[*sentinelv1.WatchEventsResponse, error] {
	q := &sentinelv1.WatchEventsRequest{After: after, Master: master}
	return told(follow(ctx, c, feed[sentinelv1.WatchEventsResponse]{
		open: func(ctx context.Context, cc grpc.ClientConnInterface) (grpc.ServerStreamingClient[sentinelv1.WatchEventsResponse], error) {
			return sentinelv1.NewSentinelServiceClient(cc).WatchEvents(ctx, proto.CloneOf(q))
		},
		progress: (*sentinelv1.WatchEventsResponse).GetProgress,
		note: func(r *sentinelv1.WatchEventsResponse) {
			if events := r.GetBatch().GetEvents(); len(events) > 0 {
				last := events[len(events)-1].GetCursor()
				q.After = &sentinelv1.EventCursor{ClusterId: r.GetClusterId(), Index: last.GetIndex(), Ordinal: last.GetOrdinal()}
			} else if q.GetAfter() == nil && r.GetClusterId() != "" {
				// A watch of new events that saw none yet: what happens while it moves must not be missed.
				q.After = &sentinelv1.EventCursor{ClusterId: r.GetClusterId(), Index: r.GetRevision(), Ordinal: math.MaxInt32}
			}
		},
	}))
}
