package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

func mustOpenIdentity(t *testing.T, dir string) *identity {
	t.Helper()
	i, err := openIdentity(dir, "n1", "prod")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func reopen(t *testing.T, i *identity) *identity {
	t.Helper()
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	return mustOpenIdentity(t, i.dir)
}

func TestIdentitySurvivesRestart(t *testing.T) {
	i := mustOpenIdentity(t, t.TempDir())
	self := i.get().RaftID
	if !strings.HasPrefix(string(self), "n1-") {
		t.Errorf("raft id %q is not made from the node id", self)
	}
	if got := mustOpenIdentity(t, t.TempDir()).get().RaftID; got == self {
		t.Error("two data directories have one raft id")
	}
	steps := []struct {
		name string
		do   func() error
		want identityRecord
	}{
		{"promise", func() error { _, err := i.promise(self); return err }, identityRecord{PromisedTo: self}},
		{"found", func() error { return i.found("c1") }, identityRecord{PromisedTo: self, ClusterID: "c1", Founding: true}},
		{"bootstrap", func() error { return i.keepState() }, identityRecord{PromisedTo: self, ClusterID: "c1", HasState: true}},
		{"join again", func() error { return i.join("c1") }, identityRecord{PromisedTo: self, ClusterID: "c1", HasState: true}},
		{"remove", func() error { return i.remove() }, identityRecord{PromisedTo: self, ClusterID: "c1", HasState: true, Removed: true}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		i = reopen(t, i)
		s.want.RaftID, s.want.ClusterName = self, "prod"
		if got := i.get(); got != s.want {
			t.Errorf("after %s: %+v, want %+v", s.name, got, s.want)
		}
	}
}

func TestIdentityPromisesOnce(t *testing.T) {
	i := mustOpenIdentity(t, "")
	var wg sync.WaitGroup
	got := make([]raft.ServerID, 20)
	for n := range got {
		wg.Go(func() {
			got[n], _ = i.promise(raft.ServerID('a' + rune(n)))
		})
	}
	wg.Wait()
	for _, g := range got {
		if g == "" || g != i.get().PromisedTo {
			t.Fatalf("promised to %q and to %q", g, i.get().PromisedTo)
		}
	}
	if err := i.found("c1"); err == nil {
		t.Error("a node that follows another founded a cluster")
	}
	if err := i.join("c2"); err != nil {
		t.Error(err)
	}
	if err := i.join("c3"); err == nil {
		t.Error("a node joined two clusters")
	}
}

func TestIdentityPromisesNothingWithState(t *testing.T) {
	i := mustOpenIdentity(t, "")
	if err := i.join("c1"); err != nil {
		t.Fatal(err)
	}
	if got, err := i.promise("n2-x"); got != "" || err != nil {
		t.Errorf("promised %q, %v", got, err)
	}
}

func TestIdentityKeepsOldRecordWhenTheDiskFails(t *testing.T) {
	dir := t.TempDir()
	i := mustOpenIdentity(t, dir)
	// A directory in the way of the temporary file fails every write, root's too.
	if err := os.Mkdir(filepath.Join(dir, identityFile+".tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := i.promise("n2-x"); err == nil || got != "" {
		t.Errorf("answered %q, %v without having written it", got, err)
	}
	if got := i.get().PromisedTo; got != "" {
		t.Errorf("promised to %q without having written it", got)
	}
}

func TestIdentityRefusesDamage(t *testing.T) {
	dir := t.TempDir()
	i := mustOpenIdentity(t, dir)
	if _, err := i.promise("n2-x"); err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, identityFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"cut short":     string(good[:len(good)/2]),
		"one letter":    strings.Replace(string(good), "n2-x", "n3-x", 1),
		"unknown field": strings.Replace(string(good), `{"version"`, `{"more":1,"version"`, 1),
		"later version": strings.Replace(string(good), `"version":1`, `"version":2`, 1),
		"trailing":      string(good) + "x",
		"not JSON":      "\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := openIdentity(dir, "n1", "prod")
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error that names %s", err, path)
			}
		})
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustOpenIdentity(t, dir).get().PromisedTo; got != "n2-x" {
		t.Errorf("the lock or the record was lost by a refused start: promised to %q", got)
	}
}

func TestIdentityLocksDir(t *testing.T) {
	dir := t.TempDir()
	i := mustOpenIdentity(t, dir)
	_, err := openIdentity(dir, "n2", "prod")
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "another sentineld") {
		t.Errorf("got %v, want an error that names the directory and the cause", err)
	}
	if got := reopen(t, i).get(); got.RaftID != i.get().RaftID {
		t.Error("the loser changed the identity")
	}
}

func TestIdentityKeepsClusterName(t *testing.T) {
	dir := t.TempDir()
	i := mustOpenIdentity(t, dir)
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	i, err := openIdentity(dir, "n1", "staging")
	if err != nil {
		t.Fatalf("without state a name may be corrected: %v", err)
	}
	if err := i.join("c1"); err != nil {
		t.Fatal(err)
	}
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = openIdentity(dir, "n1", "prod"); err == nil || !strings.Contains(err.Error(), `"staging"`) {
		t.Errorf("got %v, want a refusal that names both", err)
	}
}

func TestIdentityInMemory(t *testing.T) {
	i := mustOpenIdentity(t, "")
	if got, err := i.promise("n2-x"); got != "n2-x" || err != nil {
		t.Errorf("promise: %q, %v", got, err)
	}
	if err := i.Close(); err != nil {
		t.Error(err)
	}
}

// A directory keeps the node's name: the Raft id would go on under the old one.
func TestIdentityKeepsTheName(t *testing.T) {
	i := mustOpenIdentity(t, t.TempDir())
	fresh := i.get().RaftID
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	i, err := openIdentity(i.dir, "a-b", "prod")
	if err != nil || !strings.HasPrefix(string(i.get().RaftID), "a-b-") {
		t.Fatalf("a directory that nobody knows of takes another name: %v, before %s", err, fresh)
	}
	if err := errors.Join(i.join("c1"), i.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = openIdentity(i.dir, "a", "prod")
	for _, want := range []string{i.dir, "the node a-b ", string(i.get().RaftID), "node-id a;", "sentinelctl node remove a-b", "let a join"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("another name: %v, want %q", err, want)
		}
	}
	if i, err = openIdentity(i.dir, "a-b", "prod"); err != nil {
		t.Fatal(err)
	}
	_ = i.Close()
}
