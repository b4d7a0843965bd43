package stage

import "syscall"

// ownGroup keeps a terminal's signals from the child, and ends the child with its parent.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
