package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// described is what a node says of itself while clusters are formed.
type described struct {
	// address at which it was found; "" for this node.
	address     string
	raftID      raft.ServerID
	nodeID      string
	clusterName string
	clusterID   string // "" without state
	expect      int    // 0: only joins
	promisedTo  raft.ServerID
	removed     bool
	leader      raftfsm.Addr // gRPC, zero for unknown
	// clock is what its clock said, and here what this node's said then; zero for one that says nothing.
	clock, here time.Time
}

// astray tells whether its clock is too far from this node's.
func (d described) astray() bool { return tooFarApart(clocksApart(d.clock, d.here)) }

func (d described) String() string {
	if d.address == "" {
		return d.nodeID + " (this node)"
	}
	return fmt.Sprintf("%s (%s)", d.nodeID, d.address)
}

// formationAct is what a node without state does next.
type formationAct int

const (
	formationWait formationAct = iota
	formationJoin
	formationFound
)

// formationStep is the next act and what it is about.
type formationStep struct {
	act formationAct
	// via: members to ask for admission, in this order.
	via []described
	// ask: whose promise to seek, this node's own included, in this order, up to bootstrap-expect of them. One refusal
	// ends the attempt: founders who ask in one order cannot each hold what the other needs.
	ask []described
	// say: why it waits; wrong: because of something that only an operator can put right.
	say   string
	wrong bool
	// about is what is said once, where say has times in it and differs each time.
	about string
}

func formationWaits(format string, args ...any) formationStep {
	return formationStep{say: fmt.Sprintf(format, args...)}
}

func formationBlocked(format string, args ...any) formationStep {
	return formationStep{say: fmt.Sprintf(format, args...), wrong: true}
}

// decideFormation is the law of formation for a node without state. peers are the nodes that answered, this one possibly
// among them, one node possibly under several addresses; unknown is how many more nodes may stand behind addresses that
// did not answer.
//
// Why there are never two clusters: a founder needs bootstrap-expect promises, its own among them, from nodes that hold no
// state and expect as many; a promise is given once, on disk, and not taken back; and bootstrap-expect is more than half
// of all nodes that there may be, silent ones counted. Two founders would need one node's promise twice.
func decideFormation(self described, peers []described, unknown int) formationStep {
	peers = distinct(self, peers)
	var members, free []described // free: without state
	for _, p := range peers {
		switch {
		case p.clusterName != self.clusterName:
			return formationBlocked("cluster-name is %q here and %q on %s: a node of another cluster does not belong in cluster-peers", self.clusterName, p.clusterName, p)
		case p.clusterID != "" || p.removed:
			members = append(members, p)
		default:
			free = append(free, p)
		}
	}
	if len(members) > 0 {
		return decideJoin(members)
	}
	if self.expect == 0 {
		return formationWaits("this node only joins (bootstrap-expect is 0, or it is an observer), and none of %d nodes that answer has a cluster to join", len(peers))
	}
	if step := checkFounders(self, free, unknown); step.wrong {
		return step
	}
	return decideFounding(self, free)
}

// distinct is peers without this node, each once, by node id.
func distinct(self described, peers []described) []described {
	peers = slices.Clone(peers)
	slices.SortFunc(peers, func(a, b described) int {
		return cmp.Or(cmp.Compare(a.nodeID, b.nodeID), cmp.Compare(a.raftID, b.raftID), cmp.Compare(a.address, b.address))
	})
	peers = slices.CompactFunc(peers, func(a, b described) bool { return a.raftID == b.raftID })
	return slices.DeleteFunc(peers, func(p described) bool { return p.raftID == self.raftID })
}

func decideJoin(members []described) formationStep {
	var via []described
	for _, m := range members {
		if m.removed {
			continue
		}
		if len(via) > 0 && via[0].clusterID != m.clusterID {
			return formationBlocked("%s and %s belong to two clusters, %s and %s: cluster-peers must name nodes of one", via[0], m, via[0].clusterID, m.clusterID)
		}
		via = append(via, m)
	}
	if len(via) == 0 {
		return formationBlocked("%s was removed from its cluster, and no other member answers: name one in cluster-peers, or empty the dir of the removed node", members[0])
	}
	// Those that know a leader save a detour.
	slices.SortStableFunc(via, func(a, b described) int {
		switch {
		case a.leader.IsZero() == b.leader.IsZero():
			return 0
		case b.leader.IsZero():
			return -1
		}
		return 1
	})
	return formationStep{act: formationJoin, via: via}
}

// firstClause of a reason tells it from others. What follows a colon may be times, which differ each time.
func firstClause(reason string) string {
	clause, _, _ := strings.Cut(reason, ": ")
	return clause
}

// checkFounders finds what makes a founding unsafe whoever does it.
func checkFounders(self described, free []described, unknown int) formationStep {
	byName := map[string]described{self.nodeID: self}
	for _, p := range free {
		if p.expect != 0 && p.expect != self.expect {
			return formationBlocked("bootstrap-expect is %d here and %d on %s: give every node the same", self.expect, p.expect, p)
		}
		if q, taken := byName[p.nodeID]; taken {
			return formationBlocked("%s and %s have the same node-id: give each node its own", q, p)
		}
		byName[p.nodeID] = p
	}
	if all := 1 + len(free) + unknown; 2*self.expect <= all {
		return formationBlocked("bootstrap-expect %d is not more than half of the %d nodes of cluster-peers, this one counted: set it to %d or more on every node", self.expect, all, all/2+1)
	}
	return formationStep{}
}

// decideFounding says who founds, where nobody has a cluster and nothing is wrong.
func decideFounding(self described, free []described) formationStep {
	if self.promisedTo != "" && self.promisedTo != self.raftID {
		return formationWaits("this node has promised to follow the founder %s and waits for it; only if that node is gone for good and has founded nothing: stop all nodes without state, empty their dirs, and start them again", self.promisedTo)
	}
	var candidates, available []described // available: bound to nobody else
	astray := formationStep{}             // why others that would found do not count
	for _, p := range append([]described{self}, free...) {
		if p.expect == 0 {
			continue
		}
		if p.astray() {
			say := sayClocks(self.String(), p.here, p.String(), p.clock)
			astray = formationStep{say: say, wrong: true, about: firstClause(say)}
			continue
		}
		candidates = append(candidates, p)
		if p.promisedTo == "" || p.promisedTo == self.raftID {
			available = append(available, p)
		}
		if self.promisedTo == "" && p.promisedTo == p.raftID {
			return formationWaits("%s is about to found the cluster", p)
		}
	}
	slices.SortStableFunc(available, func(a, b described) int { return cmp.Compare(a.nodeID, b.nodeID) })
	switch {
	case len(candidates) < self.expect && astray.wrong:
		return astray
	case len(candidates) < self.expect:
		return formationWaits("%d of the %d nodes that bootstrap-expect asks for are seen: %s", len(candidates), self.expect, names(candidates))
	case len(available) < self.expect:
		return formationWaits("%d nodes are needed and only %s follow no other founder; only if the founder of the others is gone for good and has founded nothing: stop all nodes without state, empty their dirs, and start them again", self.expect, names(available))
	case self.promisedTo == "" && available[0].raftID != self.raftID:
		return formationWaits("%s has the lowest node-id and is to found the cluster", available[0])
	}
	return formationStep{act: formationFound, ask: available}
}

func names(nodes []described) string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.String()
	}
	return strings.Join(out, ", ")
}
