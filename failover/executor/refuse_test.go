package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var errNoWay = errors.New("no way there")

// Every candidate refuses REPLICAOF, for half an hour: the log does not fill with epochs.
func TestEveryCandidateRefuses(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(11 * time.Second)
		all[1].Deny("replicaof")
		all[2].Deny("replicaof")
		all[0].Crash()
		w.pass(30 * time.Minute)
		if n := w.begins(); n < 20 || n > 300 {
			t.Errorf("%d rows in half an hour", n)
		}
		for _, row := range w.master().History {
			if len(row.Reason) > 300 {
				t.Fatalf("a reason of %d bytes: %s", len(row.Reason), row.Reason)
			}
		}
		all[2].Deny()
		w.until("switched", 2*time.Minute, func() bool { return w.master().Address == addr(3) })
	})
}

func TestTinyFailoverTimeoutFailsOver(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2, "failover-timeout", "3")
		w.lead("a", nil)
		w.pass(11 * time.Second)
		all[0].Crash()
		w.until("converged", 30*time.Second, w.converged)
		if n := w.begins(); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
}

// Every node is killed just after the votes. When they return, an hour later, the master pauses for 4 s of the 30 that are
// allowed: nobody has seen it down since, and nobody stands by the old votes.
func TestNodesReturnWhileTheMasterPauses(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2, "down-after-milliseconds", "30000")
		var fired atomic.Bool
		var end context.CancelFunc
		end = w.lead("a", func(p Point) {
			if p == BeforeBegin && fired.CompareAndSwap(false, true) {
				w.depose()
				end()
				for _, id := range []string{"a", "b", "c"} {
					w.kill(id)
				}
			}
		})
		w.pass(40 * time.Second)
		all[0].Hang()
		w.until("killed", 50*time.Second, fired.Load)
		all[0].Resume()
		w.pass(time.Hour)
		all[0].Hang()
		for _, id := range []string{"a", "b", "c"} {
			w.start(id)
		}
		w.lead("b", nil)
		w.pass(4 * time.Second)
		all[0].Resume()
		w.pass(time.Minute)
		if m := w.master(); m.Address != addr(1) || w.begins() != 0 || len(w.commands()) != 0 {
			t.Errorf("master %s, %d rows, %v", m.Address, w.begins(), w.commands())
		}
	})
}

// A replica is moved to another set by mistake and has come into sync there; the master hangs just as it is brought back.
func TestDataOfAnotherSetIsNotPromoted(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		foreign := w.net.Add(addr(9).String())
		foreign.Write(5_000_000)
		var fired, armed atomic.Bool
		w.lead("a", func(p Point) {
			if p == BeforeRepoint && armed.Load() && fired.CompareAndSwap(false, true) {
				all[0].Hang()
			}
		})
		w.pass(16 * time.Second)
		armed.Store(true)
		w.hand(all[2], addr(9).Host, "6379")
		w.until("switched", 30*time.Second, func() bool { return w.master().Address != addr(1) })
		if !fired.Load() || w.master().Address != addr(2) {
			t.Errorf("hung %t, master %s", fired.Load(), w.master().Address)
		}
	})
}

// One voter is dead, the other does not take leadership over: neither is asked for ever.
func TestLeadershipIsOfferedOnce(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(1)
		w.lead("b", nil)
		w.pass(11 * time.Second)
		w.kill("a")
		w.mu.Lock()
		w.stubborn["c"] = true
		w.mu.Unlock()
		w.net.Drop("b", addr(2))
		w.pass(4 * time.Second)
		all[0].Crash()
		w.pass(5 * time.Minute)
		if got := w.offered(); !slices.Equal(got, []string{"c"}) {
			t.Errorf("offered to %v", got)
		}
	})
}

// The way to the candidate is opened while the master is only silent, and nothing is lost where that fails.
func TestConnectionIsOpenedAhead(t *testing.T) {
	for _, fails := range []int32{0, 1, 100} {
		play(t, func(t *testing.T, w *world) {
			all := w.redis(2)
			all[2].SetPriority(200)
			w.lead("a", nil)
			w.pass(11 * time.Second)
			var dials atomic.Int32
			w.onDial(func(_ context.Context, a raftfsm.Addr) error {
				if n := dials.Add(1); n <= fails && !w.master().IsODown() {
					return errNoWay
				}
				return nil
			})
			all[0].Hang()
			w.pass(900 * time.Millisecond)
			if len(w.master().Votes) != 0 || dials.Load() == 0 || dials.Load() > 10 {
				t.Errorf("%d votes, %d dials", len(w.master().Votes), dials.Load())
			}
			w.until("switched", 3*time.Second, func() bool { return w.master().Address == addr(2) })
			row := w.master().Failover
			if took := row.SwitchedAtMs - row.ODownAtMs; took > 30 || w.begins() != 1 {
				t.Errorf("%d ms, %d rows", took, w.begins())
			}
		})
	}
}

// named gives a connection of somebody to an instance.
func (w *world) named(a raftfsm.Addr, name string) {
	w.t.Helper()
	d := instance.Dialer{DialContext: w.net.From("elsewhere")}
	c, err := d.Dial(w.ctx, instance.Target{Addr: a}, name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
}

// Two clusters watch one instance: the one's terms mean nothing to the other.
func TestControlConnectionsOfOthersAreLeftAlone(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		theirs, ours := controlPrefix+"n:0:others", controlPrefix+"n:0:"+clusterMark(w.nodes["a"].State())
		var early atomic.Bool
		w.lead("a", func(p Point) {
			if p == AfterBegin && !slices.Contains(all[1].Clients(), ours) {
				early.Store(true)
			}
		})
		w.pass(11 * time.Second)
		w.named(addr(2), theirs)
		w.named(addr(2), ours)
		all[2].SetPriority(200)
		w.pass(11 * time.Second)
		all[0].Crash()
		w.until("switched", 5*time.Second, func() bool { return w.master().Address == addr(2) })
		if got := strings.Join(all[1].Clients(), " "); !strings.Contains(got, theirs) || strings.Contains(got, ours) {
			t.Errorf("left: %s", got)
		}
		if early.Load() {
			t.Error("a connection was killed before this leadership was confirmed")
		}
	})
}

// Where thousands read from the candidate, the promotion does not wait for the list of them. What was seen over one connection is not
// believed of another one: the name may lead to another instance by then.
func TestClientsAreListedAhead(t *testing.T) {
	for cut, want := range map[bool]int64{false: 1, true: 2} {
		t.Run(fmt.Sprintf("cut %v", cut), func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				all := w.redis(1)
				listed := func() (n int64) {
					for _, c := range w.net.Log() {
						if c.Instance == addr(2) && strings.HasPrefix(c.Client, controlPrefix) && strings.EqualFold(strings.Join(c.Args, " "), "client list") {
							n++
						}
					}
					return n
				}
				var before atomic.Int64
				w.lead("a", func(p Point) {
					if p != BeforeBegin {
						return
					}
					before.Store(listed())
					if cut {
						w.cutControl(addr(2))
					}
				})
				w.pass(11 * time.Second)
				all[0].Crash()
				w.until("switched", 5*time.Second, func() bool { return w.master().Address == addr(2) })
				if n := listed(); before.Load() != 1 || n != want {
					t.Errorf("listed %d times before the row and %d times in all; want once before, and %d", before.Load(), n, want)
				}
			})
		})
	}
}

// cutControl closes the control connections at an instance.
func (w *world) cutControl(a raftfsm.Addr) {
	d := instance.Dialer{DialContext: w.net.From("elsewhere")}
	c, err := d.Dial(w.ctx, instance.Target{Addr: a}, "")
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	ids, err := c.ControlClients(w.ctx, controlPrefix)
	if err != nil || len(ids) == 0 {
		w.t.Errorf("control connections %v, %v", ids, err)
	}
	for id := range ids {
		if err := c.KillClient(w.ctx, id); err != nil {
			w.t.Error(err)
		}
	}
}

// A row that was called off stays open while its candidate could be reached and an earlier leader's connection to it may stand.
func TestAbortedRowWaitsForTheFence(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(1)
		var blocked, fired atomic.Bool
		w.onDial(func(_ context.Context, a raftfsm.Addr) error {
			if a == addr(2) && blocked.Load() {
				return errNoWay
			}
			return nil
		})
		end := w.lead("a", func(p Point) {
			if p == AfterBegin && fired.CompareAndSwap(false, true) {
				blocked.Store(true)
				w.depose()
			}
		})
		w.pass(6 * time.Second)
		all[0].Hang()
		w.until("begun", 5*time.Second, fired.Load)
		end()
		w.lead("b", nil)
		all[0].Resume()
		w.pass(5 * time.Second)
		if m := w.master(); m.IsODown() || m.Failover == nil {
			t.Fatalf("objectively down %t, row %+v", m.IsODown(), m.Failover)
		}
		blocked.Store(false)
		w.until("closed", 5*time.Second, func() bool { return w.master().Failover == nil })
		if w.last().Outcome != raftfsm.OutcomeAborted || w.master().Address != addr(1) {
			t.Errorf("%+v", w.last())
		}
	})
}

// All workers are busy with a set that is only to be tidied up when a master dies.
func TestUrgentSetDoesNotWait(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.parallel = 1
		all := w.redis(1)
		far := raftfsm.Addr{Host: "10.1.0.1", Port: 6379}
		w.net.Add(far.String())
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
			Name: "n", Address: far.Proto(), Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "2"}},
		}}})
		stray := w.net.Add("10.1.0.2:6379")
		stray.Replicate(far)
		w.pass(15 * time.Second)
		var busy atomic.Bool
		w.onDial(func(ctx context.Context, a raftfsm.Addr) error {
			if a != stray.Addr() {
				return nil
			}
			busy.Store(true)
			<-ctx.Done()
			return ctx.Err()
		})
		w.setPatience(time.Hour)
		w.lead("a", nil)
		w.pass(time.Second)
		w.hand(stray, addr(9).Host, "6379")
		w.until("busy", 90*time.Second, busy.Load)
		all[0].Crash()
		w.until("switched", 5*time.Second, func() bool { return w.master().Address == addr(2) })
	})
}

// stopping is a connection during whose exchange everything is told to end.
type stopping struct {
	Conn
	stop context.CancelFunc
}

func (c stopping) Promote(ctx context.Context) (*detector.Info, error) {
	c.stop()
	return &detector.Info{}, ctx.Err()
}

func TestExchangeThatHasBegunIsFinished(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	d := &duties{e: &Executor{o: Options{Deadline: time.Minute}}}
	if info, err := d.toMaster(ctx, stopping{stop: stop}); info == nil || err != nil {
		t.Errorf("broken off: %v", err)
	}
	if info, err := d.toMaster(ctx, stopping{stop: stop}); info != nil || err == nil {
		t.Error("begun though everything ends")
	}
}

// The end of a pause that was extended meanwhile does not end it.
func TestPauseIsEndedByItsOwnEnd(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis(1)
		w.lead("a", nil)
		until := time.Now().Add(time.Minute).UnixMilli()
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "r", UntilMs: until}}})
		w.until("resumed", 62*time.Second, func() bool { return w.master().Pause == nil })
		if n := w.count(func(c *raftlogv1.Command) bool { return c.GetResume().GetUntilMs() == until }); n != 1 {
			t.Errorf("%d entries name the end", n)
		}
	})
}

func TestTextsAreMadeFitForTheLog(t *testing.T) {
	long := plain(strings.Repeat("ä", 1000))
	if len(long) > maxText || !utf8.ValidString(long) || len(long) < maxText-4 {
		t.Errorf("%d bytes", len(long))
	}
	if got := plain("ERR \xff\xfe of " + "x"); got != "ERR ? of x" || !utf8.ValidString(got) {
		t.Errorf("%q", got)
	}
}

// Votes that nobody stands by yet, and no way to the candidate: when both are mended it is still the first choice.
func TestFailedPreparationIsNoFailedAttempt(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		all[2].SetPriority(200)
		w.lead("a", nil)
		w.pass(11 * time.Second)
		silence := func(on bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.silent["b"], w.silent["c"] = on, on
		}
		silence(true)
		w.onDial(func(context.Context, raftfsm.Addr) error { return errNoWay })
		all[0].Crash()
		w.until("objectively down", 3*time.Second, func() bool { return w.master().IsODown() })
		w.pass(time.Second)
		w.onDial(nil)
		silence(false)
		w.until("switched", time.Second, func() bool { return w.master().Address != addr(1) })
		if w.master().Address != addr(2) || w.begins() != 1 {
			t.Errorf("%s after %d rows", w.master().Address, w.begins())
		}
	})
}

// A leader is frozen as it is about to have a step committed; the row is still open when it wakes, and another leads.
func TestDecisionOfAnEndedLeadershipIsNotForwarded(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		for _, r := range all[1:] {
			r.SetLinkDelay(20*time.Second, 0) // keeps the row open
		}
		frozen, thaw := make(chan struct{}), make(chan struct{})
		var fired atomic.Bool
		w.setPatience(time.Hour)
		end := w.lead("a", func(p Point) {
			if p == BeforeRecord && fired.CompareAndSwap(false, true) {
				close(frozen)
				<-thaw
			}
		})
		defer end()
		w.pass(6 * time.Second)
		all[0].Crash()
		w.until("frozen", 5*time.Second, fired.Load)
		w.lead("b", nil)
		before := w.decidedBy("a")
		close(thaw)
		w.pass(3 * time.Second)
		if w.master().Failover == nil {
			t.Fatal("the row is closed")
		}
		if n := w.decidedBy("a") - before; n != 0 {
			t.Errorf("%d decisions of the old leader were committed", n)
		}
	})
}

// A step that comes too late for its row is no failure; any other refusal is.
func TestStepOfAClosedRow(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis(1)
		o, end := w.office("a", nil)
		defer end()
		e, err := New(Options{Cluster: o, Fleet: o.fleet, Log: w.log, Dial: noDial, LookupHost: w.lookUp})
		if err != nil {
			t.Fatal(err)
		}
		d := &duties{e: e, term: o.term}
		row := &raftfsm.Failover{Epoch: 99}
		step := &raftlogv1.Step{Name: raftfsm.StepRepoint}
		if err := d.tell(t.Context(), newSet("m"), row, step); err != nil {
			t.Error(err)
		}
		if err := d.tell(t.Context(), newSet("nobody"), row, step); err == nil {
			t.Error("told of a set that does not exist")
		}
	})
}
