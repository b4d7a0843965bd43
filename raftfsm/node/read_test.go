package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestConfirmerSharesRounds: whoever asks while a round is under way is served by the next one, all together; who leaves does
// so at once.
func TestConfirmerSharesRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var round uint64
		broken := errors.New("no majority")
		c := confirmer{ask: func() (uint64, error) {
			time.Sleep(time.Second)
			round++
			if round == 3 {
				return 0, broken
			}
			return round, nil
		}}
		run := func(f func()) { go f() }
		expect := func(who string, index uint64, want error, after time.Duration) func() {
			begun := time.Now()
			return func() {
				got, err := c.confirm(t.Context(), run)
				if got != index || !errors.Is(err, want) || time.Since(begun) != after {
					t.Errorf("%s: %d, %v after %v; want %d, %v after %v", who, got, err, time.Since(begun), index, want, after)
				}
			}
		}
		var wg sync.WaitGroup
		wg.Go(expect("the first", 1, nil, time.Second))
		synctest.Wait()
		for range 50 {
			wg.Go(expect("beside the first round", 2, nil, 2*time.Second))
		}
		leaves, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.confirm(leaves, run); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who leaves: %v", err)
		}
		time.Sleep(1500 * time.Millisecond)
		for range 50 {
			wg.Go(expect("in a round that fails", 0, broken, 1499*time.Millisecond))
		}
		wg.Wait()
		expect("after all", 4, nil, time.Second)()
	})
}

// TestReadsOfAFollowerAreAskedTogether: all that come while a question is under way are one question to the leader, and each
// has what was committed before it began.
func TestReadsOfAFollowerAreAskedTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		f := w.others(l)[0]
		index := w.mustPropose(l, monitor("m", 100)).Index
		var wg sync.WaitGroup
		read := func() {
			wg.Go(func() {
				s, err := f.Read(t.Context())
				if err != nil || s.Index() < index {
					t.Errorf("read: %v", err)
				}
			})
			synctest.Wait()
		}
		before := l.asked.Load()
		l.hangs.Store(true)
		read() // is not answered within confirmLimit, and asks again
		for range 64 {
			read()
		}
		l.hangs.Store(false)
		wg.Wait()
		if asked := l.asked.Load() - before; asked != 3 {
			t.Errorf("the leader was asked %d times", asked)
		}
	})
}
