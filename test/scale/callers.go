package scale

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/raftsentinel/raftsentinel/test/lab"
)

// answer takes a message as it came. What clients make of it is not measured.
type answer struct{ bytes []byte }

// rawCodec encodes requests and leaves answers as they are.
type rawCodec struct{ encoding.CodecV2 }

// Unmarshal copies into what an answer had before.
func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	a, ok := v.(*answer)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	a.bytes = a.bytes[:0]
	for _, b := range data {
		a.bytes = append(a.bytes, b.ReadOnlyData()...)
	}
	return nil
}

// gentleCollector has this process collect its garbage a quarter as often until the function it gives is called: callers share
// the cores with the node that is measured.
func gentleCollector() (end func()) {
	was := debug.SetGCPercent(400)
	return func() { debug.SetGCPercent(was) }
}

// connections are so many to a node. The caller closes them.
func connections(addr string, n int) (conns []*grpc.ClientConn, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(conns))
		}
	}()
	for range n {
		c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2(grpcproto.Name)})),
			grpc.WithDisableServiceConfig())
		if err != nil {
			return conns, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

func closeAll(conns []*grpc.ClientConn) error {
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// leaderAndFollower are the places of the leader and of another node.
func (w *world) leaderAndFollower(ctx context.Context) (leader, follower int, err error) {
	err = until(ctx, func(ctx context.Context) error {
		leader, err = w.watcher.(*lab.Sentineld).Leader(ctx)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("find the leader: %w", err)
	}
	return leader, (leader + 1) % len(w.nodes), nil
}
