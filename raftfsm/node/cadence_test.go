package node

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// beats keeps when heartbeats left.
type beats struct {
	quietable
	mu   sync.Mutex
	left []time.Time
	err  error
}

func (b *beats) AppendEntries(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = append(b.left, time.Now())
	return b.err
}

func heartbeat(c *cadence, id raft.ServerID) {
	_ = c.AppendEntries(id, "", &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{})
}

func TestHeartbeatsLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &beats{}
		c := newCadence(out, 50*time.Millisecond, newAckBook())
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { time.Sleep(57 * time.Millisecond); heartbeat(c, "b") })
		wg.Go(func() { time.Sleep(93 * time.Millisecond); heartbeat(c, "c") })
		wg.Wait()
		time.Sleep(3 * time.Millisecond)
		heartbeat(c, "b") // just after the step: now
		for i, want := range []time.Duration{100, 100, 103} {
			if got := out.left[i].Sub(began); got != want*time.Millisecond {
				t.Errorf("heartbeat %d left after %v, want %v ms", i, got, want)
			}
		}
	})
}

// Entries, and the news of a commit, are no heartbeats.
func TestOnlyHeartbeatsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &beats{}
		c := newCadence(out, 50*time.Millisecond, newAckBook())
		time.Sleep(20 * time.Millisecond)
		before := time.Now()
		_ = c.AppendEntries("b", "", &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 7, LeaderCommitIndex: 7}, &raft.AppendEntriesResponse{})
		if waited := time.Since(before); waited != 0 {
			t.Errorf("waited for %v", waited)
		}
	})
}

// A question sets the heartbeats free that wait, and the next ones to followers that were not sent it.
func TestQuestionsDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &beats{}
		book := newAckBook()
		c := newCadence(out, 50*time.Millisecond, book)
		began := time.Now()
		time.Sleep(10 * time.Millisecond)
		go heartbeat(c, "b")
		time.Sleep(5 * time.Millisecond)
		book.ask()
		c.hurry()
		synctest.Wait()
		time.Sleep(5 * time.Millisecond)
		heartbeat(c, "c")
		heartbeat(c, "b") // it was sent the question
		for i, want := range []time.Duration{15, 20, 50} {
			if got := out.left[i].Sub(began); got != want*time.Millisecond {
				t.Errorf("heartbeat %d left after %v, want %v ms", i, got, want)
			}
		}
	})
}

// Raft's own wait can end just after a step: then the next one would come too late.
func TestNoHeartbeatIsMoreThanTwoStepsAfterTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &beats{}
		c := newCadence(out, 50*time.Millisecond, newAckBook())
		began := time.Now()
		for _, at := range []time.Duration{57, 153, 206} {
			time.Sleep(at*time.Millisecond - time.Since(began))
			heartbeat(c, "b")
		}
		for i, want := range []time.Duration{100, 153, 250} {
			if got := out.left[i].Sub(began); got != want*time.Millisecond {
				t.Errorf("heartbeat %d left after %v, want %v ms", i, got, want)
			}
		}
		time.Sleep(356*time.Millisecond - time.Since(began))
		heartbeat(c, "b")
		if got := out.left[3].Sub(began); got != 356*time.Millisecond {
			t.Errorf("two steps had passed, and it left only after %v", got)
		}
	})
}

// A question that did not arrive is sent again without waiting.
func TestQuestionsAreSentUntilTheyArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &beats{err: raft.ErrTransportShutdown}
		book := newAckBook()
		c := newCadence(out, 50*time.Millisecond, book)
		time.Sleep(10 * time.Millisecond)
		book.ask()
		began := time.Now()
		for range 2 {
			heartbeat(c, "b")
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the second try waited for %v", waited)
		}
	})
}
