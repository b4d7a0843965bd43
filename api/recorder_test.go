package api

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// recorder keeps the masters that a watch is told.
type recorder struct {
	grpc.ServerStream
	lines []string
}

func (r *recorder) SendMsg(m any) error {
	f, ok := m.(frame)
	if !ok {
		return nil
	}
	var msg sentinelv1.WatchMastersResponse
	if err := proto.Unmarshal(f[0].ReadOnlyData(), &msg); err != nil {
		return err
	}
	r.lines = append(r.lines, fmt.Sprintf("%s %d", msg.GetMaster().GetName(), msg.GetMaster().GetOptions().GetQuorum()))
	return nil
}
