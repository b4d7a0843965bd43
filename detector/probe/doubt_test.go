package probe

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// stalled is a connection whose process was not there: a read begun before the stall comes back after it with an exceeded
// deadline, though the answer has arrived meanwhile.
type stalled struct {
	net.Conn
	until *atomic.Int64
}

func (s stalled) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	until := time.Unix(0, s.until.Load())
	if left := time.Until(until); left > 0 {
		time.Sleep(left)
		if err == nil {
			// the reply stays in the socket for the next read
			return 0, s.hide(b[:n])
		}
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

var hidden = map[net.Conn][]byte{}

func (s stalled) hide(b []byte) error {
	hidden[s.Conn] = append([]byte(nil), b...)
	return os.ErrDeadlineExceeded
}

type waiting struct{ stalled }

func (w waiting) Read(b []byte) (int, error) {
	if data, ok := hidden[w.Conn]; ok {
		delete(hidden, w.Conn)
		return copy(b, data), nil
	}
	return w.stalled.Read(b)
}

func TestLateDeadlineWithTheAnswerWaiting(t *testing.T) {
	var until atomic.Int64
	inEmptyRoom(t, func(n *fakeredis.Net) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := n.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return waiting{stalled{c, &until}}, nil
		}
	}, func(r *room) {
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
		if n := len(r.law.reports()); n != 0 {
			t.Errorf("%d reports", n)
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
		if n := len(r.law.reports()); n != 0 {
			t.Errorf("%d reports", n)
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
