package conf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []string
		err  bool
	}{
		{line: "", want: nil},
		{line: " \t port   26379\r\n", want: []string{"port", "26379"}},
		{line: `logfile ""`, want: []string{"logfile", ""}},
		{line: `dir "/a b/c"`, want: []string{"dir", "/a b/c"}},
		{line: `x "a\x41\n\r\t\b\a\\\"\q"`, want: []string{"x", "aA\n\r\t\b\a\\\"q"}},
		{line: `x "\xZZ"`, want: []string{"x", "xZZ"}},
		{line: `x 'it\'s \n'`, want: []string{"x", `it's \n`}},
		{line: `x a"b c"`, want: []string{"x", "ab c"}},
		{line: `x a\"b`, err: true},
		{line: `x "open`, err: true},
		{line: `x "open\`, err: true},
		{line: `x 'open`, err: true},
		{line: `x "a"b`, err: true},
		{line: "x a\x00b", want: []string{"x", "a"}},
		{line: "x \"a\x00\"", err: true},
	} {
		got, err := split(tt.line)
		if !slices.Equal(got, tt.want) || (err != nil) != tt.err {
			t.Errorf("split(%q) = %q, %v; want %q, error %v", tt.line, got, err, tt.want, tt.err)
		}
	}
}

// FuzzSplit: any words, quoted, are read back.
func FuzzSplit(f *testing.F) {
	f.Add("port", "26379")
	f.Add("", "a b\"c'\\")
	f.Add("\x00\n\xff", "\\x41")
	f.Fuzz(func(t *testing.T, a, b string) {
		var line strings.Builder
		for _, w := range []string{a, b} {
			line.WriteString(` "`)
			for _, c := range []byte(w) {
				fmt.Fprintf(&line, `\x%02x`, c)
			}
			line.WriteString(`"`)
		}
		got, err := split(line.String())
		if err != nil || !slices.Equal(got, []string{a, b}) {
			t.Fatalf("split(%q) = %q, %v; want %q, %q", line.String(), got, err, a, b)
		}
		if _, err := split(a); err == nil && strings.Count(a, `"`)+strings.Count(a, "'") == 1 && !strings.Contains(a, "\x00") {
			t.Fatalf("split(%q) took a single quote", a)
		}
	})
}
