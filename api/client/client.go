package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// DefaultPort is the gRPC port of a node.
const DefaultPort = 26479

const (
	// connectWithin bounds how long a node that does not answer holds up the step to the next one.
	connectWithin = time.Second
	// slowAfter is when a connection takes so long that the other nodes are called too, and how often they are looked at.
	slowAfter = 100 * time.Millisecond
)

// Client speaks to a cluster through whichever of its nodes works. It is a [grpc.ClientConnInterface], so that every
// service of sentinel.v1 can be called through it, and safe for use by many goroutines.
type Client struct {
	endpoints []string
	conns     []*grpc.ClientConn

	mu sync.Mutex
	// prefer is the place in endpoints of the node that worked last.
	prefer int
}

// Dial prepares connections to the nodes at endpoints: HOST:PORT, or HOST for [DefaultPort]. It sends nothing; the first
// call does. Further options are passed to every connection.
func Dial(endpoints []string, opts ...grpc.DialOption) (*Client, error) {
	if len(endpoints) == 0 {
		return nil, errNoEndpoints
	}
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * connectWithin,
		}),
	}, opts...)
	c := &Client{}
	for _, e := range endpoints {
		addr, err := Endpoint(e)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		conn, err := grpc.NewClient("passthrough:///"+addr, opts...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("endpoint %s: %w", addr, err), c.Close())
		}
		c.endpoints = append(c.endpoints, addr)
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// Endpoint completes an endpoint with [DefaultPort] and checks it.
func Endpoint(s string) (string, error) {
	host, port := s, strconv.Itoa(DefaultPort)
	if strings.Count(s, ":") == 1 || strings.HasPrefix(s, "[") && !strings.HasSuffix(s, "]") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", fmt.Errorf("endpoint %q: %w", s, err)
		}
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	n, err := strconv.ParseUint(port, 10, 16)
	if host == "" || err != nil || n == 0 || strings.ContainsAny(host, " \t\r\n/") {
		return "", fmt.Errorf("endpoint %q: want HOST:PORT with a port from 1 to 65535", s)
	}
	return net.JoinHostPort(host, port), nil
}

// Close ends all connections; calls under way fail.
func (c *Client) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// Endpoints are the nodes this client knows, in the order given.
func (c *Client) Endpoints() []string { return slices.Clone(c.endpoints) }

// Invoke makes a unary call on the first node that works. It moves on when a node cannot be reached or says that it
// cannot answer; every change of sentinel.v1 may be repeated, so that this is safe in the middle of a call too.
func (c *Client) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.try(ctx, func(ctx context.Context, i int) error {
		return c.conns[i].Invoke(ctx, method, args, reply, opts...)
	})
}

// NewStream opens a stream on the first node that works. What happens to the stream later is its user's: see
// [Client.Watch] for one that goes on by itself.
func (c *Client) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return (&opener{Client: c}).NewStream(ctx, desc, method, opts...)
}

// try makes a call on one node after another; call is told the node's place in endpoints.
func (c *Client) try(ctx context.Context, call func(ctx context.Context, i int) error) error {
	var failed NoNodeError
	var said error
	left := c.order()
	for len(left) > 0 {
		var i int
		i, left = c.next(left)
		reached, err := c.connect(ctx, c.conns[i])
		if err == nil {
			err = call(ctx, i)
		}
		switch status.Code(err) {
		case codes.Unavailable:
		case codes.DeadlineExceeded:
			// A frozen node is silent for ever; the next call begins elsewhere.
			c.leave(i)
			return err
		default:
			c.set(i)
			return err
		}
		if len(status.Convert(err).Details()) > 0 {
			said = err
		}
		failed.Sent = failed.Sent || reached
		failed.Attempts = append(failed.Attempts, Attempt{Endpoint: c.endpoints[i], Reason: status.Convert(err).Message()})
		if ctx.Err() != nil {
			break
		}
	}
	for _, i := range left {
		failed.Attempts = append(failed.Attempts, Attempt{Endpoint: c.endpoints[i], Reason: "not tried in the time allowed"})
	}
	if said != nil {
		// A node was found and told why it cannot: that says more than what the others did not say.
		return said
	}
	return &failed
}

// next takes the node that is tried next out of those that are left: after the first, one whose connection stands.
func (c *Client) next(left []int) (int, []int) {
	at := 0
	if len(left) < len(c.conns) {
		at = max(0, slices.IndexFunc(left, func(i int) bool { return c.conns[i].GetState() == connectivity.Ready }))
	}
	i := left[at]
	return i, slices.Delete(left, at, at+1)
}

// leave makes another node than i the preferred one.
func (c *Client) leave(i int) { c.set((i + 1) % len(c.conns)) }

func (c *Client) set(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prefer = i
}

// preferred is the place of the node that worked last.
func (c *Client) preferred() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.prefer
}

func (c *Client) order() []int {
	first := c.preferred()
	order := make([]int, len(c.conns))
	for i := range order {
		order[i] = (first + i) % len(c.conns)
	}
	return order
}

// connect waits until the connection stands or is known to fail. While that takes long the other nodes are called too, and
// as soon as one of them answers this one is given up. reached tells that the connection stands; a failed one gives its
// reason by the call that follows.
func (c *Client) connect(ctx context.Context, conn *grpc.ClientConn) (reached bool, err error) {
	end := time.Now().Add(connectWithin)
	for {
		s := conn.GetState()
		switch s {
		case connectivity.Ready:
			return true, nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return false, nil
		case connectivity.Idle:
			conn.Connect()
		case connectivity.Connecting:
		}
		if await(ctx, conn, s) {
			continue
		}
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return false, status.FromContextError(ctx.Err()).Err()
		case ctx.Err() != nil:
			return false, status.Error(codes.Unavailable, "no answer in the time allowed")
		case !time.Now().Before(end):
			return false, status.Errorf(codes.Unavailable, "no answer within %v", connectWithin)
		case c.anotherStands():
			return false, status.Error(codes.Unavailable, "no answer yet while another node answers")
		}
	}
}

// await waits for another state than s, for slowAfter at most.
func await(ctx context.Context, conn *grpc.ClientConn, s connectivity.State) bool {
	ctx, cancel := context.WithTimeout(ctx, slowAfter)
	defer cancel()
	return conn.WaitForStateChange(ctx, s)
}

// anotherStands tells whether any connection stands, and sees to it that all are being made.
func (c *Client) anotherStands() bool {
	stands := false
	for _, conn := range c.conns {
		conn.Connect()
		stands = stands || conn.GetState() == connectivity.Ready
	}
	return stands
}

// Attempt is a node that was tried in vain.
type Attempt struct {
	Endpoint string
	Reason   string
}

// NoNodeError says that none of the nodes could be reached.
type NoNodeError struct {
	Attempts []Attempt
	// Sent: at least one node may have got the request before its connection broke.
	Sent bool
}

func (e *NoNodeError) Error() string {
	parts := make([]string, len(e.Attempts))
	for i, a := range e.Attempts {
		parts[i] = a.Endpoint + ": " + plainReason(a.Reason)
	}
	return "no node reachable: " + strings.Join(parts, "; ")
}

// GRPCStatus makes it an UNAVAILABLE like any other.
func (e *NoNodeError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }

// plainReason drops grpc's own wrapping from a dial error.
func plainReason(s string) string {
	if _, after, ok := strings.Cut(s, "Error while dialing: "); ok {
		s = after
	}
	// Whatever listens there closed the connection, or answered in another protocol.
	if strings.Contains(s, "error reading server preface") {
		return "does not speak gRPC: is it the port of the Sentinel protocol, of Raft or of a Redis? give a node's grpc-port"
	}
	return strings.Trim(s, `"`)
}

var errNoEndpoints = errors.New("no endpoints given: name at least one node as HOST:PORT")
