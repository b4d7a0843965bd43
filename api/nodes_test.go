package api

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// at registers a node at a gRPC address of its own.
func (r *rig) at(t *testing.T, id string, port uint32) {
	t.Helper()
	a := &raftlogv1.Address{Host: "127.0.0.1", Port: port}
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
		RaftId: id + "-1", NodeId: id, MaxLevel: raftfsm.Level, Grpc: a,
	}}})
}

// TestNodesSayWhatEachAloneKnows: the asked node asks every member, leader or not; what does not answer, or is another node,
// says nothing.
func TestNodesSayWhatEachAloneKnows(t *testing.T) {
	leader := newRig(t, func(o *Options) { o.Fleet = fakeFleet{"10.0.0.1:6379": {}, "10.0.0.2:6379": {}} })
	leader.node.set(func(n *fakeNode) { n.status.Term, n.status.CommitIndex, n.status.AppliedIndex = 7, 1000, 998 })
	other := newRig(t)
	other.node.set(func(n *fakeNode) { n.status.RaftID, n.status.NodeID, n.status.Role = "z-1", "z", "follower" })
	asked := newRig(t)
	asked.at(t, "a", 1)
	asked.at(t, "c", 3)
	asked.node.set(func(n *fakeNode) {
		n.status.RaftID, n.status.NodeID, n.status.Role, n.status.LeaderID, n.status.LastContact = "b-1", "b", "follower", "", -1
		n.status.Term, n.status.CommitIndex, n.status.AppliedIndex = 6, 900, 900
		n.others = map[string]*grpc.ClientConn{"a-1": leader.conn, "c-1": other.conn}
	})
	asked.server.began = time.Now().Add(-time.Minute)
	resp, err := asked.cluster.ListNodes(t.Context(), &sentinelv1.ListNodesRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
	if err != nil || len(resp.GetNodes()) != 3 {
		t.Fatalf("%v, %v", resp, err)
	}
	na, nb, nc := resp.GetNodes()[0], resp.GetNodes()[1], resp.GetNodes()[2]
	if na.GetRole() != sentinelv1.NodeRole_NODE_ROLE_LEADER || na.GetTerm() != 7 || na.GetAppliedIndex() != 998 || na.LagEntries == nil ||
		na.GetLagEntries() != 2 || na.GetInstancesProbed() != 2 || na.UptimeMs == nil || na.GetUptimeMs() > 30000 {
		t.Errorf("a: %v", na)
	}
	if nb.GetRole() != sentinelv1.NodeRole_NODE_ROLE_FOLLOWER || nb.GetTerm() != 6 || nb.GetLagEntries() != 100 || nb.InstancesProbed == nil ||
		nb.GetUptimeMs() < 60000 {
		t.Errorf("b, which was asked: %v", nb)
	}
	if nc.Role != nil || nc.Term != nil || nc.AppliedIndex != nil || nc.LagEntries != nil || nc.UptimeMs != nil || nc.InstancesProbed != nil {
		t.Errorf("c, in whose place another answers: %v", nc)
	}
}

func (r *rig) drain(t *testing.T, node, reason string) (*sentinelv1.DrainNodeResponse, error) {
	t.Helper()
	return r.cluster.DrainNode(t.Context(), &sentinelv1.DrainNodeRequest{Node: node, Reason: reason})
}

func TestDrainNode(t *testing.T) {
	r := newRig(t)
	hears := func(ids ...string) {
		contacts := map[string]Contact{}
		for _, id := range ids {
			contacts[id] = Contact{Heard: true}
		}
		r.node.set(func(n *fakeNode) { n.contacts = contacts })
	}
	hears("a-1", "b-1", "c-1")
	_, err := r.drain(t, "b", "")
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FEATURE_LEVEL)
	r.raise(t)
	_, err = r.drain(t, "nobody", "")
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND)
	_, err = r.drain(t, "", "")
	wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
	_, err = r.drain(t, "b", "two\nlines")
	wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
	before := r.node.proposed
	resp, err := r.cluster.DrainNode(t.Context(), &sentinelv1.DrainNodeRequest{Node: "b", ValidateOnly: true})
	if err != nil || !resp.GetChanged() || r.node.proposed != before {
		t.Fatalf("a dry run: %v, %v", resp, err)
	}
	for _, changed := range []bool{true, false} {
		if resp, err = r.drain(t, "b", "new disk"); err != nil || resp.GetChanged() != changed || resp.GetLeaderNodeId() != "a" {
			t.Fatalf("%v, %v; want changed %v", resp, err, changed)
		}
	}
	nodes, err := r.cluster.ListNodes(t.Context(), &sentinelv1.ListNodesRequest{})
	if err != nil || nodes.GetNodes()[1].GetDrain().GetReason() != "new disk" || nodes.GetNodes()[0].Drain != nil {
		t.Errorf("%v, %v", nodes, err)
	}
	st, err := r.cluster.GetStatus(t.Context(), &sentinelv1.GetStatusRequest{})
	if err != nil || strings.Join(st.GetDrained(), " ") != "b" || !st.GetHealthy() {
		t.Errorf("%v, %v", st, err)
	}
	_, err = r.cluster.TransferLeadership(t.Context(), &sentinelv1.TransferLeadershipRequest{Node: "b"})
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT)
	// c is the last one that could take over, and then none is.
	hears("a-1", "b-1")
	_, err = r.drain(t, "a", "")
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT)
	if want := "no voter beside node a is heard and may lead"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
	hears("a-1", "b-1", "c-1")
	// The answer waits until another leads.
	go func() {
		for !r.node.State().Drained("a-1") {
			<-r.node.Changed()
		}
		r.node.set(func(n *fakeNode) {
			n.status.LeaderID, n.status.Role = "c-1", "follower"
			n.publish(n.st)
		})
	}()
	if resp, err = r.drain(t, "a", ""); err != nil || !resp.GetChanged() || resp.GetLeaderNodeId() != "c" {
		t.Fatalf("%v, %v", resp, err)
	}
	r.node.set(func(n *fakeNode) { n.status.LeaderID, n.status.Role = "a-1", RoleLeader })
	_, err = r.drain(t, "c", "")
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT)
	for _, changed := range []bool{true, false} {
		back, err := r.cluster.UndrainNode(t.Context(), &sentinelv1.UndrainNodeRequest{Node: "b-1"})
		if err != nil || back.GetChanged() != changed {
			t.Errorf("%v, %v; want changed %v", back, err, changed)
		}
	}
	_, err = r.cluster.UndrainNode(t.Context(), &sentinelv1.UndrainNodeRequest{Node: "nobody"})
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND)
}

// TestRemoveNodeKeepsQuorumsReachable: the masters are named, and force goes past them; what Raft needs is needed all the same.
func TestRemoveNodeKeepsQuorumsReachable(t *testing.T) {
	r := newRig(t)
	for name, quorum := range map[string]int32{"m": 2, "wide": 3, "wider": 3, "impossible": 4} {
		r.monitorAt(t, name, quorum)
	}
	remove := func(force bool) error {
		_, err := r.cluster.RemoveNode(t.Context(), &sentinelv1.RemoveNodeRequest{Node: "c", Force: force})
		return err
	}
	err := remove(false)
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT)
	if !strings.Contains(err.Error(), "2 voters would be left without node c, and these masters need more to be failed over: wide, wider: nothing was changed") {
		t.Error(err)
	}
	r.node.set(func(n *fakeNode) { n.refuses = errRefused })
	err = remove(true)
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT)
	if len(r.node.removed) != 0 || !strings.Contains(err.Error(), "lose its quorum: nothing was changed") {
		t.Errorf("%v, removed %v", err, r.node.removed)
	}
	r.node.set(func(n *fakeNode) { n.refuses = nil })
	if err := remove(true); err != nil || len(r.node.removed) != 1 || r.node.removed[0] != "c-1" {
		t.Errorf("%v, removed %v", err, r.node.removed)
	}
}

func TestTransferLeadership(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		node    string
		changed bool
	}{{"", true}, {"b", true}, {"a", false}} {
		resp, err := r.cluster.TransferLeadership(t.Context(), &sentinelv1.TransferLeadershipRequest{Node: c.node})
		if err != nil || resp.GetChanged() != c.changed {
			t.Errorf("to %q: %v, %v", c.node, resp, err)
		}
	}
	if got := strings.Join(r.node.transferred, " "); got != " b-1" {
		t.Errorf("handed to %q", got)
	}
	r.node.set(func(n *fakeNode) { n.refuses = errRefused })
	_, err := r.cluster.TransferLeadership(t.Context(), &sentinelv1.TransferLeadershipRequest{})
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT)
}

// monitorAt monitors a master of the name, at an address of its own.
func (r *rig) monitorAt(t *testing.T, name string, quorum int32) {
	t.Helper()
	_, err := r.admin.MonitorMaster(t.Context(), &sentinelv1.MonitorMasterRequest{
		Name: name, Address: addr(name+".example", 6379), Options: &sentinelv1.MasterOptions{Quorum: &quorum}, Force: true,
	})
	if err != nil {
		t.Fatal(err)
	}
}
