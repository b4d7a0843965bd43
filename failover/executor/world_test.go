package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/detector/probe"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

var errDeposed = errors.New("not the leader")

// world is three nodes with real fleets and executors over one log that runs the real law, and a simulated Redis network.
type world struct {
	t   *testing.T
	net *fakeredis.Net
	ctx context.Context
	log *slog.Logger

	mu      sync.Mutex
	state   *raftfsm.State
	changed chan struct{}
	entries []*raftlogv1.Command
	leader  string
	term    uint64
	dead    map[string]bool
	silent  map[string]bool // renews no reports
	// stubborn nodes do not take leadership over; transfers are those to whom it was offered.
	stubborn  map[string]bool
	transfers []string
	// patience is the executors' deadline, parallel how many sets they work on at once; 0 = the default.
	patience time.Duration
	parallel int
	// dialling, not nil, is asked before each control connection.
	dialling func(context.Context, raftfsm.Addr) error
	// hosts are what names resolve to; one that is not here does not, and one without a list never gets an answer. lookups
	// are those that were looked up, in order.
	hosts   map[string][]string
	lookups []string
	// skew is how far the wall clock of whoever proposes is off.
	skew    time.Duration
	nodes   map[string]*member
	running sync.WaitGroup
}

// member is one node of the world.
type member struct {
	w     *world
	id    string
	fleet *probe.Fleet
	stop  context.CancelFunc
}

// office is one leadership as its executor sees it: it does not notice by itself that it is over.
type office struct {
	*member
	term uint64
	// cut is the last state that reached the node before it was cut off; nil while it is not.
	cut *raftfsm.State
	e   *Executor
	// hold, not nil, keeps who asks for the members that are heard waiting.
	hold atomic.Pointer[chan struct{}]
}

// cutOff leaves the leader with the state it has, and without a quorum.
func (o *office) cutOff() {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.cut = o.w.state
}

func (o *office) State() *raftfsm.State {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if o.cut != nil {
		return o.cut
	}
	return o.w.state
}

// play runs a test in virtual time.
func play(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	playAt(t, raftfsm.Level, test)
}

// playAt runs a test of nodes that support a feature level.
func playAt(t *testing.T, level uint32, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out := io.Discard
		if testing.Verbose() && os.Getenv("WORLD_LOG") != "" {
			out = os.Stderr
		}
		w := &world{
			t: t, net: fakeredis.NewNet(), ctx: ctx, state: raftfsm.New(), changed: make(chan struct{}),
			dead: map[string]bool{}, silent: map[string]bool{}, stubborn: map[string]bool{}, nodes: map[string]*member{},
			hosts: map[string][]string{},
			log:   slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}
		defer func() {
			cancel()
			w.running.Wait()
			w.net.Close()
		}()
		ids := []string{"a", "b", "c"}
		var servers []raftfsm.Server
		for _, id := range ids {
			servers = append(servers, raftfsm.Server{ID: id, Address: id + ":1", Voter: true})
		}
		w.state = raftfsm.ApplyServers(w.state, 1, servers)
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{ClusterId: "c", ClusterName: "t"}}})
		for _, id := range ids {
			w.must(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: id, NodeId: "node-" + id, MaxLevel: level}}})
			w.start(id)
		}
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: level}}})
		test(t, w)
	})
}

// start runs the fleet of a node.
func (w *world) start(id string) {
	n := &member{w: w, id: id}
	f, err := probe.New(probe.Options{
		Cluster: n, Dialer: instance.Dialer{DialContext: w.net.From(id)}, Log: w.log.With("node", id),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	n.fleet = f
	ctx, stop := context.WithCancel(w.ctx)
	n.stop = stop
	w.mu.Lock()
	w.nodes[id] = n
	w.dead[id] = false
	w.mu.Unlock()
	w.running.Go(func() { _ = f.Run(ctx) })
}

// kill ends a node.
func (w *world) kill(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[id].stop()
	w.dead[id] = true
}

// lead gives leadership to a node. The executor's hook is told each point.
func (w *world) lead(id string, hook func(Point)) (end func()) {
	_, end = w.office(id, hook)
	return end
}

func (w *world) office(id string, hook func(Point)) (*office, context.CancelFunc) {
	w.mu.Lock()
	w.term++
	w.leader = id
	o := &office{member: w.nodes[id], term: w.term}
	patience, parallel := w.patience, w.parallel
	w.mu.Unlock()
	w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{Node: id, Term: o.term}}})
	dialer := instance.Dialer{DialContext: w.net.From(id)}
	e, err := New(Options{
		Cluster: o, Fleet: o.fleet, Log: w.log.With("node", id, "term", o.term), Deadline: patience, Parallel: parallel,
		LookupHost: w.lookUp,
		Dial: func(ctx context.Context, m *raftfsm.Master, a raftfsm.Addr, name string) (Conn, error) {
			w.mu.Lock()
			dialling := w.dialling
			w.mu.Unlock()
			if dialling != nil {
				if err := dialling(ctx, a); err != nil {
					return nil, err
				}
			}
			return dialer.Dial(ctx, instance.TargetOf(m, a, nil, false), name)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	e.o.OnPoint = hook
	o.e = e
	ctx, cancel := context.WithCancel(w.ctx)
	w.running.Go(func() { _ = e.Duties(ctx, o.term) })
	return o, cancel
}

func (w *world) apply(proposer string, c *raftlogv1.Command) raftfsm.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Header == nil {
		c.Header = &raftlogv1.Header{}
	}
	c.Header.Level, c.Header.Proposer, c.Header.ProposedAtMs = raftfsm.LevelOf(c), proposer, time.Now().Add(w.skew).UnixMilli()
	next, res := raftfsm.Apply(w.state, w.state.Index()+1, c)
	w.state = next
	if res.Code == raftfsm.OK {
		w.entries = append(w.entries, c)
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return res
}

func (w *world) must(c *raftlogv1.Command) raftfsm.Result {
	w.t.Helper()
	res := w.apply("", c)
	if res.Code != raftfsm.OK {
		w.t.Fatalf("%v: %s", c, res.Detail)
	}
	return res
}

func (n *member) State() *raftfsm.State {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.w.state
}

func (n *member) Changed() <-chan struct{} {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.w.changed
}

func (n *member) RaftID() string { return n.id }
func (n *member) Self() string   { return n.id }

func (n *member) Removed() <-chan struct{} { return nil }

func (n *member) Leading() bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.w.leader == n.id
}

// commitTime is what a commit takes.
const commitTime = 2 * time.Millisecond

// Propose is carried out by whoever leads.
func (n *member) Propose(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error) {
	select {
	case <-ctx.Done():
		return raftfsm.Result{}, ctx.Err()
	case <-time.After(commitTime):
	}
	n.w.mu.Lock()
	lost := n.w.leader == "" || n.w.dead[n.id]
	n.w.mu.Unlock()
	if lost {
		return raftfsm.Result{}, errDeposed
	}
	return n.w.apply(n.id, c), nil
}

// ProposeIn is carried out by this leader, and refused by the law where another has taken over meanwhile.
func (o *office) ProposeIn(ctx context.Context, term uint64, c *raftlogv1.Command) (raftfsm.Result, error) {
	if err := o.Verify(ctx, term); err != nil {
		return raftfsm.Result{}, err
	}
	if c.Header == nil {
		c.Header = &raftlogv1.Header{}
	}
	c.Header.Term = term
	return o.member.Propose(ctx, c)
}

func (o *office) Verify(ctx context.Context, term uint64) error {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	if o.w.leader != o.id || o.w.term != term {
		return errDeposed
	}
	return ctx.Err()
}

// Renewed: a node renews its reports while what it sees bears out each of its votes.
func (o *office) Renewed() map[string]bool {
	o.w.mu.Lock()
	st, up := o.w.state, map[string]*member{}
	for id, n := range o.w.nodes {
		if !o.w.silent[id] && !o.w.dead[id] {
			up[id] = n
		}
	}
	o.w.mu.Unlock()
	out := map[string]bool{}
	for id, n := range up {
		out[id] = true
		for m := range st.Masters() {
			for _, v := range m.Votes {
				out[id] = out[id] && (v.Node != id || n.fleet.StandsBy(v))
			}
		}
	}
	return out
}

func (o *office) Heard() (out []string) {
	if hold := o.hold.Load(); hold != nil {
		<-*hold
	}
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	for id := range o.w.nodes {
		if !o.w.dead[id] {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func (n *member) Leader() string {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.w.leader
}

func (o *office) TransferLeadership(_ context.Context, id string) error {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.w.transfers = append(o.w.transfers, id)
	if o.w.dead[id] || o.w.stubborn[id] {
		return errors.New("it does not answer")
	}
	o.w.leader = ""
	return nil
}

func (w *world) setPatience(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.patience = d
}

func (w *world) onDial(f func(context.Context, raftfsm.Addr) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialling = f
}

// depose ends the present leadership as far as the log is concerned.
func (w *world) depose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leader = ""
}

func addr(n int) raftfsm.Addr { return raftfsm.Addr{Host: fmt.Sprintf("10.0.0.%d", n), Port: 6379} }

// redis adds a master at 10.0.0.1 and replicas behind it.
func (w *world) redis(replicas int, kv ...string) []*fakeredis.Instance {
	w.t.Helper()
	all := []*fakeredis.Instance{w.net.Add(addr(1).String())}
	all[0].Write(1000)
	for i := range replicas {
		r := w.net.Add(addr(i + 2).String())
		r.Replicate(addr(1))
		all = append(all, r)
	}
	w.monitor(kv...)
	w.mu.Lock()
	w.leader = "c" // takes the facts, and does nothing else
	w.mu.Unlock()
	w.pass(15 * time.Second) // the replicas are found and read
	return all
}

func (w *world) monitor(kv ...string) {
	w.t.Helper()
	options := []*raftlogv1.OptionValue{{Name: "quorum", Value: "2"}, {Name: "down-after-milliseconds", Value: "1000"}, {Name: "failover-timeout", Value: "60000"}}
	for i := 0; i < len(kv); i += 2 {
		options = append(options, &raftlogv1.OptionValue{Name: kv[i], Value: kv[i+1]})
	}
	w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{Name: "m", Address: addr(1).Proto(), Options: options}}})
}

// pass lets virtual time pass.
func (w *world) pass(d time.Duration) {
	select {
	case <-w.t.Context().Done():
	case <-time.After(d):
	}
	synctest.Wait()
}

func (w *world) master() *raftfsm.Master {
	w.t.Helper()
	m, ok := w.nodes["a"].State().Master("m")
	if !ok {
		w.t.Fatal("the master is gone")
	}
	return m
}

// until passes time until the condition holds.
func (w *world) until(what string, limit time.Duration, cond func() bool) {
	w.t.Helper()
	for end := time.Now().Add(limit); !cond(); {
		if time.Now().After(end) {
			w.t.Fatalf("not within %s: %s\n%s", limit, what, w.describe())
		}
		w.pass(5 * time.Millisecond)
	}
}

// converged: one master, the committed one, everybody who runs follows it, and no row is open.
func (w *world) converged() bool {
	m := w.master()
	if m.Failover != nil {
		return false
	}
	for _, in := range m.Instances {
		s := w.net.Instance(in.Addr).State()
		switch {
		case !s.Running:
		case in.Addr == m.Address && !s.Master:
			return false
		case in.Addr != m.Address && (s.Master || !s.LinkUp || s.Follows != m.Address):
			return false
		}
	}
	return w.net.Instance(m.Address).State().Running
}

func (w *world) describe() string {
	var b strings.Builder
	m := w.master()
	fmt.Fprintf(&b, "master %s epoch %d odown %d row %+v hold %+v votes %v\n", m.Address, m.Epoch, m.ODown, m.Failover, m.Hold, m.Votes)
	for _, in := range m.Instances {
		fmt.Fprintf(&b, "%s fact %+v\n  truth %+v\n", in.Addr, in, w.net.Instance(in.Addr).State())
	}
	for _, c := range w.commands() {
		fmt.Fprintln(&b, c)
	}
	return b.String()
}

// commands are those that changed a role, in order.
func (w *world) commands() (out []string) {
	for _, c := range w.net.Log() {
		if name := strings.ToLower(c.Args[0]); (name == "replicaof" || name == "slaveof") && c.Err == "" {
			out = append(out, fmt.Sprintf("%s %s %s", c.Client, c.Instance, strings.Join(c.Args, " ")))
		}
	}
	return out
}

// count counts committed entries of a kind.
func (w *world) count(is func(*raftlogv1.Command) bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.entries {
		if is(c) {
			n++
		}
	}
	return n
}

func (w *world) begins() int {
	return w.count(func(c *raftlogv1.Command) bool { return c.GetBeginFailover() != nil })
}

// offered are the nodes to whom leadership was offered, in order.
func (w *world) offered() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.transfers)
}

// last is the story of the newest failover that has ended.
func (w *world) last() *raftfsm.Failover {
	w.t.Helper()
	h := w.master().History
	if len(h) == 0 {
		w.t.Fatal("no failover has ended\n" + w.describe())
	}
	return h[len(h)-1]
}

func stepNames(f *raftfsm.Failover) (out []string) {
	for _, s := range f.Steps {
		out = append(out, s.Name)
	}
	return out
}

// hand is what somebody does behind our back.
func (w *world) hand(i *fakeredis.Instance, replicaOf ...string) {
	w.t.Helper()
	dialer := instance.Dialer{DialContext: w.net.From("by-hand")}
	c, err := dialer.Dial(w.ctx, instance.Target{Addr: i.Addr()}, "hand")
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Do(w.ctx, append([]string{"REPLICAOF"}, replicaOf...)...); err != nil {
		w.t.Fatal(err)
	}
}

func noDial(context.Context, *raftfsm.Master, raftfsm.Addr, string) (Conn, error) {
	return nil, errors.New("no dialling here")
}
