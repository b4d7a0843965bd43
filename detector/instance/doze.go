package instance

import (
	"cmp"
	"errors"
	"os"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
)

// socket is a connection's own while it dozes.
type socket struct {
	fd     int
	breaks *Breaks // nil while it does not doze
}

// Doze leaves the connection to the kernel: no goroutine waits for it, and Go's runtime is not told of what arrives, which is most of what a
// PING costs. Meanwhile [Conn.Nudge] and [Conn.NudgeInfo] ask, [Conn.PingCame] and [Conn.InfoCame] look for the reply, and broken is called,
// by the goroutine of b, once the instance closes its end or the connection fails, which [Conn.Broken] explains; nothing else may be called but
// [Conn.Outstanding], [Conn.Wake] and Close, and one at a time. It returns false, and does nothing, where that is not possible: with TLS, in
// tests without sockets, and on other systems than Linux.
func (c *Conn) Doze(b *Breaks, broken func()) bool {
	if c.failed != nil || c.in.begin() != nil {
		return false
	}
	fd, ok := b.take(c.net, broken)
	if !ok {
		return false
	}
	c.net, c.socket = nil, socket{fd: fd, breaks: b}
	c.in = reader{src: (*dozing)(c), limit: maxReply}
	c.out = nil
	return true
}

// Wake ends the dozing. A reply that is outstanding is read by [Conn.PingLate] or [Conn.InfoLate] then. After an error the connection is
// useless.
func (c *Conn) Wake() error {
	sent, replies := c.nudged.Swap(0), 1
	if c.inform {
		replies = len(c.infos())
	}
	c.inform = false
	if c.failed == nil {
		c.net, c.failed = c.socket.give()
		c.in.src, c.socket = c.net, socket{}
	}
	if c.failed != nil {
		return c.fault([]string{"ping"}, c.failed)
	}
	if sent != 0 {
		c.outstanding(sent, replies)
	}
	return nil
}

// Broken tells why a connection that dozes broke, once its break was told and what was asked before is read; nil where it finds no break after
// all. The connection is useless then, and Wake does no more than to say so.
func (c *Conn) Broken() error {
	_, err := c.socket.read(make([]byte, 1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err == nil:
		err = errUnasked
	}
	c.failed = err
	return c.fault([]string{"idle"}, err)
}

// NudgeInfo is [Conn.Nudge] with an INFO, for a connection that dozes.
func (c *Conn) NudgeInfo() bool {
	if !c.claim() {
		return false
	}
	c.inform = true
	var out []byte
	for _, args := range c.infos() {
		out = appendCommand(out, c.called(args[0]), args[1:])
	}
	return c.send(out)
}

// send sends what a nudge asks. A connection that does not take it whole at once is as good as broken, which who listens finds out; of one
// that dozes Wake says so.
func (c *Conn) send(command []byte) bool {
	if c.net != nil {
		_, _ = c.net.Write(command)
		return true
	}
	n, err := c.socket.write(command)
	if err == nil && n < len(command) {
		err = errStuffed
	}
	if err != nil {
		c.nudged.Store(0)
		c.failed = err
	}
	return err == nil
}

// errStuffed is a socket without room for a PING, although nothing else was sent that was not answered.
var errStuffed = errors.New("the socket takes no more")

// PingCame is [Conn.PingLate] for a connection that dozes: it waits for nothing. Where the reply has not come yet its error is
// [os.ErrDeadlineExceeded].
func (c *Conn) PingCame() (detector.ReplyClass, error) {
	var replies []any
	err := c.came(func() (err error) {
		replies, err = c.in.replies(1)
		return err
	})
	if err != nil {
		return detector.ReplyNone, err
	}
	return pong(single(replies, nil))
}

// InfoCame is the same for an INFO. A refusal is the [ReplyError]. [Conn.RTT] is then what the kernel measures: when the reply came, nobody
// looked.
func (c *Conn) InfoCame() (*detector.Info, error) {
	var a infoReply
	if err := c.came(func() error { return a.read(c) }); err != nil {
		return nil, err
	}
	if _, refused := errors.AsType[ReplyError](a.refused); a.refused != nil && !refused {
		c.failed = a.refused
	}
	return a.info, a.refused
}

// came reads the reply to a nudge as far as it has come.
func (c *Conn) came(read func() error) error {
	if c.nudged.Load() == 0 {
		return c.fault([]string{"late reply"}, errNotLate)
	}
	if c.in.buf == nil {
		c.in.buf = larger(keptBuffer) // shared, and enough for any usual reply: one read takes it
	}
	err := read()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if len(c.in.buf) == 0 {
			c.in.giveBack()
		}
		return err
	}
	c.nudged.Store(0)
	if err == nil {
		err = c.in.begin()
	}
	if err != nil {
		c.failed = err
		return c.fault([]string{"ping"}, err)
	}
	if c.inform {
		c.inform = false
		c.rtt = cmp.Or(c.socket.roundTrip(), c.rtt)
	}
	return nil
}

// dozing reads what has come, of a connection that dozes.
type dozing Conn

// Read implements [io.Reader]; where nothing has come its error is [os.ErrDeadlineExceeded].
func (d *dozing) Read(b []byte) (int, error) { return d.socket.read(b) }

// outstanding makes the replies to a nudge such as are read late. sent is when it was sent, as in Conn.nudged.
func (c *Conn) outstanding(sent int64, replies int) {
	c.sent, c.waiting, c.failed = c.born.Add(time.Duration(sent-1)), replies, os.ErrDeadlineExceeded
}
