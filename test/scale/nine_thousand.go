package scale

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	manySets = 9000
	manyDie  = 900
	// patiently is the default down-after.
	patiently = 30 * time.Second
)

// nineThousand watches 9,000 masters at rest, and then 900 of them die. redis-sentinel needs more descriptors for it than a
// process has here.
func nineThousand(ctx context.Context, o Options, _ bool) (out sample, err error) {
	w, err := newWorld(ctx, o, false, manySets, 0, "raft-timing wan") // as it is recommended for thousands
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	out = sample{}
	all := w.sets
	w.sets = all[:someSets]
	if _, err := w.importAll(ctx, w.sets); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	if err := sleep(ctx, measured); err != nil {
		return nil, err
	}
	few, err := largest(w.Procs())
	if err != nil {
		return nil, err
	}
	w.sets = all
	took, err := w.importAll(ctx, w.sets)
	if err != nil {
		return nil, err
	}
	o.say("9,000 added in %.0f ms", took)
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	o.say("9,000 at rest")
	falsely, stop, err := w.countVerdicts(ctx)
	if err != nil {
		return nil, err
	}
	err = w.rest(ctx, out, "many", o.Rest)
	stop()
	if err != nil {
		return nil, err
	}
	out["many-false"] = float64(falsely.Load())
	out["many-memory-each"] = (out["many-memory"]*(1<<20) - few) / (2 * (manySets - someSets)) / 1024
	o.say("at rest: %v", out)
	// Every tenth, wherever it is.
	var dying []*set
	for i := 0; i < len(w.sets); i += manySets / manyDie {
		dying = append(dying, w.sets[i])
	}
	died, err := w.switches(ctx, dying)
	if err != nil {
		return nil, err
	}
	out["rack-median"], out["rack-max"] = spread(died, patiently)
	return out, nil
}

// countVerdicts counts what any node tells of as down.
func (w *world) countVerdicts(ctx context.Context) (n *atomic.Int64, stop func(), err error) {
	n = &atomic.Int64{}
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for _, node := range w.nodes {
		sub := node.Subscribe(ctx, "+sdown", "+odown")
		stops = append(stops, func() { _ = sub.Close() })
		if _, err := sub.Receive(ctx); err != nil {
			stop()
			return nil, nil, fmt.Errorf("subscribe: %w", err)
		}
		go func() {
			for range sub.Channel() {
				n.Add(1)
			}
		}()
	}
	return n, stop, nil
}
