package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/cmd/sentineld/daemon"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

func TestMain(m *testing.M) {
	// The runtime's goroutine for signals must not be born in a bubble.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	os.Exit(m.Run())
}

// world is a cluster of whole nodes and the Redis instances that they watch.
type world struct {
	t     *testing.T
	net   *Network
	redis *fakeredis.Net
	log   *journal
	nodes []*simNode
	// instances of the set "m", 10.9.0.1 first.
	instances []*fakeredis.Instance
	checker   checker
	seeds     []string
}

// simNode is one node and its host.
type simNode struct {
	w      *world
	number int
	host   string
	dir    string
	peers  int
	*daemon.Daemon
	up     bool
	stop   context.CancelFunc
	done   chan error
	reds   *redisConns
	config *conf.Config
}

// journal takes the logs of all nodes.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.buf.Len() > 64<<20 {
		j.buf.Reset()
	}
	return j.buf.Write(p)
}

// prefixed marks the lines of one node.
type prefixed struct {
	to   io.Writer
	text string
}

func (p prefixed) Write(b []byte) (int, error) {
	_, err := p.to.Write(append([]byte(p.text), b...))
	return len(b), err
}

// play runs a test in virtual time. SIM_LOG names a file that takes the logs of a test that fails.
func play(t *testing.T, nodes int, test func(t *testing.T, w *world)) {
	t.Helper()
	base := "/dev/shm"
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "sim") //nolint:usetesting // in memory where there is such a place: the disk is no part of virtual time
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("a secret of the cluster\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: NewNetwork(200 * time.Microsecond), redis: fakeredis.NewNet(), log: &journal{}}
		w.checker = newChecker()
		w.redis.LogOnly(func(args []string) bool {
			switch strings.ToLower(args[0]) {
			case "ping", "info", "role", "exec", "multi":
				return false
			}
			return true
		})
		defer w.close()
		for i := range nodes {
			n := &simNode{w: w, number: i + 1, host: fmt.Sprintf("10.1.0.%d", i+1), dir: filepath.Join(dir, fmt.Sprint("n", i+1)), peers: nodes}
			if err := os.Mkdir(n.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			w.nodes = append(w.nodes, n)
		}
		test(t, w)
	})
}

// close ends every node, and tells of goroutines that remain by the bubble's own check.
func (w *world) close() {
	w.log.mu.Lock()
	if path := os.Getenv("SIM_LOG"); path != "" && w.t.Failed() {
		_ = os.WriteFile(path, w.log.buf.Bytes(), 0o600)
	}
	w.log.mu.Unlock()
	for _, n := range w.nodes {
		if n.up {
			n.halt()
		}
	}
	w.redis.Close()
	time.Sleep(time.Minute) // raft's last calls run into their time limits
	synctest.Wait()
	if c := w.net.Conns(); c != 0 && !w.t.Failed() {
		w.t.Errorf("%d connections are open after the end", c)
	}
}

func (n *simNode) configure() {
	n.w.t.Helper()
	peers := make([]string, n.peers)
	for i := range peers {
		peers[i] = fmt.Sprintf("10.1.0.%d:26479", i+1)
	}
	lines := []string{
		"bind " + n.host, "dir " + n.dir, fmt.Sprint("node-id n", n.number), "cluster-name sim", "announce-ip " + n.host,
		"cluster-peers " + strings.Join(peers, " "), fmt.Sprint("bootstrap-expect ", n.peers/2+1), "protected-mode no",
		"loglevel debug", "cluster-secret-file " + filepath.Join(filepath.Dir(n.dir), "secret"),
	}
	lines = append(lines, n.w.seeds...)
	config, _, err := conf.Parse(conf.Input{
		Args: []string{"sim.conf"}, HostName: "sim", WorkDir: n.dir,
		Open: func(name string) ([]conf.File, error) {
			return []conf.File{{Path: name, Text: strings.Join(lines, "\n")}}, nil
		},
	})
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.config = config
}

func (n *simNode) start() {
	n.w.t.Helper()
	n.configure()
	n.reds = &redisConns{open: map[net.Conn]bool{}}
	n.w.net.Revive(n.host)
	stamp := prefixed{n.w.log, fmt.Sprintf("n%d ", n.number)}
	d, err := daemon.New(daemon.Options{
		Config: n.config, Stderr: stamp, Dialer: instance.Dialer{DialContext: n.reds.dialer(n.w.redis.From(n.host))},
		Listen: n.w.net.Listen, DialContext: n.w.net.From(n.host),
	})
	if err != nil {
		n.w.t.Fatalf("n%d: %v", n.number, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.Daemon, n.stop, n.done, n.up = d, stop, make(chan error, 1), true
	go func() { n.done <- d.Run(ctx) }()
}

// halt stops a node as SIGTERM does.
func (n *simNode) halt() {
	n.w.t.Helper()
	began := time.Now()
	n.stop()
	err := <-n.done
	n.up = false
	if err != nil {
		n.w.t.Errorf("n%d: Run: %v", n.number, err)
	}
	if took := time.Since(began); took > 3*time.Second {
		n.w.t.Errorf("n%d: Run took %s to end", n.number, took)
	}
	if open := n.w.net.Listening(n.host); len(open) > 0 {
		n.w.t.Errorf("n%d: ports %v are open after Run has ended", n.number, open)
	}
}

// crash ends a node as SIGKILL does, as far as anybody else can tell: its connections are reset before it learns anything.
// What its process still does reaches nobody.
func (n *simNode) crash() {
	n.w.t.Helper()
	n.w.net.Crash(n.host)
	n.reds.crash()
	n.halt()
}

func (n *simNode) restart() {
	n.w.t.Helper()
	if n.up {
		n.crash()
	}
	n.start()
}

// redisConns are a node's connections to Redis, which die with its process.
type redisConns struct {
	mu   sync.Mutex
	open map[net.Conn]bool
	down bool
}

type redisConn struct {
	net.Conn
	of *redisConns
}

func (c *redisConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

func (r *redisConns) dialer(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.down {
			_ = c.Close()
			return nil, syscall.ENETUNREACH
		}
		r.open[c] = true
		return &redisConn{c, r}, nil
	}
}

func (r *redisConns) crash() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = true
	for c := range r.open {
		_ = c.Close()
	}
}

// start starts all nodes and waits for a cluster in which each is registered and votes.
func (w *world) start() {
	w.t.Helper()
	for _, n := range w.nodes {
		n.start()
	}
	w.until("a cluster", time.Minute, func() bool {
		for _, n := range w.nodes {
			if s := n.State(); s.Voters() != len(w.nodes) || len(slices.Collect(s.Nodes())) != len(w.nodes) || n.Status().LeaderID == "" {
				return false
			}
		}
		return true
	})
}

const downAfter = time.Second

// address is that of the instance number i, from 1.
func address(i int) raftfsm.Addr { return raftfsm.Addr{Host: fmt.Sprintf("10.9.0.%d", i), Port: 6379} }

// addRedis makes a master and replicas.
func (w *world) addRedis(replicas int) {
	w.instances = []*fakeredis.Instance{w.redis.Add(address(1).String())}
	w.instances[0].Write(1000)
	w.instances[0].SetWriteRate(100)
	for i := range replicas {
		r := w.redis.Add(address(i + 2).String())
		r.Replicate(address(1))
		w.instances = append(w.instances, r)
	}
}

// watch has the cluster monitor the set and waits until all of it is known everywhere.
func (w *world) watch(quorum int, kv ...string) {
	w.t.Helper()
	via := w.nodes[0]
	w.must(via, "SENTINEL", "MONITOR", "m", address(1).Host, "6379", strconv.Itoa(quorum))
	w.must(via, append([]string{
		"SENTINEL", "SET", "m", "down-after-milliseconds", strconv.Itoa(int(downAfter.Milliseconds())),
		"failover-timeout", "60000",
	}, kv...)...)
	w.until("the set is known", 30*time.Second, func() bool {
		for _, n := range w.nodes {
			m, ok := n.State().Master("m")
			if !ok || len(m.Instances) != len(w.instances) {
				return false
			}
			for _, in := range m.Replicas() {
				if in.SyncedReplID == "" {
					return false
				}
			}
		}
		return true
	})
	w.pass(12 * time.Second) // each node has read INFO
}

// world3 is three nodes that watch a master with two replicas, quorum 2.
func world3(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	play(t, 3, func(t *testing.T, w *world) {
		w.start()
		w.addRedis(2)
		w.watch(2)
		test(t, w)
	})
}

// ask sends one command to the Sentinel port of a node.
func (w *world) ask(n *simNode, args ...string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	d := instance.Dialer{DialContext: w.net.From("10.2.0.1")}
	c, err := d.Dial(ctx, instance.Target{Addr: raftfsm.Addr{Host: n.host, Port: 26379}}, "")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(ctx, args...)
}

func (w *world) must(n *simNode, args ...string) any {
	w.t.Helper()
	r, err := w.ask(n, args...)
	if err != nil {
		w.t.Fatalf("n%d: %v: %v", n.number, args, err)
	}
	return r
}

// lookup is get-master-addr-by-name on one node.
func (w *world) lookup(n *simNode) (raftfsm.Addr, error) {
	r, err := w.ask(n, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m")
	if err != nil {
		return raftfsm.Addr{}, err
	}
	pair, ok := r.([]any)
	if !ok || len(pair) != 2 {
		return raftfsm.Addr{}, fmt.Errorf("get-master-addr-by-name answered %v", r)
	}
	return raftfsm.ParseAddr(net.JoinHostPort(fmt.Sprint(pair[0]), fmt.Sprint(pair[1])))
}

// pass lets virtual time pass, and has the checker look every 20 ms of it.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	for d > 0 {
		step := min(d, 20*time.Millisecond)
		time.Sleep(step)
		d -= step
		synctest.Wait()
		w.look()
	}
}

// rest lets virtual time pass in long steps.
func (w *world) rest(d time.Duration) {
	w.t.Helper()
	for d > 0 {
		step := min(d, time.Second)
		time.Sleep(step)
		d -= step
		synctest.Wait()
		w.look()
	}
}

// until passes time until the condition holds.
func (w *world) until(what string, limit time.Duration, cond func() bool) {
	w.t.Helper()
	began := time.Now()
	for {
		synctest.Wait()
		w.look()
		if cond() {
			return
		}
		if time.Since(began) > limit {
			w.t.Fatalf("not within %s: %s\n%s", limit, what, w.describe())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive are the nodes that run.
func (w *world) alive() (out []*simNode) {
	for _, n := range w.nodes {
		if n.up {
			out = append(out, n)
		}
	}
	return out
}

// leader waits for the one among the nodes that leads with the highest term.
func (w *world) leader(among ...*simNode) (leader *simNode) {
	w.t.Helper()
	if len(among) == 0 {
		among = w.alive()
	}
	w.until("a leader", time.Minute, func() bool {
		term := uint64(0)
		for _, n := range among {
			if st := n.Status(); n.up && st.Role == api.RoleLeader && st.Term > term {
				leader, term = n, st.Term
			}
		}
		return leader != nil
	})
	return leader
}

func (w *world) others(n ...*simNode) (out []*simNode) {
	for _, o := range w.nodes {
		if !slices.Contains(n, o) {
			out = append(out, o)
		}
	}
	return out
}

// master is the set as a node that runs has it.
func (w *world) master(n *simNode) *raftfsm.Master {
	w.t.Helper()
	m, ok := n.State().Master("m")
	if !ok {
		w.t.Fatalf("n%d does not know the set", n.number)
	}
	return m
}

// freshest is the running node that has applied most.
func (w *world) freshest() (best *simNode) {
	for _, n := range w.alive() {
		if best == nil || n.State().Index() > best.State().Index() {
			best = n
		}
	}
	return best
}

// separate cuts two groups of nodes from each other, both ways.
func (w *world) separate(a, b []*simNode) { w.between(a, b, w.net.Cut) }

// rejoin undoes separate.
func (w *world) rejoin(a, b []*simNode) { w.between(a, b, w.net.Heal) }

func (w *world) between(a, b []*simNode, f func(from, to string)) {
	for _, x := range a {
		for _, y := range b {
			f(x.host, y.host)
			f(y.host, x.host)
		}
	}
}

// converged tells what is missing until exactly one instance is master, it is the committed one on every node, everybody
// who runs follows it, and no row is open; "" for nothing.
func (w *world) converged() string {
	var at raftfsm.Addr
	for _, n := range w.alive() {
		m, ok := n.State().Master("m")
		switch {
		case !ok:
			return fmt.Sprintf("n%d does not know the set", n.number)
		case m.Failover != nil:
			return fmt.Sprintf("n%d: a row is open", n.number)
		case m.Hold != nil:
			return fmt.Sprintf("n%d: the set is held: %s", n.number, m.Hold.Reason)
		case m.IsODown():
			return fmt.Sprintf("n%d: the master is objectively down", n.number)
		case !at.IsZero() && m.Address != at:
			return fmt.Sprintf("n%d has master %s, another %s", n.number, m.Address, at)
		}
		at = m.Address
	}
	for _, in := range w.instances {
		s := in.State()
		switch {
		case in.Addr() == at && !(s.Running && s.Master):
			return fmt.Sprintf("committed master %s is not a running master", at)
		case s.Running && in.Addr() != at && (s.Master || s.Follows != at || !s.LinkUp):
			return fmt.Sprintf("%s does not follow %s: %+v", in.Addr(), at, s)
		}
	}
	for _, n := range w.alive() {
		if got, err := w.lookup(n); err != nil || got != at {
			return fmt.Sprintf("n%d answers %v %v, the master is %s", n.number, got, err, at)
		}
	}
	return ""
}

func (w *world) converge(limit time.Duration) {
	w.t.Helper()
	began, missing := time.Now(), ""
	for {
		synctest.Wait()
		w.look()
		if missing = w.converged(); missing == "" {
			return
		}
		if time.Since(began) > limit {
			w.t.Fatalf("not converged within %s: %s\n%s", limit, missing, w.describe())
		}
		w.pass(50 * time.Millisecond)
	}
}

// controls are the commands that changed a role or would have, since the entry number from.
func (w *world) controls(from int) (out []fakeredis.Command) {
	for _, c := range w.redis.Log()[from:] {
		switch strings.ToLower(c.Args[0]) {
		case "replicaof", "slaveof", "failover", "debug", "shutdown", "config":
			if strings.HasPrefix(c.Client, "sentineld") || strings.ToLower(c.Args[0]) != "config" {
				out = append(out, c)
			}
		}
	}
	return out
}

// events of one kind in a node's ring, or all for "".
func (w *world) events(n *simNode, kind string) (out []raftfsm.Event) {
	seq, _ := n.State().EventsSince(raftfsm.Cursor{})
	for e := range seq {
		if kind == "" || e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// goroutines counts those of the whole process.
func goroutines() int { return runtime.NumGoroutine() }

func (w *world) describe() string {
	var b strings.Builder
	for _, n := range w.nodes {
		if !n.up {
			fmt.Fprintf(&b, "n%d is down\n", n.number)
			continue
		}
		st := n.Status()
		fmt.Fprintf(&b, "n%d (%s) %s term %d leader %s applied %d commit %d contact %s\n", n.number, st.RaftID, st.Role, st.Term, st.LeaderID,
			st.AppliedIndex, st.CommitIndex, st.LastContact)
	}
	if n := w.freshest(); n != nil {
		if m, ok := n.State().Master("m"); ok {
			fmt.Fprintf(&b, "master %s epoch %d odown %d hold %+v votes %+v\nrow %+v\n", m.Address, m.Epoch, m.ODown, m.Hold, m.Votes, m.Failover)
			for _, in := range m.Instances {
				fmt.Fprintf(&b, "%s fact %+v\n", in.Addr, in)
			}
			for _, f := range m.History[max(0, len(m.History)-4):] {
				fmt.Fprintf(&b, "past %+v\n", f)
			}
		}
	}
	for _, in := range w.instances {
		fmt.Fprintf(&b, "%s truth %+v\n", in.Addr(), in.State())
	}
	all := w.controls(0)
	for _, c := range all[max(0, len(all)-30):] {
		fmt.Fprintf(&b, "%s %s %s: %v %s\n", c.At.Format("15:04:05.000"), c.Client, c.Instance, c.Args, c.Err)
	}
	fmt.Fprintf(&b, "now %s\n", time.Now().Format("15:04:05.000"))
	return b.String()
}

// catch waits in steps shorter than a message takes, for what lasts no longer.
func (w *world) catch(what string, limit time.Duration, cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Microsecond) {
		synctest.Wait()
		if cond() {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("not within %s: %s\n%s", limit, what, w.describe())
		}
	}
}

// killAll ends every node at the same moment.
func (w *world) killAll() {
	for _, n := range w.nodes {
		w.net.Crash(n.host)
		n.reds.crash()
	}
	for _, n := range w.nodes {
		n.halt()
	}
}

// lostTo cuts an instance off from a node, or lets it back.
func (w *world) lostTo(n *simNode, a raftfsm.Addr, lost bool) {
	if lost {
		w.redis.Drop(n.host, a)
	} else {
		w.redis.Heal(n.host, a)
	}
}
