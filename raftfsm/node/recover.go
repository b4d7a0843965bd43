package node

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// RecoverOptions name the directory of a survivor, and what its configuration says of it.
type RecoverOptions struct {
	Dir         string
	NodeID      string
	ClusterName string
	// Raft is the address that the node announces from now on.
	Raft raftfsm.Addr
	Log  *slog.Logger
}

// ErrNothingToRecover: the directory holds no state of a cluster, or the node was removed from it.
var ErrNothingToRecover = errors.New("there is nothing to recover")

// Recovery is the directory of a node whose cluster has lost its majority for good. While it is open no node can use it.
type Recovery struct {
	o  RecoverOptions
	id *identity
	st *stores
	// state is all that this node knows, committed or not: nobody is left who could tell.
	state *raftfsm.State
	// index and term are those of the last entry, or of the snapshot where no entry follows it: then the log is covered.
	index, term uint64
	covered     bool
}

// OpenRecovery locks a directory and reads all that it holds. It changes nothing. [Recovery.Close] gives it back.
func OpenRecovery(o RecoverOptions) (_ *Recovery, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Recovery{o: o}
	if _, err := os.Stat(filepath.Join(o.Dir, identityFile)); err != nil {
		return nil, fmt.Errorf("%w in %s: it is not the data directory of a node (%w)", ErrNothingToRecover, o.Dir, err)
	}
	if r.id, err = openIdentity(o.Dir, o.NodeID, o.ClusterName); errors.Is(err, ErrInUse) {
		return nil, fmt.Errorf("%w; stop it first, and start it again when its cluster is recovered", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	switch rec := r.id.get(); {
	case rec.Removed:
		return nil, fmt.Errorf("%w in %s: node %s was removed from its cluster", ErrNothingToRecover, o.Dir, rec.RaftID)
	case rec.ClusterID == "":
		return nil, fmt.Errorf("%w in %s: node %s never belonged to a cluster", ErrNothingToRecover, o.Dir, rec.RaftID)
	}
	if r.st, err = openStoresIn(o.Dir, o.Log); err != nil {
		return nil, err
	}
	if err = r.read(); err != nil {
		return nil, err
	}
	if r.state.Cluster().ID == "" || len(r.state.Servers()) == 0 {
		return nil, fmt.Errorf("%w in %s: node %s has learned nothing of its cluster", ErrNothingToRecover, o.Dir, r.id.get().RaftID)
	}
	return r, nil
}

// read replays the newest snapshot and the whole log.
func (r *Recovery) read() error {
	metas, err := r.st.snaps.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if len(metas) > 0 {
		r.index, r.term = metas[0].Index, metas[0].Term
	}
	last, err := r.st.logs.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if r.covered = last <= r.index; !r.covered {
		var l raft.Log
		if err := r.st.logs.GetLog(last, &l); err != nil {
			return fmt.Errorf("read log entry %d: %w", last, err)
		}
		r.index, r.term = l.Index, l.Term
	}
	r.state, _, err = replay(raftfsm.New(), r.st.snaps, r.st.logs, last)
	return err
}

// RaftID is the node's.
func (r *Recovery) RaftID() string { return string(r.id.get().RaftID) }

// State is all that the node knows of its cluster.
func (r *Recovery) State() *raftfsm.State { return r.state }

// Alone tells whether the node is the only member: there is nobody whose loss could hold it up.
func (r *Recovery) Alone() bool {
	servers := r.state.Servers()
	return len(servers) == 1 && servers[0].ID == r.RaftID() && servers[0].Voter
}

// Lost are the names of the other members.
func (r *Recovery) Lost() []string {
	var out []string
	for _, v := range r.state.Servers() {
		if v.ID != r.RaftID() {
			out = append(out, r.state.NodeName(v.ID))
		}
	}
	return out
}

// Run makes the node the only voter of a new cluster, which goes on from what it knows: [raftfsm.Recover]. It changes nothing
// where the node is that already. Where it breaks off it is run again; a node that is started in between finds no majority,
// as before.
//
// The identity comes first, so that from the first change on no member of the lost cluster is let in; the log last, because
// the snapshot holds all of it.
func (r *Recovery) Run() (changed bool, err error) {
	if r.Alone() {
		if !r.covered {
			return false, nil
		}
		return false, r.prune() // what an earlier run did not come to
	}
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	cluster := hex.EncodeToString(b)
	self := raftfsm.Server{ID: r.RaftID(), Address: r.o.Raft.String(), Voter: true}
	index := r.index + 1
	next := raftfsm.Recover(r.state, index, cluster, []raftfsm.Server{self}, time.Now().UnixMilli())
	err = r.id.change(func(rec *identityRecord) error {
		rec.ClusterID, rec.PromisedTo, rec.Founding, rec.HasState = cluster, "", false, true
		return nil
	})
	if err != nil {
		return false, err
	}
	voters := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(self.ID), Address: raft.ServerAddress(self.Address), Suffrage: raft.Voter}}}
	_, trans := raft.NewInmemTransport(raft.ServerAddress(self.Address)) // the store asks one how addresses are written
	sink, err := r.st.snaps.Create(raft.SnapshotVersionMax, index, r.term, voters, index, trans)
	if err != nil {
		return false, fmt.Errorf("snapshot at index %d: %w", index, err)
	}
	if err := (snapshot{next}).Persist(sink); err != nil {
		return false, err
	}
	r.state, r.index, r.covered = next, index, true
	return true, r.prune()
}

// prune empties the log, whose entries are in the snapshot and are the lost cluster's.
func (r *Recovery) prune() error {
	first, err := r.st.logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	last, err := r.st.logs.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if last == 0 {
		return nil
	}
	if err := r.st.logs.DeleteRange(first, last); err != nil {
		return fmt.Errorf("empty the log: %w", err)
	}
	return nil
}

// Close gives the directory back.
func (r *Recovery) Close() error {
	var err error
	if r.st != nil {
		err = r.st.Close()
	}
	return errors.Join(err, r.id.Close())
}
