//go:build !linux

package stage

import "syscall"

// ownGroup keeps a terminal's signals from the child. Only Linux can also end the child with its parent.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
