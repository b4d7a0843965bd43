package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker for a release.
var version string

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  args(0, 0),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				OS      string `json:"os"`
				Arch    string `json:"arch"`
			}{buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			if a.set.json() {
				return a.writeValue(v)
			}
			_, err := fmt.Fprintf(a.stdout, "sentinelctl %s %s %s/%s\n", v.Version, v.Go, v.OS, v.Arch)
			return err
		},
	}
}

// buildVersion is the release, or the commit that a development build was made from.
func buildVersion() string {
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

// writeValue writes a value as a JSON document.
func (a *app) writeValue(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return a.writeJSON(b)
}
