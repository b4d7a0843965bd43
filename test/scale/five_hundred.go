package scale

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	someSets = 500
	// someReal are the sets that are real; they die.
	someReal = 50
	// measured is for how long CPU and commands are counted at rest.
	measured = 30 * time.Second
	shortly  = time.Second // down-after of those that die
)

// fiveHundred adds 500 masters, lets them rest, has 50 die, and adds all of them once more in one go.
func fiveHundred(ctx context.Context, o Options, theirs bool) (out sample, err error) {
	w, err := newWorld(ctx, o, theirs, someSets, someReal)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	out = sample{}
	begun := time.Now()
	if err := w.monitor(ctx, w.sets); err != nil {
		return nil, err
	}
	if err := w.everywhere(ctx, w.sets); err != nil {
		return nil, err
	}
	out["add"] = millisSince(begun)
	o.say("%s: %d added in %.0f ms", w.Name(), len(w.sets), out["add"])
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	if err := w.rest(ctx, out, "rest", measured); err != nil {
		return nil, err
	}
	o.say("%s: at rest: %v", w.Name(), out)
	err = w.tellEach(ctx, w.sets, func(ctx context.Context, n *redis.Client, s *set) error {
		return n.Do(ctx, "SENTINEL", "SET", s.name, "down-after-milliseconds", fmt.Sprint(shortly.Milliseconds())).Err()
	})
	if err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	profiles := w.profile(ctx, "fifty", 3*shortly)
	took, err := w.switches(ctx, w.sets[:someReal])
	if err := errors.Join(err, profiles()); err != nil {
		return nil, err
	}
	out["fifty-median"], out["fifty-max"] = spread(took, shortly)
	o.say("%s: %d of %d died: median %.0f, max %.0f ms", w.Name(), someReal, someSets, out["fifty-median"], out["fifty-max"])
	if theirs {
		return out, nil
	}
	for _, s := range w.sets[:someReal] {
		s.master, s.replica = s.replica, s.master
	}
	out["import"], err = w.importAgain(ctx)
	return out, err
}

// rest counts CPU, commands and memory at rest.
func (w *world) rest(ctx context.Context, out sample, name string, d time.Duration) error {
	count, err := w.commands()
	if err != nil {
		return err
	}
	before, err := timesOf(w.Procs())
	if err != nil {
		return err
	}
	profiles := w.profile(ctx, name, min(d, measured))
	if err := sleep(ctx, d); err != nil {
		return err
	}
	if err := profiles(); err != nil {
		return err
	}
	after, err := timesOf(w.Procs())
	if err != nil {
		return err
	}
	counted, err := w.commands()
	if err != nil {
		return err
	}
	simulated := 0
	for _, f := range w.farms {
		simulated += 2 * f.sets
	}
	out[name+"-cpu"] = after.busiest(before)
	out[name+"-commands"] = float64(counted-count) / after.at.Sub(before.at).Seconds() / float64(simulated)
	m, err := largest(w.Procs())
	out[name+"-memory"] = m / (1 << 20)
	return err
}

// importAgain removes all sets and adds them again with one command.
func (w *world) importAgain(ctx context.Context) (float64, error) {
	err := w.tellEach(ctx, w.sets, func(ctx context.Context, n *redis.Client, s *set) error {
		return n.Do(ctx, "SENTINEL", "REMOVE", s.name).Err()
	})
	if err != nil {
		return 0, err
	}
	return w.importAll(ctx, w.sets)
}

// importAll adds sets with one command of sentinelctl, each with the given options, and tells how long it took until every node
// knew them.
func (w *world) importAll(ctx context.Context, sets []*set, options ...string) (float64, error) {
	var b strings.Builder
	for _, s := range sets {
		host, port, err := net.SplitHostPort(s.master)
		if err != nil {
			return 0, err
		}
		fmt.Fprintf(&b, "sentinel monitor %s %s %s 2\n", s.name, host, port)
		for _, o := range options {
			name, value, _ := strings.Cut(o, " ")
			fmt.Fprintf(&b, "sentinel %s %s %s\n", name, s.name, value)
		}
	}
	file := filepath.Join(w.stage.Dir(), "sets.conf")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return 0, err
	}
	begun := time.Now()
	err := w.apply(ctx, file)
	for again := 0; err != nil && again < 2; again++ { // of some sets it may not be known whether they were made: it is done once more
		w.o.say("%.300s", err)
		err = w.apply(ctx, file)
	}
	if err != nil {
		return 0, err
	}
	if err := w.everywhere(ctx, sets); err != nil {
		return 0, err
	}
	return millisSince(begun), nil
}

func (w *world) apply(ctx context.Context, file string) error {
	var told strings.Builder
	c := exec.CommandContext(ctx, w.o.Control, "--endpoints", w.grpc(), "apply", file)
	c.Stderr = &told
	if err := c.Run(); err != nil {
		return fmt.Errorf("sentinelctl apply: %w: %s", err, told.String())
	}
	return nil
}
