package resp

import (
	"strconv"
	"strings"
)

// reply is what a command answers, in RESP2.
type reply interface{ encode(*strings.Builder) }

type (
	simple string
	// failure is an error: its first word is the code.
	failure   string
	bulk      string
	array     []reply
	nullArray struct{}
	// fields is a map: a flat array of names and values, in order.
	fields []string
)

func (r simple) encode(b *strings.Builder) { line(b, '+', string(r)) }

func (r failure) encode(b *strings.Builder) { line(b, '-', string(r)) }

func (nullArray) encode(b *strings.Builder) { b.WriteString("*-1\r\n") }

func (r bulk) encode(b *strings.Builder) {
	line(b, '$', strconv.Itoa(len(r)))
	b.WriteString(string(r))
	b.WriteString("\r\n")
}

func (r array) encode(b *strings.Builder) {
	line(b, '*', strconv.Itoa(len(r)))
	for _, e := range r {
		e.encode(b)
	}
}

func (r fields) encode(b *strings.Builder) {
	line(b, '*', strconv.Itoa(len(r)))
	for _, e := range r {
		bulk(e).encode(b)
	}
}

// add appends a field. Numbers inside maps are bulk strings too.
func (r *fields) add(name, value string) { *r = append(*r, name, value) }

func (r *fields) num(name string, value int64) { r.add(name, strconv.FormatInt(value, 10)) }

// line writes a line; what could end it early becomes a space.
func line(b *strings.Builder, kind byte, text string) {
	b.WriteByte(kind)
	b.WriteString(strings.NewReplacer("\r", " ", "\n", " ").Replace(text))
	b.WriteString("\r\n")
}
