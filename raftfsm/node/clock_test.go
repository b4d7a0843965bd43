package node

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
)

// A node whose clock is hours off is not admitted, which both sides tell with both times; it is once its clock is right.
func TestAdmissionWantsTheRightTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		m := w.add(4)
		m.peers = []string{w.members[0].o.GRPC.String(), w.members[1].o.GRPC.String()}
		m.create(nil, nil)
		m.ahead.Store(int64(-3 * time.Hour))
		m.start()
		time.Sleep(time.Minute)
		const why = "the clocks of n%d and n4 are too far apart: "
		reason := strings.Replace(why, "n%d", l.o.NodeID, 1)
		m.wantLine("WARN", `msg="no cluster yet"`, "the cluster does not admit this node: "+reason)
		l.wantLine("WARN", `msg="admission refused"`, "node=n4", reason)
		if n := strings.Count(m.log.String(), reason); n != 1 {
			t.Errorf("it says so %d times", n)
		}
		if st := m.Status(); !strings.Contains(st.Waiting, reason) || isMember(l.State(), m.self) {
			t.Errorf("waiting for %q, member %v", st.Waiting, isMember(l.State(), m.self))
		}
		here, there := time.Now().UTC(), time.Now().UTC().Add(-3*time.Hour)
		for _, at := range []time.Time{here, there} {
			if hour := at.Format("2006-01-02 15:"); !strings.Contains(m.Status().Waiting, hour) {
				t.Errorf("%q does not tell %s", m.Status().Waiting, hour)
			}
		}
		m.ahead.Store(0)
		w.eventually("it votes", func() bool { return l.State().IsVoter(string(m.self)) })
	})
}

// A version that tells no time is admitted.
func TestAdmissionOfANodeWithoutATime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		m := w.add(4)
		c := memClient{memPeers{w, m.number}, w.leader().o.GRPC.String()}
		resp, err := c.Join(t.Context(), &peerv1.JoinRequest{Node: m.registration(), ClusterName: m.o.ClusterName})
		if err != nil || !resp.GetAdmitted() {
			t.Errorf("%v, %v", resp, err)
		}
	})
}

// A member whose clock goes astray works on, and the leader tells of it for as long as it does.
func TestClockGoesAstray(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		m := w.others(l)[0]
		time.Sleep(2 * clockEvery)
		if got := l.Astray(); len(got) != 0 {
			t.Fatalf("astray: %v", got)
		}
		m.ahead.Store(int64(2 * time.Hour))
		time.Sleep(clockEvery + time.Second)
		synctest.Wait()
		if got := l.Astray(); len(got) != 1 || got[string(m.self)].Round(time.Second) != 2*time.Hour {
			t.Errorf("astray: %v", got)
		}
		l.wantLine("WARN", `msg="the clock of a member has gone astray"`, "node="+m.o.NodeID, "ahead=2h0m0s")
		w.mustPropose(m, monitor("m", 100))
		m.restart()
		w.eventually("it is back", func() bool { return m.State().MasterCount() == 1 })
		// A member that does not answer is as it was, and one who leads next finds out by itself.
		m.hangs.Store(true)
		time.Sleep(5 * clockEvery)
		if len(l.Astray()) != 1 {
			t.Error("silence has put its clock right")
		}
		m.hangs.Store(false)
		next := w.others(l)[1]
		if err := l.TransferLeadership(t.Context(), string(next.self)); err != nil {
			t.Fatal(err)
		}
		w.leader(next)
		time.Sleep(clockEvery + time.Second)
		synctest.Wait()
		if len(next.Astray()) != 1 || len(l.Astray()) != 0 {
			t.Errorf("the next leader finds %v, the former one %v", next.Astray(), l.Astray())
		}
		m.ahead.Store(0)
		time.Sleep(clockEvery + time.Second)
		synctest.Wait()
		if got := next.Astray(); len(got) != 0 {
			t.Errorf("astray: %v", got)
		}
	})
}
