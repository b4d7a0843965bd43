package resp

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestSplitInline(t *testing.T) {
	for line, want := range map[string][]string{
		`SET a b`:              {"SET", "a", "b"},
		`  x   "y z"  `:        {"x", "y z"},
		`"\x41\n\t\"" 'it\'s'`: {"A\n\t\"", "it's"},
		`'a\nb'`:               {`a\nb`},
		`""`:                   {""},
		`a"b"`:                 {"ab"},
		``:                     nil,
	} {
		if got, err := splitInline(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{`"a`, `'a`, `"a"b`, `"\`} {
		if _, err := splitInline(line); !errors.Is(err, errQuotes) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// FuzzReader: no input makes the reader panic, loop, or give what is out of bounds; what it gives can be read again.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"PING\r\n", "*1\r\n$4\r\nPING\r\n", "*0\r\n", "*-1\r\n", "\"a\\x4", "*2\r\n$1\r\na\r\n$0\r\n\r\nPING a 'b c'\n", "*1\r\n$5\r\nab",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, input string) {
		r := newReader(strings.NewReader(input))
		for {
			args, err := r.next()
			if err != nil {
				if _, bad := errors.AsType[protocolError](err); !bad && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("error %v", err)
				}
				return
			}
			if len(args) == 0 || len(args) > maxArgs {
				t.Fatalf("%d arguments", len(args))
			}
			var b strings.Builder
			again := fields(args)
			again.encode(&b)
			if got, err := newReader(strings.NewReader(b.String())).next(); err != nil || !slices.Equal(got, args) {
				t.Fatalf("%q read again: %q, %v", args, got, err)
			}
		}
	})
}
