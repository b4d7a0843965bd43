package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// drainParallel is how many sets of a host are drained at the same time.
	drainParallel = 8
	// drainPatience is how long one step of a drain is tried again while no leader is found, or its outcome is unknown.
	drainPatience = 30 * time.Second
	// drainRetry is the pause before it is tried again.
	drainRetry = 100 * time.Millisecond
	// drainSettle is how long after its switch a switchover is waited for to end: the replicas follow then.
	drainSettle = 10 * time.Second
	// maxDrainRequest leaves room for the name of a master in the ids of a drain's operations.
	maxDrainRequest = 64
)

// DrainHost frees a host of masters and has its instances left alone. It is carried out by the asked node, step by step, each
// of which may be repeated: it outlives every leader, and a drain that was broken off is begun again.
func (s *Server) DrainHost(req *sentinelv1.DrainHostRequest, stream grpc.ServerStreamingServer[sentinelv1.DrainHostResponse]) error {
	if err := checkDrain(req); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(stream.Context())
	defer stop()
	st, on, err := s.hostIn(ctx, req.GetHost())
	if err != nil {
		return err
	}
	d := &drain{Server: s, req: req, on: on, id: req.GetRequestId(), told: make(chan *sentinelv1.DrainHostResponse)}
	if d.id == "" {
		d.id = newOperation()
	}
	var names []string
	for m := range st.Masters() {
		if slices.ContainsFunc(m.Instances, on.has) {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return emptyHost(req.GetHost())
	}
	failed := make(chan error, 1)
	go func() { failed <- d.all(ctx, names) }()
	var lost error
	for told := range d.told {
		if lost == nil {
			if lost = stream.Send(told); lost != nil {
				stop() // nobody listens; what was begun is finished by the cluster
			}
		}
	}
	if err := <-failed; lost == nil {
		return err
	}
	return lost
}

func checkDrain(req *sentinelv1.DrainHostRequest) error {
	if err := checkWords("request_id", req.GetRequestId(), maxDrainRequest); err != nil {
		return err
	}
	if _, err := maintenanceEnd(req.GetReason(), req.GetDurationMs()); err != nil {
		return err
	}
	_, err := maxWait(req.GetMaxWaitMs())
	return err
}

// drain is one call of DrainHost.
type drain struct {
	*Server
	req  *sentinelv1.DrainHostRequest
	on   host
	id   string
	told chan *sentinelv1.DrainHostResponse
}

// all drains every set, and closes told when the last is done. The first that cannot go on ends it for those not begun.
func (d *drain) all(ctx context.Context, names []string) error {
	defer close(d.told)
	going, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	slots := make(chan struct{}, drainParallel)
	var each sync.WaitGroup
	for _, name := range names {
		slots <- struct{}{}
		each.Go(func() {
			defer func() { <-slots }()
			if going.Err() != nil {
				return
			}
			if err := d.set(ctx, name); err != nil {
				stop(err)
			}
		})
	}
	each.Wait()
	return context.Cause(going)
}

// set drains one set: first its master goes elsewhere, then its replicas on the host are taken one by one, the old master last.
func (d *drain) set(ctx context.Context, name string) error {
	m, able, err := d.look(ctx, name)
	if err != nil || m == nil {
		return err
	}
	var moved *sentinelv1.DrainHostResponse
	if master, _ := m.Instance(m.Address); d.on.has(master) {
		if moved, able, err = d.switchOver(ctx, m, able); err != nil {
			return err
		}
	}
	for _, in := range m.Replicas() {
		if !d.on.has(in) {
			continue
		}
		told := &sentinelv1.DrainHostResponse{Master: name, Instance: address(in.Addr)}
		if able, err = d.take(ctx, m, in.Addr, able, told); err != nil {
			return err
		}
		d.tell(ctx, told)
	}
	if moved == nil {
		return nil
	}
	if moved.GetRefusal() == "" {
		if _, err = d.take(ctx, m, m.Address, able, moved); err != nil {
			return err
		}
	}
	d.tell(ctx, moved)
	return nil
}

// look is the set, and its replicas that could be promoted; nil where it was removed meanwhile.
func (d *drain) look(ctx context.Context, name string) (*raftfsm.Master, []raftfsm.Addr, error) {
	var m *raftfsm.Master
	var able []raftfsm.Addr
	err := d.insist(ctx, func(ctx context.Context) error {
		st, err := d.fresh(ctx)
		if err != nil {
			return err
		}
		if m, _ = st.Master(name); m != nil {
			able, err = d.promotable(ctx, name)
		}
		return err
	})
	if ReasonOf(err) == sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND {
		return nil, nil, nil
	}
	return m, able, err
}

// switchOver moves the master off the host. able are, after it, the replicas that could be promoted next: the old master is one.
func (d *drain) switchOver(ctx context.Context, m *raftfsm.Master, able []raftfsm.Addr) (*sentinelv1.DrainHostResponse, []raftfsm.Addr, error) {
	told := &sentinelv1.DrainHostResponse{Master: m.Name, Instance: address(m.Address)}
	first, to, err := d.order(ctx, m, able)
	if told.Refusal = refusalOf(err); told.Refusal != "" {
		return told, able, nil
	}
	if err != nil {
		return nil, nil, err
	}
	able = append(slices.DeleteFunc(slices.Clone(able), func(a raftfsm.Addr) bool { return a == to }), m.Address)
	told.Changed, told.Switchover = first.GetChanged(), first.GetFailover()
	if d.req.GetValidateOnly() || first.GetFailover() == nil {
		return told, able, nil
	}
	if told.Switchover, err = d.await(ctx, m.Name, first); err != nil {
		return nil, nil, err
	}
	if !told.GetSwitchover().GetSwitched() {
		told.Refusal = "the switchover of " + m.Name + " ended without a switch: " + told.GetSwitchover().GetEndReason()
	}
	return told, able, nil
}

// order begins the switchover to the best replica outside of the host that will do: one that could be promoted may yet save its
// data, or be too far behind. Where none will, the error is that of the best.
func (d *drain) order(ctx context.Context, m *raftfsm.Master, able []raftfsm.Addr) (*sentinelv1.SwitchoverMasterResponse, raftfsm.Addr, error) {
	var best error
	for _, to := range able {
		if in, ok := m.Instance(to); !ok || d.on.has(in) {
			continue
		}
		q := &sentinelv1.SwitchoverMasterRequest{
			Name: m.Name, To: address(to), RequestId: drainOperation(d.id, m.Name), MaxWaitMs: d.req.GetMaxWaitMs(), ValidateOnly: d.req.GetValidateOnly(),
		}
		var first *sentinelv1.SwitchoverMasterResponse
		err := d.insist(ctx, func(ctx context.Context) (err error) {
			first, err = d.Switchover(ctx, q)
			return err
		})
		if ReasonOf(err) != sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA {
			return first, to, err
		}
		if best == nil {
			best = err
		}
	}
	if best == nil {
		best = fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA,
			"no replica of %s outside of the host can be promoted (sentinelctl explain %s tells why)", m.Name, m.Name)
	}
	return nil, raftfsm.Addr{}, best
}

// await looks at a switchover until it has ended, or has switched so long ago that it only waits for what is down.
func (d *drain) await(ctx context.Context, name string, first *sentinelv1.SwitchoverMasterResponse) (*sentinelv1.Failover, error) {
	last := first.GetFailover()
	var settled <-chan time.Time
	for {
		changed := d.node.Changed()
		st := d.node.State()
		if rows := failoverRows(st, name, first.GetOperationId()); len(rows) > 0 {
			last = d.view(st).failover(name, rows[0].f)
		} else if st.Index() >= first.GetRevision() {
			return last, nil // its story went with its master
		}
		switch {
		case hasEnded(last):
			return last, nil
		case last.GetSwitched() && settled == nil:
			timer := time.NewTimer(drainSettle)
			defer timer.Stop()
			settled = timer.C
		}
		select {
		case <-changed:
		case <-settled:
			return last, nil
		case <-ctx.Done():
			return nil, d.readError(ctx.Err())
		case <-d.closing:
			return nil, fail(codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NODE_STOPPING,
				"this node is stopping; drain the host by another one: what was begun goes on")
		}
	}
}

// take puts one instance into maintenance, unless it is the last of those that could be promoted. It gives those that are left.
func (d *drain) take(ctx context.Context, m *raftfsm.Master, a raftfsm.Addr, able []raftfsm.Addr, told *sentinelv1.DrainHostResponse) ([]raftfsm.Addr, error) {
	left := slices.DeleteFunc(slices.Clone(able), func(x raftfsm.Addr) bool { return x == a })
	if len(left) == 0 && len(able) > 0 {
		told.Refusal = lastReplica(m, a).Text
		return able, nil
	}
	if d.req.GetValidateOnly() && a == m.Address {
		// It is the master as yet, which nobody could leave alone.
		told.Changed, told.InMaintenance = true, true
		return left, nil
	}
	until, err := maintenanceEnd(d.req.GetReason(), d.req.GetDurationMs())
	if err != nil {
		return nil, err
	}
	var out *sentinelv1.StartMaintenanceResponse
	err = d.insist(ctx, func(ctx context.Context) (err error) {
		// What somebody began that ends later, or never, is theirs: the drain must not cut it short.
		out, err = d.startMaintenance(ctx, &sentinelv1.StartMaintenanceRequest{
			Instance: address(a), Reason: d.req.GetReason(), ValidateOnly: d.req.GetValidateOnly(),
		}, until, outlasts(until))
		return err
	})
	if told.Refusal = refusalOf(err); told.Refusal != "" {
		return able, nil
	}
	if err != nil {
		return nil, err
	}
	told.ClusterId, told.Revision, told.InMaintenance = out.GetClusterId(), out.GetRevision(), true
	told.Changed = told.GetChanged() || out.GetChanged()
	return left, nil
}

// tell hands one instance's end to the caller.
func (d *drain) tell(ctx context.Context, told *sentinelv1.DrainHostResponse) {
	if told.GetRevision() == 0 {
		st := d.node.State()
		told.ClusterId, told.Revision = st.Cluster().Era, st.Index()
	}
	select {
	case d.told <- told:
	case <-ctx.Done():
	}
}

// insist repeats what may be repeated while it is only a leader, or an answer, that is missing.
func (d *drain) insist(ctx context.Context, try func(context.Context) error) error {
	limit := time.Now().Add(drainPatience)
	for {
		bounded, cancel := bound(ctx)
		err := try(bounded)
		cancel()
		if !passing(err) || time.Now().After(limit) {
			return err
		}
		select {
		case <-time.After(drainRetry):
		case <-ctx.Done():
			return err
		case <-d.closing:
			return err
		}
	}
}

// passing tells whether an error says nothing about what was asked for.
func passing(err error) bool {
	return slices.Contains([]sentinelv1.ErrorReason{
		sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER, sentinelv1.ErrorReason_ERROR_REASON_UNKNOWN_OUTCOME,
		sentinelv1.ErrorReason_ERROR_REASON_TIMEOUT, sentinelv1.ErrorReason_ERROR_REASON_LOADING,
		sentinelv1.ErrorReason_ERROR_REASON_CONFLICT, sentinelv1.ErrorReason_ERROR_REASON_REVISION_MISMATCH,
	}, ReasonOf(err))
}

// refusalOf is, in words, why the present state forbids something; "" where the error is none of that kind.
func refusalOf(err error) string {
	st := status.Convert(err)
	if slices.Contains([]codes.Code{codes.FailedPrecondition, codes.NotFound, codes.InvalidArgument, codes.AlreadyExists}, st.Code()) {
		return st.Message()
	}
	return ""
}

// drainOperation is the id of the switchover of a master in a drain.
func drainOperation(request, master string) string {
	if id := request + "-" + master; len(id) <= 128 {
		return id
	}
	sum := sha256.Sum256([]byte(master))
	return request + "-" + hex.EncodeToString(sum[:16])
}
