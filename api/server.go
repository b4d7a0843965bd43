package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// callLimit bounds a unary call that brings no deadline.
	callLimit = 5 * time.Second
	// inspectLimit bounds the visits of one preflight; they also leave half of the call's time to the change.
	inspectLimit = time.Second
	// hearLimit bounds how long it is listened for where Sentinels are that were seen: each speaks every two seconds.
	hearLimit = 2200 * time.Millisecond
	// leaderSilence is how long a node may hear no leader before reads that need one fail at once.
	leaderSilence = 2 * time.Second
	// askLeader bounds the question what the leader sees, which a node answers for itself where the leader does not.
	askLeader = 500 * time.Millisecond
	// progressEvery is how often an idle watch is told that it lives.
	progressEvery = 10 * time.Second
	// healthEvery is how often the health statuses, and the contact with the leader, are looked at.
	healthEvery = 500 * time.Millisecond
	// healthAdmin is the health service that tells whether changes can be made.
	healthAdmin = "sentinel.v1.AdminService"
	// streamWorkers is how many calls at once run in goroutines that stay; see DESIGN.md, "Look-ups".
	streamWorkers = 128
)

// Options of a server. Node, Failovers, Classify and Log are required.
type Options struct {
	Node      Node
	Failovers Failovers
	// Fleet is nil on a node that probes nothing, Inspector where nothing can be visited: preflights are then left out.
	Fleet     Fleet
	Inspector Inspector
	// House is nil where nothing is known of process and machine.
	House House
	// Classify tells the errors of Node apart.
	Classify func(error) Failure
	// Protected mode serves loopback and the nodes of the cluster alone.
	Protected bool
	// ScriptsReconfig lets callers change the paths of scripts (deny-scripts-reconfig no). CheckScript then tells why a
	// path is not that of a script that this node may run; nil = every path is good.
	ScriptsReconfig bool
	CheckScript     func(path string) error
	// FromNode tells whether a call came over a connection that a node of the cluster opened; nil = never.
	FromNode func(ctx context.Context) bool
	// Version of this build.
	Version string
	Log     *slog.Logger
}

// Server implements the services of sentinel.v1. Make the gRPC server with [Server.GRPCOptions], then [Server.Register] it
// there, and run [Server.Run] for as long as it serves.
type Server struct {
	sentinelv1.UnimplementedSentinelServiceServer
	sentinelv1.UnimplementedAdminServiceServer
	sentinelv1.UnimplementedClusterServiceServer
	sentinelv1.UnimplementedDiagnoseServiceServer

	node      Node
	failovers Failovers
	fleet     Fleet
	inspector Inspector
	house     House
	classify  func(error) Failure
	protected bool
	fromNode  func(ctx context.Context) bool
	version   string
	log       *slog.Logger
	hub       *hub
	answers   answers
	contact   contact
	health    *health.Server
	// lookupHost gives the addresses of a host name.
	lookupHost func(ctx context.Context, host string) ([]string, error)

	scriptsReconfig bool
	checkScript     func(path string) error

	// closing ends the watches.
	closing chan struct{}
	// began is when the server was made: a node that never heard a leader has been without one since.
	began time.Time
}

// New validates the options and starts nothing.
func New(o Options) (*Server, error) {
	if o.Node == nil || o.Failovers == nil || o.Classify == nil || o.Log == nil {
		return nil, errors.New("api: Node, Failovers, Classify and Log are required")
	}
	s := &Server{
		node: o.Node, failovers: o.Failovers, fleet: o.Fleet, inspector: o.Inspector, house: o.House, classify: o.Classify,
		protected: o.Protected, fromNode: o.FromNode, version: o.Version, log: o.Log,
		hub: newHub(), contact: contact{turned: make(chan struct{})}, health: health.NewServer(),
		lookupHost:      net.DefaultResolver.LookupHost,
		scriptsReconfig: o.ScriptsReconfig, checkScript: o.CheckScript, closing: make(chan struct{}), began: time.Now(),
	}
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	s.health.SetServingStatus(healthAdmin, healthv1.HealthCheckResponse_NOT_SERVING)
	return s, nil
}

// GRPCOptions are what the gRPC server must be made with.
func (s *Server) GRPCOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(s.unary, s.encoded),
		grpc.ChainStreamInterceptor(s.stream),
		grpc.ForceServerCodecV2(frameCodec{}),
		grpc.NumStreamWorkers(streamWorkers),
		// A watcher whose host is gone is noticed, and watchers may ask as often as every 5 s.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// Register adds the services, health and reflection to a gRPC server.
func (s *Server) Register(g *grpc.Server) {
	sentinelv1.RegisterSentinelServiceServer(g, s)
	sentinelv1.RegisterAdminServiceServer(g, s)
	sentinelv1.RegisterClusterServiceServer(g, s)
	sentinelv1.RegisterDiagnoseServiceServer(g, s)
	healthv1.RegisterHealthServer(g, s.health)
	reflection.Register(g)
}

// Run keeps the health statuses, and wakes the watches when the leader is lost or found, until ctx ends. Then it ends every
// watch, so that the gRPC server can stop. It is called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.health.Shutdown()
	defer close(s.closing)
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		s.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look sets the health statuses: "" = local reads can be answered, AdminService = a leader is heard.
func (s *Server) look() {
	_, age, err := s.node.Local()
	if err == nil {
		s.contact.note(age)
	}
	s.serving("", err == nil)
	s.serving(healthAdmin, err == nil && s.node.Status().LeaderID != "")
}

func (s *Server) serving(service string, yes bool) {
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if yes {
		status = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(service, status)
}

// read is the state at the wanted consistency, and its age in milliseconds as answers tell it.
func (s *Server) read(ctx context.Context, c sentinelv1.Consistency) (*raftfsm.State, int64, error) {
	if c == sentinelv1.Consistency_CONSISTENCY_LOCAL {
		st, age, err := s.node.Local()
		if err != nil {
			return nil, 0, s.readError(err)
		}
		return st, contactMs(age), nil
	}
	if _, known := sentinelv1.Consistency_name[int32(c)]; !known {
		return nil, 0, invalid("consistency: %d is none", c)
	}
	if silence, deaf := s.silence(); deaf {
		return nil, 0, s.noContact(silence)
	}
	st, err := s.node.Read(ctx)
	if err != nil {
		return nil, 0, s.readError(err)
	}
	return st, 0, nil
}

// silence is for how long this node has heard no leader; deaf tells that it is too long for a read to wait for one: at any
// timing an election takes less, and whoever asks is better served by a LOCAL answer now.
func (s *Server) silence() (d time.Duration, deaf bool) {
	d = s.node.LastContact()
	if d < 0 {
		d = time.Since(s.began)
	}
	return d, d > leaderSilence
}

func (s *Server) noContact(silence time.Duration) error {
	if s.node.Status().Role == roleRemoved {
		return wasRemoved()
	}
	return fail(codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER,
		"this node has heard no leader for %v: nothing was changed; try again, or read with LOCAL", silence.Round(100*time.Millisecond))
}

func contactMs(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Milliseconds()
}

// view adds this node's observations to a state.
func (s *Server) view(st *raftfsm.State) view { return view{st: st, fleet: s.fleet, now: time.Now()} }
