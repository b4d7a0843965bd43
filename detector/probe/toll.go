package probe

import "sync/atomic"

// toll counts masters, and rings each time manyLost more are counted than when it last rang, or than there were fewest since.
type toll struct {
	n    atomic.Int64
	rang atomic.Int64 // what n was then
	bell func()
}

func (t *toll) add(by int64) {
	t.n.Add(by)
	for {
		was, n := t.rang.Load(), t.n.Load()
		rings := n >= was+manyLost
		if !rings && n >= was {
			return
		}
		if t.rang.CompareAndSwap(was, n) {
			if rings {
				t.bell()
			}
			return
		}
	}
}
