package instance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var (
	errBroken   = errors.New("the connection failed before; dial again")
	errNotLate  = errors.New("no reply is outstanding")
	errUnasked  = errors.New("a reply to nothing that was asked")
	errProtocol = errors.New("not the Redis protocol")
	errListens  = errors.New("it listens to a channel")
	errTooLong  = errors.New("a reply longer than allowed")
	errPassword = errors.New("password rejected")
)

// Bounds on one exchange, in bytes. Memory grows with what has arrived, never with what a length announces.
const (
	maxReply      = 1 << 20
	maxClientList = 32 << 20
)

// Conn is one connection. It is for one goroutine at a time, [Conn.Nudge] apart, and useless after its first error that is no [ReplyError],
// except for the Late methods after a deadline.
type Conn struct {
	net     net.Conn
	addr    raftfsm.Addr
	rename  map[string]string
	in      reader
	out     []byte
	rtt     time.Duration
	sent    time.Time
	waiting int // replies of the exchange whose deadline fired while reading; 0 = none
	born    time.Time
	// nudged is when the probe was sent by nudge whose reply is outstanding, in nanoseconds since born, plus 1; 0 = none.
	nudged atomic.Int64
	// sections: it takes several sections in one INFO.
	sections bool
	// inform: the nudge whose reply is outstanding is an INFO.
	inform  bool
	socket  socket
	failed  error // why the connection is useless
	unnamed error // why it does not bear its name
}

// ReplyError is an error reply: the instance lives and says no. Text is the reply without its leading '-'. Inside the
// reply to EXEC it stands as an element.
type ReplyError struct{ Text string }

func (e ReplyError) Error() string { return e.Text }

// Do sends one command and reads its reply: string, int64, nil, []any, or ReplyError as the error. The context's deadline
// is the connection's, and its cancellation ends the wait.
func (c *Conn) Do(ctx context.Context, args ...string) (any, error) {
	replies, err := c.exchange(ctx, maxReply, args)
	return single(replies, err)
}

// ReadLate reads the reply to a command whose deadline fired before its reply was seen, within a fresh deadline. Go reports
// an exceeded deadline even where the answer already waits in the socket: a node that was itself paused must look again
// before it calls an instance silent. It may follow a deadline error of Do, Ping or Role, and its own; after a reply the
// connection is whole again, and [Conn.RTT] counts from when the command was sent.
func (c *Conn) ReadLate(ctx context.Context) (reply any, err error) {
	var replies []any
	err = c.late(ctx, 1, func() (err error) {
		replies, err = c.in.replies(1)
		return err
	})
	return single(replies, err)
}

// Close closes.
func (c *Conn) Close() error {
	if c.failed == nil {
		c.failed = net.ErrClosed
	}
	c.waiting = 0
	if c.net != nil {
		return c.net.Close()
	}
	return c.socket.close()
}

// LocalAddr is the local end.
func (c *Conn) LocalAddr() net.Addr { return c.net.LocalAddr() }

// RTT is the time that the last reply took, from before its command was written.
func (c *Conn) RTT() time.Duration { return c.rtt }

func single(replies []any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if e, ok := replies[0].(ReplyError); ok {
		return nil, e
	}
	return replies[0], nil
}

// exchange sends the commands in one write and reads a reply to each; error replies are elements.
func (c *Conn) exchange(ctx context.Context, limit int, commands ...[]string) (replies []any, err error) {
	err = c.converse(ctx, limit, func() (err error) {
		replies, err = c.in.replies(len(commands))
		return err
	}, commands...)
	return replies, err
}

// converse sends the commands in one write and has read take a reply to each.
func (c *Conn) converse(ctx context.Context, limit int, read func() error, commands ...[]string) error {
	if c.failed != nil {
		return c.fault(commands[0], fmt.Errorf("%w (%w)", errBroken, c.failed))
	}
	if err := ctx.Err(); err != nil {
		return c.fault(commands[0], err) // nothing was sent: the connection is as good as before
	}
	c.out = c.out[:0]
	for _, args := range commands {
		c.out = appendCommand(c.out, c.called(args[0]), args[1:])
	}
	c.sent = time.Now()
	c.in.limit = limit
	written := false
	err := c.within(ctx, func() error {
		if err := c.in.begin(); err != nil {
			return err
		}
		if _, err := c.net.Write(c.out); err != nil {
			return err
		}
		written = true
		return read()
	})
	if cap(c.out) > keptBuffer {
		c.out = nil
	}
	if err != nil {
		c.failed = err
		if written && errors.Is(err, os.ErrDeadlineExceeded) {
			c.waiting = len(commands)
		}
		return c.fault(commands[0], err)
	}
	c.rtt = time.Since(c.sent)
	return nil
}

// late resumes the reading of an exchange of n commands.
func (c *Conn) late(ctx context.Context, n int, read func() error) error {
	what := []string{"late reply"}
	if c.waiting != n {
		return c.fault(what, errNotLate)
	}
	if err := c.within(ctx, read); err != nil {
		c.failed = err
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			c.waiting = 0
		}
		return c.fault(what, err)
	}
	c.failed, c.waiting = nil, 0
	c.rtt = time.Since(c.sent)
	return nil
}

// within runs f under the context's deadline and cancellation. The error of a deadline is both [os.ErrDeadlineExceeded]
// and [context.DeadlineExceeded]; that of a cancellation is [context.Canceled] alone.
func (c *Conn) within(ctx context.Context, f func() error) error {
	deadline, _ := ctx.Deadline()
	if err := c.net.SetDeadline(deadline); err != nil {
		return err
	}
	if ctx.Done() != nil {
		done := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			defer close(done)
			_ = c.net.SetDeadline(time.Unix(1, 0)) // fails only where closed, which unblocks as well
		})
		defer func() {
			if !stop() {
				<-done // else it could cut short the next exchange
			}
		}()
	}
	err := f()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, context.DeadlineExceeded)
}

// fault tells what failed. Of the command only its name is shown: arguments may be secrets.
func (c *Conn) fault(args []string, err error) error {
	return fmt.Errorf("instance %s: %s: %w", c.addr, strings.ToLower(args[0]), err)
}

// called is what the instance calls a command.
func (c *Conn) called(name string) string {
	if to, ok := c.rename[strings.ToLower(name)]; ok {
		return to
	}
	return name
}
