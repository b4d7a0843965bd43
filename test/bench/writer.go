package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/api/client/goredis"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

const (
	// hands write side by side, each the next key a millisecond after the last was answered. The first half is one application
	// as goredis.New makes it, the other one with go-redis's own waits before it repeats a command.
	hands     = 4
	valueSize = 1 << 10
	// readBatch is how many keys are read back in one go.
	readBatch = 1000
)

// writer is two applications that follow the watch stream and write keys that were never written before.
type writer struct {
	clients [2]*goredis.Client
	// round makes the keys of every round others.
	round int
	stop  chan struct{}
	// ended is when stop was closed.
	ended time.Time
	work  sync.WaitGroup
	// Each hand has its own place here.
	acked  [hands][]acked
	failed [hands]int
}

// acked is a write that was acknowledged.
type acked struct {
	key string
	at  time.Time
}

// newWriter begins to write.
func newWriter(ctx context.Context, cluster *client.Client, round int) *writer {
	w := &writer{round: round, stop: make(chan struct{})}
	ours := &redis.Options{DialTimeout: 10 * time.Second}
	theirs := &redis.Options{DialTimeout: 10 * time.Second, MinRetryBackoff: 8 * time.Millisecond, MaxRetries: 3}
	w.clients[0], w.clients[1] = goredis.New(cluster, lab.MasterName, ours), goredis.New(cluster, lab.MasterName, theirs)
	for hand := range hands {
		w.work.Go(func() { w.write(ctx, w.clients[hand*2/hands], hand) })
	}
	return w
}

func (w *writer) write(ctx context.Context, c *goredis.Client, hand int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-w.stop:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		key := fmt.Sprintf("written:%d:%d:%d", w.round, hand, n)
		if err := c.Set(ctx, key, valueOf(key), 0).Err(); err != nil {
			w.failed[hand]++
			continue
		}
		w.acked[hand] = append(w.acked[hand], acked{key, time.Now()})
	}
}

// end stops writing; what was acknowledged can be read after it.
func (w *writer) end() error {
	w.ended = time.Now()
	close(w.stop)
	w.work.Wait()
	return errors.Join(w.clients[0].Close(), w.clients[1].Close())
}

// valueOf is what is written to a key, and no other key has.
func valueOf(key string) string { return key + strings.Repeat("x", valueSize-len(key)) }

// keys are those that were acknowledged, and refused how many writes failed for the applications.
func (w *writer) keys() (keys []string, refused int) {
	for hand := range hands {
		for _, a := range w.acked[hand] {
			keys = append(keys, a.key)
		}
		refused += w.failed[hand]
	}
	return keys, refused
}

// outage is the longest time between two acknowledged writes of one hand of an application, of which the later was after the
// given moment. The end of writing counts as one more: a hand that never comes back has been out until then.
func (w *writer) outage(application int, since time.Time) (longest time.Duration, err error) {
	for hand := application * hands / 2; hand < (application+1)*hands/2; hand++ {
		after := 0
		for i, a := range w.acked[hand] {
			if i == 0 || !a.at.After(since) {
				continue
			}
			after++
			longest = max(longest, a.at.Sub(w.acked[hand][i-1].at))
		}
		if after == 0 {
			return 0, fmt.Errorf("no write of hand %d was acknowledged any more", hand+1)
		}
		longest = max(longest, w.ended.Sub(w.acked[hand][len(w.acked[hand])-1].at))
	}
	return longest, nil
}

// lost counts the keys that the server does not hold with what was written to them.
func lost(ctx context.Context, c *redis.Client, keys []string) (int, error) {
	n := 0
	for len(keys) > 0 {
		some := keys[:min(readBatch, len(keys))]
		keys = keys[len(some):]
		values, err := c.MGet(ctx, some...).Result()
		if err != nil {
			return 0, err
		}
		for i, v := range values {
			if v != valueOf(some[i]) {
				n++
			}
		}
	}
	return n, nil
}

var errBlind = errors.New("the check does not miss a key that was deleted")

// sighted deletes a key to see that the check misses it.
func sighted(ctx context.Context, c *redis.Client, keys []string) error {
	if err := c.Del(ctx, keys[len(keys)/2]).Err(); err != nil {
		return err
	}
	n, err := lost(ctx, c, keys)
	if err == nil && n != 1 {
		err = fmt.Errorf("%w: it misses %d", errBlind, n)
	}
	return err
}
