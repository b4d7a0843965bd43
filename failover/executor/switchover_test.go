package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// order begins a switchover to an instance, through a leader.
func (w *world) order(id string, to raftfsm.Addr, wait time.Duration) (raftfsm.Result, error) {
	w.t.Helper()
	return w.orders(id).Begin(w.ctx, w.planned(to, wait))
}

// orders is a leader as those meet it who order something.
func (w *world) orders(id string) *Executor {
	w.t.Helper()
	w.mu.Lock()
	o := &office{member: w.nodes[id], term: w.term}
	w.mu.Unlock()
	e, err := New(Options{Cluster: o, Fleet: o.fleet, Log: w.log, Dial: noDial, LookupHost: w.lookUp})
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) planned(to raftfsm.Addr, wait time.Duration) Order {
	return Order{Master: "m", To: to, Kind: raftfsm.KindPlanned, MaxWait: wait, OperationID: fmt.Sprint("op", w.begins()), Actor: "ann"}
}

func (w *world) mustOrder(id string, to raftfsm.Addr) {
	w.t.Helper()
	if _, err := w.order(id, to, 5*time.Second); err != nil {
		w.t.Fatal(err)
	}
}

// masters counts the instances that run and are masters.
func masters(all []*fakeredis.Instance) (n int) {
	for _, i := range all {
		if s := i.State(); s.Running && s.Master {
			n++
		}
	}
	return n
}

func TestSwitchover(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		all[0].SetWriteRate(100_000)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		w.named(addr(1), "app")
		w.mustOrder("a", addr(3))
		w.until("converged", 10*time.Second, func() bool { return w.master().Address == addr(3) && w.converged() })
		row := w.last()
		if row.Kind != raftfsm.KindPlanned || row.Outcome != raftfsm.OutcomeCompleted || row.Actor != "ann" {
			t.Errorf("%+v", row)
		}
		want := []string{"fence", "pause", "level", "step-down", "check", "promote", "switch", "move", "save", "repoint", "repoint"}
		if got := stepNames(row); !slices.Equal(got, want) {
			t.Errorf("steps %v, want %v", got, want)
		}
		if row.Loss != (raftfsm.Loss{Kind: raftfsm.LossExact}) {
			t.Errorf("lost %+v", row.Loss)
		}
		if old := all[0].State(); old.Paused || old.Saved != addr(3) || slices.Contains(all[0].Clients(), "app") {
			t.Errorf("the old master: %+v, clients %v", old, all[0].Clients())
		}
		if now := all[2].State(); now.Saved != (raftfsm.Addr{}) {
			t.Errorf("the new master's configuration names %s", now.Saved)
		}
	})
}

// A rehearsal tells the row that an order would commit, refuses what the order would be refused for, and commits nothing.
func TestRehearsal(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		row, err := w.orders("a").Rehearse(w.ctx, w.planned(addr(3), 5*time.Second))
		if err != nil || row.Kind != raftfsm.KindPlanned || row.From != addr(1) || row.To != addr(3) || row.MaxWaitMs != 5000 || len(row.Candidates) != 2 {
			t.Errorf("%+v, %v", row, err)
		}
		all[2].CutLink(true)
		w.pass(time.Second)
		for _, rehearse := range []bool{true, false} {
			if rehearse {
				_, err = w.orders("a").Rehearse(w.ctx, w.planned(addr(3), 5*time.Second))
			} else {
				_, err = w.order("a", addr(3), 5*time.Second)
			}
			if r, ok := errors.AsType[raftfsm.Refusal](err); !ok || r.Code != raftfsm.BadCandidate || !strings.Contains(r.Detail, "link") {
				t.Errorf("rehearsed %t: %v", rehearse, err)
			}
		}
		if w.begins() != 0 {
			t.Error(w.describe())
		}
	})
}

// What stands in the way is found before writes stop, or ends in a rollback; the old master is the master in the end.
func TestSwitchoverIsRolledBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		at    Point
		do    func(all []*fakeredis.Instance)
		heal  func(all []*fakeredis.Instance)
		limit time.Duration // writes may wait, or nobody be the master, for so long
		says  string
	}{
		{"the candidate does not catch up", BeforePause, func(all []*fakeredis.Instance) { all[1].SetLag(10); all[0].Write(100) }, func(all []*fakeredis.Instance) { all[1].SetLag(0) }, 1500 * time.Millisecond, addr(2).String()},
		{"the candidate freezes before the pause", BeforePause, func(all []*fakeredis.Instance) { all[1].Hang() }, func(all []*fakeredis.Instance) { all[1].Resume() }, 1500 * time.Millisecond, addr(2).String()},
		{"the candidate freezes after the step-down", AfterDown, func(all []*fakeredis.Instance) { all[1].Hang() }, func(all []*fakeredis.Instance) { all[1].Resume() }, 3 * time.Second, addr(2).String()},
		{"the candidate dies after the step-down", AfterDown, func(all []*fakeredis.Instance) { all[1].Crash() }, func(all []*fakeredis.Instance) { all[1].Restart(false) }, 3 * time.Second, addr(2).String()},
		{"the leader stands still until the pause has run out, and the candidate lags", BeforeDown, func(all []*fakeredis.Instance) { all[1].SetLag(10); time.Sleep(2 * time.Second) }, func(all []*fakeredis.Instance) { all[1].SetLag(0) }, 3 * time.Second, "has almost run out"},
		{"the candidate refuses", BeforePromote, func(all []*fakeredis.Instance) { all[1].Deny("replicaof") }, func(all []*fakeredis.Instance) { all[1].Deny() }, 3 * time.Second, addr(2).String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				all := w.redis(1)
				all[0].SetWriteRate(100_000)
				var fired atomic.Bool
				w.lead("a", func(p Point) {
					if p == c.at && fired.CompareAndSwap(false, true) {
						c.do(all)
					}
				})
				w.pass(6 * time.Second)
				w.mustOrder("a", addr(2))
				w.until("ended", 10*time.Second, func() bool { return w.master().Failover == nil && fired.Load() })
				w.until("writable again", c.limit, func() bool { s := all[0].State(); return s.Master && !s.Paused })
				row := w.last()
				if row.Outcome != raftfsm.OutcomeAborted || row.Switched || !strings.Contains(row.EndReason, c.says) {
					t.Errorf("%v: %s", row.Outcome, row.EndReason)
				}
				// Who stepped down may have begun to copy the candidate.
				if stepped := c.at == AfterDown || c.at == BeforePromote; (row.Loss.Kind == raftfsm.LossUnknown) != stepped || row.Loss.Kind == 0 {
					t.Errorf("%s: lost %v", row.EndReason, row.Loss.Kind)
				}
				c.heal(all)
				w.until("converged", 30*time.Second, w.converged)
				if w.master().Address != addr(1) || masters(all) != 1 {
					t.Error(w.describe())
				}
			})
		})
	}
}

// The leader dies at each point of a switchover; the next one finishes or rolls back, and nothing that the old master had is
// lost.
func TestSwitchoverByANewLeaderAtEveryPoint(t *testing.T) {
	for _, target := range []Point{
		BeforeFence, AfterFence, BeforePause, AfterPause, BeforeDown, AfterDown, AfterCheck, BeforePromote, AfterPromote, BeforeSwitch,
		AfterSwitch, BeforeRecord, AfterRecord, BeforeMove, AfterMove, BeforeSave, AfterSave, BeforeRepoint, AfterRepoint, BeforeEnd,
	} {
		t.Run(string(target), func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				all := w.redis(2)
				all[0].Write(500)
				var armed, fired atomic.Bool
				died := make(chan struct{})
				var end context.CancelFunc
				end = w.lead("a", func(p Point) {
					if p != target || !armed.Load() || !fired.CompareAndSwap(false, true) {
						return
					}
					w.depose()
					end()
					close(died)
				})
				w.pass(6 * time.Second)
				armed.Store(true)
				w.running.Go(func() {
					select {
					case <-died:
					case <-w.ctx.Done():
						return
					}
					<-time.After(800 * time.Millisecond) // the election
					w.lead("b", nil)
				})
				before := all[0].State().Offset
				w.mustOrder("a", addr(2))
				w.until("fired", 10*time.Second, fired.Load)
				w.until("converged", 20*time.Second, func() bool { return w.converged() })
				s := w.net.Instance(w.master().Address).State()
				if masters(all) != 1 || s.Offset < before || s.Paused || w.master().Hold != nil {
					t.Errorf("%+v\n%s", s, w.describe())
				}
				w.checkEpochs(t)
			})
		})
	}
}

// The old master dies at each step: before it has given way only a failover can follow, and it does.
func TestSwitchoverWhoseMasterDies(t *testing.T) {
	for _, target := range []Point{BeforePause, AfterPause, BeforeDown, AfterDown, AfterCheck, AfterPromote, AfterSwitch, BeforeMove} {
		for _, freeze := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, frozen %v", target, freeze), func(t *testing.T) {
				play(t, func(t *testing.T, w *world) {
					all := w.redis(2)
					var fired atomic.Bool
					w.lead("a", func(p Point) {
						if p != target || !fired.CompareAndSwap(false, true) {
							return
						}
						if freeze {
							all[0].Hang()
						} else {
							all[0].Crash()
						}
					})
					w.pass(6 * time.Second)
					w.mustOrder("a", addr(2))
					w.until("another master", 20*time.Second, func() bool {
						s := w.net.Instance(w.master().Address).State()
						return fired.Load() && w.master().Address != addr(1) && s.Master
					})
					if freeze {
						all[0].Resume()
					} else {
						all[0].Restart(false)
					}
					w.until("converged", 60*time.Second, w.converged)
					if masters(all) != 1 {
						t.Error(w.describe())
					}
				})
			})
		}
	}
}

// The set is removed while its old master has stepped down for a candidate that does not answer: it is given its role back,
// though nobody watches it any more.
func TestSetIsRemovedInASwitchover(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(1)
		var fired atomic.Bool
		w.lead("a", func(p Point) {
			if p == AfterDown && !fired.Load() {
				all[1].Hang()
				w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
				fired.Store(true)
			}
		})
		w.pass(6 * time.Second)
		w.mustOrder("a", addr(2))
		w.until("removed", 5*time.Second, fired.Load)
		w.until("a master again", 5*time.Second, func() bool { return all[0].State().Master })
		all[1].Resume()
	})
}

// A master gives way to the candidate of an automatic failover, which then does not answer, and the votes are taken back: it is
// the master again at once.
func TestMasterThatGaveWayIsGivenBack(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(1, "down-after-milliseconds", "30000")
		var once sync.Once
		var down atomic.Bool
		w.lead("a", func(p Point) {
			if p == AfterDown {
				once.Do(func() {
					all[1].Hang()
					for _, id := range []string{"b", "c"} {
						w.net.Heal(id, addr(1))
					}
					down.Store(true)
				})
			}
		})
		w.pass(6 * time.Second)
		for _, id := range []string{"b", "c"} {
			w.net.Drop(id, addr(1))
		}
		w.until("it gives way", 60*time.Second, down.Load)
		w.until("a master again", 5*time.Second, func() bool { return all[0].State().Master })
		all[1].Resume()
		w.until("converged", 60*time.Second, w.converged)
		if w.master().Address != addr(1) || masters(all) != 1 {
			t.Error(w.describe())
		}
	})
}

// A master that two nodes cannot reach and the leader can gives way, and nothing is lost.
func TestAutomaticFailoverOfAMasterThatAnswers(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		all[0].SetWriteRate(100_000)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		for _, id := range []string{"b", "c"} {
			w.net.Drop(id, addr(1))
		}
		w.until("switched", 10*time.Second, func() bool { return w.master().Address != addr(1) })
		for _, id := range []string{"b", "c"} {
			w.net.Heal(id, addr(1))
		}
		w.until("converged", 30*time.Second, w.converged)
		row := w.last()
		if row.Kind != raftfsm.KindAutomatic || row.Loss != (raftfsm.Loss{Kind: raftfsm.LossExact}) || !slices.Contains(stepNames(row), "check") {
			t.Errorf("steps %v, loss %+v", stepNames(row), row.Loss)
		}
		if all[0].State().Master || all[0].State().Paused {
			t.Errorf("%+v", all[0].State())
		}
	})
}

// The leader and the old master are lost when the candidate is promoted and not committed yet. It has all that was acknowledged,
// and the other replica may not: the next leader goes forward.
func TestSwitchoverGoesForwardWithoutTheOldMaster(t *testing.T) {
	for _, pause := range []time.Duration{0, 5 * time.Second} { // before the nodes hold it down, and after
		t.Run(pause.String(), func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				all := w.redis(2)
				var fired atomic.Bool
				died := make(chan struct{})
				var end context.CancelFunc
				end = w.lead("a", func(p Point) {
					if p != AfterPromote || !fired.CompareAndSwap(false, true) {
						return
					}
					all[0].Crash()
					w.depose()
					end()
					close(died)
				})
				w.pass(6 * time.Second)
				w.running.Go(func() {
					select {
					case <-died:
					case <-w.ctx.Done():
						return
					}
					<-time.After(pause)
					w.lead("b", nil)
				})
				w.mustOrder("a", addr(2))
				w.until("switched", 20*time.Second, func() bool { return w.master().Address != addr(1) })
				all[0].Restart(false)
				w.until("converged", 30*time.Second, w.converged)
				if row := w.last(); w.master().Address != addr(2) || row.Kind != raftfsm.KindPlanned || !row.Switched || masters(all) != 1 {
					t.Errorf("%+v\n%s", row, w.describe())
				}
			})
		})
	}
}

// The leader is lost when the candidate is promoted: the next one lets the clients of the old master go all the same.
func TestSwitchoverMovesClientsThoughItsLeaderIsLost(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		var fired atomic.Bool
		var end context.CancelFunc
		end = w.lead("a", func(p Point) {
			if p == AfterPromote && fired.CompareAndSwap(false, true) {
				w.depose()
				end()
			}
		})
		w.pass(6 * time.Second)
		w.named(addr(1), "app")
		w.mustOrder("a", addr(2))
		w.until("fired", 10*time.Second, fired.Load)
		w.pass(800 * time.Millisecond)
		w.lead("b", nil)
		w.until("converged", 20*time.Second, func() bool { return w.master().Address == addr(2) && w.converged() })
		if !slices.Contains(stepNames(w.last()), "move") || slices.Contains(all[0].Clients(), "app") {
			t.Errorf("steps %v, clients %v", stepNames(w.last()), all[0].Clients())
		}
	})
}

// The leader is lost between the commit of a rollback and the old master's return to its role. Nobody is the master: the next
// leader waits neither for down-after nor for the reading of the old master that is due every 10 s, but asks it at once.
func TestSwitchoverRolledBackByHalf(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(1, "down-after-milliseconds", "30000")
		var hung, fired atomic.Bool
		var end context.CancelFunc
		end = w.lead("a", func(p Point) {
			switch {
			case p == AfterDown && hung.CompareAndSwap(false, true):
				all[1].Hang()
			case p == AfterBack && fired.CompareAndSwap(false, true):
				w.depose()
				end()
			}
		})
		w.pass(6 * time.Second)
		w.mustOrder("a", addr(2))
		w.until("fired", 10*time.Second, fired.Load)
		w.pass(800 * time.Millisecond)
		w.lead("b", nil)
		w.until("a master again", time.Second, func() bool { return all[0].State().Master })
		all[1].Resume()
		w.until("converged", 60*time.Second, w.converged)
		if w.master().Address != addr(1) || masters(all) != 1 || w.begins() != 1 {
			t.Error(w.describe())
		}
	})
}

// A master that cannot stop writes steps down only for a candidate that keeps up: of one that lags it would take a full copy.
func TestSwitchoverWithoutAPauseWantsALevelCandidate(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(1)
		all[0].Deny("client|pause")
		w.lead("a", func(p Point) {
			if p == BeforePause {
				all[1].SetLag(100_000)
				all[0].Write(100_000)
			}
		})
		w.pass(6 * time.Second)
		w.mustOrder("a", addr(2))
		w.until("ended", 10*time.Second, func() bool { return w.master().Failover == nil && w.begins() == 1 })
		if row := w.last(); row.Switched || !strings.HasPrefix(row.EndReason, "candidate "+addr(2).String()+" is at offset") || !all[0].State().Master {
			t.Errorf("%+v", row)
		}
	})
}
