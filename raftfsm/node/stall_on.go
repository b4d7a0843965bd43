//go:build failpoints

package node

import (
	"os"
	"time"
)

// stall hangs a write of the log for as long as the file exists that SENTINELD_STALL_FILE names: a disk that does not answer.
func stall() {
	name := os.Getenv("SENTINELD_STALL_FILE")
	if name == "" {
		return
	}
	for {
		if _, err := os.Stat(name); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
