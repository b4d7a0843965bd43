package raftsentinel

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/raftsentinel/raftsentinel/"

// allowed is the house's table of floors: what each package may import of ours. DESIGN.md draws the same.
var allowed = map[string][]string{
	"proto/sentinel/v1":  {},
	"proto/raftlog/v1":   {},
	"proto/peer/v1":      {"proto/raftlog/v1"},
	"progress":           {},
	"raftfsm":            {"proto/raftlog/v1"},
	"detector":           {"raftfsm"},
	"failover":           {"raftfsm", "detector"},
	"doctor":             {"raftfsm"},
	"detector/instance":  {"raftfsm", "detector"},
	"raftfsm/node":       {"raftfsm", "progress", "proto/raftlog/v1", "proto/peer/v1"},
	"detector/probe":     {"raftfsm", "detector", "detector/instance", "progress", "proto/raftlog/v1"},
	"failover/executor":  {"raftfsm", "detector", "failover", "detector/instance", "progress", "proto/raftlog/v1"},
	"api":                {"raftfsm", "detector", "failover", "doctor", "proto/sentinel/v1", "proto/raftlog/v1"},
	"api/resp":           {"api", "raftfsm", "proto/sentinel/v1"},
	"api/notify":         {"api", "raftfsm", "proto/sentinel/v1"},
	"api/web":            {"api", "raftfsm", "proto/sentinel/v1"},
	"api/client":         {"proto/sentinel/v1"},
	"api/client/goredis": {"api/client"},
	"cmd/conf":           {"raftfsm"},
	"cmd/stage":          {},
	"cmd/terminal":       {},
	"cmd/version":        {},
	"cmd/sentineld/daemon": {
		"proto/sentinel/v1", "proto/raftlog/v1", "proto/peer/v1", "raftfsm", "raftfsm/node", "detector", "detector/instance",
		"detector/probe", "failover", "failover/executor", "doctor", "api", "api/resp", "api/web", "api/notify", "cmd/conf",
		"cmd/version",
	},
	"cmd/sentineld":   {"cmd/sentineld/daemon", "cmd/conf", "cmd/terminal", "cmd/version"},
	"cmd/sentinelctl": {"api/client", "proto/sentinel/v1", "raftfsm", "cmd/conf", "cmd/stage", "cmd/terminal", "cmd/version"},
}

// pure packages decide and do nothing else: nothing that acts on the world may be imported there.
var (
	pure      = []string{"raftfsm", "detector", "failover", "doctor", "cmd/conf"}
	unworldly = []string{
		"context", "crypto/rand", "io/ioutil", "math/rand", "math/rand/v2", "net/http", "os", "os/exec", "runtime", "sync",
		"sync/atomic", "syscall", "github.com/hashicorp/raft",
	}
)

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(p))
		if pkg == "." || strings.HasPrefix(pkg, "test/") {
			return nil
		}
		seen[pkg] = true
		may, known := allowed[pkg]
		if !known {
			t.Errorf("%s: package %s is not in the table of floors", p, pkg)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		test := strings.HasSuffix(p, "_test.go")
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			ours, own := strings.CutPrefix(name, module)
			switch {
			case own && test && (strings.HasPrefix(ours, "test/") || ours == pkg):
			case own && !slices.Contains(may, ours) && !test:
				t.Errorf("%s imports %s; %s may import %v of ours", p, ours, pkg, may)
			case !own && !test && slices.Contains(pure, pkg) && slices.Contains(unworldly, name):
				t.Errorf("%s imports %s, which a pure package must not", p, path.Base(name))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range allowed {
		if !seen[pkg] && pkg != "api/client" && pkg != "proto/sentinel/v1" {
			t.Errorf("package %s is in the table of floors and not in the tree", pkg)
		}
	}
}
