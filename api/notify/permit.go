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
	// Named are the paths that this node's own configuration names, by master: they may run.
	Named map[string][]string
	// Dir is the node's scripts-dir: what lies inside may run for every master, and what is not named has to. "" for none.
	Dir string
	// Any path may run where there is no Dir (deny-scripts-reconfig no).
	Any bool
}

// Permit gives the file to execute for a path that may run, or says why it may not. Inside Dir that is what the path leads
// to now, so that a link which is changed afterwards does not count.
func (p Permissions) Permit(master, path string) (file string, err error) {
	switch {
	case slices.Contains(p.Named[master], path):
		return path, nil
	case p.Dir != "":
		return inside(p.Dir, path)
	case p.Any:
		return path, nil
	}
	return "", errors.New("this node's configuration does not name it for this master, and there is no scripts-dir")
}

// inside gives what path leads to, if that lies in dir.
func inside(dir, path string) (file string, err error) {
	home, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("scripts-dir: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", err
	}
	if file, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(home, file); err == nil && rel != "." && filepath.IsLocal(rel) {
		return file, nil
	}
	leads := ""
	if file != path {
		leads = " (it leads to " + file + ")"
	}
	return "", fmt.Errorf("this node's configuration does not name it for this master, and it does not lie in scripts-dir %s%s", dir, leads)
}

// without gives the environment less the variables that begin with one of the prefixes.
func without(environ []string, prefixes ...string) []string {
	out := make([]string, 0, len(environ))
	for _, v := range environ {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(v, p) }) {
			out = append(out, v)
		}
	}
	return out
}
