package instance

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
)

// Attend reads the replies to the PINGs that [Conn.Nudge] sends meanwhile from another goroutine, and hands each over with
// its round trip, until heard wants no more: then it returns nil. So one goroutine can send over many connections while the
// reader of each only ever waits for bytes. A break ends it at once, as it ends [Conn.Idle]. At the end of the context its
// error is [context.Canceled]: the connection is then as good as before, and a reply that is still outstanding is read by
// [Conn.PingLate]. After any other error it is useless. Nothing but Nudge may be called meanwhile, and that no more once the
// context has ended or heard wants no more.
func (c *Conn) Attend(ctx context.Context, heard func(class detector.ReplyClass, rtt time.Duration) bool) error {
	what := []string{"ping"}
	if c.failed != nil {
		return c.fault(what, c.failed)
	}
	c.in.limit = maxReply
	err := c.listen(ctx, heard)
	switch sent := c.nudged.Swap(0); {
	case err == nil:
		return nil
	case !errors.Is(err, context.Canceled):
		c.failed = err
		return c.fault(what, err)
	case sent != 0:
		c.sent, c.waiting, c.failed = c.born.Add(time.Duration(sent)), 1, os.ErrDeadlineExceeded
	}
	return err
}

// listen is Attend up to the end of the listening. Only reading is cut short: a PING that is being sent goes out whole.
func (c *Conn) listen(ctx context.Context, heard func(detector.ReplyClass, time.Duration) bool) error {
	if err := c.net.SetDeadline(time.Time{}); err != nil {
		return err
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = c.net.SetReadDeadline(time.Unix(1, 0)) // fails only where closed, which unblocks as well
	})
	defer func() {
		if !stop() {
			<-done // else it could cut short the next exchange
		}
	}()
	for {
		replies, err := c.next()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return context.Canceled
		case err != nil:
			return err
		}
		sent := c.nudged.Swap(0)
		if sent == 0 {
			return errUnasked
		}
		c.rtt = time.Since(c.born) - time.Duration(sent)
		if class, _ := pong(single(replies, nil)); !heard(class, c.rtt) {
			return nil
		}
	}
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

// Outstanding tells whether Attend ended before the reply to a PING came.
func (c *Conn) Outstanding() bool { return c.waiting > 0 }

// plainPing is PING as most instances call it.
var plainPing = appendCommand(nil, "PING", nil)

// Nudge sends a PING to whose reply [Conn.Attend] listens, and tells whether it did: not while one is outstanding. A
// connection that does not take it is broken, which the listener finds out.
func (c *Conn) Nudge() bool {
	if !c.nudged.CompareAndSwap(0, int64(max(time.Since(c.born), 1))) {
		return false
	}
	ping := plainPing
	if len(c.rename) > 0 {
		ping = appendCommand(nil, c.called("PING"), nil)
	}
	_, _ = c.net.Write(ping)
	return true
}
