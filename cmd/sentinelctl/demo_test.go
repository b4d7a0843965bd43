package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// TestTimeline holds how each event of a failover is told.
func TestTimeline(t *testing.T) {
	var out strings.Builder
	line := timeline{d: &demo{out: &out}, killed: at(0).AsTime()}
	old, next, other := addr("127.0.0.1", 7001), addr("127.0.0.1", 7002), addr("127.0.0.1", 7003)
	line.print(at(0).AsTime(), "SIGKILL")
	for _, e := range []*sentinelv1.Event{
		{Kind: "+sdown", At: at(1000), NodeId: "node-2", Instance: old, Cause: sentinelv1.Cause_CAUSE_REFUSED},
		{Kind: "+odown", At: at(1003), Instance: old, Detail: "#quorum 2/2"},
		{Kind: "+new-epoch", At: at(1004), Epoch: 1},
		{Kind: "+try-failover", At: at(1004), Epoch: 1, Detail: "2 of 2 votes"},
		{Kind: "+selected-slave", At: at(1004), Instance: next},
		{Kind: "+promoted-slave", At: at(1009), Instance: next, OffsetMs: 4.75},
		{Kind: "+switch-master", At: at(1009), Instance: next, From: old, To: next},
		{Kind: "+slave-reconf-done", At: at(1021), Instance: other, OffsetMs: 16.25},
		{Kind: "+failover-end", At: at(1025)},
		{Kind: "+hold", At: at(999), Payload: "master demo 127.0.0.1 7002", Detail: "two masters"},
	} {
		line.event(e)
	}
	golden(t, "timeline", out.String())
}

// TestStory: what the demonstration must have heard before it believes in a failover.
func TestStory(t *testing.T) {
	whole := []*sentinelv1.Event{
		{Kind: "+sdown", NodeId: "n1"},
		{Kind: "+sdown", NodeId: "n2"},
		{Kind: "+odown"},
		{Kind: "+selected-slave"},
		{Kind: "+switch-master"},
		{Kind: "+failover-end"},
	}
	for missing := range whole[:len(whole)-1] {
		var told story
		for i, e := range whole {
			if i != missing {
				told.hear(e)
			}
		}
		if _, err := (&demo{}).record(t.Context(), told); told.ended == nil || err == nil {
			t.Errorf("without %s %d: believed", whole[missing].GetKind(), missing)
		}
	}
}

// TestAllUp: what a node must see before all is green.
func TestAllUp(t *testing.T) {
	good := func() *sentinelv1.Master {
		o := func() *sentinelv1.Observation { return &sentinelv1.Observation{Connected: true, InfoAgeMs: 1} }
		m := &sentinelv1.Master{
			Address: addr("h", 1), Status: sentinelv1.MasterStatus_MASTER_STATUS_OK, ReplicaCount: 1,
			Instances: []*sentinelv1.Instance{
				{Address: addr("h", 1), Role: sentinelv1.Role_ROLE_MASTER, ReportedRole: sentinelv1.Role_ROLE_MASTER, Observation: o()},
				{
					Address: addr("h", 2), Role: sentinelv1.Role_ROLE_REPLICA, ReportedRole: sentinelv1.Role_ROLE_REPLICA,
					SyncedReplId: "id", Observation: o(),
				},
			},
		}
		m.Instances[1].Observation.LinkUp, m.Instances[1].Observation.Follows = true, addr("h", 1)
		return m
	}
	if err := allUp(good(), "h:1", 1); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*sentinelv1.Master){
		"another master":  func(m *sentinelv1.Master) { m.Address = addr("h", 2) },
		"down":            func(m *sentinelv1.Master) { m.Status = sentinelv1.MasterStatus_MASTER_STATUS_SDOWN },
		"too few":         func(m *sentinelv1.Master) { m.ReplicaCount = 0 },
		"never seen":      func(m *sentinelv1.Master) { m.Instances[1].Observation = nil },
		"not connected":   func(m *sentinelv1.Master) { m.Instances[0].Observation.Connected = false },
		"no INFO":         func(m *sentinelv1.Master) { m.Instances[1].Observation.InfoAgeMs = -1 },
		"loading":         func(m *sentinelv1.Master) { m.Instances[1].Observation.Loading = true },
		"says it is both": func(m *sentinelv1.Master) { m.Instances[1].ReportedRole = sentinelv1.Role_ROLE_MASTER },
		"link down":       func(m *sentinelv1.Master) { m.Instances[1].Observation.LinkUp = false },
		"follows another": func(m *sentinelv1.Master) { m.Instances[1].Observation.Follows = addr("h", 3) },
		"never in sync":   func(m *sentinelv1.Master) { m.Instances[1].SyncedReplId = "" },
	} {
		m := good()
		spoil(m)
		if allUp(m, "h:1", 1) == nil {
			t.Errorf("%s: taken for green", name)
		}
	}
}

// TestDemo runs the whole demonstration with real processes.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	if _, err := stage.FindRedis(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(t.TempDir(), "sentineld")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", node, "../sentineld").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	begun := time.Now()
	r := ctl(t.Context(), t, "127.0.0.1:1", nil, "demo", "--sentineld", node)
	t.Logf("took %v\n%s", time.Since(begun), r.stdout)
	if r.status != exitDone {
		t.Fatalf("exit %d, %s", r.status, r.stderr)
	}
	for _, want := range []string{"All green", "SIGKILL", "candidate", "switched: the master is", "What clients saw", "as a replica of", "The record of switchover", "All of it happened"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("nothing said of %q", want)
		}
	}
}

func TestDemoWithoutANode(t *testing.T) {
	if _, err := stage.FindRedis(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	broken, err := exec.LookPath("false")
	if err != nil {
		t.Fatal(err)
	}
	r := ctl(t.Context(), t, "127.0.0.1:1", nil, "demo", "--sentineld", broken)
	if r.status != exitFailed || !strings.Contains(r.stderr, "ended at once") {
		t.Errorf("exit %d, %q", r.status, r.stderr)
	}
	if strings.Contains(r.stdout, "All of it happened") {
		t.Error("a failed demonstration says that all happened")
	}
}
