package resp

import "strings"

// errQuotes is Redis's for an inline command whose quotes do not match.
const errQuotes = protocolError("unbalanced quotes in request")

// splitInline splits a line into words as Redis does (sds.c, sdssplitargs): double quotes with escapes, single quotes.
func splitInline(line string) ([]string, error) {
	var args []string
	for {
		line = strings.TrimLeft(line, " \t\r\n\v\f\x00")
		if line == "" {
			return args, nil
		}
		word, rest, err := inlineWord(line)
		if err != nil {
			return nil, err
		}
		args = append(args, word)
		line = rest
	}
}

func inlineWord(line string) (word, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case isSpace(c):
			return b.String(), line[i:], nil
		case c == '"' || c == '\'':
			n, err := inlineQuoted(&b, line[i+1:], c)
			if err != nil {
				return "", "", err
			}
			if i += n + 1; i+1 < len(line) && !isSpace(line[i+1]) {
				return "", "", errQuotes // a closing quote ends the word
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), "", nil
}

// inlineQuoted reads up to the closing quote and gives its place.
func inlineQuoted(b *strings.Builder, s string, quote byte) (int, error) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return i, nil
		case s[i] != '\\' || i+1 == len(s):
			b.WriteByte(s[i])
		case quote == '\'':
			if s[i+1] == '\'' {
				i++
			}
			b.WriteByte(s[i])
		case s[i+1] == 'x' && i+3 < len(s) && isHex(s[i+2]) && isHex(s[i+3]):
			b.WriteByte(nibble(s[i+2])<<4 | nibble(s[i+3]))
			i += 3
		default:
			i++
			b.WriteByte(escaped(s[i]))
		}
	}
	return 0, errQuotes
}

func escaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\r\n\v\f\x00", c) >= 0 }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func nibble(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
