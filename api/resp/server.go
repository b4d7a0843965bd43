package resp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// changeLimit bounds a change, so that clients hear of a lost quorum within 1.5 s.
	changeLimit = 1500 * time.Millisecond
	// maxClients leaves room for look-ups beside 10,000 subscribers, and descriptors for everything else.
	maxClients = 16000
)

// Node is this member of the cluster, as look-ups need it: a part of [api.Node].
type Node interface {
	State() *raftfsm.State
	Changed() <-chan struct{}
	Local() (*raftfsm.State, time.Duration, error)
	Status() api.NodeStatus
	Contacts() map[string]api.Contact
}

// Options of a server. Listener, Node, API, Switchover, Classify, Local, Scripts and Log are required.
type Options struct {
	// Listener is the Server's once New has returned without error.
	Listener net.Listener
	Node     Node
	// API takes the changes: [api.Server.Direct].
	API grpc.ClientConnInterface
	// Switchover begins one: [api.Server.Switchover].
	Switchover func(ctx context.Context, req *sentinelv1.SwitchoverMasterRequest) (*sentinelv1.SwitchoverMasterResponse, error)
	// Fleet is what this node sees; nil on a node that probes nothing.
	Fleet    api.Fleet
	Classify func(error) api.Failure
	// Protected mode serves loopback alone.
	Protected bool
	// LookupHost resolves host names; nil is the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]string, error)
	// Local is what concerns this node alone.
	Local Local
	// Scripts are this node's.
	Scripts Scripts
	// Simulate makes the node crash at two points of the next failover that it carries out, or no more. It is called again for
	// each change; nil cannot.
	Simulate func(afterElection, afterPromotion bool)
	// Shutdown begins what SIGTERM does, and returns; nil cannot.
	Shutdown func()
	// HeardWithin is for how long a member counts as heard after its last sign of life.
	HeardWithin time.Duration
	// Periods are told by SENTINEL DEBUG, ConfigFile by INFO: "" for none.
	Periods    Periods
	ConfigFile string
	Version    string
	Log        *slog.Logger
}

// Server answers the Sentinel protocol.
type Server struct {
	o           Options
	admin       sentinelv1.AdminServiceClient
	cluster     sentinelv1.ClusterServiceClient
	catalogue   catalogue
	started     time.Time
	runID       string // of this process
	subscribers subscribers
	hearing     hearing
	denials     denials
	pause       pause
	rates       rates
	simulated   atomic.Int64 // flags of SENTINEL SIMULATE-FAILURE
	// writers are the goroutines that write what a socket would not take at once.
	writers sync.WaitGroup

	mu       sync.Mutex
	conns    map[int64]*conn
	lastID   int64
	rejected int64
	past     traffic // of connections that have ended
}

// New validates the options and starts nothing.
func New(o Options) (*Server, error) {
	if o.Listener == nil || o.Node == nil || o.API == nil || o.Switchover == nil || o.Classify == nil || o.Local == nil ||
		o.Scripts == nil || o.Log == nil {
		return nil, errors.New("resp: Listener, Node, API, Switchover, Classify, Local, Scripts and Log are required")
	}
	if o.LookupHost == nil {
		o.LookupHost = net.DefaultResolver.LookupHost
	}
	var id [20]byte
	_, _ = rand.Read(id[:]) // it never fails
	return &Server{
		o: o, admin: sentinelv1.NewAdminServiceClient(o.API), cluster: sentinelv1.NewClusterServiceClient(o.API),
		catalogue: newCatalogue(), runID: hex.EncodeToString(id[:]), conns: map[int64]*conn{},
		subscribers: subscribers{audiences: [2]audience{{}, {}}},
	}, nil
}

// Run serves until ctx ends, then closes the listener and every connection, and returns after the last goroutine.
func (s *Server) Run(ctx context.Context) error {
	s.started = time.Now()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer s.writers.Wait()
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		<-ctx.Done()
		_ = s.o.Listener.Close()
		s.killAll()
	})
	wg.Go(func() { s.tellEvents(ctx) })
	for {
		nc, err := s.o.Listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			// Out of descriptors, say: let some go before the next try.
			s.o.Log.Warn("connection not accepted", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if c := s.keep(ctx, nc); c != nil {
			wg.Go(func() {
				defer s.drop(c)
				c.serve()
			})
		}
	}
}

// keep takes a connection in, or turns it away.
func (s *Server) keep(ctx context.Context, nc net.Conn) *conn {
	refuse := ""
	if s.o.Protected && !loopback(nc.RemoteAddr()) {
		refuse = denied
	}
	s.mu.Lock()
	if refuse == "" && len(s.conns) >= maxClients {
		refuse = "ERR max number of clients reached"
	}
	if refuse == "" && ctx.Err() == nil {
		s.lastID++
		c := newConn(ctx, s, s.lastID, nc)
		s.conns[c.id] = c
		s.mu.Unlock()
		return c
	}
	s.rejected++
	s.mu.Unlock()
	if refuse != "" {
		_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(nc, "-"+refuse+"\r\n")
	}
	_ = nc.Close()
	return nil
}

func (s *Server) drop(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.id)
	s.past.add(&c.traffic)
}

func (s *Server) killAll() {
	for _, c := range s.clients() {
		c.kill()
	}
}

// clients are the connections in the order in which they came.
func (s *Server) clients() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*conn, 0, len(s.conns))
	for _, id := range slices.Sorted(maps.Keys(s.conns)) {
		out = append(out, s.conns[id])
	}
	return out
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// denied is as Redis's (networking.c), for what is configured here.
const denied = "DENIED sentineld is running in protected mode because protected mode is enabled and no password is set for " +
	"the default user. In this mode connections are only accepted from the loopback interface. To connect from other " +
	"computers set up users or TLS, or set 'protected-mode no' if every host that can reach this port may change the cluster."

func peerName(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return a.String()
}
