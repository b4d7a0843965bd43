package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/doctor"
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
	told, err := conn.Survey(ctx, helloChannel, isSentinel)
	if rejected, ok := authRejected(err); ok {
		return api.Inspection{AuthRejected: rejected}, nil
	}
	if err != nil {
		return i.orSentinel(ctx, target, err)
	}
	seen := api.Inspection{Info: told.Info, Lacks: told.Lacks, LacksUnknown: words(told.LacksUnknown)}
	seen.Sentinels, err = activeSentinels(told)
	seen.SentinelsUnknown = words(err)
	return seen, nil
}

// CheckUp implements [api.Inspector].
func (i inspector) CheckUp(ctx context.Context, a raftfsm.Addr, o raftfsm.Options) doctor.Instance {
	out := doctor.Instance{Addr: a, Priority: -1}
	silent := func(err error) doctor.Instance {
		invalid, bad := errors.AsType[x509.CertificateInvalidError](err)
		out.Expired = bad && invalid.Reason == x509.Expired
		out.Silent = strings.TrimPrefix(err.Error(), "instance "+a.String()+": ")
		if rejected, ok := authRejected(err); ok {
			out.Silent, out.Rejected = "", rejected
		}
		return out
	}
	target := instance.TargetOf(&raftfsm.Master{Options: o}, a, nil, false)
	conn, err := i.dialer.Dial(ctx, target, "") // what may be done on it is asked below, its name too
	if err != nil {
		return silent(err)
	}
	defer func() { _ = conn.Close() }()
	out.CertificateEnds = conn.CertificateEnds()
	info, err := conn.Info(ctx)
	if reply, refused := errors.AsType[instance.ReplyError](err); refused && strings.HasPrefix(reply.Text, "NOPERM") {
		// Not a rejected login: the list of what is denied tells it.
		out.Denied, out.Missing, err = conn.Rights(ctx)
		out.RightsUnknown = words(err)
		return out
	}
	if err != nil {
		if seen, err := i.orSentinel(ctx, target, err); err == nil && seen.Sentinel {
			out.Sentinel = true
			return out
		}
		return silent(err)
	}
	out.Role, out.Version = info.Role, info.Version
	if info.Role == raftfsm.RoleReplica {
		out.Priority = info.Priority
	}
	settings, unknown, err := conn.Settings(ctx)
	if err != nil {
		return silent(err)
	}
	out.Settings, out.SettingsUnknown = settings, words(unknown)
	out.Denied, out.Missing, err = conn.Rights(ctx)
	out.RightsUnknown = words(err)
	return out
}

// words are an error's; "" for none.
func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// helloChannel is where Sentinels find each other.
const helloChannel = "__sentinel__:hello"

// isSentinel tells of a connection whether it may be a Sentinel's, or a node's like this one that listens to them.
func isSentinel(c instance.Client) bool {
	return strings.HasPrefix(c.Name, "sentinel-") || c.Subscribed && (c.Name == "" || c.Name == listenerName)
}

// activeSentinels are those with connections to an instance. Each of the two questions answers for the other where a user
// has no right to it: names tell who they are, the channel that somebody is there.
func activeSentinels(told *instance.Survey) ([]api.ActiveSentinel, error) {
	listening := told.Listening
	var named, unnamed []api.ActiveSentinel
	for _, c := range told.Clients {
		if c.Name == listenerName {
			listening-- // a node like this one
		} else if id, ok := strings.CutPrefix(c.Name, "sentinel-"); ok {
			id, _, _ = strings.Cut(id, "-") // -cmd or -pubsub
			named = append(named, api.ActiveSentinel{Host: c.Host, ID: id})
		} else {
			unnamed = append(unnamed, api.ActiveSentinel{Host: c.Host})
		}
	}
	switch {
	case told.ListeningUnknown != nil && told.ClientsUnknown != nil:
		return nil, errors.Join(told.ListeningUnknown, told.ClientsUnknown)
	case len(named) > 0:
		return named, nil
	case listening > 0 && len(unnamed) > 0:
		return unnamed, nil
	case listening > 0:
		return []api.ActiveSentinel{{}}, nil
	}
	return nil, nil
}

// listenerName is what instances know a node by that listens to Sentinels.
const listenerName = "sentineld-listen"

// Hear implements [api.Inspector].
func (i inspector) Hear(ctx context.Context, a raftfsm.Addr, o raftfsm.Options, many int) (heard []api.ActiveSentinel) {
	o.FormerAuthPass = raftfsm.Secret{}
	conn, err := i.dialer.Dial(ctx, instance.TargetOf(&raftfsm.Master{Options: o}, a, nil, false), listenerName)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	// The end of the listening is the context's; where the user may not listen there is nothing to hear.
	_ = conn.Listen(ctx, helloChannel, func(message string) bool {
		if s, ok := helloOf(message); ok && !slices.Contains(heard, s) {
			heard = append(heard, s)
		}
		return len(heard) < many
	})
	return heard
}

// helloOf reads what a Sentinel says of itself: ip,port,id,... Others may write to the channel too.
func helloOf(message string) (api.ActiveSentinel, bool) {
	words := strings.Split(message, ",")
	if len(words) != 8 {
		return api.ActiveSentinel{}, false
	}
	port, err := strconv.ParseUint(words[1], 10, 16)
	if err != nil {
		return api.ActiveSentinel{}, false
	}
	a, err := raftfsm.NewAddr(words[0], int(port))
	return api.ActiveSentinel{Host: a.Host, Port: a.Port, ID: words[2]}, err == nil && api.CheckHost(a.Host) == nil
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
