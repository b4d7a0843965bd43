package goredis

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// conn is a connection to the master that the follower can drop.
type conn struct {
	net.Conn
	follower *follower
	// answered: at least one byte came from the server.
	answered atomic.Bool
	// used: more than go-redis's handshake was sent.
	used atomic.Bool
	// dropped is why, once the follower has dropped it.
	dropped atomic.Pointer[error]
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.answered.Store(true)
	}
	return n, c.explain(err)
}

func (c *conn) Write(b []byte) (int, error) {
	if !c.used.Load() && !ofHandshake(b) {
		c.used.Store(true)
	}
	n, err := c.Conn.Write(b)
	return n, c.explain(err)
}

// go-redis sets a deadline before it reads or writes, and takes its error for theirs.

func (c *conn) SetDeadline(t time.Time) error { return c.explain(c.Conn.SetDeadline(t)) }

func (c *conn) SetReadDeadline(t time.Time) error { return c.explain(c.Conn.SetReadDeadline(t)) }

func (c *conn) SetWriteDeadline(t time.Time) error { return c.explain(c.Conn.SetWriteDeadline(t)) }

// explain says what has really happened to a dropped connection. A broken one is trouble; a timeout may be a subscriber's
// patience.
func (c *conn) explain(err error) error {
	if err == nil {
		return nil
	}
	if why := c.dropped.Load(); why != nil {
		err = fmt.Errorf("%w: %w", *why, err)
	} else if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.follower.doubt()
	}
	if !c.used.Load() {
		err = &unusedError{err}
	}
	return err
}

// Close closes it. One that is given up before the server has said a word is trouble.
func (c *conn) Close() error {
	c.follower.forget(c)
	if !c.answered.Load() && c.dropped.Load() == nil {
		c.follower.doubt()
	}
	return c.Conn.Close()
}

// drop makes whatever waits on the connection fail at once. Under TLS, Close would first say farewell to a master that may
// be gone, and wait for that.
func (c *conn) drop(why error) {
	c.dropped.Store(&why)
	raw := c.Conn
	if over, ok := raw.(interface{ NetConn() net.Conn }); ok {
		raw = over.NetConn()
	}
	_ = raw.Close()
}

// SyscallConn lets go-redis find out that an idle connection was dropped, before it is used. It looks at nothing else.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if plain, ok := c.Conn.(syscall.Conn); ok {
		return plain.SyscallConn()
	}
	return opaque{c}, nil
}

// opaque stands for a socket under TLS, where bytes that wait are no replies.
type opaque struct{ c *conn }

func (o opaque) err() error {
	if o.c.dropped.Load() != nil {
		return net.ErrClosed
	}
	return nil
}

func (o opaque) Control(func(uintptr)) error    { return o.err() }
func (o opaque) Read(func(uintptr) bool) error  { return o.err() }
func (o opaque) Write(func(uintptr) bool) error { return o.err() }
