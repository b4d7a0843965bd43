package node

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/hashicorp/raft"
)

const (
	identityFile    = "identity"
	identityLock    = "lock"
	identityVersion = 1
)

// identityRecord is what a node knows of itself beside Raft's stores.
type identityRecord struct {
	// RaftID is the node's name when dir was made and an incarnation; it never changes.
	RaftID      raft.ServerID `json:"raft_id"`
	ClusterName string        `json:"cluster_name"`
	// ClusterID is empty until a cluster is founded here or has admitted this node.
	ClusterID string `json:"cluster_id"`
	// PromisedTo is the founder that this node follows; empty for nobody.
	PromisedTo raft.ServerID `json:"promised_to"`
	// Founding: ClusterID was made here and Raft may not be bootstrapped yet.
	Founding bool `json:"founding"`
	// HasState: Raft has held entries, so that an empty log beside this is a loss.
	HasState bool `json:"has_state"`
	Removed  bool `json:"removed"`
}

// identityEnvelope is the file: the record as it was written, and its checksum.
type identityEnvelope struct {
	Version int             `json:"version"`
	CRC32   uint32          `json:"crc32"`
	Record  json.RawMessage `json:"record"`
}

// identity keeps the record on disk. All methods may be called concurrently; changes are fsynced when they return. After
// a failed write the record in memory is as before, and what a restart finds is either.
type identity struct {
	dir  string   // "" keeps the record in memory
	lock *os.File // nil in memory

	mu  sync.Mutex
	rec identityRecord
}

// openIdentity locks dir and reads or makes the identity; dir "" keeps it in memory. dir must exist.
func openIdentity(dir, nodeID, clusterName string) (*identity, error) {
	i := &identity{dir: dir}
	if dir == "" {
		i.rec = newRecord(nodeID, clusterName)
		return i, nil
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	i.lock = lock
	if err := i.load(nodeID, clusterName); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

func newRecord(nodeID, clusterName string) identityRecord {
	incarnation := make([]byte, 4)
	_, _ = rand.Read(incarnation) // never fails: see crypto/rand
	return identityRecord{
		RaftID:      raft.ServerID(nodeID + "-" + hex.EncodeToString(incarnation)),
		ClusterName: clusterName,
	}
}

// nodeID is the node's name when dir was made.
func (r identityRecord) nodeID() string { return madeBy(r.RaftID) }

// madeBy is the name of the node that made a Raft id.
func madeBy(id raft.ServerID) string {
	return string(id)[:max(0, strings.LastIndexByte(string(id), '-'))]
}

// lockDir takes dir for this process. The kernel lets go when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, identityLock)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("data directory %s: lock %s: %w", dir, path, err)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("data directory %s: %w%s", dir, ErrInUse, lockOwner(f))
		}
		return nil, errors.Join(err, f.Close())
	}
	// The process id is for the message above alone.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

func lockOwner(f *os.File) string {
	text, err := io.ReadAll(io.LimitReader(f, 20))
	if text = bytes.TrimSpace(text); err != nil || len(text) == 0 {
		return ""
	}
	return fmt.Sprintf(" (process %s)", text)
}

func (i *identity) load(nodeID, clusterName string) error {
	path := filepath.Join(i.dir, identityFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return i.store(newRecord(nodeID, clusterName))
	}
	if err != nil {
		return fmt.Errorf("identity of this node: %w", err)
	}
	rec, err := parseRecord(text)
	if err != nil {
		return fmt.Errorf("identity of this node: %s is damaged: %w; restore the file, or empty %s and let the node join as a new one", path, err, i.dir)
	}
	bound := rec.ClusterID != "" || rec.PromisedTo != "" || rec.Removed
	if name := rec.nodeID(); name != nodeID {
		if bound {
			return fmt.Errorf("data directory %s belongs to the node %s (Raft id %s), the configuration says node-id %s; "+
				"correct the name, or run: sentinelctl node remove %[2]s, empty %[1]s and let %[4]s join as a new node", i.dir, name, rec.RaftID, nodeID)
		}
		return i.store(newRecord(nodeID, clusterName))
	}
	if rec.ClusterName == clusterName {
		i.rec = rec
		return nil
	}
	if bound {
		return fmt.Errorf("data directory %s belongs to the cluster named %q, the configuration says cluster-name %q; correct the name, or empty %[1]s and let the node join as a new one",
			i.dir, rec.ClusterName, clusterName)
	}
	rec.ClusterName = clusterName
	return i.store(rec)
}

// parseRecord reads strictly: a field that this version does not know may be one that it must obey.
func parseRecord(text []byte) (identityRecord, error) {
	var env identityEnvelope
	if err := unmarshalStrict(text, &env); err != nil {
		return identityRecord{}, err
	}
	if env.Version != identityVersion {
		return identityRecord{}, fmt.Errorf("version %d, this sentineld knows %d", env.Version, identityVersion)
	}
	if sum := crc32.ChecksumIEEE(env.Record); sum != env.CRC32 {
		return identityRecord{}, fmt.Errorf("checksum is %08x, want %08x", sum, env.CRC32)
	}
	var rec identityRecord
	if err := unmarshalStrict(env.Record, &rec); err != nil {
		return identityRecord{}, err
	}
	if rec.RaftID == "" {
		return identityRecord{}, errors.New("it names no raft id")
	}
	return rec, nil
}

func unmarshalStrict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}

func formatRecord(rec identityRecord) ([]byte, error) {
	body, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(identityEnvelope{Version: identityVersion, CRC32: crc32.ChecksumIEEE(body), Record: body})
	return append(text, '\n'), err
}

// store makes rec durable, then true. The caller holds mu or is alone.
func (i *identity) store(rec identityRecord) error {
	if rec == i.rec {
		return nil
	}
	if i.dir != "" {
		text, err := formatRecord(rec)
		if err == nil {
			err = writeDurably(filepath.Join(i.dir, identityFile), text)
		}
		if err != nil {
			return fmt.Errorf("identity of this node: %w", err)
		}
	}
	i.rec = rec
	return nil
}

// writeDurably replaces a file whole: after a crash it holds the old text or the new one.
func writeDurably(path string, text []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// change applies f to the record, durably. An error of f leaves all as it was.
func (i *identity) change(f func(*identityRecord) error) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	rec := i.rec
	if err := f(&rec); err != nil {
		return err
	}
	return i.store(rec)
}

// get is the present record.
func (i *identity) get() identityRecord {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.rec
}

// promise binds this node to a founder unless it is bound already; it gives to whom it is bound now. A node that has a
// cluster promises nothing: the answer is then what it was.
func (i *identity) promise(founder raft.ServerID) (raft.ServerID, error) {
	var bound raft.ServerID
	err := i.change(func(r *identityRecord) error {
		if r.PromisedTo == "" && r.ClusterID == "" && !r.Removed {
			r.PromisedTo = founder
		}
		bound = r.PromisedTo
		return nil
	})
	if err != nil {
		return "", err
	}
	return bound, nil
}

// found records that this node founds the cluster, before Raft is bootstrapped. Only a node bound to itself founds.
func (i *identity) found(clusterID string) error {
	return i.change(func(r *identityRecord) error {
		if r.ClusterID != "" || r.Removed || r.PromisedTo != r.RaftID {
			return fmt.Errorf("found a cluster: this node belongs to cluster %q and follows %q", r.ClusterID, r.PromisedTo)
		}
		r.ClusterID, r.Founding = clusterID, true
		return nil
	})
}

// join records the cluster that has admitted this node.
func (i *identity) join(clusterID string) error {
	return i.change(func(r *identityRecord) error {
		if r.Removed {
			return ErrRemoved
		}
		if r.ClusterID != "" && r.ClusterID != clusterID {
			return fmt.Errorf("join cluster %q: this node belongs to cluster %q", clusterID, r.ClusterID)
		}
		r.ClusterID = clusterID
		return nil
	})
}

// keepState records that Raft holds entries: call it once BootstrapCluster has returned, and when the first entry is
// applied. It costs nothing when it is known.
func (i *identity) keepState() error {
	return i.change(func(r *identityRecord) error {
		r.HasState, r.Founding = true, false
		return nil
	})
}

// remove records that the cluster has removed this node.
func (i *identity) remove() error {
	return i.change(func(r *identityRecord) error {
		r.Removed = true
		return nil
	})
}

// Close releases dir.
func (i *identity) Close() error {
	if i.lock == nil {
		return nil
	}
	return i.lock.Close()
}
