package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (c *cluster) Diagnose(q *sentinelv1.DiagnoseRequest, s grpc.ServerStreamingServer[sentinelv1.DiagnoseResponse]) error {
	// It never needs a leader.
	if err := c.note(s.Context(), q, sentinelv1.Consistency_CONSISTENCY_LOCAL); err != nil {
		return err
	}
	for _, d := range c.diagnosis {
		if err := s.Send(d); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) CollectBundle(q *sentinelv1.CollectBundleRequest, s grpc.ServerStreamingServer[sentinelv1.CollectBundleResponse]) error {
	if err := c.note(s.Context(), q, sentinelv1.Consistency_CONSISTENCY_LOCAL); err != nil {
		return err
	}
	for _, b := range c.bundle {
		if err := s.Send(b); err != nil {
			return err
		}
	}
	return c.bundleErr
}

// diagnosed is a cluster that tells a problem, a warning and what passed, in two parts.
func diagnosed() *cluster {
	c := sample()
	part := func(findings ...*sentinelv1.Finding) *sentinelv1.DiagnoseResponse {
		return &sentinelv1.DiagnoseResponse{ClusterId: "c1", Revision: 42, NodeId: "n1", Findings: findings}
	}
	last := part()
	last.Summary = &sentinelv1.DiagnosisSummary{
		Problems: 1, Warnings: 1, Passed: 1, NodesAnswered: 2, Nodes: 3, InstancesVisited: 1, Instances: 1,
	}
	c.diagnosis = []*sentinelv1.DiagnoseResponse{
		part(
			&sentinelv1.Finding{
				Severity: sentinelv1.Severity_SEVERITY_OK, Code: "voters", Subject: "cluster", What: "3 voters: 1 may fail",
			},
			&sentinelv1.Finding{
				Severity: sentinelv1.Severity_SEVERITY_PROBLEM, Code: "node_silent", Subject: "node n3", NodeId: "n3", What: "does not answer",
				Why: "it counts among the voters", Advice: "look whether sentineld runs there",
			}),
		part(&sentinelv1.Finding{
			Severity: sentinelv1.Severity_SEVERITY_WARNING, Code: "version_mixed", Subject: "master cache", Master: "cache",
			Instance: addr("10.0.0.2", 6379), What: "10.0.0.2:6379 is Redis 7.2.3\x1b[2J and the master 7.2.4", Why: "they differ",
			Advice: "finish the upgrade of cache",
		}),
		last,
	}
	return c
}

func TestDoctor(t *testing.T) {
	c := diagnosed()
	at := c.serve(t)
	r := ctl(t.Context(), t, at, nil, "doctor", "cache", "--all")
	if r.status != exitCheck || r.stderr != "sentinelctl: 1 problem\n" {
		t.Errorf("exit %d, stderr %q", r.status, r.stderr)
	}
	golden(t, "doctor", r.stdout)
	if got := string(sentinelv1.JSON(c.asked[0])); got != `{"consistency":"CONSISTENCY_LINEARIZABLE","names":["cache"],"include_passed":true}` {
		t.Errorf("asked %s", got)
	}
	r = ctl(t.Context(), t, at, nil, "doctor", "-o", "json")
	if r.status != exitCheck {
		t.Errorf("exit %d, stderr %q", r.status, r.stderr)
	}
	golden(t, "doctor.json", r.stdout)

	// Warnings alone end with 0; what has no leader's word is marked.
	c.diagnosis[2].Summary.Problems, c.diagnosis[2].Local, c.diagnosis[2].AgeMs = 0, true, 2500
	if r = ctl(t.Context(), t, at, nil, "doctor", "--local"); r.status != exitDone || r.stderr != "sentinelctl: local, 2500 ms old\n" {
		t.Errorf("exit %d, stderr %q", r.status, r.stderr)
	}
	// A diagnosis that was broken off is none.
	c.diagnosis = c.diagnosis[:2]
	if r = ctl(t.Context(), t, at, nil, "doctor"); r.status != exitFailed || r.stdout != "" {
		t.Errorf("broken off: exit %d, %q", r.status, r.stdout)
	}
	if r = ctl(t.Context(), t, at, nil, "doctor", "--max-wait", "0s"); r.status != exitUsage {
		t.Errorf("exit %d", r.status)
	}
	if r = ctl(t.Context(), t, "127.0.0.1:1", nil, "doctor"); r.status != exitUnreachable {
		t.Errorf("exit %d", r.status)
	}
}

func TestBundle(t *testing.T) {
	c := diagnosed()
	part := func(node, name, data, fault string) *sentinelv1.CollectBundleResponse {
		return &sentinelv1.CollectBundleResponse{NodeId: node, Name: name, Data: []byte(data), Error: fault}
	}
	c.bundle = []*sentinelv1.CollectBundleResponse{
		part("n1", "a.txt", "one ", ""), part("n1", "a.txt", "two", ""), part("n1", "b.txt", "", "disk gone"),
		part("n2", "../../a.txt", "other", ""), part("n3", "", "", "no answer within 3s"),
	}
	at := c.serve(t)
	file := filepath.Join(t.TempDir(), "out.tar.gz")
	r := ctl(t.Context(), t, at, nil, "debug", "bundle", file)
	if r.status != exitDone {
		t.Fatalf("exit %d, %s", r.status, r.stderr)
	}
	for _, want := range []string{"node n3: no answer within 3s", "node n1: b.txt: disk gone"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("stderr does not say %q: %s", want, r.stderr)
		}
	}
	if table, _, _ := strings.Cut(r.stdout, "wrote "); table != "NODE  FILES  BYTES\nn1    2      7 B\nn2    1      5 B\nn3    0      0 B\n" {
		t.Errorf("printed %q", r.stdout)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	files := untar(t, file)
	for name, want := range map[string]string{
		"n1/a.txt": "one two", "n1/b.txt": "", "n2/.._.._a.txt": "other", "doctor.json": `"code":"node_silent"`, "manifest.json": `"no answer within 3s"`,
	} {
		if text, there := files[name]; !there || !strings.Contains(text, want) {
			t.Errorf("%s: there %v, %q", name, there, text)
		}
	}
	if len(files) != 5 {
		t.Errorf("files %v", files)
	}
	// A file that is there is left as it is, and without a name each bundle has one by its time.
	if r = ctl(t.Context(), t, at, nil, "debug", "bundle", "-"); r.status != exitUsage {
		t.Errorf("to stdout: %+v", r)
	}
	if r = ctl(t.Context(), t, at, nil, "debug", "bundle", file); r.status != exitRefused {
		t.Errorf("over another: exit %d", r.status)
	}
	t.Chdir(t.TempDir())
	r = ctl(t.Context(), t, at, nil, "debug", "bundle", "--local", "-o", "json")
	var made written
	if err := json.Unmarshal([]byte(r.stdout), &made); err != nil || r.status != exitDone || made.Bytes == 0 || len(made.Nodes) != 3 {
		t.Fatalf("exit %d, %v in %s", r.status, err, r.stdout)
	}
	if _, err := os.Stat(made.File); err != nil || !strings.HasPrefix(made.File, "sentineld-debug-") {
		t.Error(err, made.File)
	}
	own := false
	for _, q := range c.asked {
		if b, ok := q.(*sentinelv1.CollectBundleRequest); ok {
			own = b.GetOwnOnly()
		}
	}
	if !own {
		t.Error("--local asked for every node's")
	}
	// What was told until a stream broke is kept, and the break named.
	c.bundleErr = status.Error(codes.Internal, "out of paper")
	file = filepath.Join(t.TempDir(), "torn.tar.gz")
	r = ctl(t.Context(), t, at, nil, "debug", "bundle", file)
	if m := untar(t, file)["manifest.json"]; r.status != exitDone || !strings.Contains(m, "it broke off: out of paper") {
		t.Errorf("exit %d, %s, %s", r.status, r.stderr, m)
	}
	c.bundle = nil
	none := filepath.Join(t.TempDir(), "none.tar.gz")
	r = ctl(t.Context(), t, at, nil, "debug", "bundle", none)
	if _, err := os.Stat(none); r.status != exitFailed || err == nil {
		t.Errorf("of nothing: exit %d, %v", r.status, err)
	}
}

// untar gives the files of an archive by their names below its one folder.
func untar(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if path.Clean(h.Name) != h.Name || strings.Contains(h.Name, "../") {
			t.Errorf("a path %q", h.Name)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		out[name] = string(text)
	}
}
