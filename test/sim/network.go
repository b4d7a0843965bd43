package sim

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Network joins hosts in memory. An address is IP:port, and a host is an IP. One lock guards all of it; nothing waits
// while holding it, and every wait is on a channel or a timer.
type Network struct {
	mu        sync.Mutex
	listeners map[netip.AddrPort]*listener
	conns     map[*conn]struct{}
	cuts      map[way]bool
	down      map[string]bool
	healed    chan struct{} // closed and replaced when a cut ends
	latency   time.Duration
	ports     uint16
}

// way is a direction between two hosts.
type way struct{ from, to string }

// NewNetwork makes a network without hosts, on which bytes take latency.
func NewNetwork(latency time.Duration) *Network {
	return &Network{
		listeners: map[netip.AddrPort]*listener{}, conns: map[*conn]struct{}{}, cuts: map[way]bool{}, down: map[string]bool{},
		healed: make(chan struct{}), latency: latency, ports: 40000,
	}
}

// Listen opens a port.
func (n *Network) Listen(_ context.Context, network, address string) (net.Listener, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[at] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(at), Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	l := &listener{net: n, at: at, backlog: make(chan *conn, 128), closed: make(chan struct{})}
	n.listeners[at] = l
	return l, nil
}

// Listening lists the open ports of a host.
func (n *Network) Listening(host string) []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ports []int
	for at := range n.listeners {
		if at.Addr().String() == host {
			ports = append(ports, int(at.Port()))
		}
	}
	slices.Sort(ports)
	return ports
}

// From gives the dial function of a host.
func (n *Network) From(host string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		for {
			c, wait, err := n.tryDial(host, to)
			if c != nil {
				return c, nil
			}
			if err == nil {
				select {
				case <-wait:
					continue
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
		}
	}
}

// tryDial gives a connection, an error, or what to wait for.
func (n *Network) tryDial(host string, to netip.AddrPort) (net.Conn, <-chan struct{}, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	peer := to.Addr().String()
	switch {
	case n.down[host]:
		return nil, nil, os.NewSyscallError("connect", syscall.ENETUNREACH)
	case n.cuts[way{host, peer}] || n.cuts[way{peer, host}]:
		return nil, n.healed, nil
	case n.listeners[to] == nil || n.down[peer]:
		return nil, nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	n.ports = max(40000, n.ports+1)
	from := netip.AddrPortFrom(netip.MustParseAddr(host), n.ports)
	there, back := newStream(way{host, peer}), newStream(way{peer, host})
	client := &conn{net: n, local: from, remote: to, out: there, in: back}
	server := &conn{net: n, local: to, remote: from, out: back, in: there}
	select {
	case n.listeners[to].backlog <- server:
	default:
		return nil, nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	n.conns[client], n.conns[server] = struct{}{}, struct{}{}
	return client, nil, nil
}

// Cut loses every packet from one host to another, until Heal. Nobody is told: dials hang, and what is written waits.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[way{from, to}] = true
	n.wakeAll()
}

// Heal ends a Cut. What was written meanwhile arrives when TCP would send it again: after waits that double from 200 ms to
// two minutes, counted from the first loss.
func (n *Network) Heal(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := way{from, to}
	if !n.cuts[w] {
		return
	}
	delete(n.cuts, w)
	now := time.Now()
	for c := range n.conns {
		if s := c.out; s.way == w && !s.lost.IsZero() {
			s.stall, s.lost = nextRetry(s.lost, now), time.Time{}
		}
	}
	n.wakeAll()
}

// nextRetry is the first time at or after now at which TCP sends again what it first sent at lost.
func nextRetry(lost, now time.Time) time.Time {
	at, wait := lost.Add(200*time.Millisecond), 400*time.Millisecond
	for at.Before(now) {
		at, wait = at.Add(wait), min(2*wait, 2*time.Minute)
	}
	return at
}

// Crash ends a host's connections as the death of its process does, and refuses new ones until Revive.
func (n *Network) Crash(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down[host] = true
	for c := range n.conns {
		if c.local.Addr().String() == host {
			c.out.reset, c.closed = true, true
			delete(n.conns, c)
			c.in.wake()
			c.out.wake()
		}
	}
	n.wakeAll()
}

// Revive lets a host take part again.
func (n *Network) Revive(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.down, host)
}

// Conns counts the open ends of connections.
func (n *Network) Conns() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

func (n *Network) wakeAll() {
	for c := range n.conns {
		c.in.wake()
		c.out.wake()
	}
	close(n.healed)
	n.healed = make(chan struct{})
}

type listener struct {
	net     *Network
	at      netip.AddrPort
	backlog chan *conn
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.net.mu.Lock()
	if l.net.listeners[l.at] != l {
		l.net.mu.Unlock()
		return net.ErrClosed
	}
	delete(l.net.listeners, l.at)
	close(l.closed)
	l.net.mu.Unlock()
	for {
		select {
		case c := <-l.backlog:
			_ = c.Close()
		default:
			return nil
		}
	}
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// stream is one direction of a connection.
type stream struct {
	way    way
	chunks []chunk
	eof    bool
	reset  bool
	// lost is when the first bytes of those that a cut holds back were written; stall, when they are sent again.
	lost, stall time.Time
	changed     chan struct{}
}

type chunk struct {
	at   time.Time
	data []byte
}

func newStream(w way) *stream { return &stream{way: w, changed: make(chan struct{})} }

func (s *stream) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

type conn struct {
	net           *Network
	local, remote netip.AddrPort
	in, out       *stream
	closed        bool
	read, write   time.Time // deadlines
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		c.net.mu.Lock()
		n, until, err := c.tryRead(b)
		changed := c.in.changed
		c.net.mu.Unlock()
		if n > 0 || err != nil {
			return n, err
		}
		if until.IsZero() {
			<-changed
			continue
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// tryRead gives bytes, an error, or until when nothing will come by itself; zero for ever.
func (c *conn) tryRead(b []byte) (n int, until time.Time, err error) {
	now := time.Now()
	in := c.in
	switch {
	case c.closed:
		return 0, until, c.fault("read", net.ErrClosed)
	case !c.read.IsZero() && !now.Before(c.read):
		return 0, until, c.fault("read", os.ErrDeadlineExceeded)
	case c.net.cuts[in.way]:
		until = c.read
	case now.Before(in.stall):
		until = sooner(in.stall, c.read)
	case len(in.chunks) > 0 && now.Before(in.chunks[0].at):
		until = sooner(in.chunks[0].at, c.read)
	case len(in.chunks) > 0:
		n = copy(b, in.chunks[0].data)
		if in.chunks[0].data = in.chunks[0].data[n:]; len(in.chunks[0].data) == 0 {
			in.chunks = in.chunks[1:]
		}
		return n, until, nil
	case in.reset:
		return 0, until, c.fault("read", os.NewSyscallError("read", syscall.ECONNRESET))
	case in.eof:
		return 0, until, io.EOF
	default:
		until = c.read
	}
	return 0, until, nil
}

func sooner(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

func (c *conn) Write(b []byte) (int, error) {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	now := time.Now()
	cut := c.net.cuts[c.out.way]
	gone := (c.in.eof || c.in.reset) && !c.net.cuts[c.in.way]
	switch {
	case c.closed:
		return 0, c.fault("write", net.ErrClosed)
	case !c.write.IsZero() && !now.Before(c.write):
		return 0, c.fault("write", os.ErrDeadlineExceeded)
	case gone:
		return 0, c.fault("write", os.NewSyscallError("write", syscall.EPIPE))
	case len(b) == 0:
		return 0, nil
	}
	if cut && c.out.lost.IsZero() {
		c.out.lost = now
	}
	c.out.chunks = append(c.out.chunks, chunk{now.Add(c.net.latency), slices.Clone(b)})
	c.out.wake()
	return len(b), nil
}

func (c *conn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	c.closed, c.out.eof = true, true
	delete(c.net.conns, c)
	c.in.wake()
	c.out.wake()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) SetDeadline(t time.Time) error {
	return c.arm(func() { c.read, c.write = t, t })
}
func (c *conn) SetReadDeadline(t time.Time) error  { return c.arm(func() { c.read = t }) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.arm(func() { c.write = t }) }

func (c *conn) arm(set func()) error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	if c.closed {
		return c.fault("set", net.ErrClosed)
	}
	set()
	c.in.wake()
	return nil
}

func (c *conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
