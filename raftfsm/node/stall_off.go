//go:build !failpoints

package node

func stall() {}
