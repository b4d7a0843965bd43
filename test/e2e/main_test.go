package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

// programs are built once for all tests.
var programs struct {
	node string // sentineld, with failpoints
	ctl  string // sentinelctl
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sentineld-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := stage.FindRedis(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	programs.node, programs.ctl = filepath.Join(dir, "sentineld"), filepath.Join(dir, "sentinelctl")
	for _, args := range [][]string{
		{"build", "-tags", "failpoints", "-o", programs.node, "../../cmd/sentineld"},
		{"build", "-o", programs.ctl, "../../cmd/sentinelctl"},
	} {
		if os.Getenv("E2E_RACE") != "" {
			args = append([]string{args[0], "-race"}, args[1:]...)
		}
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go %v: %v\n%s", args, err, out)
			return 1
		}
	}
	// Tests wait most of the time; how many labs live at a time is bounded by slots. Testing's own bound must be above the number of all
	// tests: while those that wait for a slot take it up, the parallel parts of one that has a slot could not begin.
	flag.Parse()
	if err := flag.Set("test.parallel", "256"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
