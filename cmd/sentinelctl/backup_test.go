package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const kept = "correct-horse-battery"

// sampleBackup is a backup of two masters, one with a password and one that is paused.
func sampleBackup(t *testing.T, local bool) []byte {
	t.Helper()
	s := raftfsm.ApplyServers(raftfsm.New(), 1, []raftfsm.Server{{ID: "n1-00000001", Address: "10.0.1.1:26579", Voter: true}})
	address := func(host string) *raftlogv1.Address { return &raftlogv1.Address{Host: host, Port: 6379} }
	options := func(kv ...string) (out []*raftlogv1.OptionValue) {
		for i := 0; i < len(kv); i += 2 {
			out = append(out, &raftlogv1.OptionValue{Name: kv[i], Value: kv[i+1]})
		}
		return out
	}
	for _, c := range []*raftlogv1.Command{
		{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{ClusterId: "c1", ClusterName: "sentineld"}}},
		{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: "n1-00000001", NodeId: "n1", MaxLevel: 4}}},
		{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: 4}}},
		{Op: &raftlogv1.Command_Configure{Configure: &raftlogv1.Configure{Settings: options("announce-hostnames", "yes")}}},
		{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
			Name: "cache", Address: address("10.0.0.1"), Options: options("quorum", "1", "auth-pass", kept), Epoch: 7,
			Replicas: []*raftlogv1.Address{address("10.0.0.2"), address("10.0.0.3")},
		}}},
		{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
			Name: "queue", Address: address("10.0.0.9"), Options: options("quorum", "1", "down-after-milliseconds", "500"), PausedReason: "moving",
		}}},
		{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{Name: "old", Address: address("10.0.0.8"), Options: options("quorum", "1")}}},
		{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "old"}}},
	} {
		c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c)}
		next, res := raftfsm.Apply(s, s.Index()+1, c)
		if err := res.Err(); err != nil {
			t.Fatal(err)
		}
		s = next
	}
	var out bytes.Buffer
	b := &raftfsm.Backup{State: s, TakenAtMs: 1_700_000_000_000, Node: "n1", Version: "0.4.0"}
	if local {
		b.Local, b.AgeMs = true, 2500
	}
	if err := raftfsm.WriteBackup(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// CreateBackup gives the backup in small pieces.
func (c *cluster) CreateBackup(q *sentinelv1.CreateBackupRequest, s grpc.ServerStreamingServer[sentinelv1.CreateBackupResponse]) error {
	if err := c.note(s.Context(), q, q.GetConsistency()); err != nil {
		return err
	}
	for data := c.backup; len(data) > 0; {
		n := min(len(data), 100)
		if err := s.Send(&sentinelv1.CreateBackupResponse{ClusterId: "c1", Revision: 9, AgeMs: ageOf(q.GetConsistency()), Data: data[:n]}); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func TestBackup(t *testing.T) {
	fake := sample()
	fake.backup = sampleBackup(t, false)
	at := fake.serve(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "a.backup")
	same := func(path string) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, fake.backup) {
			t.Errorf("%s has %d bytes, want %d: %v", path, len(got), len(fake.backup), err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("%v, %v: want the backup alone", entries, err)
		}
	}
	r := ctl(t.Context(), t, at, nil, "backup", file)
	if r.status != exitDone || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	golden(t, "backup", strings.ReplaceAll(r.stdout, dir, "DIR"))
	same(file)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := ctl(t.Context(), t, at, nil, "backup", file); r.status != exitRefused || !strings.Contains(r.stderr, "exists: give another name, or --force") {
		t.Errorf("%+v", r)
	}
	if got, _ := os.ReadFile(file); string(got) != "mine" {
		t.Errorf("a refused backup wrote %q", got)
	}
	r = ctl(t.Context(), t, at, nil, "backup", file, "--force", "-o", "json")
	if r.status != exitDone {
		t.Fatalf("%+v", r)
	}
	golden(t, "backup.json", strings.ReplaceAll(r.stdout, dir, "DIR"))
	same(file)
	if r := ctl(t.Context(), t, at, nil, "backup", "-"); r.status != exitDone || r.stdout != string(fake.backup) || !strings.Contains(r.stderr, "2 masters of cluster sentineld (c1)") {
		t.Errorf("exit %d, %d bytes, stderr %q", r.status, len(r.stdout), r.stderr)
	}
	if r := ctl(t.Context(), t, at, nil, "backup", filepath.Join(dir, "none", "b")); r.status != exitFailed {
		t.Errorf("%+v", r)
	}
}

// Without a leader the asked node's own copy is better than none, and everybody hears that it is one.
func TestBackupWithoutALeader(t *testing.T) {
	fake := sample()
	fake.backup, fake.fail = sampleBackup(t, true), status.Error(codes.Unavailable, "no leader")
	file := filepath.Join(t.TempDir(), "a.backup")
	r := ctl(t.Context(), t, fake.serve(t), nil, "backup", file)
	if r.status != exitDone || r.stderr != "sentinelctl: local, 2500 ms old\n" {
		t.Fatalf("%+v", r)
	}
	if r := ctl(t.Context(), t, "127.0.0.1:1", nil, "inspect", file); r.status != exitDone || !strings.Contains(r.stdout, "without a leader: that node's own copy, 2500 ms old") {
		t.Errorf("%+v", r)
	}
}

// What arrives damaged is not written.
func TestBackupThatArrivesDamaged(t *testing.T) {
	fake := sample()
	fake.backup = sampleBackup(t, false)
	fake.backup = fake.backup[:len(fake.backup)-3]
	dir := t.TempDir()
	r := ctl(t.Context(), t, fake.serve(t), nil, "backup", filepath.Join(dir, "a"))
	if r.status != exitFailed || !strings.Contains(r.stderr, "damaged") {
		t.Errorf("%+v", r)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestInspect(t *testing.T) {
	whole := sampleBackup(t, false)
	file := filepath.Join(t.TempDir(), "a.backup")
	put := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(whole)
	for name, args := range map[string][]string{"inspect": {"inspect", file}, "inspect.json": {"inspect", file, "-o", "json"}} {
		r := ctl(t.Context(), t, "127.0.0.1:1", nil, args...)
		if r.status != exitDone || r.stderr != "" {
			t.Fatalf("%+v", r)
		}
		if strings.Contains(r.stdout, kept) {
			t.Errorf("a password is shown:\n%s", r.stdout)
		}
		golden(t, name, r.stdout)
	}
	if r := ctl(t.Context(), t, "127.0.0.1:1", bytes.NewReader(whole), "inspect", "-"); r.status != exitDone || !strings.Contains(r.stdout, "10.0.0.9:6379") {
		t.Errorf("from stdin: %+v", r)
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 0x10
	for name, data := range map[string][]byte{
		"empty": nil, "something else": []byte("port 26379\n"), "cut short": whole[:len(whole)-1], "the magic alone": whole[:19], "a flipped bit": flipped,
		"something behind it": append(bytes.Clone(whole), '\n'),
	} {
		put(data)
		r := ctl(t.Context(), t, "127.0.0.1:1", nil, "inspect", file)
		if r.status != exitCheck || r.stdout != "" || !strings.Contains(r.stderr, file+": ") || strings.Contains(r.stderr, kept) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r := ctl(t.Context(), t, "127.0.0.1:1", nil, "inspect", file+".none"); r.status != exitFailed {
		t.Errorf("%+v", r)
	}
}

// RestoreBackup tells of a cluster that has one master more than the backup.
func (c *cluster) RestoreBackup(s grpc.ClientStreamingServer[sentinelv1.RestoreBackupRequest, sentinelv1.RestoreBackupResponse]) error {
	got := &sentinelv1.RestoreBackupRequest{}
	for {
		part, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		got.Replace, got.ValidateOnly = part.GetReplace(), part.GetValidateOnly()
		got.Data = append(got.GetData(), part.GetData()...)
	}
	if err := c.note(s.Context(), got, 0); err != nil {
		return err
	}
	out := &sentinelv1.RestoreBackupResponse{ClusterId: "c2", Revision: 43, Changed: c.changed, Masters: 2, Epoch: 1_000_007}
	if c.changed {
		out.Removed = []string{"spare"}
	}
	return s.SendAndClose(out)
}

func TestRestore(t *testing.T) {
	data := sampleBackup(t, false)
	file := filepath.Join(t.TempDir(), "a.backup")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	const what = "2 masters of cluster sentineld (c1) at revision 9, 1203 bytes"
	for _, c := range []struct {
		name    string
		args    []string
		same    bool
		status  int
		stdout  string
		stderr  string
		asked   int // how often, each time to try it first
		replace bool
	}{
		{name: "done", args: []string{"--yes"}, stdout: "restored: " + what + "\n", stderr: "resume --all", asked: 2},
		{name: "replacing", args: []string{"--yes", "--replace"}, stdout: "restored: " + what + "\n", stderr: "watched no more: spare\n", asked: 2, replace: true},
		{name: "dry run", args: []string{"--dry-run"}, stdout: "would be restored: " + what + "\n", stderr: "the masters would be paused", asked: 1},
		{name: "again", args: []string{"--yes"}, same: true, stdout: "the cluster was restored from this backup already; nothing changed\n", asked: 1},
		{name: "unasked", status: exitUsage, stderr: "this will bring back " + what + ", taken on 2023-11-14T22:13:20.000Z, paused; watched no more: spare; there is no terminal to ask on", asked: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := sample()
			fake.changed = !c.same
			r := ctl(t.Context(), t, fake.serve(t), nil, append([]string{"restore", file}, c.args...)...)
			if r.status != c.status || r.stdout != c.stdout || !strings.Contains(r.stderr, c.stderr) {
				t.Errorf("%+v", r)
			}
			if len(fake.asked) != c.asked {
				t.Fatalf("asked %d times, want %d", len(fake.asked), c.asked)
			}
			for i, q := range fake.asked {
				q := q.(*sentinelv1.RestoreBackupRequest)
				if !bytes.Equal(q.GetData(), data) || q.GetValidateOnly() != (i == 0) || q.GetReplace() != c.replace {
					t.Errorf("%d: %d bytes, validate %t, replace %t", i, len(q.GetData()), q.GetValidateOnly(), q.GetReplace())
				}
			}
		})
	}
	fake := sample()
	fake.changed = true
	at := fake.serve(t)
	if r := ctl(t.Context(), t, at, bytes.NewReader(data), "restore", "-", "--yes", "-o", "json"); r.status != exitDone {
		t.Errorf("from stdin: %+v", r)
	} else {
		golden(t, "restore.json", r.stdout)
	}
	asked := len(fake.asked)
	if r := ctl(t.Context(), t, at, bytes.NewReader(data[:500]), "restore", "-", "--yes"); r.status != exitCheck || len(fake.asked) != asked {
		t.Errorf("a damaged one: %+v", r)
	}
	for code, want := range map[codes.Code]int{
		codes.FailedPrecondition: exitRefused, codes.Unavailable: exitUnreachable, codes.PermissionDenied: exitForbidden, codes.DeadlineExceeded: exitUnreachable,
	} {
		fake := sample()
		fake.fail = status.Error(code, "no")
		if r := ctl(t.Context(), t, fake.serve(t), nil, "restore", file, "--yes"); r.status != want {
			t.Errorf("%v: %+v", code, r)
		}
	}
}
