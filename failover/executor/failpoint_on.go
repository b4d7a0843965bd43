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

// armed are the points that are still to come, in their order.
var armed = struct {
	sync.Mutex
	points []string
}{points: strings.Split(os.Getenv("SENTINELD_FAILPOINT"), ",")}

// hit kills or freezes the process at the first of the points that are armed.
func hit(p Point) {
	armed.Lock()
	defer armed.Unlock() // nobody passes another point meanwhile
	if len(armed.points) == 0 {
		return
	}
	name, how, _ := strings.Cut(armed.points[0], ":")
	if name != string(p) {
		return
	}
	armed.points = armed.points[1:]
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
}
