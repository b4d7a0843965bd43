package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// A node whose disk was wiped, or a new host by its name, at its address or at another one, is a new member. Its former self
// makes room once it has been unheard of for ten seconds of this leadership.
func TestBlankNodeReplacesADeadOne(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		t.Run(fmt.Sprintf("elsewhere=%v", elsewhere), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) { replaceADeadOne(t, w, elsewhere) })
		})
	}
}

// A blank node replaces none that runs, by whichever way the leader hears of that.
func TestBlankNodeReplacesNoLivingOne(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		here := w.others(l)[0]
		m := w.add(9)
		w.drop(m)
		m.o.NodeID = here.o.NodeID
		refused := func(want string) {
			t.Helper()
			resp, err := l.join(t.Context(), &peerv1.JoinRequest{Node: m.registration(), ClusterName: "test"})
			if err != nil || resp.GetAdmitted() || !strings.Contains(resp.GetReason(), want) {
				t.Fatalf("%v, admitted %v, %q, want %q", err, resp.GetAdmitted(), resp.GetReason(), want)
			}
		}
		time.Sleep(time.Minute)
		refused("a node named " + here.o.NodeID + " runs at " + here.o.GRPC.String() + ": give this one another node-id")
		// It is heard by Raft and answers no call; then it is the other way round.
		here.hangs.Store(true)
		refused("was heard of lately")
		here.hangs.Store(false)
		w.deafen(here, l)
		time.Sleep(replaceAfter + time.Second)
		refused("runs at")
		w.isolate(here, false)
		if n := len(l.State().Servers()); n != 3 || !isMember(l.State(), here.self) {
			t.Errorf("members are %v", l.State().Servers())
		}
	})
}

// A dead member is removed after the time that was set, one at a time, while a majority of those that would be left is heard.
func TestRemoveDeadNodes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.eventually("the level", func() bool { return w.leader().State().FeatureLevel() >= 4 })
		for i := 4; i <= 5; i++ {
			w.admit(w.add(i))
		}
		l := w.leader()
		w.eventually("five vote", func() bool { return l.State().Voters() == 5 })
		w.settle()
		members := func() int { return len(l.State().Servers()) }
		dead := w.others(l)[:2]
		for _, m := range dead {
			if err := m.halt(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		if n := members(); n != 5 {
			t.Fatalf("%d members, and nothing says that the dead are to be removed", n)
		}
		w.mustPropose(l, monitor("all", 100))
		w.mustPropose(l, option("all", "quorum", "5"))
		w.mustPropose(l, setting("remove-dead-nodes-after", "600"))
		time.Sleep(time.Minute)
		if n := members(); n != 5 {
			t.Fatalf("%d members: master all could never be held down by five", n)
		}
		w.mustPropose(l, option("all", "quorum", "3"))
		w.eventually("both are removed", func() bool { return members() == 3 })
		gone := map[string]bool{}
		events, _ := l.State().EventsSince(raftfsm.Cursor{})
		for e := range events {
			if e.Kind == raftfsm.EventNodeGone {
				gone[e.Node] = true
			}
		}
		if !gone[string(dead[0].self)] || !gone[string(dead[1].self)] {
			t.Errorf("events tell that %v are gone", gone)
		}
		// Of the three that are left one may go, at its time and not before; then the cluster is as small as it gets.
		last := w.others(l)[2]
		if err := last.halt(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		if n := members(); n != 3 {
			t.Fatalf("%d members too early", n)
		}
		w.mustPropose(l, option("all", "quorum", "2"))
		time.Sleep(2 * time.Minute)
		if n := members(); n != 2 {
			t.Fatalf("%d members", n)
		}
		for _, m := range append(dead, last) {
			m.restart()
			w.eventually("it knows that it was removed", func() bool { return m.Status().Role == "removed" })
		}
	})
}

// A leader that was away does not take the others for dead, and one that only Raft cannot reach is not dead.
func TestRemoveDeadNodesSparesTheLiving(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.eventually("the level", func() bool { return w.leader().State().FeatureLevel() >= 4 })
		l := w.leader()
		w.mustPropose(l, setting("remove-dead-nodes-after", "60"))
		m := w.others(l)[0]
		w.deafen(m, l)
		time.Sleep(time.Hour)
		if n := len(l.State().Servers()); n != 3 {
			t.Errorf("%d members", n)
		}
		w.isolate(m, false)
	})
	a := absences{}
	servers := []raft.Server{{ID: "a"}, {ID: "b"}}
	heard := func(id raft.ServerID) bool { return id == "a" }
	a.count(time.Hour, servers, heard)
	a.count(absenceEvery, servers, heard)
	if a.of("a") != 0 || a.of("b") != 3*absenceEvery {
		t.Errorf("unheard of for %v and %v", a.of("a"), a.of("b"))
	}
	a.count(time.Second, servers, func(raft.ServerID) bool { return true })
	if a.of("b") != 0 {
		t.Errorf("heard, and unheard of for %v", a.of("b"))
	}
}
