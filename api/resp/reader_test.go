package resp

import (
	"errors"
	"slices"
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

// FuzzParser: no input makes the parser panic, loop, or give what is out of bounds; what it gives can be read again, and it
// is the same however the bytes come.
func FuzzParser(f *testing.F) {
	for _, s := range []string{
		"PING\r\n", "*1\r\n$4\r\nPING\r\n", "*0\r\n", "*-1\r\n", "\"a\\x4", "*2\r\n$1\r\na\r\n$0\r\n\r\nPING a 'b c'\n", "*1\r\n$5\r\nab",
		"*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$1\r\nm\r\n", "*1\n$1\na\r\n", "\n\nPING\n", "*1\r\n$70000\r\n", "*1025\r\n",
		"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", "*01\r\n", "*1\rx$01\r\n", "*2147483648\r\n", "*2\r\n$1048577\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		whole, wholeErr := readAll(t, input, len(input))
		bytewise, bytewiseErr := readAll(t, input, 1)
		if !slices.EqualFunc(whole, bytewise, slices.Equal) || !errors.Is(bytewiseErr, wholeErr) {
			t.Fatalf("at once %q, %v; byte by byte %q, %v", whole, wholeErr, bytewise, bytewiseErr)
		}
		for _, args := range whole {
			again, used, err := new(parser).next(fields(args).append(nil, 2))
			if err != nil || used == 0 || !slices.Equal(again, args) {
				t.Fatalf("%q read again: %q, %v", args, again, err)
			}
		}
	})
}

// readAll reads the commands of an input that comes step bytes at a time.
func readAll(t *testing.T, input []byte, step int) (commands [][]string, err error) {
	t.Helper()
	var p parser
	var have []byte
	for len(input) > 0 {
		n := min(step, len(input))
		have, input = append(have, input[:n]...), input[n:]
		for {
			args, used, err := p.next(have)
			switch {
			case err != nil:
				return commands, err
			case used > len(have) || used == 0 && len(args) > 0 || len(args)*wordCost > maxBytes:
				t.Fatalf("%d arguments, %d of %d bytes", len(args), used, len(have))
			}
			if used == 0 {
				break
			}
			if have = have[used:]; len(args) > 0 {
				commands = append(commands, slices.Clone(args))
			}
		}
	}
	return commands, nil
}
