package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// A member that comes back at another address is found, and its address is committed.
func TestMemberMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		m := w.others(l)[0]
		if err := m.halt(); err != nil {
			t.Fatal(err)
		}
		m.moved = 100
		m.restart()
		w.eventually("the cluster knows the new address", func() bool {
			for _, s := range l.State().Servers() {
				if s.ID == string(m.self) {
					return s.Address == m.o.Raft.String()
				}
			}
			return false
		})
		w.settle()
		w.eventually("it has said so itself", func() bool {
			n, _ := l.State().Node(string(m.self))
			return n.Raft == addr(m.number, 26679) && n.GRPC == addr(m.number, 26579)
		})
		w.settle()
		w.mustPropose(m, monitor("m", 100))
		// The others find it there when it leads.
		if err := l.TransferLeadership(t.Context(), string(m.self)); err != nil {
			t.Fatal(err)
		}
		w.mustPropose(w.others(w.leader(m))[0], monitor("n", 101))
	})
}

// A leader came back at an address that was a dead member's, so that its own new one cannot be committed yet. It does all else
// that it owes: the dead one can be removed, and then it can.
func TestLeaderMovesToAMembersAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		m, dead := w.others(l)[0], w.others(l)[1]
		for _, o := range []*member{m, dead} {
			if err := o.halt(); err != nil {
				t.Fatal(err)
			}
		}
		w.drop(dead)
		m.host = dead.number
		m.restart()
		w.eventually("it is heard where it is", func() bool { return l.leads.get() != nil && slices.Contains(l.Heard(), string(m.self)) })
		w.eventually("it leads", func() bool {
			if m.leads.get() == nil {
				_ = l.TransferLeadership(t.Context(), string(m.self)) // what it leads to is looked at
			}
			return m.leads.get() != nil
		})
		time.Sleep(time.Minute)
		lead := m.leads.get()
		if lead == nil || lead.absences.of(dead.self) < 30*time.Second {
			t.Fatalf("the dead member was missed for %v", lead.absences.of(dead.self))
		}
		if err := m.RemoveNode(t.Context(), string(dead.self)); err != nil {
			t.Fatal(err)
		}
		w.eventually("its address is committed", func() bool {
			return slices.ContainsFunc(m.State().Servers(), func(v raftfsm.Server) bool { return v.ID == string(m.self) && v.Address == m.o.Raft.String() })
		})
	})
}

// A copy of a member's dir is run elsewhere while that member runs. Each would vote for itself: the copy is refused.
func TestCopiedMemberIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		m := w.others(l)[0]
		w.settle()
		here := m.o.Raft.String()
		node := m.registration()
		node.Raft, node.Grpc = addr(77, 26579).Proto(), addr(77, 26479).Proto()
		c := memClient{memPeers{w, m.number}, l.o.GRPC.String()}
		resp, err := c.Join(t.Context(), &peerv1.JoinRequest{Node: node, ClusterName: "test", ClusterId: l.State().Cluster().ID})
		if err != nil || resp.GetAdmitted() || !strings.Contains(resp.GetReason(), "its dir was copied") {
			t.Errorf("%v, %+v", err, resp)
		}
		if s := l.State().Servers(); !slices.ContainsFunc(s, func(v raftfsm.Server) bool { return v.ID == string(m.self) && v.Address == here }) {
			t.Errorf("members %v", s)
		}
		if at := l.moves.target(m.self, raft.ServerAddress(here)); string(at) != here {
			t.Errorf("the leader looks for it at %s", at)
		}
		// One whose Raft port alone is another one is no copy.
		node.Grpc = m.o.GRPC.Proto()
		if resp, err = c.Join(t.Context(), &peerv1.JoinRequest{Node: node, ClusterName: "test", ClusterId: l.State().Cluster().ID}); err != nil || !resp.GetAdmitted() {
			t.Errorf("%v, %+v", err, resp)
		}
	})
}

// All members come back under other addresses, so that no leader can be elected at the old ones.
func TestAllMembersMove(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		w.mustPropose(w.leader(), monitor("m", 100))
		w.settle()
		var peers []string
		for _, m := range w.members {
			if err := m.halt(); err != nil {
				t.Fatal(err)
			}
			peers = append(peers, addr(m.number, 26579).String())
		}
		for _, m := range w.members {
			m.moved, m.peers = 100, peers
			m.restart()
		}
		l := w.leader()
		w.eventually("all are known where they are", func() bool {
			for _, m := range w.members {
				for _, v := range l.State().Servers() {
					if v.ID == string(m.self) && v.Address != m.o.Raft.String() {
						return false
					}
				}
				if n, ok := l.State().Node(string(m.self)); !ok || n.GRPC != m.o.GRPC {
					return false
				}
			}
			return true
		})
		w.settle()
		for _, m := range w.members {
			if _, ok := m.State().Master("m"); !ok {
				t.Errorf("n%d has forgotten the master", m.number)
			}
		}
		if err := l.TransferLeadership(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		w.mustPropose(w.leader(w.others(l)...), monitor("n", 101))
	})
}

// An address belongs to one member: the refusal names it, and what to do.
func TestJoinAtAMembersAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		old := w.others(l)[0]
		if err := old.halt(); err != nil {
			t.Fatal(err)
		}
		m := w.add(9)
		w.drop(m)
		req := &peerv1.JoinRequest{Node: m.registration(), ClusterName: "test"}
		req.Node.Raft = old.o.Raft.Proto()
		resp, err := l.join(t.Context(), req)
		want := fmt.Sprintf("belongs to the member %s (%s): if %[1]s is gone for good, run: sentinelctl node remove %[1]s", old.o.NodeID, old.self)
		if err != nil || resp.GetAdmitted() || !strings.Contains(resp.GetReason(), want) {
			t.Errorf("%v, %q, want %q", err, resp.GetReason(), want)
		}
		old.restart()
	})
}
