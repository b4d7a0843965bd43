package resp

import (
	"bytes"
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// writeLimit bounds how long a client may leave unread what waits for it.
	writeLimit = 10 * time.Second
	// messageLimit bounds the messages that wait for one subscriber, in bytes. They are shared by all whom they wait for.
	messageLimit = 1 << 20
	// bufferSize is what a connection reads into, and answers from, while it has something to do.
	bufferSize = 16 << 10
)

// buffers are lent to connections that have something to do: one that waits holds none.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func borrow() []byte { return buffers.Get().(*[bufferSize]byte)[:0] }

// giveBack takes a buffer back; one that has grown is let go.
func giveBack(b []byte) {
	if cap(b) == bufferSize {
		buffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}

// conn is one connection. Its own goroutine reads, runs commands and answers; the messages that it subscribed to come from
// others. A goroutine that waits for its socket waits in [syscall.RawConn.Read], and reads and writes the socket itself, so
// that a request costs two system calls and one that finds nothing more to read.
type conn struct {
	s   *Server
	nc  net.Conn
	ctx context.Context // carries who asks, and ends with the connection
	// raw and fd are those of a socket; raw is nil where nc is none. Only the connection's own goroutine closes nc, after ended
	// was set under mu: who holds mu and finds it not set may use them.
	raw syscall.RawConn
	fd  uintptr

	cancel context.CancelFunc

	id            int64
	addr, laddr   string
	began         time.Time
	parser        parser
	in, out       []byte // what has come and is not used yet; answers not sent yet
	proto         int    // 2 or 3
	quit          bool   // to be closed once what is answered so far has left
	mute          bool   // CLIENT REPLY OFF
	skip          bool   // CLIENT REPLY SKIP was before: this reply is not sent
	skipNext      bool
	subscriptions subscriptions
	tracking      tracking
	last          string // the command that was run last
	// st is what the look-ups that came together are answered from; nil where the next one takes the state anew.
	st      *raftfsm.State
	traffic traffic

	mu   sync.Mutex
	told clientTold
	// queue is what the socket would not take at once, in order, queued its size, and messages the size of what no command
	// asked for. drained is there while a goroutine writes the queue, and closed when it is empty.
	queue            []waiting
	queued, messages int
	drained          chan struct{}
	// ended is set under mu.
	ended atomic.Bool
}

// waiting is what waits for the socket.
type waiting struct {
	bytes   []byte
	message bool
}

// clientTold is what CLIENT LIST tells of a connection; guarded by mu.
type clientTold struct {
	name, libName, libVersion string
	command                   string
	at                        time.Time
	proto                     int
	channels, patterns        int
	unread                    int // bytes of a command whose rest is still to come
	tracking                  bool
}

func newConn(ctx context.Context, s *Server, id int64, nc net.Conn) *conn {
	now := time.Now()
	c := &conn{
		s: s, nc: nc, id: id, addr: nc.RemoteAddr().String(), laddr: nc.LocalAddr().String(), began: now, proto: 2, last: "NULL",
		told: clientTold{at: now, proto: 2, command: "NULL"},
	}
	c.ctx, c.cancel = context.WithCancel(api.WithActor(ctx, peerName(nc.RemoteAddr())))
	if socket, ok := nc.(syscall.Conn); ok {
		if raw, err := socket.SyscallConn(); err == nil && raw.Control(func(fd uintptr) { c.fd = fd }) == nil {
			c.raw = raw
		}
	}
	return c
}

// serve runs until the connection ends, and closes it.
func (c *conn) serve() {
	defer c.close()
	if c.raw != nil {
		_ = c.raw.Read(c.readable)
		return
	}
	for {
		n, err := c.nc.Read(c.room())
		if n > 0 && !c.took(n) || err != nil {
			return
		}
		c.rest()
	}
}

// readable reads and answers until nothing more has come, or tells that the connection is done.
func (c *conn) readable(fd uintptr) (done bool) {
	for {
		n, errno := readSocket(fd, c.room())
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			c.rest()
			return false
		case errno != 0 || n == 0 || !c.took(n):
			return true
		}
	}
}

// room is where to read to.
func (c *conn) room() []byte {
	if c.in == nil {
		c.in = borrow()
	}
	if len(c.in) == cap(c.in) {
		c.in = slices.Grow(c.in, cap(c.in))
	}
	return c.in[len(c.in):cap(c.in)]
}

// rest gives the buffers back until something comes.
func (c *conn) rest() {
	if len(c.in) == 0 && c.in != nil {
		giveBack(c.in)
		c.in = nil
	}
	if c.out != nil {
		giveBack(c.out)
		c.out = nil
	}
	c.parser.forget()
}

// took runs the commands that are whole with the n bytes that were read. Answers to commands that came together leave
// together: half a command behind them holds nothing up. false: the connection is to be closed.
func (c *conn) took(n int) bool {
	c.in = c.in[:len(c.in)+n]
	if c.out == nil {
		c.out = borrow()
	}
	used, commands := 0, 0
	for !c.quit {
		args, width, err := c.parser.next(c.in[used:])
		if err != nil {
			c.out = failure("ERR "+err.Error()).append(c.out, c.proto)
			c.quit = true
			break
		}
		if width == 0 {
			break
		}
		used += width
		if c.ended.Load() {
			return false // killed, and what is left unread or unanswered must not keep it
		}
		if len(args) == 0 {
			continue
		}
		commands++
		c.answer(c.s.answer(c.ctx, c, args))
		if len(c.out) > maxBytes {
			c.st = nil // it may take a while
			if !c.flush() {
				return false
			}
		}
	}
	c.keep(c.in[used:])
	c.st = nil
	c.traffic.reads.Add(1)
	c.traffic.in.Add(int64(n))
	c.traffic.commands.Add(int64(commands))
	c.tell(func(t *clientTold) { t.command, t.at, t.unread = c.last, time.Now(), len(c.in) })
	return c.flush() && !c.quit
}

// keep is for what came of a command whose rest is still to come. A buffer that has grown is let go with what made it grow.
func (c *conn) keep(rest []byte) {
	if cap(c.in) > bufferSize && len(rest) < bufferSize {
		c.in = append(borrow(), rest...)
		return
	}
	c.in = c.in[:copy(c.in, rest)]
}

// answer adds a reply to what is sent next; nil is none. A muted connection gets none.
func (c *conn) answer(r reply) {
	muted := c.mute || c.skip
	c.skip, c.skipNext = c.skipNext, false
	if _, bad := r.(failure); bad {
		c.traffic.errors.Add(1)
	}
	if r != nil && !muted {
		c.out = r.append(c.out, c.proto)
	}
}

// flush sends the answers. Where the client does not take them, it waits: nothing more is read until they have left.
func (c *conn) flush() bool {
	if len(c.out) == 0 {
		return !c.ended.Load()
	}
	c.mu.Lock()
	n := c.write(c.out)
	if n < len(c.out) {
		c.enqueue(bytes.Clone(c.out[n:]), false)
	}
	drained := c.drained
	c.mu.Unlock()
	c.out = c.out[:0]
	if drained != nil {
		<-drained
	}
	return !c.ended.Load()
}

// send passes on a message, which is not changed any more, behind all that was sent before. It never waits: a client for whom
// more than messageLimit would wait is disconnected.
func (c *conn) send(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.write(b)
	switch {
	case n == len(b), c.ended.Load():
	case c.messages+len(b)-n > messageLimit:
		c.s.o.Log.Warn("subscriber too slow, disconnected", "client", c.addr, "waiting_bytes", c.messages, "limit_bytes", messageLimit)
		c.end()
	default:
		c.enqueue(b[n:], true)
	}
}

// write gives the socket what it takes at once, and nothing where something waits already. The caller holds mu.
func (c *conn) write(b []byte) int {
	if c.raw == nil || c.drained != nil || c.ended.Load() {
		return 0
	}
	sent := 0
	for sent < len(b) {
		n, errno := writeSocket(c.fd, b[sent:])
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return sent
		case errno != 0:
			c.end()
			return sent
		default:
			sent += n
			c.traffic.writes.Add(1)
			c.traffic.out.Add(int64(n))
		}
	}
	return sent
}

// enqueue keeps b for when the socket takes more. The caller holds mu.
func (c *conn) enqueue(b []byte, message bool) {
	if c.ended.Load() {
		return
	}
	c.queue = append(c.queue, waiting{b, message})
	c.queued += len(b)
	if message {
		c.messages += len(b)
	}
	if c.drained == nil {
		c.drained = make(chan struct{})
		c.s.writers.Go(c.drain)
	}
}

// drain writes the queue, and ends when it is empty or the connection is.
func (c *conn) drain() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 || c.ended.Load() {
			c.queue, c.queued, c.messages = nil, 0, 0
			close(c.drained)
			c.drained = nil
			c.mu.Unlock()
			return
		}
		next := c.queue[0]
		// Under mu, so that it does not overrule the deadline of an end.
		_ = c.nc.SetWriteDeadline(time.Now().Add(writeLimit))
		c.mu.Unlock()
		n, err := c.nc.Write(next.bytes)
		c.traffic.writes.Add(1)
		c.traffic.out.Add(int64(n))
		c.mu.Lock()
		c.queue = c.queue[1:]
		c.queued -= len(next.bytes)
		if next.message {
			c.messages -= len(next.bytes)
		}
		if err != nil {
			c.end()
		}
		c.mu.Unlock()
	}
}

// end makes the connection's goroutines leave. The caller holds mu.
func (c *conn) end() {
	c.ended.Store(true)
	c.cancel() // also for the command under way
	_ = c.nc.SetDeadline(time.Unix(1, 0))
}

// kill ends a connection from another goroutine than its own.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
}

// close is the end of the connection's own goroutine.
func (c *conn) close() {
	c.s.subscribers.leave(c)
	c.mu.Lock()
	c.end()
	drained := c.drained
	c.mu.Unlock()
	if drained != nil {
		<-drained
	}
	_ = c.nc.Close()
}

// tell changes what CLIENT LIST tells.
func (c *conn) tell(change func(*clientTold)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.told)
}
