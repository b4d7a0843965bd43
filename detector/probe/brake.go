package probe

import (
	"fmt"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// brakeRetry is how often a node that withholds verdicts asks itself again.
const brakeRetry = 100 * time.Millisecond

// Braked is why this node withholds its verdicts, doubting itself; "" where it does not.
func (f *Fleet) Braked() string {
	if reason := f.braked.Load(); reason != nil {
		return *reason
	}
	return ""
}

// brake tells whether new verdicts are to be withheld, and makes it known. The reporter alone calls it.
func (r *reporter) brake(s *raftfsm.State) bool {
	now := time.Now()
	c := r.census(s, now)
	if !r.doubts.Judge(now, c, s.Settings().BrakePercent) {
		r.release()
		return false
	}
	if r.f.braked.Load() == nil {
		reason := fmt.Sprintf("%d of %d masters do not answer this node, nor does anything else: it doubts itself and reports none of them "+
			"until something answers; the setting failover-brake is the share, 0 = off", c.Silent, c.Masters)
		r.f.braked.Store(&reason)
		r.f.o.Log.Warn("verdicts withheld: this node reaches nothing", "masters", c.Masters, "silent", c.Silent,
			"failover_brake_percent", s.Settings().BrakePercent)
	}
	return true
}

// census serves for a tenth of the shortest down-after where nothing is withheld: what is silent was so long before
// its verdict falls, and with hundreds of verdicts in a second all instances would be looked at for each.
func (r *reporter) census(s *raftfsm.State, now time.Time) detector.Census {
	trusts := r.f.braked.Load() == nil
	if !trusts || now.Sub(r.countedAt) >= time.Duration(r.f.impatience.Load())/10 {
		r.countedAt, r.counted = now, r.f.count(s, now)
		r.counted.Reached = !r.doubts.Asks(r.counted, s.Settings().BrakePercent) || r.f.reaches(s, now, trusts)
	}
	return r.counted
}

// release ends the doubt: this node reaches something again, or has nothing to withhold.
func (r *reporter) release() {
	r.doubts.Release()
	if r.f.braked.Swap(nil) != nil {
		r.f.o.Log.Info("verdicts are withheld no more")
	}
}

// count counts the masters and, of those, the silent.
func (f *Fleet) count(s *raftfsm.State, now time.Time) (c detector.Census) {
	for m := range s.Masters() {
		c.Masters++
		if w, ok := f.watch(m.Address); ok && !w.reached(now) {
			c.Silent++
		}
	}
	return c
}

// reaches tells whether an answer shows that the way to those that are silent is there. An instance on this node's own machine shows nothing
// of the way to others, so that it counts only where all that is silent is here too. brief: one answer from elsewhere settles the matter, and
// nobody else is looked at.
func (f *Fleet) reaches(s *raftfsm.State, now time.Time, brief bool) (reached bool) {
	self, _ := s.Node(f.o.Cluster.RaftID())
	here, away := false, false // something here answers; some master elsewhere is silent
	for m := range s.Masters() {
		for _, in := range m.Instances {
			w, ok := f.watch(in.Addr)
			if !ok {
				continue
			}
			local := isLocal(in, self)
			switch {
			case !w.reached(now):
				away = away || in.Addr == m.Address && !local
			case local:
				here = true
			case brief:
				return true
			default:
				reached = true
			}
		}
	}
	return reached || here && !away
}

// reached tells whether an instance that is not held down has answered within its last two probe periods.
func (w *watch) reached(now time.Time) bool {
	seen := w.sight.Load()
	return !seen.obs.Down && !seen.obs.LastAnyReply.IsZero() && now.Sub(seen.obs.LastAnyReply) <= 2*stretched(seen.plan.period(), seen.plan.limits.DownAfter, w.f.yielding.Load())
}

// isLocal tells whether an instance is on the machine of a node, as far as their addresses show it.
func isLocal(in raftfsm.Instance, n *raftfsm.Node) bool {
	if in.Addr.IsLoopback() {
		return true
	}
	if n == nil {
		return false
	}
	for _, a := range []raftfsm.Addr{n.Raft, n.GRPC, n.RESP} {
		if a.Host != "" && (a.Host == in.Addr.Host || a.Host == in.IP) {
			return true
		}
	}
	return false
}
