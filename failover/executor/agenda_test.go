package executor

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// The agenda gives each set once, at the last time it was put there for, in the order of time.
func TestAgenda(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	base := time.Now()
	var a agenda
	sets := make([]*set, 50)
	for i := range sets {
		sets[i] = newSet(string(rune('a' + i)))
	}
	want := map[*set]time.Duration{}
	for range 1000 {
		s := sets[r.IntN(len(sets))]
		switch r.IntN(4) {
		case 0:
			a.drop(s)
			delete(want, s)
		case 1:
			a.put(s, time.Time{})
			delete(want, s)
		default:
			d := time.Duration(1+r.IntN(1000)) * time.Second
			a.put(s, base.Add(d))
			want[s] = d
		}
	}
	for now := time.Duration(0); now <= 1000*time.Second; now += 10 * time.Second {
		var got []time.Duration
		for s := a.take(base.Add(now)); s != nil; s = a.take(base.Add(now)) {
			if d, ok := want[s]; !ok || d > now {
				t.Fatalf("%s is given at %v, wanted at %v (%v)", s.name, now, d, ok)
			}
			got = append(got, want[s])
			delete(want, s)
		}
		if !slices.IsSorted(got) {
			t.Errorf("out of order: %v", got)
		}
		next := time.Hour
		for _, d := range want {
			if d <= now {
				t.Errorf("at %v, one of %v was not given", now, d)
			}
			next = min(next, d-now)
		}
		if got := a.wait(base.Add(now)); got != next {
			t.Errorf("at %v the next is in %v, want %v", now, got, next)
		}
	}
	if len(want) > 0 {
		t.Errorf("never given: %d", len(want))
	}
}

// All sets are looked at once in slowTick, however many there are, and those that are gone hold nobody up.
func TestEverySetIsLookedAtInItsTurn(t *testing.T) {
	for _, masters := range []int{1, 7, 20, 130} {
		synctest.Test(t, func(t *testing.T) {
			st := raftfsm.New()
			for i := range masters {
				var res raftfsm.Result
				st, res = raftfsm.Apply(st, st.Index()+1, &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
					Name: fmt.Sprintf("m%03d", i), Address: addr(i % 200).Proto(), Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "1"}},
				}}})
				if res.Code != raftfsm.OK {
					t.Fatal(res.Detail)
				}
			}
			d := &duties{sets: map[string]*set{}, due: newDue()}
			looked := map[string]int{}
			pass := func(st *raftfsm.State, ticks int) {
				for range ticks {
					time.Sleep(slowTick / slowShares)
					d.lookOn(st)
					for name := range d.due.other {
						looked[name]++
						d.due.drop(name)
					}
				}
			}
			pass(st, 3*slowShares)
			for m := range st.Masters() {
				if n := looked[m.Name]; n < 2 || n > 4 {
					t.Errorf("%d masters: %s is looked at %d times in 15 s", masters, m.Name, n)
				}
			}
			one, res := raftfsm.Apply(raftfsm.New(), 1, &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
				Name: "alone", Address: addr(1).Proto(), Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "1"}},
			}}})
			if res.Code != raftfsm.OK {
				t.Fatal(res.Detail)
			}
			pass(one, 2*slowShares)
			if looked["alone"] == 0 {
				t.Errorf("%d masters are gone, and the one that is left was not looked at for 10 s", masters)
			}
		})
	}
}
