package fakeredis

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipe is a buffered connection in memory, with what TCP adds: a reset, a silent cut, and deadlines that win over data
// which has already arrived. Every wait is on a channel, so that a synctest bubble sees it as idle.
type pipe struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	cut     bool
}

// end is one side of a pipe.
type end struct {
	*pipe
	peer   *end
	local  net.Addr
	in     []byte
	eof    bool // the peer closed
	reset  bool // the peer reset
	closed bool
	read   deadline
	write  deadline
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func newPipe(clientAddr, serverAddr net.Addr) (client, server *end) {
	p := &pipe{changed: make(chan struct{})}
	client = &end{pipe: p, local: clientAddr}
	server = &end{pipe: p, local: serverAddr, peer: client}
	client.peer = server
	return client, server
}

// wake tells all waiters; mu is held.
func (p *pipe) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pipe) setCut(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut != on {
		p.cut = on
		p.wake()
	}
}

func (e *end) Read(b []byte) (int, error) {
	for {
		e.mu.Lock()
		n, ready, err := e.tryRead(b)
		changed := e.changed
		e.mu.Unlock()
		if ready {
			return n, err
		}
		<-changed
	}
}

func (e *end) tryRead(b []byte) (n int, ready bool, err error) {
	switch {
	case e.closed:
		return 0, true, e.fault("read", net.ErrClosed)
	case e.read.passed():
		return 0, true, e.fault("read", os.ErrDeadlineExceeded)
	case e.cut:
		return 0, false, nil
	case len(e.in) > 0:
		n = copy(b, e.in)
		e.in = e.in[n:]
		return n, true, nil
	case e.reset:
		return 0, true, e.fault("read", os.NewSyscallError("read", syscall.ECONNRESET))
	case e.eof:
		return 0, true, io.EOF
	}
	return 0, false, nil
}

func (e *end) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return 0, e.fault("write", net.ErrClosed)
	case e.write.passed():
		return 0, e.fault("write", os.ErrDeadlineExceeded)
	case !e.cut && (e.reset || e.eof):
		return 0, e.fault("write", os.NewSyscallError("write", syscall.EPIPE))
	case !e.peer.closed:
		e.peer.in = append(e.peer.in, b...)
		e.wake()
	}
	return len(b), nil
}

// Close closes with a FIN.
func (e *end) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return e.fault("close", net.ErrClosed)
	}
	e.end()
	e.peer.eof = true
	return nil
}

// abort closes with a reset.
func (e *end) abort() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.end()
		e.peer.reset = true
	}
}

func (e *end) end() {
	e.closed = true
	e.read.stop()
	e.write.stop()
	e.wake()
}

func (e *end) LocalAddr() net.Addr  { return e.local }
func (e *end) RemoteAddr() net.Addr { return e.peer.local }

func (e *end) SetDeadline(t time.Time) error      { return e.arm(t, &e.read, &e.write) }
func (e *end) SetReadDeadline(t time.Time) error  { return e.arm(t, &e.read) }
func (e *end) SetWriteDeadline(t time.Time) error { return e.arm(t, &e.write) }

func (e *end) arm(t time.Time, deadlines ...*deadline) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return e.fault("set", net.ErrClosed)
	}
	for _, d := range deadlines {
		d.stop()
		d.at, d.timer = t, nil
	}
	switch left := time.Until(t); {
	case t.IsZero():
	case left <= 0:
		// No timer for what has passed: with the race detector, Go 1.26's runtime can crash when a bubble's timer is due as
		// it is made.
		e.wake()
	default:
		deadlines[0].timer = time.AfterFunc(left, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.wake()
		})
	}
	return nil
}

func (e *end) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: e.local, Addr: e.peer.local, Err: err}
}
