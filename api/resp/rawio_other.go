//go:build !linux

package resp

import (
	"errors"
	"syscall"
)

func readSocket(fd uintptr, b []byte) (int, syscall.Errno) { return result(syscall.Read(int(fd), b)) }

func writeSocket(fd uintptr, b []byte) (int, syscall.Errno) { return result(syscall.Write(int(fd), b)) }

func result(n int, err error) (int, syscall.Errno) {
	e, _ := errors.AsType[syscall.Errno](err)
	return n, e
}
