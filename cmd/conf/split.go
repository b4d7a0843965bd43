package conf

import (
	"errors"
	"strings"
)

var errQuotes = errors.New("unbalanced quotes: a closing quote must be there and must end its word")

// split breaks a line into words as redis.conf does: words end at white space; within "..." a backslash begins \n, \r, \t,
// \b, \a, \xHH or stands before a plain character; within '...' only \' is special; a closing quote ends its word. A NUL
// ends the line.
func split(line string) ([]string, error) {
	var words []string
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) || line[i] == 0 {
			return words, nil
		}
		word, next, err := scanWord(line, i)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
		i = next
	}
}

func scanWord(line string, i int) (word string, next int, err error) {
	var b strings.Builder
	for i < len(line) && !isSpace(line[i]) && line[i] != 0 {
		c := line[i]
		if c != '"' && c != '\'' {
			b.WriteByte(c)
			i++
			continue
		}
		end, ok := scanQuoted(&b, line, i+1, c)
		if !ok || end < len(line) && !isSpace(line[end]) {
			return "", 0, errQuotes
		}
		return b.String(), end, nil
	}
	return b.String(), i, nil
}

// scanQuoted reads from behind an opening quote to behind the closing one.
func scanQuoted(b *strings.Builder, line string, i int, quote byte) (end int, ok bool) {
	for i < len(line) {
		c := line[i]
		switch {
		case c == quote:
			return i + 1, true
		case c == 0:
			return 0, false
		case c == '\\' && quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
			b.WriteByte('\'')
			i += 2
		case c == '\\' && quote == '"' && i+1 < len(line):
			i = scanEscape(b, line, i+1)
		default:
			b.WriteByte(c)
			i++
		}
	}
	return 0, false
}

// scanEscape reads what follows a backslash within double quotes.
func scanEscape(b *strings.Builder, line string, i int) (next int) {
	if line[i] == 'x' && i+2 < len(line) {
		hi, ok1 := hexDigit(line[i+1])
		lo, ok2 := hexDigit(line[i+2])
		if ok1 && ok2 {
			b.WriteByte(hi<<4 | lo)
			return i + 3
		}
	}
	switch c := line[i]; c {
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'b':
		b.WriteByte('\b')
	case 'a':
		b.WriteByte('\a')
	default:
		b.WriteByte(c)
	}
	return i + 1
}

func isSpace(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r'
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
