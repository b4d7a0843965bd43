package resp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// changeLimit bounds a change, so that clients hear of a lost quorum within 1.5 s.
	changeLimit = 1500 * time.Millisecond
	// writeLimit bounds how long a client may leave its answers unread.
	writeLimit = 10 * time.Second
	// maxClients is Redis's default.
	maxClients = 10000
)

// Node is this member of the cluster, as look-ups need it: a part of [api.Node].
type Node interface {
	State() *raftfsm.State
	Local() (*raftfsm.State, time.Duration, error)
	Status() api.NodeStatus
}

// Options of a server. Listener, Node, API, Classify and Log are required.
type Options struct {
	// Listener is the Server's once New has returned without error.
	Listener net.Listener
	Node     Node
	// API takes the changes: [api.Server.Direct].
	API grpc.ClientConnInterface
	// Fleet is what this node sees; nil on a node that probes nothing.
	Fleet    api.Fleet
	Classify func(error) api.Failure
	// Protected mode serves loopback alone.
	Protected bool
	// ScriptsReconfig lets SENTINEL SET change the paths of scripts (deny-scripts-reconfig no).
	ScriptsReconfig bool
	// LookupHost resolves host names; nil is the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]string, error)
	Version    string
	Log        *slog.Logger
}

// Server answers the Sentinel protocol.
type Server struct {
	o       Options
	admin   sentinelv1.AdminServiceClient
	started time.Time
	mu      sync.Mutex
	conns   map[net.Conn]struct{}
}

// New validates the options and starts nothing.
func New(o Options) (*Server, error) {
	if o.Listener == nil || o.Node == nil || o.API == nil || o.Classify == nil || o.Log == nil {
		return nil, errors.New("resp: Listener, Node, API, Classify and Log are required")
	}
	if o.LookupHost == nil {
		o.LookupHost = net.DefaultResolver.LookupHost
	}
	return &Server{o: o, admin: sentinelv1.NewAdminServiceClient(o.API), conns: map[net.Conn]struct{}{}}, nil
}

// Run serves until ctx ends, then closes the listener and every connection, and returns after the last goroutine.
func (s *Server) Run(ctx context.Context) error {
	s.started = time.Now()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		<-ctx.Done()
		_ = s.o.Listener.Close()
		s.closeAll()
	})
	for {
		conn, err := s.o.Listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
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
		if !s.keep(ctx, conn) {
			continue
		}
		wg.Go(func() {
			defer s.drop(conn)
			s.serve(ctx, conn)
		})
	}
}

// keep takes a connection in, or turns it away.
func (s *Server) keep(ctx context.Context, conn net.Conn) bool {
	refuse := ""
	if s.o.Protected && !loopback(conn.RemoteAddr()) {
		refuse = denied
	}
	s.mu.Lock()
	if refuse == "" && len(s.conns) >= maxClients {
		refuse = "ERR max number of clients reached"
	}
	if refuse == "" && ctx.Err() == nil {
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		return true
	}
	s.mu.Unlock()
	if refuse != "" {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(conn, "-"+refuse+"\r\n")
	}
	_ = conn.Close()
	return false
}

func (s *Server) drop(conn net.Conn) {
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	_ = conn.Close()
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// denied is as Redis's (networking.c), for what is configured here.
const denied = "DENIED sentineld is running in protected mode because protected mode is enabled and no password is set for " +
	"the default user. In this mode connections are only accepted from the loopback interface. To connect from other " +
	"computers set up users or TLS, or set 'protected-mode no' if every host that can reach this port may change the cluster."

// serve answers one connection. Answers to commands that came together leave together, before more is waited for: half a
// command behind them holds nothing up.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	var out strings.Builder
	in := newReader(readFunc(func(p []byte) (int, error) {
		if !flush(conn, &out) {
			return 0, net.ErrClosed
		}
		return conn.Read(p)
	}))
	actor := peerName(conn.RemoteAddr())
	for {
		args, err := in.next()
		if bad, ok := errors.AsType[protocolError](err); ok {
			failure("ERR " + bad.Error()).encode(&out)
		}
		quit := false
		if err == nil {
			var r reply
			r, quit = s.answer(api.WithActor(ctx, actor), args)
			r.encode(&out)
		}
		if done := err != nil || quit; done || out.Len() > maxBytes {
			if !flush(conn, &out) || done {
				return
			}
		}
	}
}

func flush(conn net.Conn, out *strings.Builder) bool {
	if out.Len() == 0 {
		return true
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeLimit))
	_, err := io.WriteString(conn, out.String())
	out.Reset()
	return err == nil
}

func peerName(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return a.String()
}
