package raftfsm_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// log is a log under test: it applies through the codec, as nodes do.
type log struct {
	t     testing.TB
	state *raftfsm.State
	index uint64
	// record, where set, is given every entry.
	record func([]byte)
	// kept is a backup that was taken earlier.
	kept *raftfsm.Backup
	// batch is what the entries come to together, up to batched.
	batch   *raftfsm.Batch
	batched *raftfsm.State
}

func newLog(t testing.TB) *log {
	l := &log{t: t, state: raftfsm.New()}
	l.found()
	return l
}

// found brings the log to where three registered nodes form a cluster.
func (l *log) found() {
	l.servers("a", "b", "c")
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{ClusterId: "c1", ClusterName: "test"}}})
	for _, id := range []string{"a", "b", "c"} {
		l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
			RaftId: id, NodeId: "node-" + id, MaxLevel: raftfsm.Level,
		}}})
	}
}

func (l *log) servers(ids ...string) {
	l.index++
	var servers []raftfsm.Server
	for _, id := range ids {
		servers = append(servers, raftfsm.Server{ID: id, Address: id + ":1", Voter: true})
	}
	l.state = raftfsm.ApplyServers(l.state, l.index, servers)
}

func (l *log) apply(c *raftlogv1.Command) raftfsm.Result {
	l.t.Helper()
	if c.Header == nil {
		c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c), Proposer: "a", ProposedAtMs: int64(l.index) * 10}
	}
	data, err := raftfsm.Encode(c)
	if err != nil {
		l.t.Fatal(err)
	}
	if l.record != nil {
		l.record(data)
	}
	read, err := raftfsm.Decode(data)
	if err != nil {
		l.t.Fatal(err)
	}
	l.index++
	before := image(l.t, l.state)
	next, res := raftfsm.Apply(l.state, l.index, read)
	if !bytes.Equal(before, image(l.t, l.state)) {
		l.t.Fatalf("Apply changed the old state: %v", c)
	}
	if res.Code != raftfsm.OK && res.Changed || next.Index() != l.index {
		l.t.Fatalf("refused and changed, or the state is at %d: %v", next.Index(), res)
	}
	l.alike(read, res, next)
	l.state = next
	return res
}

// alike applies every entry to a batch as well, which must come to the same.
func (l *log) alike(c *raftlogv1.Command, res raftfsm.Result, next *raftfsm.State) {
	l.t.Helper()
	if l.batch == nil || l.state != l.batched { // the test has put another state in its place
		l.batch = raftfsm.NewBatch(l.state)
	}
	l.batched = next
	if got := l.batch.Apply(l.index, c); got != res || l.batch.Index() != next.Index() {
		l.t.Fatalf("in a batch %+v at %d, alone %+v at %d: %v", got, l.batch.Index(), res, next.Index(), c)
	}
	if l.index%5 != 0 { // so that batches have several entries
		return
	}
	whole := l.batch.State()
	if !bytes.Equal(image(l.t, whole), image(l.t, next)) {
		l.t.Fatalf("a batch and single entries come to different states: %v", c)
	}
	if a, b := slices.Collect(whole.ChangedSince(0)), slices.Collect(next.ChangedSince(0)); !slices.Equal(a, b) {
		l.t.Fatalf("changes in a batch %q, alone %q: %v", a, b, c)
	}
}

func (l *log) ok(c *raftlogv1.Command) raftfsm.Result {
	l.t.Helper()
	res := l.apply(c)
	if res.Code != raftfsm.OK {
		l.t.Fatalf("refused with %d %s: %v", res.Code, res.Detail, c)
	}
	return res
}

func (l *log) refused(want raftfsm.Code, c *raftlogv1.Command) {
	l.t.Helper()
	if res := l.apply(c); res.Code != want {
		l.t.Fatalf("got code %d (%s), want %d: %v", res.Code, res.Detail, want, c)
	}
}

func image(t testing.TB, s *raftfsm.State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := raftfsm.WriteSnapshot(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// addr is an address by its port: from 901 on its host is a name.
func addr(port int) *raftlogv1.Address {
	if port > 900 {
		return &raftlogv1.Address{Host: fmt.Sprintf("redis-%d.example", port), Port: uint32(port)}
	}
	return &raftlogv1.Address{Host: "10.0.0.1", Port: uint32(port)}
}

func options(kv ...string) []*raftlogv1.OptionValue {
	var out []*raftlogv1.OptionValue
	for i := 0; i < len(kv); i += 2 {
		out = append(out, &raftlogv1.OptionValue{Name: kv[i], Value: kv[i+1]})
	}
	return out
}

func monitor(name string, port int, kv ...string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
		Name: name, Address: addr(port), Options: options(append([]string{"quorum", "2"}, kv...)...),
	}}}
}

func set(name string, kv ...string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{Name: name, Options: options(kv...)}}}
}

func (l *log) master(name string) *raftfsm.Master {
	l.t.Helper()
	m, ok := l.state.Master(name)
	if !ok {
		l.t.Fatalf("no master %s", name)
	}
	return m
}

// facts lists replicas, as the master's INFO would.
func (l *log) facts(name string, ports ...int) *raftlogv1.Command {
	c := &raftlogv1.StateFacts{Master: name, Generation: l.master(name).Generation}
	for _, p := range ports {
		c.Instances = append(c.Instances, &raftlogv1.InstanceFacts{
			Address: addr(p), RunId: fmt.Sprint("run", p), Role: raftfsm.RoleReplica, ReplId: "r1", SecondOffset: -1, SyncedReplId: "r1",
		})
	}
	return &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: c}}
}

func (l *log) down(node, name string, port int, cause raftfsm.Cause) *raftlogv1.Command {
	return l.reportOf(node, &raftlogv1.Report{Down: []*raftlogv1.Verdict{l.verdict(name, port, cause)}})
}

func (l *log) up(node, name string, port int) *raftlogv1.Command {
	return l.reportOf(node, &raftlogv1.Report{Up: []*raftlogv1.Verdict{l.verdict(name, port, 0)}})
}

func (l *log) verdict(name string, port int, cause raftfsm.Cause) *raftlogv1.Verdict {
	return &raftlogv1.Verdict{Master: name, Instance: addr(port), Generation: l.master(name).Generation, Cause: cause}
}

func (l *log) reportOf(node string, r *raftlogv1.Report) *raftlogv1.Command {
	n, ok := l.state.Node(node)
	r.Node = node
	if ok {
		r.Base = n.ReportBase
	}
	return &raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: r}}
}

// quick applies a command that must succeed, without what ok checks of every entry: for states of thousands of masters.
func (l *log) quick(c *raftlogv1.Command) raftfsm.Result {
	l.t.Helper()
	c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c)}
	l.index++
	next, res := raftfsm.Apply(l.state, l.index, c)
	if res.Code != raftfsm.OK {
		l.t.Fatal(res)
	}
	l.state = next
	return res
}

func (l *log) begin(name string, candidate int, change ...func(*raftlogv1.BeginFailover)) *raftlogv1.Command {
	m := l.master(name)
	b := &raftlogv1.BeginFailover{
		Master: name, Generation: m.Generation, OperationId: fmt.Sprint("op", l.index),
		Kind: raftlogv1.FailoverKind_FAILOVER_KIND_AUTOMATIC, From: m.Address.Proto(), Candidate: addr(candidate),
	}
	for _, f := range change {
		f(b)
	}
	return &raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: b}}
}

func switchTo(name string, epoch uint64, from, to int) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_SwitchMaster{SwitchMaster: &raftlogv1.SwitchMaster{
		Master: name, Epoch: epoch, From: addr(from), To: addr(to),
		Promoted: &raftlogv1.InstanceFacts{Address: addr(to), RunId: fmt.Sprint("run", to), Role: raftfsm.RoleMaster, ReplId: "r2", ReplId2: "r1", SecondOffset: 100},
	}}}
}

func end(name string, epoch uint64, outcome raftlogv1.FailoverOutcome) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{Master: name, Epoch: epoch, Outcome: outcome}}}
}

func (l *log) kinds(since uint64) []string {
	var out []string
	events, _ := l.state.EventsSince(raftfsm.Cursor{Index: since, Ordinal: math.MaxUint32 - 1})
	for e := range events {
		out = append(out, e.Kind)
	}
	return out
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("not ok")
	}
	return v
}

func set2(name string, port int, kv ...string) *raftlogv1.Command {
	c := monitor(name, port)
	c.GetMonitor().Options = options(kv...)
	return c
}

func withHeader(c *raftlogv1.Command) *raftlogv1.Command {
	c.Header = &raftlogv1.Header{Level: 1}
	return c
}

func seedOf(name string, port int) *raftlogv1.Command {
	c := monitor(name, port)
	c.GetMonitor().Seed = true
	return c
}

// planned is a switchover.
func (l *log) planned(name string, to int) *raftlogv1.Command {
	behind, age := int64(14), int64(3)
	return l.begin(name, to, func(b *raftlogv1.BeginFailover) {
		b.Kind, b.MaxWaitMs = raftfsm.KindPlanned, 5000
		b.Candidates = []*raftlogv1.Candidate{{Address: addr(to), Chosen: true, BehindBytes: &behind, BehindMs: &age}}
	})
}

func maintain(port int, reason string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{Instance: addr(port), Reason: reason}}}
}

func drain(node, reason string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_DrainNode{DrainNode: &raftlogv1.DrainNode{Node: node, Reason: reason}}}
}

func undrain(node string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_DrainNode{DrainNode: &raftlogv1.DrainNode{Node: node, End: true}}}
}

// amended is what the old master of a past failover tells when it is back.
func (l *log) amended(name string, port int, epoch uint64, kind raftlogv1.LossKind, bytes int64) *raftlogv1.Command {
	c := l.correct(name, port, raftfsm.CorrectionDemoted)
	c.GetCorrect().Epoch, c.GetCorrect().Loss = epoch, &raftlogv1.Loss{Kind: kind, Bytes: bytes}
	return c
}

func raise(level uint32) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: level}}}
}

func configure(kv ...string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Configure{Configure: &raftlogv1.Configure{Settings: options(kv...)}}}
}

// foreign is a master as another control plane knows it.
func foreign(name string, epoch uint64, port int, replicas ...int) *raftlogv1.Command {
	c := monitor(name, port)
	c.GetMonitor().Epoch = epoch
	for _, p := range replicas {
		c.GetMonitor().Replicas = append(c.GetMonitor().Replicas, addr(p))
	}
	return c
}

// resolve commits IP addresses of ports.
func (l *log) resolve(name string, portAndIP ...any) *raftlogv1.Command {
	r := &raftlogv1.ResolveHosts{Master: name, Generation: l.master(name).Generation}
	for i := 0; i < len(portAndIP); i += 2 {
		r.Hosts = append(r.Hosts, &raftlogv1.ResolvedHost{Address: addr(portAndIP[i].(int)), Ip: portAndIP[i+1].(string)})
	}
	return &raftlogv1.Command{Op: &raftlogv1.Command_ResolveHosts{ResolveHosts: r}}
}

func (l *log) correct(name string, port int, kind raftlogv1.CorrectionKind) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Correct{Correct: &raftlogv1.Correct{
		Master: name, Generation: l.master(name).Generation, Instance: addr(port), Kind: kind, Detail: "why",
	}}}
}

func deliver(index uint64, ordinal uint32) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Delivered{Delivered: &raftlogv1.Delivered{Index: index, Ordinal: ordinal}}}
}

func mark(term uint64) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{Node: "a", Term: term}}}
}
