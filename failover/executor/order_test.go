package executor

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// An order is carried out by the leadership that committed it as a row of its own: nothing is resumed, nobody but the two is
// fenced before, and its steps are told by the monotonic clock, whatever the wall clock says meanwhile.
func TestAnOrderIsThisLeaderships(t *testing.T) {
	for _, kind := range []raftfsm.FailoverKind{raftfsm.KindPlanned, raftfsm.KindForced} {
		t.Run(kind.String(), func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				w.redis(2)
				var out bytes.Buffer
				w.log = slog.New(slog.NewTextHandler(&out, nil))
				w.skew = time.Hour
				o, end := w.office("a", nil)
				w.pass(6 * time.Second)
				began := time.Now()
				order := w.planned(addr(3), 5*time.Second)
				order.Kind = kind
				if _, err := o.e.Begin(w.ctx, order); err != nil {
					t.Fatal(err)
				}
				w.until("converged", 10*time.Second, func() bool { return w.master().Address == addr(3) && w.converged() })
				took := ms(time.Since(began))
				last := ms(commitTime) // the row's own
				for _, s := range w.last().Steps {
					if s.AtMs < last || s.AtMs > took {
						t.Errorf("%s of %s at %v ms, after %v, of %v", s.Name, s.Instance, s.AtMs, last, took)
					}
					last = max(last, s.AtMs-s.TookMs) // the last ones overlap
				}
				if again, err := o.e.Begin(w.ctx, order); err != nil || again.Epoch != w.last().Epoch {
					t.Errorf("repeated: %+v, %v", again, err)
				}
				if n := o.e.awaits(); n != 0 {
					t.Errorf("%d orders are kept", n)
				}
				end()
				w.pass(time.Second)
				if told := out.String(); strings.Contains(told, "carried on") || strings.Contains(told, "resumed") {
					t.Errorf("the order was resumed:\n%s", told)
				}
			})
		})
	}
}

// What was ordered in one leadership is resumed by the next, though it is of the same node: somebody else may have led in between.
func TestAnOrderIsNotTheNextLeaderships(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis(2)
		var out bytes.Buffer
		w.log = slog.New(slog.NewTextHandler(&out, nil))
		proposing := make(chan struct{})
		o, end := w.office("a", func(p Point) {
			if p == BeforeBegin {
				close(proposing)
			}
		})
		w.pass(6 * time.Second)
		order := w.planned(addr(3), 5*time.Second)
		w.running.Go(func() {
			if _, err := o.e.Begin(w.ctx, order); err != nil {
				t.Error(err)
			}
		})
		<-proposing
		w.pass(commitTime / 2)
		if n := o.e.awaits(); n != 1 {
			t.Fatalf("%d orders are kept", n)
		}
		end()
		w.pass(0)
		w.mu.Lock()
		w.term++
		term := w.term
		w.mu.Unlock()
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{Node: "a", Term: term}}})
		w.running.Go(func() { _ = o.e.Duties(w.ctx, term) })
		w.until("converged", 10*time.Second, func() bool { return w.master().Address == addr(3) && w.converged() })
		if n := strings.Count(out.String(), "switchover carried on"); n != 1 {
			t.Errorf("carried on %d times:\n%s", n, out.String())
		}
	})
}

// awaits counts the orders whose moment is kept.
func (e *Executor) awaits() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.ordered)
}
