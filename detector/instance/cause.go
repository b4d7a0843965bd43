package instance

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// CauseOf is the cause that an error of this package stands for, if the instance is to be held down for it.
func CauseOf(err error) raftfsm.Cause {
	var refused ReplyError
	var dns *net.DNSError
	switch {
	case errors.As(err, &refused):
		if detector.ClassifyReply(refused.Text) == detector.ReplyAuth {
			return raftfsm.CauseAuth
		}
		return raftfsm.CauseError
	case errors.Is(err, syscall.ECONNREFUSED):
		return raftfsm.CauseRefused
	case errors.As(err, &dns), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.EHOSTDOWN):
		return raftfsm.CauseUnreachable
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return raftfsm.CauseTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return raftfsm.CauseReset
	}
	return raftfsm.CauseError
}
