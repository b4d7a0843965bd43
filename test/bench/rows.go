package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// row is one figure: what is broken, and what is waited for.
type row struct {
	name  string
	what  string // from
	until string // to
	// reach is what is aimed at: the median and the maximum, 0 for no bound.
	median, max time.Duration
	timing      string
	failpoints  bool
	// sentinel: redis-sentinel can be measured in the same way.
	sentinel bool
	round    func(context.Context, *lab.Set) (time.Duration, error)
}

func rows() []row {
	const (
		all       = "every node answers with the new address"
		survivors = "the same, on the survivors"
		writes    = "another leads and accepts writes"
	)
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	return []row{
		{
			name: "crash", what: "crash (SIGKILL) + down-after", until: all, median: ms(20), max: ms(60), timing: "default",
			sentinel: true, round: crash,
		},
		{
			name: "hang", what: "hang (SIGSTOP) + down-after", until: all, median: ms(75), max: ms(150), timing: "default",
			sentinel: true, round: hang,
		},
		{
			name: "together", what: "crash of master and leader together + down-after", until: survivors, median: ms(150),
			timing: "default", sentinel: true, round: together,
		},
		{
			name: "together-lan", what: "the same, raft-timing lan", until: survivors, median: ms(30), timing: "lan", round: together,
		},
		{
			name: "leader", what: "leader killed", until: writes, median: ms(1100), timing: "default", round: leaderKilled,
		},
		{
			name: "leader-lan", what: "leader killed, raft-timing lan", until: writes, median: ms(500), timing: "lan", round: leaderKilled,
		},
		{
			name: "stall", what: "leader's log store hangs", until: writes, max: ms(3000), timing: "default", failpoints: true,
			round: storeHangs,
		},
	}
}

func crash(ctx context.Context, l *lab.Set) (time.Duration, error) {
	return moved(ctx, l.Master.Addr(), l.Addrs(), l.Master.Kill)
}

func hang(ctx context.Context, l *lab.Set) (time.Duration, error) {
	d, err := moved(ctx, l.Master.Addr(), l.Addrs(), l.Master.Freeze)
	return d, errors.Join(err, l.Master.Thaw())
}

func together(ctx context.Context, l *lab.Set) (time.Duration, error) {
	leader, err := l.Leader(ctx)
	if err != nil {
		return 0, err
	}
	return moved(ctx, l.Master.Addr(), others(l, leader), func() error {
		return stage.KillAll(l.Master.Process, l.Procs()[leader])
	})
}

func leaderKilled(ctx context.Context, l *lab.Set) (time.Duration, error) {
	o, err := own(l)
	if err != nil {
		return 0, err
	}
	leader, err := l.Leader(ctx)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := l.Procs()[leader].Kill(); err != nil {
		return 0, err
	}
	return untilWritten(ctx, o, leader, begun)
}

func storeHangs(ctx context.Context, l *lab.Set) (time.Duration, error) {
	o, err := own(l)
	if err != nil {
		return 0, err
	}
	leader, err := l.Leader(ctx)
	if err != nil {
		return 0, err
	}
	file := filepath.Join(o.Cluster.Nodes[leader].Dir(), stallFile)
	begun := time.Now()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return 0, err
	}
	d, err := untilWritten(ctx, o, leader, begun)
	return d, errors.Join(err, os.Remove(file))
}

func own(l *lab.Set) (*lab.Sentineld, error) {
	o, ok := l.Watcher.(*lab.Sentineld)
	if !ok {
		return nil, fmt.Errorf("%s has no such row", l.Name())
	}
	return o, nil
}

// untilWritten tries changes on all nodes but one until one is committed, and tells how long that was from begun. Tries
// overlap: one that went to the lost leader waits for its deadline.
func untilWritten(ctx context.Context, o *lab.Sentineld, not int, begun time.Time) (time.Duration, error) {
	ctx, cancel := context.WithDeadline(ctx, begun.Add(lab.Limit))
	defer cancel()
	written := make(chan time.Time, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	tick := time.NewTicker(lab.PollEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		for i := range o.Nodes {
			if i == not {
				continue
			}
			wg.Go(func() {
				if write(ctx, o, i) == nil {
					select {
					case written <- time.Now():
					default:
					}
				}
			})
		}
		select {
		case at := <-written:
			return at.Sub(begun), nil
		case <-ctx.Done():
			return 0, fmt.Errorf("no write was accepted within %v: %w", lab.Limit, ctx.Err())
		case <-tick.C:
		}
	}
}
