package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/doctor"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// fakeHouse reaches every port but those of closed hosts.
type fakeHouse struct {
	config doctor.Config
	closed string
}

func (h fakeHouse) Config() doctor.Config { return h.config }

func (h fakeHouse) Disk() doctor.Disk {
	return doctor.Disk{Dir: "/var/lib/sentineld", Free: 1 << 40, Size: 1 << 41, FreeInodes: 1 << 20, Inodes: 1 << 21}
}

func (h fakeHouse) Reach(_ context.Context, a raftfsm.Addr) error {
	if a.Host == h.closed {
		return errors.New("refused")
	}
	return nil
}

func (h fakeHouse) Papers() []Paper {
	return []Paper{
		{"long.txt", func(w io.Writer) error { _, err := io.WriteString(w, strings.Repeat("x", 2*bundlePart+1)); return err }},
		{"torn.txt", func(w io.Writer) error { return errors.Join(writeText(w, "half"), errors.New("disk gone")) }},
		{"empty.txt", func(io.Writer) error { return nil }},
	}
}

func writeText(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}

// ward is a node with a set m that is well, and ways to two others: b answers, c does not.
func ward(t *testing.T, alter ...func(*Options)) *rig {
	t.Helper()
	good := doctor.Config{ClusterName: "sentineld", RaftTiming: "default", BootstrapExpect: 3}
	settled := func(o *Options) {
		o.House, o.Version = fakeHouse{config: good, closed: "10.1.0.3"}, "1.0"
		o.Fleet = fakeFleet{"10.0.0.1:6379": {LastAnyReply: time.Now()}, "10.0.0.2:6379": {LastAnyReply: time.Now()}}
		o.Inspector = fakeInspector{
			"10.0.0.1:6379": {Info: &detector.Info{}}, "10.0.0.2:6379": {Info: &detector.Info{}, Lacks: []string{"config rewrite"}},
		}
	}
	equip := func(r *rig) {
		for i, id := range []string{"a", "b", "c"} {
			r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
				RaftId: id + "-1", NodeId: id, MaxLevel: raftfsm.Level, Version: "1.0",
				Raft: &raftlogv1.Address{Host: fmt.Sprint("10.1.0.", i+1), Port: 26579}, Grpc: &raftlogv1.Address{Host: fmt.Sprint("10.1.0.", i+1), Port: 26479},
			}}})
		}
		r.monitor(t, "m", "10.0.0.1")
		r.replica(t, "10.0.0.2")
	}
	b := newRig(t, settled, func(o *Options) {
		o.Fleet = fakeFleet{"10.0.0.1:6379": {LastAnyReply: time.Now()}, "10.0.0.2:6379": {Down: true, Cause: raftfsm.CauseTimeout}}
	})
	equip(b)
	b.node.set(func(n *fakeNode) { n.status.NodeID, n.status.RaftID, n.status.Role = "b", "b-1", "follower" })
	a := newRig(t, append([]func(*Options){settled}, alter...)...)
	equip(a)
	a.node.set(func(n *fakeNode) { n.others = map[string]*grpc.ClientConn{"b-1": b.conn} })
	return a
}

func (r *rig) diagnose(t *testing.T, q *sentinelv1.DiagnoseRequest) (*sentinelv1.DiagnoseResponse, error) {
	t.Helper()
	stream, err := sentinelv1.NewDiagnoseServiceClient(r.conn).Diagnose(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	out := &sentinelv1.DiagnoseResponse{}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		proto.Merge(out, part)
	}
}

func codesOf(d *sentinelv1.DiagnoseResponse) string {
	var out []string
	for _, f := range d.GetFindings() {
		out = append(out, f.GetSubject()+" "+f.GetCode())
	}
	return strings.Join(out, ", ")
}

func TestDiagnose(t *testing.T) {
	r := ward(t)
	d, err := r.diagnose(t, &sentinelv1.DiagnoseRequest{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "node b misses_instance, node c node_silent, master m command_denied"
	if got := codesOf(d); got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	s := d.GetSummary()
	if s.GetProblems() != 3 || s.GetWarnings() != 0 || s.GetPassed() == 0 || s.GetNodesAnswered() != 2 || s.GetNodes() != 3 ||
		s.GetInstances() != 2 || s.GetInstancesVisited() != 2 || d.GetLocal() || d.GetNodeId() != "a" || d.GetClusterId() != "c1" {
		t.Errorf("%v", d)
	}
	f := d.GetFindings()[1]
	if f.GetNodeId() != "c" || !strings.Contains(f.GetWhat(), "no way to c-1; no node reaches any of its ports") || f.GetWhy() == "" || f.GetAdvice() == "" {
		t.Errorf("%v", f)
	}
	if f = d.GetFindings()[2]; f.GetMaster() != "m" || f.GetInstance().GetHost() != "10.0.0.2" || f.GetSeverity() != sentinelv1.Severity_SEVERITY_PROBLEM {
		t.Errorf("%v", f)
	}

	// What passed is told to who asks.
	all, err := r.diagnose(t, &sentinelv1.DiagnoseRequest{IncludePassed: true})
	if err != nil || len(all.GetFindings()) != int(s.GetPassed())+3 {
		t.Errorf("%d findings of %v: %v", len(all.GetFindings()), s, err)
	}
	// Some masters alone.
	r.monitor(t, "other", "10.0.9.9")
	if d, err = r.diagnose(t, &sentinelv1.DiagnoseRequest{Names: []string{"m"}}); err != nil || codesOf(d) != want {
		t.Errorf("of m: %s, %v", codesOf(d), err)
	}
	_, err = r.diagnose(t, &sentinelv1.DiagnoseRequest{Names: []string{"m", "none"}})
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND)
}

// TestDiagnoseOfMany: findings come in parts that a client accepts, and all of them come.
func TestDiagnoseOfMany(t *testing.T) {
	r := ward(t)
	const many = 700
	for i := range many {
		r.monitor(t, fmt.Sprint("set-", i), fmt.Sprint("10.2.", i/250, ".", i%250+1))
	}
	stream, err := sentinelv1.NewDiagnoseServiceClient(r.conn).Diagnose(t.Context(), &sentinelv1.DiagnoseRequest{IncludePassed: true})
	if err != nil {
		t.Fatal(err)
	}
	silent, parts := 0, 0
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		parts++
		if n := len(part.GetFindings()); n > findingsAtOnce {
			t.Errorf("%d findings in one message", n)
		}
		silent += strings.Count(codesOf(part), "master_silent")
	}
	if silent != many || parts < 4 {
		t.Errorf("%d instances are told to be silent, in %d messages", silent, parts)
	}
}

// Without a leader the asked node goes by its own state, and says so.
func TestDiagnoseWithoutLeader(t *testing.T) {
	r := ward(t)
	r.node.set(func(n *fakeNode) {
		n.readErr, n.status.Role, n.status.LeaderID, n.status.LastContact = errNoLeader, "candidate", "", 9*time.Second
	})
	d, err := r.diagnose(t, &sentinelv1.DiagnoseRequest{})
	if err != nil || !d.GetLocal() || d.GetAgeMs() != 9000 || !strings.HasPrefix(codesOf(d), "cluster no_leader, ") {
		t.Errorf("%v, %v", d, err)
	}
}

// slow does not come to an end by itself.
type slow struct{ fakeInspector }

func (slow) CheckUp(ctx context.Context, a raftfsm.Addr, _ raftfsm.Options) doctor.Instance {
	<-ctx.Done()
	return doctor.Instance{Addr: a, Silent: ctx.Err().Error()}
}

// When time is over, what was not looked at is named, within the time.
func TestDiagnoseInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ward(t, func(o *Options) { o.Inspector = slow{} })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stream, err := sentinelv1.NewDiagnoseServiceClient(r.conn).Diagnose(ctx, &sentinelv1.DiagnoseRequest{})
		if err != nil {
			t.Fatal(err)
		}
		d := &sentinelv1.DiagnoseResponse{}
		for {
			part, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			proto.Merge(d, part)
		}
		if n := strings.Count(codesOf(d), "instance_unvisited"); n != 2 || d.GetSummary().GetInstancesVisited() != 0 {
			t.Errorf("%d instances are told not to have been visited: %v", n, d)
		}
	})
}

func TestClockOf(t *testing.T) {
	asked := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return asked.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		there, back, heard int
		ahead, within      int
	}{
		{10, 110, 120, 0, 10},          // the same clock, 10 ms each way, 100 ms to answer
		{5010, 5110, 120, 5000, 10},    // 5 s ahead
		{-4990, -4890, 120, -5000, 10}, // 5 s behind
		{40, 40, 40, 20, 20},           // all of it on the way there: within what is not known
		{0, 50, 40, 5, 0},              // a clock that runs faster is no time on the way
	} {
		got := clockOf(asked, at(c.heard), at(c.there), at(c.back))
		want := doctor.Clock{Ahead: time.Duration(c.ahead) * time.Millisecond, Within: time.Duration(c.within) * time.Millisecond}
		if got != want {
			t.Errorf("%+v: %+v, want %+v", c, got, want)
		}
	}
}

func TestSilence(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.3:26479: connect: connection refused"`), "dial tcp 10.0.0.3:26479: connect: connection refused"},
		{status.Error(codes.Unavailable, "node at 10.0.0.3: the secrets differ"), "node at 10.0.0.3: the secrets differ"},
		{status.Error(codes.DeadlineExceeded, "context deadline exceeded"), "no answer within 3s"},
		{errors.New("its address is not known"), "its address is not known"},
	} {
		if got := silence(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

// TestCollectBundle: every node that answers gives its files, whole and without secrets; the others are named.
func TestCollectBundle(t *testing.T) {
	r := ward(t)
	secret := "geheim-4711"
	if _, err := r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
		Name: "m", Options: &sentinelv1.MasterOptions{AuthPass: &secret}, Force: true,
	}); err != nil {
		t.Fatal(err)
	}
	if m, _ := r.node.State().Master("m"); m.Options.AuthPass.Reveal() != secret {
		t.Fatal("the password is not set")
	}
	for _, own := range []bool{false, true} {
		stream, err := sentinelv1.NewDiagnoseServiceClient(r.conn).CollectBundle(t.Context(), &sentinelv1.CollectBundleRequest{OwnOnly: own})
		if err != nil {
			t.Fatal(err)
		}
		files, faults := map[string][]byte{}, map[string]string{}
		for {
			part, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			name := part.GetNodeId() + "/" + part.GetName()
			files[name] = append(files[name], part.GetData()...)
			if part.GetError() != "" {
				faults[name] = part.GetError()
			}
		}
		nodes, missing := []string{"a"}, map[string]string{"a/torn.txt": "disk gone"}
		if !own {
			nodes = []string{"a", "b"}
			missing["b/torn.txt"], missing["c/"] = "disk gone", "no way to c-1"
		}
		if fmt.Sprint(faults) != fmt.Sprint(missing) {
			t.Errorf("own %v: missing are %v, want %v", own, faults, missing)
		}
		for _, n := range nodes {
			for name, want := range map[string]string{
				"status.json": `"node_id":"` + n + `"`, "nodes.json": `"raft_id":"c-1"`, "masters.json": `"name":"m"`, "events.json": `"kind":"+monitor"`,
				"history.json": `"failovers":[`, "examination.json": `"node_id":"` + n + `"`, "long.txt": strings.Repeat("x", 2*bundlePart+1), "torn.txt": "half",
				"empty.txt": "",
			} {
				text, there := files[n+"/"+name]
				if !there || !bytes.Contains(text, []byte(want)) {
					t.Errorf("own %v: %s/%s: there %v, %d bytes", own, n, name, there, len(text))
				}
			}
		}
		for name, text := range files {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds the password", name)
			}
			if own && slices.Contains([]string{"b", "c"}, name[:1]) {
				t.Errorf("%s was not asked for", name)
			}
		}
	}
}
