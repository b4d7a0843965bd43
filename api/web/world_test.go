package web

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/detector"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const password = "correct-horse"

var errLoading = errors.New("the node has not caught up")

// fakeNode is a cluster of one that applies the real law.
type fakeNode struct {
	api.Node // what is not asked here
	mu       sync.Mutex
	st       *raftfsm.State
	status   api.NodeStatus
	age      time.Duration
	err      error
}

func newFakeNode(t testing.TB) *fakeNode {
	t.Helper()
	n := &fakeNode{st: raftfsm.New(), age: 7 * time.Millisecond, status: api.NodeStatus{
		Role: api.RoleLeader, RaftID: "a-1", NodeID: "a", LeaderID: "a-1", ClusterID: "c1", Term: 3, CommitIndex: 9, AppliedIndex: 9,
		Peers: 1, Heard: []string{"a-1"}, FsyncP50: 2 * time.Millisecond,
	}}
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{ClusterId: "c1"}}})
	n.st = raftfsm.ApplyServers(n.st, n.st.Index()+1, []raftfsm.Server{{ID: "a-1", Voter: true}})
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
		RaftId: "a-1", NodeId: "a", MaxLevel: raftfsm.Level,
	}}})
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
	return n
}

func (n *fakeNode) do(t testing.TB, c *raftlogv1.Command) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c), Proposer: "a-1", ProposedAtMs: time.Now().UnixMilli()}
	st, res := raftfsm.Apply(n.st, n.st.Index()+1, c)
	if err := res.Err(); err != nil {
		t.Fatalf("%T: %v", c.GetOp(), err)
	}
	n.st = st
}

func (n *fakeNode) set(change func(*fakeNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *fakeNode) Local() (*raftfsm.State, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.st, n.age, n.err
}

func (n *fakeNode) Status() api.NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

func (n *fakeNode) master(t testing.TB, name string) *raftfsm.Master {
	t.Helper()
	st, _, _ := n.Local()
	m, ok := st.Master(name)
	if !ok {
		t.Fatalf("no master %s", name)
	}
	return m
}

// monitor puts a set under watch: the master's address first.
func (n *fakeNode) monitor(t testing.TB, name string, addrs ...string) {
	t.Helper()
	c := &raftlogv1.Monitor{
		Name: name, Address: at(t, addrs[0]).Proto(),
		Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "1"}, {Name: "auth-pass", Value: password}},
	}
	for _, a := range addrs[1:] {
		c.Replicas = append(c.Replicas, at(t, a).Proto())
	}
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: c}})
	n.facts(t, name, raftfsm.RoleMaster, addrs[0])
}

func (n *fakeNode) facts(t testing.TB, name string, role raftfsm.Role, a string) {
	t.Helper()
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: name, Generation: n.master(t, name).Generation,
		Instances: []*raftlogv1.InstanceFacts{{Address: at(t, a).Proto(), Role: role, RunId: "run-" + a}},
	}}})
}

// begin opens a failover of a set, finish switches and closes it.
func (n *fakeNode) begin(t testing.TB, name string, kind raftfsm.FailoverKind, to string) {
	t.Helper()
	m := n.master(t, name)
	c := &raftlogv1.BeginFailover{
		Master: name, Generation: m.Generation, OperationId: "op" + to + kind.String() + time.Now().String(), Kind: kind,
		From: m.Address.Proto(), Candidate: at(t, to).Proto(), OldOffset: -1, Reason: "ordered",
	}
	if kind == raftfsm.KindPlanned {
		c.MaxWaitMs = 1000
	}
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: c}})
}

func (n *fakeNode) finish(t testing.TB, name string, outcome raftfsm.FailoverOutcome, loss raftfsm.Loss) {
	t.Helper()
	f := n.master(t, name).Failover
	if outcome != raftfsm.OutcomeAborted {
		n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SwitchMaster{SwitchMaster: &raftlogv1.SwitchMaster{
			Master: name, Epoch: f.Epoch, From: f.From.Proto(), To: f.To.Proto(),
		}}})
	}
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
		Master: name, Epoch: f.Epoch, Outcome: outcome, Loss: &raftlogv1.Loss{Kind: loss.Kind, Bytes: loss.Bytes},
	}}})
}

// down is this node's report that an instance is down.
func (n *fakeNode) down(t testing.TB, name, a string, cause raftfsm.Cause) {
	t.Helper()
	m := n.master(t, name)
	st, _, _ := n.Local()
	node, _ := st.Node("a-1")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: &raftlogv1.Report{
		Node: node.RaftID, Base: node.ReportBase, Down: []*raftlogv1.Verdict{{
			Master: m.Name, Instance: at(t, a).Proto(), Generation: m.Generation, Cause: cause, SinceMs: 1000,
		}},
	}}})
}

func (n *fakeNode) maintain(t testing.TB, a string) {
	t.Helper()
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{
		Instance: at(t, a).Proto(), Reason: "kernel",
	}}})
}

func at(t testing.TB, s string) raftfsm.Addr {
	t.Helper()
	a, err := raftfsm.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type fakeFleet map[string]api.Observation

func (f fakeFleet) Observe(a raftfsm.Addr) (api.Observation, bool) {
	o, ok := f[a.String()]
	return o, ok
}

func (f fakeFleet) Probed() int { return len(f) }

func (fakeFleet) Braked() string { return "" }

func (fakeFleet) Heed(...raftfsm.Addr) {}

func (fakeFleet) Changed() <-chan struct{} { return nil }

// alive is an instance that was read just now; change alters what it says.
func alive(role raftfsm.Role, offset int64, change ...func(*api.Observation)) api.Observation {
	o := api.Observation{
		Connected: true, PingTime: 250 * time.Microsecond, LastReply: time.Now(), InfoAt: time.Now(),
		Info: &detector.Info{Role: role, Offset: offset, ReplID: "replid-1", MasterLinkUp: role == raftfsm.RoleReplica},
	}
	for _, f := range change {
		f(&o)
	}
	return o
}

// noPolicy is asked nothing.
type noPolicy struct{ api.Failovers }

// options are those of a server on a node, with the real API beneath.
func options(t testing.TB, n *fakeNode, fleet api.Fleet) Options {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	a, err := api.New(api.Options{
		Node: n, Failovers: noPolicy{}, Fleet: fleet, Log: log,
		Classify: func(err error) api.Failure {
			if errors.Is(err, errLoading) {
				return api.FailureLoading
			}
			return api.FailureOther
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Node: n, API: a.Direct(), Fleet: fleet, Version: "test", Log: log}
}

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask is one request from this machine.
func ask(s http.Handler, method, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = "127.0.0.1:1234"
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}
