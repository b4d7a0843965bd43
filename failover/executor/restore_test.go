package executor

import (
	"slices"
	"strings"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// A set whose state is old, because a backup was restored or the survivor of a lost cluster had lagged behind, is compared with
// its instances before anything is done about it: nobody is demoted or repointed on what was true once.
func TestOldStateIsComparedFirst(t *testing.T) {
	for _, c := range []struct {
		name string
		// since is what has happened since the state was true.
		since func(w *world, all []*fakeredis.Instance)
		// master is whom the cluster ends with; held that it decides nothing.
		master int
		held   bool
		// replicas are those that are left.
		replicas []int
	}{
		{
			name: "nothing", since: func(*world, []*fakeredis.Instance) {},
			master: 1, replicas: []int{2, 3},
		},
		{
			name: "another was promoted, and the old master follows it",
			since: func(w *world, all []*fakeredis.Instance) {
				w.hand(all[1], "NO", "ONE")
				w.hand(all[0], addr(2).Host, "6379")
				w.hand(all[2], addr(2).Host, "6379")
			},
			master: 2, replicas: []int{1, 3},
		},
		{
			name: "another was promoted, and the old master is down",
			since: func(w *world, all []*fakeredis.Instance) {
				all[0].Crash()
				w.hand(all[1], "NO", "ONE")
				w.hand(all[2], addr(2).Host, "6379")
				all[1].Write(500)
			},
			master: 2, replicas: []int{1, 3},
		},
		{
			// The old one lists nobody: what it lacks must not be taken for having left.
			name: "another was promoted, and the old master came back as a master",
			since: func(w *world, all []*fakeredis.Instance) {
				all[0].Crash()
				w.hand(all[1], "NO", "ONE")
				w.hand(all[2], addr(2).Host, "6379")
				all[1].Write(500)
				all[0].Restart(false)
			},
			master: 1, held: true, replicas: []int{2, 3},
		},
		{
			name: "the address of a replica is another master's replica",
			since: func(w *world, all []*fakeredis.Instance) {
				w.net.Add("10.0.9.9:6379").Write(9000)
				all[2].Crash()
				all[2].Restart(true)
				w.hand(all[2], "10.0.9.9", "6379")
			},
			master: 1, replicas: []int{2},
		},
	} {
		for _, by := range []string{"restore", "recover"} {
			t.Run(c.name+", "+by, func(t *testing.T) {
				play(t, func(t *testing.T, w *world) {
					all := w.redis(2)
					old := w.nodes["a"].State()
					c.since(w, all)
					w.pass(20 * time.Second)
					before := len(w.commands())
					w.back(old, by)
					w.lead("a", nil)
					if by == "restore" {
						w.pass(20 * time.Second)
						if got := w.commands()[before:]; len(got) > 0 || w.master().Address != addr(1) || len(w.master().Instances) != 3 {
							t.Fatalf("done while it is paused: %v, %+v", got, w.master())
						}
						w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: "m"}}})
					}
					if c.held {
						w.until("held", 30*time.Second, func() bool { return w.master().Hold != nil })
					} else {
						w.until("settled", 30*time.Second, func() bool { return !w.master().Restored })
					}
					w.pass(30 * time.Second)
					m := w.master()
					if m.Address != addr(c.master) || (m.Hold != nil) != c.held {
						t.Errorf("master %s, hold %+v", m.Address, m.Hold)
					}
					if got := w.commands()[before:]; len(got) > 0 {
						t.Errorf("commands:\n%s", strings.Join(got, "\n"))
					}
					var replicas []raftfsm.Addr
					for _, n := range c.replicas {
						replicas = append(replicas, addr(n))
					}
					var left []raftfsm.Addr
					for _, in := range m.Replicas() {
						left = append(left, in.Addr)
					}
					if !slices.Equal(left, replicas) {
						t.Errorf("replicas %v, want %v", left, replicas)
					}
				})
			})
		}
	}
}

// back takes the cluster back to an old state of it. Only one node goes on after a recovery.
func (w *world) back(old *raftfsm.State, by string) {
	w.t.Helper()
	if by == "restore" {
		b := raftfsm.Backup{State: old, TakenAtMs: time.Now().UnixMilli()}
		restore, err := b.Restore("era-2", true)
		if err != nil {
			w.t.Fatal(err)
		}
		w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Restore{Restore: restore}})
		return
	}
	w.kill("b")
	w.kill("c")
	w.mu.Lock()
	w.state = raftfsm.Recover(old, w.state.Index()+1, "c2", []raftfsm.Server{{ID: "a", Address: "a:1", Voter: true}}, time.Now().UnixMilli())
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	w.must(&raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{Name: "m", Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "1"}}}}})
}
