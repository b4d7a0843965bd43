package clients

import (
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
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// theirs has everything run against redis-sentinel, from which the expectations of these tests come.
var theirs = flag.Bool("redis-sentinel", false, "run against three redis-sentinel instead of sentineld")

// programs is where everything is that the tests run.
var programs struct {
	node string // sentineld
	room string // what scripts/get-clients.sh provides
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	dir, err := os.MkdirTemp("", "sentineld-clients-")
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
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	programs.node, programs.room = filepath.Join(dir, "sentineld"), filepath.Join(root, "bin", "clients")
	for _, args := range [][]string{
		{filepath.Join(root, "scripts", "get-clients.sh")},
		{"go", "build", "-o", programs.node, "../../cmd/sentineld"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// quiet keeps go-redis from telling of each dial that fails while a master is dead.
type quiet struct{}

// Printf is dropped.
func (quiet) Printf(context.Context, string, ...any) {}

// newSet stages a set at rest with what watches it.
func newSet(t *testing.T) (*stage.Stage, *lab.Set) {
	t.Helper()
	s, err := stage.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			var b strings.Builder
			_ = s.WriteLogs(&b, 4<<10)
			t.Log(b.String())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var w lab.Watcher
	if *theirs {
		w, err = lab.NewRedisSentinel(s)
	} else {
		w, err = lab.NewSentineld(s, programs.node)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.NewSet(t.Context(), s, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, l
}

// start starts one of the programs of the room.
func start(t *testing.T, s *stage.Stage, name string, args ...string) *stage.Process {
	t.Helper()
	p, err := s.Program(stage.ProgramOptions{Name: name, Path: filepath.Join(programs.room, name), Args: args})
	if err == nil {
		err = p.Launch()
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// eventually asks until the answer is no error.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	err := lab.Until(t.Context(), func(context.Context) error { return ask() })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// alive tells whether a process that should run has ended.
func alive(p *stage.Process) error {
	if p.Running() {
		return nil
	}
	return errors.New(p.Name() + " has ended; it wrote:\n" + p.Log(4<<10))
}
