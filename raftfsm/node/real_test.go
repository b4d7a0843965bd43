package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// process is a node as the daemon runs one: bolt in a directory, Raft and gRPC over loopback TCP.
type process struct {
	*Node
	t          *testing.T
	name, dir  string
	raft, grpc string // addresses, once known
	peers      []string
	secret     string // "" for that of all
	server     *grpc.Server
	stop       context.CancelFunc
	done       chan error
}

func listen(t *testing.T, at string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func parseAddr(t *testing.T, s string) raftfsm.Addr {
	t.Helper()
	a, err := raftfsm.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (p *process) start() {
	p.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("NODE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", p.name)
	}
	rl, gl := listen(p.t, p.raft), listen(p.t, p.grpc)
	n, err := New(Options{
		NodeID: p.name, ClusterName: "test", Dir: p.dir, Peers: p.peers, BootstrapExpect: len(p.peers),
		Secret: raftfsm.NewSecret(cmp.Or(p.secret, "a secret that nobody guesses")), RaftListener: rl, Raft: parseAddr(p.t, p.raft), GRPC: parseAddr(p.t, p.grpc),
		Version: "test", Log: log,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.Node = n
	p.server = grpc.NewServer(grpc.Creds(n.Credentials()))
	peerv1.RegisterPeerServiceServer(p.server, n.PeerServer())
	go func() { _ = p.server.Serve(gl) }()
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.done = cancel, make(chan error, 1)
	go func() { p.done <- n.Run(ctx) }()
}

func (p *process) end() {
	p.t.Helper()
	if p.stop == nil {
		return
	}
	p.stop()
	if err := <-p.done; err != nil {
		p.t.Errorf("%s: Run: %v", p.name, err)
	}
	p.server.Stop()
	p.stop = nil
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("after a minute: not yet: %s", what)
}

// insist proposes until the cluster, which may be electing, takes it.
func (p *process) insist(number int) {
	p.t.Helper()
	soon(p.t, fmt.Sprintf("%s proposes m%d", p.name, number), func() bool {
		res, err := p.Propose(p.t.Context(), monitor(fmt.Sprintf("m%d", number), 100+number))
		return err == nil && res.Code == raftfsm.OK
	})
}

func TestRealCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("real sockets and disks")
	}
	var procs []*process
	var peers []string
	for i := range 3 {
		rl, gl := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
		p := &process{t: t, name: fmt.Sprintf("n%d", i), dir: t.TempDir(), raft: rl.Addr().String(), grpc: gl.Addr().String()}
		_, _ = rl.Close(), gl.Close()
		procs, peers = append(procs, p), append(peers, p.grpc)
	}
	defer func() {
		for _, p := range procs {
			p.end()
		}
	}()
	for _, p := range procs {
		p.peers = peers
		p.start()
	}
	whole := func() bool {
		for _, p := range procs {
			s, _, err := p.Local()
			if err != nil || s.Voters() != 3 {
				return false
			}
			for _, v := range s.Servers() {
				if _, ok := s.Node(v.ID); !ok {
					return false
				}
			}
		}
		return true
	}
	soon(t, "three voters, all registered", whole)
	for i, p := range procs {
		p.insist(i)
	}
	if _, err := New(Options{
		NodeID: "n0", ClusterName: "test", Dir: procs[0].dir, RaftListener: listen(t, "127.0.0.1:0"),
		Raft: parseAddr(t, procs[0].raft), GRPC: parseAddr(t, procs[0].grpc),
	}); err == nil || !strings.Contains(err.Error(), procs[0].dir) {
		t.Errorf("a second process in the same dir: %v", err)
	}

	next := 3
	for count := 1; count <= 3; count++ {
		for _, p := range procs[:count] {
			p.end()
		}
		for _, p := range procs[:count] {
			p.start()
		}
		soon(t, fmt.Sprintf("whole after a restart of %d", count), whole)
		procs[0].insist(next)
		next++
		for _, p := range procs {
			if s, err := p.Read(t.Context()); err != nil || s.MasterCount() != next {
				soon(t, "a linearizable read shows every write", func() bool {
					s, err := p.Read(t.Context())
					return err == nil && s.MasterCount() == next
				})
			}
		}
	}

	told := make([]uint64, 3)
	for i, p := range procs {
		s, _, err := p.Local()
		if err != nil {
			t.Fatal(err)
		}
		told[i] = s.Index()
	}
	for _, p := range procs {
		p.end()
	}
	for i, p := range procs {
		p.start()
		soon(t, p.name+" answers alone", func() bool { _, _, err := p.Local(); return err == nil })
		if s, _, err := p.Local(); err != nil || s.Index() < told[i] || s.MasterCount() != next {
			t.Errorf("%s alone: index %d after it has told %d, %v", p.name, s.Index(), told[i], err)
		}
		if _, err := p.Propose(t.Context(), monitor("x", 200)); !errors.Is(err, ErrNoLeader) {
			t.Errorf("%s alone: propose: %v", p.name, err)
		}
		p.end()
	}
	for _, p := range procs {
		p.start()
	}
	soon(t, "whole again", whole)
	procs[0].insist(next)
	if st := procs[0].Status(); st.FsyncP50 <= 0 || st.ClusterID == "" {
		t.Errorf("status %+v", st)
	}
}

// A node without a directory is a cluster of one, at once.
func TestMemoryCluster(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	n, err := New(Options{
		NodeID: "dev", ClusterName: "dev", Timing: TimingDev, RaftListener: l, Raft: parseAddr(t, l.Addr().String()), GRPC: parseAddr(t, "127.0.0.1:1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	p := &process{Node: n, t: t, name: "dev"}
	begun := time.Now()
	p.insist(1)
	t.Logf("ready after %v", time.Since(begun))
	if s, age, err := n.Local(); err != nil || age != 0 || s.MasterCount() != 1 {
		t.Errorf("local: age %v, %v", age, err)
	}
	if got := raisedLevel(t, n); got != raftfsm.Level {
		t.Errorf("level %d", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// raisedLevel is the feature level once it is this build's, or what it is after a while.
func raisedLevel(t *testing.T, n *Node) uint32 {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		changed := n.Changed()
		level := n.State().FeatureLevel()
		if level == raftfsm.Level {
			return level
		}
		select {
		case <-changed:
		case <-limit:
			return level
		}
	}
}

// A node that never ran gives back its directory and its port.
func TestCloseWithoutRun(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		l := listen(t, "127.0.0.1:0")
		at := l.Addr().String()
		n, err := New(Options{
			NodeID: "n1", ClusterName: "test", Dir: dir, RaftListener: l, Raft: parseAddr(t, at), GRPC: parseAddr(t, "127.0.0.1:1"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		_ = listen(t, at).Close()
		if err := n.Run(t.Context()); err == nil {
			t.Error("a closed node runs")
		}
	}
}

// While the cluster secret is changed, a node that has the other one is cut off from the leader. It runs, and is not removed for
// dead.
func TestRemoveDeadNodesSparesWhoHasAnotherSecret(t *testing.T) {
	if testing.Short() {
		t.Skip("real sockets and disks")
	}
	procs := lostCluster(t)
	lone := procs[2]
	lone.secret = "the next one"
	for _, p := range procs {
		p.start()
	}
	leader := func() *process {
		var found *process
		soon(t, "a leader", func() bool {
			for _, p := range procs[:2] {
				if p.leads.get() != nil {
					found = p
				}
			}
			return found != nil
		})
		return found
	}
	l := leader()
	s := l.State()
	dead, ok := s.Node(lone.RaftID())
	if !ok {
		t.Fatal("not registered")
	}
	if err := l.removeUnheard(t.Context(), s, dead); err == nil || !strings.Contains(err.Error(), "secrets differ") || !isMember(l.State(), lone.self) {
		t.Errorf("%v; members %v", err, l.State().Servers())
	}
	lone.end()
	soon(t, "it is removed where nothing runs", func() bool {
		l := leader()
		return l.removeUnheard(t.Context(), l.State(), dead) == nil && !isMember(l.State(), lone.self)
	})
}
