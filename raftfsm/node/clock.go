package node

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// clockBound is by how much the wall clocks of two nodes may differ. Who is down, who leads and what is committed do not
	// rest on them; what people read and order does: when a failover was, and when a pause or a maintenance ends. It is far
	// above what a call takes, so that a clock may be compared when its message comes in.
	clockBound = 5 * time.Minute
	// clockEvery is how often the leader looks at the members' clocks.
	clockEvery = 30 * time.Second
)

// toldClock is what a node said of its clock; the zero Time for a version that says nothing, which is taken for right.
func toldClock(nowMs int64) time.Time {
	if nowMs == 0 {
		return time.Time{}
	}
	return time.UnixMilli(nowMs)
}

// clocksApart is by how much the clock there is ahead of the one here; 0 where it was not told.
func clocksApart(there, here time.Time) time.Duration {
	if there.IsZero() {
		return 0
	}
	return there.Sub(here)
}

func tooFarApart(d time.Duration) bool { return d > clockBound || d < -clockBound }

// sayClocks says that two nodes' clocks are too far apart. Times follow the first colon alone: see [firstClause].
func sayClocks(one string, at time.Time, other string, otherAt time.Time) string {
	const layout = "2006-01-02 15:04:05Z"
	return fmt.Sprintf("the clocks of %s and %s are too far apart: %s and %s, and %v is the most; set both right, by NTP for example",
		one, other, at.UTC().Format(layout), otherAt.UTC().Format(layout), clockBound)
}

// clocks are those of the members, as the leader read them last.
type clocks struct {
	mu sync.Mutex
	// astray are those that are too far from the leader's: how far ahead of it each is.
	astray map[raft.ServerID]time.Duration
}

// Astray are, on the leader, the members whose wall clocks are more than five minutes from its own, by Raft id: how far each is
// ahead of it. They work as before: times in the log are for people.
func (n *Node) Astray() map[string]time.Duration {
	n.clocks.mu.Lock()
	defer n.clocks.mu.Unlock()
	out := map[string]time.Duration{}
	for id, ahead := range n.clocks.astray {
		out[string(id)] = ahead
	}
	return out
}

// watchClocks looks at the members' clocks for as long as this node leads.
func (n *Node) watchClocks(ctx context.Context) error {
	defer n.noteClocks(nil)
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		n.noteClocks(n.readClocks(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// readClocks asks every member side by side. A member that does not answer is as it was.
func (n *Node) readClocks(ctx context.Context) map[raft.ServerID]time.Duration {
	n.clocks.mu.Lock()
	astray := maps.Clone(n.clocks.astray)
	n.clocks.mu.Unlock()
	if astray == nil {
		astray = map[raft.ServerID]time.Duration{}
	}
	s := n.State()
	for id := range astray {
		if !isMember(s, id) {
			delete(astray, id)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for v := range s.Nodes() {
		id := raft.ServerID(v.RaftID)
		if id == n.self {
			continue
		}
		wg.Go(func() {
			there, here, err := n.readClock(ctx, v)
			if err != nil {
				return
			}
			ahead := clocksApart(there, here)
			mu.Lock()
			defer mu.Unlock()
			before, was := astray[id]
			switch is := tooFarApart(ahead); {
			case is && !was:
				n.log.Warn("the clock of a member has gone astray", "node", v.NodeID, "raft_id", id,
					"its_time", there.UTC(), "leader_time", here.UTC(), "ahead", ahead.Round(time.Second))
			case !is && was:
				n.log.Info("the clock of a member is right again", "node", v.NodeID, "raft_id", id, "was_ahead", before.Round(time.Second))
			}
			delete(astray, id)
			if tooFarApart(ahead) {
				astray[id] = ahead
			}
		})
	}
	wg.Wait()
	return astray
}

// readClock gives a member's clock, and this node's in the middle of the exchange.
func (n *Node) readClock(ctx context.Context, v *raftfsm.Node) (there, here time.Time, err error) {
	begun := n.hooks.now()
	d, err := n.whoIs(ctx, v.GRPC.String())
	if err == nil && d.GetRaftId() != v.RaftID {
		err = fmt.Errorf("%s runs at %s", printable(d.GetRaftId()), v.GRPC)
	}
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	return toldClock(d.GetNowMs()), begun.Add(n.hooks.now().Sub(begun) / 2), nil
}

func (n *Node) noteClocks(astray map[raft.ServerID]time.Duration) {
	n.clocks.mu.Lock()
	defer n.clocks.mu.Unlock()
	n.clocks.astray = astray
}
