package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// lostCluster is three real nodes that had a cluster with two masters, and are stopped.
func lostCluster(t *testing.T) []*process {
	t.Helper()
	var procs []*process
	var peers []string
	for _, name := range []string{"n0", "n1", "n2"} {
		rl, gl := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
		p := &process{t: t, name: name, dir: t.TempDir(), raft: rl.Addr().String(), grpc: gl.Addr().String()}
		_, _ = rl.Close(), gl.Close()
		procs, peers = append(procs, p), append(peers, p.grpc)
	}
	t.Cleanup(func() {
		for _, p := range procs {
			p.end()
		}
	})
	for _, p := range procs {
		p.peers = peers
		p.start()
	}
	for _, p := range procs {
		soon(t, p.name+" knows three registered voters", func() bool {
			s, _, err := p.Local()
			return err == nil && s.Voters() == 3 && len(slices.Collect(s.Nodes())) == 3 && s.FeatureLevel() == raftfsm.Level
		})
	}
	procs[0].insist(1)
	procs[1].insist(2)
	index := procs[1].State().Index()
	for _, p := range procs {
		soon(t, p.name+" has both masters", func() bool { return p.State().Index() >= index })
	}
	for _, p := range procs {
		p.end()
	}
	return procs
}

func (p *process) recovery() (*Recovery, error) {
	return OpenRecovery(RecoverOptions{Dir: p.dir, NodeID: p.name, ClusterName: "test", Raft: parseAddr(p.t, p.raft)})
}

func (p *process) blank() {
	p.t.Helper()
	p.dir = p.t.TempDir()
}

// recovered makes p the first node of a new cluster.
func (p *process) recovered() *raftfsm.State {
	p.t.Helper()
	r, err := p.recovery()
	if err != nil {
		p.t.Fatal(err)
	}
	changed, err := r.Run()
	if err = errors.Join(err, r.Close()); err != nil || !changed {
		p.t.Fatalf("changed %t, %v", changed, err)
	}
	return r.State()
}

func TestRecoverOnOneSurvivor(t *testing.T) {
	if testing.Short() {
		t.Skip("real sockets and disks")
	}
	procs := lostCluster(t)
	survivor := procs[0]
	before := survivor.State()
	survivor.start()
	if _, err := survivor.recovery(); !errors.Is(err, ErrInUse) {
		t.Errorf("while the node runs: %v", err)
	}
	survivor.end()

	// To look changes nothing.
	r, err := survivor.recovery()
	if err != nil {
		t.Fatal(err)
	}
	if lost := r.Lost(); !slices.Equal(lost, []string{"n1", "n2"}) || r.Alone() || r.State().MasterCount() != 2 || r.State().Index() < before.Index() {
		t.Errorf("lost %v, alone %t, %d masters at %d", lost, r.Alone(), r.State().MasterCount(), r.State().Index())
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	after := survivor.recovered()
	if after.Cluster().ID == before.Cluster().ID || after.Index() <= before.Index() || !after.WasCluster(before.Cluster().ID) {
		t.Errorf("%+v at %d, before %+v at %d", after.Cluster(), after.Index(), before.Cluster(), before.Index())
	}
	if r, err = survivor.recovery(); err != nil || !r.Alone() {
		t.Fatalf("%+v, %v", r, err)
	}
	if changed, err := r.Run(); err != nil || changed || r.State().Cluster() != after.Cluster() {
		t.Errorf("again: changed %t, %v", changed, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	// It leads alone, at once; blank nodes under the old names join it.
	survivor.start()
	survivor.insist(3)
	if s := survivor.State(); s.MasterCount() != 3 || s.Cluster() != after.Cluster() || s.Voters() != 1 {
		t.Errorf("%d masters, %+v, %d voters", s.MasterCount(), s.Cluster(), s.Voters())
	}
	old := &process{t: t, name: "n1", dir: procs[1].dir, raft: procs[1].raft, grpc: procs[1].grpc, peers: survivor.peers}
	procs[1].blank()
	procs[2].blank()
	for _, p := range procs[1:] {
		p.start()
	}
	for _, p := range procs {
		soon(t, p.name+" is a voter of the new cluster", func() bool {
			s, _, err := p.Local()
			return err == nil && s.Voters() == 3 && s.Cluster() == after.Cluster() && s.MasterCount() == 3
		})
	}
	procs[2].insist(4)

	// A lost node that comes back with its old data finds out, and stays out; restarted too.
	procs[1].end()
	old.start()
	defer old.end()
	soon(t, "the old node knows that it is out", func() bool { return old.Status().Role == "removed" })
	if _, _, err := old.Local(); !errors.Is(err, ErrRemoved) {
		t.Errorf("it answers: %v", err)
	}
	old.end()
	old.start()
	soon(t, "it knows after a restart", func() bool { return old.Status().Role == "removed" })
	if s := survivor.State(); s.Voters() != 3 || s.Cluster() != after.Cluster() {
		t.Errorf("the new cluster: %d voters, %+v", s.Voters(), s.Cluster())
	}
	survivor.insist(5)
}

// A recovery that breaks off between its steps is run again, and a node that is started in between does no harm.
func TestRecoveryThatBreaksOff(t *testing.T) {
	if testing.Short() {
		t.Skip("real sockets and disks")
	}
	procs := lostCluster(t)
	p := procs[0]
	r, err := p.recovery()
	if err != nil {
		t.Fatal(err)
	}
	// The identity is written, and nothing else.
	if err := errors.Join(r.id.change(func(rec *identityRecord) error { rec.ClusterID = "half"; return nil }), r.Close()); err != nil {
		t.Fatal(err)
	}
	p.start()
	soon(t, "it answers for itself", func() bool { _, _, err := p.Local(); return err == nil })
	if _, err := p.Propose(t.Context(), monitor("x", 200)); !errors.Is(err, ErrNoLeader) {
		t.Errorf("it found a majority: %v", err)
	}
	p.end()
	after := p.recovered()
	if after.MasterCount() != 2 || after.Cluster().ID == "half" {
		t.Errorf("%d masters, %+v", after.MasterCount(), after.Cluster())
	}
	// The log was not emptied: what it holds is below the snapshot.
	if err := copyFile(filepath.Join(procs[1].dir, "raft.db"), filepath.Join(p.dir, "raft.db")); err != nil {
		t.Fatal(err)
	}
	if r, err = p.recovery(); err != nil {
		t.Fatal(err)
	}
	changed, err := r.Run()
	last, lastErr := r.st.logs.LastIndex()
	if err = errors.Join(err, lastErr, r.Close()); err != nil || changed || last != 0 {
		t.Errorf("changed %t, last index %d, %v", changed, last, err)
	}
	p.start()
	p.insist(3)
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func TestNothingToRecover(t *testing.T) {
	empty := t.TempDir()
	blank := t.TempDir()
	id, err := openIdentity(blank, "n0", "test")
	if err = errors.Join(err, id.Close()); err != nil {
		t.Fatal(err)
	}
	removed := t.TempDir()
	if id, err = openIdentity(removed, "n0", "test"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(id.join("c"), id.remove(), id.Close()); err != nil {
		t.Fatal(err)
	}
	learned := t.TempDir()
	if id, err = openIdentity(learned, "n0", "test"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(id.join("c"), id.Close()); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		empty: "not the data directory", blank: "never belonged", removed: "was removed", learned: "learned nothing", filepath.Join(empty, "none"): "not the data directory",
	} {
		_, err := OpenRecovery(RecoverOptions{Dir: dir, NodeID: "n0", ClusterName: "test", Raft: raftfsm.Addr{Host: "127.0.0.1", Port: 1}})
		if !errors.Is(err, ErrNothingToRecover) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) != 0 {
		t.Errorf("it made %v, %v", left, err)
	}
	if _, err := OpenRecovery(RecoverOptions{Dir: blank, NodeID: "other", ClusterName: "test"}); err == nil {
		t.Error("a directory of another node is taken")
	}
}
