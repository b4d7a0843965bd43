package notify

import (
	"syscall"
	"unsafe"
)

// awaitEnd waits until a child has ended, and leaves it to be reaped. It is false where that cannot be waited for.
func awaitEnd(pid int) bool {
	const byPID, ended, unreaped = 1, 0x4, 0x01000000 // P_PID, WEXITED, WNOWAIT
	var info [128]byte                                // siginfo_t
	for {
		_, _, e := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), ended|unreaped, 0, 0) //nolint:gosec // the kernel writes into info
		if e != syscall.EINTR {
			return e == 0
		}
	}
}
