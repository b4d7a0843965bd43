package notify

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Permissions say which scripts may run on a node. The options of a master are replicated, so that whoever may change them
// anywhere would else choose what every node executes.
type Permissions struct {
	// Any path may run (deny-scripts-reconfig no).
	Any bool
	// Named are the paths that this node's own configuration names, by master.
	Named map[string][]string
	// Dir is the node's scripts-dir: what lies inside may run for every master. "" for none.
	Dir string
}

// Permit gives the file to execute for a path that may run, or says why it may not. Inside Dir that is what the path leads
// to now, so that a link which is changed afterwards does not count.
func (p Permissions) Permit(master, path string) (file string, err error) {
	if p.Any || slices.Contains(p.Named[master], path) {
		return path, nil
	}
	if p.Dir == "" {
		return "", errors.New("this node's configuration does not name it for this master, and there is no scripts-dir")
	}
	dir, err := filepath.EvalSymlinks(p.Dir)
	if err != nil {
		return "", fmt.Errorf("scripts-dir: %w", err)
	}
	if !filepath.IsAbs(path) {
		return "", errors.New("a script in scripts-dir is named by its whole path")
	}
	if file, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, file); err != nil || rel == "." || !filepath.IsLocal(rel) {
		where := ""
		if file != filepath.Clean(path) {
			where = " (it leads to " + file + ")"
		}
		return "", fmt.Errorf("this node's configuration does not name it for this master, and it does not lie in scripts-dir %s%s",
			p.Dir, where)
	}
	return file, nil
}

// without gives the environment less the variables that begin with prefix.
func without(environ []string, prefix string) []string {
	out := make([]string, 0, len(environ))
	for _, v := range environ {
		if !strings.HasPrefix(v, prefix) {
			out = append(out, v)
		}
	}
	return out
}
