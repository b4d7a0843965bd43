package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

const (
	// lookupReach is the ratio to redis-sentinel that look-ups are to reach.
	lookupReach = 0.9
	subscribers = 10000
	// subscribersReach bounds a node's resident memory with all of them, in MiB.
	subscribersReach = 300
)

// protocol measures look-ups, sentineld and redis-sentinel in turns in one run, and what idle subscribers cost.
func protocol(ctx context.Context, binary string, rounds int, progress io.Writer) (string, error) {
	s, err := stage.New("")
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	mine, err := newOurs(s, binary, "default")
	if err != nil {
		return "", withLogs(s, err)
	}
	others, err := lab.NewRedisSentinel(s)
	if err != nil {
		return "", withLogs(s, err)
	}
	for _, w := range []lab.Watcher{mine, others} {
		l, err := lab.NewSet(ctx, s, w)
		if err != nil {
			return "", withLogs(s, err)
		}
		defer func() { _ = l.Close() }()
		if err := settle(ctx, l); err != nil {
			return "", withLogs(s, err)
		}
	}
	var b strings.Builder
	b.WriteString("| look-ups: `SENTINEL GET-MASTER-ADDR-BY-NAME`, 50 connections | sentineld /s | redis-sentinel /s | ratio of medians | reach |\n|---|---|---|---|---|\n")
	for _, load := range []lookups{{pipeline: 1, requests: 200_000}, {pipeline: 16, requests: 2_000_000}} {
		if err := load.measure(ctx, rounds, mine.Addrs()[0], others.Addrs()[0], progress); err != nil {
			return "", err
		}
		b.WriteString(load.String())
	}
	idle, err := idleSubscribers(ctx, mine, rounds, progress)
	if err != nil {
		return "", err
	}
	return b.String() + idle, nil
}

// lookups is one load of redis-benchmark, and the requests per second of each round.
type lookups struct {
	pipeline, requests int
	ours, theirs       []float64
}

func (l *lookups) measure(ctx context.Context, rounds int, mine, others string, progress io.Writer) error {
	for i := range rounds {
		a, err := l.run(ctx, mine)
		if err != nil {
			return err
		}
		b, err := l.run(ctx, others)
		if err != nil {
			return err
		}
		fmt.Fprintf(progress, "look-ups -P %-2d %2d/%d %10.0f/s %10.0f/s\n", l.pipeline, i+1, rounds, a, b)
		l.ours, l.theirs = append(l.ours, a), append(l.theirs, b)
	}
	return nil
}

// run is one call of redis-benchmark.
func (l *lookups) run(ctx context.Context, node string) (float64, error) {
	host, port, err := net.SplitHostPort(node)
	if err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, "redis-benchmark", "-h", host, "-p", port, "-c", "50", "-n", strconv.Itoa(l.requests),
		"-P", strconv.Itoa(l.pipeline), "--csv", "SENTINEL", "GET-MASTER-ADDR-BY-NAME", lab.MasterName).Output()
	if err != nil {
		return 0, fmt.Errorf("redis-benchmark against %s: %w", node, err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Split(lines[len(lines)-1], ",")
	if len(fields) < 2 {
		return 0, fmt.Errorf("redis-benchmark printed %q", out)
	}
	return strconv.ParseFloat(strings.Trim(fields[len(fields)-7], `"`), 64)
}

func (l *lookups) String() string {
	ratio := median(l.ours) / median(l.theirs)
	return fmt.Sprintf("| `redis-benchmark -c 50 -n %d -P %d` | %s | %s | **%.2f** | ≥ %.1f: %s |\n", l.requests, l.pipeline,
		thousands(l.ours), thousands(l.theirs), ratio, lookupReach, verdict(ratio >= lookupReach))
}

// idleSubscribers subscribes on one node, reads its memory, and looks up beside them.
func idleSubscribers(ctx context.Context, mine *lab.Sentineld, rounds int, progress io.Writer) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*lab.Limit)
	defer cancel()
	node, pid := mine.Addrs()[0], mine.Procs()[0].PID()
	before, err := residentMiB(pid)
	if err != nil {
		return "", err
	}
	alone, beside := lookups{pipeline: 1, requests: 100_000}, lookups{pipeline: 1, requests: 100_000}
	for range rounds {
		if err := alone.once(ctx, node); err != nil {
			return "", err
		}
	}
	for i := range subscribers {
		conn, _, err := subscribe(ctx, node, "+switch-master")
		if err != nil {
			return "", fmt.Errorf("subscriber %d: %w", i+1, err)
		}
		defer func() { _ = conn.Close() }()
	}
	for range rounds {
		if err := beside.once(ctx, node); err != nil {
			return "", err
		}
	}
	after, err := residentMiB(pid)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(progress, "%d subscribers: %d MiB before, %d MiB with them\n", subscribers, before, after)
	return fmt.Sprintf("\n| %d idle subscribers on one node | | reach |\n|---|---|---|\n"+
		"| resident memory of the node, before and with them | %d MiB, **%d MiB** | < %d MiB: %s |\n"+
		"| look-ups beside them, `-P 1`, against without them | **%.2f** | unaffected |\n", subscribers, before, after, subscribersReach,
		verdict(after < subscribersReach), median(beside.ours)/median(alone.ours)), nil
}

func (l *lookups) once(ctx context.Context, node string) error {
	n, err := l.run(ctx, node)
	l.ours = append(l.ours, n)
	return err
}

var errNoMemory = errors.New("no VmRSS in the process's status")

// residentMiB is the memory that a process has in use.
func residentMiB(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			return kib >> 10, err
		}
	}
	return 0, errNoMemory
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func thousands(values []float64) string {
	return fmt.Sprintf("%.0fk / **%.0fk** / %.0fk", slices.Min(values)/1000, median(values)/1000, slices.Max(values)/1000)
}

func verdict(reached bool) string {
	if reached {
		return "reached"
	}
	return "missed"
}
