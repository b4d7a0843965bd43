package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// willing promotes every replica that is neither sick nor in maintenance, and carries switchovers out at once.
type willing struct {
	n    *fakeNode
	sick map[string]bool
	// orders counts what was begun, refuse is what the next ones are answered with, while there are any.
	orders atomic.Int32
	refuse chan error
	// rollBack ends every switchover without a switch.
	rollBack bool
	// explained is called with the number of each explanation, once it is made and before it is told.
	explained func(n int32)
	explains  atomic.Int32
}

func (p *willing) Explain(_ context.Context, st *raftfsm.State, m *raftfsm.Master) (Explanation, error) {
	x := p.Glance(st, m)
	if n := p.explains.Add(1); p.explained != nil {
		p.explained(n)
	}
	return x, nil
}

func (p *willing) Glance(_ *raftfsm.State, m *raftfsm.Master) Explanation {
	var x Explanation
	for _, in := range m.Replicas() {
		c := raftfsm.Candidate{Addr: in.Addr}
		switch {
		case in.Maintenance != nil:
			c.Rejection, c.Detail = failover.RejectMaintenance, "is in maintenance"
		case p.sick[in.Addr.Host]:
			c.Rejection, c.Detail = failover.RejectDown, "no acceptable reply"
		case x.Winner.IsZero():
			x.Winner = in.Addr
		default:
			c.Rejection, c.Detail = failover.RejectOutranked, "is second"
		}
		x.Candidates = append(x.Candidates, c)
	}
	return x
}

func (p *willing) Rehearse(_ context.Context, o Order) (*raftfsm.Failover, error) {
	m, _ := p.n.State().Master(o.Master)
	return &raftfsm.Failover{OperationID: o.OperationID, Kind: o.Kind, From: m.Address, To: o.To}, nil
}

func (p *willing) Begin(_ context.Context, o Order) (raftfsm.Result, error) {
	p.orders.Add(1)
	select {
	case err := <-p.refuse:
		return raftfsm.Result{}, err
	default:
	}
	m, _ := p.n.State().Master(o.Master)
	res, err := p.n.commit(&raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: &raftlogv1.BeginFailover{
		Master: m.Name, Generation: m.Generation, OperationId: o.OperationID, Kind: o.Kind, MaxWaitMs: o.MaxWait.Milliseconds(),
		From: m.Address.Proto(), Candidate: o.To.Proto(), OldOffset: -1, Reason: "ordered",
	}}})
	if err != nil || res.Err() != nil {
		return res, err
	}
	end := &raftlogv1.EndFailover{Master: m.Name, Epoch: res.Epoch, Outcome: raftfsm.OutcomeCompleted}
	if p.rollBack {
		end.Outcome, end.Reason = raftfsm.OutcomeAborted, "the candidate stood still"
	} else if _, err := p.n.commit(&raftlogv1.Command{Op: &raftlogv1.Command_SwitchMaster{SwitchMaster: &raftlogv1.SwitchMaster{
		Master: m.Name, Epoch: res.Epoch, From: m.Address.Proto(), To: o.To.Proto(),
	}}}); err != nil {
		return res, err
	}
	_, err = p.n.commit(&raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: end}})
	return res, err
}

// drainRig has sets whose instances are given as hosts, the master first.
func drainRig(t *testing.T, sets map[string][]string) (*rig, *willing) {
	t.Helper()
	policy := &willing{sick: map[string]bool{}, refuse: make(chan error, 10)}
	r := newRig(t, func(o *Options) {
		policy.n = o.Node.(*fakeNode)
		o.Failovers = policy
	})
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
	for name, hosts := range sets {
		_, err := r.admin.MonitorMaster(t.Context(), &sentinelv1.MonitorMasterRequest{
			Name: name, Address: addr(hosts[0], portOf(name)), Options: &sentinelv1.MasterOptions{Quorum: new(int32(2))},
		})
		if err != nil {
			t.Fatal(err)
		}
		m, _ := r.node.State().Master(name)
		for _, h := range hosts[1:] {
			r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
				Master: name, Generation: m.Generation, Instances: []*raftlogv1.InstanceFacts{{
					Address: &raftlogv1.Address{Host: h, Port: portOf(name)}, Role: raftfsm.RoleReplica, RunId: name + h,
				}},
			}}})
		}
	}
	return r, policy
}

// portOf is where the instances of a set serve: 6379 those of m.
func portOf(name string) uint32 { return 6379 + uint32(name[0]) - 'm' }

func (r *rig) maintained(name, host string) *raftfsm.Pause {
	m, _ := r.node.State().Master(name)
	in, _ := m.Instance(raftfsm.Addr{Host: host, Port: uint16(portOf(name))})
	return in.Maintenance
}

func TestStartMaintenance(t *testing.T) {
	r, policy := drainRig(t, map[string][]string{"m": {"10.0.0.1", "10.0.0.2", "10.0.0.3"}})
	start := func(host string, alter func(*sentinelv1.StartMaintenanceRequest)) (*sentinelv1.StartMaintenanceResponse, error) {
		q := &sentinelv1.StartMaintenanceRequest{Instance: addr(host, 6379), Reason: "new memory"}
		if alter != nil {
			alter(q)
		}
		return r.admin.StartMaintenance(t.Context(), q)
	}
	for _, c := range []struct {
		host   string
		alter  func(*sentinelv1.StartMaintenanceRequest)
		code   codes.Code
		reason sentinelv1.ErrorReason
	}{
		{"10.0.0.9", nil, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_INSTANCE_NOT_FOUND},
		{"10.0.0.1", nil, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA},
		{"10.0.0.1", func(q *sentinelv1.StartMaintenanceRequest) { q.Force = true }, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA},
		{"10.0.0.2", func(q *sentinelv1.StartMaintenanceRequest) { q.DurationMs = -1 }, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT},
		{"10.0.0.2", func(q *sentinelv1.StartMaintenanceRequest) { q.Reason = "a\nb" }, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT},
		{"", nil, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT},
	} {
		_, err := start(c.host, c.alter)
		wantError(t, err, c.code, c.reason)
	}
	dry, err := start("10.0.0.2", func(q *sentinelv1.StartMaintenanceRequest) { q.ValidateOnly = true })
	if err != nil || !dry.GetChanged() || r.maintained("m", "10.0.0.2") != nil {
		t.Fatalf("validate only: %v, %v", dry, err)
	}
	first, err := start("10.0.0.2", func(q *sentinelv1.StartMaintenanceRequest) { q.DurationMs = 60000 })
	if err != nil || !first.GetChanged() {
		t.Fatal(first, err)
	}
	p := r.maintained("m", "10.0.0.2")
	if p == nil || p.Actor == "" || p.Reason != "new memory" || time.Until(time.UnixMilli(p.UntilMs)).Round(time.Minute) != time.Minute {
		t.Errorf("%+v", p)
	}
	told := first.GetMaster().GetInstances()[1].GetMaintenance()
	if told.GetReason() != "new memory" || told.GetActor() != p.Actor || told.GetUntil() == nil || told.GetSince() == nil {
		t.Errorf("told %v", told)
	}
	if more, err := start("10.0.0.2", nil); err != nil || !more.GetChanged() || r.maintained("m", "10.0.0.2").UntilMs != 0 {
		t.Errorf("without an end: %v, %v", more, err)
	}
	proposed := r.node.proposed
	if again, err := start("10.0.0.2", nil); err != nil || again.GetChanged() || again.GetMaster() == nil || r.node.proposed != proposed {
		t.Errorf("again: %v, %v", again, err)
	}
	_, err = start("10.0.0.3", nil)
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_LAST_REPLICA)
	policy.sick["10.0.0.3"] = true
	if _, err := start("10.0.0.3", nil); err != nil {
		t.Errorf("one that could not be promoted is no loss: %v", err)
	}
	policy.sick["10.0.0.3"] = false
	end := &sentinelv1.EndMaintenanceRequest{Instance: addr("10.0.0.3", 6379)}
	if done, err := r.admin.EndMaintenance(t.Context(), end); err != nil || !done.GetChanged() || r.maintained("m", "10.0.0.3") != nil {
		t.Errorf("%v, %v", done, err)
	}
	if done, err := r.admin.EndMaintenance(t.Context(), end); err != nil || done.GetChanged() {
		t.Errorf("again: %v, %v", done, err)
	}
	_, err = r.admin.EndMaintenance(t.Context(), &sentinelv1.EndMaintenanceRequest{Instance: addr("10.0.0.9", 6379)})
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_INSTANCE_NOT_FOUND)
	if _, err := start("10.0.0.3", func(q *sentinelv1.StartMaintenanceRequest) { q.Force = true }); err != nil {
		t.Errorf("forced: %v", err)
	}
}

// TestTheLastReplicaIsNotTakenTwice: of two that are taken at the same time, both judged while there were two, the second is judged
// anew. So are two hosts that are drained at the same time.
func TestTheLastReplicaIsNotTakenTwice(t *testing.T) {
	set := map[string][]string{"m": {"10.0.0.1", "10.0.0.2", "10.0.0.3"}}
	other := &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{Instance: &raftlogv1.Address{Host: "10.0.0.3", Port: 6379}, Reason: "another's"}}}
	t.Run("one by one", func(t *testing.T) {
		r, p := drainRig(t, set)
		p.explained = func(n int32) {
			if n == 1 {
				r.node.do(t, other)
			}
		}
		q := &sentinelv1.StartMaintenanceRequest{Instance: addr("10.0.0.2", 6379), Reason: "new memory"}
		_, err := r.admin.StartMaintenance(t.Context(), q)
		wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_LAST_REPLICA)
		q.Force = true
		if _, err := r.admin.StartMaintenance(t.Context(), q); err != nil {
			t.Errorf("forced: %v", err)
		}
	})
	t.Run("hosts", func(t *testing.T) {
		r, p := drainRig(t, set)
		p.explained = func(n int32) {
			if n == 2 { // the first is the drain's own look at the set
				r.node.do(t, other)
			}
		}
		got, err := r.drained(t, &sentinelv1.DrainHostRequest{Host: "10.0.0.2"})
		if err != nil || !slices.Equal(got, []string{"m 10.0.0.2: 10.0.0.2:6379..."}) {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("something else changes", func(t *testing.T) {
		r, p := drainRig(t, set)
		p.explained = func(n int32) {
			if n < judgedAnew {
				r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: fmt.Sprint(n)}}})
			}
		}
		q := &sentinelv1.StartMaintenanceRequest{Instance: addr("10.0.0.2", 6379), Reason: "new memory"}
		if resp, err := r.admin.StartMaintenance(t.Context(), q); err != nil || !resp.GetChanged() {
			t.Errorf("%v, %v", resp, err)
		}
	})
}

// drained is a drain as one line for each instance, in order.
func (r *rig) drained(t *testing.T, q *sentinelv1.DrainHostRequest) ([]string, error) {
	t.Helper()
	stream, err := r.admin.DrainHost(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for {
		told, err := stream.Recv()
		if err != nil {
			slices.Sort(out)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return out, err
		}
		line := fmt.Sprintf("%s %s", told.GetMaster(), told.GetInstance().GetHost())
		if f := told.GetSwitchover(); f != nil {
			line += " to " + f.GetTo().GetHost()
		}
		if told.GetInMaintenance() {
			line += " in maintenance"
		}
		if told.GetRefusal() != "" {
			line += ": " + strings.Fields(told.GetRefusal())[0] + "..."
		}
		if told.GetChanged() {
			line += " changed"
		}
		out = append(out, line)
	}
}

var drainSets = map[string][]string{
	"away":  {"10.0.0.5", "10.0.0.6"},
	"here":  {"10.0.0.1", "10.0.0.2", "10.0.0.3"},
	"last":  {"10.0.0.2", "10.0.0.1"},
	"pair":  {"10.0.0.1", "10.0.0.2"},
	"there": {"10.0.0.2", "10.0.0.1", "10.0.0.3"},
}

func TestDrainHost(t *testing.T) {
	want := []string{
		"here 10.0.0.1 to 10.0.0.2 in maintenance changed",
		"last 10.0.0.1: 10.0.0.1:6378...",
		"pair 10.0.0.1 to 10.0.0.2: 10.0.0.1:6382... changed",
		"there 10.0.0.1 in maintenance changed",
	}
	r, policy := drainRig(t, drainSets)
	q := &sentinelv1.DrainHostRequest{Host: "10.0.0.1", Reason: "kernel", RequestId: "d1", ValidateOnly: true}
	proposed := r.node.proposed
	got, err := r.drained(t, q)
	if err != nil || r.node.proposed != proposed {
		t.Fatalf("a dry run proposed %d, %v", r.node.proposed-proposed, err)
	}
	if dry := slices.Clone(want); !slices.Equal(got, dry) {
		t.Errorf("dry run:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(dry, "\n"))
	}
	q.ValidateOnly = false
	policy.refuse <- errNoLeader // one that is lost in the midst of it is waited for
	policy.refuse <- errUnknown
	if got, err = r.drained(t, q); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for m := range r.node.State().Masters() {
		if m.Address.Host == "10.0.0.1" {
			t.Errorf("the master of %s is still there", m.Name)
		}
	}
	if m, _ := r.node.State().Master("here"); m.History[0].OperationID != "d1-here" || m.History[0].Kind != raftfsm.KindPlanned {
		t.Errorf("%+v", m.History[0])
	}
	if p := r.maintained("here", "10.0.0.1"); p == nil || p.Reason != "kernel" {
		t.Errorf("%+v", p)
	}
	orders := policy.orders.Load()
	got, err = r.drained(t, q)
	if err != nil || policy.orders.Load() != orders || slices.ContainsFunc(got, func(l string) bool { return strings.HasSuffix(l, "changed") }) {
		t.Errorf("again: %v, %v", got, err)
	}
	other := &sentinelv1.UndrainHostRequest{Host: "10.0.0.1", Reason: new("host shutdown")}
	if resp, err := r.admin.UndrainHost(t.Context(), other); err != nil || resp.GetChanged() || r.maintained("here", "10.0.0.1") == nil {
		t.Errorf("undrained for another reason: %v, %v", resp, err)
	}
	un := &sentinelv1.UndrainHostRequest{Host: "10.0.0.1", Reason: new("kernel")}
	for _, changed := range []bool{true, false} {
		resp, err := r.admin.UndrainHost(t.Context(), un)
		if err != nil || resp.GetChanged() != changed || (len(resp.GetInstances()) == 2) != changed {
			t.Errorf("undrain: %v, %v", resp, err)
		}
	}
	if r.maintained("here", "10.0.0.1") != nil || r.maintained("there", "10.0.0.1") != nil {
		t.Error("still in maintenance")
	}
}

// TestDrainLeavesALongerMaintenanceStanding: its owner, reason and end are somebody else's. A shorter one would end too early.
func TestDrainLeavesALongerMaintenanceStanding(t *testing.T) {
	hour := time.Hour.Milliseconds()
	now := time.Now().UnixMilli()
	for _, c := range []struct {
		name            string
		until, duration int64
		stands          bool
	}{
		{"open-ended", 0, hour, true},
		{"later", now + 2*hour, hour, true},
		{"sooner", now + hour/2, hour, false},
		{"sooner than never", now + 2*hour, 0, false},
		{"both open-ended", 0, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := drainRig(t, map[string][]string{"m": {"10.0.0.2", "10.0.0.1", "10.0.0.3"}})
			r.node.do(t, &raftlogv1.Command{Header: &raftlogv1.Header{Actor: "bob"}, Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{
				Instance: &raftlogv1.Address{Host: "10.0.0.1", Port: 6379}, Reason: "new memory", UntilMs: c.until,
			}}})
			was := *r.maintained("m", "10.0.0.1")
			want := "m 10.0.0.1 in maintenance"
			if !c.stands {
				want += " changed"
			}
			got, err := r.drained(t, &sentinelv1.DrainHostRequest{Host: "10.0.0.1", Reason: "kernel", DurationMs: c.duration})
			if err != nil || !slices.Equal(got, []string{want}) {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
			if p := r.maintained("m", "10.0.0.1"); p == nil || (*p == was) != c.stands || was.Actor != "bob" || !c.stands && p.Reason != "kernel" {
				t.Errorf("%+v, was %+v", p, was)
			}
		})
	}
}

func TestDrainHostRefusals(t *testing.T) {
	for _, c := range []struct {
		name string
		sets map[string][]string
		do   func(r *rig, p *willing)
		want []string
	}{
		{
			"rolled back",
			map[string][]string{"m": {"10.0.0.1", "10.0.0.2", "10.0.0.3"}},
			func(_ *rig, p *willing) { p.rollBack = true },
			[]string{"m 10.0.0.1 to 10.0.0.2: the... changed"},
		},
		{"refused", map[string][]string{"m": {"10.0.0.1", "10.0.0.2", "10.0.0.3"}}, func(_ *rig, p *willing) {
			p.refuse <- raftfsm.Refusal{Code: raftfsm.InProgress, Detail: "another one"}
		}, []string{"m 10.0.0.1: another..."}},
		{"the best saves its data", map[string][]string{"m": {"10.0.0.1", "10.0.0.2", "10.0.0.3"}}, func(_ *rig, p *willing) {
			p.refuse <- raftfsm.Refusal{Code: raftfsm.BadCandidate, Detail: "10.0.0.2 saves"}
		}, []string{"m 10.0.0.1 to 10.0.0.3 in maintenance changed"}},
		{"all save their data", map[string][]string{"m": {"10.0.0.1", "10.0.0.2", "10.0.0.3"}}, func(_ *rig, p *willing) {
			p.refuse <- raftfsm.Refusal{Code: raftfsm.BadCandidate, Detail: "best saves"}
			p.refuse <- raftfsm.Refusal{Code: raftfsm.BadCandidate, Detail: "next saves"}
		}, []string{"m 10.0.0.1: best..."}},
		// Its name resolves to two of the set, the best replica among them.
		{"rack-1.example", map[string][]string{"m": {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"}}, func(r *rig, _ *willing) {
			r.server.lookupHost = func(context.Context, string) ([]string, error) { return []string{"10.0.0.1", "::ffff:10.0.0.2"}, nil }
		}, []string{"m 10.0.0.1 to 10.0.0.3 in maintenance changed", "m 10.0.0.2 in maintenance changed"}},
		{"nobody elsewhere", map[string][]string{"m": {"10.0.0.1"}}, nil, []string{"m 10.0.0.1: no..."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := drainRig(t, c.sets)
			host := "10.0.0.1"
			if strings.Contains(c.name, ".") {
				host = c.name
			}
			if c.do != nil {
				c.do(r, p)
			}
			got, err := r.drained(t, &sentinelv1.DrainHostRequest{Host: host})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
	r, _ := drainRig(t, drainSets)
	for _, c := range []struct {
		q      *sentinelv1.DrainHostRequest
		code   codes.Code
		reason sentinelv1.ErrorReason
	}{
		{&sentinelv1.DrainHostRequest{Host: "10.9.9.9"}, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_INSTANCE_NOT_FOUND},
		{&sentinelv1.DrainHostRequest{Host: ""}, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT},
		{&sentinelv1.DrainHostRequest{Host: "10.0.0.1:6379"}, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT},
		{&sentinelv1.DrainHostRequest{Host: "10.0.0.1", RequestId: strings.Repeat("x", 65)}, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT},
		{&sentinelv1.DrainHostRequest{Host: "10.0.0.1", MaxWaitMs: 1}, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT},
	} {
		_, err := r.drained(t, c.q)
		wantError(t, err, c.code, c.reason)
	}
	_, err := r.admin.UndrainHost(t.Context(), &sentinelv1.UndrainHostRequest{Host: "10.9.9.9"})
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_INSTANCE_NOT_FOUND)
	if a, b := drainOperation("r", strings.Repeat("n", 128)), drainOperation("r", strings.Repeat("n", 127)+"m"); a == b || len(a) > 128 {
		t.Errorf("%q and %q", a, b)
	}
}
