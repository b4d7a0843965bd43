//go:build !failpoints

package executor

func hit(Point) {}
