package scale

import (
	"context"
	"errors"
	"fmt"
	"net"
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

// hear notes when a node has told of the switch of each set and answers so. It asks for all that it was told of meanwhile at once,
// so that one answer does not wait for the other.
func (w *world) hear(ctx context.Context, n *redis.Client, sub *redis.PubSub, old map[string]string, when map[string]time.Time) error {
	told := sub.Channel(redis.WithChannelSize(2 * len(old)))
	due := map[string]bool{}
	for len(when) < len(old) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d switches heard: %w", len(when), len(old), context.Cause(ctx))
		case m, ok := <-told:
			if !ok {
				return fmt.Errorf("%d of %d switches heard, and then no more: %w", len(when), len(old), net.ErrClosed)
			}
			take(m, old, due)
		}
		for len(due) > 0 {
			for waiting := len(told); waiting > 0; waiting-- {
				take(<-told, old, due)
			}
			if err := w.askFor(ctx, n, old, due, when); err != nil {
				return err
			}
		}
	}
	return nil
}

// take notes of which set a message tells a switch.
func take(m *redis.Message, old map[string]string, due map[string]bool) {
	name, _, _ := strings.Cut(m.Payload, " ")
	if _, mine := old[name]; mine {
		due[name] = true
	}
}

// askFor asks where the masters are that are due, and moves those that have another address to when.
func (w *world) askFor(ctx context.Context, n *redis.Client, old map[string]string, due map[string]bool, when map[string]time.Time) error {
	pipe := n.Pipeline()
	asked := map[string]*redis.Cmd{}
	for name := range due {
		asked[name] = pipe.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	now := time.Now()
	for name, c := range asked {
		at, err := c.StringSlice()
		if err != nil || len(at) != 2 {
			return fmt.Errorf("address of %s: %v: %w", name, at, err)
		}
		if net.JoinHostPort(at[0], at[1]) == old[name] {
			continue
		}
		delete(due, name)
		if _, twice := when[name]; !twice {
			when[name] = now
		}
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
