//go:build linux

package systemd

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// sentineld is the unit's name.
const sentineld = "sentineld.service"

// property is one of a unit's, as systemd has it.
func property(ctx context.Context, h *host, unit, name string) (string, error) {
	out, err := h.run(ctx, "systemctl", "show", "--property="+name, "--value", unit)
	return strings.TrimSpace(out), err
}

// unitIs checks properties of a unit at this moment: NAME=VALUE each.
func unitIs(t *testing.T, h *host, unit string, want ...string) {
	t.Helper()
	for _, w := range want {
		name, value, _ := strings.Cut(w, "=")
		got, err := property(t.Context(), h, unit, name)
		must(t, err)
		if got != value {
			t.Fatalf("%s: %s of %s is %q, want %q", h.name, name, unit, got, value)
		}
	}
}

// unitBecomes waits for properties of a unit: NAME=VALUE each.
func unitBecomes(t *testing.T, h *host, unit string, want ...string) {
	t.Helper()
	eventually(t, h.name+": "+unit, patience, func(ctx context.Context) error {
		for _, w := range want {
			name, value, _ := strings.Cut(w, "=")
			got, err := property(ctx, h, unit, name)
			if err != nil {
				return err
			}
			if got != value {
				return fmt.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		return nil
	})
}

// statusTells waits until a node tells systemd in its STATUS something that matches, and gives it.
func statusTells(t *testing.T, h *host, pattern string) string {
	t.Helper()
	var told string
	eventually(t, h.name+" tells systemd how it is", soon, func(ctx context.Context) (err error) {
		if told, err = property(ctx, h, sentineld, "StatusText"); err == nil && !regexp.MustCompile(pattern).MatchString(told) {
			err = fmt.Errorf("STATUS is %q", told)
		}
		return err
	})
	return told
}

// restarts is how often systemd has started the host's node again by itself.
func restarts(t *testing.T, h *host) int {
	t.Helper()
	value, err := property(t.Context(), h, sentineld, "NRestarts")
	must(t, err)
	n, err := strconv.Atoi(value)
	must(t, err)
	return n
}

// revived waits until systemd has started the host's node again.
func revived(t *testing.T, h *host, before int) {
	t.Helper()
	unitBecomes(t, h, sentineld, "ActiveState=active", "NRestarts="+strconv.Itoa(before+1))
}

// mark is a place in a host's journal.
func mark(t *testing.T, h *host) string {
	t.Helper()
	out := sh(t, h, "journalctl", "--quiet", "--lines=0", "--show-cursor")
	cursor, ok := strings.CutPrefix(out, "-- cursor: ")
	if !ok {
		t.Fatalf("%s: no cursor: %q", h.name, out)
	}
	return cursor
}

// journal is what a unit, and systemd of it, have written since a mark.
func journal(ctx context.Context, h *host, unit, since string) (string, error) {
	return h.run(ctx, "journalctl", "--quiet", "--no-pager", "--output=cat", "--unit="+unit, "--after-cursor="+since)
}

// tells waits until the journal has a line of a unit that matches, and gives it.
func tells(t *testing.T, h *host, unit, since, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var found string
	eventually(t, h.name+": the journal of "+unit, soon, func(ctx context.Context) error {
		out, err := journal(ctx, h, unit, since)
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if re.MatchString(line) {
				found = strings.TrimSpace(line)
				return nil
			}
		}
		return fmt.Errorf("no line of it matches %s:\n%s", re, out)
	})
	return found
}

// count is how many lines of a unit since a mark match.
func count(t *testing.T, h *host, unit, since, pattern string) int {
	t.Helper()
	out, err := journal(t.Context(), h, unit, since)
	must(t, err)
	n := 0
	re := regexp.MustCompile(pattern)
	for line := range strings.Lines(out) {
		if re.MatchString(line) {
			n++
		}
	}
	return n
}
