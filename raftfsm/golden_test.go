package raftfsm_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var golden = flag.String("golden", "", "write the log entries and the snapshot of this release to testdata/NAME")

// TestKeptReleases replays what released versions wrote: entries and snapshots are understood for ever, and mean what they
// meant.
func TestKeptReleases(t *testing.T) {
	if *golden != "" {
		writeGolden(t, filepath.Join("testdata", *golden))
	}
	dirs, err := filepath.Glob("testdata/v*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no kept releases: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			kept, err := os.ReadFile(filepath.Join(dir, "snapshot.bin"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := raftfsm.ReadSnapshot(bytes.NewReader(kept))
			if err != nil {
				t.Fatal(err)
			}
			if c := want.Cluster(); c.Era == "" || c.Era != c.ID && filepath.Base(dir) < "v0.4" {
				t.Errorf("before there were eras it was of era %q: cluster %s", c.Era, c.ID)
			}
			data, err := os.ReadFile(filepath.Join(dir, "entries.bin"))
			if err != nil {
				t.Fatal(err)
			}
			if got := replay(t, data); !bytes.Equal(image(t, got), image(t, want)) {
				t.Fatal("the kept entries no longer lead to the kept snapshot")
			}
		})
	}
}

// replay applies kept entries, each behind its length, to the three servers that every test begins with.
func replay(t *testing.T, data []byte) *raftfsm.State {
	t.Helper()
	l := &log{t: t, state: raftfsm.New()}
	l.servers("a", "b", "c")
	for len(data) > 0 {
		size, width := binary.Uvarint(data)
		entry := data[width : width+int(size)]
		data = data[width+int(size):]
		c, err := raftfsm.Decode(entry)
		if err != nil {
			t.Fatal(err)
		}
		l.index++
		l.state, _ = raftfsm.Apply(l.state, l.index, c)
	}
	return l.state
}

func writeGolden(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var entries bytes.Buffer
	l := &log{t: t, state: raftfsm.New()}
	l.record = func(data []byte) {
		entries.Write(binary.AppendUvarint(nil, uint64(len(data))))
		entries.Write(data)
	}
	l.found()
	scenario(l)
	if err := os.WriteFile(filepath.Join(dir, "entries.bin"), entries.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "snapshot.bin"), image(t, l.state), 0o644); err != nil {
		t.Fatal(err)
	}
}
