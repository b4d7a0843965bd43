package raftfsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

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
	if res.Code != raftfsm.OK && res.Changed {
		l.t.Fatalf("refused and changed: %v", res)
	}
	l.state = next
	return res
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

func TestCrashFailover(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	start := l.index
	l.ok(l.down("a", "m", 1, raftfsm.CauseReset))
	l.refused(raftfsm.NotDown, l.begin("m", 2))
	l.ok(l.down("b", "m", 1, raftfsm.CauseRefused))
	if !l.master("m").IsODown() {
		t.Fatal("two of quorum two hold it down and it is not objectively down")
	}
	res := l.ok(l.begin("m", 2))
	l.refused(raftfsm.InProgress, l.begin("m", 3))
	l.refused(raftfsm.StaleEpoch, switchTo("m", res.Epoch+1, 1, 2))
	l.refused(raftfsm.StaleEpoch, switchTo("m", res.Epoch, 1, 3))
	stale := l.down("c", "m", 1, raftfsm.CauseReset)
	l.ok(switchTo("m", res.Epoch, 1, 2))
	l.refused(raftfsm.StaleEpoch, switchTo("m", res.Epoch, 1, 2))
	m := l.master("m")
	if m.Address.Port != 2 || m.Epoch != res.Epoch || m.IsODown() || len(m.Votes) != 0 || len(m.Replicas()) != 2 {
		t.Fatalf("after the switch: %+v", m)
	}
	l.ok(stale)
	if got := l.master("m"); len(got.Votes) != 0 {
		t.Fatalf("a verdict of the former generation counts: %+v", got.Votes)
	}
	l.refused(raftfsm.StaleEpoch, end("m", res.Epoch, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED))
	l.ok(end("m", res.Epoch, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	m = l.master("m")
	if m.Failover != nil || len(m.History) != 1 || len(m.History[0].Votes) != 2 {
		t.Fatalf("after the end: %+v", m)
	}
	want := []string{
		"+sdown", "+sdown", "+odown", "+new-epoch", "+try-failover", "+selected-slave", "+promoted-slave", "+switch-master",
		"+slave", "+slave", "+failover-end",
	}
	if got := l.kinds(start); !slices.Equal(got, want) {
		t.Fatalf("events\n got %v\nwant %v", got, want)
	}
}

func TestAnotherCandidateIsAnotherEpoch(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	l.ok(l.down("a", "m", 1, raftfsm.CauseReset))
	l.ok(l.down("b", "m", 1, raftfsm.CauseReset))
	first := l.ok(l.begin("m", 2)).Epoch
	second := l.ok(l.begin("m", 3, func(b *raftlogv1.BeginFailover) { b.Replaces = first })).Epoch
	if second <= first {
		t.Fatalf("epoch %d follows %d", second, first)
	}
	l.refused(raftfsm.StaleEpoch, switchTo("m", first, 1, 2))
	l.ok(switchTo("m", second, 1, 3))
	if past := l.master("m").History; len(past) != 1 || past[0].Outcome != raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_OVERTAKEN {
		t.Fatalf("history: %+v", past)
	}
}

func TestOperationIDMovesTheMasterOnce(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	forced := func(b *raftlogv1.BeginFailover) {
		b.OperationId, b.Kind = "mine", raftlogv1.FailoverKind_FAILOVER_KIND_FORCED
	}
	epoch := l.ok(l.begin("m", 2, forced)).Epoch
	if again := l.ok(l.begin("m", 3, forced)); again.Epoch != epoch || again.Changed {
		t.Fatalf("repeat: %+v", again)
	}
	l.ok(switchTo("m", epoch, 1, 2))
	l.ok(end("m", epoch, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	if again := l.ok(l.begin("m", 3, forced)); again.Epoch != epoch || l.master("m").Failover != nil {
		t.Fatalf("repeat after the end: %+v", again)
	}
}

func TestReports(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2))
	old := l.down("a", "m", 1, raftfsm.CauseTimeout)
	l.ok(old)
	l.refused(raftfsm.StaleBase, &raftlogv1.Command{Op: old.GetOp()})
	l.refused(raftfsm.UnknownNode, l.down("zz", "m", 1, raftfsm.CauseTimeout))
	l.ok(l.down("b", "m", 1, raftfsm.CauseAuth))
	if l.master("m").IsODown() {
		t.Fatal("a rejected password counts towards objective down")
	}
	l.ok(l.down("b", "m", 1, raftfsm.CauseTimeout))
	if !l.master("m").IsODown() {
		t.Fatal("not objectively down")
	}
	l.ok(l.up("a", "m", 1))
	if l.master("m").IsODown() {
		t.Fatal("still objectively down")
	}
	l.ok(l.down("a", "m", 1, raftfsm.CauseTimeout))
	n, _ := l.state.Node("b")
	expire := func(base uint64) *raftlogv1.Command {
		return &raftlogv1.Command{Op: &raftlogv1.Command_ExpireReports{ExpireReports: &raftlogv1.ExpireReports{Node: "b", Base: base}}}
	}
	l.refused(raftfsm.StaleBase, expire(n.ReportBase+1))
	l.ok(expire(n.ReportBase))
	if m := l.master("m"); m.IsODown() || len(m.Votes) != 1 {
		t.Fatalf("after the expiry: %+v", m)
	}
}

func TestVotesOfNonVotersDoNotCount(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.down("a", "m", 1, raftfsm.CauseTimeout))
	l.ok(l.down("b", "m", 1, raftfsm.CauseTimeout))
	l.servers("a", "c")
	m := l.master("m")
	if m.IsODown() || len(m.Votes) != 1 {
		t.Fatalf("a removed node's vote stands: %+v", m)
	}
	if _, known := l.state.Node("b"); known {
		t.Fatal("a removed node is still registered")
	}
}

func TestMonitorRemoveSet(t *testing.T) {
	l := newLog(t)
	seed := monitor("m", 1)
	seed.GetMonitor().Seed = true
	l.ok(seed)
	l.ok(l.facts("m", 2))
	if res := l.ok(monitor("m", 2)); res.Changed {
		t.Fatal("monitor with a member's address changed the state")
	}
	l.refused(raftfsm.DuplicateName, monitor("m", 9))
	l.refused(raftfsm.DuplicateName, set2("m", 1, "quorum", "3"))
	l.refused(raftfsm.AddressTaken, monitor("n", 2))
	for _, bad := range []*raftlogv1.Command{
		monitor("", 9), monitor("a b", 9), monitor("a\nb", 9), monitor("n", 0), monitor("n", 65536),
		monitor("n", 9, "quorum", "0"), monitor("n", 9, "quorum", "x"), monitor("n", 9, "no-such", "1"),
		monitor("n", 9, "auth-pass", "a\nb"), monitor("n", 9, "down-after-milliseconds", "0"), monitor("n", 9, "tls", "maybe"),
		set("m", "parallel-syncs", "0"), set("m", "quorum", "5", "failover-timeout", "-1"),
	} {
		l.refused(raftfsm.InvalidArgument, bad)
	}
	if got := l.master("m").Options.Quorum; got != 2 {
		t.Fatalf("a refused set changed the quorum to %d", got)
	}
	before := l.master("m").Generation
	l.ok(set("m", "parallel-syncs", "3"))
	if l.master("m").Generation != before {
		t.Fatal("parallel-syncs began a new generation")
	}
	l.ok(set("m", "down-after-milliseconds", "500", "auth-pass", "one"))
	l.ok(set("m", "auth-pass", "two"))
	if m := l.master("m"); m.Generation == before || m.Options.FormerAuthPass.Reveal() != "one" {
		t.Fatalf("after set: %+v", m)
	}
	if res := l.ok(set("m", "auth-pass", "two")); res.Changed {
		t.Fatal("the same set again changed the state")
	}
	for e := range must(l.state.EventsSince(raftfsm.Cursor{})) {
		if strings.Contains(fmt.Sprint(e), "two") {
			t.Fatalf("a password stands in an event: %+v", e)
		}
	}
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
	l.refused(raftfsm.NotFound, set("m", "quorum", "1"))
	again := monitor("m", 1)
	again.GetMonitor().Seed = true
	l.refused(raftfsm.Removed, again)
	l.ok(monitor("m", 2))
	l.ok(monitor("n", 1))
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

func TestInstancesBelongToOneSet(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(monitor("n", 11))
	l.ok(l.facts("m", 2))
	l.ok(l.facts("n", 2))
	if n := l.master("n"); len(n.Instances) != 1 || len(n.Conflicts) != 1 || n.Conflicts[0].Other != "m" {
		t.Fatalf("n: %+v", n)
	}
	if res := l.ok(l.facts("n", 2)); res.Changed {
		t.Fatal("the same conflict again changed the state")
	}
	twin := l.facts("m", 5)
	twin.GetStateFacts().Instances[0].RunId = "run2"
	l.ok(twin)
	if m := l.master("m"); len(m.Instances) != 2 || len(m.Conflicts) != 1 {
		t.Fatalf("one process under two addresses became two instances: %+v", m)
	}
}

func TestResetDropsOnlyWhatTheMasterLacks(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	if res := l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "m*"}}}); res.Detail != "1" {
		t.Fatalf("reset %s masters", res.Detail)
	}
	if m := l.master("m"); len(m.Instances) != 3 {
		t.Fatalf("reset forgot instances: %+v", m.Instances)
	}
	c := l.facts("m", 2)
	c.GetStateFacts().Gone = []*raftlogv1.Address{addr(2), addr(3), addr(1)}
	l.ok(c)
	m := l.master("m")
	if len(m.Instances) != 2 || m.Replicas()[0].Addr.Port != 2 {
		t.Fatalf("after the reading: %+v", m.Instances)
	}
}

func TestPauseHoldResume(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2, 3))
	l.ok(l.down("a", "m", 1, raftfsm.CauseTimeout))
	l.ok(l.down("b", "m", 1, raftfsm.CauseTimeout))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "work"}}})
	l.refused(raftfsm.Paused, l.begin("m", 2))
	resume := func(r *raftlogv1.Resume) *raftlogv1.Command {
		r.Name = "m"
		return &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: r}}
	}
	l.ok(resume(&raftlogv1.Resume{}))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: "m", Generation: l.master("m").Generation, Reason: "two masters"}}})
	l.refused(raftfsm.Paused, l.begin("m", 2))
	l.refused(raftfsm.Unsettled, resume(&raftlogv1.Resume{}))
	l.refused(raftfsm.NotFound, resume(&raftlogv1.Resume{Adopt: addr(77)}))
	l.ok(resume(&raftlogv1.Resume{Adopt: addr(3)}))
	if m := l.master("m"); m.Address.Port != 3 || m.Hold != nil || m.Epoch == 0 {
		t.Fatalf("after adoption: %+v", m)
	}
}

func TestEventRingTellsWhatFellOut(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	at := raftfsm.Cursor{Index: l.index}
	for i := range raftfsm.RingSize + 10 {
		l.index++
		l.state, _ = raftfsm.Apply(l.state, l.index, withHeader(set("m", "parallel-syncs", fmt.Sprint(2+i%2))))
	}
	events, ok := l.state.EventsSince(at)
	n := 0
	for range events {
		n++
	}
	if ok || n != raftfsm.RingSize {
		t.Fatalf("ok %t with %d events", ok, n)
	}
	if _, ok := l.state.EventsSince(raftfsm.Cursor{Index: l.index - 100}); !ok {
		t.Fatal("recent events are said to be gone")
	}
}

func withHeader(c *raftlogv1.Command) *raftlogv1.Command {
	c.Header = &raftlogv1.Header{Level: 1}
	return c
}

func TestSnapshotIsTheState(t *testing.T) {
	l := newLog(t)
	scenario(l)
	data := image(t, l.state)
	back, err := raftfsm.ReadSnapshot(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, image(t, back)) {
		t.Fatal("a restored state differs from the state")
	}
	// The two must go on alike, too: what is not in the bytes must not matter.
	other := &log{t: t, state: back, index: l.index}
	for _, x := range []*log{l, other} {
		x.ok(x.down("c", "m", 3, raftfsm.CauseTimeout))
		x.refused(raftfsm.AddressTaken, monitor("j", 3))
		x.refused(raftfsm.Removed, seedOf("gone", 70))
		x.ok(configure("announce-hostnames", "yes"))
		x.ok(deliver(x.index-5, 0))
		x.ok(x.begin("f", 902, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced }))
	}
	if !bytes.Equal(image(t, l.state), image(t, other.state)) {
		t.Fatal("a restored state went on differently")
	}
	if got, want := slices.Collect(back.ChangedSince(0)), slices.Collect(l.state.ChangedSince(0)); len(got) == 0 || len(got) != len(want)-0 {
		t.Fatalf("changes: %v, %v", got, want)
	}
	for _, cut := range places(data) {
		if _, err := raftfsm.ReadSnapshot(bytes.NewReader(data[:cut])); err == nil {
			t.Fatalf("a snapshot cut at %d of %d is accepted", cut, len(data))
		}
	}
	for _, i := range places(data) {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		if s, err := raftfsm.ReadSnapshot(bytes.NewReader(bad)); err == nil {
			t.Fatalf("a snapshot with a flipped bit at %d is accepted: %v", i, s)
		}
	}
}

// places are where a test damages data: everywhere at its beginning and end, and at every seventh byte between, because
// reading it from the beginning each time is quadratic.
func places(data []byte) []int {
	var out []int
	for i := range data {
		if i < 512 || i >= len(data)-512 || i%7 == 0 {
			out = append(out, i)
		}
	}
	return out
}

func seedOf(name string, port int) *raftlogv1.Command {
	c := monitor(name, port)
	c.GetMonitor().Seed = true
	return c
}

// scenario leaves something of everything in the state.
func scenario(l *log) {
	l.ok(monitor("m", 1, "auth-pass", "secret", "rename-command", "CONFIG hidden"))
	l.ok(l.facts("m", 2, 3))
	l.ok(monitor("gone", 40))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "gone"}}})
	l.ok(l.down("a", "m", 1, raftfsm.CauseReset))
	l.ok(l.down("b", "m", 1, raftfsm.CauseRefused))
	e := l.ok(l.begin("m", 2, func(b *raftlogv1.BeginFailover) {
		b.Candidates = []*raftlogv1.Candidate{{Address: addr(2), Chosen: true, Offset: 7}, {Address: addr(3), Rejection: "behind", Detail: "7 bytes behind"}}
	})).Epoch
	l.ok(switchTo("m", e, 1, 2))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: "m", Epoch: e, Step: &raftlogv1.Step{Name: raftfsm.StepRepoint, Instance: addr(3), AtMs: 12.5, TookMs: 1},
	}}})
	l.ok(end("m", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	l.ok(l.begin("m", 3, func(b *raftlogv1.BeginFailover) { b.Kind = raftlogv1.FailoverKind_FAILOVER_KIND_FORCED }))
	l.ok(monitor("n", 50))
	l.ok(l.facts("n", 3))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "n", Reason: "why", UntilMs: 5}}})
	l.ok(l.down("c", "n", 50, raftfsm.CauseAuth))

	l.ok(raise(2))
	l.ok(configure("resolve-hostnames", "yes"))
	l.ok(foreign("f", 7, 901, 902, 3))
	l.ok(l.resolve("f", 901, "10.1.0.1", 902, "fd00::2"))
	l.ok(l.correct("f", 902, raftfsm.CorrectionRepointed))
	l.ok(deliver(l.index-1, 1))
	l.ok(foreign("k", 9, 80, 81))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{
		Master: "k", Generation: l.master("k").Generation, Address: addr(81), Reason: "by lineage",
	}}})
	e = l.ok(l.begin("k", 80, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch
	l.ok(switchTo("k", e, 81, 80))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "k"}}})
	l.ok(pausedUntil("p", 70, 99))
	l.ok(pausedUntil("q", 71, 98))
	l.ok(resumed("q", "something stood in the way"))

	l.ok(raise(3))
	l.ok(configure("failover-brake", "70"))
	l.ok(monitor("r", 170))
	l.ok(l.facts("r", 171))
	l.ok(maintain(171, "new memory"))
	l.ok(monitor("s", 60, "failover-cooldown", "5000"))
	l.ok(l.facts("s", 61, 62))
	e = l.ok(l.planned("s", 61)).Epoch
	l.ok(switchTo("s", e, 60, 61))
	l.ok(end("s", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	l.ok(l.amended("s", 60, e, raftlogv1.LossKind_LOSS_KIND_EXACT, 33))
	e = l.ok(l.planned("s", 62)).Epoch

	l.ok(raise(4))
	l.ok(configure("remove-dead-nodes-after", "3600"))
	l.ok(drain("b", "new disk"))
	backup := l.backup()
	l.ok(monitor("t", 180))
	l.refused(raftfsm.InProgress, restore(backup, "era-2", true))
	l.ok(end("s", e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED))
	l.ok(restore(backup, "era-2", true))
	l.ok(l.down("c", "n", 50, raftfsm.CauseAuth))
	l.ok(l.planned("s", 62))
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

func TestEveryVerbIsLaw(t *testing.T) {
	l := newLog(t)
	scenario(l)
	ops := (&raftlogv1.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("op").Fields()
	for i := range ops.Len() {
		c := &raftlogv1.Command{}
		r := c.ProtoReflect()
		r.Set(ops.Get(i), r.NewField(ops.Get(i)))
		// An empty command of each verb must have a verdict, and none may panic.
		l.apply(c)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a command without a verb is applied")
			}
		}()
		raftfsm.Apply(l.state, l.index+1, &raftlogv1.Command{Header: &raftlogv1.Header{}})
	}()
	if _, err := raftfsm.Encode(&raftlogv1.Command{Header: &raftlogv1.Header{Level: raftfsm.Level + 1}, Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{}}}); err == nil {
		t.Error("a command above the level is encoded")
	}
	beyond, err := proto.Marshal(&raftlogv1.Command{Header: &raftlogv1.Header{Level: 1}, Op: &raftlogv1.Command_SetFeatureLevel{
		SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level + 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raftfsm.Decode(beyond); !errors.Is(err, raftfsm.ErrTooNew) {
		t.Errorf("the level is raised beyond this build: %v", err)
	}
	unknown, err := proto.Marshal(&raftlogv1.Command{Header: &raftlogv1.Header{Level: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raftfsm.Decode(append(unknown, 0xfa, 0x3f, 0)); err == nil {
		t.Error("an entry with an unknown verb is decoded")
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true},
		{"*", "x", true},
		{"m*", "my", true},
		{"m*", "ym", false},
		{"?", "", false},
		{"a?c", "abc", true},
		{"[a-c]x", "bx", true},
		{"[^a-c]x", "bx", false},
		{"[^a-c]x", "dx", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{"a*b*c", "axxbyyc", true},
		{"a*b*c", "axxbyy", false},
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"[", "[", false},
		{"[a", "a", true},
		{"[]", "a", false},
		{"*a", "aaa", true},
		{"A", "a", false},
		{strings.Repeat("*a", 60) + "b", strings.Repeat("a", 4000), false},
	} {
		if got := raftfsm.Glob(c.pattern, c.s); got != c.want {
			t.Errorf("Glob(%q, %q) = %t", c.pattern, c.s, got)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	s := raftfsm.NewSecret("hunter2")
	opts := raftfsm.Options{AuthPass: s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{s, &s, opts, &opts, []raftfsm.Secret{s}} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74657232") {
				t.Errorf("%s of %T prints %s", verb, v, out)
			}
		}
	}
}

func mark(term uint64) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{Node: "a", Term: term}}}
}

func TestADeposedLeadersDecisionIsRefused(t *testing.T) {
	l := newLog(t)
	l.ok(mark(3))
	in := func(term uint64, c *raftlogv1.Command) *raftlogv1.Command {
		c.Header = &raftlogv1.Header{Level: 1, Term: term}
		return c
	}
	l.ok(in(3, monitor("m", 1)))
	l.ok(mark(5))
	l.refused(raftfsm.StaleTerm, in(3, set("m", "parallel-syncs", "2")))
	back, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
	if err != nil {
		t.Fatal(err)
	}
	l.state = back
	l.refused(raftfsm.StaleTerm, in(4, set("m", "parallel-syncs", "2")))
	l.ok(in(5, set("m", "parallel-syncs", "2")))
}

func TestSyncWithAStrangerIsNotRemembered(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	master := l.facts("m", 1)
	master.GetStateFacts().Instances[0].Role, master.GetStateFacts().Instances[0].ReplId = raftfsm.RoleMaster, "r1"
	l.ok(master)
	l.ok(l.facts("m", 2))
	stranger := l.facts("m", 2)
	stranger.GetStateFacts().Instances[0].ReplId, stranger.GetStateFacts().Instances[0].SyncedReplId = "foreign", "foreign"
	l.ok(stranger)
	in, _ := l.master("m").Instance(raftfsm.AddrOf(addr(2)))
	if in.ReplID != "foreign" || in.SyncedReplID != "r1" {
		t.Fatalf("%+v", in)
	}
}

func TestPauseThatWasExtendedIsNotEndedByItsFormerEnd(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	pause := func(until int64) *raftlogv1.Command {
		return &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "work", UntilMs: until}}}
	}
	end := func(until int64) *raftlogv1.Command {
		return &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", UntilMs: until}}}
	}
	l.ok(pause(100))
	l.ok(pause(900))
	l.refused(raftfsm.StaleRevision, end(100))
	l.ok(end(900))
	l.refused(raftfsm.StaleRevision, end(900))
}

func TestStepsAreBounded(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2))
	epoch := l.ok(l.begin("m", 2, func(b *raftlogv1.BeginFailover) {
		b.Kind, b.Reason = raftlogv1.FailoverKind_FAILOVER_KIND_FORCED, strings.Repeat("ä", 4000)
	})).Epoch
	if got := len(l.master("m").Failover.Reason); got > 512 {
		t.Errorf("a reason of %d bytes is kept", got)
	}
	step := &raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: "m", Epoch: epoch, Step: &raftlogv1.Step{Name: raftfsm.StepRepoint},
	}}}
	for range raftfsm.MaxSteps {
		l.ok(step)
	}
	l.refused(raftfsm.TooMany, step)
}

func TestProcessAtTwoAddresses(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 2))
	list := func(port int, runID string) raftfsm.Result {
		c := l.facts("m", port)
		c.GetStateFacts().Instances[0].RunId = runID
		return l.ok(c)
	}
	replica := func() string {
		if r := l.master("m").Replicas(); len(r) == 1 {
			return r[0].Addr.String()
		}
		return fmt.Sprint(l.master("m").Replicas())
	}
	// Reached at the address it was known by, and listed under another: that one is noted, once.
	list(5, "")
	list(5, "run2")
	if replica() != "10.0.0.1:2" || len(l.master("m").Conflicts) != 1 {
		t.Fatalf("%s, conflicts %v", replica(), l.master("m").Conflicts)
	}
	if list(5, "").Changed {
		t.Fatal("the same reading again changed the state")
	}
	// The known address goes silent: the process has moved.
	l.ok(l.down("a", "m", 2, raftfsm.CauseTimeout))
	l.ok(l.down("b", "m", 2, raftfsm.CauseTimeout))
	list(5, "")
	list(5, "run2")
	if replica() != "10.0.0.1:5" || len(l.master("m").Conflicts) != 0 {
		t.Fatalf("%s, conflicts %v", replica(), l.master("m").Conflicts)
	}
	// The candidate of an open row stays, whatever is learned of its other address.
	l.ok(l.begin("m", 5, func(b *raftlogv1.BeginFailover) { b.Kind = raftlogv1.FailoverKind_FAILOVER_KIND_FORCED }))
	again := l.facts("m", 6)
	again.GetStateFacts().Instances[0].RunId = ""
	l.ok(again)
	known := l.facts("m", 6)
	known.GetStateFacts().Instances[0].RunId = "run2"
	l.ok(known)
	if _, ok := l.master("m").Instance(raftfsm.AddrOf(addr(5))); !ok {
		t.Fatal("the candidate left the set")
	}
	if res := l.ok(known); res.Changed {
		t.Fatal("the same reading again changed the state")
	}
}

func TestAConflictFollowsTheOwner(t *testing.T) {
	l := newLog(t)
	for i, name := range []string{"a", "b", "m"} {
		l.ok(monitor(name, 10*i+1))
	}
	l.ok(l.facts("a", 5))
	l.ok(l.facts("m", 5))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "a"}}})
	l.ok(l.facts("b", 5))
	l.ok(l.facts("m", 5))
	if c := l.master("m").Conflicts; len(c) != 1 || c[0].Other != "b" {
		t.Fatalf("conflicts %v", c)
	}
	if res := l.ok(l.facts("m", 5)); res.Changed {
		t.Fatal("the same conflict again changed the state")
	}
}

func TestEnforceEndsWhenTheSetIsSettled(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	generation := l.master("m").Generation
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: "m", Generation: generation, Reason: "two masters"}}})
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m", Enforce: true}}})
	if !l.master("m").Enforce {
		t.Fatal("enforce is not kept")
	}
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Settle{Settle: &raftlogv1.Settle{Name: "m", Generation: generation}}})
	if l.master("m").Enforce {
		t.Fatal("enforce outlives the settling")
	}
}

// Two spellings of one address are two addresses until the process behind them has said who it is.
func TestAProcessOfTwoSetsHoldsTheSecond(t *testing.T) {
	l := newLog(t)
	l.ok(monitor("m", 1))
	l.ok(l.facts("m", 1, 2))
	l.ok(monitor("n", 11))
	same := l.facts("n", 11)
	same.GetStateFacts().Instances[0].RunId = "run1"
	l.ok(same)
	if n := l.master("n"); n.Hold == nil || l.master("m").Hold != nil {
		t.Fatalf("n: %+v, m: %+v", n.Hold, l.master("m").Hold)
	}
	if o, ok := l.state.ProcessOwner("run1", "n"); !ok || o.Name != "m" {
		t.Fatalf("owner %v", o)
	}
	back, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := back.ProcessOwner("run1", "m"); !ok || o.Name != "n" {
		t.Fatalf("owner after a restore %v", o)
	}
}
