package node

import (
	"io"
	"net"
	"syscall"
)

// canPeek tells whether peek can be used.
const canPeek = true

// peek waits for the next byte and leaves it where it is. It heeds the connection's deadline.
func peek(conn *net.TCPConn) (byte, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var (
		b      [1]byte
		n      int
		failed error
	)
	err = raw.Read(func(fd uintptr) (done bool) {
		n, _, failed = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		return failed != syscall.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, io.EOF
	}
	return b[0], nil
}
