package resp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Bounds of one command. Redis allows more; nothing that a Sentinel is asked needs it.
const (
	maxLine  = 64 << 10
	maxArgs  = 1024
	maxBulk  = 64 << 10
	maxBytes = 1 << 20
)

// protocolError is a malformed frame. The text is Redis's.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// reader reads commands: arrays of bulk strings, or inline.
type reader struct{ r *bufio.Reader }

func newReader(r io.Reader) *reader { return &reader{bufio.NewReaderSize(r, 4<<10)} }

// readFunc is a Read.
type readFunc func([]byte) (int, error)

// Read calls f.
func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// next is the next command, never empty. It allocates no more than has arrived. After an error the stream is useless.
func (r *reader) next() ([]string, error) {
	for {
		line, err := r.line("too big inline request")
		if err != nil {
			return nil, err
		}
		var args []string
		if len(line) > 0 && line[0] == '*' {
			args, err = r.array(line[1:])
		} else {
			args, err = splitInline(string(line))
		}
		if err != nil || len(args) > 0 {
			return args, err
		}
	}
}

// line reads up to LF and drops it, and a CR before it. tooLong is the error for one that does not end.
func (r *reader) line(tooLong protocolError) ([]byte, error) {
	var long []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if len(long)+len(part) > maxLine {
			return nil, tooLong
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
			continue
		case err == io.EOF && len(long)+len(part) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case long != nil:
			part = append(long, part...)
		}
		part = part[:len(part)-1]
		if n := len(part); n > 0 && part[n-1] == '\r' {
			part = part[:n-1]
		}
		return part, nil
	}
}

// array reads the bulk strings of a command of count elements; none for a count of 0 or less.
func (r *reader) array(count []byte) ([]string, error) {
	n, err := strconv.Atoi(string(count))
	if err != nil || n > maxArgs {
		return nil, protocolError("invalid multibulk length")
	}
	var args []string
	total := 0
	for range max(n, 0) {
		line, err := r.line("too big bulk count string")
		if err != nil {
			return nil, noEOF(err)
		}
		if len(line) == 0 || line[0] != '$' {
			return nil, protocolError(fmt.Sprintf("expected '$', got '%s'", firstByte(line)))
		}
		size, err := strconv.Atoi(string(line[1:]))
		if err != nil || size < 0 || size > maxBulk {
			return nil, protocolError("invalid bulk length")
		}
		if total += size; total > maxBytes {
			return nil, protocolError("too big request")
		}
		bulk, err := r.bulk(size)
		if err != nil {
			return nil, err
		}
		args = append(args, bulk)
	}
	return args, nil
}

// bulk reads size bytes and the CRLF behind them.
func (r *reader) bulk(size int) (string, error) {
	buf := make([]byte, size+2)
	if _, err := io.ReadFull(r.r, buf); err != nil {
		return "", noEOF(err)
	}
	if buf[size] != '\r' || buf[size+1] != '\n' {
		return "", protocolError("bulk string without CRLF")
	}
	return string(buf[:size]), nil
}

// noEOF marks an end inside a command.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
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
