package daemon

import "runtime/debug"

// version is set by the linker for a release.
var version = ""

// Version is the release, or the commit that a development build was made from.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "0.4.0-dev+" + s.Value[:12]
			}
		}
	}
	return "0.4.0-dev"
}
