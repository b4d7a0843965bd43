package node

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// nodeOf is a node without state that expects three.
func nodeOf(name string, change ...func(*described)) described {
	d := described{address: name + ":1", raftID: raft.ServerID(name + "-x"), nodeID: name, clusterName: "prod", expect: 3}
	for _, c := range change {
		c(&d)
	}
	return d
}

func expecting(n int) func(*described) { return func(d *described) { d.expect = n } }
func promisedTo(n string) func(*described) {
	return func(d *described) { d.promisedTo = raft.ServerID(n + "-x") }
}
func inCluster(id string) func(*described) { return func(d *described) { d.clusterID = id } }
func removedNode(d *described)             { d.removed = true }
func knowsLeader(d *described)             { d.leader = raftfsm.Addr{Host: "leader", Port: 1} }
func incarnation(s string) func(*described) {
	return func(d *described) { d.raftID = raft.ServerID(d.nodeID + "-" + s) }
}

func clockAhead(d time.Duration) func(*described) {
	here := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	return func(n *described) { n.here, n.clock = here, here.Add(d) }
}
func at(address string) func(*described) { return func(d *described) { d.address = address } }

func TestDecideFormation(t *testing.T) {
	n1, n2, n3, n4 := nodeOf("n1"), nodeOf("n2"), nodeOf("n3"), nodeOf("n4")
	named := func(d *described) { d.clusterName = "staging" }
	for _, tc := range []struct {
		name    string
		self    described
		peers   []described
		unknown int
		want    string // act and node ids, or part of what it says; "!" before it for what only an operator can mend
	}{
		{"alone", nodeOf("n1", expecting(1)), nil, 0, "found n1"},
		{"alone and listed", nodeOf("n1", expecting(1)), []described{nodeOf("n1", expecting(1))}, 0, "found n1"},
		{"alone, peers silent", nodeOf("n1", expecting(1)), nil, 2, "!bootstrap-expect 1 is not more than half of the 3 nodes"},
		{"only joins", nodeOf("n1", expecting(0)), []described{nodeOf("n2", expecting(0))}, 0, "has a cluster to join"},
		{"three see each other, lowest", n1, []described{n3, n2, n1}, 0, "found n1 n2 n3"},
		{"three see each other, not lowest", n2, []described{n1, n2, n3}, 0, "n1 (n1:1) has the lowest node-id"},
		{"one is missing", n1, []described{n1, n2}, 1, "2 of the 3 nodes that bootstrap-expect asks for are seen"},
		{"one node under two addresses", n1, []described{n1, n2, nodeOf("n2", at("other:1"))}, 0, "2 of the 3 nodes"},
		{"two of three suffice", nodeOf("n2", expecting(2)), []described{nodeOf("n3", expecting(2))}, 1, "found n2 n3"},
		{"half is not enough", nodeOf("n1", expecting(2)), []described{nodeOf("n2", expecting(2))}, 2, "!bootstrap-expect 2 is not more than half of the 4 nodes of cluster-peers, this one counted: set it to 3 or more"},
		{"more than are needed", n1, []described{n2, n3, n4}, 0, "found n1 n2 n3 n4"},
		{"joiners count as nodes and found nothing", nodeOf("n2"), []described{nodeOf("n1", expecting(0)), n3, n4}, 0, "found n2 n3 n4"},
		{"joiners are no founders", nodeOf("n2"), []described{nodeOf("n1", expecting(0)), n3}, 0, "2 of the 3 nodes"},
		{"expects differ", n1, []described{n2, nodeOf("n3", expecting(2))}, 0, "!bootstrap-expect is 3 here and 2 on n3 (n3:1)"},
		{"two nodes, one name", n1, []described{n2, nodeOf("n2", incarnation("y"))}, 0, "!n2 (n2:1) and n2 (n2:1) have the same node-id"},
		{"another has this node's name", n1, []described{nodeOf("n1", incarnation("y")), n2}, 0, "!n1 (this node) and n1 (n1:1) have the same node-id"},
		{"another cluster's name", n1, []described{n2, nodeOf("n3", named)}, 0, `!cluster-name is "prod" here and "staging" on n3`},

		{"a clock hours off", n1, []described{nodeOf("n2", clockAhead(time.Second)), nodeOf("n3", clockAhead(3*time.Hour))}, 0, "!the clocks of n1 (this node) and n3 (n3:1) are too far apart: 2026-11-28 09:00:00Z and 2026-11-28 12:00:00Z, and 5m0s is the most"},
		{"a clock hours behind", n1, []described{nodeOf("n2", clockAhead(-3*time.Hour)), n3}, 0, "!the clocks of n1 (this node) and n2 (n2:1) are too far apart: 2026-11-28 09:00:00Z and 2026-11-28 06:00:00Z"},
		{"clocks minutes apart", n1, []described{nodeOf("n2", clockAhead(5*time.Minute)), nodeOf("n3", clockAhead(-5*time.Minute))}, 0, "found n1 n2 n3"},
		{"the lowest has a clock of its own, two of three suffice", nodeOf("n2", expecting(2)), []described{nodeOf("n1", expecting(2), clockAhead(time.Hour)), nodeOf("n3", expecting(2))}, 0, "found n2 n3"},
		{"its clock is that of nobody else", nodeOf("n1", expecting(2)), []described{nodeOf("n2", expecting(2), clockAhead(-time.Hour)), nodeOf("n3", expecting(2), clockAhead(-time.Hour))}, 0, "!the clocks of n1 (this node) and n"},
		{"a joiner's clock is the leader's matter", n1, []described{nodeOf("n0", expecting(0), clockAhead(time.Hour)), n2, n3}, 0, "found n1 n2 n3"},

		{"a cluster is there", n1, []described{n2, nodeOf("n3", inCluster("c1"))}, 0, "join n3"},
		{"a cluster is there, expects differ", n1, []described{nodeOf("n3", inCluster("c1"), expecting(5))}, 0, "join n3"},
		{"a cluster is there, promised to another", nodeOf("n1", promisedTo("n2")), []described{nodeOf("n3", inCluster("c1"))}, 0, "join n3"},
		{"whoever knows the leader first", n1, []described{nodeOf("n2", inCluster("c1")), nodeOf("n3", inCluster("c1"), knowsLeader)}, 0, "join n3 n2"},
		{"a removed member is no way in", n1, []described{nodeOf("n2", inCluster("c1"), removedNode), nodeOf("n3", inCluster("c1"))}, 0, "join n3"},
		{"only removed members", n1, []described{nodeOf("n2", inCluster("c1"), removedNode), n3, n4}, 0, "!n2 (n2:1) was removed"},
		{"two clusters", n1, []described{nodeOf("n2", inCluster("c1")), nodeOf("n3", inCluster("c2"))}, 0, "!n2 (n2:1) and n3 (n3:1) belong to two clusters"},

		{"promised to another", nodeOf("n1", promisedTo("n9")), []described{n2, n3}, 0, "has promised to follow the founder n9-x"},
		{"founder again after a crash", nodeOf("n2", promisedTo("n2")), []described{nodeOf("n3", promisedTo("n2")), n4}, 0, "found n2 n3 n4"},
		{"founder again, a lower one came", nodeOf("n2", promisedTo("n2")), []described{n1, nodeOf("n3", promisedTo("n2"))}, 0, "found n1 n2 n3"},
		{"lowest, but another is founding", n1, []described{nodeOf("n2", promisedTo("n2")), n3}, 0, "n2 (n2:1) is about to found"},
		{"lowest, but too many follow another", n1, []described{nodeOf("n3", promisedTo("n2")), n4}, 0, "3 nodes are needed and only n1 (this node), n4 (n4:1) follow no other"},
		{"lowest, one follows another", n1, []described{n2, n3, nodeOf("n4", promisedTo("n9"))}, 0, "found n1 n2 n3"},
		{"two founders, one node left", nodeOf("n1", promisedTo("n1")), []described{nodeOf("n2", promisedTo("n2")), n3, n4}, 0, "found n1 n3 n4"},
		{"two founders, outvoted", nodeOf("n1", promisedTo("n1")), []described{nodeOf("n2", promisedTo("n2")), n3}, 0, "only n1 (this node), n3 (n3:1) follow no other"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.self.address = ""
			step := decideFormation(tc.self, tc.peers, tc.unknown)
			got := step.say
			switch step.act {
			case formationJoin:
				got = "join" + ids(step.via)
			case formationFound:
				got = "found" + ids(step.ask)
			case formationWait:
			}
			if step.wrong {
				got = "!" + got
			}
			if act := step.act != formationWait; act && got != tc.want || !act && (!strings.Contains(got, tc.want) || step.wrong != strings.HasPrefix(tc.want, "!")) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func ids(nodes []described) string {
	var b strings.Builder
	for _, n := range nodes {
		b.WriteString(" " + n.nodeID)
	}
	return b.String()
}

// What is founded must not depend on the order in which answers came.
func TestDecideFormationForgetsOrder(t *testing.T) {
	self := nodeOf("n2", promisedTo("n2"))
	peers := []described{nodeOf("n4"), nodeOf("n1"), nodeOf("n3", promisedTo("n2")), nodeOf("n1", at("again:1"))}
	want := ids(decideFormation(self, peers, 0).ask)
	for range len(peers) {
		peers = append(peers[1:], peers[0])
		if got := ids(decideFormation(self, peers, 0).ask); got != want {
			t.Errorf("got%s, want%s", got, want)
		}
	}
}
