package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
)

func doc(t *testing.T, page string) string {
	t.Helper()
	r := ctl(t.Context(), t, "", nil, "docs", page)
	if r.status != exitDone || r.stderr != "" {
		t.Fatalf("exit %d, stderr %q", r.status, r.stderr)
	}
	return r.stdout
}

// TestDocsSample holds the file that packages install, because every change of it asks operators a question at an upgrade.
func TestDocsSample(t *testing.T) {
	golden(t, "docs-sentineld.conf", doc(t, "sentineld.conf"))
}

// TestDocsPages: every command and every directive has its place, and every line that is a request is one that man(7) knows.
func TestDocsPages(t *testing.T) {
	var commands, directives []string
	var walk func(of *cobra.Command)
	walk = func(of *cobra.Command) {
		for _, c := range of.Commands() {
			if c.Runnable() && !c.HasSubCommands() && !c.Hidden {
				commands = append(commands, "\n.SS "+roff(strings.TrimPrefix(c.CommandPath(), "sentinelctl ")))
			}
			walk(c)
		}
	}
	walk((&app{}).root())
	for _, c := range conf.Manual() {
		for _, e := range c.Entries {
			directives = append(directives, "\n.B "+roff(e.Name))
		}
	}
	for page, wants := range map[string][]string{"sentinelctl.1": commands, "sentineld.conf.5": directives} {
		got := doc(t, page)
		for _, want := range wants {
			if n := strings.Count(got, want+" ") + strings.Count(got, want+"\n"); n != 1 {
				t.Errorf("%s has %q %d times", page, want, n)
			}
		}
		for line := range strings.Lines(got) {
			request, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			known := []string{".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".br", ".nf", ".fi"}
			if strings.IndexAny(line, ".'") == 0 && !slices.Contains(known, request) {
				t.Errorf("%s: %q is no request", page, line)
			}
		}
	}
	if r := ctl(t.Context(), t, "", nil, "docs", "sentineld.9"); r.status != exitUsage || !strings.Contains(r.stderr, "sentinelctl.1") {
		t.Errorf("an unknown page: exit %d, %s", r.status, r.stderr)
	}
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"plain":           "plain",
		".conf is hidden": `\&.conf is hidden`,
		"a\n.b\n'c'":      "a\n\\&.b\n\\&'c'",
		`--port \n`:       `\-\-port \en`,
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
