package scale

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// Options say what is measured.
type Options struct {
	// Node, Control and Farm are the programs sentineld, sentinelctl and farm.
	Node, Control, Farm string
	// Runs of each experiment.
	Runs int
	// Only experiments whose name contains it.
	Only string
	// Sentinel: redis-sentinel goes through those it can, too.
	Sentinel bool
	// Rest is how long 9,000 masters are watched at rest.
	Rest time.Duration
	// Profiles is a directory for profiles of sentineld, which then must be built with the tag profile; "" for none.
	Profiles string
	Progress io.Writer
}

// limit bounds whatever is waited for, many times over.
const limit = 60 * time.Second

// experiment is one way to fill lines of the table.
type experiment struct {
	name   string
	theirs bool // redis-sentinel can go through it
	run    func(ctx context.Context, o Options, theirs bool) (sample, error)
}

// experiments in their order.
var experiments = []experiment{
	{name: "five-hundred", theirs: true, run: fiveHundred},
	{name: "nine-thousand", run: nineThousand},
	{name: "log", run: longLog},
	{name: "reads", run: reads},
	{name: "watchers", run: watchers},
}

// Run goes through the experiments and gives the table.
func Run(ctx context.Context, o Options) (*Table, error) {
	t := newTable(o.Runs)
	for _, e := range experiments {
		if !strings.Contains(e.name, o.Only) {
			continue
		}
		for run := range o.Runs {
			for _, theirs := range []bool{false, true} {
				if theirs && !(e.theirs && o.Sentinel) {
					continue
				}
				s, err := e.run(ctx, o, theirs)
				if err != nil {
					return t, fmt.Errorf("%s, run %d, redis-sentinel %v: %w", e.name, run+1, theirs, err)
				}
				o.say("%s, run %d, redis-sentinel %v: %v", e.name, run+1, theirs, s)
				t.add(s, theirs)
			}
		}
	}
	return t, nil
}

func (o Options) say(format string, args ...any) {
	_, _ = fmt.Fprintf(o.Progress, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// until asks until the answer is no error, at most for limit.
func until(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if sleep(ctx, time.Millisecond) != nil {
			return fmt.Errorf("not within %v: %w", limit, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// millis is a time in milliseconds.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// millisSince is the time since then in milliseconds.
func millisSince(then time.Time) float64 { return millis(time.Since(then)) }
