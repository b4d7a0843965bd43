//go:build !linux

package daemon

import (
	"runtime"

	"github.com/raftsentinel/raftsentinel/doctor"
)

// diskOf is the file system that holds a directory.
func diskOf(dir string) doctor.Disk {
	return doctor.Disk{Dir: dir, Unknown: "it is not known how to ask on " + runtime.GOOS}
}
