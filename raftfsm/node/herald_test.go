package node

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// follower answers AppendEntries as the test says, and keeps what it was sent.
type follower struct {
	quietable
	mu   sync.Mutex
	got  []raft.AppendEntriesRequest
	fail bool
	// hold, not nil, keeps requests with entries from being answered until it is closed.
	hold chan struct{}
}

func (f *follower) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	f.mu.Lock()
	f.got = append(f.got, *req)
	hold, fail := f.hold, f.fail
	f.mu.Unlock()
	if hold != nil && len(req.Entries) > 0 {
		<-hold
	}
	if fail {
		return errors.New("cut off")
	}
	resp.Term, resp.Success = req.Term, true
	return nil
}

// told are the commit indices and previous entries of the requests without entries.
func (f *follower) told() (out [][2]uint64) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.got {
		if len(r.Entries) == 0 && r.PrevLogEntry > 0 {
			out = append(out, [2]uint64{r.LeaderCommitIndex, r.PrevLogEntry})
		}
	}
	return out
}

// heraldTest is a leader of term 2 with one follower.
type heraldTest struct {
	*herald
	f      *follower
	commit uint64
	leads  uint64
}

func newHeraldTest() *heraldTest {
	h := &heraldTest{f: &follower{}, leads: 2}
	h.herald = newHerald(h.f, func(term uint64) uint64 {
		if term != h.leads {
			return 0
		}
		return h.commit
	})
	return h
}

// send sends entries up to last as Raft would, with the commit index that stands.
func (h *heraldTest) send(t *testing.T, prev, last uint64) {
	t.Helper()
	req := &raft.AppendEntriesRequest{Term: h.leads, PrevLogEntry: prev, PrevLogTerm: 1, LeaderCommitIndex: h.commit}
	for i := prev + 1; i <= last; i++ {
		req.Entries = append(req.Entries, &raft.Log{Index: i, Term: h.leads})
	}
	_ = h.AppendEntries("n2", "n2:1", req, &raft.AppendEntriesResponse{})
}

func TestHerald(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(t *testing.T, h *heraldTest)
		want [][2]uint64
	}{
		"a commit is told once": {func(t *testing.T, h *heraldTest) {
			h.send(t, 4, 5)
			h.commit = 5
			h.news()
			synctest.Wait()
			h.news()
		}, [][2]uint64{{5, 5}}},
		"never beyond what the follower has acknowledged": {func(t *testing.T, h *heraldTest) {
			h.send(t, 4, 5)
			h.commit = 9 // by the others; what this one has after 5 may be of an earlier leader
			h.news()
		}, [][2]uint64{{5, 5}}},
		"an acknowledgement after the commit": {func(t *testing.T, h *heraldTest) {
			h.f.hold = make(chan struct{})
			go h.send(t, 4, 5)
			synctest.Wait()
			h.commit = 5
			h.news()
			close(h.f.hold)
		}, [][2]uint64{{5, 5}}},
		"what an entry under way tells": {func(t *testing.T, h *heraldTest) {
			h.send(t, 4, 5)
			h.commit = 5
			h.f.hold = make(chan struct{})
			go h.send(t, 5, 6)
			synctest.Wait()
			h.news()
			close(h.f.hold)
		}, nil},
		"an entry that was lost": {func(t *testing.T, h *heraldTest) {
			h.send(t, 4, 5)
			h.commit, h.f.fail = 5, true
			h.send(t, 5, 6)
			h.f.fail = false
			h.news()
		}, [][2]uint64{{5, 5}}},
		"nothing acknowledged in this term": {func(t *testing.T, h *heraldTest) {
			h.send(t, 4, 5)
			h.leads, h.commit, h.f.fail = 3, 9, true
			h.send(t, 5, 6)
			h.news()
		}, nil},
		"leadership lost": {func(t *testing.T, h *heraldTest) {
			h.send(t, 4, 5)
			h.leads, h.commit = 0, 5
			h.news()
		}, nil},
		"heartbeats pass": {func(t *testing.T, h *heraldTest) {
			h.commit = 5
			h.send(t, 0, 0)
			h.news()
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeraldTest()
				c.run(t, h)
				got := h.f.told()
				if len(got) != len(c.want) {
					t.Fatalf("told (commit, previous entry) %v, want %v", got, c.want)
				}
				for i := range got {
					if got[i] != c.want[i] {
						t.Errorf("told (commit, previous entry) %v, want %v", got, c.want)
					}
				}
			})
		})
	}
}
