package daemon

import (
	"slices"
	"syscall"

	"github.com/raftsentinel/raftsentinel/doctor"
)

// inMemory are file systems that a reboot empties, by their magic numbers (linux/magic.h): tmpfs and ramfs.
var inMemory = []int64{0x01021994, 0x858458f6}

// diskOf is the file system that holds a directory.
func diskOf(dir string) doctor.Disk {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return doctor.Disk{Dir: dir, Unknown: err.Error()}
	}
	// Types differ from one architecture to the other.
	block, kind := int64(fs.Bsize), int64(fs.Type) //nolint:unconvert // the same here, not everywhere
	return doctor.Disk{
		Dir: dir, Memory: slices.Contains(inMemory, kind&0xffffffff), Free: int64(fs.Bavail) * block, Size: int64(fs.Blocks) * block,
		FreeInodes: int64(fs.Ffree), Inodes: int64(fs.Files),
	}
}
