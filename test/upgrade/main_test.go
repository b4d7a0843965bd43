package upgrade

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

// releases is where scripts/get-releases.sh has built the released programs.
var releases = flag.String("releases", "", "the `directory` that holds VERSION/sentineld of each release; without it nothing is tried")

// present is the version that this build goes by here.
const present = "present"

// programs are those of this build.
var programs struct {
	node string // sentineld
	ctl  string // sentinelctl
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if *releases == "" {
		fmt.Fprintln(os.Stderr, "Nothing is tried: this needs the programs of released versions. make test-upgrade builds them and tries it.")
		return 0
	}
	dir, err := os.MkdirTemp("", "sentineld-upgrade-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := prepare(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	redis.SetLogger(quiet{})
	return m.Run()
}

func prepare(dir string) error {
	if _, err := stage.FindRedis(dir); err != nil {
		return err
	}
	programs.node, programs.ctl = filepath.Join(dir, "sentineld"), filepath.Join(dir, "sentinelctl")
	for _, args := range [][]string{{"-o", programs.node, "../../cmd/sentineld"}, {"-o", programs.ctl, "../../cmd/sentinelctl"}} {
		if out, err := exec.Command("go", append([]string{"build"}, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("go build %v: %w\n%s", args, err, out)
		}
	}
	return nil
}

// quiet keeps what go-redis says of lost connections out of the tests' output: losing them is what is tried.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// program of a version.
func program(version string) (string, error) {
	if version == present {
		return programs.node, nil
	}
	path, err := filepath.Abs(filepath.Join(*releases, version, "sentineld"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s was not built: %w; build it by: make releases", version, err)
	}
	return path, nil
}

// released are the versions that the file releases lists, oldest first.
func released() (versions []string, err error) {
	f, err := os.Open("releases")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 2 && !strings.HasPrefix(words[0], "#") {
			versions = append(versions, words[0])
		}
	}
	if len(versions) == 0 {
		return nil, errors.New("the file releases lists no release")
	}
	return versions, lines.Err()
}
