package api

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/detector"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestFailoverMaster(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	call := func(alter func(*sentinelv1.FailoverMasterRequest)) (*sentinelv1.FailoverMasterResponse, error) {
		req := &sentinelv1.FailoverMasterRequest{Name: "m", RequestId: "op-1", Force: true}
		alter(req)
		return r.admin.FailoverMaster(t.Context(), req)
	}
	same := func(*sentinelv1.FailoverMasterRequest) {}
	_, err := call(same)
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA)
	r.replica(t, "10.0.0.2")
	_, err = call(func(q *sentinelv1.FailoverMasterRequest) { q.Force = false })
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_HEALTHY)
	same1, err := call(func(q *sentinelv1.FailoverMasterRequest) { q.To, q.Force = addr("10.0.0.1", 6379), false })
	if err != nil || same1.GetChanged() || same1.GetFailover() != nil {
		t.Errorf("to the master: %v, %v", same1, err)
	}
	_, err = call(func(q *sentinelv1.FailoverMasterRequest) { q.To = addr("10.0.0.9", 6379) })
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA)
	_, err = call(func(q *sentinelv1.FailoverMasterRequest) { q.Name = "x" })
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND)
	before := r.policy.begun
	dry, err := call(func(q *sentinelv1.FailoverMasterRequest) { q.ValidateOnly = true })
	if err != nil || dry.GetFailover().GetTo().GetHost() != "10.0.0.2" || r.policy.begun != before {
		t.Fatalf("validate only: %v, %v", dry, err)
	}
	first, err := call(same)
	if err != nil || !first.GetChanged() || first.GetEpoch() == 0 || first.GetFailover().GetTo().GetHost() != "10.0.0.2" {
		t.Fatalf("%v, %v", first, err)
	}
	again, err := call(same)
	if err != nil || again.GetChanged() || again.GetEpoch() != first.GetEpoch() || r.policy.begun != before+1 {
		t.Fatalf("repeated: %v, %v", again, err)
	}
	_, err = call(func(q *sentinelv1.FailoverMasterRequest) { q.RequestId = "op-2" })
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FAILOVER_IN_PROGRESS)
	r.monitor(t, "other", "10.0.1.1")
	_, err = call(func(q *sentinelv1.FailoverMasterRequest) { q.Name = "other" })
	wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
	// The story is kept, and the repeat is still known, when the row is closed.
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
		Master: "m", Epoch: first.GetEpoch(), Outcome: raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED, Reason: "test",
	}}})
	again, err = call(same)
	if err != nil || again.GetChanged() || again.GetFailover().GetOutcome() != sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED {
		t.Fatalf("repeated after its end: %v, %v", again, err)
	}
}

// TestDownMasterNeedsNoForce: this node's own verdict, or the cluster's, is enough.
func TestDownMasterNeedsNoForce(t *testing.T) {
	fleet := fakeFleet{}
	r := newRig(t, func(o *Options) { o.Fleet = fleet })
	r.monitor(t, "m", "10.0.0.1")
	r.replica(t, "10.0.0.2")
	call := func() error {
		_, err := r.admin.FailoverMaster(t.Context(), &sentinelv1.FailoverMasterRequest{Name: "m"})
		return err
	}
	for _, cause := range []raftfsm.Cause{raftfsm.CauseAuth, raftfsm.CauseTimeout} { // what this node alone sees
		fleet["10.0.0.1:6379"] = detector.Observation{Down: true, Cause: cause}
		wantError(t, call(), codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_HEALTHY)
	}
	r.report(t, "a-1", raftfsm.CauseTimeout)
	wantError(t, call(), codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_HEALTHY)
	r.report(t, "b-1", raftfsm.CauseTimeout)
	if err := call(); err != nil {
		t.Error(err)
	}
}

// TestExplain: a failover could happen where nothing stands in its way, and not merely where somebody would win it.
func TestExplain(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	explain := func() *sentinelv1.ExplainMasterResponse {
		t.Helper()
		x, err := r.admin.ExplainMaster(t.Context(), &sentinelv1.ExplainMasterRequest{Name: "m"})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if x := explain(); x.GetCanFailover() || x.GetCanSwitchover() || x.GetWinner() != nil || x.GetFailoverBlockers()[0].GetCode() != "no_replica" {
		t.Errorf("without a replica: %v", x)
	}
	r.replica(t, "10.0.0.2")
	if x := explain(); !x.GetCanFailover() || !x.GetCanSwitchover() || x.GetWinner() == nil || len(x.GetFailoverBlockers()) != 0 {
		t.Errorf("ready: %v", x)
	}
	r.replica(t, "10.0.0.3")
	if x := explain(); x.GetWinner().GetHost() != "10.0.0.2" || x.GetPlannedWinner().GetHost() != "10.0.0.3" || !x.GetPlannedCandidates()[0].GetChosen() {
		t.Errorf("a switchover would take another: %v", x)
	}
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "disks"}}})
	if x := explain(); x.GetCanFailover() || !x.GetCanSwitchover() || x.GetWinner() == nil || x.GetObstacles()[0] != "disks" {
		t.Errorf("paused: %v", x)
	}
}

// TestLossInJSON: a loss that is not known is null, and not 0.
func TestLossInJSON(t *testing.T) {
	for _, c := range []struct {
		loss raftfsm.Loss
		want string
	}{
		{raftfsm.Loss{}, `"loss_kind":"LOSS_KIND_UNSPECIFIED","loss_bytes":null`},
		{raftfsm.Loss{Kind: raftfsm.LossUnknown}, `"loss_kind":"LOSS_KIND_UNKNOWN","loss_bytes":null`},
		{raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 12}, `"loss_kind":"LOSS_KIND_LOWER_BOUND","loss_bytes":12`},
		{raftfsm.Loss{Kind: raftfsm.LossExact}, `"loss_kind":"LOSS_KIND_EXACT","loss_bytes":0`},
	} {
		r := newRig(t)
		r.monitor(t, "m", "10.0.0.1")
		r.replica(t, "10.0.0.2")
		r.policy.loss = c.loss
		x, err := r.admin.ExplainMaster(t.Context(), &sentinelv1.ExplainMasterRequest{Name: "m"})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(sentinelv1.JSON(x)); !strings.Contains(strings.ReplaceAll(got, "predicted_", ""), c.want) {
			t.Errorf("predicted: %s, want %s", got, c.want)
		}
		row := view{st: r.node.State()}.failover("m", &raftfsm.Failover{Loss: c.loss})
		if got := string(sentinelv1.JSON(row)); !strings.Contains(got, c.want) {
			t.Errorf("recorded: %s, want %s", got, c.want)
		}
	}
}

// TestForwarding: a follower passes leader's calls on, once.
func TestForwarding(t *testing.T) {
	leader := newRig(t)
	leader.monitor(t, "m", "10.0.0.1")
	leader.replica(t, "10.0.0.2")
	follower := newRig(t)
	follower.node.set(func(n *fakeNode) { n.status.Role = "follower" })
	explain := &sentinelv1.ExplainMasterRequest{Name: "m"}
	_, err := follower.admin.ExplainMaster(t.Context(), explain)
	wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
	follower.node.set(func(n *fakeNode) { n.leader = leader.conn })
	x, err := follower.admin.ExplainMaster(t.Context(), explain)
	if !x.GetCanSwitchover() || x.GetPredictedLossKind() != sentinelv1.LossKind_LOSS_KIND_LOWER_BOUND || x.GetPredictedLossBytes() != 12 || x.GetMasterAgeMs() != 7 {
		t.Errorf("%v", x)
	}
	if err != nil || !x.GetFromLeader() || x.GetWinner().GetHost() != "10.0.0.2" {
		t.Fatalf("%v, %v", x, err)
	}
	_, err = follower.admin.FailoverMaster(t.Context(), &sentinelv1.FailoverMasterRequest{Name: "m"})
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_HEALTHY)
	if _, err := follower.cluster.RemoveNode(t.Context(), &sentinelv1.RemoveNodeRequest{Node: "c"}); err != nil || leader.node.removed[0] != "c-1" {
		t.Errorf("removed %v, %v", leader.node.removed, err)
	}
	// LOCAL is answered here.
	explain.Consistency = sentinelv1.Consistency_CONSISTENCY_LOCAL
	_, err = follower.admin.ExplainMaster(t.Context(), explain)
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND)
	// The leader that the follower knew leads no more: no second hop, though it knows another.
	explain.Consistency = 0
	leader.node.set(func(n *fakeNode) {
		n.status.Role = "follower"
		n.leader = follower.conn
	})
	_, err = follower.admin.ExplainMaster(t.Context(), explain)
	wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
	// A connection that breaks leaves a change's outcome unknown.
	_ = leader.conn.Close()
	_, err = follower.admin.FailoverMaster(t.Context(), &sentinelv1.FailoverMasterRequest{Name: "m", RequestId: "op"})
	wantError(t, err, codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_UNKNOWN_OUTCOME)
}

func TestProtectedMode(t *testing.T) {
	node := false
	r := newRig(t, func(o *Options) {
		o.Protected = true
		o.FromNode = func(context.Context) bool { return node }
	})
	from := func(ip string) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}})
	}
	for _, ip := range []string{"127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1"} {
		if err := r.server.admit(from(ip)); err != nil {
			t.Errorf("%s: %v", ip, err)
		}
	}
	err := r.server.admit(from("192.0.2.1"))
	wantError(t, err, codes.PermissionDenied, sentinelv1.ErrorReason_ERROR_REASON_PROTECTED_MODE)
	if !strings.Contains(err.Error(), "192.0.2.1") || !strings.Contains(err.Error(), "protected-mode no") {
		t.Errorf("%q does not say what to do", err)
	}
	if err := r.server.admit(from("")); err == nil {
		t.Error("an unknown address was let in")
	}
	node = true
	if err := r.server.admit(from("192.0.2.1")); err != nil {
		t.Errorf("a node: %v", err)
	}
}

// TestActor: a caller cannot call itself another; a node may say for whom it asks.
func TestActor(t *testing.T) {
	node := false
	r := newRig(t, func(o *Options) { o.FromNode = func(context.Context) bool { return node } })
	ctx := metadata.NewIncomingContext(peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9)}}),
		metadata.Pairs(actorKey, "root"))
	if got := r.server.actor(ctx); got != "10.0.0.9" {
		t.Errorf("a client is %q", got)
	}
	node = true
	if got := r.server.actor(ctx); got != "root" {
		t.Errorf("a node asks for %q", got)
	}
}

func TestPaging(t *testing.T) {
	r := newRig(t)
	for i := range 25 {
		r.monitor(t, fmt.Sprintf("m%02d", i), fmt.Sprintf("10.0.0.%d", i+1))
	}
	var names []string
	token := ""
	for pages := 1; ; pages++ {
		resp, err := r.app.ListMasters(t.Context(), &sentinelv1.ListMastersRequest{PageSize: 10, PageToken: token})
		if err != nil || resp.GetTotal() != 25 {
			t.Fatalf("%v, %v", resp.GetTotal(), err)
		}
		for _, m := range resp.GetMasters() {
			names = append(names, m.GetName())
		}
		if token = resp.GetNextPageToken(); token == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		if pages == 1 {
			// What is removed meanwhile does not shift the next page.
			r.remove(t, "m03")
			r.monitor(t, "m03", "10.0.1.3")
		}
	}
	for i, name := range names {
		if name != fmt.Sprintf("m%02d", i) {
			t.Fatalf("names %v", names)
		}
	}
	first, _ := r.app.ListMasters(t.Context(), &sentinelv1.ListMastersRequest{PageSize: 1})
	_, err := r.admin.ListFailovers(t.Context(), &sentinelv1.ListFailoversRequest{PageToken: first.GetNextPageToken()})
	wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
}

// TestPageFitsAMessage: long stories end a page before gRPC's 4 MiB do.
func TestPageFitsAMessage(t *testing.T) {
	long := &sentinelv1.Failover{Reason: strings.Repeat("x", 1<<20)}
	items := func(yield func(int) bool) {
		for i := range 10 {
			if !yield(i) {
				return
			}
		}
	}
	out, more, err := page(items, 0, "", "x", func(int, string) bool { return true },
		func(i int) string { return fmt.Sprint(i) }, func(int) *sentinelv1.Failover { return long })
	if err != nil || len(out) != 2 || more == "" {
		t.Errorf("%d items, %q, %v", len(out), more, err)
	}
}

func TestStatusNodesAndQuorum(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	st, err := r.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
	if err != nil || st.GetHealthy() || st.GetMastersUnknown() != 1 || !strings.Contains(st.GetProblems()[0], "never reached") {
		t.Errorf("before anything was heard of it: %v, %v", st, err)
	}
	r.reached(t, "run1")
	st, err = r.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
	if err != nil || !st.GetHealthy() || st.GetLeaderNodeId() != "a" || st.GetVoters() != 3 || st.GetMastersOk() != 1 {
		t.Errorf("%v, %v", st, err)
	}
	r.report(t, "b-1", raftfsm.CauseAuth)
	r.report(t, "c-1", raftfsm.CauseTimeout)
	st, _ = r.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
	if st.GetHealthy() || len(st.GetProblems()) != 2 || st.GetMastersSdown() != 1 {
		t.Errorf("problems %q", st.GetProblems())
	}
	doubting := newRig(t, func(o *Options) { o.Fleet = braked{} })
	if st, _ = doubting.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{}); st.GetHealthy() ||
		!strings.Contains(st.GetProblems()[0], "node a withholds its verdicts: 12 of 12 masters") {
		t.Errorf("problems %q", st.GetProblems())
	}
	nodes, err := r.cluster.ListNodes(t.Context(), &sentinelv1.ListNodesRequest{})
	if err != nil || len(nodes.GetNodes()) != 3 || !nodes.GetNodes()[0].GetSelf() || !nodes.GetNodes()[0].GetLeader() || nodes.GetNodes()[1].GetVotes() != 1 {
		t.Errorf("%v, %v", nodes, err)
	}
	check := func(heard ...string) *sentinelv1.CheckQuorumResponse {
		t.Helper()
		r.node.set(func(n *fakeNode) {
			n.status.Heard = heard
		})
		q, err := r.admin.CheckQuorum(t.Context(), &sentinelv1.CheckQuorumRequest{Name: "m"})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	if q := check("a-1", "b-1", "c-1"); !q.GetOk() || q.GetMessage() != "3 usable Sentinels. Quorum and failover authorization can be reached" {
		t.Errorf("%v", q)
	}
	if q := check("a-1", "stranger"); q.GetOk() || q.GetUsable() != 1 || q.GetMessage() != "1 usable Sentinels. Not enough available Sentinels "+
		"to reach the specified quorum for this master. Not enough available Sentinels to reach the majority and authorize a failover" {
		t.Errorf("%v", q)
	}
	r.node.servers("a-1")
	_, err = r.cluster.RemoveNode(t.Context(), &sentinelv1.RemoveNodeRequest{Node: "a"})
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT)
	_, err = r.cluster.RemoveNode(t.Context(), &sentinelv1.RemoveNodeRequest{Node: "nobody"})
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND)
}

// TestObservations: what this node sees goes out with its age, and never into a watch.
func TestObservations(t *testing.T) {
	fleet := fakeFleet{
		"10.0.0.1:6379": {Connected: true, Info: &detector.Info{Role: raftfsm.RoleMaster, ReplID: "r", Offset: 100}},
		"10.0.0.2:6379": {Connected: true, LastReply: time.Now().Add(-time.Second), PingTime: time.Millisecond, Info: &detector.Info{
			Role: raftfsm.RoleReplica, ReplID: "r", Offset: 90, MasterHost: "10.0.0.1", MasterPort: 6379, MasterLinkUp: true,
		}},
	}
	r := newRig(t, func(o *Options) { o.Fleet = fleet })
	r.monitor(t, "m", "10.0.0.1")
	r.replica(t, "10.0.0.2")
	resp, err := r.app.ListReplicas(t.Context(), &sentinelv1.ListReplicasRequest{Name: "m"})
	if err != nil {
		t.Fatal(err)
	}
	o := resp.GetReplicas()[0].GetObservation()
	if o.GetLagBytes() != 10 || o.GetLastReplyAgeMs() < 1000 || o.GetPingMs() != 1 || o.GetPingPendingMs() != -1 || !o.GetLinkUp() {
		t.Errorf("%v", o)
	}
	st := r.node.State()
	m, _ := st.Master("m")
	f, _ := encodeMaster(st, m)
	var msg sentinelv1.WatchMastersResponse
	if err := proto.Unmarshal(f[0].ReadOnlyData(), &msg); err != nil || msg.GetMaster().GetInstances()[0].GetObservation() != nil {
		t.Errorf("%v, %v", &msg, err)
	}
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		client := healthv1.NewHealthClient(r.conn)
		check := func(service string) healthv1.HealthCheckResponse_ServingStatus {
			resp, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
			if err != nil {
				t.Fatal(err)
			}
			return resp.GetStatus()
		}
		synctest.Wait()
		if check("") != healthv1.HealthCheckResponse_SERVING || check(healthAdmin) != healthv1.HealthCheckResponse_SERVING {
			t.Error("not serving")
		}
		r.node.set(func(n *fakeNode) {
			n.status.LeaderID = ""
		})
		time.Sleep(healthEvery + 1)
		synctest.Wait()
		if check("") != healthv1.HealthCheckResponse_SERVING || check(healthAdmin) != healthv1.HealthCheckResponse_NOT_SERVING {
			t.Error("without a leader, local reads are served and changes are not")
		}
	})
}
