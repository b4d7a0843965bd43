package notify

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// fakeNode is a cluster whose entries the real law applies. Its Raft server id is "self".
type fakeNode struct {
	t *testing.T

	mu       sync.Mutex
	st       *raftfsm.State
	changed  chan struct{}
	localErr error
}

const self = "self"

func newFakeNode(t *testing.T, cluster string) *fakeNode {
	t.Helper()
	n := &fakeNode{t: t, st: raftfsm.New(), changed: make(chan struct{})}
	n.by(self, &raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{
		FoundCluster: &raftlogv1.FoundCluster{ClusterId: cluster, ClusterName: "test"},
	}})
	n.st = raftfsm.ApplyServers(n.st, n.st.Index()+1, []raftfsm.Server{{ID: self, Voter: true}})
	return n
}

func (n *fakeNode) State() *raftfsm.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.st
}

func (n *fakeNode) Local() (*raftfsm.State, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.st, 0, n.localErr
}

func (n *fakeNode) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *fakeNode) Self() string { return self }

// publish makes st the node's state.
func (n *fakeNode) publish(st *raftfsm.State, localErr error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.st, n.localErr = st, localErr
	close(n.changed)
	n.changed = make(chan struct{})
}

// entry is a command of a proposer.
type entry struct {
	proposer string
	command  *raftlogv1.Command
}

// after is the state after more entries; nobody is told.
func (n *fakeNode) after(st *raftfsm.State, entries ...entry) *raftfsm.State {
	n.t.Helper()
	for _, e := range entries {
		e.command.Header = &raftlogv1.Header{
			Level: raftfsm.LevelOf(e.command), Proposer: e.proposer, ProposedAtMs: time.Now().UnixMilli(),
		}
		next, res := raftfsm.Apply(st, st.Index()+1, e.command)
		if err := res.Err(); err != nil {
			n.t.Fatal(err)
		}
		st = next
	}
	return st
}

func (n *fakeNode) by(proposer string, commands ...*raftlogv1.Command) {
	n.t.Helper()
	st := n.State()
	for _, c := range commands {
		st = n.after(st, entry{proposer, c})
	}
	n.publish(st, nil)
}

func addr(port int) *raftlogv1.Address {
	return &raftlogv1.Address{Host: "10.0.0.1", Port: uint32(port)}
}

// raise brings the cluster to the feature level of this build.
func (n *fakeNode) raise() {
	n.t.Helper()
	n.by(self,
		&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
			RaftId: self, NodeId: "n1", MaxLevel: raftfsm.Level,
		}}},
		&raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
}

// monitor begins to watch a master with options, "name value".
func monitor(name string, port int, options ...string) *raftlogv1.Command {
	c := &raftlogv1.Monitor{Name: name, Address: addr(port), Options: optionValues(append(options, "quorum 1"))}
	return &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: c}}
}

func set(name string, options ...string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{Name: name, Options: optionValues(options)}}}
}

func optionValues(options []string) []*raftlogv1.OptionValue {
	var out []*raftlogv1.OptionValue
	for _, o := range options {
		name, value, _ := strings.Cut(o, " ")
		out = append(out, &raftlogv1.OptionValue{Name: name, Value: value})
	}
	return out
}

func remove(name string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: name}}}
}

// replica makes an instance known.
func replica(st *raftfsm.State, name string, port int) *raftlogv1.Command {
	m, _ := st.Master(name)
	return &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: name, Generation: m.Generation, Instances: []*raftlogv1.InstanceFacts{{Address: addr(port), Role: raftfsm.RoleReplica}},
	}}}
}

// adopt switches a master.
func adopt(st *raftfsm.State, name string, port int) *raftlogv1.Command {
	m, _ := st.Master(name)
	return &raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{Master: name, Generation: m.Generation, Address: addr(port)}}}
}

// watchSet begins to watch a master at port with a replica at port+1.
func (n *fakeNode) watchSet(name string, port int, options ...string) {
	n.t.Helper()
	n.by(self, monitor(name, port, options...))
	n.by(self, replica(n.State(), name, port+1))
}

func (n *fakeNode) switchTo(proposer, name string, port int) {
	n.t.Helper()
	n.by(proposer, adopt(n.State(), name, port))
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// notices keeps what is published.
type notices struct {
	mu        sync.Mutex
	all       []string
	onPublish func() // nil: nothing
}

func (n *notices) publish(notice api.Notice) {
	n.mu.Lock()
	n.all = append(n.all, notice.Channel+" "+notice.Payload)
	n.mu.Unlock()
	if n.onPublish != nil {
		n.onPublish()
	}
}

func (n *notices) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.all...)
}

// writeScript makes an executable sh script.
func writeScript(t *testing.T, dir, name, body string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually polls for real processes.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

func readFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
