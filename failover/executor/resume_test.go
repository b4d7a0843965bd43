package executor

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// failoverPoints are passed by a crash failover whose old master returns while the row is open.
var failoverPoints = []Point{
	BeforeBegin, AfterBegin, BeforeFence, AfterFence, BeforePromote, AfterPromote, BeforeSwitch, AfterSwitch,
	BeforeSave, AfterSave, BeforeRepoint, AfterRepoint, BeforeDemote, AfterDemote, BeforeRecord, AfterRecord, BeforeEnd, AfterEnd,
}

// crash is a crash failover: the old master comes back a little later, as a master.
func (w *world) crash(t *testing.T) {
	t.Helper()
	old := w.net.Instance(addr(1))
	for n := 2; n <= 3; n++ {
		w.net.Instance(addr(n)).SetLinkDelay(500*time.Millisecond, 0)
	}
	old.Crash()
	w.until("begun", 10*time.Second, func() bool { return w.begins() > 0 || w.leaderless() })
	w.pass(300 * time.Millisecond)
	if w.master().IsODown() {
		w.pass(3 * time.Second) // a restart now would call the failover off
	}
	old.Restart(false)
}

func (w *world) leaderless() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leader == ""
}

// The leader dies at each point of a failover; another goes on from the row alone.
func TestResumeByANewLeaderAtEveryPoint(t *testing.T) {
	for _, target := range failoverPoints {
		t.Run(string(target), func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				w.redis(2)
				var end context.CancelFunc
				died := make(chan struct{})
				var fired atomic.Bool
				end = w.lead("a", func(p Point) {
					if p != target || !fired.CompareAndSwap(false, true) {
						return
					}
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
					<-time.After(800 * time.Millisecond) // the election
					w.lead("b", nil)
				})
				w.crash(t)
				w.until("converged", 60*time.Second, func() bool { return fired.Load() && w.master().Address != addr(1) && w.converged() })
				if !fired.Load() {
					t.Fatal("the point was never passed")
				}
				if m := w.master(); m.Hold != nil || m.Epoch == 0 {
					t.Errorf("hold %+v epoch %d", m.Hold, m.Epoch)
				}
				w.checkEpochs(t)
			})
		})
	}
}

// The leader is frozen at each point, cut off, overtaken, and woken when all is done: nothing it sends takes effect. It does
// not notice that its deadlines have passed, as a process does not that is stopped in the midst of a system call.
func TestStaleLeaderHarmsNothing(t *testing.T) {
	for _, target := range failoverPoints {
		t.Run(string(target), func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				w.redis(2)
				frozen, thaw := make(chan struct{}), make(chan struct{})
				var fired atomic.Bool
				w.setPatience(time.Hour)
				var o *office
				o, end := w.office("a", func(p Point) {
					if p != target || !fired.CompareAndSwap(false, true) {
						return
					}
					o.cutOff()
					close(frozen)
					select {
					case <-thaw:
					case <-w.ctx.Done():
					}
				})
				defer end()
				w.pass(6 * time.Second)
				w.running.Go(func() {
					select {
					case <-frozen:
					case <-w.ctx.Done():
						return
					}
					<-time.After(800 * time.Millisecond)
					w.setPatience(0)
					w.lead("b", nil)
				})
				w.crash(t)
				w.until("converged", 60*time.Second, func() bool { return fired.Load() && w.master().Address != addr(1) && w.converged() })
				before, entries := len(w.commands()), w.decidedBy("a")
				address, epoch := w.master().Address, w.master().Epoch
				close(thaw)
				w.pass(10 * time.Second)
				for _, c := range w.commands()[before:] {
					t.Errorf("after it was overtaken: %s", c)
				}
				if n := w.decidedBy("a") - entries; n != 0 {
					t.Errorf("%d decisions were committed after it was overtaken", n)
				}
				if m := w.master(); m.Address != address || m.Epoch != epoch || !w.converged() {
					t.Errorf("now %s epoch %d\n%s", m.Address, m.Epoch, w.describe())
				}
				w.checkEpochs(t)
			})
		})
	}
}

// Every node is killed just after the votes, or just after the row, the master recovers, and the nodes return an hour later,
// each standing by its old votes at first: nothing is promoted.
func TestAllNodesReturnAfterTheMasterDid(t *testing.T) {
	for _, target := range []Point{BeforeBegin, AfterBegin, BeforePromote} {
		t.Run(string(target), func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				all := w.redis(2)
				var fired atomic.Bool
				var end context.CancelFunc
				end = w.lead("a", func(p Point) {
					if p == target && fired.CompareAndSwap(false, true) {
						w.depose()
						end()
						for _, id := range []string{"a", "b", "c"} {
							w.kill(id)
						}
					}
				})
				w.pass(6 * time.Second)
				all[0].Hang()
				w.until("killed", 5*time.Second, fired.Load)
				all[0].Resume()
				w.pass(time.Hour)
				for _, id := range []string{"a", "b", "c"} {
					w.start(id)
				}
				w.lead("b", nil)
				w.pass(time.Minute)
				if got := w.commands(); len(got) != 0 || w.master().Address != addr(1) {
					t.Errorf("promoted on votes of an hour ago: %v", got)
				}
				if !w.converged() {
					t.Error(w.describe())
				}
			})
		})
	}
}

// A leader is cut off with an open row just before it confirms its leadership. Meanwhile its candidate dies, another is
// promoted, and the candidate comes back as a replica: the quorum is what keeps the cut-off leader from promoting it.
func TestCutOffLeaderIsStoppedByTheQuorum(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		all[2].SetPriority(200)
		w.pass(11 * time.Second)
		frozen, thaw := make(chan struct{}), make(chan struct{})
		var fired atomic.Bool
		var o *office
		o, end := w.office("a", func(p Point) {
			if p != BeforeFence || !fired.CompareAndSwap(false, true) {
				return
			}
			o.cutOff()
			close(frozen)
			select {
			case <-thaw:
			case <-w.ctx.Done():
			}
		})
		defer end()
		w.pass(6 * time.Second)
		all[0].Crash()
		w.until("frozen", 5*time.Second, fired.Load)
		all[1].Crash()
		w.lead("b", nil)
		w.until("the other is promoted", 20*time.Second, func() bool { return w.master().Address == addr(3) })
		all[1].Restart(false)
		w.until("converged", 20*time.Second, w.converged)
		before := len(w.commands())
		close(thaw)
		w.pass(10 * time.Second)
		if got := w.commands()[before:]; len(got) != 0 {
			t.Errorf("without a quorum: %v", got)
		}
	})
}

// checkEpochs: one epoch has one candidate and switches once at most, epochs rise, and after a switch no command of an
// earlier term took effect.
func (w *world) checkEpochs(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var last uint64
	switched := map[uint64]bool{}
	for _, c := range w.entries {
		s := c.GetSwitchMaster()
		if s == nil {
			continue
		}
		if switched[s.GetEpoch()] || s.GetEpoch() <= last {
			t.Errorf("epoch %d switches after %d", s.GetEpoch(), last)
		}
		switched[s.GetEpoch()], last = true, s.GetEpoch()
	}
	var term string
	for _, c := range w.net.Log() {
		if name := strings.ToLower(c.Args[0]); name != "replicaof" || c.Err != "" || !strings.HasPrefix(c.Client, controlPrefix) {
			continue
		}
		now := strings.Split(c.Client, ":")[2]
		if now < term {
			t.Errorf("a command of term %s took effect after one of term %s: %v", now, term, c)
		}
		term = now
	}
}

// decidedBy counts what a leader has had committed, all but what every node may say.
func (w *world) decidedBy(id string) int {
	return w.count(func(c *raftlogv1.Command) bool {
		return c.GetHeader().GetProposer() == id && c.GetReport() == nil && c.GetStateFacts() == nil
	})
}
