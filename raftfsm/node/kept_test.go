package node

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestKeptDataDirectories starts a node on what each release left on its disk: log, snapshot and identity.
func TestKeptDataDirectories(t *testing.T) {
	archives, err := filepath.Glob("testdata/v*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no kept directories: %v", err)
	}
	for _, archive := range archives {
		t.Run(filepath.Base(archive), func(t *testing.T) {
			dir := unpack(t, archive)
			n := startKept(t, dir)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			s, err := n.Read(ctx)
			for errors.Is(err, ErrNoLeader) {
				s, err = n.Read(ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
			m, ok := s.Master("mymaster")
			if !ok || m.Address.Port != 36002 || m.Epoch != 1 || len(m.History) != 1 || len(m.Instances) != 2 {
				t.Errorf("the master is not what it was: %+v", m)
			}
			if _, removed := s.Tombstone("other"); !removed {
				t.Error("a removed name is forgotten")
			}
			res, err := n.Propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{
				Name: "mymaster", Options: []*raftlogv1.OptionValue{{Name: "parallel-syncs", Value: "5"}},
			}}})
			if err != nil || res.Code != raftfsm.OK || !res.Changed {
				t.Errorf("the log does not go on: %+v, %v", res, err)
			}
			if got := raisedLevel(t, n); got != raftfsm.Level {
				t.Errorf("the node was upgraded, and the level is %d", got)
			}
		})
	}
}

func startKept(t *testing.T, dir string) *Node {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	at, err := raftfsm.ParseAddr(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := New(Options{
		NodeID: "kept", ClusterName: "kept", Dir: dir, BootstrapExpect: 1, Timing: TimingLAN,
		RaftListener: l, Raft: at, GRPC: at, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return n
}

func unpack(t *testing.T, archive string) (dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, data, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
