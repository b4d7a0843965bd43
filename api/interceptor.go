package api

import (
	"context"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// forwardedKey marks a call that a node passed on to the leader.
	forwardedKey = "sentineld-forwarded"
	// actorKey carries who asked, on calls that a node passed on.
	actorKey = "sentineld-actor"
)

// leaderOnly are the methods that only the leader can answer. true: a change, whose outcome is unknown when the connection
// to the leader breaks.
var leaderOnly = map[string]bool{
	sentinelv1.AdminService_FailoverMaster_FullMethodName:       true,
	sentinelv1.AdminService_ExplainMaster_FullMethodName:        false,
	sentinelv1.AdminService_CheckQuorum_FullMethodName:          false,
	sentinelv1.ClusterService_RemoveNode_FullMethodName:         true,
	sentinelv1.ClusterService_TransferLeadership_FullMethodName: true,
	sentinelv1.ClusterService_DrainNode_FullMethodName:          true,
}

// unary is what every unary call passes: protected mode, a bound on its time, the way to the leader.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	if atOnce(req) {
		return handle(ctx, req)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	change, here := s.answersHere(req, info.FullMethod)
	if here {
		return handle(ctx, req)
	}
	return s.forward(ctx, req, info.FullMethod, change)
}

// stream is what every stream passes.
func (s *Server) stream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if err := s.admit(ss.Context()); err != nil {
		return err
	}
	return handle(srv, ss)
}

// admit refuses strangers in protected mode. A call without a network peer comes from this process.
func (s *Server) admit(ctx context.Context) error {
	if !s.protected {
		return nil
	}
	p, ok := peer.FromContext(ctx)
	if !ok || (s.fromNode != nil && s.fromNode(ctx)) {
		return nil
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return nil
	}
	return fail(codes.PermissionDenied, sentinelv1.ErrorReason_ERROR_REASON_PROTECTED_MODE,
		"protected mode is on and %s is not a loopback address: ask from the node's own machine, set up users or TLS, "+
			"or set protected-mode no if every host that can reach this port may change the cluster", tcp.IP)
}

// atOnce tells that a call waits for nothing, so that it needs no bound on its time: look-ups come by the ten thousand.
func atOnce(req any) bool {
	get, ok := req.(*sentinelv1.GetMasterRequest)
	return ok && get.GetConsistency() == sentinelv1.Consistency_CONSISTENCY_LOCAL
}

// bound gives a call its deadline, a little before the caller's own, so that the caller hears what is known by then.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, callLimit)
	}
	left := time.Until(deadline)
	return context.WithDeadline(ctx, deadline.Add(-min(left/10, 100*time.Millisecond)))
}

// answersHere tells whether this node answers the call itself, and whether it is a change for the leader alone.
func (s *Server) answersHere(req any, method string) (change, here bool) {
	change, special := leaderOnly[method]
	if !special || s.node.Status().Role == RoleLeader {
		return change, true
	}
	read, ok := req.(interface {
		GetConsistency() sentinelv1.Consistency
	})
	return change, ok && read.GetConsistency() == sentinelv1.Consistency_CONSISTENCY_LOCAL
}

// forward passes a call on to the leader, once.
func (s *Server) forward(ctx context.Context, req any, method string, change bool) (any, error) {
	reply, err := newReply(method)
	if err != nil {
		return nil, err
	}
	conn, out, err := s.toLeader(ctx, change)
	if err != nil {
		return nil, err
	}
	if err := conn.Invoke(out, method, req, reply); err != nil {
		return nil, s.forwardError(err, change)
	}
	return reply, nil
}

// toLeader is the way to the leader, for one call that is marked as passed on.
func (s *Server) toLeader(ctx context.Context, change bool) (*grpc.ClientConn, context.Context, error) {
	if forwarded(ctx) {
		return nil, nil, fail(codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER,
			"the call was passed on to this node, which does not lead any more: nothing was changed; try again")
	}
	if silence, deaf := s.silence(); deaf && !change {
		return nil, nil, s.noContact(silence)
	}
	conn, err := s.node.LeaderConn(ctx)
	if err != nil {
		return nil, nil, s.failure(err, adviceOf(change))
	}
	return conn, metadata.NewOutgoingContext(ctx, metadata.Pairs(forwardedKey, "1", actorKey, s.actor(ctx))), nil
}

// forwardError is the error of a call that was passed on.
func (s *Server) forwardError(err error, change bool) error {
	if change && ReasonOf(err) == sentinelv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return unknownOutcome()
	}
	return s.failure(err, adviceOf(change))
}

// adviceOf ends the advice of a call that found no majority.
func adviceOf(change bool) string {
	if change {
		return ""
	}
	return ", or read with LOCAL"
}

func forwarded(ctx context.Context) bool {
	return len(metadata.ValueFromIncomingContext(ctx, forwardedKey)) > 0
}

// newReply makes the empty answer of a method.
func newReply(method string) (proto.Message, error) {
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	m, ok := d.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		return nil, fail(codes.Unimplemented, sentinelv1.ErrorReason_ERROR_REASON_INTERNAL, "unknown method %s", method)
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		return nil, fail(codes.Internal, sentinelv1.ErrorReason_ERROR_REASON_INTERNAL, "method %s: %v", method, err)
	}
	return t.New().Interface(), nil
}

// actor is who asked: for another node's forwarded call, whom that node names; else the caller's address.
func (s *Server) actor(ctx context.Context) string {
	if named := metadata.ValueFromIncomingContext(ctx, actorKey); len(named) == 1 && s.fromNode != nil && s.fromNode(ctx) {
		return named[0]
	}
	if named, ok := ctx.Value(actorContext{}).(string); ok {
		return named
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "local"
	}
	if tcp, ok := p.Addr.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return p.Addr.String()
}

type actorContext struct{}

// WithActor names who asks, for calls by [Server.Direct] on behalf of a client of another wire.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorContext{}, actor)
}
