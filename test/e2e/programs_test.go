package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func containsAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func killTogether(procs ...*stage.Process) error { return stage.KillAll(procs...) }

func redisOptions(name, replicaOf string, config ...string) stage.RedisOptions {
	return stage.RedisOptions{Name: name, ReplicaOf: replicaOf, Config: config}
}

// in is the lab for a subtest.
func (l *lab) in(t *testing.T) *lab { return &lab{t: t, stage: l.stage, nodes: l.nodes} }

// debugDirective tells whether the server has a directive that allows DEBUG; before Redis 7 it is always allowed.
func (l *lab) debugDirective() bool {
	r, err := l.stage.Redis(redisOptions("debug", "", "enable-debug-command yes"))
	l.must(err)
	if err := r.Start(l.t.Context()); err != nil {
		return false
	}
	l.must(r.Kill())
	return true
}

// execute runs a program to its end, at most for 10 s.
func execute(t *testing.T, path string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, t.TempDir()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s %v: %v, %v\n%s", filepath.Base(path), args, err, ctx.Err(), errs.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestConfigurationFaults: exit status 2, with every fault by its line, whether it starts or only checks.
func TestConfigurationFaults(t *testing.T) {
	t.Parallel()
	conf := filepath.Join(t.TempDir(), "bad.conf")
	lines := "port 26379\nprot 1\ndir /tmp\nsentinel monitor m 127.0.0.1 6379 0\nsentinel auth-pass m hush\n\"open\n"
	if err := os.WriteFile(conf, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{conf}, {"--check-config", conf}} {
		code, stdout, stderr := execute(t, programs.node, args...)
		if code != 2 || stdout != "" {
			t.Errorf("%v: status %d, stdout %q", args, code, stdout)
		}
		for _, want := range []string{":2: unknown directive", ":3: dir /tmp", ":4: sentinel monitor m", ":6: unbalanced quotes"} {
			if !strings.Contains(stderr, conf+want) {
				t.Errorf("%v: no %q in\n%s", args, conf+want, stderr)
			}
		}
		if strings.Contains(stderr, "hush") {
			t.Errorf("%v: a password shows", args)
		}
	}
	if err := os.WriteFile(conf, []byte("port 26379\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := execute(t, programs.node, "--check-config", conf); code != 0 {
		t.Errorf("a good file: status %d\n%s", code, stderr)
	}
}

// TestWrongRequests: an error that names what and where, its exit status, and nothing changed.
func TestWrongRequests(t *testing.T) {
	l := newLab(t)
	s := l.newSet("right", setOptions{})
	other := l.newServers("other", setOptions{})
	endpoints := "--endpoints=" + l.nodes[0].GRPCAddr()
	before, err := s.local(t.Context(), l.nodes[0])
	l.must(err)
	host, port, _ := strings.Cut(s.servers[1].at, ":")
	otherHost, otherPort, _ := strings.Cut(other.servers[0].at, ":")
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string // in what it says
	}{
		{"unknown master", []string{"master", "nobody"}, 4, "nobody"},
		{"remove an unknown master", []string{"remove", "nobody", "--yes"}, 4, "nobody"},
		{"no address", []string{"monitor", "m", "a/b", "1", "1"}, 2, "a/b"},
		{"port 0", []string{"monitor", "m", "127.0.0.1", "0", "1"}, 2, "0"},
		{"quorum 0", []string{"monitor", "m", otherHost, otherPort, "0"}, 2, "quorum"},
		{"control characters", []string{"monitor", "a\nb", otherHost, otherPort, "2"}, 2, "a\\nb"},
		{"a replica", []string{"monitor", "m", host, port, "2"}, 4, "right"},
		{"another quorum", []string{"monitor", "right", otherHost, otherPort, "2"}, 4, "right"},
		{"a bad option", []string{"set", "right", "down-after-milliseconds=0"}, 2, "down-after"},
		{"an unknown option", []string{"set", "right", "colour=red"}, 2, "colour"},
		{"no such command", []string{"frobnicate"}, 2, "frobnicate"},
		{"no node there", []string{"masters", "--endpoints=127.0.0.1:1", "--timeout=1s"}, 3, "127.0.0.1:1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.args
			if !strings.Contains(strings.Join(args, " "), "--endpoints") {
				args = append(args, endpoints)
			}
			code, stdout, stderr := execute(t, programs.ctl, args...)
			if code != tt.code || !strings.Contains(stderr, tt.want) || stdout != "" {
				t.Errorf("status %d, want %d; stdout %q; stderr without %q:\n%s", code, tt.code, stdout, tt.want, stderr)
			}
		})
	}
	after, err := s.local(t.Context(), l.nodes[0])
	l.must(err)
	if before.GetRevision() != after.GetRevision() || count(s.events(""), "+monitor") != 1 {
		t.Errorf("something changed: revision %d, then %d%s", before.GetRevision(), after.GetRevision(), tell(s.events("")))
	}
}
