package api

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	"github.com/raftsentinel/raftsentinel/detector"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// movable is a set of a master and two replicas in a cluster of this build's level.
func movable(t *testing.T, alter ...func(*Options)) *rig {
	t.Helper()
	r := newRig(t, alter...)
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
	r.monitor(t, "m", "10.0.0.1")
	r.replica(t, "10.0.0.2")
	r.replica(t, "10.0.0.3")
	return r
}

// took records a step of m's open row.
func (n *fakeNode) took(t *testing.T, name string) {
	t.Helper()
	m, _ := n.State().Master("m")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: "m", Epoch: m.Failover.Epoch, Step: &raftlogv1.Step{Name: name, AtMs: 1},
	}}})
}

// switched commits the switch of m's open row.
func (n *fakeNode) switched(t *testing.T) {
	t.Helper()
	m, _ := n.State().Master("m")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SwitchMaster{SwitchMaster: &raftlogv1.SwitchMaster{
		Master: "m", Epoch: m.Failover.Epoch, From: m.Failover.From.Proto(), To: m.Failover.To.Proto(),
		Steps: []*raftlogv1.Step{{Name: raftfsm.StepSwitch, AtMs: 2}},
	}}})
}

// ended closes m's open row.
func (n *fakeNode) ended(t *testing.T, outcome raftfsm.FailoverOutcome) {
	t.Helper()
	m, _ := n.State().Master("m")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
		Master: "m", Epoch: m.Failover.Epoch, Outcome: outcome, Reason: "test",
	}}})
}

// progressOf is a row as one line.
func progressOf(f *sentinelv1.Failover) string {
	return fmt.Sprintf("%s>%s steps %d switched %t %s", f.GetFrom().GetHost(), f.GetTo().GetHost(), len(f.GetSteps()), f.GetSwitched(),
		strings.ToLower(strings.TrimPrefix(f.GetOutcome().String(), "FAILOVER_OUTCOME_")))
}

// told gives the next message of a stream as one line, its end as "end", an error as its reason.
func told[T interface{ GetFailover() *sentinelv1.Failover }](recv func() (T, error)) func() string {
	return func() string {
		m, err := recv()
		switch {
		case errors.Is(err, io.EOF):
			return "end"
		case err != nil:
			return ReasonOf(err).String()
		}
		return progressOf(m.GetFailover())
	}
}

// switchover begins one and gives the first answer, and the messages after it.
func (r *rig) switchover(t *testing.T, alter ...func(*sentinelv1.SwitchoverMasterRequest)) (*sentinelv1.SwitchoverMasterResponse, func() string, error) {
	t.Helper()
	req := &sentinelv1.SwitchoverMasterRequest{Name: "m", RequestId: "op-1"}
	for _, f := range alter {
		f(req)
	}
	stream, err := r.admin.SwitchoverMaster(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	return first, told(stream.Recv), err
}

// operation follows one.
func (r *rig) operation(t *testing.T, id string) func() string {
	t.Helper()
	stream, err := r.admin.WatchOperation(t.Context(), &sentinelv1.WatchOperationRequest{OperationId: id})
	if err != nil {
		t.Fatal(err)
	}
	return told(stream.Recv)
}

// TestSwitchoverTellsItsSteps: the row at once, each step, the switch, the end; a repeat tells the same and moves nothing.
func TestSwitchoverTellsItsSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := movable(t)
		first, next, err := r.switchover(t)
		if err != nil || !first.GetChanged() || first.GetOperationId() != "op-1" || first.GetEpoch() != 1 ||
			first.GetFailover().GetKind() != sentinelv1.FailoverKind_FAILOVER_KIND_PLANNED {
			t.Fatalf("%v, %v", first, err)
		}
		if m, _ := r.node.State().Master("m"); m.Failover.Kind != raftfsm.KindPlanned || m.Failover.MaxWaitMs != 5000 {
			t.Errorf("row %+v", m.Failover)
		}
		repeat, again, err := r.switchover(t)
		if err != nil || repeat.GetChanged() || repeat.GetEpoch() != 1 || r.policy.begun != 1 {
			t.Fatalf("repeated: %v, %v", repeat, err)
		}
		watch := r.operation(t, "op-1")
		if got := watch(); got != "10.0.0.1>10.0.0.2 steps 0 switched false unspecified" {
			t.Error(got)
		}
		for _, deed := range []struct {
			do   func()
			want string
		}{
			{func() { r.node.took(t, "pause") }, "10.0.0.1>10.0.0.2 steps 1 switched false unspecified"},
			{func() { r.quorum(t, "m", 1); r.node.took(t, "equal") }, "10.0.0.1>10.0.0.2 steps 2 switched false unspecified"},
			{func() { r.node.switched(t) }, "10.0.0.1>10.0.0.2 steps 3 switched true unspecified"},
			{func() { r.node.ended(t, raftfsm.OutcomeCompleted) }, "10.0.0.1>10.0.0.2 steps 3 switched true completed"},
			{func() {}, "end"},
		} {
			synctest.Wait()
			deed.do()
			for who, next := range map[string]func() string{"the first": next, "the repeat": again, "the watch": watch} {
				if got := next(); got != deed.want {
					t.Errorf("%s: %s, want %s", who, got, deed.want)
				}
			}
		}
		late, next, err := r.switchover(t)
		if err != nil || late.GetChanged() || progressOf(late.GetFailover()) != "10.0.0.1>10.0.0.2 steps 3 switched true completed" || next() != "end" {
			t.Errorf("repeated after its end: %v, %v", late, err)
		}
		if watch := r.operation(t, "op-1"); watch() != "10.0.0.1>10.0.0.2 steps 3 switched true completed" || watch() != "end" {
			t.Error("watched after its end")
		}
	})
}

// TestSwitchoverRefused: what cannot be done without loss is refused with its reason, and nothing is begun.
func TestSwitchoverRefused(t *testing.T) {
	const (
		invalidArgument = sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT
		noGoodReplica   = sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA
		masterDown      = sentinelv1.ErrorReason_ERROR_REASON_MASTER_DOWN
	)
	type request = sentinelv1.SwitchoverMasterRequest
	for _, c := range []struct {
		name   string
		with   func(t *testing.T, r *rig, fleet fakeFleet)
		alter  func(*request)
		code   codes.Code
		reason sentinelv1.ErrorReason
		says   string
	}{
		{"too short", nil, func(q *request) { q.MaxWaitMs = 99 }, codes.InvalidArgument, invalidArgument, "100 to 60000"},
		{"too long", nil, func(q *request) { q.MaxWaitMs = 60_001 }, codes.InvalidArgument, invalidArgument, "100 to 60000"},
		{"bad id", nil, func(q *request) { q.RequestId = "a\nb" }, codes.InvalidArgument, invalidArgument, "request_id"},
		{"bad address", nil, func(q *request) { q.To = addr("h", 0) }, codes.InvalidArgument, invalidArgument, "to"},
		{"unknown", nil, func(q *request) { q.Name = "x" }, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND, "x"},
		{"stranger", nil, func(q *request) { q.To = addr("10.0.0.9", 6379) }, codes.FailedPrecondition, noGoodReplica, "is no replica of m"},
		{
			"revision", nil, func(q *request) { q.ExpectedRevision = 1 },
			codes.Aborted, sentinelv1.ErrorReason_ERROR_REASON_REVISION_MISMATCH, "revision",
		},
		{
			"objectively down",
			func(t *testing.T, r *rig, _ fakeFleet) {
				r.report(t, "a-1", raftfsm.CauseTimeout)
				r.report(t, "b-1", raftfsm.CauseTimeout)
			}, nil, codes.FailedPrecondition, masterDown, "is objectively down",
		},
		{
			"silent",
			func(_ *testing.T, _ *rig, fleet fakeFleet) {
				fleet["10.0.0.1:6379"] = detector.Observation{Down: true, Cause: raftfsm.CauseTimeout}
			}, nil, codes.FailedPrecondition, masterDown, "does not answer (timeout)",
		},
		{
			"rejects us",
			func(_ *testing.T, _ *rig, fleet fakeFleet) {
				fleet["10.0.0.1:6379"] = detector.Observation{Down: true, Cause: raftfsm.CauseAuth, AuthRejected: true}
			}, nil, codes.FailedPrecondition, masterDown, "rejects our password",
		},
		{
			"held",
			func(t *testing.T, r *rig, _ fakeFleet) {
				m, _ := r.node.State().Master("m")
				r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{
					Name: "m", Generation: m.Generation, Reason: "two histories",
				}}})
			}, nil, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_UNSETTLED, "two histories",
		},
		{
			"in progress",
			func(t *testing.T, r *rig, _ fakeFleet) {
				if _, err := r.admin.FailoverMaster(t.Context(), &sentinelv1.FailoverMasterRequest{Name: "m", Force: true}); err != nil {
					t.Fatal(err)
				}
			}, nil, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FAILOVER_IN_PROGRESS, "is under way",
		},
		{
			"in maintenance",
			func(t *testing.T, r *rig, _ fakeFleet) { r.maintain(t, "10.0.0.2") },
			func(q *request) { q.To = addr("10.0.0.2", 6379) }, codes.FailedPrecondition, noGoodReplica, "in maintenance",
		},
		{
			"in maintenance, only asked",
			func(t *testing.T, r *rig, _ fakeFleet) { r.maintain(t, "10.0.0.2") },
			func(q *request) { q.To, q.ValidateOnly = addr("10.0.0.2", 6379), true }, codes.FailedPrecondition, noGoodReplica, "in maintenance",
		},
		{
			"cannot be promoted, only asked", nil,
			func(q *request) { q.To, q.ValidateOnly = addr("10.0.0.3", 6379), true }, codes.FailedPrecondition, noGoodReplica, "loads its data",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			fleet := fakeFleet{}
			r := movable(t, func(o *Options) { o.Fleet = fleet })
			r.policy.rejected = []raftfsm.Candidate{{Addr: raftfsm.Addr{Host: "10.0.0.3", Port: 6379}, Rejection: "loading", Detail: "loads its data"}}
			if c.with != nil {
				c.with(t, r, fleet)
			}
			before := r.node.State().Epoch()
			_, _, err := r.switchover(t, func(q *request) {
				if c.alter != nil {
					c.alter(q)
				}
			})
			wantError(t, err, c.code, c.reason)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
			if r.node.State().Epoch() != before {
				t.Error("something was begun")
			}
		})
	}
}

// maintain puts an instance into maintenance.
func (r *rig) maintain(t *testing.T, host string) {
	t.Helper()
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{
		Instance: &raftlogv1.Address{Host: host, Port: 6379},
	}}})
}

// TestSwitchoverAtAnOldLevel: nodes of the last release could not read the row.
func TestSwitchoverAtAnOldLevel(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	r.replica(t, "10.0.0.2")
	_, _, err := r.switchover(t, func(q *sentinelv1.SwitchoverMasterRequest) { q.ValidateOnly = true })
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FEATURE_LEVEL)
}

// TestSwitchoverThatNeedsNothing: to the master, and one that is only asked about.
func TestSwitchoverThatNeedsNothing(t *testing.T) {
	fleet := fakeFleet{"10.0.0.1:6379": {Info: &detector.Info{Version: "6.0.16"}}}
	r := movable(t, func(o *Options) { o.Fleet = fleet })
	first, next, err := r.switchover(t, func(q *sentinelv1.SwitchoverMasterRequest) { q.To = addr("10.0.0.1", 6379) })
	if err != nil || first.GetChanged() || first.GetFailover() != nil || next() != "end" {
		t.Errorf("to the master: %v, %v", first, err)
	}
	m, _ := r.node.State().Master("m")
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: m.Name, Reason: "update"}}})
	dry, next, err := r.switchover(t, func(q *sentinelv1.SwitchoverMasterRequest) { q.ValidateOnly, q.MaxWaitMs = true, 700 })
	if err != nil || !dry.GetChanged() || dry.GetFailover().GetTo().GetHost() != "10.0.0.2" || dry.GetFailover().GetMaxWaitMs() != 700 ||
		next() != "end" || r.policy.begun != 0 {
		t.Errorf("only asked: %v, %v", dry, err)
	}
	if len(dry.GetWarnings()) != 1 || !strings.Contains(dry.GetWarnings()[0], "6.0.16") {
		t.Errorf("warnings %q", dry.GetWarnings())
	}
	// A paused set may be switched over by hand.
	if first, _, err = r.switchover(t); err != nil || !first.GetChanged() || len(first.GetWarnings()) != 1 {
		t.Errorf("paused: %v, %v", first, err)
	}
}

func TestVersionsThatPauseWrites(t *testing.T) {
	for version, want := range map[string]bool{
		"2.8.24": false, "5.0.14": false, "6.0.16": false, "6.2.0": true, "6.10.1": true, "7.0.15": true, "9.0.0": true, "255.255.255": true, "odd": true,
	} {
		if got := pausesWrites(version); got != want {
			t.Errorf("%s: %t", version, got)
		}
	}
}

// TestSwitchoverThroughAFollower: the leader begins it, the asked node tells it from what it applies, though it lags and the
// leader is lost.
func TestSwitchoverThroughAFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leader, follower := movable(t), newRig(t)
		applies := func() {
			st := leader.node.State()
			follower.node.set(func(n *fakeNode) { n.publish(st) })
		}
		applies()
		follower.node.set(func(n *fakeNode) { n.status.Role = "follower" })
		_, _, err := follower.switchover(t)
		wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
		follower.node.set(func(n *fakeNode) { n.leader = leader.conn })
		_, _, err = follower.switchover(t, func(q *sentinelv1.SwitchoverMasterRequest) { q.To = addr("10.0.0.9", 6379) })
		wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA)
		behind := leader.node.State()
		first, next, err := follower.switchover(t)
		if err != nil || !first.GetChanged() || progressOf(first.GetFailover()) != "10.0.0.1>10.0.0.2 steps 0 switched false unspecified" {
			t.Fatalf("%v, %v", first, err)
		}
		follower.node.set(func(n *fakeNode) { n.publish(behind) }) // woken, and still behind
		synctest.Wait()
		leader.node.took(t, "pause")
		applies()
		if got := next(); got != "10.0.0.1>10.0.0.2 steps 1 switched false unspecified" {
			t.Error(got)
		}
		_ = leader.conn.Close()
		leader.node.ended(t, raftfsm.OutcomeAborted)
		applies()
		if got, end := next(), next(); got != "10.0.0.1>10.0.0.2 steps 1 switched false aborted" || end != "end" {
			t.Error(got, end)
		}
		_, _, err = follower.switchover(t, func(q *sentinelv1.SwitchoverMasterRequest) { q.RequestId = "op-2" })
		wantError(t, err, codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_UNKNOWN_OUTCOME)
	})
}

// TestWatchOperationThatIsUnknown: it is asked for once of all that was committed; one that vanishes has an end too.
func TestWatchOperationThatIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := movable(t)
		if got := r.operation(t, "op-9")(); got != "ERROR_REASON_OPERATION_NOT_FOUND" {
			t.Error(got)
		}
		if got := r.operation(t, "")(); got != "ERROR_REASON_INVALID_ARGUMENT" {
			t.Error(got)
		}
		r.node.set(func(n *fakeNode) { n.readErr = errNoLeader })
		if got := r.operation(t, "op-9")(); got != "ERROR_REASON_NO_LEADER" {
			t.Error(got)
		}
		r.node.set(func(n *fakeNode) { n.readErr = nil })
		if _, _, err := r.switchover(t); err != nil {
			t.Fatal(err)
		}
		r.node.set(func(n *fakeNode) { n.readErr = errNoLeader }) // what is applied here is told without a leader
		next := r.operation(t, "op-1")
		if got := next(); got != "10.0.0.1>10.0.0.2 steps 0 switched false unspecified" {
			t.Error(got)
		}
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
		if got, end := next(), next(); got != "10.0.0.1>10.0.0.2 steps 0 switched false removed" || end != "end" {
			t.Error(got, end)
		}
	})
}

// TestOperationOfANodeThatStops: whoever follows there is sent elsewhere; one that follows hears every 10 s.
func TestOperationOfANodeThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := movable(t)
		_, next, err := r.switchover(t)
		if err != nil {
			t.Fatal(err)
		}
		if got := next(); got != "10.0.0.1>10.0.0.2 steps 0 switched false unspecified" { // 10 s later
			t.Error(got)
		}
		watch := r.operation(t, "op-1")
		watch()
		r.stop()
		for _, next := range []func() string{next, watch} {
			if got := next(); got != "ERROR_REASON_NODE_STOPPING" {
				t.Error(got)
			}
		}
	})
}

// TestSwitchoverAnswersOtherWires: the first answer alone, through a node that does not lead too.
func TestSwitchoverAnswersOtherWires(t *testing.T) {
	leader, follower := movable(t), newRig(t)
	follower.node.set(func(n *fakeNode) { n.status.Role, n.leader = "follower", leader.conn })
	first, err := follower.server.Switchover(t.Context(), &sentinelv1.SwitchoverMasterRequest{Name: "m"})
	if err != nil || !first.GetChanged() || len(first.GetOperationId()) != 32 {
		t.Errorf("%v, %v", first, err)
	}
}
