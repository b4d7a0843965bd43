package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/raftsentinel/raftsentinel/detector"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// visitors bounds how many instances are visited at a time.
const visitors = 16

// visit is a preflight's account. What force allows becomes a warning.
type visit struct {
	// force and incomplete are what the operator insists on; of a resume, each overrides objections of its own.
	force, incomplete bool
	warnings          []string
	// sentinels are active on what was visited.
	sentinels []ActiveSentinel
	// objections of all instances together, and the texts of those that the operator overrode.
	objections []objection
	overridden []string
}

// ForceHint ends the text of a refusal that force overrides. A wire that knows no force leaves it out.
const ForceHint = " (force overrides)"

// object refuses, or warns where the operator insists.
func (v *visit) object(e *Error) error {
	if !v.force {
		e.Text += ": nothing was changed" + ForceHint
		return e
	}
	v.warn("%s", e.Text)
	return nil
}

func (v *visit) warn(format string, args ...any) {
	v.warnings = append(v.warnings, fmt.Sprintf(format, args...))
}

// visitMaster looks at the instance that is to be watched as a master.
func (s *Server) visitMaster(ctx context.Context, st *raftfsm.State, v *visit, name string, a raftfsm.Addr, o raftfsm.Options) error {
	if a.IsLoopback() {
		warnLoopback(st, v, a)
	}
	if s.inspector == nil {
		return nil
	}
	ctx, cancel := visitBound(ctx)
	defer cancel()
	seen, err := s.inspector.Inspect(ctx, a, o)
	switch {
	case err != nil:
		v.warn("%s does not answer yet: %v", a, err)
		return nil
	case seen.AuthRejected != "" && o.AuthPass.IsZero():
		v.warn("%s wants a password (%s): sentinelctl set %s auth-pass=-", a, seen.AuthRejected, name)
		return nil
	case seen.AuthRejected != "":
		return v.object(rejected([]string{fmt.Sprintf("%s (%s)", a, seen.AuthRejected)}))
	case seen.Sentinel:
		return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NOT_A_MASTER,
			"%s is a Sentinel, not a Redis server: nothing was changed; give the address of the master that it watches", a)
	case seen.Info == nil:
		return nil
	}
	v.unknown(a, seen)
	v.sentinels = seen.Sentinels
	if err := knownElsewhere(st, name, a, seen.Info.RunID); err != nil {
		return err
	}
	if seen.Info.Role == raftfsm.RoleReplica {
		return v.object(notMaster(a, seen.Info))
	}
	return loopbackSet(v, a, seen.Info)
}

// knownElsewhere refuses an instance that another set has under another spelling of its address: two sets would give it
// orders. The run id is the process's own, and proves it.
func knownElsewhere(st *raftfsm.State, name string, a raftfsm.Addr, run string) error {
	m, known := st.ProcessOwner(run, name)
	if !known {
		return nil
	}
	at := slices.IndexFunc(m.Instances, func(in raftfsm.Instance) bool { return in.RunID == run })
	return fail(codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_ADDRESS_TAKEN,
		"%s is the Redis at %s (run id %s), which belongs to master %s; master %s cannot have it too: nothing was changed",
		a, m.Instances[at].Addr, cut(run, maxEcho), m.Name, name)
}

// warnLoopback tells that nodes on other machines would each watch an instance of their own.
func warnLoopback(st *raftfsm.State, v *visit, a raftfsm.Addr) {
	for n := range st.Nodes() {
		if !n.Raft.IsZero() && !n.Raft.IsLoopback() {
			v.warn("%s is a loopback address: to node %s at %s it means another machine", a, n.NodeID, n.Raft.Host)
			return
		}
	}
}

func notMaster(a raftfsm.Addr, in *detector.Info) *Error {
	e := fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NOT_A_MASTER,
		"%s answers as a replica of %s:%d; monitor that one", a, in.MasterHost, in.MasterPort)
	if m, err := raftfsm.NewAddr(in.MasterHost, in.MasterPort); err == nil {
		e.Text = fmt.Sprintf("%s answers as a replica of %s; monitor that one", a, m)
		e.Meta = map[string]string{"master": m.String()}
	}
	return e
}

// loopbackSet objects to a master whose replicas could never be told to follow its address.
func loopbackSet(v *visit, a raftfsm.Addr, in *detector.Info) error {
	if !a.IsLoopback() {
		return nil
	}
	var remote []string
	for _, r := range in.Replicas {
		if !r.Addr.IsLoopback() {
			remote = append(remote, r.Addr.String())
		}
	}
	if len(remote) == 0 {
		return nil
	}
	return v.object(fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_LOOPBACK_MASTER,
		"%s is a loopback address and its replicas are remote (%s): they could not follow it; give the master's own address",
		a, strings.Join(remote, ", ")))
}

// visitLogin tries a new user or password on every instance of the set before it is committed. It may be the first that
// works: only with it can be told whether Sentinels are active on a set that wanted a password when it was put under watch.
func (s *Server) visitLogin(ctx context.Context, v *visit, m *raftfsm.Master, values []*raftlogv1.OptionValue) error {
	login := slices.ContainsFunc(values, func(o *raftlogv1.OptionValue) bool {
		return o.GetName() == "auth-pass" || o.GetName() == "auth-user" || o.GetName() == "tls"
	})
	if !login || s.inspector == nil {
		return nil
	}
	o, err := m.Options.With(values)
	if err != nil {
		return invalid("master %s: %v", m.Name, err)
	}
	bound, cancel := visitBound(ctx)
	defer cancel()
	var no []string
	var met meeting
	for i, f := range s.visitAll(bound, m.Instances, o) {
		a := m.Instances[i].Addr
		switch {
		case f.err != nil:
			v.warn("%s does not answer; the login could not be tried there: %v", a, f.err)
		case f.seen.AuthRejected != "":
			no = append(no, fmt.Sprintf("%s (%s)", a, f.seen.AuthRejected))
		default:
			met.add(a, f.seen.Sentinels)
		}
	}
	if len(no) > 0 {
		v.objections = append(v.objections, overridable(v.force, ForceHint, rejected(no)))
	}
	if len(met.sentinels) > 0 && !m.Resting() {
		// The way is to pause it, which is always open: that a password is forced says nothing of Sentinels.
		active := Introduce(ctx, s.inspector, met.at, o, met.sentinels)
		v.objections = append(v.objections, objection{Error: stillActive(m.Name, active,
			"pause it first, or there are two that decide: sentinelctl pause "+m.Name)})
	}
	return v.settle()
}

type finding struct {
	seen Inspection
	err  error
}

// visitAll inspects instances side by side; findings are in their order.
func (s *Server) visitAll(ctx context.Context, instances []raftfsm.Instance, o raftfsm.Options) []finding {
	found := make([]finding, len(instances))
	turn := make(chan struct{}, visitors)
	var wg sync.WaitGroup
	for i, in := range instances {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			found[i].seen, found[i].err = s.inspector.Inspect(ctx, in.Addr, o)
		})
	}
	wg.Wait()
	return found
}

func rejected(who []string) *Error {
	return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_AUTH_REJECTED,
		"the login is rejected by %s", strings.Join(who, ", "))
}

// visitBound leaves at least half of the call's time to the change itself.
func visitBound(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := inspectLimit
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	return context.WithTimeout(ctx, limit)
}

// quorumWarning tells of a quorum that the present voters cannot give.
func quorumWarning(st *raftfsm.State, name string) []string {
	m, ok := st.Master(name)
	if !ok || m.Options.Quorum <= st.Voters() {
		return nil
	}
	return []string{fmt.Sprintf("the quorum of %s is %d and the cluster has %d voters: it can never be reached",
		name, m.Options.Quorum, st.Voters())}
}
