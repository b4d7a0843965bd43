package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// retainSnapshots is one: what an older one lacks is gone from the log.
	retainSnapshots = 1
	// lockLimit is how long another process may hold the log.
	lockLimit = time.Second
	// logCache holds the newest entries, so that followers are fed without reading the disk.
	logCache = 512
)

// stores are where Raft keeps its log, its vote and its snapshots.
type stores struct {
	logs    raft.LogStore
	stable  raft.StableStore
	snaps   raft.SnapshotStore
	applied appliedStore
	closers []io.Closer
}

// openStores opens the directory's stores; without a directory they are in memory.
func (n *Node) openStores() (*stores, error) {
	if n.hooks.stores != nil {
		return n.hooks.stores()
	}
	if n.o.Dir == "" {
		mem := raft.NewInmemStore()
		return &stores{logs: mem, stable: mem, snaps: raft.NewInmemSnapshotStore(), applied: &appliedMemory{}}, nil
	}
	return openStoresIn(n.o.Dir, n.log)
}

// openStoresIn opens the stores of a directory.
func openStoresIn(dir string, log *slog.Logger) (*stores, error) {
	path := filepath.Join(dir, "raft.db")
	bolt, err := raftboltdb.New(raftboltdb.Options{
		Path:        path,
		BoltOptions: &bbolt.Options{Timeout: lockLimit, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is locked by another process: is another sentineld running with this dir?", path)
	case err != nil:
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	st := &stores{logs: bolt, stable: bolt, closers: []io.Closer{bolt}}
	if st.snaps, err = raft.NewFileSnapshotStoreWithLogger(dir, retainSnapshots, newRaftLog(log)); err != nil {
		return nil, errors.Join(fmt.Errorf("snapshots in %s: %w", dir, err), st.Close())
	}
	if st.applied, err = openApplied(dir); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	st.closers = append(st.closers, st.applied)
	return st, nil
}

// Close closes what was opened last first.
func (st *stores) Close() error {
	var errs []error
	for _, c := range slices.Backward(st.closers) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
