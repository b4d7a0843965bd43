package resp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// sentinelEntry is the whole map of a member in its exact order; of its ages, in milliseconds.
func sentinelEntry(node, host, flags, ping, ok, down string) string {
	id := api.SentinelID(node)
	if down != "" {
		down = "s-down-time " + down + " "
	}
	return "[name " + id + " ip " + host + " port 26379 runid " + id + " flags " + flags + " link-pending-commands " +
		choose(down == "", "0", "1") + " link-refcount 1 last-ping-sent " + ping + " last-ok-ping-reply " + ok + " last-ping-reply " + ok +
		" " + down + "down-after-milliseconds 30000 last-hello-message " + ok + " voted-leader ? voted-leader-epoch 0]"
}

const (
	heardFlags = "sentinel"
	lostFlags  = "s_down,sentinel,disconnected"
)

// TestSentinelsOfTheLeader: members appear with their registration, count as soon as they have joined, and are down when the
// leader hears them no more. Their ages are those of the leader's contact.
func TestSentinelsOfTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.client(t)
		c.converse(
			step{"SENTINEL SENTINELS m", "-ERR No such master with that name"},
			step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"},
			step{"SENTINEL SENTINELS m", "[]"},
			step{"SENTINEL MASTER m", "[…num-other-sentinels 2 …]"},
			step{"INFO sentinel", "…,sentinels=3\r\n"},
		)
		r.node.register(t, "a", "10.1.0.1")
		r.node.register(t, "b", "10.1.0.2")
		ago := func(ms int) time.Time { return time.Now().Add(-time.Duration(ms) * time.Millisecond) }
		hears := func(b, c api.Contact) {
			r.node.set(func(n *fakeNode) {
				n.contacts = map[string]api.Contact{"a-1": {Heard: true, At: time.Now()}, "b-1": b, "c-1": c}
			})
		}
		hears(api.Contact{Heard: true, At: ago(70)}, api.Contact{})
		c.converse(step{"SENTINEL SENTINELS m", "[" + sentinelEntry("b", "10.1.0.2", heardFlags, "0", "70", "") + "]"})
		// One that has never been heard counts from when this node was told of it.
		r.node.register(t, "c", "10.1.0.3")
		time.Sleep(2500 * time.Millisecond)
		hears(api.Contact{At: ago(1900)}, api.Contact{})
		c.converse(step{"SENTINEL SENTINELS m", "[" + sentinelEntry("b", "10.1.0.2", lostFlags, "1900", "1900", "900") + " " +
			sentinelEntry("c", "10.1.0.3", lostFlags, "2500", "2500", "2500") + "]"})
		time.Sleep(2 * time.Second)
		hears(api.Contact{At: ago(3900)}, api.Contact{Heard: true, At: ago(20)})
		c.converse(step{"SENTINEL SENTINELS m", "[" + sentinelEntry("b", "10.1.0.2", lostFlags, "3900", "3900", "2900") + " " +
			sentinelEntry("c", "10.1.0.3", heardFlags, "0", "20", "") + "]"})
	})
}

// TestSentinelsOfAFollower: it asks the leader, once for all who ask, not again within a second, and not for long. What it was
// told holds until it is told otherwise, and grows older.
func TestSentinelsOfAFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.node.register(t, "b", "10.1.0.2")
		r.node.register(t, "c", "10.1.0.3")
		c := r.client(t)
		c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
		r.node.set(func(n *fakeNode) { n.status.Role, n.status.RaftID, n.status.Heard = "follower", "c-1", nil })
		var mu sync.Mutex
		asked, heard, fail, wait := 0, true, errors.New("no leader"), 50*time.Millisecond
		contact := new(int64)
		r.api.nodes = func(ctx context.Context) (*sentinelv1.ListNodesResponse, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return &sentinelv1.ListNodesResponse{Nodes: []*sentinelv1.Node{
				{RaftId: "a-1", Heard: new(true)}, {RaftId: "b-1", Heard: &heard, LastContactMs: contact}, {RaftId: "c-1", Heard: new(true)},
			}}, fail
		}
		entry := func(flags, ping, ok, down string) string {
			return "[" + sentinelEntry("b", "10.1.0.2", flags, ping, ok, down) + "]"
		}
		// Before anybody has told, nobody is held down.
		c.converse(step{"SENTINEL SENTINELS m", entry(heardFlags, "0", "0", "")})
		time.Sleep(time.Second)
		asked, fail, *contact = 0, nil, 30
		var wg sync.WaitGroup
		for range 20 {
			one := r.client(t)
			wg.Go(func() { one.converse(step{"SENTINEL SENTINELS m", entry(heardFlags, "0", "30", "")}) })
		}
		wg.Wait()
		time.Sleep(900 * time.Millisecond)
		heard, *contact = false, 1500
		c.converse(step{"SENTINEL SENTINELS m", entry(heardFlags, "0", "930", "")})
		if asked != 1 {
			t.Errorf("the leader was asked %d times", asked)
		}
		time.Sleep(time.Second)
		c.converse(step{"SENTINEL SENTINELS m", entry(lostFlags, "1500", "1500", "500")})
		// A new leader has never heard it itself: what the last one told holds.
		time.Sleep(time.Second)
		contact = nil
		c.converse(step{"SENTINEL SENTINELS m", entry(lostFlags, "2550", "2550", "1550")})
		time.Sleep(time.Second)
		fail, wait = errors.New("no leader"), time.Hour
		began := time.Now()
		c.converse(step{"SENTINEL SENTINELS m", entry(lostFlags, "3750", "3750", "2750")})
		c.converse(step{"SENTINEL SENTINELS m", entry(lostFlags, "3750", "3750", "2750")})
		if took := time.Since(began); took != hearingLimit {
			t.Errorf("a leader that does not answer costs %v", took)
		}
		// Without a leader, what this node has found out by itself counts, and nobody is asked.
		asked = 0
		r.node.set(func(n *fakeNode) {
			n.contacts = map[string]api.Contact{"a-1": {}, "b-1": {Heard: true, At: time.Now().Add(-40 * time.Millisecond)}}
		})
		time.Sleep(time.Second)
		c.converse(step{"SENTINEL SENTINELS m", entry(heardFlags, "0", "1040", "")})
		if asked != 0 {
			t.Errorf("a leader was asked %d times", asked)
		}
	})
}

// TestSentinelsWithoutAPort: a member that does not speak this protocol counts, and is not listed where clients would dial it.
func TestSentinelsWithoutAPort(t *testing.T) {
	r := newRig(t, nil)
	r.node.register(t, "b", "10.1.0.2")
	r.node.set(func(n *fakeNode) {
		n.st = raftfsm.ApplyServers(n.st, n.st.Index()+1, []raftfsm.Server{{ID: "b-1", Voter: true}, {ID: "d-1"}})
	})
	c := r.client(t)
	c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "1")
	// This node is no member itself, as one that is only joining.
	c.converse(step{"SENTINEL MASTER m", "[…num-other-sentinels 2 …]"}, step{"INFO sentinel", "…,sentinels=3\r\n"})
	if got := c.do("SENTINEL", "SENTINELS", "m"); strings.Count(got, "[name ") != 1 {
		t.Error(got)
	}
}
