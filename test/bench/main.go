// Command bench measures how long a cluster takes to fail over: real sentineld, real Redis, every node polled on a
// connection of its own every millisecond, and the clock read before the kill; with -protocol, what clients of the Sentinel
// protocol get; with -switchover, what a planned switchover costs those who write. It prints a table, and with -write
// puts it into a document.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

type options struct {
	rounds     int
	write      string
	only       string
	sentinel   bool
	steady     time.Duration
	protocol   bool
	switchover bool
	scale      bool
	rest       time.Duration
	profiles   string
}

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 20, "rounds of each row")
	f.StringVar(&o.write, "write", "", "document to put the table into")
	f.StringVar(&o.only, "only", "", "only rows whose name contains this")
	f.BoolVar(&o.sentinel, "sentinel", true, "measure redis-sentinel beside")
	f.BoolVar(&o.protocol, "protocol", false, "measure the Sentinel protocol: look-ups, subscribers, and what clients see of a crash")
	f.BoolVar(&o.switchover, "switchover", false, "measure planned switchovers under writes: what is lost, and how long writes stop")
	f.BoolVar(&o.scale, "scale", false, "measure clusters of many masters, beside redis-sentinel; -rounds are its runs")
	f.DurationVar(&o.rest, "rest", 10*time.Minute, "how long 9,000 masters are watched at rest")
	f.StringVar(&o.profiles, "profiles", "", "directory for profiles of sentineld while many masters are measured; they cost a little")
	f.DurationVar(&o.steady, "steady", 0, "watch for false elections for so long, beside two busy threads")
	if err := f.Parse(args); err != nil || f.NArg() > 0 {
		return 2
	}
	if err := bench(ctx, o, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

func bench(ctx context.Context, o options, stdout, stderr io.Writer) error {
	dir, err := os.MkdirTemp("", "sentineld-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if o.scale {
		return scaled(ctx, o, dir, stdout, stderr)
	}
	programs, err := build(ctx, dir)
	if err != nil {
		return err
	}
	sync, err := fsyncP50(dir)
	if err != nil {
		return err
	}
	r, table, name := report{rounds: o.rounds, fsync: sync}, rows(), "bench-failover"
	switch {
	case o.protocol:
		table, name = clientRows(), "bench-protocol"
		redis.SetLogger(quiet{})
	case o.switchover:
		table, name = nil, "bench-switchover"
		redis.SetLogger(quiet{})
	}
	for _, row := range table {
		if !strings.Contains(row.name, o.only) {
			continue
		}
		if err := r.measure(ctx, row, programs, o, stderr); err != nil {
			return err
		}
	}
	switch {
	case o.protocol:
		r.more, err = protocol(ctx, programs.node, o.rounds, stderr)
	case o.switchover:
		r.more, err = switchovers(ctx, programs.node, o.rounds, stderr)
	}
	if err != nil {
		return err
	}
	if o.steady > 0 {
		if r.steady, err = steady(ctx, programs.node, o.steady); err != nil {
			return err
		}
	}
	text := r.String()
	fmt.Fprint(stdout, text)
	if o.write == "" {
		return nil
	}
	return replaceIn(o.write, name, text)
}

// quiet keeps go-redis from telling of each dial that fails while a master is dead.
type quiet struct{}

// Printf is dropped.
func (quiet) Printf(context.Context, string, ...any) {}

// binaries are the programs under test: as they are released, and with failpoints.
type binaries struct{ node, failpoints string }

func build(ctx context.Context, dir string) (binaries, error) {
	b := binaries{filepath.Join(dir, "sentineld"), filepath.Join(dir, "sentineld-failpoints")}
	if err := goBuild(ctx, "", "-o", b.node, "./cmd/sentineld"); err != nil {
		return b, err
	}
	return b, goBuild(ctx, "failpoints", "-o", b.failpoints, "./cmd/sentineld")
}

// releaseTags are the build tags of released programs, as the Makefile has them.
const releaseTags = "grpcnotrace"

// goBuild builds programs as they are released, static, with more tags.
func goBuild(ctx context.Context, tags string, args ...string) error {
	c := exec.CommandContext(ctx, "go", append([]string{"build", "-tags", releaseTags + "," + tags}, args...)...)
	c.Env = append(c.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// measure goes through all rounds of a row, of sentineld and then of redis-sentinel.
func (r *report) measure(ctx context.Context, row row, programs binaries, o options, progress io.Writer) error {
	res := result{row: row}
	binary := programs.node
	if row.failpoints {
		binary = programs.failpoints
	}
	var err error
	res.ours, err = rounds(ctx, o.rounds, row, progress, func(s *stage.Stage) (lab.Watcher, error) {
		return newOurs(s, binary, row.timing)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", row.name, err)
	}
	if o.sentinel && row.sentinel {
		res.theirs, err = rounds(ctx, o.rounds, row, progress, func(s *stage.Stage) (lab.Watcher, error) {
			return lab.NewRedisSentinel(s)
		})
		if err != nil {
			return fmt.Errorf("%s with redis-sentinel: %w", row.name, err)
		}
	}
	r.results = append(r.results, res)
	return nil
}

// rounds stages one cluster and one set for all rounds of a row.
func rounds(ctx context.Context, n int, row row, progress io.Writer, begin func(*stage.Stage) (lab.Watcher, error)) ([]time.Duration, error) {
	s, err := stage.New("")
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	w, err := begin(s)
	if err != nil {
		return nil, withLogs(s, err)
	}
	l, err := lab.NewSet(ctx, s, w)
	if err != nil {
		return nil, withLogs(s, err)
	}
	defer func() { _ = l.Close() }()
	took := make([]time.Duration, 0, n)
	for i := range n {
		if err := settle(ctx, l); err != nil {
			return nil, withLogs(s, fmt.Errorf("before round %d: %w", i+1, err))
		}
		d, err := row.round(ctx, l)
		if err != nil {
			return nil, withLogs(s, fmt.Errorf("round %d: %w", i+1, err))
		}
		fmt.Fprintf(progress, "%-22s %-14s %2d/%d %8.1f ms\n", row.name, w.Name(), i+1, n, float64(d.Microseconds())/1000)
		took = append(took, d)
	}
	return took, nil
}

// settle waits until the set is at rest, and then for less than a second more: phases of probes and timers differ from
// round to round.
func settle(ctx context.Context, l *lab.Set) error {
	if err := l.Settle(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(500+time.Now().UnixNano()%500) * time.Millisecond):
		return nil
	}
}

// others are the Sentinel addresses of all nodes but one.
func others(l *lab.Set, not int) []string {
	return slices.Delete(l.Addrs(), not, not+1)
}

func withLogs(s *stage.Stage, err error) error {
	var b strings.Builder
	_ = s.WriteLogs(&b, 8<<10)
	return fmt.Errorf("%w\n%s", err, b.String())
}

// fsyncP50 is the median of writing 4 KiB and calling fsync, where the nodes keep their logs.
func fsyncP50(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	took := make([]time.Duration, 0, 200)
	for range cap(took) {
		begun := time.Now()
		if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
