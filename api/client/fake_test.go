package client

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// world is nodes by address; an address that is not there refuses connections.
type world map[string]*node

// node is one scripted node.
type node struct {
	sentinelv1.UnimplementedSentinelServiceServer
	sentinelv1.UnimplementedAdminServiceServer
	// frozen: the kernel accepts connections, the process reads nothing.
	frozen bool
	fail   error
	master *sentinelv1.Master
	// noLeader: what needs a leader is refused, or hangs; age is that of LOCAL answers.
	noLeader error
	hangs    bool
	age      time.Duration
	// stuck: calls are taken and never answered.
	stuck bool
	// ready is when watches begin to work.
	ready time.Time
	stop  func()
	// script is what one watch sends before it goes on with live, or ends with fail, or waits.
	script []*sentinelv1.WatchMastersResponse
	live   chan *sentinelv1.WatchMastersResponse
	events []*sentinelv1.WatchEventsResponse
	rows   []*sentinelv1.WatchOperationResponse

	mu    sync.Mutex
	asked []proto.Message
}

func (n *node) note(m proto.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, m)
}

// lead is the error of what needs a leader.
func (n *node) lead(ctx context.Context) error {
	if n.hangs || n.stuck {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return cmp.Or(n.noLeader, n.fail)
}

func (n *node) GetMaster(ctx context.Context, q *sentinelv1.GetMasterRequest) (*sentinelv1.GetMasterResponse, error) {
	n.note(q)
	r := &sentinelv1.GetMasterResponse{ClusterId: "c", Master: n.master}
	if q.GetConsistency() == sentinelv1.Consistency_CONSISTENCY_LOCAL && !n.stuck {
		r.AgeMs = n.age.Milliseconds()
		return r, n.fail
	}
	return r, n.lead(ctx)
}

func (n *node) ListMasters(ctx context.Context, _ *sentinelv1.ListMastersRequest) (*sentinelv1.ListMastersResponse, error) {
	return &sentinelv1.ListMastersResponse{}, n.lead(ctx)
}

func (n *node) WatchMasters(q *sentinelv1.WatchMastersRequest, s sentinelv1.SentinelService_WatchMastersServer) error {
	n.note(q)
	if time.Now().Before(n.ready) {
		return status.Error(codes.Unavailable, "not yet")
	}
	return play(n.script, n.live, n.fail, s)
}

func (n *node) WatchEvents(q *sentinelv1.WatchEventsRequest, s sentinelv1.SentinelService_WatchEventsServer) error {
	n.note(q)
	return play(n.events, nil, n.fail, s)
}

func (n *node) WatchOperation(q *sentinelv1.WatchOperationRequest, s sentinelv1.AdminService_WatchOperationServer) error {
	n.note(q)
	return play(n.rows, nil, n.fail, s)
}

// SwitchoverMaster gives the first answer and waits.
func (n *node) SwitchoverMaster(q *sentinelv1.SwitchoverMasterRequest, s sentinelv1.AdminService_SwitchoverMasterServer) error {
	n.note(q)
	if err := n.lead(s.Context()); err != nil {
		return err
	}
	return play([]*sentinelv1.SwitchoverMasterResponse{{OperationId: q.GetRequestId(), Changed: true}}, nil, nil, s)
}

func play[T any](script []*T, live chan *T, fail error, s grpc.ServerStreamingServer[T]) error {
	for _, m := range script {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	for fail == nil {
		select {
		case m, open := <-live:
			if !open {
				return status.Error(codes.Unavailable, "leaving")
			}
			if err := s.Send(m); err != nil {
				return err
			}
		case <-s.Context().Done():
			return nil
		}
	}
	return fail
}

// dial starts the nodes and gives a client of the endpoints. It runs in a bubble: all ends with the test's function.
func (w world) dial(t *testing.T, endpoints ...string) *Client {
	t.Helper()
	listeners := map[string]*bufconn.Listener{}
	for addr, n := range w {
		l := bufconn.Listen(1 << 16)
		listeners[addr] = l
		t.Cleanup(func() { _ = l.Close() })
		if n.frozen {
			continue
		}
		s := grpc.NewServer()
		sentinelv1.RegisterSentinelServiceServer(s, n)
		sentinelv1.RegisterAdminServiceServer(s, n)
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		n.stop = func() {
			s.Stop()
			_ = l.Close()
		}
	}
	c, err := Dial(endpoints, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		if l := listeners[addr]; l != nil {
			if w[addr].frozen {
				near, far := net.Pipe()
				go func() { // swallows what comes, answers nothing
					buf := make([]byte, 1<<10)
					for {
						if _, err := far.Read(buf); err != nil {
							return
						}
					}
				}()
				return near, nil
			}
			return l.DialContext(ctx)
		}
		return nil, errors.New("connection refused")
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func set(addr string, port uint32, epoch, revision uint64) *sentinelv1.Master {
	return &sentinelv1.Master{Name: "m", Address: &sentinelv1.Address{Host: addr, Port: port}, Epoch: epoch, Revision: revision}
}

func cannot(t *testing.T, why string) error {
	t.Helper()
	s, err := status.New(codes.Unavailable, why).WithDetails(&errdetails.ErrorInfo{Domain: "sentineld"})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}
