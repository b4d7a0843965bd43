package resp

import (
	"bytes"
	"math"
)

// Bounds of one command. Redis allows more; nothing that a Sentinel is asked needs it.
const (
	// maxLine bounds an inline command, and the line of a count or length, as Redis does.
	maxLine = 64 << 10
	// maxBytes bounds what a command takes in memory: its words, and wordCost for each.
	maxBytes = 1 << 20
	wordCost = 16
	// maxBulk is the length of a word from which on Redis calls it invalid.
	maxBulk = 512 << 20
)

// protocolError is a malformed frame. The text is Redis's.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// parser reads commands, arrays of bulk strings or inline, from what has arrived of a stream. Of an array that is not whole yet
// it keeps how far it came, so that each byte is looked at once however it comes.
type parser struct {
	// need is how many bytes the command in hand takes at least: with fewer it is not looked at again.
	need int
	// count are the words of the array in hand, 0 for none, read those that were read, pos the bytes that they took, and size
	// what they take in memory.
	count, read, pos, size int
	// words are those of the last command. Who asks the same again and again, as pollers do, costs no memory.
	words []string
}

// next reads the command that b begins with, and tells how many bytes it takes. used is 0 where the rest of it is still to
// come: the next call's b then begins with the same bytes. An empty command has no words. The words are valid until the next
// call. After an error the stream is useless.
func (p *parser) next(b []byte) (args []string, used int, err error) {
	if len(b) == 0 || len(b) < p.need {
		return nil, 0, nil
	}
	p.need = 0
	if b[0] == '*' {
		return p.array(b)
	}
	text, used, err := cutLine(b)
	if err != nil || used == 0 {
		return nil, 0, err
	}
	args, err = splitInline(string(text))
	return args, used, err
}

// array reads the bulk strings of a command; none for a count of 0 or less.
func (p *parser) array(b []byte) (args []string, used int, err error) {
	if p.count == 0 {
		digits, width, err := cutCount(b, "too big mbulk count string")
		if err != nil || width == 0 {
			return nil, 0, err
		}
		n, ok := number(digits)
		switch {
		case !ok || n > math.MaxInt32:
			return nil, 0, protocolError("invalid multibulk length")
		case n <= 0:
			return nil, width, nil
		}
		p.count, p.read, p.pos, p.size = n, 0, width, 0
	}
	for ; p.read < p.count; p.read++ {
		digits, width, err := cutCount(b[p.pos:], "too big bulk count string")
		if err != nil || width == 0 {
			return nil, 0, err
		}
		if b[p.pos] != '$' {
			return nil, 0, protocolError("expected '$', got '" + string(b[p.pos:p.pos+1]) + "'")
		}
		n, ok := number(digits)
		switch {
		case !ok || n < 0 || n > maxBulk:
			return nil, 0, protocolError("invalid bulk length")
		case p.size+n+wordCost > maxBytes:
			return nil, 0, protocolError("too big request")
		}
		from := p.pos + width
		end := from + n
		if len(b) < end+2 {
			p.need = end + 2
			return nil, 0, nil
		}
		p.word(p.read, b[from:end])
		p.size += n + wordCost
		p.pos = end + 2 // Redis does not look at the line's end either
	}
	args, p.count = p.words[:p.count], 0
	return args, p.pos, nil
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

// forget lets go of the words of a large command that is done with.
func (p *parser) forget() {
	if p.count > 0 {
		return
	}
	size := 0
	for _, w := range p.words {
		size += 16 + len(w)
	}
	if size > 512 {
		p.words = nil
	}
}

// cutLine gives the line that b begins with, without its LF and a CR before it, and its width; 0 where it has not ended yet.
func cutLine(b []byte) (text []byte, width int, err error) {
	i := bytes.IndexByte(b[:min(len(b), maxLine+2)], '\n')
	if i < 0 && len(b) <= maxLine+1 {
		return nil, 0, nil
	}
	text = b[:max(i, 0)]
	if n := len(text); n > 0 && text[n-1] == '\r' {
		text = text[:n-1]
	}
	if i < 0 || len(text) > maxLine {
		return nil, 0, protocolError("too big inline request")
	}
	return text, i + 1, nil
}

// cutCount gives what follows the sign that b begins with, up to a CR, and the width of it with the CR and the byte behind; 0
// where that has not come yet.
func cutCount(b []byte, tooLong protocolError) (digits []byte, width int, err error) {
	i := bytes.IndexByte(b[:min(len(b), maxLine+1)], '\r')
	switch {
	case i < 0 && len(b) > maxLine:
		return nil, 0, tooLong
	case i < 0 || len(b) < i+2:
		return nil, 0, nil
	}
	return b[min(1, i):i], i + 2, nil
}

// number reads a decimal number as Redis does (util.c, string2ll): no sign but -, no spaces, no zeros before it. What has more
// digits than any bound of this protocol is none.
func number(b []byte) (int, bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 18 || b[0] == '0' && (len(b) > 1 || negative) {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return choose(negative, -n, n), true
}
