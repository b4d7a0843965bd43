package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// ledgerFile stands in the data directory.
const ledgerFile = "scripts"

// ledger keeps a place over restarts. What it has saved is on disk when save returns: a script that was started is never
// behind a saved place.
type ledger struct {
	dir string // "" keeps it in memory
}

type ledgerRecord struct {
	ClusterID string `json:"cluster_id"`
	Index     uint64 `json:"index"`
	Ordinal   uint32 `json:"ordinal"`
}

// errDamaged: the file cannot be read as what it should be.
var errDamaged = errors.New("damaged")

// load gives the place that was saved last; the zero place where none was.
func (l ledger) load() (place, error) {
	if l.dir == "" {
		return place{}, nil
	}
	path := filepath.Join(l.dir, ledgerFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return place{}, nil
	}
	if err != nil {
		return place{}, fmt.Errorf("place of the scripts in the events: %w", err)
	}
	var r ledgerRecord
	if err := json.Unmarshal(text, &r); err != nil {
		return place{}, fmt.Errorf("place of the scripts in the events: %s is %w: %w", path, errDamaged, err)
	}
	return place{r.ClusterID, raftfsm.Cursor{Index: r.Index, Ordinal: r.Ordinal}}, nil
}

// save makes p durable. After an error the file holds p or what it held before.
func (l ledger) save(p place) error {
	if l.dir == "" {
		return nil
	}
	text, err := json.Marshal(ledgerRecord{p.cluster, p.after.Index, p.after.Ordinal})
	if err != nil {
		return err
	}
	path := filepath.Join(l.dir, ledgerFile)
	if err := writeSynced(path+".new", append(text, '\n')); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(l.dir)
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
