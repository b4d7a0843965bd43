package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/api"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var (
	errLoading = errors.New("loading")
	errRemoved = errors.New("removed")
	errUnknown = errors.New("unknown outcome")
)

func classify(err error) api.Failure {
	switch {
	case errors.Is(err, errLoading):
		return api.FailureLoading
	case errors.Is(err, errRemoved):
		return api.FailureRemoved
	case errors.Is(err, errUnknown):
		return api.FailureUnknownOutcome
	}
	return api.FailureOther
}

// fakeNode is a cluster of one that applies the real law.
type fakeNode struct {
	mu                   sync.Mutex
	st                   *raftfsm.State
	changed              chan struct{}
	hang                 bool
	localErr, proposeErr error
	status               api.NodeStatus
	contacts             map[string]api.Contact
	begun                int
	// beginning, where set, comes between the look at a state and the commit of a failover, as a measurement would.
	beginning func()
}

func newFakeNode(t *testing.T) *fakeNode {
	t.Helper()
	n := &fakeNode{st: raftfsm.New(), changed: make(chan struct{}), status: api.NodeStatus{
		Role: api.RoleLeader, RaftID: "a-1", NodeID: "a", LeaderID: "a-1", ClusterID: "c1", Term: 3, CommitIndex: 9, AppliedIndex: 9,
		Peers: 3, Heard: []string{"a-1", "b-1", "c-1"},
	}}
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{ClusterId: "c1"}}})
	// Its first member alone raises the feature level; what the others know of each other comes with register.
	n.st = raftfsm.ApplyServers(n.st, n.st.Index()+1, []raftfsm.Server{{ID: "a-1", Voter: true}})
	n.register(t, "a", "10.1.1.1")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
	n.st = raftfsm.ApplyServers(n.st, n.st.Index()+1, nil)
	var servers []raftfsm.Server
	for _, id := range n.status.Heard {
		servers = append(servers, raftfsm.Server{ID: id, Voter: true})
	}
	n.st = raftfsm.ApplyServers(n.st, n.st.Index()+1, servers)
	return n
}

func (n *fakeNode) do(t *testing.T, c *raftlogv1.Command) {
	t.Helper()
	res, err := n.Propose(t.Context(), c)
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (n *fakeNode) Propose(_ context.Context, c *raftlogv1.Command) (raftfsm.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proposeErr != nil {
		return raftfsm.Result{}, n.proposeErr
	}
	if c.GetHeader() == nil {
		c.Header = &raftlogv1.Header{}
	}
	c.Header.Level, c.Header.Proposer, c.Header.ProposedAtMs = raftfsm.LevelOf(c), "a-1", time.Now().UnixMilli()
	st, res := raftfsm.Apply(n.st, n.st.Index()+1, c)
	n.st = st
	close(n.changed)
	n.changed = make(chan struct{})
	return res, nil
}

func (n *fakeNode) State() *raftfsm.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.st
}

func (n *fakeNode) Local() (*raftfsm.State, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.st, 0, n.localErr
}

func (n *fakeNode) Read(ctx context.Context) (*raftfsm.State, error) {
	if n.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return n.State(), nil
}

func (n *fakeNode) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *fakeNode) LeaderConn(context.Context) (*grpc.ClientConn, error) { return nil, errUnknown }
func (n *fakeNode) NodeConn(context.Context, string) (*grpc.ClientConn, error) {
	return nil, errUnknown
}
func (n *fakeNode) RemoveNode(context.Context, string) error         { return nil }
func (n *fakeNode) TransferLeadership(context.Context, string) error { return nil }

func (n *fakeNode) Status() api.NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

func (n *fakeNode) LastContact() time.Duration { return n.Status().LastContact }

func (n *fakeNode) Contacts() map[string]api.Contact {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.contacts
}

// set changes the node while others use it.
func (n *fakeNode) set(change func(*fakeNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// Begin promotes the first replica, whatever the master at that moment is.
func (n *fakeNode) Begin(ctx context.Context, o api.Order) (raftfsm.Result, error) {
	n.begun++
	if n.beginning != nil {
		n.beginning()
	}
	m, _ := n.State().Master(o.Master)
	if len(m.Replicas()) == 0 {
		return raftfsm.Result{}, raftfsm.Refusal{Code: raftfsm.BadCandidate, Detail: "master " + m.Name + " has no replica"}
	}
	res, err := n.Propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: &raftlogv1.BeginFailover{
		Master: m.Name, Generation: m.Generation, OperationId: o.OperationID, Kind: o.Kind, MaxWaitMs: o.MaxWait.Milliseconds(), From: m.Address.Proto(),
		Candidate: m.Replicas()[0].Addr.Proto(), OldOffset: -1, Reason: "ordered",
	}}})
	if err == nil {
		err = res.Err()
	}
	return res, err
}

// register makes a member known by name and address.
func (n *fakeNode) register(t *testing.T, id, host string) {
	t.Helper()
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
		RaftId: id + "-1", NodeId: id, MaxLevel: raftfsm.Level, Resp: &raftlogv1.Address{Host: host, Port: 26379},
	}}})
}

// replica makes an instance known as a replica of m.
func (n *fakeNode) replica(t *testing.T, host string) {
	t.Helper()
	m, _ := n.State().Master("m")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: "m", Generation: m.Generation, Instances: []*raftlogv1.InstanceFacts{{
			Address: &raftlogv1.Address{Host: host, Port: 6379}, Role: raftfsm.RoleReplica, RunId: "r-" + host,
		}},
	}}})
}

// votesDown is a node's report that the master m is down.
func (n *fakeNode) votesDown(t *testing.T, id string) {
	t.Helper()
	m, _ := n.State().Master("m")
	node, _ := n.State().Node(id + "-1")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: &raftlogv1.Report{
		Node: node.RaftID, Base: node.ReportBase, Down: []*raftlogv1.Verdict{{
			Master: "m", Instance: m.Address.Proto(), Generation: m.Generation, Cause: raftfsm.CauseTimeout, SinceMs: 1000,
		}},
	}}})
}

// switches commits the switch of m's open failover.
func (n *fakeNode) switches(t *testing.T) {
	t.Helper()
	m, _ := n.State().Master("m")
	f := m.Failover
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SwitchMaster{SwitchMaster: &raftlogv1.SwitchMaster{
		Master: "m", Epoch: f.Epoch, From: f.From.Proto(), To: f.To.Proto(),
	}}})
}

// ends closes m's open failover.
func (n *fakeNode) ends(t *testing.T, outcome raftfsm.FailoverOutcome, reason string) {
	t.Helper()
	m, _ := n.State().Master("m")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
		Master: "m", Epoch: m.Failover.Epoch, Outcome: outcome, Reason: reason,
	}}})
}

func (n *fakeNode) Rehearse(context.Context, api.Order) (*raftfsm.Failover, error) {
	return nil, errors.New("not asked here")
}

func (n *fakeNode) Glance(*raftfsm.State, *raftfsm.Master) (x api.Explanation) { return x }

func (n *fakeNode) Explain(context.Context, *raftfsm.State, *raftfsm.Master) (x api.Explanation, e error) {
	return
}

// lookup knows every name but those of the domain "nowhere"; of "slow" it does not tell.
func lookup(_ context.Context, host string) ([]string, error) {
	switch {
	case strings.HasSuffix(host, ".nowhere"):
		return nil, &net.DNSError{Name: host, IsNotFound: true}
	case strings.HasSuffix(host, ".slow"):
		return nil, &net.DNSError{Name: host, IsTimeout: true}
	}
	return []string{"10.0.0.9"}, nil
}

type fakeFleet map[string]api.Observation

func (f fakeFleet) Probed() int { return len(f) }

func (fakeFleet) Braked() string { return "" }

func (fakeFleet) Heed(...raftfsm.Addr) {}

func (fakeFleet) Changed() <-chan struct{} { return nil }

func (f fakeFleet) Observe(a raftfsm.Addr) (api.Observation, bool) {
	o, ok := f[a.String()]
	return o, ok
}

// fakeLocal is what one node is told and logs.
type fakeLocal struct {
	ip    string
	port  int
	level string
	err   error // of SetAnnounce
}

func (l *fakeLocal) Announce() (string, int) { return l.ip, l.port }
func (l *fakeLocal) LogLevel() string        { return l.level }

func (l *fakeLocal) SetLogLevel(level string) error {
	l.level = level
	return nil
}

func (l *fakeLocal) SetAnnounce(_ context.Context, ip string, port int) error {
	if l.err == nil {
		l.ip, l.port = ip, port
	}
	return l.err
}

// fakeAPI answers the question whom the leader hears; all else is the real one's.
type fakeAPI struct {
	grpc.ClientConnInterface
	nodes func(ctx context.Context) (*sentinelv1.ListNodesResponse, error)
}

func (a *fakeAPI) Invoke(ctx context.Context, method string, args, answer any, opts ...grpc.CallOption) error {
	if method == sentinelv1.ClusterService_ListNodes_FullMethodName && a.nodes != nil {
		resp, err := a.nodes(ctx)
		proto.Merge(answer.(proto.Message), resp)
		return err
	}
	return a.ClientConnInterface.Invoke(ctx, method, args, answer, opts...)
}

// rig is a server and a way to it.
type rig struct {
	node   *fakeNode
	api    *fakeAPI
	local  *fakeLocal
	server *Server
	lis    net.Listener
	stop   context.CancelFunc
	done   chan struct{} // closed when Run has returned
}

// ended waits for Run to return.
func (r *rig) ended(t *testing.T) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not end")
	}
}

// newRig serves over pipes until the test ends; alter changes the options.
func newRig(t *testing.T, fleet api.Fleet, alter ...func(*Options)) *rig {
	t.Helper()
	return newRigOn(t, bufconn.Listen(1<<16), fleet, alter...)
}

// newRigOnTCP serves on a port of this machine: sockets take another way than pipes.
func newRigOnTCP(t *testing.T, alter ...func(*Options)) *rig {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newRigOn(t, lis, nil, alter...)
}

func newRigOn(t *testing.T, lis net.Listener, fleet api.Fleet, alter ...func(*Options)) *rig {
	t.Helper()
	node := newFakeNode(t)
	log := slog.New(slog.DiscardHandler)
	a, err := api.New(api.Options{Node: node, Failovers: node, Fleet: fleet, Classify: classify, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		node: node, lis: lis, local: &fakeLocal{level: "notice"},
		api: &fakeAPI{ClientConnInterface: a.Direct()},
	}
	o := Options{
		Listener: lis, Node: node, API: r.api, Switchover: a.Switchover, Fleet: fleet, Classify: classify, Local: r.local, Version: "0.1.0", Log: log,
		LookupHost:  lookup,
		HeardWithin: time.Second, Scripts: &fakeScripts{time.Minute, 30 * time.Second},
	}
	for _, f := range alter {
		f(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.server = s
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.done = cancel, make(chan struct{})
	go func() {
		defer close(r.done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-r.done
	})
	return r
}

// peer is the other side of a connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (r *rig) client(t *testing.T) *peer {
	t.Helper()
	conn := r.dial(t)
	return &peer{t: t, conn: conn, in: bufio.NewReader(conn)}
}

func (r *rig) dial(t *testing.T) (conn net.Conn) {
	t.Helper()
	var err error
	if pipes, ok := r.lis.(*bufconn.Listener); ok {
		conn, err = pipes.DialContext(t.Context())
	} else {
		conn, err = new(net.Dialer).DialContext(t.Context(), "tcp", r.lis.Addr().String())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// write sends bytes. It fails the test without ending the goroutine, which may be one that others wait for: its next read fails.
func (c *peer) write(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Error(err)
	}
}

// do sends a command as an array of bulk strings and gives the reply as one line per element.
func (c *peer) do(args ...string) string {
	c.t.Helper()
	c.write(string(fields(args).append(nil, 2)))
	return c.read()
}

// read gives one reply: errors, simple strings and numbers with their sign, bulk strings bare, arrays joined by spaces in
// brackets, and maps in braces; RESP3's other kinds with their sign.
func (c *peer) read() string {
	c.t.Helper()
	line, err := c.in.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	line = strings.TrimSuffix(line, "\r\n")
	n, err := strconv.Atoi(line[1:])
	kind := line[:1]
	switch {
	case line == "*-1":
		return "null"
	case line == "$-1":
		return "nil"
	case err != nil:
		return line
	case kind == "$", kind == "=":
		buf := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, buf); err != nil {
			return err.Error()
		}
		return strings.TrimPrefix(kind, "$") + string(buf[:n])
	case kind == "%":
		return "{" + c.several(2*n) + "}"
	case kind == "*", kind == "~", kind == ">":
		return strings.TrimPrefix(kind, "*") + "[" + c.several(n) + "]"
	}
	return line
}

func (c *peer) several(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = c.read()
	}
	return strings.Join(parts, " ")
}

// step is a command, as words without quotes, and its reply; … in it stands for anything.
type step struct{ command, want string }

func (c *peer) converse(steps ...step) {
	c.t.Helper()
	for _, s := range steps {
		if got := c.do(strings.Fields(s.command)...); !like(s.want, got) {
			c.t.Errorf("%s:\n got %s\nwant %s", s.command, got, s.want)
		}
	}
}

func like(want, got string) bool {
	parts := strings.Split(want, "…")
	got, ok := strings.CutPrefix(got, parts[0])
	for i, p := range parts[1:] {
		at := strings.Index(got, p)
		if i == len(parts)-2 && p != "" {
			at = strings.LastIndex(got, p)
			ok = ok && strings.HasSuffix(got, p)
		}
		if at < 0 {
			return false
		}
		got = got[at+len(p):]
	}
	return ok && (len(parts) > 1 || got == "")
}

// recordStep adds a step to m's open failover.
func (n *fakeNode) recordStep(t *testing.T, name, host string) {
	t.Helper()
	m, _ := n.State().Master("m")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: "m", Epoch: m.Failover.Epoch, Step: &raftlogv1.Step{Name: name, Instance: &raftlogv1.Address{Host: host, Port: 6379}},
	}}})
}

// beginForced opens a failover of m to its first replica.
func (n *fakeNode) beginForced(t *testing.T) {
	t.Helper()
	if _, err := n.Begin(t.Context(), api.Order{Master: "m", OperationID: fmt.Sprintf("op-%d", n.begun)}); err != nil {
		t.Fatal(err)
	}
}

// monitor is a master of its own.
func monitor(name string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
		Name: name, Address: &raftlogv1.Address{Host: name + ".example", Port: 6379},
		Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "1"}},
	}}}
}
