//go:build !linux

package notify

// awaitEnd cannot wait for the end of a child here without reaping it.
func awaitEnd(int) bool { return false }
