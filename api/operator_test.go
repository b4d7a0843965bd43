package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/detector"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func (r *rig) tryMonitor(ctx context.Context, name, host string, force bool) (*sentinelv1.MonitorMasterResponse, error) {
	return r.admin.MonitorMaster(ctx, &sentinelv1.MonitorMasterRequest{
		Name: name, Address: addr(host, 6379), Options: &sentinelv1.MasterOptions{Quorum: proto.Int32(2)}, Force: force,
	})
}

// TestOneInstanceInOneSet: another spelling of an address that a set has is refused by the process behind it.
func TestOneInstanceInOneSet(t *testing.T) {
	master := Inspection{Info: &detector.Info{Role: raftfsm.RoleMaster, RunID: "run1"}}
	replica := Inspection{Info: &detector.Info{Role: raftfsm.RoleReplica, RunID: "10.0.0.2", MasterHost: "10.0.0.1", MasterPort: 6379}}
	r := newRig(t, func(o *Options) {
		o.Inspector = fakeInspector{"10.0.0.1:6379": master, "LOCALHOST:6379": master, "again:6379": replica}
	})
	r.monitor(t, "m", "10.0.0.1")
	r.reached(t, "run1")
	r.replica(t, "10.0.0.2")
	before := r.node.proposed
	for host, at := range map[string]string{"LOCALHOST": "10.0.0.1:6379", "again": "10.0.0.2:6379"} {
		for _, force := range []bool{false, true} {
			_, err := r.tryMonitor(t.Context(), "other", host, force)
			wantError(t, err, codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_ADDRESS_TAKEN)
			for _, w := range []string{host, at, "master m;", "master other"} {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
		}
	}
	if r.node.proposed != before {
		t.Error("a refused change is in the log")
	}
}

// TestHostsThatNameNoMachine are refused before anything else is asked.
func TestHostsThatNameNoMachine(t *testing.T) {
	r := newRig(t)
	for _, host := range []string{"0.0.0.0", "::", "::ffff:0.0.0.0", "300.1.1.1", "127.1", "127.1.", "10.0.0.1.5", "1234"} {
		_, err := r.tryMonitor(t.Context(), "m", host, true)
		wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
		if !strings.Contains(err.Error(), host) {
			t.Errorf("%s: %q", host, err)
		}
	}
	for _, host := range []string{"10.0.0.1", "fd00::1", "1.redis.example", "redis-1", "r1.", "127.0.0.1"} {
		if err := CheckHost(host); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestASentinelIsNoMaster(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Inspector = fakeInspector{"10.0.0.1:6379": {Sentinel: true}} })
	_, err := r.tryMonitor(t.Context(), "m", "10.0.0.1", true)
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NOT_A_MASTER)
	if !strings.Contains(err.Error(), "is a Sentinel, not a Redis server") {
		t.Error(err)
	}
}

// TestForcedLogin: a warning never says that nothing was changed, a refusal always does.
func TestForcedLogin(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Inspector = fakeInspector{"10.0.0.1:6379": {AuthRejected: "WRONGPASS"}} })
	r.monitor(t, "m", "10.0.0.1")
	req := &sentinelv1.UpdateMasterRequest{Name: "m", Options: &sentinelv1.MasterOptions{AuthPass: new("geheim")}}
	_, err := r.admin.UpdateMaster(t.Context(), req)
	if err == nil || !strings.HasSuffix(err.Error(), ": nothing was changed"+ForceHint) {
		t.Errorf("refused: %v", err)
	}
	req.Force = true
	resp, err := r.admin.UpdateMaster(t.Context(), req)
	if err != nil || !resp.GetChanged() || strings.Contains(strings.Join(resp.GetWarnings(), ""), "nothing was changed") {
		t.Errorf("forced: %v, %v", resp, err)
	}
}

// TestStatusOfAMaster: what this node sees and what single nodes report is told, and is not healthy.
func TestStatusOfAMaster(t *testing.T) {
	const at = "10.0.0.1:6379"
	up := detector.Observation{Connected: true, LastReply: time.Now(), Info: &detector.Info{Role: raftfsm.RoleMaster}}
	for name, c := range map[string]struct {
		seen  detector.Observation
		vote  raftfsm.Cause
		fresh bool
		want  sentinelv1.MasterStatus
		says  string
	}{
		"well":             {seen: up, want: sentinelv1.MasterStatus_MASTER_STATUS_OK},
		"never reached":    {fresh: true, want: sentinelv1.MasterStatus_MASTER_STATUS_UNKNOWN, says: "was never reached"},
		"reached just now": {fresh: true, seen: up, want: sentinelv1.MasterStatus_MASTER_STATUS_OK},
		"down for this node": {
			seen: detector.Observation{Down: true, Cause: raftfsm.CauseTimeout}, want: sentinelv1.MasterStatus_MASTER_STATUS_SDOWN,
			says: "is down for node a",
		},
		"rejects this node": {
			seen: detector.Observation{Down: true, Cause: raftfsm.CauseAuth, AuthRejected: true},
			want: sentinelv1.MasterStatus_MASTER_STATUS_AUTH_REJECTED, says: "wants a password from node a",
		},
		"rejects another node": {
			seen: up, vote: raftfsm.CauseAuth, want: sentinelv1.MasterStatus_MASTER_STATUS_AUTH_REJECTED, says: "wants a password from node b",
		},
		"down for another node": {seen: up, vote: raftfsm.CauseTimeout, want: sentinelv1.MasterStatus_MASTER_STATUS_SDOWN, says: "1 vote, quorum 2"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Fleet = fakeFleet{at: c.seen} })
			r.monitor(t, "m", "10.0.0.1")
			if !c.fresh {
				r.reached(t, "run1")
			}
			if c.vote != 0 {
				r.report(t, "b-1", c.vote)
			}
			got, err := r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{Name: "m"})
			if err != nil || got.GetMaster().GetStatus() != c.want {
				t.Errorf("%v, %v; want %v", got.GetMaster().GetStatus(), err, c.want)
			}
			st, err := r.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
			if err != nil || st.GetHealthy() != (c.says == "") || !strings.Contains(strings.Join(st.GetProblems(), "; "), c.says) {
				t.Errorf("healthy %t, %q, %v; want %q", st.GetHealthy(), st.GetProblems(), err, c.says)
			}
		})
	}
}

func TestConflictsAreProblems(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	r.reached(t, "run1")
	r.monitor(t, "other", "10.0.0.5")
	r.replica(t, "10.0.0.5") // m's master lists the other set's
	st, err := r.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
	if want := "10.0.0.5:6379 is listed by the master of m and belongs to master other"; err != nil || !slices.Contains(st.GetProblems(), want) {
		t.Errorf("%q, %v", st.GetProblems(), err)
	}
}

// TestWhatForbidsToGoOn: an upgrade asks before each node whether the next one may be stopped.
func TestWhatForbidsToGoOn(t *testing.T) {
	all := []string{"a-1", "b-1", "c-1"}
	for name, c := range map[string]struct {
		status, third func(*NodeStatus) // of the leader, and of node c
		deaf          bool              // it is node c that does not answer
		begin         raftlogv1.FailoverKind
		says          string
	}{
		"nothing":           {},
		"one is loading":    {third: func(s *NodeStatus) { s.Loading = true }, says: "node c has not caught up since it started"},
		"one hears nobody":  {third: func(s *NodeStatus) { s.LeaderID = "" }, says: "node c knows of no leader"},
		"one is deaf":       {deaf: true, says: "node c is heard by the leader and does not answer at 127.0.0.1:3"},
		"one is away":       {status: func(s *NodeStatus) { s.Heard = all[:2]; s.Lagging = all[2:] }, says: "node c is not heard"},
		"one lags":          {status: func(s *NodeStatus) { s.Lagging = all[2:] }, says: "node c has not caught up with the leader's log"},
		"one is to vote":    {status: func(s *NodeStatus) { s.Joining = all[2:] }, says: "node c does not vote yet"},
		"one is to come":    {status: func(s *NodeStatus) { s.Awaited = []string{"d"} }, says: "node d promised to follow and has not joined yet"},
		"two clusters meet": {status: func(s *NodeStatus) { s.Strangers = []string{"d (h:1), of cluster c2"} }, says: "cluster-peers names a node of another cluster: d (h:1), of cluster c2"},
		"a clock is astray": {status: func(s *NodeStatus) { s.Astray = map[string]time.Duration{"b-1": -2 * time.Hour} }, says: "the clocks of node b and of the leader a are 2h0m0s apart"},
		"a failover":        {begin: raftlogv1.FailoverKind_FAILOVER_KIND_FORCED, says: "the failover 1 of master m has not ended"},
		"a switchover":      {begin: raftlogv1.FailoverKind_FAILOVER_KIND_PLANNED, says: "the switchover 1 of master m has not ended"},
	} {
		t.Run(name, func(t *testing.T) {
			leader, follower, third := newRig(t), newRig(t), newRig(t)
			for _, r := range []*rig{leader, follower, third} {
				r.raise(t)
				r.at(t, "c", 3)
				r.monitor(t, "m", "10.0.0.1")
				r.replica(t, "10.0.0.2")
				r.reached(t, "run1")
			}
			leader.node.set(func(n *fakeNode) {
				n.status.Heard = all
				n.others = map[string]*grpc.ClientConn{"b-1": follower.conn, "c-1": third.conn}
				if c.status != nil {
					c.status(&n.status)
				}
				if c.deaf || !slices.Contains(n.status.Heard, "c-1") {
					delete(n.others, "c-1")
				}
			})
			follower.node.set(func(n *fakeNode) {
				n.status.Role, n.status.RaftID, n.status.NodeID, n.leader = "follower", "b-1", "b", leader.conn
				n.others = map[string]*grpc.ClientConn{"a-1": leader.conn}
				if to := leader.node.others["c-1"]; to != nil {
					n.others["c-1"] = to
				}
			})
			third.node.set(func(n *fakeNode) {
				n.status.Role, n.status.RaftID, n.status.NodeID = "follower", "c-1", "c"
				if c.third != nil {
					c.third(&n.status)
				}
			})
			if c.begin != 0 {
				begin, err := leader.policy.row(Order{Master: "m", Kind: c.begin, MaxWait: time.Minute, OperationID: "op"})
				if err != nil {
					t.Fatal(err)
				}
				leader.node.do(t, begin)
			}
			for _, r := range []*rig{leader, follower} {
				st, err := r.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
				if got := strings.Join(st.GetProblems(), "; "); err != nil || got != c.says || st.GetHealthy() != (c.says == "") {
					t.Errorf("node %s: %v, %q, %v; want %q", st.GetNodeId(), st.GetHealthy(), got, err, c.says)
				}
			}
		})
	}
}

// TestStatusTellsVersions, oldest level first, by what each member has registered.
func TestStatusTellsVersions(t *testing.T) {
	r := newRig(t)
	register := func(id, version string, level uint32) {
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
			RaftId: id + "-1", NodeId: id, Version: version, MaxLevel: level,
		}}})
	}
	tell := func() string {
		st, err := r.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, v := range st.GetVersions() {
			out = append(out, fmt.Sprint(v.GetVersion(), " ", v.GetFeatureLevel(), " ", v.GetNodeIds()))
		}
		return strings.Join(out, "; ")
	}
	register("a", "0.4.0", 4)
	register("b", "0.1.0", 1)
	register("c", "0.4.0", 4)
	r.node.servers("a-1", "b-1", "c-1", "d-1") // which has not registered
	if got, want := tell(), "0.1.0 1 [b]; 0.4.0 4 [a c]"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	register("b", "0.4.0", 4)
	if got, want := tell(), "0.4.0 4 [a b c]"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestEveryNodeTellsTheSame: a follower tells what only its leader can know, or that it cannot.
func TestEveryNodeTellsTheSame(t *testing.T) {
	leader, follower := newRig(t), newRig(t)
	leader.node.set(func(n *fakeNode) {
		n.status.Heard = []string{"a-1", "b-1"}
		n.contacts = map[string]Contact{"a-1": {true, time.Now()}, "b-1": {true, time.Now()}, "c-1": {false, time.Now().Add(-time.Hour)}, "d-1": {}}
	})
	leader.node.servers("a-1", "b-1", "c-1", "d-1")
	follower.node.servers("a-1", "b-1", "c-1", "d-1")
	follower.node.set(func(n *fakeNode) {
		n.status.Role, n.status.RaftID, n.status.NodeID, n.leader = "follower", "b-1", "b", leader.conn
	})
	st, err := follower.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
	if err != nil || st.GetHealthy() || st.GetLocal() || st.GetNodeId() != "b" || !slices.Contains(st.GetProblems(), "node c is not heard") {
		t.Errorf("%v, %v", st, err)
	}
	nodes, err := follower.cluster.ListNodes(t.Context(), &sentinelv1.ListNodesRequest{})
	if err != nil || !nodes.GetNodes()[1].GetHeard() || nodes.GetNodes()[2].Heard == nil || nodes.GetNodes()[2].GetHeard() {
		t.Errorf("%v, %v", nodes, err)
	}
	const hour = int64(time.Hour / time.Millisecond)
	if b, c, d := nodes.GetNodes()[1], nodes.GetNodes()[2], nodes.GetNodes()[3]; b.LastContactMs == nil || b.GetLastContactMs() > hour/2 ||
		c.GetLastContactMs() < hour-1000 || c.GetLastContactMs() > hour*3/2 || d.Heard == nil || d.LastContactMs != nil {
		t.Errorf("last contacts: %v", nodes)
	}
	local, err := follower.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
	if err != nil || !local.GetLocal() || !local.GetHealthy() {
		t.Errorf("local: %v, %v", local, err)
	}
	leader.node.set(func(n *fakeNode) { n.status.Heard = []string{"a-1", "b-1", "c-1", "d-1"} })
	follower.node.set(func(n *fakeNode) { n.others = map[string]*grpc.ClientConn{"a-1": leader.conn} })
	for i, id := range []string{"c", "d"} {
		r := newRig(t)
		r.node.servers("a-1", "b-1", "c-1", "d-1")
		r.node.set(func(n *fakeNode) { n.status.Role, n.status.RaftID, n.status.NodeID = "follower", id+"-1", id })
		follower.at(t, id, uint32(i+1))
		follower.node.set(func(n *fakeNode) { n.others[id+"-1"] = r.conn })
	}
	if st, _ := follower.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{}); !st.GetHealthy() {
		t.Errorf("all heard: %v", st)
	}
	follower.node.set(func(n *fakeNode) { n.leader = nil })
	if st, _ := follower.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{}); st.GetHealthy() || !st.GetLocal() {
		t.Errorf("the leader does not answer: %v", st)
	}
	nodes, err = follower.cluster.ListNodes(t.Context(), &sentinelv1.ListNodesRequest{})
	if err != nil || nodes.GetNodes()[1].Heard != nil || nodes.GetNodes()[1].LastContactMs != nil {
		t.Errorf("the leader does not answer: %v, %v", nodes, err)
	}
}

// TestReadsDoNotWaitForALeaderThatIsLongGone: they fail at once, changes still look for one.
func TestReadsDoNotWaitForALeaderThatIsLongGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor(t, "m", "10.0.0.1")
		alone := func(contact time.Duration) {
			r.node.set(func(n *fakeNode) {
				n.hang, n.status.Role, n.status.LeaderID, n.status.LastContact = true, "candidate", "", contact
			})
		}
		read := func() (time.Duration, error) {
			began := time.Now()
			_, err := r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{Name: "m"})
			return time.Since(began), err
		}
		alone(leaderSilence + 1)
		took, err := read()
		wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
		if took > 0 {
			t.Errorf("took %v", took)
		}
		began := time.Now()
		_, err = r.admin.ExplainMaster(t.Context(), &sentinelv1.ExplainMasterRequest{Name: "m"})
		wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
		if took := time.Since(began); took > 0 {
			t.Errorf("explain took %v", took)
		}
		for _, contact := range []time.Duration{leaderSilence / 2, -1} { // an election, and a node that has just begun
			alone(contact)
			if took, err := read(); took == 0 {
				t.Errorf("contact %v ago: %v at once", contact, err)
			}
			r.server.began = time.Now()
		}
		alone(leaderSilence + 1)
		_, err = r.admin.RemoveMaster(t.Context(), &sentinelv1.RemoveMasterRequest{Name: "m"})
		wantError(t, err, codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_TIMEOUT)
		if strings.Contains(err.Error(), "LOCAL") {
			t.Errorf("the refusal of a change tells how to read: %q", err)
		}
		r.node.set(func(n *fakeNode) { n.status.Role = roleRemoved })
		_, err = read()
		wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NODE_REMOVED)
	})
}

func TestErrorsAreShort(t *testing.T) {
	r := newRig(t)
	long := strings.Repeat("x", 100_000)
	for name, call := range map[string]func() error{
		"monitor": func() error { _, err := r.tryMonitor(t.Context(), long, "10.0.0.1", false); return err },
		"host":    func() error { _, err := r.tryMonitor(t.Context(), "m", long, false); return err },
		"read": func() error {
			_, err := r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{Name: long})
			return err
		},
		"node": func() error {
			_, err := r.cluster.RemoveNode(t.Context(), &sentinelv1.RemoveNodeRequest{Node: long})
			return err
		},
	} {
		if err := call(); err == nil || len(err.Error()) > 400 {
			t.Errorf("%s: %d bytes", name, len(err.Error()))
		}
	}
}

func TestMonitorAgainSaysWhatDiffers(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	_, err := r.admin.MonitorMaster(t.Context(), &sentinelv1.MonitorMasterRequest{
		Name: "m", Address: addr("10.0.0.1", 6379), Options: &sentinelv1.MasterOptions{Quorum: new(int32(3)), AuthPass: new("geheim")},
	})
	wantError(t, err, codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_DUPLICATE_MASTER)
	if !strings.Contains(err.Error(), `quorum is "2", not "3"; auth-pass)`) || strings.Contains(err.Error(), "geheim") {
		t.Error(err)
	}
}

func TestTheMasterCannotBeForgotten(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	_, err := r.admin.ForgetReplica(t.Context(), &sentinelv1.ForgetReplicaRequest{Address: addr("10.0.0.1", 6379)})
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA)
}

// TestAStepSaysWhatItWas: the event of a step that has no event of its own.
func TestAStepSaysWhatItWas(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	r.replica(t, "10.0.0.2")
	f, err := r.admin.FailoverMaster(t.Context(), &sentinelv1.FailoverMasterRequest{Name: "m", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	before := r.node.State().Index()
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: "m", Epoch: f.GetEpoch(), Step: &raftlogv1.Step{Name: raftfsm.StepFence, Instance: &raftlogv1.Address{Host: "10.0.0.1", Port: 6379}},
	}}})
	events, _ := r.node.State().EventsSince(endOf(before))
	for e := range events {
		if got := Payload(e); got != "master m 10.0.0.1 6379 fence" {
			t.Errorf("%s: %q", e.Kind, got)
		}
	}
}

// TestLagIsBehindTheMasterAlone: a replica of another instance has an offset that tells nothing.
func TestLagIsBehindTheMasterAlone(t *testing.T) {
	follows := func(host string) detector.Observation {
		return detector.Observation{Info: &detector.Info{Role: raftfsm.RoleReplica, ReplID: "r", Offset: 90, MasterHost: host, MasterPort: 6379}}
	}
	ahead := follows("10.0.0.1") // of what was read of the master
	ahead.Info.Offset = 110
	r := newRig(t, func(o *Options) {
		o.Fleet = fakeFleet{
			"10.0.0.1:6379": {Info: &detector.Info{Role: raftfsm.RoleMaster, ReplID: "r", Offset: 100}},
			"10.0.0.2:6379": follows("10.0.0.1"), "10.0.0.3:6379": follows("10.0.0.2"), "10.0.0.4:6379": follows("the-master"),
			"10.0.0.5:6379": ahead,
		}
	})
	r.monitor(t, "m", "10.0.0.1")
	for _, host := range []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"} {
		r.replica(t, host)
	}
	resp, err := r.app.ListReplicas(t.Context(), &sentinelv1.ListReplicasRequest{Name: "m"})
	if err != nil {
		t.Fatal(err)
	}
	var lags []int64
	for _, in := range resp.GetReplicas() {
		lags = append(lags, in.GetObservation().GetLagBytes())
	}
	if !slices.Equal(lags, []int64{10, -1, 10, -1}) {
		t.Errorf("lags %v", lags)
	}
}
