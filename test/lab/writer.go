package lab

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// WriteEvery is the pause between two writes of a client.
const WriteEvery = 5 * time.Millisecond

// Write writes one key after the other, prefix:1 and so on, through a go-redis FailoverClient that knows the Sentinels and
// the master's name and nothing else, and tells how each write ended, until ctx ends.
func Write(ctx context.Context, sentinels []string, prefix string, told func(n int, err error)) error {
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: MasterName, SentinelAddrs: sentinels})
	tick := time.NewTicker(WriteEvery)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil; n++ {
		err := c.Set(ctx, fmt.Sprintf("%s:%d", prefix, n), n, 0).Err()
		if ctx.Err() != nil {
			break
		}
		told(n, err)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return c.Close()
}

// Outage does harm to the set while a go-redis FailoverClient writes, and tells for how long no write was acknowledged:
// from just before the harm, which is to end the master at once, to the first acknowledgement by another.
func Outage(ctx context.Context, l *Set, harm func() error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	acks := make(chan time.Time, 1)
	var wg sync.WaitGroup
	var closed error
	wg.Go(func() {
		closed = Write(ctx, l.Addrs(), fmt.Sprintf("outage-%d", time.Now().UnixNano()), func(_ int, err error) {
			if err != nil {
				return
			}
			select {
			case <-acks: // only the latest counts
			default:
			}
			acks <- time.Now()
		})
	})
	d, err := outage(ctx, acks, harm)
	cancel()
	wg.Wait()
	return d, errors.Join(err, closed)
}

func outage(ctx context.Context, acks <-chan time.Time, harm func() error) (time.Duration, error) {
	// A client that has written for a while is connected and subscribed.
	for warm := time.Now().Add(time.Second); ; {
		select {
		case at := <-acks:
			if at.Before(warm) {
				continue
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("the client did not write before anything happened: %w", ctx.Err())
		}
		break
	}
	begun := time.Now()
	if err := harm(); err != nil {
		return 0, err
	}
	dead := time.Now()
	for {
		select {
		case at := <-acks:
			if at.After(dead) {
				return at.Sub(begun), nil
			}
		case <-ctx.Done():
			return 0, fmt.Errorf("the client did not write again: %w", ctx.Err())
		}
	}
}
