package resp

import (
	"sync"
	"sync/atomic"
	"time"
)

// traffic counts what went over a connection, or over several.
type traffic struct{ commands, errors, reads, writes, in, out atomic.Int64 }

func (t *traffic) add(o *traffic) {
	t.commands.Add(o.commands.Load())
	t.errors.Add(o.errors.Load())
	t.reads.Add(o.reads.Load())
	t.writes.Add(o.writes.Load())
	t.in.Add(o.in.Load())
	t.out.Add(o.out.Load())
}

// total is the traffic of all connections that ever were, and how many were accepted and rejected.
func (s *Server) total() (t *traffic, accepted, rejected int64) {
	t = new(traffic)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.add(&s.past)
	for _, c := range s.conns {
		t.add(&c.traffic)
	}
	return t, s.lastID + s.rejected, s.rejected
}

// rate is per second.
type rate struct{ commands, in, out float64 }

// rates tell how much goes on now: since the INFO before, at least rateSpan ago.
type rates struct {
	mu   sync.Mutex
	at   time.Time
	from [3]int64
	last rate
}

const rateSpan = time.Second

func (r *rates) now(now time.Time, t *traffic) rate {
	r.mu.Lock()
	defer r.mu.Unlock()
	span := now.Sub(r.at).Seconds()
	if span < rateSpan.Seconds() {
		return r.last
	}
	sums := [3]int64{t.commands.Load(), t.in.Load(), t.out.Load()}
	per := func(i int) float64 { return float64(sums[i]-r.from[i]) / span }
	r.last = rate{per(0), per(1), per(2)}
	r.at, r.from = now, sums
	return r.last
}
