package node

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// follower answers AppendEntries as the test says, and keeps what it was sent.
type follower struct {
	quietable
	mu  sync.Mutex
	got []raft.AppendEntriesRequest
	// cut fails requests; refuses answers without success; later answers with a later term.
	cut, refuses, later bool
	// holds keeps the request that many requests from now from being answered until it is closed.
	holds map[int]chan struct{}
}

func (f *follower) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	f.mu.Lock()
	hold := f.holds[len(f.got)]
	f.got = append(f.got, *req)
	cut, refuses, later := f.cut, f.refuses, f.later
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if cut {
		return errors.New("cut off")
	}
	resp.Term, resp.Success = req.Term, !refuses
	if later {
		resp.Term = req.Term + 1
	}
	return nil
}

// hold keeps the next request but skip from being answered.
func (f *follower) hold(skip int) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.holds = map[int]chan struct{}{len(f.got) + skip: c}
	return c
}

// told are the requests without entries.
func (f *follower) told() (out []raft.AppendEntriesRequest) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.got {
		if len(r.Entries) == 0 && r.PrevLogEntry > 0 {
			out = append(out, r)
		}
	}
	return out
}

// heraldTest is a leader with one follower.
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

var heraldHeader = raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("n1:1")}

// send sends entries of the term up to last, as Raft would, with the commit index that stands.
func (h *heraldTest) send(term, prev, last uint64) {
	req := &raft.AppendEntriesRequest{
		RPCHeader: heraldHeader, Term: term, PrevLogEntry: prev, PrevLogTerm: 1, LeaderCommitIndex: h.commit,
	}
	for i := prev + 1; i <= last; i++ {
		req.Entries = append(req.Entries, &raft.Log{Index: i, Term: term})
	}
	_ = h.AppendEntries("n2", "n2:1", req, &raft.AppendEntriesResponse{})
}

// telling is what is sent for a commit index up to which the follower has acknowledged entries of the term.
func telling(term, commit, last uint64) raft.AppendEntriesRequest {
	return raft.AppendEntriesRequest{
		RPCHeader: heraldHeader, Term: term, PrevLogEntry: last, PrevLogTerm: term, LeaderCommitIndex: commit,
	}
}

func TestHerald(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(h *heraldTest)
		want []raft.AppendEntriesRequest
	}{
		"a commit is told once": {func(h *heraldTest) {
			h.send(2, 4, 5)
			h.commit = 5
			h.news()
			synctest.Wait()
			h.news()
		}, []raft.AppendEntriesRequest{telling(2, 5, 5)}},
		"never beyond what the follower has acknowledged": {func(h *heraldTest) {
			h.send(2, 4, 5)
			h.commit = 9 // by the others; what this one has after 5 may be of an earlier leader
			h.news()
		}, []raft.AppendEntriesRequest{telling(2, 5, 5)}},
		"what it refused is not acknowledged": {func(h *heraldTest) {
			h.send(2, 4, 5)
			h.commit, h.f.refuses = 9, true
			h.send(2, 5, 9)
			h.f.refuses = false
			h.news()
		}, []raft.AppendEntriesRequest{telling(2, 5, 5)}},
		"nor what it answered in a later term": {func(h *heraldTest) {
			h.send(2, 4, 5)
			h.commit, h.f.later = 9, true
			h.send(2, 5, 9)
			h.f.later = false
			h.news()
		}, []raft.AppendEntriesRequest{telling(2, 5, 5)}},
		"an acknowledgement after the commit": {func(h *heraldTest) {
			held := h.f.hold(0)
			go h.send(2, 4, 5)
			synctest.Wait()
			h.commit = 5
			h.news()
			close(held)
		}, []raft.AppendEntriesRequest{telling(2, 5, 5)}},
		"what an entry under way tells": {func(h *heraldTest) {
			h.send(2, 4, 5)
			h.commit = 5
			held := h.f.hold(0)
			go h.send(2, 5, 6)
			synctest.Wait()
			h.news()
			close(held)
		}, nil},
		"an entry that was lost": {func(h *heraldTest) {
			h.send(2, 4, 5)
			h.commit, h.f.cut = 5, true
			h.send(2, 5, 6)
			h.f.cut = false
			h.news()
		}, []raft.AppendEntriesRequest{telling(2, 5, 5)}},
		"one at a time, and then the newest": {func(h *heraldTest) {
			h.send(2, 4, 8)
			held := h.f.hold(0)
			for h.commit = 5; h.commit < 8; h.commit++ {
				h.news()
				synctest.Wait()
			}
			close(held)
		}, []raft.AppendEntriesRequest{telling(2, 5, 8), telling(2, 8, 8)}},
		"nothing is acknowledged yet in a new term": {func(h *heraldTest) {
			h.send(2, 4, 9)
			h.leads, h.commit, h.f.refuses = 3, 9, true
			h.send(3, 9, 10) // the follower has entries of a later leader of term 2 in place of ours
			h.news()
		}, nil},
		"an acknowledgement of the former term comes late": {func(h *heraldTest) {
			held := h.f.hold(0)
			go h.send(2, 4, 9)
			synctest.Wait()
			h.leads = 3
			h.send(3, 4, 5)
			close(held)
			synctest.Wait()
			h.commit = 9
			h.news()
		}, []raft.AppendEntriesRequest{telling(3, 5, 5)}},
		"a request of the former term comes late": {func(h *heraldTest) {
			h.leads = 3
			h.send(3, 4, 5)
			h.send(2, 4, 9)
			h.commit = 9
			h.news()
		}, []raft.AppendEntriesRequest{telling(3, 5, 5)}},
		"leadership lost": {func(h *heraldTest) {
			h.send(2, 4, 5)
			h.leads, h.commit = 0, 5
			h.news()
		}, nil},
		"heartbeats pass": {func(h *heraldTest) {
			h.commit = 5
			h.send(2, 0, 0)
			h.news()
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeraldTest()
				c.run(h)
				if got := h.f.told(); !reflect.DeepEqual(got, c.want) {
					t.Errorf("told\n%+v\nwant\n%+v", got, c.want)
				}
			})
		})
	}
}
