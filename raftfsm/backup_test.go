package raftfsm_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha1"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// backup is one of the present state, through its format.
func (l *log) backup() *raftfsm.Backup {
	l.t.Helper()
	var file bytes.Buffer
	err := raftfsm.WriteBackup(&file, &raftfsm.Backup{State: l.state, TakenAtMs: 1_700_000_000_000, Node: "node-a", Version: "v", AgeMs: 3})
	if err != nil {
		l.t.Fatal(err)
	}
	back, err := raftfsm.ReadBackup(&file)
	if err != nil {
		l.t.Fatal(err)
	}
	return back
}

func restore(b *raftfsm.Backup, era string, replace bool) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Restore{Restore: must2(b.Restore(era, replace))}}
}

// edited is a command to restore what a backup tells of masters, otherwise.
func edited(b *raftfsm.Backup, edit func(*raftlogv1.Restore, []*raftlogv1.MasterRecord)) *raftlogv1.Command {
	c := restore(b, "era-2", false)
	packed := bytes.Clone(c.GetRestore().GetMasters())
	var records []*raftlogv1.MasterRecord
	for in := bufio.NewReader(flate.NewReader(bytes.NewReader(c.GetRestore().GetMasters()))); ; {
		r := &raftlogv1.MasterRecord{}
		if err := protodelim.UnmarshalFrom(in, r); err != nil {
			break // its end
		}
		records = append(records, r)
	}
	edit(c.GetRestore(), records)
	var out bytes.Buffer
	z := must2(flate.NewWriter(&out, flate.BestSpeed))
	for _, r := range records {
		must2(protodelim.MarshalTo(z, r))
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	if bytes.Equal(c.GetRestore().GetMasters(), packed) { // else it was edited itself
		c.GetRestore().Masters = out.Bytes()
	}
	return c
}

// recover makes the log that of a cluster that lost every node but a.
func (l *log) recover(id string) {
	l.index++
	l.state = raftfsm.Recover(l.state, l.index, fmt.Sprint(id, l.index), []raftfsm.Server{{ID: "a", Address: "a:1", Voter: true}}, int64(l.index)*10)
}

func level4(t testing.TB) *log {
	l := newLog(t)
	l.ok(raise(4))
	return l
}

func TestBackupIsTheState(t *testing.T) {
	l := newLog(t)
	scenario(l)
	want := raftfsm.Backup{State: l.state, TakenAtMs: 7, Node: "node-a", Version: "1.2.3", Local: true, AgeMs: -1}
	var file bytes.Buffer
	if err := raftfsm.WriteBackup(&file, &want); err != nil {
		t.Fatal(err)
	}
	data := file.Bytes()
	got, err := raftfsm.ReadBackup(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(image(t, got.State), image(t, l.state)) {
		t.Error("it holds another state")
	}
	if got.State = l.state; *got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if !bytes.HasPrefix(data, []byte("sentineld backup 1\n")) {
		t.Errorf("it begins with %q", data[:20])
	}
	for _, cut := range places(data) {
		if _, err := raftfsm.ReadBackup(bytes.NewReader(data[:cut])); !errors.Is(err, raftfsm.ErrDamaged) && !errors.Is(err, raftfsm.ErrNoBackup) {
			t.Fatalf("cut at %d of %d: %v", cut, len(data), err)
		}
	}
	if _, err := raftfsm.ReadBackup(bytes.NewReader(append(bytes.Clone(data), 0))); !errors.Is(err, raftfsm.ErrDamaged) {
		t.Errorf("something behind its end: %v", err)
	}
	if _, err := raftfsm.ReadBackup(bytes.NewReader(append([]byte("sentineld backup 1\n"), image(t, l.state)...))); !errors.Is(err, raftfsm.ErrDamaged) {
		t.Errorf("a node's snapshot: %v", err)
	}
	if _, err := raftfsm.ReadSnapshot(bytes.NewReader(data)); err == nil {
		t.Error("a node takes a backup for its snapshot")
	}
}

// busy is a cluster in which everything is on that a backup may find.
func busy(t *testing.T) (l *log, epoch uint64) {
	l = level4(t)
	l.ok(configure("announce-hostnames", "yes"))
	l.ok(monitor("m", 1, "auth-pass", "secret"))
	l.ok(l.facts("m", 2, 3))
	first := l.ok(l.begin("m", 2, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch
	l.ok(switchTo("m", first, 1, 2))
	l.ok(end("m", first, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED))
	epoch = l.ok(l.begin("m", 3, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch
	l.ok(monitor("n", 50))
	l.ok(l.facts("n", 51))
	l.ok(maintain(51, "new memory"))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "n", Reason: "moving"}}})
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: "n", Generation: l.master("n").Generation, Reason: "doubt"}}})
	for _, node := range []string{"a", "b"} {
		l.ok(l.down(node, "n", 50, raftfsm.CauseTimeout))
	}
	l.ok(monitor("gone", 40))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "gone"}}})
	return l, epoch
}

func TestRestoreIntoAnotherCluster(t *testing.T) {
	from, epoch := busy(t)
	l := &log{t: t, state: raftfsm.New()}
	l.found()
	l.ok(raise(4))
	for range 3 { // its own epochs may be the higher ones, and its indexes are others
		l.ok(monitor("x", 9))
		l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "x"}}})
	}
	since := l.index
	res := l.ok(restore(from.backup(), "era-2", false))
	if !res.Changed || l.state.Cluster() != (raftfsm.Cluster{ID: "c1", Name: "test", Era: "era-2"}) {
		t.Fatalf("%+v, %+v", res, l.state.Cluster())
	}
	l.expect(since, "+new-epoch ", "+restored 2 masters from a backup of cluster c1 taken at revision "+fmt.Sprint(from.index)+" on 2023-11-14T22:13:20Z")
	if l.state.Epoch() <= epoch || !l.state.Settings().AnnounceHostnames {
		t.Errorf("epoch %d after %d, settings %+v", l.state.Epoch(), epoch, l.state.Settings())
	}
	for _, name := range []string{"gone", "x"} {
		if _, removed := l.state.Tombstone(name); !removed {
			t.Errorf("%s could come back as a seed", name)
		}
	}
	if got := slices.Sorted(l.state.ChangedSince(since)); !slices.Equal(got, []string{"gone", "m", "n"}) {
		t.Errorf("changed: %v", got)
	}
	if len(slices.Collect(l.state.Nodes())) != 3 || l.state.Voters() != 3 {
		t.Error("the members changed")
	}
	m, n := l.master("m"), l.master("n")
	for _, x := range []*raftfsm.Master{m, n} {
		if x.Epoch != l.state.Epoch() || x.Generation != l.index || x.Revision != l.index || len(x.Votes) != 0 || x.IsODown() ||
			x.Failover != nil || x.Hold != nil || !x.Restored || x.Pause == nil {
			t.Errorf("%+v", x)
		}
		for _, in := range x.Instances {
			if in.Unconfirmed != (in.Addr != x.Address) || in.Since != l.index {
				t.Errorf("%s: %+v", x.Name, in)
			}
			if owner, ok := l.state.Owner(in.Addr); !ok || owner.Name != x.Name {
				t.Errorf("%s is of %+v", in.Addr, owner)
			}
		}
	}
	if m.Address != at(2) || m.Options.AuthPass.Reveal() != "secret" || len(m.Instances) != 3 || m.Pause.Reason != "restored from a backup of 2023-11-14T22:13:20Z" {
		t.Errorf("%+v", m)
	}
	if len(m.History) != 2 || m.History[0].To != at(2) || m.History[1].Epoch != epoch || m.History[1].Outcome != raftfsm.OutcomeAborted ||
		m.History[1].EndReason == "" || m.History[0].EndedIndex != l.index || m.History[0].Loss.Kind != raftfsm.LossUnknown {
		t.Errorf("stories: %+v, %+v", m.History[0], m.History[1])
	}
	if want := "restored from a backup of 2023-11-14T22:13:20Z; it was paused then: moving; it was held then: doubt"; n.Pause.Reason != want {
		t.Errorf("%q, want %q", n.Pause.Reason, want)
	}
	if in, _ := n.Instance(at(51)); in.Maintenance == nil || in.Maintenance.Reason != "new memory" {
		t.Errorf("%+v", in)
	}

	l.refused(raftfsm.InvalidArgument, restore(from.backup(), "c1", true)) // what it was called before
	// It goes on: the next epoch is above all, and the same command again is nothing new.
	if again := l.ok(restore(from.backup(), "era-2", false)); again.Changed {
		t.Error("a repeat restored it again")
	}
	before := l.state.Epoch()
	if got := l.ok(l.begin("m", 3, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch; got != before+1 {
		t.Errorf("epoch %d follows %d", got, before)
	}
	if back := l.backup(); !bytes.Equal(image(t, back.State), image(t, l.state)) {
		t.Error("a restored state has another snapshot than itself")
	}
}

// Masters that exist give way only where that is asked for, and clients hear what became of each.
func TestRestoreReplaces(t *testing.T) {
	l := level4(t)
	l.ok(configure("announce-hostnames", "no"))
	for name, port := range map[string]int{"same": 10, "moves": 20, "told": 901} {
		l.ok(monitor(name, port))
		l.ok(l.facts(name, port+1))
	}
	l.ok(l.resolve("told", 901, "10.1.0.1"))
	b := l.backup()
	l.ok(l.resolve("told", 901, "10.1.0.2"))
	l.ok(monitor("new", 30))
	e := l.ok(l.begin("moves", 21, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch
	l.ok(switchTo("moves", e, 20, 21))
	l.refused(raftfsm.NotEmpty, restore(b, "era-2", false))
	since := l.index
	l.ok(restore(b, "era-2", true))
	l.expect(since, "+new-epoch ", "+switch-master 10.0.0.1:21 > 10.0.0.1:20", "-monitor 10.0.0.1:30", "+switch-master 10.1.0.2:901 > 10.1.0.1:901",
		fmt.Sprintf("+restored 3 masters from a backup of cluster c1 taken at revision %d on 2023-11-14T22:13:20Z", b.State.Index()))
	if _, known := l.state.Master("new"); known || l.state.MasterCount() != 3 {
		t.Error("what the backup does not hold is watched")
	}
	if _, removed := l.state.Tombstone("new"); !removed {
		t.Error("what gave way could come back as a seed")
	}
	if got := l.master("moves"); got.Address != at(20) || got.Epoch <= e || len(got.History) != 0 {
		t.Errorf("%+v", got)
	}
	l.ok(monitor("free", 30))
}

func TestRestoreIsRefused(t *testing.T) {
	from, _ := busy(t)
	for _, c := range []struct {
		name string
		want raftfsm.Code
		do   func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord)
	}{
		{"no era", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { r.Era = "" }},
		{"a long era", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { r.Era = strings.Repeat("x", 65) }},
		{"another cluster", raftfsm.ForeignCluster, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { r.ClusterName = "other" }},
		{"a newer level", raftfsm.LevelTooHigh, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { r.Level = 5 }},
		{"no room for epochs", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { r.Epoch = math.MaxInt64 + 1 }},
		{"an epoch above the highest", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { r.Epoch = 1 }},
		{"masters cut short", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) {
			r.Masters = r.GetMasters()[:len(r.GetMasters())/2]
		}},
		{"masters that are none", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { r.Masters = []byte("hello") }},
		{"too much of them", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) {
			m[1].Pause = &raftlogv1.PauseRecord{Reason: strings.Repeat("x", 33<<20)}
		}},
		{"an unknown setting", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { r.Settings = options("colour", "red") }},
		{"an unknown option", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) {
			m[0].Options = options("quorum", "2", "colour", "red")
		}},
		{"no quorum", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { m[0].Options = nil }},
		{"a bad name", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { m[0].Name = "a b" }},
		{"the same master twice", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { m[1] = m[0] }},
		{"a bad address", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { m[0].Instances[1].Facts.Address.Port = 0 }},
		{"an address twice", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { m[0].Instances[1] = m[0].GetInstances()[0] }},
		{"an address of two masters", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) {
			m[1].Instances = append([]*raftlogv1.InstanceRecord{m[0].GetInstances()[0]}, m[1].GetInstances()...)
		}},
		{"a master that is no instance", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { m[0].Address = addr(9) }},
		{"a master in maintenance", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) {
			m[0].Instances[1].Maintenance = &raftlogv1.PauseRecord{Reason: "work"}
		}},
		{"an IP address of an IP address", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) { m[0].Instances[1].Ip = "10.1.0.1" }},
		{"too many instances", raftfsm.InvalidArgument, func(r *raftlogv1.Restore, m []*raftlogv1.MasterRecord) {
			for i := range 256 {
				m[1].Instances = append(m[1].Instances, &raftlogv1.InstanceRecord{Facts: &raftlogv1.InstanceFacts{Address: addr(1000 + i)}})
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := level4(t)
			before := image(t, l.state)
			l.refused(c.want, edited(from.backup(), c.do))
			l.index--
			if l.state = must2(raftfsm.ReadSnapshot(bytes.NewReader(before))); l.state.Cluster().Era != "c1" || l.state.MasterCount() != 0 {
				t.Error("a refused restore changed the state")
			}
			l.ok(restore(from.backup(), "era-2", false))
		})
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A replica that the committed master does not list stays until the set was seen to be as committed: it may be the true master.
func TestRestoredSetsAreComparedFirst(t *testing.T) {
	for _, by := range []string{"restore", "recover"} {
		t.Run(by, func(t *testing.T) {
			l := level4(t)
			l.ok(monitor("m", 1))
			l.ok(l.facts("m", 2, 3))
			if by == "restore" {
				l.ok(restore(l.backup(), "era-2", true))
			} else {
				l.recover("c")
			}
			gone := func() *raftlogv1.Command {
				return &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
					Master: "m", Generation: l.master("m").Generation, Gone: []*raftlogv1.Address{addr(2)},
				}}}
			}
			if res := l.ok(gone()); res.Changed || len(l.master("m").Instances) != 3 {
				t.Errorf("it was dropped: %+v", l.master("m"))
			}
			settle := &raftlogv1.Command{Op: &raftlogv1.Command_Settle{Settle: &raftlogv1.Settle{Name: "m", Generation: l.master("m").Generation}}}
			if res := l.ok(settle); !res.Changed || l.master("m").Restored {
				t.Errorf("not settled: %+v", l.master("m"))
			}
			if l.ok(gone()); len(l.master("m").Instances) != 2 {
				t.Errorf("not dropped once it is settled: %+v", l.master("m"))
			}
		})
	}
}

func TestRecover(t *testing.T) {
	l, epoch := busy(t)
	l.ok(deliver(3, 0))
	before, since := l.state, l.index
	l.recover("new")
	s := l.state
	if want := (raftfsm.Cluster{ID: fmt.Sprint("new", l.index), Name: "test", Era: fmt.Sprint("new", l.index)}); s.Cluster() != want {
		t.Errorf("%+v, want %+v", s.Cluster(), want)
	}
	if !s.WasCluster("c1") || s.WasCluster(s.Cluster().ID) || s.WasCluster("") {
		t.Error("it does not know what it was")
	}
	if s.Index() != since+1 || s.Epoch() <= epoch+100_000 || s.Delivered() != before.Delivered() || s.Settings() != before.Settings() {
		t.Errorf("index %d, epoch %d, delivered %+v", s.Index(), s.Epoch(), s.Delivered())
	}
	if nodes := slices.Collect(s.Nodes()); len(nodes) != 1 || nodes[0].RaftID != "a" || s.Voters() != 1 {
		t.Errorf("members: %+v", nodes)
	}
	l.expect(since, "-sentinel node-b", "-sentinel node-c",
		fmt.Sprintf("+recovered cluster c1 was lost; it goes on as cluster %s from revision %d", s.Cluster().ID, since), "+new-epoch ",
		"-failover-abort 10.0.0.1:2", "-odown 10.0.0.1:50")
	for _, name := range []string{"m", "n"} {
		m := l.master(name)
		if m.Epoch != s.Epoch() || !m.Restored || m.Failover != nil || len(m.Votes) != 0 || m.IsODown() || m.Generation != l.index {
			t.Errorf("%+v", m)
		}
	}
	if m := l.master("m"); m.Resting() || len(m.History) != 2 || m.History[1].Outcome != raftfsm.OutcomeAborted {
		t.Errorf("%+v", m)
	}
	if n := l.master("n"); n.Pause == nil || n.Pause.Reason != "moving" || n.Hold == nil {
		t.Errorf("what an operator wanted is forgotten: %+v", n)
	}
	if back := l.backup(); !bytes.Equal(image(t, back.State), image(t, s)) || !back.State.WasCluster("c1") {
		t.Error("its snapshot is another state")
	}
	for range 20 {
		l.recover("again")
	}
	if l.state.WasCluster("c1") || !l.state.WasCluster(fmt.Sprint("again", l.index-1)) {
		t.Error("the clusters that it was are not bounded, or the latest are forgotten")
	}
	old := newLog(t)
	old.recover("new")
	if got := old.state.FeatureLevel(); got != raftfsm.Level {
		t.Errorf("feature level %d: nodes that know no recovery could join", got)
	}
}

// The stories of a backup have indexes of another log. In this one they are from before everything that follows, and none is
// counted twice.
func TestRestoredStoriesAreTheOldest(t *testing.T) {
	from := level4(t)
	from.ok(monitor("m", 1))
	from.ok(from.facts("m", 2))
	for range 350 {
		from.tale()
	}
	b := from.backup()
	if n := len(from.master("m").History); n < 100 || n >= 350 {
		t.Fatalf("%d stories", n)
	}
	l := level4(t)
	c := restore(b, "era-2", false)
	c.Header = &raftlogv1.Header{Level: 4, ProposedAtMs: time.Now().UnixMilli()}
	l.index++
	var res raftfsm.Result
	if l.state, res = raftfsm.Apply(l.state, l.index, c); res.Code != raftfsm.OK {
		t.Fatal(res)
	}
	if got, want := len(l.master("m").History), len(from.master("m").History); got != want {
		t.Fatalf("%d stories, want %d", got, want)
	}
	first := l.master("m").History[0].Epoch
	l.tale()
	m := l.master("m")
	if last := m.History[len(m.History)-1]; m.History[0].Epoch <= first || last.Epoch <= b.State.Epoch() {
		t.Errorf("from epoch %d to %d; before it began with %d", m.History[0].Epoch, last.Epoch, first)
	}
}

// fleet is a state of many masters with two replicas each.
func fleet(t testing.TB, masters int) *raftfsm.State {
	t.Helper()
	l := level4(t)
	id := func(n int) string { return fmt.Sprintf("%x", sha1.Sum([]byte{byte(n), byte(n >> 8), byte(n >> 16)})) }
	for i := range masters {
		name, host := fmt.Sprintf("master-%05d", i), fmt.Sprintf("redis-%d.rack-%d.example.com", i%250, i/250)
		at := func(k int) *raftlogv1.Address { return &raftlogv1.Address{Host: host, Port: uint32(6379 + k)} }
		l.quick(&raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
			Name: name, Address: at(0), Options: options("quorum", "2", "auth-pass", id(i), "down-after-milliseconds", "5000"),
		}}})
		facts := &raftlogv1.StateFacts{Master: name, Generation: l.index}
		for k := range 3 {
			role := raftfsm.RoleReplica
			if k == 0 {
				role = raftfsm.RoleMaster
			}
			facts.Instances = append(facts.Instances, &raftlogv1.InstanceFacts{
				Address: at(k), RunId: id(3*i + k), Role: role, ReplId: id(i), ReplId2: id(i + 1), SecondOffset: 12345678, SyncedReplId: id(i),
			})
		}
		l.quick(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: facts}})
	}
	return l.state
}

// What a cluster may have at most is restored in one entry, and leaves room for past failovers.
func TestTenThousandMastersAreRestored(t *testing.T) {
	b := &raftfsm.Backup{State: fleet(t, 10_000)}
	c := restore(b, "era-2", false)
	c.Header = &raftlogv1.Header{Level: 4}
	size := proto.Size(c)
	t.Logf("an entry of %.1f MB", float64(size)/1e6)
	if size > raftfsm.MaxRestoreBytes/2 {
		t.Errorf("%d bytes", size)
	}
	l := level4(t)
	began := time.Now()
	next, res := raftfsm.Apply(l.state, l.index+1, c)
	t.Logf("applied in %v", time.Since(began))
	if res.Code != raftfsm.OK || next.MasterCount() != 10_000 {
		t.Fatalf("%+v, %d masters", res, next.MasterCount())
	}
}

func BenchmarkRestore(b *testing.B) {
	c := restore(&raftfsm.Backup{State: fleet(b, 10_000)}, "era-2", false)
	c.Header = &raftlogv1.Header{Level: 4}
	l := level4(b)
	for b.Loop() {
		if _, res := raftfsm.Apply(l.state, l.index+1, c); res.Code != raftfsm.OK {
			b.Fatal(res)
		}
	}
}

// FuzzRestore has a cluster take backups of which only the checksum is right: whatever stands in one, it is refused, or the law
// holds afterwards.
func FuzzRestore(f *testing.F) {
	l := newLog(f)
	scenario(l)
	whole := image(f, l.state)
	f.Add(whole, true)
	f.Add(whole[:len(whole)/2], false)
	small := level4(f)
	small.ok(monitor("m", 1, "auth-pass", "secret"))
	small.ok(small.facts("m", 2))
	f.Add(image(f, small.state), true)
	f.Fuzz(func(t *testing.T, body []byte, replace bool) {
		b, err := raftfsm.ReadBackup(bytes.NewReader(sealed(body)))
		if err != nil {
			return
		}
		c, err := b.Restore("era-2", replace)
		if err != nil {
			return
		}
		l := level4(t)
		l.ok(monitor("m", 1))
		l.ok(monitor("x", 9))
		before := l.state
		l.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Restore{Restore: c}})
		l.check(before)
	})
}

// sealed is a backup of the frames in data, up to the first that is none or a trailer, with the header's account of how it was taken.
func sealed(data []byte) []byte {
	out := []byte("sentineld backup 1\n")
	var head raftlogv1.SnapshotHeader
	in := bytes.NewReader(data)
	if protodelim.UnmarshalFrom(in, &head) != nil {
		return out
	}
	head.Backup = &raftlogv1.Backup{NodeId: "n"}
	frames := new(bytes.Buffer)
	must2(protodelim.MarshalTo(frames, &head))
	records := uint64(0)
	for ; ; records++ {
		var r raftlogv1.SnapshotRecord
		if protodelim.UnmarshalFrom(in, &r) != nil || r.GetTrailer() != nil {
			break
		}
		must2(protodelim.MarshalTo(frames, &r))
	}
	sum := crc32.Checksum(frames.Bytes(), crc32.MakeTable(crc32.Castagnoli))
	trailer := &raftlogv1.SnapshotTrailer{Records: records, Crc32C: sum}
	must2(protodelim.MarshalTo(frames, &raftlogv1.SnapshotRecord{Record: &raftlogv1.SnapshotRecord_Trailer{Trailer: trailer}}))
	return append(out, frames.Bytes()...)
}
