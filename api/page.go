package api

import (
	"encoding/base64"
	"iter"

	"google.golang.org/protobuf/proto"
)

const (
	pageDefault = 100
	pageMax     = 1000
	// pageBytes keeps an answer below the 4 MiB that gRPC clients accept by default.
	pageBytes = 3 << 20
)

// page collects what comes after the place that token names, until the page is full by count or by bytes. place names an
// item; more gives the token of the next page, "" for none.
func page[In any, Out proto.Message](items iter.Seq[In], size int32, token string, kind string,
	after func(item In, place string) bool, place func(In) string, convert func(In) Out,
) (out []Out, more string, err error) {
	if size < 0 || size > pageMax {
		return nil, "", invalid("page_size: %d is not allowed; want 1 to %d, or 0 for %d", size, pageMax, pageDefault)
	}
	if size == 0 {
		size = pageDefault
	}
	last, err := readToken(kind, token)
	if err != nil {
		return nil, "", err
	}
	bytes := 0
	for item := range items {
		if token != "" && !after(item, last) {
			continue
		}
		msg := convert(item)
		bytes += proto.Size(msg)
		if len(out) > 0 && (len(out) == int(size) || bytes > pageBytes) {
			return out, writeToken(kind, more), nil
		}
		out = append(out, msg)
		more = place(item)
	}
	return out, "", nil
}

// Tokens are opaque to callers; the kind keeps one list's token from being used in another.
func writeToken(kind, place string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + ":" + place))
}

func readToken(kind, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) <= len(kind) || string(raw[:len(kind)+1]) != kind+":" {
		return "", invalid("page_token: is not one that this list gave out; begin again without it")
	}
	return string(raw[len(kind)+1:]), nil
}
