package instance

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
)

// Attend reads, after [Conn.Settle], the replies to the PINGs that [Conn.Nudge] sends meanwhile from another goroutine, and hands each over with
// its round trip, until heard wants no more: then it returns nil. So one goroutine can send over many connections while the
// reader of each only ever waits for bytes. A break ends it at once, as it ends [Conn.Idle]. After [Conn.Interrupt] its error is
// [context.Canceled]: the connection is then as good as before, and a reply that is still outstanding is read by [Conn.PingLate].
// After any other error it is useless. Nothing else may be called meanwhile, and Nudge no more once it was interrupted, or heard wants
// no more. It takes no context: what it would cost to have each of thousands end by one is more than a connection's buffers.
func (c *Conn) Attend(heard func(class detector.ReplyClass, rtt time.Duration) bool) error {
	err := c.failed
	for err == nil {
		if err = c.hear(heard); errors.Is(err, errHeardEnough) {
			return nil
		}
	}
	return c.attended(err)
}

// errHeardEnough ends an Attend whose listener wants no more.
var errHeardEnough = errors.New("heard enough")

// Settle makes the connection ready for [Conn.Attend], before others may call [Conn.Nudge] or [Conn.Interrupt]: an interruption that
// comes before the listening has begun ends it at its beginning.
func (c *Conn) Settle() {
	c.in.limit = maxReply
	c.out = nil
	_ = c.net.SetDeadline(time.Time{}) // fails only where closed, which the listener finds out
}

// Interrupt ends an [Conn.Attend] from another goroutine; it does nothing to what is asked afterwards.
func (c *Conn) Interrupt() {
	_ = c.net.SetReadDeadline(time.Unix(1, 0)) // fails only where closed, which unblocks as well
}

// hear takes one reply.
func (c *Conn) hear(heard func(detector.ReplyClass, time.Duration) bool) error {
	replies, err := c.next()
	if err != nil {
		return err
	}
	sent := c.nudged.Load()
	if sent == 0 {
		return errUnasked
	}
	// Until its reply is accounted for, no other PING is sent.
	defer c.nudged.Store(0)
	c.rtt = time.Since(c.born) - time.Duration(sent-1)
	if class, _ := pong(single(replies, nil)); !heard(class, c.rtt) {
		return errHeardEnough
	}
	return nil
}

// attended makes of what ended the listening what Attend tells. After an interruption an outstanding reply is one to be read late.
func (c *Conn) attended(err error) error {
	sent := c.nudged.Swap(0)
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.failed != nil {
		c.failed = err
		return c.fault([]string{"ping"}, err)
	}
	if sent != 0 {
		c.outstanding(sent, 1)
	}
	return context.Canceled
}

// next waits for the next reply. The wait is not the parser's: it is long, and a parser's stack is deep.
func (c *Conn) next() ([]any, error) {
	if err := c.in.begin(); err != nil {
		return nil, err
	}
	if err := c.in.fill(); err != nil {
		return nil, err
	}
	return c.in.replies(1)
}

// Outstanding tells whether the reply to a nudge has not come: while the connection dozes, and after Wake, or Attend, ended before it came.
func (c *Conn) Outstanding() bool { return c.waiting > 0 || c.nudged.Load() != 0 }

// plainPing is PING as most instances call it.
var plainPing = appendCommand(nil, "PING", nil)

// Nudge sends a PING to whose reply [Conn.Attend] listens, or which [Conn.PingCame] looks for, and tells whether it did: not while one is
// outstanding, and not over a connection that does not take it, which is broken.
func (c *Conn) Nudge() bool {
	if !c.claim() {
		return false
	}
	ping := plainPing
	if len(c.rename) > 0 {
		ping = appendCommand(nil, c.called("PING"), nil)
	}
	return c.send(ping)
}

// claim begins an exchange by nudge, where none is under way.
func (c *Conn) claim() bool { return c.nudged.CompareAndSwap(0, int64(time.Since(c.born))+1) }
