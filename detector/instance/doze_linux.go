package instance

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Breaks tells of the breaks of connections that doze. It is an epoll that waits for the other end's FIN or for an error, not for data:
// what an instance answers wakes nobody (epoll(7), EPOLLRDHUP). The zero value is ready; it begins with the first connection.
type Breaks struct {
	mu      sync.Mutex
	epoll   *os.File        // Go's runtime waits for it as for a socket; nil before the first connection
	raw     syscall.RawConn // of epoll
	by      map[int32]func()
	running sync.WaitGroup

	// waking guards spare, a descriptor kept for those who wake while none is to be had; -1 for none.
	waking sync.Mutex
	spare  int
}

// Close ends it once no connection dozes any more.
func (b *Breaks) Close() error {
	b.mu.Lock()
	epoll := b.epoll
	b.mu.Unlock()
	if epoll == nil {
		return nil
	}
	defer b.running.Wait()
	b.waking.Lock()
	defer b.waking.Unlock()
	b.giveUpSpare()
	return epoll.Close()
}

// keepSpare keeps a descriptor where there is none; giveUpSpare gives it up. The caller holds waking.
func (b *Breaks) keepSpare() {
	if b.spare >= 0 {
		return
	}
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		b.spare = fd
	}
}

func (b *Breaks) giveUpSpare() {
	if b.spare >= 0 {
		_ = unix.Close(b.spare)
		b.spare = -1
	}
}

// begin makes the epoll, at the first call that succeeds.
func (b *Breaks) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.epoll != nil {
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else the runtime would not wait for it
		return errors.Join(err, unix.Close(fd))
	}
	epoll := os.NewFile(uintptr(fd), "epoll")
	raw, err := epoll.SyscallConn()
	if err != nil {
		return errors.Join(err, epoll.Close())
	}
	b.epoll, b.raw, b.by = epoll, raw, map[int32]func(){}
	b.waking.Lock()
	defer b.waking.Unlock()
	b.spare = -1
	b.keepSpare()
	b.running.Go(b.run)
	return nil
}

// run tells of breaks until Close.
func (b *Breaks) run() {
	var events [64]unix.EpollEvent
	for {
		n := 0
		var failed error
		err := b.raw.Read(func(fd uintptr) (done bool) {
			n, failed = unix.EpollWait(int(fd), events[:], 0)
			return n > 0 || failed != nil && !errors.Is(failed, unix.EINTR)
		})
		if err != nil || n <= 0 {
			return // closed
		}
		for _, e := range events[:n] {
			b.mu.Lock()
			broken := b.by[e.Fd]
			b.mu.Unlock()
			if broken != nil { // else it has woken meanwhile
				broken()
			}
		}
	}
}

// take makes a connection's socket one of its own, of which Go's runtime knows nothing.
func (b *Breaks) take(nc net.Conn, broken func()) (fd int, ok bool) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil || b.begin() != nil {
		return 0, false
	}
	fd = -1
	if err := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || fd < 0 {
		return 0, false
	}
	b.mu.Lock()
	b.by[int32(fd)] = broken
	b.mu.Unlock()
	// Edge-triggered: a break is told once.
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)}
	if err := b.control(unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		b.forget(fd)
		_ = unix.Close(fd)
		return 0, false
	}
	_ = tcp.Close() // its descriptor, not the connection
	return fd, true
}

func (b *Breaks) control(op, fd int, event *unix.EpollEvent) error {
	var err error
	if closed := b.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), op, fd, event) }); closed != nil {
		return closed
	}
	return err
}

func (b *Breaks) forget(fd int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.by, int32(fd))
}

// give makes the socket a connection of Go's again. That takes a descriptor more for a moment; the lack of one must not pass for a break.
func (s socket) give() (net.Conn, error) {
	s.breaks.forget(s.fd)
	_ = s.breaks.control(unix.EPOLL_CTL_DEL, s.fd, nil)
	f := os.NewFile(uintptr(s.fd), "")
	nc, err := net.FileConn(f)
	if err == nil {
		_ = f.Close() // the connection has a descriptor of its own
		return nc, nil
	}
	s.breaks.waking.Lock()
	defer s.breaks.waking.Unlock()
	s.breaks.giveUpSpare()
	nc, err = net.FileConn(f)
	_ = f.Close()
	s.breaks.keepSpare()
	return nc, err
}

// close closes it, where there is one.
func (s socket) close() error {
	if s.breaks == nil {
		return nil
	}
	s.breaks.forget(s.fd)
	return unix.Close(s.fd)
}

// The socket does not block, so that the runtime need not be told of the calls.

func (s socket) read(b []byte) (int, error) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), //nolint:gosec // the kernel writes into b
		unix.MSG_DONTWAIT, 0, 0)
	switch {
	case e == syscall.EAGAIN || e == syscall.EINTR:
		return 0, os.ErrDeadlineExceeded
	case e != 0:
		return 0, os.NewSyscallError("recvfrom", e)
	case n == 0:
		return 0, io.EOF
	}
	return int(n), nil
}

func (s socket) write(b []byte) (int, error) {
	n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), //nolint:gosec // the kernel reads from b
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if e != 0 {
		return 0, os.NewSyscallError("sendto", e)
	}
	return int(n), nil
}

// roundTrip is the connection's, as the kernel measures and smooths it; 0 where it does not tell (tcp(7), TCP_INFO).
func (s socket) roundTrip() time.Duration {
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return time.Duration(info.Rtt) * time.Microsecond
}
