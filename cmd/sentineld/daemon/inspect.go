package daemon

import (
	"context"
	"errors"
	"strings"

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
		return i.orSentinel(ctx, target, err)
	}
	defer func() { _ = conn.Close() }()
	info, err := conn.Info(ctx)
	if rejected, ok := authRejected(err); ok {
		return api.Inspection{AuthRejected: rejected}, nil
	}
	if err != nil {
		return i.orSentinel(ctx, target, err)
	}
	return api.Inspection{Info: info}, nil
}

// orSentinel looks whether what an instance cannot do or say is because it is a Sentinel; else err stands.
func (i inspector) orSentinel(ctx context.Context, target instance.Target, err error) (api.Inspection, error) {
	conn, again := i.dialer.Dial(ctx, target, "")
	if again != nil {
		return api.Inspection{}, err
	}
	defer func() { _ = conn.Close() }()
	reply, _ := conn.Do(ctx, "INFO", "server")
	if text, ok := reply.(string); ok && strings.Contains(text, "redis_mode:sentinel") {
		return api.Inspection{Sentinel: true}, nil
	}
	return api.Inspection{}, err
}

func authRejected(err error) (string, bool) {
	var reply instance.ReplyError
	if errors.As(err, &reply) && detector.ClassifyReply(reply.Text) == detector.ReplyAuth {
		return reply.Text, true
	}
	return "", false
}
