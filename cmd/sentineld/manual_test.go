package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestManualPage: the page that packages install has every form and every flag of the summary that --help prints.
func TestManualPage(t *testing.T) {
	text, err := os.ReadFile("../../deploy/packages/sentineld.8")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(text), `\-`, "-")
	forms, rest, _ := strings.Cut(usage, "\n\n")
	for form := range strings.Lines(forms) {
		want := strings.TrimSpace(strings.TrimPrefix(form, "usage:"))
		want = strings.ReplaceAll(want, "--directive value", "--DIRECTIVE VALUE")
		if !strings.Contains(page, "\n.B "+want+"\n") {
			t.Errorf("the page has no form %q", want)
		}
	}
	flags := regexp.MustCompile(`(?m)^  (--[a-z-]+)`).FindAllStringSubmatch(rest, -1)
	if len(flags) == 0 {
		t.Error("the summary explains no flag")
	}
	for _, flag := range flags {
		if !strings.Contains(page, "\n.B "+flag[1]) {
			t.Errorf("the page does not explain %s", flag[1])
		}
	}
}
