package probe

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// inHall runs a test with so many masters, each with a replica on a machine of its own, and a fleet that has found them all.
func inHall(t *testing.T, masters int, test func(*room)) {
	t.Helper()
	inEmptyRoom(t, nil, func(r *room) {
		for n := range masters {
			r.net.Add(hallMaster(n))
			r.net.Add(hallReplica(n)).Replicate(addrOf(hallMaster(n)))
			r.law.monitor(fmt.Sprintf("m%02d", n), hallMaster(n))
		}
		r.start()
		time.Sleep(3 * time.Second)
		test(r)
	})
}

func hallMaster(n int) string  { return fmt.Sprintf("10.1.0.%d:6379", n+1) }
func hallReplica(n int) string { return fmt.Sprintf("10.2.0.%d:6379", n+1) }

// held counts the masters that the state says this node holds down.
func (r *room) held() (n int) {
	synctest.Wait()
	for m := range r.law.State().Masters() {
		n += len(r.law.votes(m.Address.String()))
	}
	return n
}

// cut takes this node's way to instances away, or gives it back.
func (r *room) cut(on bool, at ...string) {
	for _, a := range at {
		if on {
			r.net.Drop("a", addrOf(a))
		} else {
			r.net.Heal("a", addrOf(a))
		}
	}
}

func everything(masters int) (all []string) {
	for n := range masters {
		all = append(all, hallMaster(n), hallReplica(n))
	}
	return all
}

// A node whose own network is cut stays silent about all of it, says why, and goes on as if nothing had been when it is back.
func TestBrakeWithholdsVerdicts(t *testing.T) {
	const masters = 20
	inHall(t, masters, func(r *room) {
		r.cut(true, everything(masters)...)
		r.downAfter(hallMaster(0), 3*time.Second)
		time.Sleep(time.Minute)
		if n := r.held(); n != 0 || len(r.law.reports()) != 0 {
			t.Errorf("%d masters are reported, by %d reports", n, len(r.law.reports()))
		}
		if why := r.fleet.Braked(); !strings.Contains(why, "20 of 20 masters") || !strings.Contains(why, "failover-brake") {
			t.Errorf("braked: %q", why)
		}
		r.cut(false, everything(masters)...)
		time.Sleep(10 * time.Second)
		if n := r.held(); n != 0 || len(r.law.reports()) != 0 || r.fleet.Braked() != "" {
			t.Errorf("afterwards %d are held down, by %d reports; braked: %q", n, len(r.law.reports()), r.fleet.Braked())
		}
	})
}

// Whatever may be down: as long as anything elsewhere answers, or the share is not reached, or an operator has said so, it is
// reported, all of it and in time.
func TestBrakeLetsGo(t *testing.T) {
	all := everything
	onlyMasters := func(masters int) (out []string) {
		for n := range masters {
			out = append(out, hallMaster(n))
		}
		return out
	}
	for _, c := range []struct {
		name    string
		masters int
		dead    func(masters int) []string
		before  func(*room)
		want    int
	}{
		{"a rack with every master", 20, onlyMasters, nil, 20},
		{"all but one replica", 20, func(n int) []string { return all(n)[:2*n-1] }, nil, 20},
		{"few masters", 9, all, nil, 9},
		{"half of them", 20, func(n int) []string { return all(n)[:n] }, nil, 10},
		{"off", 20, all, func(r *room) { r.law.brake("0") }, 20},
		{"another share", 20, all, func(r *room) { r.law.brake("100") }, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			inHall(t, c.masters, func(r *room) {
				if c.before != nil {
					c.before(r)
				}
				r.cut(true, c.dead(c.masters)...)
				time.Sleep(1500 * time.Millisecond)
				if n := r.held(); n != c.want || r.fleet.Braked() != "" {
					t.Errorf("%d masters are reported, want %d; braked: %q", n, c.want, r.fleet.Braked())
				}
			})
		})
	}
}

// The doubt ends, and what is really down is reported: by an operator's word, or because something answers again and goes on
// doing so.
func TestBrakeIsReleased(t *testing.T) {
	const masters = 12
	for name, release := range map[string]func(*room){
		"by an operator":    func(r *room) { r.law.brake("0") },
		"something answers": func(r *room) { r.cut(false, hallReplica(3)) },
	} {
		t.Run(name, func(t *testing.T) {
			inHall(t, masters, func(r *room) {
				r.cut(true, everything(masters)...)
				time.Sleep(10 * time.Second)
				if n := r.held(); n != 0 {
					t.Fatalf("%d masters are reported", n)
				}
				release(r)
				time.Sleep(6 * time.Second)
				if n := r.held(); n != masters || r.fleet.Braked() != "" {
					t.Errorf("%d masters are reported; braked: %q", n, r.fleet.Braked())
				}
			})
		})
	}
}

// An instance on the node's own machine answers over no network, and proves nothing where others are silent.
func TestBrakeIgnoresTheOwnMachine(t *testing.T) {
	const masters = 12
	inHall(t, masters, func(r *room) {
		at := addrOf(hallReplica(5))
		r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{
			RaftId: "a", NodeId: "a", MaxLevel: raftfsm.Level, Raft: raftfsm.Addr{Host: at.Host, Port: 26579}.Proto(),
		}}})
		var away []string
		for _, a := range everything(masters) {
			if addrOf(a) != at {
				away = append(away, a)
			}
		}
		r.cut(true, away...)
		time.Sleep(10 * time.Second)
		if n := r.held(); n != 0 || r.fleet.Braked() == "" {
			t.Errorf("%d masters are reported; braked: %q", n, r.fleet.Braked())
		}
	})
}

func (l *law) brake(percent string) {
	for _, id := range []string{"a", "b", "c"} {
		l.apply(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: id, NodeId: id, MaxLevel: raftfsm.Level}}})
	}
	l.apply(&raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
	l.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Configure{Configure: &raftlogv1.Configure{
		Settings: []*raftlogv1.OptionValue{{Name: "failover-brake", Value: percent}},
	}}})
}
