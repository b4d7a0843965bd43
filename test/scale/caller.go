package scale

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
)

const (
	// streamWindow is what a call may bring in all, for it is never widened.
	streamWindow = 1 << 30
	// connWindow is what may be under way on a connection. It is opened again when half of it has come.
	connWindow = 1 << 20
	// firstWindow is that of a new connection, both ways, and of a call on the way to the server (RFC 9113, 6.9.2).
	firstWindow = 1<<16 - 1
	// tableSize is that of the table of header fields, both ways, where nobody asks for another (RFC 9113, 6.5.2).
	tableSize = 4096
	// prefix is the length of what stands before each message: whether it is compressed, and its length.
	prefix = 5
	// readAtOnce is more than the answers to the calls of one connection take.
	readAtOnce = 32 << 10
)

// caller is a gRPC client on one connection, for one method and one request. Callers share the cores with the node that they
// measure, and grpc-go's client costs as much as its server: this one has no goroutine, no lock and no timer. Whoever owns it
// begins calls and takes what comes; requests leave together once all that has been received is taken.
type caller struct {
	conn   net.Conn
	framer *http2.Framer
	out    *bufio.Writer
	// head are the fields of the next request. From the second one on all of them stand in the server's table, and their
	// bytes stay the same.
	head, later []byte
	body        []byte // the request behind its prefix
	stream      uint32 // of the next call
	calls       map[uint32]*call
	room        int // what may still be sent
	come        int // what came since the window was opened
	busy        *call
	// Of the header block that is being read: whether it ends the call, and its fields that matter.
	decoder               *hpack.Decoder
	ends                  bool
	http, status, message string
}

// call is one call at a time, and may be begun again when it has ended.
type call struct {
	place int       // whose it is
	begun time.Time // before the request was written
	// message is the latest, until the call brings more.
	message []byte
	buf     []byte
	rest    []byte // what came behind message, in buf at first
}

// dial connects. The connection is closed at the latest when ctx ends.
func dial(ctx context.Context, addr, method string, request []byte) (*caller, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	c := &caller{conn: conn, out: bufio.NewWriter(conn), calls: map[uint32]*call{}, stream: 1, room: firstWindow}
	c.framer = http2.NewFramer(c.out, bufio.NewReaderSize(c, readAtOnce))
	c.framer.SetReuseFrames()
	c.decoder = hpack.NewDecoder(tableSize, c.field)
	c.body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request))), request...)
	c.head, c.later = heads(method, addr)
	_, err = c.out.WriteString(http2.ClientPreface)
	err = errors.Join(err,
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow}),
		c.framer.WriteWindowUpdate(0, connWindow-firstWindow))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// heads are the fields of a connection's first request and of all others.
func heads(method, addr string) (first, later []byte) {
	var b bytes.Buffer
	encoder := hpack.NewEncoder(&b)
	encode := func() []byte {
		b.Reset()
		for _, f := range [][2]string{
			{":method", "POST"},
			{":scheme", "http"},
			{":path", method},
			{":authority", addr},
			{"content-type", "application/grpc"},
			{"te", "trailers"},
			{"user-agent", "sentineld-bench"},
		} {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // a buffer takes everything
		}
		return bytes.Clone(b.Bytes())
	}
	return encode(), encode()
}

// Read sends what is to be sent before it waits for more.
func (c *caller) Read(p []byte) (int, error) {
	if err := c.out.Flush(); err != nil {
		return 0, err
	}
	return c.conn.Read(p)
}

// begin sends the request once more.
func (c *caller) begin(k *call) error {
	if len(c.body) > c.room {
		return fmt.Errorf("the server leaves room for %d bytes and the request has %d", c.room, len(c.body))
	}
	c.room -= len(c.body)
	stream := c.stream
	c.stream += 2
	c.calls[stream] = k
	k.begun, k.message, k.rest = time.Now(), nil, nil
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.head, EndHeaders: true})
	c.head = c.later
	return errors.Join(err, c.framer.WriteData(stream, true, c.body))
}

// next is the call that has brought a message, or has ended well. Any other end is an error.
func (c *caller) next() (k *call, ended bool, err error) {
	for {
		if c.busy != nil {
			if whole, err := c.busy.take(); whole || err != nil {
				return c.busy, false, err
			}
			c.busy = nil
		}
		f, err := c.framer.ReadFrame()
		if err != nil {
			return nil, false, err
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			err = c.data(f)
		case *http2.HeadersFrame:
			c.ends, c.status, c.message = f.StreamEnded(), "", ""
			k, err = c.fields(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded())
		case *http2.ContinuationFrame:
			k, err = c.fields(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded())
		default:
			err = c.control(f)
		}
		if k != nil || err != nil {
			return k, k != nil, err
		}
	}
}

// control is any frame that belongs to the connection, or breaks a call off.
func (c *caller) control(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if n, ok := f.Value(http2.SettingInitialWindowSize); ok && int(n) < len(c.body) {
			return fmt.Errorf("the server leaves room for %d bytes a call and the request has %d", n, len(c.body))
		}
		if n, ok := f.Value(http2.SettingHeaderTableSize); ok && n < tableSize {
			return fmt.Errorf("the server keeps %d bytes of header fields, not %d", n, tableSize)
		}
		return c.framer.WriteSettingsAck()
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		return c.framer.WritePing(true, f.Data)
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.room += int(f.Increment)
		}
	case *http2.RSTStreamFrame:
		if c.calls[f.StreamID] == nil {
			return nil // it has ended well, before the server had seen the end of the request (RFC 9113, 8.1)
		}
		return fmt.Errorf("call %d was broken off: %v", f.StreamID, f.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Errorf("the server ends the connection: %v %s", f.ErrCode, f.DebugData())
	}
	return nil
}

// data is a part of one message or of several.
func (c *caller) data(f *http2.DataFrame) error {
	k := c.calls[f.StreamID]
	if k == nil || f.StreamEnded() {
		return fmt.Errorf("call %d: data of no call, or in the place of a status", f.StreamID)
	}
	if len(k.rest) == 0 {
		k.buf = append(k.buf[:0], f.Data()...)
		k.rest = k.buf
	} else {
		k.rest = append(k.rest, f.Data()...)
	}
	c.busy = k
	c.come += int(f.Length)
	if c.come < connWindow/2 {
		return nil
	}
	n := c.come
	c.come = 0
	return c.framer.WriteWindowUpdate(0, uint32(n))
}

// take cuts the next message off, if it has come as a whole.
func (k *call) take() (bool, error) {
	if len(k.rest) < prefix {
		return false, nil
	}
	if k.rest[0] != 0 {
		return false, errors.New("a compressed message, and none was asked for")
	}
	end := prefix + int(binary.BigEndian.Uint32(k.rest[1:]))
	if len(k.rest) < end {
		return false, nil
	}
	k.message, k.rest = k.rest[prefix:end], k.rest[end:]
	return true, nil
}

// fields are header fields, of which all are decoded for the table's sake. It gives the call if that has ended.
func (c *caller) fields(stream uint32, block []byte, last bool) (*call, error) {
	if _, err := c.decoder.Write(block); err != nil || !last {
		return nil, err
	}
	if err := c.decoder.Close(); err != nil || !c.ends {
		return nil, err
	}
	k := c.calls[stream]
	delete(c.calls, stream)
	switch {
	case c.status == "":
		return nil, fmt.Errorf("call %d: HTTP status %s and none of gRPC", stream, c.http)
	case c.status != "0":
		return nil, statusError(c.status, c.message)
	case k == nil || len(k.rest) > 0:
		return nil, fmt.Errorf("call %d: the end of no call, or in the midst of a message", stream)
	}
	return k, nil
}

func (c *caller) field(f hpack.HeaderField) {
	switch f.Name {
	case ":status":
		c.http = f.Value
	case "grpc-status":
		c.status = f.Value
	case "grpc-message":
		c.message = f.Value
	}
}

// statusError is the error of a call, whose text comes percent-encoded.
func statusError(number, text string) error {
	if plain, err := url.PathUnescape(text); err == nil {
		text = plain
	}
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(number)); err != nil {
		return fmt.Errorf("gRPC status %s: %s", number, text)
	}
	return fmt.Errorf("%v: %s", code, text)
}
