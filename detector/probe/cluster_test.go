package probe

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// law is a cluster of one log: what is proposed is applied by the real law at once.
type law struct {
	mu      sync.Mutex
	state   *raftfsm.State
	changed chan struct{}
	leading bool
	removed chan struct{}
	fail    error // what Propose returns instead
	entries []entry
	calls   int
}

type entry struct {
	at  time.Time
	c   *raftlogv1.Command
	res raftfsm.Result
}

func newLaw() *law {
	l := &law{state: raftfsm.New(), changed: make(chan struct{}), removed: make(chan struct{}), leading: true}
	var servers []raftfsm.Server
	for _, id := range []string{"a", "b", "c"} {
		servers = append(servers, raftfsm.Server{ID: id, Address: id + ":1", Voter: true})
	}
	l.state = raftfsm.ApplyServers(l.state, 1, servers)
	l.apply(&raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{ClusterId: "c", ClusterName: "t"}}})
	for _, id := range []string{"a", "b", "c"} {
		l.apply(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: id, NodeId: id, MaxLevel: 1}}})
	}
	l.entries = nil
	return l
}

func (l *law) apply(c *raftlogv1.Command) raftfsm.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Header == nil {
		c.Header = &raftlogv1.Header{Level: 1, Proposer: "b"}
	}
	next, res := raftfsm.Apply(l.state, l.state.Index()+1, c)
	l.state = next
	l.entries = append(l.entries, entry{time.Now(), c, res})
	close(l.changed)
	l.changed = make(chan struct{})
	return res
}

func (l *law) State() *raftfsm.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

func (l *law) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *law) Propose(_ context.Context, c *raftlogv1.Command) (raftfsm.Result, error) {
	l.mu.Lock()
	l.calls++
	fail := l.fail
	l.mu.Unlock()
	if fail != nil {
		return raftfsm.Result{}, fail
	}
	return l.apply(c), nil
}

func (l *law) RaftID() string { return "a" }

func (l *law) Removed() <-chan struct{} { return l.removed }

func (l *law) Leading() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leading
}

func (l *law) set(leading bool, fail error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading, l.fail = leading, fail
}

var errNoLeader = errors.New("no leader")

// reports are those proposed by the node under test, with their times.
func (l *law) reports() (out []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.c.GetReport() != nil && e.c.GetReport().GetNode() == "a" {
			out = append(out, e)
		}
	}
	return out
}

func (l *law) facts() (out []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if e.c.GetStateFacts() != nil {
			out = append(out, e)
		}
	}
	return out
}

func (l *law) monitor(name, addr string, kv ...string) {
	a, err := raftfsm.ParseAddr(addr)
	if err != nil {
		panic(err)
	}
	res := l.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
		Name: name, Address: a.Proto(), Options: options(append([]string{"quorum", "2", "down-after-milliseconds", "1000"}, kv...)...),
	}}})
	if res.Code != raftfsm.OK {
		panic(res.Detail)
	}
}

func (l *law) setOption(name string, kv ...string) {
	l.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{Name: name, Options: options(kv...)}}})
}

func options(kv ...string) (out []*raftlogv1.OptionValue) {
	for i := 0; i < len(kv); i += 2 {
		out = append(out, &raftlogv1.OptionValue{Name: kv[i], Value: kv[i+1]})
	}
	return out
}

// votes of the node under test against an instance.
func (l *law) votes(addr string) (out []raftfsm.Vote) {
	a, _ := raftfsm.ParseAddr(addr)
	m, ok := l.State().Owner(a)
	if !ok {
		return nil
	}
	for _, v := range m.VotesAgainst(a) {
		if v.Node == "a" {
			out = append(out, v)
		}
	}
	return out
}

// room is a fleet that probes a simulated network, inside a bubble.
type room struct {
	t     *testing.T
	net   *fakeredis.Net
	law   *law
	fleet *Fleet
	stop  func()
	// verdicts counts those that fell, also the ones that were taken back in the same moment.
	verdicts verdictCounter
}

type verdictCounter struct {
	slog.Handler
	n atomic.Int64
	// hold, not nil, keeps who logs a verdict waiting.
	hold atomic.Pointer[chan struct{}]
}

func (c *verdictCounter) Enabled(context.Context, slog.Level) bool { return true }

func (c *verdictCounter) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "instance is subjectively down" {
		c.n.Add(1)
		if hold := c.hold.Load(); hold != nil {
			<-*hold
		}
	}
	return nil
}

const (
	master  = "10.0.0.1:6379"
	replica = "10.0.0.2:6379"
	third   = "10.0.0.3:6379"
)

// inRoom runs a test with a master, two replicas and a fleet that has found them and stands still.
func inRoom(t *testing.T, test func(*room)) {
	t.Helper()
	inEmptyRoom(t, nil, func(r *room) {
		r.net.Add(master)
		for _, a := range []string{replica, third} {
			r.net.Add(a).Replicate(addrOf(master))
		}
		r.law.monitor("m", master)
		r.start()
		time.Sleep(3 * time.Second)
		test(r)
	})
}

func inEmptyRoom(t *testing.T, dial func(*fakeredis.Net) func(context.Context, string, string) (net.Conn, error), test func(*room)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &room{t: t, net: fakeredis.NewNet(), law: newLaw()}
		way := r.net.From("a")
		if dial != nil {
			way = dial(r.net)
		}
		f, err := New(Options{Cluster: r.law, Dialer: instance.Dialer{DialContext: way}, Log: slog.New(&r.verdicts)})
		if err != nil {
			t.Fatal(err)
		}
		r.fleet = f
		defer r.net.Close()
		defer func() {
			if r.stop != nil {
				r.stop()
			}
		}()
		test(r)
	})
}

func (r *room) start() {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.fleet.Run(ctx)
	}()
	r.stop = func() {
		cancel()
		<-ended
	}
	synctest.Wait()
}

// begin opens a forced failover of a set to its replica.
func (r *room) begin(name string) raftfsm.Result {
	r.t.Helper()
	m := must(r.law.State().Master(name))
	res := r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: &raftlogv1.BeginFailover{
		Master: name, Generation: m.Generation, OperationId: "1", Kind: raftlogv1.FailoverKind_FAILOVER_KIND_FORCED,
		From: m.Address.Proto(), Candidate: addrOf(replica).Proto(), OldOffset: -1,
		Candidates: []*raftlogv1.Candidate{{Address: addrOf(replica).Proto(), Chosen: true}},
	}}})
	if res.Code != raftfsm.OK {
		r.t.Fatal(res.Detail)
	}
	return res
}

func (r *room) at(a string) *fakeredis.Instance { return r.net.Instance(addrOf(a)) }

func (r *room) observe(a string) detector.Observation {
	r.t.Helper()
	synctest.Wait()
	o, ok := r.fleet.Observe(addrOf(a))
	if !ok {
		r.t.Fatalf("%s is not probed", a)
	}
	return o
}

// downAfter waits for the verdict against a and gives the time that it took.
func (r *room) downAfter(a string, atMost time.Duration) time.Duration {
	r.t.Helper()
	start := time.Now()
	for {
		changed := r.fleet.Changed()
		if r.observe(a).Down {
			return time.Since(start)
		}
		select {
		case <-changed:
		case <-time.After(atMost - time.Since(start)):
			r.t.Fatalf("%s is not held down after %v", a, atMost)
		}
	}
}

func addrOf(a string) raftfsm.Addr {
	out, err := raftfsm.ParseAddr(a)
	if err != nil {
		panic(err)
	}
	return out
}
