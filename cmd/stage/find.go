package stage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// FindRedis finds a Redis (or Valkey) server: redis-server or valkey-server in PATH, or else the check tool of Debian's
// redis-tools or valkey-tools, which is the server when it is called by its name. For the latter a link is made in dir.
// The error says what to install.
func FindRedis(dir string) (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	for _, family := range []string{"redis", "valkey"} {
		path, err := exec.LookPath(family + "-check-rdb")
		if err != nil {
			continue
		}
		link := filepath.Join(dir, family+"-server")
		if err := os.Symlink(path, link); err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("link %s to %s: %w", link, path, err)
		}
		return link, nil
	}
	return "", fmt.Errorf("%w: neither redis-server nor valkey-server is in PATH; "+
		"install it without starting a service by: sudo apt-get install -y redis-tools", errNoRedis)
}

// FindNode finds the sentineld program: beside the running program, or in PATH.
func FindNode() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "sentineld")
		if info, err := os.Stat(beside); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return beside, nil
		}
	}
	path, err := exec.LookPath("sentineld")
	if err != nil {
		return "", fmt.Errorf("%w: it is neither beside this program nor in PATH; build it by: make build", errNoNode)
	}
	return path, nil
}
