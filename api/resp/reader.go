package resp

import (
	"bytes"
	"fmt"
	"strconv"
)

// Bounds of one command. Redis allows more; nothing that a Sentinel is asked needs it.
const (
	maxLine  = 64 << 10
	maxArgs  = 1024
	maxBulk  = 64 << 10
	maxBytes = 1 << 20
	// maxCount bounds the line of a count or length.
	maxCount = 64
)

// protocolError is a malformed frame. The text is Redis's.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// parser reads commands, arrays of bulk strings or inline, from what has arrived of a stream.
type parser struct {
	// need is how many bytes the command in hand takes at least: with fewer it is not looked at again.
	need int
	// words are those of the last command. Who asks the same again and again, as pollers do, costs no memory.
	words []string
}

// next reads the command that b begins with, and tells how many bytes it takes. used is 0 where the rest of it is still to
// come; an empty command has no words. The words are valid until the next call. After an error the stream is useless.
func (p *parser) next(b []byte) (args []string, used int, err error) {
	if len(b) == 0 || len(b) < p.need {
		return nil, 0, nil
	}
	p.need = 0
	if b[0] == '*' {
		return p.array(b)
	}
	text, used, err := cutLine(b, maxLine, "too big inline request")
	if err != nil || used == 0 {
		return nil, 0, err
	}
	args, err = splitInline(string(text))
	return args, used, err
}

// array reads the bulk strings of a command; none for a count of 0 or less.
func (p *parser) array(b []byte) (args []string, used int, err error) {
	count, pos, err := cutLine(b, maxCount, "too big mbulk count string")
	if err != nil || pos == 0 {
		return nil, 0, err
	}
	n, ok := number(count[1:])
	if !ok || n > maxArgs {
		return nil, 0, protocolError("invalid multibulk length")
	}
	total := 0
	for i := range max(n, 0) {
		length, width, err := cutLine(b[pos:], maxCount, "too big bulk count string")
		if err != nil || width == 0 {
			return nil, 0, err
		}
		if len(length) == 0 || length[0] != '$' {
			return nil, 0, protocolError(fmt.Sprintf("expected '$', got '%s'", firstByte(length)))
		}
		size, ok := number(length[1:])
		if !ok || size < 0 || size > maxBulk {
			return nil, 0, protocolError("invalid bulk length")
		}
		if total += size; total > maxBytes {
			return nil, 0, protocolError("too big request")
		}
		pos += width
		end := pos + size
		if len(b) < end+2 {
			p.need = end + 2
			return nil, 0, nil
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return nil, 0, protocolError("bulk string without CRLF")
		}
		p.word(i, b[pos:end])
		pos = end + 2
	}
	return p.words[:max(n, 0)], pos, nil
}

// word sets the i-th word. It is copied only where it differs from the last command's.
func (p *parser) word(i int, b []byte) {
	switch {
	case i == len(p.words):
		p.words = append(p.words, string(b))
	case p.words[i] != string(b):
		p.words[i] = string(b)
	}
}

// forget lets go of the words of a large command.
func (p *parser) forget() {
	size := 0
	for _, w := range p.words {
		size += 16 + len(w)
	}
	if size > 512 {
		p.words = nil
	}
}

// cutLine gives the line that b begins with, without its LF and a CR before it, and its width; 0 where it has not ended yet.
func cutLine(b []byte, limit int, tooLong protocolError) (text []byte, width int, err error) {
	i := bytes.IndexByte(b[:min(len(b), limit+2)], '\n')
	switch {
	case i < 0 && len(b) > limit+1, i > limit+1:
		return nil, 0, tooLong
	case i < 0:
		return nil, 0, nil
	}
	text = b[:i]
	if n := len(text); n > 0 && text[n-1] == '\r' {
		text = text[:n-1]
	}
	if len(text) > limit {
		return nil, 0, tooLong
	}
	return text, i + 1, nil
}

// number reads a decimal number as Redis does: no sign but -, no spaces.
func number(b []byte) (int, bool) {
	if len(b) == 1 && b[0] >= '0' && b[0] <= '9' {
		return int(b[0] - '0'), true
	}
	if len(b) == 0 || b[0] == '+' {
		return 0, false
	}
	n, err := strconv.Atoi(string(b))
	return n, err == nil
}

func firstByte(line []byte) string {
	if len(line) == 0 {
		return ""
	}
	if line[0] < ' ' || line[0] > '~' {
		return "?"
	}
	return string(line[:1])
}
