package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/doctor"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var (
	errNoLeader = errors.New("no leader")
	errUnknown  = errors.New("unknown outcome")
	errLoading  = errors.New("loading")
	errRefused  = errors.New("the cluster would lose its quorum")
)

func classify(err error) Failure {
	switch {
	case errors.Is(err, errNoLeader):
		return FailureNoLeader
	case errors.Is(err, errUnknown):
		return FailureUnknownOutcome
	case errors.Is(err, errLoading):
		return FailureLoading
	case errors.Is(err, errRefused):
		return FailureRefused
	}
	return FailureOther
}

// fakeNode is a cluster of one that applies the real law. Its failures are set by the test.
type fakeNode struct {
	mu       sync.Mutex
	st       *raftfsm.State
	changed  chan struct{}
	status   NodeStatus
	contacts map[string]Contact
	proposed int
	removed  []string
	// hang makes reads and proposals wait for their context, as without a quorum.
	hang              bool
	localErr, readErr error
	proposeErr        error
	// lost is the error of proposals that are committed all the same.
	lost   error
	leader *grpc.ClientConn
	// others leads to other nodes, by Raft id.
	others map[string]*grpc.ClientConn
	// transferred is where leadership was handed to; refuses makes that, and removals, fail.
	transferred []string
	refuses     error
	// age of the local state.
	age time.Duration
}

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{
		st: raftfsm.New(), changed: make(chan struct{}), age: 7 * time.Millisecond,
		status: NodeStatus{Role: RoleLeader, RaftID: "a-1", NodeID: "a", LeaderID: "a-1", ClusterID: "c1"},
	}
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{
		ClusterId: "c1", ClusterName: "sentineld",
	}}})
	n.servers("a-1", "b-1", "c-1")
	for _, id := range []string{"a", "b", "c"} {
		n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
			RaftId: id + "-1", NodeId: id, MaxLevel: raftfsm.Level, Raft: &raftlogv1.Address{Host: "127.0.0.1", Port: 26579},
		}}})
	}
	n.proposed = 0
	return n
}

func (n *fakeNode) publish(st *raftfsm.State) {
	n.st = st
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *fakeNode) servers(ids ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var servers []raftfsm.Server
	for _, id := range ids {
		servers = append(servers, raftfsm.Server{ID: id, Address: "127.0.0.1:26579", Voter: true})
	}
	n.publish(raftfsm.ApplyServers(n.st, n.st.Index()+1, servers))
}

// do commits a command, which must not be refused.
func (n *fakeNode) do(t *testing.T, c *raftlogv1.Command) raftfsm.Result {
	t.Helper()
	res, err := n.commit(c)
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		t.Fatalf("%T: %v", c.GetOp(), err)
	}
	return res
}

func (n *fakeNode) commit(c *raftlogv1.Command) (raftfsm.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c = proto.CloneOf(c)
	if c.GetHeader() == nil {
		c.Header = &raftlogv1.Header{}
	}
	c.Header.Level, c.Header.Proposer, c.Header.ProposedAtMs = raftfsm.LevelOf(c), n.status.RaftID, time.Now().UnixMilli()
	data, err := raftfsm.Encode(c)
	if err != nil {
		return raftfsm.Result{}, err
	}
	if c, err = raftfsm.Decode(data); err != nil {
		return raftfsm.Result{}, err
	}
	st, res := raftfsm.Apply(n.st, n.st.Index()+1, c)
	n.proposed++
	n.publish(st)
	return res, nil
}

// set changes the node's behaviour while others use it.
func (n *fakeNode) set(change func(n *fakeNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *fakeNode) failures() (leader *grpc.ClientConn, hang bool, read, propose error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leader, n.hang, n.readErr, n.proposeErr
}

func (n *fakeNode) State() *raftfsm.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.st
}

func (n *fakeNode) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *fakeNode) Local() (*raftfsm.State, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.st, n.age, n.localErr
}

func (n *fakeNode) Read(ctx context.Context) (*raftfsm.State, error) {
	_, hang, err, _ := n.failures()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return n.State(), err
}

func (n *fakeNode) Propose(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error) {
	if _, _, _, err := n.failures(); err != nil {
		return raftfsm.Result{}, err
	}
	res, err := n.commit(c)
	n.mu.Lock()
	defer n.mu.Unlock()
	return res, cmp.Or(err, n.lost)
}

func (n *fakeNode) Status() NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

func (n *fakeNode) LastContact() time.Duration { return n.Status().LastContact }

func (n *fakeNode) Contacts() map[string]Contact {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.contacts
}

func (n *fakeNode) LeaderConn(context.Context) (*grpc.ClientConn, error) {
	leader, _, _, _ := n.failures()
	if leader == nil {
		return nil, errNoLeader
	}
	return leader, nil
}

func (n *fakeNode) NodeConn(_ context.Context, id string) (*grpc.ClientConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.others[id] == nil {
		return nil, errors.New("no way to " + id)
	}
	return n.others[id], nil
}

func (n *fakeNode) RemoveNode(_ context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuses == nil {
		n.removed = append(n.removed, id)
	}
	return n.refuses
}

func (n *fakeNode) TransferLeadership(_ context.Context, id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuses == nil {
		n.transferred = append(n.transferred, id)
	}
	return n.refuses
}

// fakePolicy promotes the first replica.
type fakePolicy struct {
	n     *fakeNode
	begun int
	// rejected are told by Explain, and not promoted where only that is asked.
	rejected []raftfsm.Candidate
	// loss is what it foretells.
	loss raftfsm.Loss
}

func (p *fakePolicy) Rehearse(_ context.Context, o Order) (*raftfsm.Failover, error) {
	for _, c := range p.rejected {
		if c.Addr == o.To {
			return nil, raftfsm.Refusal{Code: raftfsm.BadCandidate, Detail: c.Detail}
		}
	}
	begin, err := p.row(o)
	if err != nil {
		return nil, err
	}
	next, res := raftfsm.Apply(p.n.State(), p.n.State().Index()+1, begin)
	if res.Err() != nil {
		return nil, res.Err()
	}
	m, _ := next.Master(o.Master)
	return m.Failover, nil
}

func (p *fakePolicy) Begin(_ context.Context, o Order) (raftfsm.Result, error) {
	p.begun++
	begin, err := p.row(o)
	if err != nil {
		return raftfsm.Result{}, err
	}
	return p.n.commit(begin)
}

func (p *fakePolicy) row(o Order) (*raftlogv1.Command, error) {
	m, _ := p.n.State().Master(o.Master)
	to := o.To
	if to.IsZero() {
		if len(m.Replicas()) == 0 {
			return nil, raftfsm.Refusal{Code: raftfsm.BadCandidate, Detail: "no replica"}
		}
		to = m.Replicas()[0].Addr
	}
	return &raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: &raftlogv1.BeginFailover{
		Master: m.Name, Generation: m.Generation, OperationId: o.OperationID, Kind: o.Kind, MaxWaitMs: o.MaxWait.Milliseconds(),
		From: m.Address.Proto(), Candidate: to.Proto(), OldOffset: -1, Reason: "ordered",
	}}}, nil
}

func (p *fakePolicy) Explain(_ context.Context, st *raftfsm.State, m *raftfsm.Master) (Explanation, error) {
	return p.Glance(st, m), nil
}

func (p *fakePolicy) Glance(_ *raftfsm.State, m *raftfsm.Master) Explanation {
	x := Explanation{PredictedLoss: p.loss, MasterAgeMs: 7}
	if len(m.Replicas()) == 0 {
		none := []Blocker{{Code: "no_replica", Detail: "no replica is known"}}
		x.FailoverBlockers, x.SwitchoverBlockers = none, none
		return x
	}
	replicas := m.Replicas()
	x.Winner, x.Candidates = replicas[0].Addr, p.rejected
	x.Heir = replicas[len(replicas)-1].Addr
	x.Planned = []raftfsm.Candidate{{Addr: x.Heir, Chosen: true}}
	if m.Pause != nil {
		x.FailoverBlockers = []Blocker{{Code: "paused", Detail: m.Pause.Reason}}
	}
	return x
}

type fakeInspector map[string]Inspection

func (f fakeInspector) Inspect(_ context.Context, a raftfsm.Addr, _ raftfsm.Options) (Inspection, error) {
	seen, ok := f[a.String()]
	if !ok {
		return Inspection{}, errors.New("connection refused")
	}
	return seen, nil
}

// CheckUp finds what it is told, and nothing of what it is not.
func (f fakeInspector) CheckUp(ctx context.Context, a raftfsm.Addr, o raftfsm.Options) doctor.Instance {
	seen, err := f.Inspect(ctx, a, o)
	if err != nil {
		return doctor.Instance{Addr: a, Silent: err.Error()}
	}
	return doctor.Instance{Addr: a, Rejected: seen.AuthRejected, Sentinel: seen.Sentinel, Denied: seen.Lacks, Priority: -1}
}

// Hear knows what two of the Sentinels of watched say of themselves, and one that nobody saw.
func (f fakeInspector) Hear(_ context.Context, a raftfsm.Addr, _ raftfsm.Options, _ int) []ActiveSentinel {
	if a.Host != "10.0.0.2" {
		return nil
	}
	return []ActiveSentinel{{"10.0.0.8", 26379, "aa11"}, {"10.9.0.9", 26380, "bb22"}, {"10.0.0.7", 26379, "dd"}}
}

type fakeFleet map[string]detector.Observation

func (f fakeFleet) Observe(a raftfsm.Addr) (Observation, bool) {
	o, ok := f[a.String()]
	return o, ok
}

func (f fakeFleet) Probed() int { return len(f) }

func (fakeFleet) Braked() string { return "" }

func (fakeFleet) Heed(...raftfsm.Addr) {}

func (fakeFleet) Changed() <-chan struct{} { return nil }

// braked sees nothing and doubts itself.
type braked struct{ fakeFleet }

func (braked) Braked() string { return "12 of 12 masters do not answer" }

// rig is a server on a pipe, and clients of it.
type rig struct {
	node    *fakeNode
	policy  *fakePolicy
	server  *Server
	conn    *grpc.ClientConn
	admin   sentinelv1.AdminServiceClient
	app     sentinelv1.SentinelServiceClient
	cluster sentinelv1.ClusterServiceClient
	// stop ends what Run does.
	stop context.CancelFunc
}

// newRig serves until the test ends. alter changes the options.
func newRig(t *testing.T, alter ...func(*Options)) *rig {
	t.Helper()
	node := newFakeNode(t)
	policy := &fakePolicy{n: node, loss: raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 12}}
	o := Options{Node: node, Failovers: policy, Classify: classify, Log: slog.New(slog.DiscardHandler)}
	for _, f := range alter {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(s.GRPCOptions()...)
	s.Register(g)
	lis := bufconn.Listen(1 << 16)
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Serve(lis) })
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() { _ = s.Run(ctx) })
	conn, err := grpc.NewClient("passthrough:///node", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = conn.Close()
		g.Stop()
		wg.Wait()
	})
	return &rig{
		node: node, policy: policy, server: s, conn: conn, admin: sentinelv1.NewAdminServiceClient(conn),
		app: sentinelv1.NewSentinelServiceClient(conn), cluster: sentinelv1.NewClusterServiceClient(conn), stop: cancel,
	}
}

func addr(host string, port uint32) *sentinelv1.Address {
	return &sentinelv1.Address{Host: host, Port: port}
}

func (r *rig) monitor(t *testing.T, name, host string) *sentinelv1.MonitorMasterResponse {
	t.Helper()
	resp, err := r.admin.MonitorMaster(t.Context(), &sentinelv1.MonitorMasterRequest{
		Name: name, Address: addr(host, 6379), Options: &sentinelv1.MasterOptions{Quorum: proto.Int32(2)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// replica makes an instance known as a replica of m.
func (r *rig) replica(t *testing.T, host string) {
	t.Helper()
	m, ok := r.node.State().Master("m")
	if !ok {
		t.Fatal("no master m")
	}
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: m.Name, Generation: m.Generation, Instances: []*raftlogv1.InstanceFacts{{
			Address: &raftlogv1.Address{Host: host, Port: 6379}, Role: raftfsm.RoleReplica, RunId: host,
		}},
	}}})
}

// reached makes the master of m known by what it says of itself.
func (r *rig) reached(t *testing.T, run string) {
	t.Helper()
	m, _ := r.node.State().Master("m")
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: m.Name, Generation: m.Generation, Instances: []*raftlogv1.InstanceFacts{{
			Address: m.Address.Proto(), Role: raftfsm.RoleMaster, RunId: run,
		}},
	}}})
}

// report makes a node hold the master of m down.
func (r *rig) report(t *testing.T, node string, cause raftfsm.Cause) {
	t.Helper()
	m, _ := r.node.State().Master("m")
	n, _ := r.node.State().Node(node)
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: &raftlogv1.Report{
		Node: node, Base: n.ReportBase, Down: []*raftlogv1.Verdict{{
			Master: m.Name, Instance: m.Address.Proto(), Generation: m.Generation, Cause: cause,
			SinceMs: 1000,
		}},
	}}})
}

// wantError holds an error against a code and a reason.
func wantError(t *testing.T, err error, code codes.Code, reason sentinelv1.ErrorReason) {
	t.Helper()
	if status.Code(err) != code || ReasonOf(err) != reason {
		t.Fatalf("got %v %v (%v), want %v %v", status.Code(err), ReasonOf(err), err, code, reason)
	}
}
