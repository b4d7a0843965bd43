package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// scripted is a server that answers anything with the same bytes, a few at a time, and then closes or keeps silent.
func scripted(t *testing.T, reply string, chunk int, closes bool) *Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	d := &Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
	go func() {
		if _, err := server.Read(make([]byte, 4096)); err != nil {
			return
		}
		for s := reply; s != ""; {
			n := min(chunk, len(s))
			if _, err := server.Write([]byte(s[:n])); err != nil {
				return
			}
			s = s[n:]
		}
		if closes {
			_ = server.Close()
			return
		}
		_, _ = io.Copy(io.Discard, server)
	}()
	return mustDial(t, d, target(t, "127.0.0.1:1"), "")
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		name, reply string
		want        any
		err         error
	}{
		{"status", "+OK\r\n", "OK", nil},
		{"empty status", "+\r\n", "", nil},
		{"integer", ":-12\r\n", int64(-12), nil},
		{"bulk", "$5\r\na\r\nbc\r\n", "a\r\nbc", nil},
		{"empty bulk", "$0\r\n\r\n", "", nil},
		{"null bulk", "$-1\r\n", nil, nil},
		{"null array", "*-1\r\n", nil, nil},
		{"empty array", "*0\r\n", []any{}, nil},
		{"nested", "*3\r\n:1\r\n*1\r\n$1\r\nx\r\n-ERR no\r\n", []any{int64(1), []any{"x"}, ReplyError{"ERR no"}}, nil},
		{"error", "-LOADING wait\r\n", nil, ReplyError{"LOADING wait"}},
		{"closed at once", "", nil, io.ErrUnexpectedEOF},
		{"closed within a line", "+PO", nil, io.ErrUnexpectedEOF},
		{"closed within a bulk", "$5\r\nab", nil, io.ErrUnexpectedEOF},
		{"closed within an array", "*2\r\n:1\r\n", nil, io.ErrUnexpectedEOF},
		{"http", "HTTP/1.1 400 Bad Request\r\n\r\n", nil, errProtocol},
		{"no CR", "+OK\n", nil, errProtocol},
		{"empty line", "\r\n", nil, errProtocol},
		{"bad integer", ":1x\r\n", nil, errProtocol},
		{"bad length", "$x\r\n", nil, errProtocol},
		{"negative length", "*-2\r\n", nil, errProtocol},
		{"bulk without end", "$2\r\nabcd", nil, errProtocol},
		{"too deep", strings.Repeat("*1\r\n", 20) + ":1\r\n", nil, errProtocol},
		{"announced too long", "$999999999\r\n", nil, errTooLong},
		{"announced too many", "*999999999\r\n", nil, errTooLong},
		{"line too long", "+" + strings.Repeat("x", maxLine+8192), nil, errTooLong},
		{"sum too long", "*3\r\n" + strings.Repeat("$600000\r\n"+strings.Repeat("x", 600000)+"\r\n", 3), nil, errTooLong},
	} {
		for _, chunk := range []int{1, 4096} {
			if chunk == 1 && len(c.reply) > 10000 {
				continue
			}
			conn := scripted(t, c.reply, chunk, true)
			got, err := conn.Do(bounded(t), "ANY")
			if !reflect.DeepEqual(got, c.want) || !errors.Is(err, c.err) {
				t.Errorf("%s by %d: got %#v, %v; want %#v, %v", c.name, chunk, got, err, c.want, c.err)
			}
			if _, again := conn.Do(bounded(t), "ANY"); again == nil {
				t.Errorf("%s by %d: a second command succeeded on a connection that ended", c.name, chunk)
			}
		}
	}
}

func TestUnaskedReply(t *testing.T) {
	c := scripted(t, "+PONG\r\n+PONG\r\n", 4096, false)
	if class, err := c.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Fatal(class, err)
	}
	if _, err := c.Ping(bounded(t)); !errors.Is(err, errUnasked) {
		t.Errorf("an answer to the former command was taken for one to this: %v", err)
	}
}

func TestPartialReplyIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer func() { _ = server.Close() }()
		d := &Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
		c, err := d.Dial(t.Context(), target(t, "127.0.0.1:1"), "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		go func() {
			_, _ = server.Read(make([]byte, 4096))
			for i, part := range []string{"*2\r\n$5\r\nab", "cde\r\n:", "7\r\n"} {
				if i > 0 {
					time.Sleep(time.Second) // virtual
				}
				_, _ = server.Write([]byte(part))
			}
		}()
		deadline := func(d time.Duration) context.Context {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			t.Cleanup(cancel)
			return ctx
		}
		if _, err := c.Do(deadline(500*time.Millisecond), "ANY"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if _, err := c.ReadLate(deadline(time.Second)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		got, err := c.ReadLate(deadline(5 * time.Second))
		if err != nil || !reflect.DeepEqual(got, []any{"abcde", int64(7)}) || c.RTT() != 2*time.Second {
			t.Errorf("%v, %v after %v", got, err, c.RTT())
		}
		if _, err := c.ReadLate(deadline(time.Second)); !errors.Is(err, errNotLate) {
			t.Errorf("nothing is outstanding: %v", err)
		}
	})
}

// An INFO that comes in parts, with waits given up between them, is read from its first byte again, however its buffer has grown.
func TestPartialInfoIsTakenUpAgain(t *testing.T) {
	section := func(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }
	long := strings.Repeat("slave0:ip=10.0.0.9,port=6379,state=online,offset=1,lag=0\r\n", 200) // more than a pooled buffer
	whole := section("# Server\r\nredis_version:6.2.0\r\nrun_id:abc\r\n") + section("# Replication\r\nrole:master\r\n"+long) +
		section("# Persistence\r\nloading:0\r\n")
	refused := section("# Server\r\nredis_version:6.2.0\r\n") + "-NOPERM no\r\n" + section("# Persistence\r\nloading:0\r\n")
	for _, c := range []struct {
		reply string
		cut   []int // where it stops for a second
		want  string
	}{
		{whole, []int{3, 20, 300, 5000, 9000}, ""},
		{whole, []int{len(whole) - 1}, ""},
		{refused, []int{2, len(refused) - 3}, "NOPERM no"},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			defer func() { _ = server.Close() }()
			d := &Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
			conn, err := d.Dial(t.Context(), target(t, "127.0.0.1:1"), "")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			go func() {
				_, _ = server.Read(make([]byte, 4096))
				from := 0
				for _, at := range append(c.cut, len(c.reply)) {
					if from > 0 {
						time.Sleep(time.Second) // virtual
					}
					_, _ = server.Write([]byte(c.reply[from:at]))
					from = at
				}
			}()
			within := func() context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
				t.Cleanup(cancel)
				return ctx
			}
			info, err := conn.Info(within())
			for errors.Is(err, os.ErrDeadlineExceeded) {
				info, err = conn.InfoLate(within())
			}
			if c.want != "" {
				if refusal, ok := errors.AsType[ReplyError](err); !ok || refusal.Text != c.want || info != nil {
					t.Errorf("%+v, %v, want %s", info, err, c.want)
				}
				return
			}
			if err != nil || info.RunID != "abc" || info.Role != raftfsm.RoleMaster || len(info.Replicas) != 200 {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

func TestCommandThatWasNotSentHasNoLateReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe() // nobody reads it
		defer func() { _ = server.Close() }()
		d := &Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
		c, err := d.Dial(t.Context(), target(t, "127.0.0.1:1"), "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if _, err := c.PingLate(t.Context()); !errors.Is(err, errNotLate) {
			t.Error(err)
		}
	})
}

func TestCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := scripted(t, "", 1, false)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		_, err := c.Ping(ctx)
		if !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if _, err := c.PingLate(t.Context()); !errors.Is(err, errNotLate) {
			t.Errorf("late after a cancellation: %v", err)
		}
		_ = c.Close()
	})
}

func TestCancelledBeforeLeavesTheConnectionWhole(t *testing.T) {
	c := scripted(t, "+PONG\r\n", 10, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if class, err := c.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Error(class, err)
	}
}

// All that a promotion asks goes out in one write: this server reads once.
func TestPromotedAndDemotedAgainAtOnce(t *testing.T) {
	_, err := scripted(t, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n"+
		"*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.9\r\n:6379\r\n$7\r\nconnect\r\n:-1\r\n$10\r\nrole:slave\r\n$0\r\n\r\n$0\r\n\r\n", 100, false).Promote(bounded(t))
	if err == nil || !strings.Contains(err.Error(), "replica of 10.0.0.9:6379") {
		t.Error(err)
	}
}

// An answer without sense is an error, and nothing else happens.
func TestPromotionAnsweredWithNonsense(t *testing.T) {
	for _, exec := range []string{"*0\r\n", "+OK\r\n", "$-1\r\n", ":1\r\n"} {
		_, err := scripted(t, "+OK\r\n+QUEUED\r\n"+exec+"*0\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n", 100, false).Promote(bounded(t))
		if err == nil {
			t.Errorf("EXEC answered by %q is a promotion", exec)
		}
	}
}

func TestPongClasses(t *testing.T) {
	for reply, want := range map[string]detector.ReplyClass{
		"+PONG\r\n": detector.ReplyPong, "$4\r\nPONG\r\n": detector.ReplyPong, "-PONG\r\n": detector.ReplyOther,
		"-\r\n": detector.ReplyOther, ":1\r\n": detector.ReplyOther, "-LOADING x\r\n": detector.ReplyLoading,
		"-MASTERDOWN x\r\n": detector.ReplyMasterDown, "-NOAUTH x\r\n": detector.ReplyAuth, "-BUSY x\r\n": detector.ReplyBusy,
	} {
		if class, err := scripted(t, reply, 100, false).Ping(bounded(t)); class != want || err != nil {
			t.Errorf("%q: %v, %v", reply, class, err)
		}
	}
}

func TestPasswordsAreNotEchoed(t *testing.T) {
	client, server := net.Pipe()
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = server.Read(make([]byte, 4096))
		_, _ = server.Write([]byte("-ERR unknown command 'AUTH', with args beginning with: 'hunter2' \r\n"))
		_, _ = io.Copy(io.Discard, server)
	}()
	d := &Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
	tg := target(t, "127.0.0.1:1")
	tg.Pass = raftfsm.NewSecret("hunter2")
	if _, err := d.Dial(bounded(t), tg, ""); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "*2\r\n$1\r\na\r\n:1\r\n", "$-1\r\n", "*1\r\n*1\r\n-E\r\n", "$9\r\nab", "*\r\n", "\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := reader{src: strings.NewReader(string(data)), limit: 1 << 12}
		values, err := r.replies(1)
		if (err == nil) != (len(values) == 1) {
			t.Errorf("%v, %v", values, err)
		}
		if cap(r.buf) > 4*r.limit {
			t.Errorf("a buffer of %d for a limit of %d", cap(r.buf), r.limit)
		}
	})
}
