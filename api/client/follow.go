package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// A node tells its progress every 10 s; one that says nothing for longer than this is frozen or cut off. A watch that
	// begins is answered at once, by a node that is well.
	silentFor    = 12 * time.Second
	answerWithin = 5 * time.Second
	// Pauses between attempts to open a watch again.
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
	// Pauses between searches for a node that hears a leader, shortened at random: every watcher begins at the same moment.
	firstSearch = 2 * time.Second
	lastSearch  = 30 * time.Second
)

var (
	// errSilent ends a stream on which nothing comes any more.
	errSilent = errors.New("the node fell silent")
	// errDeaf ends a stream of a node that hears no leader where another one does.
	errDeaf = errors.New("the node hears no leader")
)

// opener opens a stream on the first node that works, and remembers which that is.
type opener struct {
	*Client
	at int
}

func (o *opener) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	var stream grpc.ClientStream
	err := o.try(ctx, func(ctx context.Context, i int) error {
		o.at = i
		var err error
		stream, err = o.conns[i].NewStream(ctx, desc, method, opts...)
		return err
	})
	return stream, err
}

// feed is a kind of stream that goes on at another node.
type feed[T any] struct {
	open func(context.Context, grpc.ClientConnInterface) (grpc.ServerStreamingClient[T], error)
	// note learns from each message where to resume.
	note     func(*T)
	progress func(*T) *sentinelv1.WatchProgress
}

// follow opens a stream again and again, on one node after another. Whenever there is none it gives nil, between two
// attempts too.
func follow[T any](ctx context.Context, c *Client, f feed[T]) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		pause := firstPause
		for {
			o := &opener{Client: c, at: -1}
			got, goOn, err := f.drain(ctx, o, func(m *T) bool { return yield(m, nil) })
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
			// Another call may have found a node that works meanwhile.
			if c.preferred() == o.at {
				c.leave(o.at)
			}
			if !yield(nil, nil) {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, lastPause)
		}
	}
}

// told leaves out that there is no node.
func told[T any](seq iter.Seq2[*T, error]) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for m, err := range seq {
			if (m != nil || err != nil) && !yield(m, err) {
				return
			}
		}
	}
}

// drain passes on the messages of one stream until it ends; got tells of at least one, goOn that the user wants more.
func (f feed[T]) drain(ctx context.Context, o *opener, pass func(*T) bool) (got, goOn bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := searcher{opener: o, leave: func() { cancel(errDeaf) }}
	defer s.running.Wait()
	defer cancel(nil)
	watchdog := time.AfterFunc(answerWithin, func() { cancel(errSilent) })
	defer watchdog.Stop()
	stream, err := f.open(ctx, o)
	for err == nil {
		var m *T
		if m, err = stream.Recv(); err != nil {
			break
		}
		watchdog.Reset(silentFor)
		got = true
		f.note(m)
		if p := f.progress(m); p != nil {
			s.heed(ctx, ageOf(p.GetAgeMs()))
		}
		if !pass(m) {
			return got, false, nil
		}
	}
	// A stream that the node ends, or that is given up, is no answer: another node goes on.
	cause := context.Cause(ctx)
	given := errors.Is(err, io.EOF) || errors.Is(cause, errSilent) || errors.Is(cause, errDeaf)
	if status.Code(err) != codes.Unavailable && given {
		err = status.Error(codes.Unavailable, err.Error())
	}
	return got, true, err
}

// searcher looks for another node while the stream's own hears no leader.
type searcher struct {
	*opener
	// leave ends the stream.
	leave   func()
	running sync.WaitGroup
	// stay ends the search; nil where there is none.
	stay context.CancelFunc
}

// heed is told the age of the state that is followed.
func (s *searcher) heed(ctx context.Context, age time.Duration) {
	switch deaf := isStale(age); {
	case deaf && s.stay == nil:
		ctx, s.stay = context.WithCancel(ctx)
		s.running.Go(func() {
			if s.search(ctx) {
				s.leave()
			}
		})
	case !deaf && s.stay != nil:
		s.stay()
		s.stay = nil
	}
}

// search waits until another node than the stream's answers what needs a leader, and is preferred for that. It is false
// when ctx ends first: where no node hears a leader, one is as good as another.
func (s *searcher) search(ctx context.Context) bool {
	for pause := firstSearch; ; pause = min(2*pause, lastSearch) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		if s.confirmed(ctx) && s.preferred() != s.at {
			return true
		}
	}
}

// confirmed asks the nodes for something that needs a leader; the one that answers is preferred from then on.
func (s *searcher) confirmed(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	_, err := sentinelv1.NewSentinelServiceClient(s.Client).ListMasters(ctx, &sentinelv1.ListMastersRequest{PageSize: 1})
	return err == nil
}
