package node

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// Two clusters that meet stay two, and one that looks for its nodes where the other's are says so.
func TestPeersOfAnotherCluster(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		m := w.add(4)
		for _, other := range w.members[:3] {
			m.peers = append(m.peers, other.o.GRPC.String())
		}
		m.create(nil, nil)
		if err := m.id.join("c2"); err != nil {
			t.Fatal(err)
		}
		m.hooks.voters = []raft.Server{{ID: m.self, Address: raft.ServerAddress(m.o.Raft.String()), Suffrage: raft.Voter}}
		m.start()
		w.eventually("it finds them", func() bool { return len(m.Strangers()) == 3 })
		who := "n1 (" + w.members[0].o.GRPC.String() + "), of cluster c1"
		if got := m.Strangers(); got[0] != who {
			t.Errorf("%q, want %q", got, who)
		}
		m.wantLine("WARN", "cluster-peers names a node of another cluster", who, "cluster_id=c2")
		time.Sleep(3 * strangerEvery)
		synctest.Wait()
		if n := strings.Count(m.log.String(), "of another cluster"); n != 3 {
			t.Errorf("3 nodes are told of in %d lines", n)
		}
		if isMember(l.State(), m.self) || len(m.State().Servers()) != 1 {
			t.Error("one has taken a member of the other")
		}
		if got := l.Strangers(); got != nil {
			t.Errorf("it has no such peers: %q", got)
		}
		if err := w.members[0].halt(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * strangerEvery)
		synctest.Wait()
		if got := m.Strangers(); len(got) != 2 {
			t.Errorf("one is gone: %q", got)
		}
	})
}
