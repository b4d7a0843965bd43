package scale

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// startServer serves by grpc-go: /test/stream answers with as many messages as are asked for, each one byte longer than the one
// before it; /test/bytes with one of so many bytes; /test/fail with an error.
func startServer(t *testing.T, options ...grpc.ServerOption) (*grpc.Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(append(options, grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var n wrapperspb.UInt32Value
		if err := stream.RecvMsg(&n); err != nil {
			return err
		}
		from, to := uint32(0), n.GetValue()
		switch method, _ := grpc.MethodFromServerStream(stream); method {
		case "/test/stream":
		case "/test/bytes":
			from = to - 1
		default:
			return status.Error(codes.NotFound, "no set \"café\": 100 % sure")
		}
		for ; from < to; from++ {
			if err := stream.SendMsg(&wrapperspb.BytesValue{Value: make([]byte, from+1)}); err != nil {
				return err
			}
		}
		return nil
	}))...)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return s, l.Addr().String()
}

func dialTest(t *testing.T, addr, method string, n uint32) *caller {
	t.Helper()
	request, err := proto.Marshal(wrapperspb.UInt32(n))
	if err != nil {
		t.Fatal(err)
	}
	c, err := dial(t.Context(), addr, method, request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	return c
}

// lengths begins a call and gives the lengths of the values that it brings.
func lengths(t *testing.T, c *caller, k *call) (out []int) {
	t.Helper()
	if err := c.begin(k); err != nil {
		t.Fatal(err)
	}
	for {
		got, ended, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if got != k {
			t.Fatalf("call %v instead of %v", got, k)
		}
		if ended {
			return out
		}
		var v wrapperspb.BytesValue
		if err := proto.Unmarshal(k.message, &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, len(v.GetValue()))
	}
}

func TestCallerMessages(t *testing.T) {
	_, addr := startServer(t)
	for _, c := range []struct {
		name  string
		bytes uint32
		times int
	}{
		{"small", 10, 1},
		{"larger than a frame", 20 << 10, 1},
		{"larger than a connection's first window", 200 << 10, 1},
		{"larger than the window of a connection", 3 << 20, 1},
		{"again and again, more than the window of a connection", 10 << 10, 300},
		{"more calls than there is room for at first", 1, 10000},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, k := dialTest(t, addr, "/test/bytes", c.bytes), &call{}
			for range c.times {
				if got := lengths(t, conn, k); len(got) != 1 || got[0] != int(c.bytes) {
					t.Fatalf("messages of %v, want one of %d", got, c.bytes)
				}
			}
		})
	}
}

// Messages are split over frames, and frames hold several messages.
func TestCallerStream(t *testing.T) {
	_, addr := startServer(t)
	const n = 1000
	got := lengths(t, dialTest(t, addr, "/test/stream", n), &call{})
	if len(got) != n {
		t.Fatalf("%d messages, want %d", len(got), n)
	}
	for i, l := range got {
		if l != i+1 {
			t.Fatalf("message %d has %d bytes", i, l)
		}
	}
}

func TestCallerSideBySide(t *testing.T) {
	_, addr := startServer(t)
	c := dialTest(t, addr, "/test/stream", 100)
	const calls = 16
	for i := range calls {
		if err := c.begin(&call{place: i}); err != nil {
			t.Fatal(err)
		}
	}
	var messages [calls]int
	for left := calls; left > 0; {
		k, ended, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ended {
			messages[k.place]++
			continue
		}
		left--
		if messages[k.place] != 100 {
			t.Errorf("call %d ended after %d messages", k.place, messages[k.place])
		}
	}
}

func TestCallerStatus(t *testing.T) {
	_, addr := startServer(t)
	c := dialTest(t, addr, "/test/fail", 1)
	if err := c.begin(&call{}); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.next()
	if err == nil || err.Error() != `NotFound: no set "café": 100 % sure` {
		t.Errorf("next: %v", err)
	}
}

func TestCallerServerStops(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(*grpc.Server)
		want string
	}{
		{"gracefully", func(s *grpc.Server) { go s.GracefulStop() }, "the server ends the connection: NO_ERROR"},
		{"at once", (*grpc.Server).Stop, io.EOF.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			// With fixed windows the server sends no pings of its own, to measure the way; and by its second answer it has read all that came
			// before. A socket that is closed with anything unread, an acknowledgement, ends by a reset.
			s, addr := startServer(t, grpc.StaticStreamWindowSize(1<<20), grpc.StaticConnWindowSize(1<<20))
			conn := dialTest(t, addr, "/test/bytes", 1)
			lengths(t, conn, &call{})
			lengths(t, conn, &call{})
			c.stop(s)
			_, _, err := conn.next()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("next: %v, want %s", err, c.want)
			}
		})
	}
}

func TestCallerIsClosed(t *testing.T) {
	_, addr := startServer(t)
	c := dialTest(t, addr, "/test/bytes", 1)
	lengths(t, c, &call{})
	if err := c.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.next(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("next: %v", err)
	}
}
