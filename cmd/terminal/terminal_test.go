package terminal

import (
	"os"
	"strings"
	"testing"
)

func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, "yes": true, "n\n": false, "\n": false, "": false, "yesterday\n": false} {
		var out strings.Builder
		got, err := Confirm(strings.NewReader(answer), &out, "do it")
		if err != nil || got != want || out.String() != "This will do it.\nGo on? [y/N] " {
			t.Errorf("%q: %t, %v, %q", answer, got, err, out.String())
		}
	}
}

func TestIs(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if Is(null) || Is(strings.NewReader("")) || Is(nil) {
		t.Error("no terminal was taken for one")
	}
}
