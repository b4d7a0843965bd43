package instance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// dozer is a connection over a real socket, whose other end the test holds.
type dozer struct {
	t *testing.T
	*Conn
	peer   net.Conn
	breaks Breaks
	broken chan struct{}
}

func newDozer(t *testing.T) *dozer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d := &dozer{t: t, broken: make(chan struct{}, 9)}
	d.Conn = mustDial(t, &Dialer{}, target(t, l.Addr().String()), "")
	if d.peer, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	d.sections = true
	t.Cleanup(func() {
		_ = d.peer.Close()
		if err := errors.Join(d.Close(), d.breaks.Close()); err != nil {
			t.Error(err)
		}
	})
	if !d.Doze(&d.breaks, func() { d.broken <- struct{}{} }) {
		t.Fatal("it does not doze")
	}
	return d
}

// hears waits until the instance has got a command.
func (d *dozer) hears(word string) {
	d.t.Helper()
	b := make([]byte, 256)
	_ = d.peer.SetReadDeadline(time.Now().Add(patience))
	if n, err := d.peer.Read(b); err != nil || !strings.Contains(string(b[:n]), word) {
		d.t.Errorf("got %q, %v; want %s", b[:n], err, word)
	}
}

func (d *dozer) answers(text string) {
	d.t.Helper()
	if _, err := io.WriteString(d.peer, text); err != nil {
		d.t.Error(err)
	}
}

// come looks until something has come.
func come[T any](d *dozer, look func() (T, error)) (T, error) {
	d.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if got, err := look(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
			return got, err
		}
	}
}

const shortInfo = "redis_version:7.0.0\r\nrole:master\r\n"

func bulk(text string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text) }

func TestDozingConnectionIsNudged(t *testing.T) {
	d := newDozer(t)
	for _, c := range []struct {
		reply string
		class detector.ReplyClass
	}{{"+PONG\r\n", detector.ReplyPong}, {"-BUSY a script\r\n", detector.ReplyBusy}, {"+PONG\r\n", detector.ReplyPong}} {
		if !d.Nudge() || d.Nudge() || d.NudgeInfo() {
			t.Fatal("one probe at a time")
		}
		d.hears("PING")
		if _, err := d.PingCame(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("before the reply: %v", err)
		}
		d.answers(c.reply)
		if class, err := come(d, d.PingCame); class != c.class || err != nil {
			t.Errorf("%q: %v, %v", c.reply, class, err)
		}
	}
	if !d.NudgeInfo() {
		t.Fatal("no INFO")
	}
	d.hears("INFO")
	long := shortInfo + strings.Repeat("x:y\r\n", infoBuffer) // more than one read takes
	go d.answers(bulk(long))
	if info, err := come(d, d.InfoCame); err != nil || info.Version != "7.0.0" {
		t.Fatalf("%+v, %v", info, err)
	}
	if d.RTT() <= 0 || d.RTT() > patience {
		t.Errorf("round trip %v", d.RTT())
	}
	if !d.NudgeInfo() {
		t.Fatal("no second INFO")
	}
	d.hears("INFO")
	d.answers("-NOPERM no\r\n")
	var refused ReplyError
	if _, err := come(d, d.InfoCame); !errors.As(err, &refused) {
		t.Errorf("a refusal: %v", err)
	}
	// What refuses several sections is asked for one after the other.
	if !d.NudgeInfo() {
		t.Fatal("no third INFO")
	}
	d.hears("$6\r\nserver\r\n*2\r\n$4\r\nINFO\r\n$11\r\nreplication")
	d.answers(bulk("redis_version:6.2.0\r\n") + bulk("role:master\r\n"))
	if _, err := d.InfoCame(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("two of three replies are enough: %v", err)
	}
	d.answers(bulk("loading:1\r\n"))
	if info, err := come(d, d.InfoCame); err != nil || !info.Loading || info.Version != "6.2.0" {
		t.Errorf("%+v, %v", info, err)
	}
	if err := d.Wake(); err != nil || d.Outstanding() {
		t.Fatal(err)
	}
	go func() {
		d.hears("PING")
		d.answers("+PONG\r\n")
	}()
	if class, err := d.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Errorf("awake: %v, %v", class, err)
	}
	if len(d.broken) != 0 {
		t.Error("it did not break")
	}
}

// Whatever of a reply has come when it is woken is read late.
func TestWakeWithAReplyOutstanding(t *testing.T) {
	for _, before := range []string{"", "+PO"} {
		d := newDozer(t)
		d.Nudge()
		d.hears("PING")
		d.answers(before)
		time.Sleep(10 * time.Millisecond)
		if _, err := d.PingCame(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if err := d.Wake(); err != nil || !d.Outstanding() {
			t.Fatalf("%v, outstanding %v", err, d.Outstanding())
		}
		d.answers("+PONG\r\n"[len(before):])
		if class, err := d.PingLate(bounded(t)); class != detector.ReplyPong || err != nil {
			t.Errorf("after %q: %v, %v", before, class, err)
		}
	}
	d := newDozer(t)
	d.NudgeInfo()
	d.hears("INFO")
	text := bulk(shortInfo)
	d.answers(text[:20])
	if err := d.Wake(); err != nil || !d.Outstanding() {
		t.Fatal(err)
	}
	d.answers(text[20:])
	if info, err := d.InfoLate(bounded(t)); err != nil || info.Version != "7.0.0" {
		t.Errorf("%+v, %v", info, err)
	}
	d.sections = false
	if !d.Doze(&d.breaks, func() {}) || !d.NudgeInfo() {
		t.Fatal("it dozes no second time")
	}
	d.hears("persistence")
	d.answers(bulk("redis_version:6.2.0\r\n"))
	if err := d.Wake(); err != nil || !d.Outstanding() {
		t.Fatal(err)
	}
	d.answers(bulk("role:master\r\n") + bulk("loading:0\r\n"))
	if info, err := d.InfoLate(bounded(t)); err != nil || info.Version != "6.2.0" {
		t.Errorf("%+v, %v", info, err)
	}
}

// A process without a descriptor to spare must not lose the connections that it has.
func TestWakeWithoutADescriptor(t *testing.T) {
	a, b := newDozer(t), newDozer(t)
	b.breaks.waking.Lock()
	b.breaks.giveUpSpare()
	b.breaks.waking.Unlock()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	first, second := a.Wake(), b.Wake()
	for _, f := range taken {
		_ = f.Close()
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if first != nil {
		t.Errorf("with a spare one: %v", first)
	}
	if !errors.Is(second, unix.EMFILE) { // else the first shows nothing
		t.Errorf("without a spare one: %v", second)
	}
	go func() {
		a.hears("PING")
		a.answers("+PONG\r\n")
	}()
	if class, err := a.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Errorf("awake: %v, %v", class, err)
	}
	if a.breaks.spare < 0 {
		t.Error("no descriptor is kept for the next")
	}
}

func TestBreakOfADozingConnectionIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(*net.TCPConn)
		cause raftfsm.Cause
	}{
		"closed": {func(c *net.TCPConn) { _ = c.Close() }, raftfsm.CauseReset},
		"reset":  {func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, raftfsm.CauseReset},
		"half":   {func(c *net.TCPConn) { _ = c.CloseWrite() }, raftfsm.CauseReset},
		"unasked": {func(c *net.TCPConn) {
			_, _ = io.WriteString(c, "+PONG\r\n")
			_ = c.Close()
		}, raftfsm.CauseError},
	} {
		for _, asleep := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, asked while it dozes: %v", name, asleep), func(t *testing.T) {
				d := newDozer(t)
				if err := d.Broken(); err != nil {
					t.Fatalf("before the break: %v", err)
				}
				c.end(d.peer.(*net.TCPConn))
				select {
				case <-d.broken:
				case <-time.After(patience):
					t.Fatal("it is not told")
				}
				var told error
				if asleep {
					if told = d.Broken(); told == nil {
						t.Error("no break is found")
					}
				}
				err := d.Wake()
				if asleep != (err != nil) {
					t.Errorf("it wakes: %v", err)
				}
				if err == nil {
					told = d.Idle(bounded(t))
				}
				if told == nil || CauseOf(told) != c.cause {
					t.Errorf("%v, cause %s; want %s", told, raftfsm.CauseWord(CauseOf(told)), raftfsm.CauseWord(c.cause))
				}
				if len(d.broken) != 0 {
					t.Error("it is told twice")
				}
			})
		}
	}
}

// One that broke before it dozes is told of, too.
func TestBreakBeforeTheDozing(t *testing.T) {
	d := newDozer(t)
	if err := d.Wake(); err != nil {
		t.Fatal(err)
	}
	_ = d.peer.Close()
	time.Sleep(10 * time.Millisecond)
	if !d.Doze(&d.breaks, func() { d.broken <- struct{}{} }) {
		t.Fatal("it does not doze")
	}
	select {
	case <-d.broken:
	case <-time.After(patience):
		t.Error("it is not told")
	}
}

// What has come before the break is a reply all the same.
func TestReplyBeforeTheBreak(t *testing.T) {
	d := newDozer(t)
	d.Nudge()
	d.hears("PING")
	d.answers("+PONG\r\n")
	_ = d.peer.Close()
	<-d.broken
	if err := d.Wake(); err != nil {
		t.Fatal(err)
	}
	if class, err := d.PingLate(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Errorf("%v, %v", class, err)
	}
	if _, err := d.Ping(bounded(t)); err == nil {
		t.Error("a closed connection answers")
	}
}

func TestDozingConnectionFails(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		close  bool
	}{
		"two replies to one PING": {answer: "+PONG\r\n+PONG\r\n"},
		"another protocol":        {answer: "HTTP/1.1 400 Bad Request\r\n"},
		"nothing more":            {close: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDozer(t)
			d.Nudge()
			d.hears("PING")
			d.answers(c.answer)
			if c.close {
				_ = d.peer.Close()
			}
			if _, err := come(d, d.PingCame); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("looked: %v", err)
			}
			if d.Wake() == nil {
				t.Error("it goes on")
			}
		})
	}
}

// An INFO without sense is no refusal.
func TestDozingConnectionTellsNonsense(t *testing.T) {
	d := newDozer(t)
	d.NudgeInfo()
	d.hears("INFO")
	d.answers(bulk("hello"))
	if info, err := come(d, d.InfoCame); err == nil {
		t.Fatalf("read: %+v", info)
	}
	if d.Wake() == nil {
		t.Error("it goes on")
	}
}

func TestWhoCannotDoze(t *testing.T) {
	var b Breaks
	defer func() { _ = b.Close() }()
	n := fakeredis.NewNet()
	defer n.Close()
	piped := control(t, n, n.Add("10.0.0.1:6379"))
	if piped.Doze(&b, func() {}) {
		t.Error("a pipe has no socket")
	}
	if _, err := piped.Ping(bounded(t)); err != nil {
		t.Error(err)
	}
	d := newDozer(t)
	if err := d.Wake(); err != nil {
		t.Fatal(err)
	}
	d.failed = errBroken
	if d.Doze(&b, func() {}) {
		t.Error("a connection that failed dozes")
	}
}

// Hundreds doze and break at once, some while they wake.
func TestManyDoze(t *testing.T) {
	s := newStage(t)
	r := realRedis(t, s, stage.RedisOptions{})
	var b Breaks
	const many = 300
	broken := make(chan int, many)
	conns := make([]*Conn, many)
	for i := range conns {
		conns[i] = mustDial(t, &Dialer{}, target(t, r.Addr()), fmt.Sprintf("sentineld-%d", i))
		if _, err := conns[i].Info(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if !conns[i].Doze(&b, func() { broken <- i }) {
			t.Fatal("it does not doze")
		}
	}
	for i, c := range conns {
		if !c.Nudge() {
			t.Fatal(i)
		}
	}
	for i, c := range conns {
		d := &dozer{t: t, Conn: c}
		if class, err := come(d, c.PingCame); class != detector.ReplyPong || err != nil {
			t.Fatal(i, class, err)
		}
		if !c.NudgeInfo() {
			t.Fatal(i)
		}
		if info, err := come(d, c.InfoCame); err != nil || info.RunID == "" {
			t.Fatal(i, info, err)
		}
	}
	awake := conns[:many/3]
	for _, c := range awake {
		if err := c.Wake(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	told := map[int]bool{}
	for range many - len(awake) {
		select {
		case i := <-broken:
			if told[i] || i < len(awake) {
				t.Errorf("connection %d is told of", i)
			}
			told[i] = true
		case <-time.After(patience):
			t.Fatalf("%d of %d are told of", len(told), many-len(awake))
		}
	}
	for _, c := range conns {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
