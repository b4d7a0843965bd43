package api

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// Direct is a connection to s inside this process, for the other wires: the same interceptors and services, unary calls
// only. Peers are checked by the wire that they came by.
func (s *Server) Direct() grpc.ClientConnInterface { return direct{s} }

type direct struct{ s *Server }

// Invoke calls a method of the services in this goroutine.
func (d direct) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	for _, desc := range []grpc.ServiceDesc{
		sentinelv1.SentinelService_ServiceDesc, sentinelv1.AdminService_ServiceDesc, sentinelv1.ClusterService_ServiceDesc,
	} {
		if desc.ServiceName != service {
			continue
		}
		for _, m := range desc.Methods {
			if m.MethodName == name {
				return d.invoke(ctx, m, args, reply)
			}
		}
	}
	return status.Errorf(codes.Unimplemented, "unknown method %s", method)
}

func (d direct) invoke(ctx context.Context, m grpc.MethodDesc, args, reply any) error {
	out, err := m.Handler(d.s, ctx, func(in any) error {
		proto.Merge(in.(proto.Message), args.(proto.Message))
		return nil
	}, d.s.unary)
	if err != nil {
		return err
	}
	proto.Merge(reply.(proto.Message), out.(proto.Message))
	return nil
}

// NewStream refuses: watches in this process follow the node itself.
func (d direct) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams inside the process")
}
