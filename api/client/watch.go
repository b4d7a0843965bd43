package client

import (
	"context"
	"errors"
	"io"
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
	// A node tells its progress every 10 s; one that says nothing for longer than this is frozen or cut off.
	silentFor = 25 * time.Second
	// Pauses between attempts to open a watch again.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// Master is where the master of a set is.
type Master struct {
	Name string
	// Addr is HOST:PORT.
	Addr string
	// Epoch of the failover that made Addr the master; of two answers the higher one is newer.
	Epoch uint64
	// Revision of the last change to the set.
	Revision uint64
}

func masterOf(m *sentinelv1.Master) Master {
	return Master{Name: m.GetName(), Addr: HostPort(m.GetAddress()), Epoch: m.GetEpoch(), Revision: m.GetRevision()}
}

// HostPort is an address as HOST:PORT, IPv6 in brackets; "" for none.
func HostPort(a *sentinelv1.Address) string {
	if a == nil {
		return ""
	}
	return net.JoinHostPort(a.GetHost(), strconv.FormatUint(uint64(a.GetPort()), 10))
}

// Master asks where a set's master is, every failover that was committed before the call included. It needs a leader; a
// program that must go on without one follows [Client.Watch] and keeps the last answer.
func (c *Client) Master(ctx context.Context, name string) (Master, error) {
	r, err := sentinelv1.NewSentinelServiceClient(c).GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: name})
	if err != nil {
		return Master{}, err
	}
	return masterOf(r.GetMaster()), nil
}

// Update is one step of a watch.
type Update struct {
	// Master is the latest value; of a removed one only the name is set.
	Master  Master
	Removed bool
	// Synced: every set as it was when the watch began has been told. Nothing else is set.
	Synced bool
}

// Watch follows where the masters of the named sets are, of all sets without names. First comes every set that exists,
// then Synced, then each change as the latest value; a set is never told older than before. The watch moves from node to
// node by itself and ends with ctx, or with an error that another node would give too.
func (c *Client) Watch(ctx context.Context, names ...string) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		seen := map[string]uint64{}
		for r, err := range c.WatchMasters(ctx, names...) {
			var u Update
			switch v := r.GetUpdate().(type) {
			case *sentinelv1.WatchMastersResponse_Master:
				u.Master = masterOf(v.Master)
				if u.Master.Revision <= seen[u.Master.Name] {
					continue
				}
				seen[u.Master.Name] = u.Master.Revision
			case *sentinelv1.WatchMastersResponse_Removed:
				u.Master.Name, u.Removed = v.Removed.GetName(), true
				delete(seen, u.Master.Name)
			case *sentinelv1.WatchMastersResponse_Synced:
				u.Synced = true
			case *sentinelv1.WatchMastersResponse_Reset_:
				clear(seen)
				continue
			default:
				if err == nil {
					continue
				}
			}
			if !yield(u, err) {
				return
			}
		}
	}
}

// WatchMasters is [Client.Watch] with all that the cluster tells, as it comes.
func (c *Client) WatchMasters(ctx context.Context, names ...string) iter.Seq2[*sentinelv1.WatchMastersResponse, error] {
	q := &sentinelv1.WatchMastersRequest{Names: names}
	return follow(ctx, c,
		func(ctx context.Context) (grpc.ServerStreamingClient[sentinelv1.WatchMastersResponse], error) {
			return sentinelv1.NewSentinelServiceClient(c).WatchMasters(ctx, proto.CloneOf(q))
		},
		func(r *sentinelv1.WatchMastersResponse) {
			// Between the first message and synced the state is incomplete: only from synced on can a watch resume.
			if r.GetSynced() != nil || q.GetAfterClusterId() != "" {
				q.AfterClusterId, q.AfterRevision = r.GetClusterId(), r.GetRevision()
			}
			if r.GetReset_() != nil {
				q.AfterClusterId, q.AfterRevision = "", 0
			}
		})
}

// WatchEvents follows the events after a cursor, gap-free as far back as the cluster keeps them: nil for new events only,
// index 0 for all that are kept. An empty master is all. It moves from node to node by itself, as [Client.Watch] does.
func (c *Client) WatchEvents(ctx context.Context, after *sentinelv1.EventCursor, master string) iter.Seq2[*sentinelv1.WatchEventsResponse, error] {
	q := &sentinelv1.WatchEventsRequest{After: after, Master: master}
	return follow(ctx, c,
		func(ctx context.Context) (grpc.ServerStreamingClient[sentinelv1.WatchEventsResponse], error) {
			return sentinelv1.NewSentinelServiceClient(c).WatchEvents(ctx, proto.CloneOf(q))
		},
		func(r *sentinelv1.WatchEventsResponse) {
			if events := r.GetBatch().GetEvents(); len(events) > 0 {
				last := events[len(events)-1].GetCursor()
				q.After = &sentinelv1.EventCursor{ClusterId: r.GetClusterId(), Index: last.GetIndex(), Ordinal: last.GetOrdinal()}
			} else if q.GetAfter() == nil && r.GetClusterId() != "" {
				// A watch of new events that saw none yet: what happens while it moves must not be missed.
				q.After = &sentinelv1.EventCursor{ClusterId: r.GetClusterId(), Index: r.GetRevision(), Ordinal: math.MaxInt32}
			}
		})
}

// follow opens a stream again and again, on one node after another; note learns from each message where to resume.
func follow[T any](ctx context.Context, c *Client, open func(context.Context) (grpc.ServerStreamingClient[T], error), note func(*T)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		pause := firstPause
		for {
			got, goOn, err := drain(ctx, open, func(m *T) bool {
				note(m)
				return yield(m, nil)
			})
			switch {
			case !goOn:
				return
			case ctx.Err() != nil:
				yield(nil, context.Cause(ctx))
				return
			case status.Code(err) != codes.Unavailable:
				yield(nil, err)
				return
			}
			if got {
				pause = firstPause
			}
			c.leave(c.preferred())
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, lastPause)
		}
	}
}

// errSilent ends a stream on which nothing comes any more.
var errSilent = errors.New("the node fell silent")

// drain passes on the messages of one stream until it ends; got tells of at least one, goOn that the user wants more.
func drain[T any](ctx context.Context, open func(context.Context) (grpc.ServerStreamingClient[T], error), pass func(*T) bool) (got, goOn bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silentFor, func() { cancel(errSilent) })
	defer watchdog.Stop()
	stream, err := open(ctx)
	for err == nil {
		var m *T
		if m, err = stream.Recv(); err != nil {
			break
		}
		watchdog.Reset(silentFor)
		got = true
		if !pass(m) {
			return got, false, nil
		}
	}
	// A stream that the node ends, or that nothing comes on, is a node that is leaving: another one goes on.
	if status.Code(err) != codes.Unavailable && (errors.Is(err, io.EOF) || errors.Is(context.Cause(ctx), errSilent)) {
		err = status.Error(codes.Unavailable, err.Error())
	}
	return got, true, err
}
