//go:build !linux

package instance

import (
	"errors"
	"net"
	"time"
)

// Breaks tells of the breaks of connections that doze, which none does here.
type Breaks struct{}

// Close does nothing.
func (*Breaks) Close() error { return nil }

func (*Breaks) take(net.Conn, func()) (fd int, ok bool) { return 0, false }

func (socket) give() (net.Conn, error)      { return nil, errors.ErrUnsupported }
func (socket) close() error                 { return nil }
func (socket) read([]byte) (int, error)     { return 0, errors.ErrUnsupported }
func (socket) write([]byte) (int, error)    { return 0, errors.ErrUnsupported }
func (socket) roundTrip() (d time.Duration) { return 0 }
