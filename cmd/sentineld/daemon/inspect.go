package daemon

import (
	"context"
	"errors"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// inspector visits instances for the preflights of changes.
type inspector struct{ dialer *instance.Dialer }

// Inspect implements [api.Inspector].
func (i inspector) Inspect(ctx context.Context, a raftfsm.Addr, o raftfsm.Options) (api.Inspection, error) {
	o.FormerAuthPass = raftfsm.Secret{}
	target := instance.TargetOf(&raftfsm.Master{Options: o}, a, nil, false)
	conn, err := i.dialer.Dial(ctx, target, "sentineld-inspect")
	if rejected, ok := authRejected(err); ok {
		return api.Inspection{AuthRejected: rejected}, nil
	}
	if err != nil {
		return api.Inspection{}, err
	}
	defer func() { _ = conn.Close() }()
	info, err := conn.Info(ctx)
	if rejected, ok := authRejected(err); ok {
		return api.Inspection{AuthRejected: rejected}, nil
	}
	return api.Inspection{Info: info}, err
}

func authRejected(err error) (string, bool) {
	var reply instance.ReplyError
	if errors.As(err, &reply) && detector.ClassifyReply(reply.Text) == detector.ReplyAuth {
		return reply.Text, true
	}
	return "", false
}
