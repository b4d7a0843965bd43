package daemon

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
)

// Runnable tells why a path is not that of an executable file.
func Runnable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s may not be executed (mode %04o); chmod +x it", path, info.Mode().Perm())
	}
	return nil
}

// checkScript tells why a path is not that of a script which this node may run.
func (d *Daemon) checkScript(path string) error {
	whole, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := conf.InDir(d.live.Load().ScriptsDir, whole); err != nil {
		return err
	}
	return Runnable(path)
}
