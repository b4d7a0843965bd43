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
}

func (b *beats) AppendEntries(raft.ServerID, raft.ServerAddress, *raft.AppendEntriesRequest, *raft.AppendEntriesResponse) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = append(b.left, time.Now())
	return nil
}

func TestHeartbeatsLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &beats{}
		c := newCadence(out, 50*time.Millisecond, newAckBook())
		began := time.Now()
		send := func(id raft.ServerID) {
			_ = c.AppendEntries(id, "", &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{})
		}
		var wg sync.WaitGroup
		wg.Go(func() { time.Sleep(57 * time.Millisecond); send("b") })
		wg.Go(func() { time.Sleep(93 * time.Millisecond); send("c") })
		wg.Wait()
		time.Sleep(3 * time.Millisecond)
		send("b") // just after the step: now
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
		send := func(id raft.ServerID) {
			_ = c.AppendEntries(id, "", &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{})
		}
		time.Sleep(10 * time.Millisecond)
		go send("b")
		time.Sleep(5 * time.Millisecond)
		book.ask()
		c.hurry()
		synctest.Wait()
		time.Sleep(5 * time.Millisecond)
		send("c")
		send("b") // it was sent the question
		for i, want := range []time.Duration{15, 20, 50} {
			if got := out.left[i].Sub(began); got != want*time.Millisecond {
				t.Errorf("heartbeat %d left after %v, want %v ms", i, got, want)
			}
		}
	})
}
