package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// inBubble runs f with three voters, and ends them.
func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 3)
		defer w.close()
		w.leader()
		w.settle()
		f(t, w)
	})
}

func TestProposeFromEveryNode(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i, m := range w.members {
			name := fmt.Sprintf("m%d", i)
			res := w.mustPropose(m, monitor(name, 100+i))
			if !res.Changed || res.Term == 0 || res.Index == 0 {
				t.Errorf("n%d: result %+v lacks something", m.number, res)
			}
			if _, ok := m.State().Master(name); !ok || m.State().Index() < res.Index {
				t.Errorf("n%d: its own state lacks what Propose has returned", m.number)
			}
		}
		m := w.members[0]
		res, err := m.Propose(t.Context(), monitor("m0", 200))
		if err != nil || res.Code != raftfsm.DuplicateName {
			t.Errorf("a refusal on the merits: %+v, %v; want DuplicateName and no error", res, err)
		}
		if _, err := m.Propose(t.Context(), &raftlogv1.Command{}); err == nil {
			t.Error("a command without a verb was accepted")
		}
		c := monitor("new", 201)
		c.Header = &raftlogv1.Header{Level: raftfsm.Level + 1}
		before := m.State().Index()
		if _, err := m.Propose(t.Context(), c); err == nil || m.State().Index() != before {
			t.Errorf("a command above the cluster's level: error %v, index %d → %d", err, before, m.State().Index())
		}
	})
}

// A call to a leader that hangs ends when another leads, and not at its own time limit.
func TestCallsToAHangingLeaderEndWithIt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.settle()
		l := w.leader()
		f := w.others(l)[0]
		l.hangs.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		got := make(chan error, 1)
		go func() {
			_, err := f.Propose(ctx, monitor("m", 1))
			got <- err
		}()
		synctest.Wait()
		w.isolate(l, true)
		w.eventually("the call ends", func() bool { return len(got) > 0 })
		if err := <-got; !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("propose: %v", err)
		}
		l.hangs.Store(false)
		w.isolate(l, false)
	})
}

// A follower learns of a commit by itself, not by the next entry and not at CommitTimeout.
func TestFollowersLearnACommitAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		time.Sleep(time.Second)
		l := w.leader()
		last := l.State().Index()
		begun := time.Now()
		var g sync.WaitGroup
		for i := range 4 { // together, so that a commit and the next entry may cross
			g.Go(func() { w.mustPropose(l, monitor(fmt.Sprintf("m%d", i), 100+i)) })
		}
		g.Wait()
		synctest.Wait()
		for _, f := range w.others(l) {
			if f.State().MasterCount() != 4 {
				t.Errorf("n%d knows %d of 4 masters after %v", f.number, f.State().MasterCount(), time.Since(begun))
			}
		}
		for _, f := range w.others(l) {
			w.mustPropose(f, monitor(fmt.Sprintf("f%d", f.number), 200+f.number))
			synctest.Wait()
			if _, err := f.Read(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(begun); took > 10*time.Millisecond {
			t.Errorf("reads on followers took %v: they wait for CommitTimeout", took)
		}
		time.Sleep(10 * time.Second)
		if n := l.State().Index() - last; n != 6 {
			t.Errorf("6 commands made %d entries", n)
		}
	})
}

func TestLeaderIsolated(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		old := w.leader()
		term := old.leads.get().term
		w.isolate(old, true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if s, err := old.Read(ctx); err == nil {
			t.Errorf("a cut-off leader has read index %d", s.Index())
		}
		if err := old.Verify(t.Context(), term); err == nil {
			t.Error("a cut-off leader was verified")
		}
		next := w.leader(w.others(old)...)
		w.mustPropose(next, monitor("m", 100))
		if _, err := old.Propose(t.Context(), monitor("n", 101)); !errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("proposal on a cut-off node: %v", err)
		}
		if s, age, err := old.Local(); err != nil || s.MasterCount() != 0 || age == 0 {
			t.Errorf("local read on a cut-off node: %v old, %v", age, err)
		}
		w.isolate(old, false)
		w.eventually("the old leader has caught up", func() bool { return old.State().MasterCount() == 1 })
		if err := old.Verify(t.Context(), term); !errors.Is(err, ErrNotLeader) {
			t.Errorf("verify of a past term: %v", err)
		}
	})
}

// A value that any read has shown is shown by every later read, whoever is asked and whatever is cut off; a read after a
// write shows the write.
func TestLinearizableReadsAreNeverStale(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var written atomic.Uint64
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		g.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				m := w.members[i%3]
				res, err := m.Propose(ctx, monitor(fmt.Sprintf("m%d", i), 1000+i))
				if err == nil && res.Index > written.Load() {
					written.Store(res.Index)
				}
				time.Sleep(3 * time.Millisecond)
			}
		})
		var reads atomic.Int64
		for i := range 3 {
			m := w.members[i]
			g.Go(func() {
				for ctx.Err() == nil {
					want := written.Load()
					limit, done := context.WithTimeout(ctx, 50*time.Millisecond)
					s, err := m.Read(limit)
					done()
					if err == nil {
						reads.Add(1)
						if s.Index() < want {
							t.Errorf("n%d read index %d after %d was written", m.number, s.Index(), want)
						}
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 9 {
			m := w.members[i%3]
			w.isolate(m, true)
			time.Sleep(1500 * time.Millisecond)
			w.isolate(m, false)
			time.Sleep(700 * time.Millisecond)
		}
		cancel()
		g.Wait()
		if reads.Load() < 1000 {
			t.Errorf("only %d reads succeeded", reads.Load())
		}
	})
}

// A non-voter's acknowledgement must not confirm a leader: hashicorp/raft's own VerifyLeader counts it.
func TestNonVotersConfirmNothing(t *testing.T) {
	b := newAckBook()
	config := raft.Configuration{Servers: []raft.Server{{ID: "a"}, {ID: "b"}, {ID: "c"}, {ID: "d", Suffrage: raft.Nonvoter}}}
	get := func() raft.Configuration { return config }
	asked := func(question uint64) bool {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return b.majority(ctx, "a", 7, question, get) == nil
	}
	b.note("b", 7, b.questions.Load(), 0)
	q := b.ask()
	if asked(q) {
		t.Error("an answer sent before the question counts")
	}
	b.note("d", 7, b.questions.Load(), 0)
	if asked(q) {
		t.Error("a non-voter counts")
	}
	b.note("c", 6, b.questions.Load(), 0)
	if asked(q) {
		t.Error("an answer of another term counts")
	}
	b.note("c", 7, b.questions.Load(), 0)
	if !asked(q) {
		t.Error("a majority does not count")
	}
}

func TestLeadIsAScope(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var (
			mu     sync.Mutex
			inside = map[int]int{}
			terms  []uint64
			causes []error
		)
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		for _, m := range w.members {
			g.Go(func() {
				err := m.Lead(ctx, func(ctx context.Context, term uint64) error {
					mu.Lock()
					inside[m.number]++
					if inside[m.number] > 1 {
						t.Errorf("n%d: new duties began before the old had returned", m.number)
					}
					terms = append(terms, term)
					mu.Unlock()
					<-ctx.Done()
					time.Sleep(2 * time.Second) // slow to return
					mu.Lock()
					inside[m.number]--
					causes = append(causes, context.Cause(ctx))
					mu.Unlock()
					return nil
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Lead: %v", err)
				}
			})
		}
		for range 3 {
			l := w.leader()
			w.eventually("duties run", func() bool { mu.Lock(); defer mu.Unlock(); return inside[l.number] == 1 })
			w.isolate(l, true)
			w.leader(w.others(l)...)
			w.isolate(l, false)
			time.Sleep(5 * time.Second)
		}
		mu.Lock()
		for _, c := range causes {
			if !errors.Is(c, ErrLeadershipLost) {
				t.Errorf("duties ended with cause %v", c)
			}
		}
		for i := 1; i < len(terms); i++ {
			if terms[i] <= terms[i-1] {
				t.Errorf("terms %v do not rise", terms)
			}
		}
		mu.Unlock()
		cancel()
		g.Wait()
	})
}

func TestDutiesThatFailRunAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		runs := 0
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = l.Lead(ctx, func(context.Context, uint64) error {
				if runs++; runs < 3 {
					return errors.New("not yet")
				}
				return nil
			})
		}()
		time.Sleep(time.Minute)
		cancel()
		<-done
		if runs != 3 {
			t.Errorf("duties ran %d times, want 3", runs)
		}
	})
}

func TestTransferLeadership(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		to := w.others(l)[0]
		if err := l.TransferLeadership(t.Context(), "nobody"); err == nil {
			t.Error("leadership went to a stranger")
		}
		if err := l.TransferLeadership(t.Context(), string(to.self)); err != nil {
			t.Fatal(err)
		}
		if got := w.leader(); got != to {
			t.Errorf("n%d leads, want n%d", got.number, to.number)
		}
		if err := l.TransferLeadership(t.Context(), ""); !errors.Is(err, ErrNotLeader) {
			t.Errorf("transfer on a follower: %v", err)
		}
		// A target that is gone: this node goes on, in a new scope.
		gone := w.others(to)[0]
		w.isolate(gone, true)
		if err := to.TransferLeadership(t.Context(), string(gone.self)); err == nil {
			t.Error("leadership went to a node that is cut off")
		}
		w.mustPropose(w.leader(to, w.others(gone)[0]), monitor("m", 100))
		w.isolate(gone, false)
	})
}

// On a planned change the old leader's duties have returned before the next leader's begin.
func TestHandOverWaitsForDuties(t *testing.T) {
	for _, how := range []string{"transfer", "stop"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				l := w.leader()
				ctx, cancel := context.WithCancel(t.Context())
				var (
					g      sync.WaitGroup
					inside atomic.Int32
					begun  atomic.Int32
				)
				for _, m := range w.members {
					g.Go(func() {
						_ = m.Lead(ctx, func(ctx context.Context, _ uint64) error {
							begun.Add(1)
							if inside.Add(1) > 1 {
								t.Error("two leaders have duties at once")
							}
							<-ctx.Done()
							time.Sleep(dutyGrace / 2)
							inside.Add(-1)
							return nil
						})
					})
				}
				w.eventually("duties run", func() bool { return inside.Load() == 1 })
				if how == "stop" {
					if err := l.halt(); err != nil {
						t.Error(err)
					}
				} else if err := l.TransferLeadership(t.Context(), ""); err != nil {
					t.Error(err)
				}
				w.eventually("the next leader's duties run", func() bool { return begun.Load() == 2 })
				cancel()
				g.Wait()
			})
		})
	}
}

// The leader hands over before it ends, and others do not wait for an election.
func TestStoppingHandsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		begun := time.Now()
		if err := l.halt(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("stopping took %v", took)
		}
		w.leader(w.others(l)...)
		if took := time.Since(begun); took > TimingDefault.Heartbeat {
			t.Errorf("another led %v after the stop began: no hand-over", took)
		}
	})
}

func report(m *member, base uint64, down ...string) *raftlogv1.Command {
	r := &raftlogv1.Report{Node: string(m.self), Base: base}
	for _, name := range down {
		master, _ := m.State().Master(name)
		r.Down = append(r.Down, &raftlogv1.Verdict{
			Master: name, Instance: master.Address.Proto(), Generation: master.Generation, Cause: raftfsm.CauseTimeout,
		})
	}
	return &raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: r}}
}

func votes(m *member, name string) int {
	master, _ := m.State().Master(name)
	return len(master.Votes)
}

func TestReportsExpireUnlessRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		w.mustPropose(l, monitor("m", 100))
		w.settle()
		a, b := w.others(l)[0], w.others(l)[1]
		base := func(m *member) uint64 { n, _ := m.State().Node(string(m.self)); return n.ReportBase }
		w.mustPropose(a, report(a, base(a), "m"))
		w.mustPropose(b, report(b, base(b), "m"))
		w.settle()
		time.Sleep(time.Minute)
		if n := votes(l, "m"); n != 2 {
			t.Fatalf("%d votes after a minute of renewals, want 2", n)
		}
		if r := l.Renewals(); len(r) != 3 || time.Since(r[string(a.self)].At) > renewEvery || r[string(a.self)].Base != base(a) {
			t.Errorf("renewals %+v", r)
		}
		if a.Renewals() != nil {
			t.Error("a follower tells renewals")
		}
		w.isolate(b, true)
		time.Sleep(expireAfter - renewEvery - 100*time.Millisecond)
		if n := votes(l, "m"); n != 2 {
			t.Errorf("%d votes before the time was over", n)
		}
		time.Sleep(renewEvery + expireEvery + 200*time.Millisecond)
		if n := votes(l, "m"); n != 1 {
			t.Errorf("%d votes, want that of the node which is heard", n)
		}
		w.isolate(b, false)
		w.eventually("the node that was away sees that its report is gone", func() bool { return votes(b, "m") == 1 })
	})
}

// A node that knows of its verdicts from the log alone cannot stand by them: they expire, its own as leader too.
func TestReportsWithoutEvidenceAreNotRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		w.mustPropose(l, monitor("m", 100))
		w.settle()
		a := w.others(l)[0]
		w.mustPropose(a, report(a, 0, "m"))
		w.mustPropose(l, report(l, 0, "m"))
		w.settle()
		a.blind.Store(true)
		l.blind.Store(true)
		time.Sleep(expireAfter + renewEvery + expireEvery)
		if n := votes(l, "m"); n != 0 {
			t.Errorf("%d votes without evidence live on", n)
		}
	})
}

// A new leader gives every node its full time, and the nodes renew with it at once.
func TestRenewalsBeginAnewWithTheLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		w.mustPropose(l, monitor("m", 100))
		w.settle()
		a := w.others(l)[0]
		w.mustPropose(a, report(a, 0, "m"))
		w.mustPropose(l, report(l, 0, "m"))
		w.settle()
		w.isolate(l, true)
		next := w.leader(w.others(l)...)
		time.Sleep(50 * time.Millisecond)
		if r, ok := next.Renewals()[string(a.self)]; !ok || time.Since(r.At) > 100*time.Millisecond {
			t.Errorf("reports were not renewed at once with the new leader: %+v", r)
		}
		time.Sleep(expireAfter - 200*time.Millisecond)
		if n := votes(next, "m"); n != 2 {
			t.Errorf("%d votes; the node that is not heard has its time from the leadership's beginning", n)
		}
		time.Sleep(10 * time.Second)
		if n := votes(next, "m"); n != 1 {
			t.Errorf("%d votes, want that of the node which is heard", n)
		}
		w.isolate(l, false)
	})
}

func TestRestart(t *testing.T) {
	for _, down := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(down), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.mustPropose(w.leader(), monitor("m", 100))
				w.settle()
				index := w.members[0].State().Index()
				for _, m := range w.members[:down] {
					if err := m.halt(); err != nil {
						t.Error(err)
					}
				}
				for _, m := range w.members[:down] {
					m.restart()
				}
				w.leader()
				w.settle()
				for _, m := range w.members {
					s, _, err := m.Local()
					if err != nil || s.MasterCount() != 1 || s.Index() < index {
						t.Errorf("n%d after the restart: %v", m.number, err)
					}
				}
				w.mustPropose(w.members[0], monitor("n", 101))
			})
		})
	}
}

// A node that comes back alone knows from its own log what it has told before, and applies nothing twice when others return.
func TestLocalReadsWithoutALeader(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 20 {
			w.mustPropose(w.leader(), monitor(fmt.Sprintf("m%d", i), 100+i))
		}
		w.settle()
		m := w.members[0]
		if err := m.raft.Load().Snapshot().Error(); err != nil { // half of it in a snapshot, half in the log
			t.Fatal(err)
		}
		for i := range 20 {
			w.mustPropose(w.leader(), monitor(fmt.Sprintf("n%d", i), 200+i))
		}
		w.settle()
		told, _, err := m.Local()
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range w.members {
			if err := o.halt(); err != nil {
				t.Error(err)
			}
		}
		m.restart()
		time.Sleep(10 * time.Second)
		s, age, err := m.Local()
		if err != nil || s.Index() < told.Index() || s.MasterCount() != 40 || age != -1 {
			t.Fatalf("alone after the restart: %v, age %v", err, age)
		}
		if _, err := m.Read(t.Context()); !errors.Is(err, ErrNoLeader) {
			t.Errorf("linearizable read without a leader: %v", err)
		}
		before := time.Now()
		if _, err := m.Propose(t.Context(), monitor("o", 300)); !errors.Is(err, ErrNoLeader) || time.Since(before) > 1500*time.Millisecond {
			t.Errorf("proposal without a leader: %v after %v", err, time.Since(before))
		}
		for _, o := range w.others(m) {
			o.restart()
		}
		w.leader()
		w.settle()
		var want strings.Builder
		_ = raftfsm.WriteSnapshot(&want, w.members[1].State())
		var got strings.Builder
		_ = raftfsm.WriteSnapshot(&got, m.State())
		if want.String() != got.String() {
			t.Error("the node that replayed its own log differs from one that did not")
		}
	})
}

// Where the applied index is lost, everything in the log may have been told: the node waits for a leader.
func TestLoadingWithoutTheAppliedIndex(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.mustPropose(w.leader(), monitor("m", 100))
		w.settle()
		m := w.members[0]
		for _, o := range w.members {
			if err := o.halt(); err != nil {
				t.Error(err)
			}
		}
		m.stores.applied = lostApplied{&appliedMemory{}}
		m.restart()
		time.Sleep(5 * time.Second)
		if _, _, err := m.Local(); !errors.Is(err, ErrLoading) || !m.Status().Loading {
			t.Errorf("without the applied index: %v", err)
		}
		w.members[1].restart()
		w.eventually("a leader settles it", func() bool { _, _, err := m.Local(); return err == nil })
	})
}

type lostApplied struct{ *appliedMemory }

func (lostApplied) load() (uint64, bool) { return 0, false }

// The last node alone never learns that the entry is committed.
func TestUnknownEntryStopsTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		last := l.State().Index()
		l.raft.Load().Apply([]byte("no command"), time.Second)
		time.Sleep(30 * time.Second)
		stopped := 0
		for _, m := range w.members {
			if m.State().Index() > last {
				t.Errorf("n%d has applied %d after the entry that it does not understand", m.number, m.State().Index())
			}
			select {
			case err := <-m.done:
				m.gone()
				stopped++
				if !errors.Is(err, errStopped) || !strings.Contains(err.Error(), "log entry") {
					t.Errorf("n%d ended with %v", m.number, err)
				}
				if _, err := m.fsm.Snapshot(); err == nil {
					t.Errorf("n%d makes snapshots over an entry that it has skipped", m.number)
				}
			default:
			}
		}
		if stopped < 2 {
			t.Errorf("%d nodes have stopped, want a majority", stopped)
		}
	})
}

func TestStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		l := w.leader()
		for _, m := range w.members {
			s := m.Status()
			role := "follower"
			if m == l {
				role = "leader"
			}
			if s.Role != role || s.LeaderID != string(l.self) || s.Leader != l.o.Raft || s.Peers != 3 || s.Loading || s.Term == 0 || s.AppliedIndex == 0 {
				t.Errorf("n%d: %+v", m.number, s)
			}
		}
	})
}
