package resp

import "strconv"

// reply is what a command answers. It is written in the protocol version, 2 or 3, that its connection speaks.
type reply interface {
	append(b []byte, proto int) []byte
}

type (
	simple string
	// failure is an error: its first word is the code.
	failure string
	bulk    string
	// text is a text for people, such as INFO's: RESP3 tells that it is one.
	text    string
	integer int64
	// double is a number with a fraction: a bulk string in RESP2.
	double float64
	null   struct{}
	// nullArray is null where RESP2 has an array.
	nullArray struct{}
	array     []reply
	// set is an array without order or repetition.
	set []reply
	// fields is a map of strings: names and values, in order.
	fields []string
	// mapping is a map: keys and values, in order.
	mapping []reply
	// push is a message that no command asked for: an array in RESP2.
	push []reply
)

func (r simple) append(b []byte, _ int) []byte { return line(b, '+', string(r)) }

func (r failure) append(b []byte, _ int) []byte { return line(b, '-', string(r)) }

func (r integer) append(b []byte, _ int) []byte { return header(b, ':', int(r)) }

func (r double) append(b []byte, proto int) []byte {
	number := strconv.FormatFloat(float64(r), 'f', -1, 64)
	if proto < 3 {
		return appendBulk(b, number)
	}
	b = append(append(b, ','), number...)
	return append(b, "\r\n"...)
}

func (r bulk) append(b []byte, _ int) []byte { return appendBulk(b, string(r)) }

func (r text) append(b []byte, proto int) []byte {
	if proto < 3 {
		return appendBulk(b, string(r))
	}
	b = header(b, '=', len(r)+len("txt:"))
	b = append(b, "txt:"...)
	b = append(b, r...)
	return append(b, "\r\n"...)
}

func (null) append(b []byte, proto int) []byte {
	if proto < 3 {
		return append(b, "$-1\r\n"...)
	}
	return append(b, "_\r\n"...)
}

func (nullArray) append(b []byte, proto int) []byte {
	if proto < 3 {
		return append(b, "*-1\r\n"...)
	}
	return append(b, "_\r\n"...)
}

func (r array) append(b []byte, proto int) []byte { return appendAll(header(b, '*', len(r)), r, proto) }

func (r set) append(b []byte, proto int) []byte {
	return appendAll(header(b, choose(proto < 3, byte('*'), '~'), len(r)), r, proto)
}

func (r push) append(b []byte, proto int) []byte {
	return appendAll(header(b, choose(proto < 3, byte('*'), '>'), len(r)), r, proto)
}

func (r mapping) append(b []byte, proto int) []byte {
	return appendAll(mapHeader(b, len(r), proto), r, proto)
}

func (r fields) append(b []byte, proto int) []byte {
	b = mapHeader(b, len(r), proto)
	for _, e := range r {
		b = appendBulk(b, e)
	}
	return b
}

// add appends a field. Numbers inside maps are bulk strings too.
func (r *fields) add(name, value string) { *r = append(*r, name, value) }

func (r *fields) num(name string, value int64) { r.add(name, strconv.FormatInt(value, 10)) }

func appendAll(b []byte, replies []reply, proto int) []byte {
	for _, e := range replies {
		b = e.append(b, proto)
	}
	return b
}

func mapHeader(b []byte, n, proto int) []byte {
	if proto < 3 {
		return header(b, '*', n)
	}
	return header(b, '%', n/2)
}

func header(b []byte, sign byte, n int) []byte {
	b = strconv.AppendInt(append(b, sign), int64(n), 10)
	return append(b, "\r\n"...)
}

func appendBulk(b []byte, s string) []byte {
	b = append(header(b, '$', len(s)), s...)
	return append(b, "\r\n"...)
}

// line writes a text that must not break the protocol: control characters become spaces.
func line(b []byte, sign byte, s string) []byte {
	b = append(b, sign)
	for i := range len(s) {
		b = append(b, choose(s[i] == '\r' || s[i] == '\n', ' ', s[i]))
	}
	return append(b, "\r\n"...)
}

func choose[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}
