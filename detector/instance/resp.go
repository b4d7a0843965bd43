package instance

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"
)

// Sizes of a connection's buffers, in bytes.
const (
	firstBuffer = 128
	keptBuffer  = 512 // a larger one is given back after its exchange
	infoBuffer  = 8 << 10
	maxDepth    = 8
	maxLine     = 64 << 10
)

// appendCommand appends a command in RESP2, as an array of bulk strings.
func appendCommand(b []byte, name string, args []string) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(1+len(args)), 10)
	b = append(b, "\r\n"...)
	b = appendBulk(b, name)
	for _, a := range args {
		b = appendBulk(b, a)
	}
	return b
}

func appendBulk(b []byte, s string) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, "\r\n"...)
	b = append(b, s...)
	return append(b, "\r\n"...)
}

// reader parses replies. It keeps the bytes of an exchange until all its replies are whole, so that a read which a
// deadline cut short can be taken up again from the first byte.
type reader struct {
	src   io.Reader
	buf   []byte
	at    int // what is before is parsed
	limit int // bound on the bytes of one exchange
}

// begin starts an exchange on a clean buffer; bytes that wait there answer nothing.
func (r *reader) begin() error {
	if r.at < len(r.buf) {
		return errUnasked
	}
	r.buf, r.at = r.buf[:0], 0
	r.giveBack()
	return nil
}

// large are buffers as an INFO needs one, for whoever reads one next. Nothing that was parsed points into them.
var large = sync.Pool{New: func() any { return new([infoBuffer]byte) }}

// giveBack parts with a buffer that is larger than what is kept.
func (r *reader) giveBack() {
	if cap(r.buf) <= keptBuffer {
		return
	}
	if cap(r.buf) == infoBuffer {
		large.Put((*[infoBuffer]byte)(r.buf[:infoBuffer]))
	}
	r.buf, r.at = nil, 0
}

// larger is an empty buffer with room for more than so many bytes.
func larger(size int) []byte {
	switch {
	case size < keptBuffer:
		return make([]byte, 0, max(firstBuffer, 4*size))
	case size < infoBuffer:
		return large.Get().(*[infoBuffer]byte)[:0]
	}
	return make([]byte, 0, 4*size)
}

// replies reads n replies, from the first byte of the exchange.
func (r *reader) replies(n int) ([]any, error) {
	r.at = 0
	out := make([]any, n)
	for i := range out {
		v, err := r.value(0)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	r.done()
	return out, nil
}

// texts is replies for those who parse at once what they get: a text is a []byte where it lies, which holds until done.
func (r *reader) texts(n int) ([]any, error) {
	r.at = 0
	out := make([]any, n)
	for i := range out {
		begin := r.at
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		var text []byte
		if len(line) > 0 && line[0] == '$' {
			text, err = r.text(string(line[1:]))
		}
		if err != nil {
			return nil, err
		}
		if text != nil {
			out[i] = text
			continue
		}
		r.at = begin
		if out[i], err = r.value(0); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// done gives back what the replies that were read took.
func (r *reader) done() {
	if r.at == len(r.buf) {
		r.giveBack()
	}
}

// push reads the next message to a subscriber. It may have come together with what was read before.
func (r *reader) push() ([]any, error) {
	r.buf = r.buf[:copy(r.buf, r.buf[r.at:])]
	r.at = 0
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Errorf("%w: a %T to a subscriber", errProtocol, v)
	}
	return list, nil
}

func (r *reader) value(depth int) (any, error) {
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	if len(line) == 0 || depth > maxDepth {
		return nil, errProtocol
	}
	kind, text := line[0], string(line[1:])
	switch kind {
	case '+':
		return text, nil
	case '-':
		return ReplyError{Text: text}, nil
	case ':':
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%w: an integer of %.20q", errProtocol, text)
		}
		return n, nil
	case '$':
		return r.bulk(text)
	case '*':
		return r.array(text, depth)
	}
	return nil, fmt.Errorf("%w: it began with %.20q", errProtocol, line)
}

func (r *reader) bulk(length string) (any, error) {
	s, err := r.text(length)
	if s == nil {
		return nil, err
	}
	return string(s), nil
}

// text takes a bulk string; nil is a null.
func (r *reader) text(length string) ([]byte, error) {
	n, err := r.length(length)
	if err != nil || n < 0 {
		return nil, err
	}
	for len(r.buf)-r.at < n+2 {
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	s, end := r.buf[r.at:r.at+n], r.buf[r.at+n:r.at+n+2]
	if string(end) != "\r\n" {
		return nil, fmt.Errorf("%w: a bulk string without its end", errProtocol)
	}
	r.at += n + 2
	return s, nil
}

func (r *reader) array(length string, depth int) (any, error) {
	n, err := r.length(length)
	if err != nil || n < 0 {
		return nil, err
	}
	list := make([]any, 0, min(n, 16))
	for range n {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// length reads an announced length; -1 is a null.
func (r *reader) length(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < -1 {
		return 0, fmt.Errorf("%w: a length of %.20q", errProtocol, text)
	}
	if n > r.limit {
		return 0, fmt.Errorf("%w: %d bytes or elements, at most %d", errTooLong, n, r.limit)
	}
	return n, nil
}

// line takes a line without its CRLF; it is valid until the next fill.
func (r *reader) line() ([]byte, error) {
	from := r.at
	for {
		if i := bytes.IndexByte(r.buf[from:], '\n'); i >= 0 {
			end := from + i
			line := r.buf[r.at:end]
			r.at = end + 1
			if n := len(line); n > 0 && line[n-1] == '\r' {
				return line[:n-1], nil
			}
			return nil, fmt.Errorf("%w: a line without CR", errProtocol)
		}
		from = len(r.buf)
		if from-r.at > maxLine {
			return nil, fmt.Errorf("%w: a line of more than %d bytes", errTooLong, maxLine)
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads more, at least one byte.
func (r *reader) fill() error {
	if len(r.buf) >= r.limit {
		return fmt.Errorf("%w: at most %d bytes", errTooLong, r.limit)
	}
	if len(r.buf) == cap(r.buf) {
		r.buf = append(larger(cap(r.buf)), r.buf...)
	}
	n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	switch {
	case n > 0:
		return nil // an error beside data comes again
	case err == nil:
		return io.ErrNoProgress
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}
