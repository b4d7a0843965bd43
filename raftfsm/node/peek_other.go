//go:build !linux

package node

import (
	"errors"
	"net"
)

// canPeek tells whether peek can be used.
const canPeek = false

func peek(*net.TCPConn) (byte, error) { return 0, errors.ErrUnsupported }
