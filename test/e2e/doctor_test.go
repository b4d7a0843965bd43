package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// diagnosis is what sentinelctl doctor -o json prints.
type diagnosis struct {
	Local    bool `json:"local"`
	Findings []struct {
		Severity, Code, Subject, What string
	} `json:"findings"`
	Summary struct {
		Problems int `json:"problems"`
	} `json:"summary"`
}

// codes are those of the problems, each once.
func (d diagnosis) codes() []string {
	var out []string
	for _, f := range d.Findings {
		if f.Severity == "SEVERITY_PROBLEM" {
			out = append(out, f.Code)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (d diagnosis) says(code string, words ...string) bool {
	return slices.ContainsFunc(d.Findings, func(f struct{ Severity, Code, Subject, What string }) bool {
		return f.Code == code && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(f.Subject+" "+f.What, w) })
	})
}

// doctor asks a node for a diagnosis.
func (l *lab) doctor(n *node, args ...string) (diagnosis, int) {
	l.t.Helper()
	code, stdout, stderr := execute(l.t, programs.ctl, append([]string{"doctor", "-o", "json", "--endpoints", n.GRPCAddr()}, args...)...)
	var d diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		l.t.Fatalf("doctor: exit %d: %v in %s%s", code, err, stdout, stderr)
	}
	return d, code
}

// diagnosed waits until the doctor finds these problems and no others.
func (l *lab) diagnosed(n *node, want ...string) diagnosis {
	l.t.Helper()
	slices.Sort(want)
	var d diagnosis
	l.eventually("the doctor finds "+strings.Join(want, ", "), soon, func(context.Context) error {
		var exit int
		d, exit = l.doctor(n)
		wantExit := 5
		if len(want) == 0 {
			wantExit = 0
		}
		if got := d.codes(); !slices.Equal(got, want) || exit != wantExit {
			return fmt.Errorf("exit %d, %+v", exit, d.Findings)
		}
		return nil
	})
	return d
}

// TestDoctor: a lab that is well has no problem, and each thing that is broken is found and named, the leader's loss included. A
// bundle tells of every node, names the one that is missing, and holds no secret.
func TestDoctor(t *testing.T) {
	const password, clusterSecret, hookPath, hookToken, hookSecret = "geheim-password", "geheim-cluster-0123456789", "geheim-path",
		"geheim-token", "geheim-hook-0123456789"
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": clusterSecret, "hook": hookSecret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, "cluster-secret-file "+filepath.Join(dir, "secret"), "webhook-secret-file "+filepath.Join(dir, "hook"),
		"webhook http://127.0.0.1:1/"+hookPath+"?token="+hookToken)
	s := l.newSet("patient", setOptions{password: password})
	asked, dead := l.leader(), l.follower()
	l.diagnosed(asked)

	// In a file that was changed behind a node's back.
	before, err := os.ReadFile(dead.ConfigPath())
	l.must(err)
	l.must(os.WriteFile(dead.ConfigPath(), append(bytes.Clone(before), "\nloglevel warning\nraft-timing lan\n"...), 0o600))
	if d := l.diagnosed(asked); !d.says("reload_pending", "node "+dead.Name(), "loglevel") || !d.says("restart_pending", "raft-timing") {
		t.Errorf("%+v", d.Findings)
	}
	l.must(os.WriteFile(dead.ConfigPath(), append(bytes.Clone(before), "\nprot 7\n"...), 0o600))
	if d := l.diagnosed(asked, "config_fault"); !d.says("config_fault", "node "+dead.Name(), "prot", dead.ConfigPath()) {
		t.Errorf("%+v", d.Findings)
	}
	l.must(os.WriteFile(dead.ConfigPath(), before, 0o600))

	// At the instances.
	restricted, small := s.servers[1], s.servers[2]
	l.must(restricted.client.Do(t.Context(), "ACL", "SETUSER", "default", "-config|rewrite", "-client|kill").Err())
	l.must(small.client.ConfigSet(t.Context(), "maxmemory", "100mb").Err())
	d := l.diagnosed(asked, "command_denied", "maxmemory_smaller")
	for _, c := range []struct{ code, at, word string }{
		{"command_denied", restricted.at, "CONFIG REWRITE"},
		{"command_denied", restricted.at, "CLIENT KILL"},
		{"maxmemory_smaller", small.at, "100.0 MiB"},
	} {
		if !d.says(c.code, "master patient", c.at, c.word) {
			t.Errorf("%s does not name %s and %s: %+v", c.code, c.at, c.word, d.Findings)
		}
	}
	l.must(restricted.client.Do(t.Context(), "ACL", "SETUSER", "default", "+@all").Err())
	l.must(small.client.ConfigSet(t.Context(), "maxmemory", "0").Err())

	// In the cluster.
	quorum := func(n int32) {
		l.eventually("another quorum", soon, func(ctx context.Context) error {
			_, err := asked.admin.UpdateMaster(ctx, &sentinelv1.UpdateMasterRequest{
				Name: s.name, Options: &sentinelv1.MasterOptions{Quorum: &n}, ExpectedRevision: 0,
			})
			return err
		})
	}
	quorum(7)
	if d := l.diagnosed(asked, "quorum_unreachable"); !d.says("quorum_unreachable", "master patient", "7", "3") {
		t.Errorf("%+v", d.Findings)
	}
	if d, exit := l.doctor(asked, s.name, "--all"); exit != 5 || !d.says("ports", "node "+dead.Name(), "every port of the other nodes") || !d.says("replicas", "master patient") {
		t.Errorf("exit %d, %+v", exit, d.Findings)
	}
	quorum(2)
	l.must(dead.Kill())
	d = l.diagnosed(asked, "node_silent")
	if !d.says("node_silent", "node "+dead.Name(), "refused", "no node reaches any of its ports") {
		t.Errorf("%+v", d.Findings)
	}
	l.bundle(asked, dead, password, clusterSecret, hookPath, hookToken, hookSecret)

	// Without a leader the asked node goes by what it knows.
	for _, n := range l.running() {
		if n != asked {
			l.must(n.Kill())
		}
	}
	l.eventually("there is no leader", soon, func(context.Context) error {
		if d, exit := l.doctor(asked); exit != 5 || !d.Local || !d.says("no_leader") {
			return fmt.Errorf("exit %d, %+v", exit, d)
		}
		return nil
	})
	for _, n := range l.nodes {
		if n != asked {
			l.must(n.Start(t.Context()))
		}
	}
	l.formed()
	s.settled(s.servers[0])
	l.diagnosed(asked)
}

// bundle has a bundle written and looks through it.
func (l *lab) bundle(asked, dead *node, secrets ...string) {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "bundle.tar.gz")
	code, stdout, stderr := execute(l.t, programs.ctl, "debug", "bundle", file, "--endpoints", asked.GRPCAddr())
	if code != 0 || !strings.Contains(stdout, "wrote "+file) || !strings.Contains(stderr, dead.Name()) {
		l.t.Fatalf("bundle: exit %d, %s%s", code, stdout, stderr)
	}
	if again, _, _ := execute(l.t, programs.ctl, "debug", "bundle", file, "--endpoints", asked.GRPCAddr()); again != 4 {
		l.t.Errorf("a bundle over another: exit %d, want 4", again)
	}
	info, err := os.Stat(file)
	l.must(err)
	if info.Mode().Perm() != 0o600 {
		l.t.Errorf("mode %v", info.Mode())
	}
	files := unpack(l.t, file)
	for name, text := range files {
		for _, s := range secrets {
			if bytes.Contains(text, []byte(s)) {
				l.t.Errorf("%s holds %q", name, s)
			}
		}
	}
	for _, n := range l.running() {
		for name, want := range map[string]string{
			"version.json": `"go": "go1.`, "config.conf": "node-id " + n.Name(), "status.json": `"leader_node_id"`, "nodes.json": dead.Name(),
			"masters.json": `"patient"`, "history.json": `"failovers"`, "events.json": "+monitor", "raft.json": "commit_index",
			"metrics.txt": "sentineld_", "log.txt": "starting", "goroutines.txt": "goroutine ", "heap.pprof": "", "examination.json": `"ports"`,
		} {
			text, there := files[n.Name()+"/"+name]
			if !there || len(text) == 0 || !bytes.Contains(text, []byte(want)) {
				l.t.Errorf("%s/%s: there %v, %d bytes, without %q", n.Name(), name, there, len(text), want)
			}
		}
	}
	for name, want := range map[string]string{"doctor.json": "node_silent", "manifest.json": `"node_id": "` + dead.Name() + `"`} {
		if !bytes.Contains(files[name], []byte(want)) {
			l.t.Errorf("%s: %s", name, files[name])
		}
	}
}

// unpack gives the files of a bundle by their names below its one folder.
func unpack(t *testing.T, file string) map[string][]byte {
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
	out := map[string][]byte{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if out[name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
