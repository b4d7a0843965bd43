// Package version tells which release the programs are of.
package version

import (
	_ "embed"
	"runtime/debug"
	"strings"
)

//go:embed RELEASE
var release string

// linked is set by the linker, with -X, where make builds the programs.
var linked string

// String is the release, such as 0.4.0, or a build on the way to it: 0.4.0-dev+COMMIT, without +COMMIT where Go did not note it.
func String() string {
	if linked != "" {
		return linked
	}
	dev := strings.TrimSpace(release) + "-dev"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return dev + "+" + s.Value[:12]
			}
		}
	}
	return dev
}
