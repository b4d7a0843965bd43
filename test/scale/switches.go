package scale

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// switches kills the masters of sets at once and tells, for each, how long it took from just before until the last node had
// told its subscriber of the switch and answered with the new address.
func (w *world) switches(ctx context.Context, sets []*set) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*limit)
	defer cancel()
	old := map[string]string{}
	for _, s := range sets {
		old[s.name] = s.master
	}
	when := make([]map[string]time.Time, len(w.nodes))
	errs := make([]error, len(w.nodes))
	var wg sync.WaitGroup
	for i, n := range w.nodes {
		sub := n.Subscribe(ctx, "+switch-master")
		defer func() { _ = sub.Close() }()
		if _, err := sub.Receive(ctx); err != nil {
			return nil, err
		}
		when[i] = map[string]time.Time{}
		wg.Go(func() { errs[i] = w.hear(ctx, n, sub, old, when[i]) })
	}
	begun := time.Now()
	if err := w.kill(sets); err != nil {
		return nil, err
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var took []time.Duration
	for name := range old {
		last := begun
		for i := range when {
			if t := when[i][name]; t.After(last) {
				last = t
			}
		}
		took = append(took, last.Sub(begun))
	}
	slices.Sort(took)
	return took, nil
}

// hear notes when a node has told of the switch of each set and answers so.
func (w *world) hear(ctx context.Context, n *redis.Client, sub *redis.PubSub, old map[string]string, when map[string]time.Time) error {
	for len(when) < len(old) {
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			return fmt.Errorf("%d of %d switches heard: %w", len(when), len(old), err)
		}
		name, _, _ := strings.Cut(m.Payload, " ")
		was, mine := old[name]
		if _, twice := when[name]; !mine || twice {
			continue
		}
		for {
			now, err := w.ask(ctx, n, name)
			if err != nil {
				return err
			}
			if now != was {
				break
			}
		}
		when[name] = time.Now()
	}
	return nil
}

// spread gives the median and the greatest beyond down-after, in milliseconds.
func spread(took []time.Duration, after time.Duration) (mid, most float64) {
	var ms []float64
	for _, d := range took {
		ms = append(ms, millis(d-after))
	}
	return median(ms), slices.Max(ms)
}
