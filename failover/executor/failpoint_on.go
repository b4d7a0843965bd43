//go:build failpoints

package executor

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// settling is how long the kernel may take to stop all threads.
const settling = 10 * time.Millisecond

var once sync.Once

// hit kills or freezes the process at the point that the environment names, the first time it is passed.
func hit(p Point) {
	name, how, _ := strings.Cut(os.Getenv("SENTINELD_FAILPOINT"), ":")
	if name != string(p) {
		return
	}
	once.Do(func() {
		signal := syscall.SIGKILL
		if how == "freeze" {
			signal = syscall.SIGSTOP
		}
		if err := syscall.Kill(os.Getpid(), signal); err != nil {
			panic("failpoint " + name + ": " + err.Error())
		}
		if signal == syscall.SIGKILL {
			select {}
		}
		time.Sleep(settling) // the signal may come to another thread first, and nothing is to follow upon the point until then
	})
}
