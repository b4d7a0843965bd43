package goredis

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// cluster is one node that knows where the master of the set m is.
type cluster struct {
	sentinelv1.UnimplementedSentinelServiceServer

	mu      sync.Mutex
	master  *sentinelv1.Master // nil: not watched
	at      uint64
	changed chan struct{}
	// mute: watches are told nothing any more. refuse ends them with an error.
	mute   bool
	refuse error
	asked  int
}

func (c *cluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// timesAsked counts GetMaster.
func (c *cluster) timesAsked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// tell moves the master; "" is the removal of the set.
func (c *cluster) tell(addr string) {
	c.change(func() {
		c.at++
		c.master = masterAt(addr, c.at)
	})
}

func masterAt(addr string, revision uint64) *sentinelv1.Master {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	return &sentinelv1.Master{Name: "m", Address: &sentinelv1.Address{Host: host, Port: uint32(n)}, Epoch: revision, Revision: revision}
}

func (c *cluster) GetMaster(context.Context, *sentinelv1.GetMasterRequest) (*sentinelv1.GetMasterResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.master == nil {
		return nil, status.Error(codes.NotFound, "no master named m")
	}
	return &sentinelv1.GetMasterResponse{ClusterId: "c", Revision: c.at, Master: c.master}, nil
}

func (c *cluster) WatchMasters(_ *sentinelv1.WatchMastersRequest, s grpc.ServerStreamingServer[sentinelv1.WatchMastersResponse]) error {
	told, synced := uint64(0), false
	for {
		c.mu.Lock()
		master, at, changed, refuse, mute := c.master, c.at, c.changed, c.refuse, c.mute
		c.mu.Unlock()
		if refuse != nil {
			return refuse
		}
		r := &sentinelv1.WatchMastersResponse{ClusterId: "c", Revision: at}
		switch {
		case mute || at == told:
		case master != nil:
			r.Update = &sentinelv1.WatchMastersResponse_Master{Master: master}
		case told > 0:
			r.Update = &sentinelv1.WatchMastersResponse_Removed{Removed: &sentinelv1.MasterRemoved{Name: "m"}}
		}
		if r.GetUpdate() != nil {
			if err := s.Send(r); err != nil {
				return err
			}
		}
		told = at
		if !synced {
			synced = true
			r.Update = &sentinelv1.WatchMastersResponse_Synced{Synced: &sentinelv1.WatchSynced{}}
			if err := s.Send(r); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			return nil
		}
	}
}

// rig is a set of two servers, a cluster and a client of it. It runs in a bubble: all ends with the test's function.
type rig struct {
	t       *testing.T
	net     *fakeredis.Net
	a, b    *fakeredis.Instance
	cluster *cluster
	client  *client.Client
	pings   int
}

const addrA, addrB = "10.0.0.1:6379", "10.0.0.2:6379"

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, net: fakeredis.NewNet(), cluster: &cluster{changed: make(chan struct{})}}
	r.a, r.b = r.net.Add(addrA), r.net.Add(addrB)
	t.Cleanup(r.net.Close)
	lis := bufconn.Listen(1 << 16)
	s := grpc.NewServer()
	sentinelv1.RegisterSentinelServiceServer(s, r.cluster)
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
	var err error
	r.client, err = client.Dial([]string{"node"}, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return lis.DialContext(ctx)
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.client.Close() })
	return r
}

// follow makes a client of the set.
func (r *rig) follow(o redis.Options) *Client {
	r.t.Helper()
	if o.Dialer == nil {
		o.Dialer = r.net.DialContext
	}
	c := New(r.client, "m", &o)
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ping sends one PING and tells which server executed it.
func (r *rig) ping(c *Client) (string, error) {
	r.pings++
	word := "ping-" + strconv.Itoa(r.pings)
	err := c.Do(r.t.Context(), "PING", word).Err()
	for _, cmd := range r.net.Log() {
		if len(cmd.Args) == 2 && cmd.Args[1] == word {
			return cmd.Instance.String(), err
		}
	}
	return "", err
}

// wantPing holds a ping against the server that it must reach.
func (r *rig) wantPing(c *Client, addr string) {
	r.t.Helper()
	if got, err := r.ping(c); got != addr || err != nil {
		r.t.Fatalf("a ping went to %q, %v; want %s", got, err, addr)
	}
}
