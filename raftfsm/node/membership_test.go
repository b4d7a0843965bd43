package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// apply asks every node for admission, as a node without state does.
func (w *world) apply(m *member) *peerv1.JoinResponse {
	w.t.Helper()
	for _, o := range w.members {
		c := memClient{memPeers{w, m.number}, o.o.GRPC.String()}
		resp, err := c.Join(w.t.Context(), &peerv1.JoinRequest{Node: m.registration(), ClusterName: m.o.ClusterName})
		if err == nil && resp.GetLeaderGrpc() == nil {
			return resp
		}
	}
	w.t.Fatal("nobody answers")
	return nil
}

func (w *world) admit(m *member) {
	w.t.Helper()
	resp := w.apply(m)
	if !resp.GetAdmitted() {
		w.t.Fatalf("not admitted: %s", resp.GetReason())
	}
	if err := m.id.join(resp.GetClusterId()); err != nil {
		w.t.Fatal(err)
	}
	m.start()
}

func (w *world) drop(m *member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, o := range w.members {
		if o == m {
			w.members = append(w.members[:i:i], w.members[i+1:]...)
			return
		}
	}
}

func TestJoin(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted=%v", compacted), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				l := w.leader()
				for i := range 50 {
					w.mustPropose(l, monitor(fmt.Sprintf("m%d", i), 100+i))
				}
				if compacted {
					r := l.raft.Load()
					c := r.ReloadableConfig()
					c.TrailingLogs = 1
					if err := errors.Join(r.ReloadConfig(c), r.Snapshot().Error()); err != nil {
						t.Fatal(err)
					}
				}
				m := w.add(4)
				if _, _, err := m.Local(); !errors.Is(err, ErrLoading) {
					t.Errorf("a node without state answers: %v", err)
				}
				w.admit(m)
				w.eventually("the new node votes", func() bool { return l.State().IsVoter(string(m.self)) })
				w.settle()
				if s, _, err := m.Local(); err != nil || s.MasterCount() != 50 || !m.id.get().HasState {
					t.Errorf("the new node: %v, %+v", err, m.id.get())
				}
				w.mustPropose(m, monitor("m", 300))
			})
		})
	}
}

// From nothing: any start order, then one more that finds the cluster, then one of the first with an empty disk.
func TestFormFromNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, cut: map[[2]string]bool{}}
		defer w.close()
		peers := []string{addr(1, 26479).String(), addr(2, 26479).String(), addr(3, 26479).String()}
		fresh := func(number int) *member {
			m := w.add(number)
			m.peers, m.expect = peers, 3
			m.create(nil, nil)
			return m
		}
		for _, number := range []int{3, 1, 2} {
			m := fresh(number)
			time.Sleep(3 * time.Second)
			if n := len(w.members); n > 1 && w.members[0].raft.Load() != nil {
				t.Errorf("a cluster exists before %d nodes do", n)
			}
			m.start()
		}
		voters := func(n int) func() bool {
			return func() bool {
				for _, m := range w.members {
					if m.State().Voters() != n {
						return false
					}
				}
				return true
			}
		}
		w.eventually("three voters", voters(3))
		fresh(4).start()
		w.eventually("four voters", voters(4))
		w.settle()
		old := w.others(w.leader())[0]
		if err := old.halt(); err != nil {
			t.Fatal(err)
		}
		w.drop(old)
		fresh(old.number).start()
		time.Sleep(replaceAfter)
		w.eventually("four voters again", voters(4))
		w.settle()
		w.mustPropose(w.members[3], monitor("m", 100))
	})
}

func TestJoinRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		voter := w.others(l)[0]
		stranger := w.add(7)
		stranger.o.NodeID = voter.o.NodeID // a second machine by the same name, while the first one runs
		lost := w.add(8)
		lost.self = voter.self // the identity of a voter beside an empty log
		other := w.add(9)
		other.o.ClusterName = "other"
		for m, why := range map[*member]string{
			stranger: "a node named " + voter.o.NodeID + " runs at ", lost: " votes in this cluster but has lost its data: ",
			other: "this cluster is named test, not other",
		} {
			if resp := w.apply(m); resp.GetAdmitted() || !strings.Contains(resp.GetReason(), why) {
				t.Errorf("n%d: admitted %v, reason %q, want %q", m.number, resp.GetAdmitted(), resp.GetReason(), why)
			}
			asked := l
			if m == other {
				asked = w.members[0] // who need not lead to see that
			}
			asked.wantLine("WARN", `msg="admission refused"`, why)
		}
		if n := len(l.State().Servers()); n != 3 {
			t.Errorf("%d members, want 3", n)
		}
	})
}

func replaceADeadOne(t *testing.T, w *world, elsewhere bool) {
	l := w.leader()
	old := w.others(l)[0]
	if err := old.halt(); err != nil {
		t.Fatal(err)
	}
	w.drop(old)
	m := w.add(old.number)
	if elsewhere {
		m.moved = 100
		m.create(m.id, nil)
	}
	refused := func(when string) {
		t.Helper()
		resp := w.apply(m)
		if want := fmt.Sprintf("the member %s (%s) was heard of lately", old.o.NodeID, old.self); resp.GetAdmitted() || !strings.HasPrefix(resp.GetReason(), want) {
			t.Fatalf("%s: admitted %v, %q", when, resp.GetAdmitted(), resp.GetReason())
		}
	}
	refused("at once")
	time.Sleep(replaceAfter - time.Second)
	refused("before its time")
	// Who leads next has not waited yet.
	if err := l.TransferLeadership(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	l = w.leader(w.others(l)...)
	time.Sleep(replaceAfter / 2)
	refused("in the next leadership")
	time.Sleep(replaceAfter/2 + time.Second)
	w.admit(m)
	w.eventually("the new self votes", func() bool { return l.State().IsVoter(string(m.self)) })
	w.settle()
	if s := l.State(); len(s.Servers()) != 3 || isMember(s, old.self) {
		t.Errorf("members are %v", s.Servers())
	}
	// The former self comes back, and is told that it is one no more.
	if elsewhere {
		old.moved = 200
	} else {
		old.number, old.moved = 7, 0
	}
	w.mu.Lock()
	w.members = append(w.members, old)
	w.mu.Unlock()
	old.restart()
	w.eventually("it knows", func() bool { return old.Status().Role == "removed" })
	w.mustPropose(m, monitor("m", 100))
}

func option(master, name, value string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{
		Name: master, Options: []*raftlogv1.OptionValue{{Name: name, Value: value}},
	}}}
}

func setting(name, value string) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_Configure{Configure: &raftlogv1.Configure{
		Settings: []*raftlogv1.OptionValue{{Name: name, Value: value}},
	}}}
}

func TestRemovedNodeKnowsIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		m := w.others(l)[0]
		if err := m.RemoveNode(t.Context(), string(l.self)); !errors.Is(err, ErrNotLeader) {
			t.Errorf("removal by a follower: %v", err)
		}
		if err := l.RemoveNode(t.Context(), string(m.self)); err != nil {
			t.Fatal(err)
		}
		refuses := func() {
			t.Helper()
			w.eventually("it knows", func() bool { return m.Status().Role == "removed" })
			_, _, local := m.Local()
			_, read := m.Read(t.Context())
			_, propose := m.Propose(t.Context(), monitor("m", 100))
			for _, err := range []error{local, read, propose} {
				if !errors.Is(err, ErrRemoved) {
					t.Errorf("a removed node answers: %v", err)
				}
			}
		}
		refuses()
		m.restart()
		refuses()
		w.mustPropose(l, monitor("m", 100))
	})
}

// One that was away when it was removed is told by the others.
func TestRemovedWhileAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		m := w.others(l)[0]
		w.isolate(m, true)
		time.Sleep(2 * time.Second)
		if err := l.RemoveNode(t.Context(), string(m.self)); err != nil {
			t.Fatal(err)
		}
		w.isolate(m, false)
		w.eventually("it knows", func() bool { return m.Status().Role == "removed" })
		if term := l.leads.get().term; w.leader(l).leads.get().term != term {
			t.Error("the removed node has disturbed the leader")
		}
	})
}

func TestLeaderRemovesItself(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		_ = l.RemoveNode(t.Context(), string(l.self))
		w.eventually("it knows", func() bool { return l.Status().Role == "removed" })
		next := w.leader(w.others(l)...)
		w.mustPropose(next, monitor("m", 100))
		if isMember(next.State(), l.self) {
			t.Error("still a member")
		}
	})
}

func TestRemovalKeepsTheQuorum(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		away, here := w.others(l)[0], w.others(l)[1]
		w.isolate(away, true)
		time.Sleep(2 * time.Second)
		if err := l.RemoveNode(t.Context(), string(here.self)); !errors.Is(err, ErrQuorum) {
			t.Errorf("removal of the last one that is heard: %v", err)
		}
		if err := l.RemoveNode(t.Context(), string(away.self)); err != nil {
			t.Errorf("removal of the one that is not heard: %v", err)
		}
		if err := l.RemoveNode(t.Context(), "nobody"); err != nil {
			t.Errorf("removal of a stranger changes nothing: %v", err)
		}
		w.isolate(away, false)
	})
}

// haltingTransport brings heartbeats alone to one server, while it is told to.
type haltingTransport struct {
	quietable
	to raft.ServerID
	on *atomic.Bool
}

func (t haltingTransport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	if t.on.Load() && id == t.to && !isHeartbeat(req) {
		return errors.New("its disk hangs")
	}
	return t.quietable.AppendEntries(id, target, req, resp)
}

// A member is told that it was removed once that is committed: it keeps to it, and the removal could still come to nothing.
func TestRemovalIsToldWhenItIsCommitted(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		sick := w.members[0]
		var on atomic.Bool
		for _, m := range w.members[1:] {
			if err := m.halt(); err != nil {
				t.Fatal(err)
			}
			m.create(m.id, m.hooks.voters)
			m.hooks.transport = func() quietable { return haltingTransport{m.transport(), sick.self, &on} }
			m.start()
			w.settle()
		}
		if w.leader() == sick {
			w.eventually("another leads", func() bool { return sick.TransferLeadership(t.Context(), "") == nil })
		}
		l := w.leader(w.members[1:]...)
		m := w.members[1]
		if m == l {
			m = w.members[2]
		}
		w.settle()
		on.Store(true)
		removed := make(chan error, 1)
		go func() { removed <- l.RemoveNode(t.Context(), string(m.self)) }()
		time.Sleep(100 * time.Millisecond)
		ask := func() *peerv1.JoinResponse {
			c := memClient{memPeers{w, m.number}, l.o.GRPC.String()}
			resp, err := c.Join(t.Context(), &peerv1.JoinRequest{Node: m.registration(), ClusterName: "test", ClusterId: l.State().Cluster().ID})
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		if resp := ask(); resp.GetRemoved() || !strings.Contains(resp.GetReason(), "not committed yet") {
			t.Errorf("%+v", resp)
		}
		on.Store(false)
		if err := <-removed; err != nil {
			t.Fatal(err)
		}
		if resp := ask(); !resp.GetRemoved() {
			t.Errorf("%+v", resp)
		}
	})
}

// A log store that hangs does not hold up the end of a node.
func TestStoppingWithAHangingStore(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		if err := l.halt(); err != nil {
			t.Fatal(err)
		}
		hang := &hangingStore{LogStore: l.stores.logs, release: make(chan struct{})}
		l.stores.logs = hang
		l.restart()
		w.leader()
		w.settle()
		hang.hangs.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, _ = w.leader(w.others(l)...).Propose(ctx, monitor("m", 100))
		time.Sleep(2 * time.Second)
		begun := time.Now()
		err := l.halt()
		if took := time.Since(begun); took > 2500*time.Millisecond {
			t.Errorf("stopping took %v", took)
		}
		if err == nil {
			t.Error("nothing was said of the log that was left open")
		}
		close(hang.release)
	})
}

type hangingStore struct {
	raft.LogStore
	hangs   atomic.Bool
	release chan struct{}
}

func (s *hangingStore) StoreLogs(logs []*raft.Log) error {
	if s.hangs.Load() {
		<-s.release
	}
	return s.LogStore.StoreLogs(logs)
}

// An observer follows and never votes, whoever leads; one that is told to vote does.
func TestObserver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		m := w.add(4)
		m.watches, m.peers = true, []string{l.o.GRPC.String()}
		m.create(m.id, nil)
		w.admit(m)
		w.settle()
		for range 2 {
			time.Sleep(time.Minute)
			if got := m.Status().Role; l.State().IsVoter(string(m.self)) || got != "observer" {
				t.Errorf("votes: %v, role %s", l.State().IsVoter(string(m.self)), got)
			}
			if got := l.Joining(); len(got) != 0 {
				t.Errorf("an observer counts as one that is yet to vote: %v", got)
			}
			w.mustPropose(m, monitor(fmt.Sprintf("m%d", l.number), 100+l.number))
			before := l
			if err := l.TransferLeadership(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			if l = w.leader(w.others(before)...); l == m {
				t.Fatal("an observer leads")
			}
		}
		m.watches = false
		m.restart()
		time.Sleep(wishEvery)
		w.eventually("it votes", func() bool { return l.State().IsVoter(string(m.self)) })
	})
}

// A duty that fails ends those beside it, and says so: they all run again in the same leadership.
func TestDutiesTogetherRunAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		var runs atomic.Int32
		failed := errors.New("no majority in time")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- l.Lead(ctx, func(ctx context.Context, _ uint64) error {
				return together(ctx,
					func(context.Context) error {
						if runs.Add(1) == 1 {
							return failed
						}
						return nil
					},
					func(ctx context.Context) error { <-ctx.Done(); return nil })
			})
		}()
		w.eventually("they ran again", func() bool { return runs.Load() == 2 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// A node that was admitted and never came stays ten minutes; one that is away after it has registered stays.
func TestLostNonVoterIsRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		lost, watching := w.add(4), w.add(5)
		watching.watches, watching.peers = true, []string{l.o.GRPC.String()}
		watching.create(watching.id, nil)
		w.admit(watching)
		w.settle()
		if err := watching.halt(); err != nil {
			t.Fatal(err)
		}
		if resp := w.apply(lost); !resp.GetAdmitted() {
			t.Fatal(resp.GetReason())
		}
		member := func(m *member) bool { return isMember(l.State(), m.self) }
		time.Sleep(9 * time.Minute)
		if !member(lost) {
			t.Error("removed too early")
		}
		time.Sleep(2 * time.Minute)
		w.eventually("it is removed", func() bool { return !member(lost) })
		if !member(watching) {
			t.Error("an observer that is away was removed")
		}
		w.drop(lost)
	})
}

// A removal is an event, at the time at which it was decided and not at that of the command before; on all nodes alike.
func TestRemovalIsAnEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		gone := w.others(l)[0]
		time.Sleep(time.Hour)
		at := time.Now()
		if err := l.RemoveNode(t.Context(), string(gone.self)); err != nil {
			t.Fatal(err)
		}
		w.eventually("all have applied it", func() bool {
			return !isMember(w.others(gone)[0].State(), gone.self) && !isMember(w.others(gone)[1].State(), gone.self)
		})
		for _, m := range w.others(gone) {
			found := false
			events, _ := m.State().EventsSince(raftfsm.Cursor{})
			for e := range events {
				if e.Kind == raftfsm.EventNodeGone && e.Node == string(gone.self) {
					found = true
					if late := e.AtMs - at.UnixMilli(); late < 0 || late > 1000 {
						t.Errorf("n%d: the event is %d ms after the removal", m.number, late)
					}
				}
			}
			if !found {
				t.Errorf("n%d: no event", m.number)
			}
		}
	})
}

// A member that asks nodes which do not lead is not told that the leader refuses it.
func TestAttendTellsOnlyWhatALeaderSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newSparseLog(slog.New(slog.NewTextHandler(&out, nil)))
		w := newWorld(t, 3)
		defer w.close()
		w.settle()
		l := w.leader()
		one, other := w.others(l)[0], w.others(l)[1]
		w.isolate(l, true)
		w.deafen(other, one)
		time.Sleep(time.Minute)
		for range 90 {
			one.ask(t.Context(), log, other.o.GRPC.String(), map[string]time.Time{})
			time.Sleep(time.Second)
		}
		if out.Len() > 0 {
			t.Error(out.String())
		}
		w.isolate(l, false)
		w.isolate(other, false)
	})
}

// Two clusters of one name that meet stay two: a member that asks the other's leader is told so, and both log it.
func TestTwoClustersMeet(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		peers := []string{l.o.GRPC.String()}
		var strangers []*member
		var voters []raft.Server
		for number := 4; number <= 5; number++ {
			m := w.add(number)
			m.peers = peers
			m.create(nil, nil)
			if err := m.id.join("c2"); err != nil {
				t.Fatal(err)
			}
			strangers = append(strangers, m)
			voters = append(voters, raft.Server{ID: m.self, Address: raft.ServerAddress(m.o.Raft.String()), Suffrage: raft.Voter})
		}
		for _, m := range strangers {
			m.hooks.voters = voters
			m.start()
		}
		w.leader(strangers...)
		w.eventually("they know their cluster", func() bool { return strangers[0].State().Cluster().ID == "c2" })
		time.Sleep(time.Minute)
		lead := w.leader(strangers...)
		lead.wantLine("WARN", "cluster-peers names a node of another cluster", "of cluster c1", "cluster_id=c2")
		// One is lost, and the other asks around.
		if err := strangers[1].halt(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		const why = "this is cluster c1, not c2: "
		strangers[0].wantLine("WARN", `msg="the leader does not take this node back"`, why)
		l.wantLine("WARN", `msg="admission refused"`, "node=n4", why)
		if len(l.State().Servers()) != 3 || strangers[0].State().Cluster().ID != "c2" || len(strangers[0].State().Servers()) != 2 {
			t.Errorf("members %v and %v of %s", l.State().Servers(), strangers[0].State().Servers(), strangers[0].State().Cluster().ID)
		}
		strangers[1].restart()
		w.leader(strangers...)
	})
}

// A member that hears no leader asks at every address that a name of cluster-peers has by then.
func TestAskingAroundLooksNamesUpAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		defer w.close()
		w.settle()
		m := w.others(w.leader())[0]
		m.peers = []string{"sentinels:26479"}
		m.restart()
		w.settle()
		if err := m.halt(); err != nil {
			t.Fatal(err)
		}
		l := w.leader()
		if err := l.RemoveNode(t.Context(), string(m.self)); err != nil {
			t.Fatal(err)
		}
		// What it knows of the members has gone out of date: they answer at other addresses only.
		point := func(addresses ...string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.names = map[string][]string{"sentinels": addresses}
		}
		w.mu.Lock()
		w.leads = func(address string) string {
			if number, moved := strings.CutPrefix(address, "10.0.1."); moved {
				return "10.0.0." + number
			}
			return "nowhere"
		}
		w.mu.Unlock()
		point("10.9.9.9")
		m.create(m.id, m.hooks.voters)
		w.isolate(m, true)
		m.start()
		synctest.Wait()
		w.mu.Lock()
		clear(w.cut) // calls pass, Raft does not
		w.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.isRemoved() {
			t.Fatal("it has learnt of its removal from nobody")
		}
		point("10.9.9.9", fmt.Sprintf("10.0.1.%d", m.number), fmt.Sprintf("10.0.1.%d", l.number))
		w.eventually("it learns of its removal", m.isRemoved)
	})
}

// A member whose registration is refused tries again now and then: the refusal is an entry itself, and must not be the reason for
// the next try.
func TestRefusedRegistrationIsNotRepeatedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		m, namesake := w.others(l)[0], w.others(l)[1]
		if err := m.halt(); err != nil {
			t.Fatal(err)
		}
		m.create(m.id, m.hooks.voters)
		m.o.NodeID = namesake.o.NodeID
		m.start()
		w.eventually("it is refused", func() bool { return strings.Contains(m.log.String(), "is a member already") })
		before := l.State().Index()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := l.State().Index() - before; n > 60 {
			t.Errorf("%d entries in a minute", n)
		}
		if n := strings.Count(m.log.String(), "not registered yet"); n > 2 {
			t.Errorf("it said so %d times in a minute", n)
		}
	})
}
