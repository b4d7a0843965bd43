package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// world is a few nodes in one bubble: raft's in-memory transport, stores that outlive a node, and calls that are function
// calls. Time is virtual.
type world struct {
	t       *testing.T
	members []*member

	mu  sync.Mutex
	cut map[[2]string]bool // gRPC address pairs that do not hear each other
	// names that resolve.
	names map[string][]string
	// leads tells which node's gRPC address an address leads to; nil: itself.
	leads func(address string) string
}

// member is a node with what outlives it.
type member struct {
	*Node
	w       *world
	number  int
	peers   []string
	expect  int
	moved   uint16 // added to the Raft port, and to the gRPC port
	host    int    // number of the host that it runs on; 0 = its own
	stores  *stores
	trans   *raft.InmemTransport
	stop    context.CancelFunc
	done    chan error
	running atomic.Bool
	watches bool         // it is an observer
	hangs   atomic.Bool  // it answers no call
	blind   atomic.Bool  // it has no evidence of any instance
	ahead   atomic.Int64 // its clock is ahead by so many nanoseconds
	asked   atomic.Int64 // calls of ReadIndex that came to it
	log     journal      // of all its lives
}

// journal is what was logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func addr(number int, port uint16) raftfsm.Addr {
	return raftfsm.Addr{Host: fmt.Sprintf("10.0.0.%d", number), Port: port}
}

// newWorld makes size voters of one cluster, and starts them.
func newWorld(t *testing.T, size int) *world {
	t.Helper()
	w := &world{t: t, cut: map[[2]string]bool{}}
	var voters []raft.Server
	for i := 1; i <= size; i++ {
		m := w.add(i)
		if err := m.id.join("c1"); err != nil {
			t.Fatal(err)
		}
		voters = append(voters, raft.Server{ID: m.self, Address: raft.ServerAddress(m.o.Raft.String()), Suffrage: raft.Voter})
	}
	for _, m := range w.members {
		m.hooks.voters = voters
		m.start()
	}
	return w
}

// add makes a member without state.
func (w *world) add(number int) *member {
	w.t.Helper()
	mem := raft.NewInmemStore()
	m := &member{w: w, number: number}
	m.stores = &stores{logs: mem, stable: mem, snaps: raft.NewInmemSnapshotStore(), applied: &appliedMemory{}}
	m.create(nil, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members = append(w.members, m)
	return m
}

func (m *member) create(id *identity, voters []raft.Server) {
	m.w.t.Helper()
	log := slog.New(slog.NewTextHandler(&m.log, nil))
	if os.Getenv("NODE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", m.number)
	}
	host := cmp.Or(m.host, m.number)
	n, err := newNode(Options{
		NodeID: fmt.Sprintf("n%d", m.number), ClusterName: "test", Timing: TimingDefault, Log: log,
		Peers: m.peers, BootstrapExpect: m.expect, Observer: m.watches, Raft: addr(host, 26579+m.moved), GRPC: addr(host, 26479+m.moved), Version: "test",
		StandsBy: func(raftfsm.Vote) bool { return !m.blind.Load() },
	}, hooks{
		identity:  id,
		voters:    voters,
		stores:    func() (*stores, error) { return m.stores, nil },
		transport: m.transport,
		peers:     memPeers{m.w, m.number},
		resolve:   m.w.resolve,
		now:       func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) },
		caller: func(ctx context.Context) (raft.ServerID, bool) {
			id, ok := ctx.Value(callerKey{}).(raft.ServerID)
			return id, ok
		},
	})
	if err != nil {
		m.w.t.Fatal(err)
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.Node = n
}

func (w *world) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []netip.Addr
	for _, a := range w.names[host] {
		out = append(out, netip.MustParseAddr(a))
	}
	if out == nil {
		return nil, errors.New("no such host")
	}
	return out, nil
}

// wantLine fails unless a member has logged a line with the level and all of the parts.
func (m *member) wantLine(level string, parts ...string) {
	m.w.t.Helper()
	synctest.Wait()
	for line := range strings.Lines(m.log.String()) {
		if strings.Contains(line, "level="+level+" ") && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			return
		}
	}
	m.w.t.Errorf("n%d has not said %s %q:\n%s", m.number, level, parts, m.log.String())
}

// transport connects to every other member that has one.
func (m *member) transport() quietable {
	_, trans := raft.NewInmemTransportWithTimeout(raft.ServerAddress(m.o.Raft.String()), time.Second)
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.trans = trans
	for _, o := range m.w.members {
		if o != m && o.trans != nil && !m.w.cut[pair(m.number, o.number)] {
			m.trans.Connect(o.trans.LocalAddr(), o.trans)
			o.trans.Connect(m.trans.LocalAddr(), m.trans)
		}
	}
	return trans
}

func (m *member) start() {
	ctx, cancel := context.WithCancel(context.Background())
	m.stop, m.done = cancel, make(chan error, 1)
	m.running.Store(true)
	go func(n *Node) { m.done <- n.Run(ctx) }(m.Node)
}

// halt stops a member and tells what Run gave.
func (m *member) halt() error {
	m.stop()
	err := <-m.done
	m.gone()
	return err
}

// gone makes a member that has ended refuse connections.
func (m *member) gone() {
	m.running.Store(false)
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, o := range m.w.others(m) {
		if o.trans != nil && m.trans != nil {
			o.trans.Disconnect(m.trans.LocalAddr())
		}
	}
}

// restart makes a new node of what the old one left.
func (m *member) restart() {
	m.w.t.Helper()
	if m.running.Load() {
		if err := m.halt(); err != nil {
			m.w.t.Errorf("n%d: %v", m.number, err)
		}
	}
	m.create(m.id, m.hooks.voters)
	m.start()
}

func (w *world) close() {
	w.t.Helper()
	for _, m := range w.members {
		if m.running.Load() {
			if err := m.halt(); err != nil {
				w.t.Errorf("n%d: %v", m.number, err)
			}
		}
	}
	time.Sleep(time.Minute) // raft's last calls run into their time limits
}

func pair(a, b int) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{fmt.Sprint(a), fmt.Sprint(b)}
}

// isolate cuts a member off from all others, or lets it back.
func (w *world) isolate(m *member, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.members {
		if o == m || o.trans == nil {
			continue
		}
		w.cut[pair(m.number, o.number)] = off
		if off {
			m.trans.Disconnect(o.trans.LocalAddr())
			o.trans.Disconnect(m.trans.LocalAddr())
		} else {
			m.trans.Connect(o.trans.LocalAddr(), o.trans)
			o.trans.Connect(m.trans.LocalAddr(), m.trans)
		}
	}
}

// deafen cuts a member off from all others; calls between it and one of them pass, Raft does not.
func (w *world) deafen(m, to *member) {
	w.isolate(m, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.cut, pair(m.number, to.number))
}

// eventually waits, in virtual time, until ok holds.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for range 1000 {
		synctest.Wait()
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("after 10 s: not yet: %s", what)
}

// leader waits for the one that leads and is ready, among those that run.
func (w *world) leader(among ...*member) *member {
	w.t.Helper()
	if len(among) == 0 {
		among = w.members
	}
	var found *member
	w.eventually("a leader", func() bool {
		for _, m := range among {
			if m.running.Load() && m.leads.get() != nil {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

func (w *world) others(m *member) []*member {
	var out []*member
	for _, o := range w.members {
		if o != m {
			out = append(out, o)
		}
	}
	return out
}

// settle waits until everyone is registered and has applied the same index.
func (w *world) settle() {
	w.t.Helper()
	w.eventually("all nodes are registered and even", func() bool {
		index := w.leader().State().Index()
		for _, m := range w.members {
			count := 0
			for range m.State().Nodes() {
				count++
			}
			if m.running.Load() && (m.State().Index() != index || count != len(m.State().Servers())) {
				return false
			}
		}
		return true
	})
}

func monitor(name string, number int) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
		Name: name, Address: addr(number, 6379).Proto(), Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "2"}},
	}}}
}

func (w *world) mustPropose(m *member, c *raftlogv1.Command) raftfsm.Result {
	w.t.Helper()
	res, err := m.Propose(w.t.Context(), c)
	if err != nil {
		w.t.Fatalf("n%d: propose: %v", m.number, err)
	}
	if res.Err() != nil {
		w.t.Fatalf("n%d: refused: %v", m.number, res.Err())
	}
	return res
}

type callerKey struct{}

// memPeers calls other members' services directly.
type memPeers struct {
	w    *world
	from int
}

func (p memPeers) find(address string) (*Node, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.w.leads != nil {
		address = p.w.leads(address)
	}
	for _, m := range p.w.members {
		if m.o.GRPC.String() != address {
			continue
		}
		if !m.running.Load() || p.w.cut[pair(p.from, m.number)] {
			break
		}
		return m.Node, nil
	}
	return nil, errors.New("unreachable")
}

func (p memPeers) self() (id raft.ServerID) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	for _, m := range p.w.members {
		if m.number == p.from {
			id = m.self
		}
	}
	return id
}

func (p memPeers) client(_ context.Context, address string) (peerv1.PeerServiceClient, error) {
	if _, err := p.find(address); err != nil {
		return nil, err
	}
	return memClient{p, address}, nil
}

func (p memPeers) warm(string)                           {}
func (p memPeers) conn(string) (*grpc.ClientConn, error) { return nil, errors.ErrUnsupported }
func (p memPeers) Close() error                          { return nil }
func (p memPeers) dial(address string) (peerv1.PeerServiceClient, io.Closer, error) {
	return memClient{p, address}, io.NopCloser(nil), nil
}

type memClient struct {
	memPeers
	to string
}

// member is the one at the address; nil for none.
func (c memClient) member() *member {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for _, m := range c.w.members {
		if m.o.GRPC.String() == c.to {
			return m
		}
	}
	return nil
}

func (c memClient) hung() bool {
	m := c.member()
	return m != nil && m.hangs.Load()
}

func call[Req, Resp any](ctx context.Context, c memClient, req Req, f func(peerv1.PeerServiceServer, context.Context, Req) (Resp, error)) (Resp, error) {
	var zero Resp
	if c.hung() {
		<-ctx.Done()
		return zero, status.FromContextError(ctx.Err()).Err()
	}
	m, err := c.find(c.to)
	if err != nil {
		return zero, status.Error(codes.Unavailable, err.Error())
	}
	resp, err := f(m.PeerServer(), context.WithValue(ctx, callerKey{}, c.self()), req)
	if _, cut := c.find(c.to); cut != nil {
		return zero, status.Error(codes.Unavailable, "the answer was lost")
	}
	return resp, err
}

func (c memClient) Describe(ctx context.Context, r *peerv1.DescribeRequest, _ ...grpc.CallOption) (*peerv1.DescribeResponse, error) {
	return call(ctx, c, r, peerv1.PeerServiceServer.Describe)
}

func (c memClient) Promise(ctx context.Context, r *peerv1.PromiseRequest, _ ...grpc.CallOption) (*peerv1.PromiseResponse, error) {
	return call(ctx, c, r, peerv1.PeerServiceServer.Promise)
}

func (c memClient) Join(ctx context.Context, r *peerv1.JoinRequest, _ ...grpc.CallOption) (*peerv1.JoinResponse, error) {
	return call(ctx, c, r, peerv1.PeerServiceServer.Join)
}

func (c memClient) Propose(ctx context.Context, r *peerv1.ProposeRequest, _ ...grpc.CallOption) (*peerv1.ProposeResponse, error) {
	return call(ctx, c, r, peerv1.PeerServiceServer.Propose)
}

func (c memClient) ReadIndex(ctx context.Context, r *peerv1.ReadIndexRequest, _ ...grpc.CallOption) (*peerv1.ReadIndexResponse, error) {
	if m := c.member(); m != nil {
		m.asked.Add(1)
	}
	return call(ctx, c, r, peerv1.PeerServiceServer.ReadIndex)
}

func (c memClient) Renew(ctx context.Context, r *peerv1.RenewRequest, _ ...grpc.CallOption) (*peerv1.RenewResponse, error) {
	return call(ctx, c, r, peerv1.PeerServiceServer.Renew)
}
