package probe

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// stalled is a connection of a process that stalls until a moment: a read that is under way comes back only then, with an
// exceeded deadline, and what has arrived meanwhile waits for the next read.
type stalled struct {
	net.Conn
	until *atomic.Int64
	// arrived is what waits. Only one goroutine reads a connection.
	arrived []byte
}

func (s *stalled) Read(b []byte) (int, error) {
	if len(s.arrived) > 0 {
		n := copy(b, s.arrived)
		s.arrived = s.arrived[n:]
		return n, nil
	}
	n, err := s.Conn.Read(b)
	left := time.Until(time.Unix(0, s.until.Load()))
	if left <= 0 {
		return n, err
	}
	time.Sleep(left)
	s.arrived = append(s.arrived, b[:n]...)
	return 0, os.ErrDeadlineExceeded
}

func stalling(until *atomic.Int64) func(n *fakeredis.Net) func(context.Context, string, string) (net.Conn, error) {
	return func(n *fakeredis.Net) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &stalled{Conn: c, until: until}, nil
		}
	}
}

func TestLateDeadlineWithTheAnswerWaiting(t *testing.T) {
	var until atomic.Int64
	inEmptyRoom(t, stalling(&until), func(r *room) {
		r.net.Add(master)
		r.law.monitor("m", master)
		r.start()
		time.Sleep(time.Second)
		for range 5 {
			until.Store(time.Now().Add(3 * time.Second).UnixNano())
			time.Sleep(4 * time.Second)
			if o := r.observe(master); o.Down {
				t.Fatalf("%+v", o)
			}
		}
		if n := r.verdicts.n.Load(); n != 0 {
			t.Errorf("%d verdicts", n)
		}
	})
}

// Where the stall is too short to doubt anything by its length, the answer that arrived in it still counts.
func TestAnswerThatArrivedInAShortStall(t *testing.T) {
	var until atomic.Int64
	inEmptyRoom(t, stalling(&until), func(r *room) {
		i := r.net.Add(master)
		r.law.monitor("m", master)
		r.start()
		time.Sleep(time.Second)
		i.Hang()
		for r.observe(master).LastPingSent.IsZero() {
			time.Sleep(time.Millisecond)
		}
		sent := r.observe(master).LastPingSent
		time.Sleep(time.Until(sent.Add(600 * time.Millisecond)))
		until.Store(sent.Add(1050 * time.Millisecond).UnixNano())
		time.Sleep(100 * time.Millisecond)
		i.Resume()
		time.Sleep(2 * time.Second)
		if o := r.observe(master); o.Down || r.verdicts.n.Load() != 0 {
			t.Errorf("%+v, %d verdicts", o, r.verdicts.n.Load())
		}
	})
}

// A pause of the process that swallowed part of a silence is not counted.
func TestPauseOfTheProcessIsNotCounted(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Crash()
		time.Sleep(900 * time.Millisecond)
		w, _ := r.fleet.watch(addrOf(master))
		w.paused(99 * time.Millisecond)
		w.paused(300 * time.Millisecond)
		if took := r.downAfter(master, 2*time.Second); took != time.Second {
			t.Errorf("the verdict fell %v after the pause, want down-after", took)
		}
	})
	inRoom(t, func(r *room) {
		r.at(master).Crash()
		r.downAfter(master, 2*time.Second)
		w, _ := r.fleet.watch(addrOf(master))
		w.paused(time.Minute)
		synctest.Wait()
		if !r.observe(master).Down {
			t.Error("a pause took a verdict back")
		}
	})
}

// A deadline that fires late, or while the process's own pulse is missing, counts afresh instead of judging.
func TestLateDeadlineIsDoubted(t *testing.T) {
	for name, stall := range map[string]func(*Fleet) (planned time.Time){
		"late": func(*Fleet) time.Time { return time.Now().Add(-101 * time.Millisecond) },
		"no pulse": func(f *Fleet) time.Time {
			f.pulse.Lock()
			defer f.pulse.Unlock()
			f.pulse.Beat(time.Now().Add(-250 * time.Millisecond))
			return time.Now()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inRoom(t, func(r *room) {
				w, _ := r.fleet.watch(addrOf(master))
				w.mu.Lock()
				w.track.Broken(time.Now().Add(-2*time.Second), raftfsm.CauseRefused)
				w.judge(time.Now(), stall(r.fleet))
				deadline, ok := w.track.Deadline(w.plan.limits)
				w.mu.Unlock()
				if !ok || time.Until(deadline) != time.Second || r.verdicts.n.Load() != 0 {
					t.Errorf("deadline in %v %v, %d verdicts", time.Until(deadline), ok, r.verdicts.n.Load())
				}
			})
		})
	}
}

// A firewall that forgets an established flow is no death: a second connection is tried at half of down-after.
func TestSecondConnection(t *testing.T) {
	var mute atomic.Pointer[net.Conn]
	inEmptyRoom(t, func(n *fakeredis.Net) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return muted{c, &mute}, nil
		}
	}, func(r *room) {
		r.net.Add(master)
		r.law.monitor("m", master)
		r.start()
		for range 10 {
			time.Sleep(time.Second)
			mute.Store(new(net.Conn)) // whoever reads next is cut off for ever
			time.Sleep(650 * time.Millisecond)
			if o := r.observe(master); o.Down || time.Since(o.LastReply) > 150*time.Millisecond {
				t.Fatalf("silent for %v: %+v", time.Since(o.LastReply), o)
			}
			if n := len(r.at(master).Clients()); n != 1 {
				t.Fatalf("%d connections", n)
			}
		}
		if n := r.verdicts.n.Load(); n != 0 {
			t.Errorf("%d verdicts", n)
		}
	})
}

// muted drops what the first connection that writes after mute was set would send.
type muted struct {
	net.Conn
	mute *atomic.Pointer[net.Conn]
}

func (m muted) Write(b []byte) (int, error) {
	if c := m.mute.Load(); c != nil {
		if *c == nil {
			own := m.Conn
			m.mute.Store(&own)
			return len(b), nil
		}
		if *c == m.Conn {
			return len(b), nil
		}
	}
	return m.Conn.Write(b)
}
