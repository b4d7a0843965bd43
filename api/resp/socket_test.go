package resp

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestHalfClose: what came with the end of a stream is answered, and then the connection ends.
func TestHalfClose(t *testing.T) {
	r := newRigOnTCP(t)
	for _, sent := range []struct{ bytes, want string }{
		{"PING\r\nSENTINEL MYID\r\n", "+PONG\r\n$40\r\n86f7e437faa5a7fce15d1ddcb9eaeaea377667b8\r\n"},
		{"PING\r\nPI", "+PONG\r\n"},
		{"", ""},
		{"*1\r\n$4\r\nPING\r\n*x\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n"},
		{"QUIT\r\nPING\r\n", "+OK\r\n"},
	} {
		conn := r.dial(t).(*net.TCPConn)
		if _, err := io.WriteString(conn, sent.bytes); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if string(got) != sent.want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", sent.bytes, got, err, sent.want)
		}
	}
	waitFor(t, "the connections are let go", func() bool { return len(r.server.clients()) == 0 })
}

// waitFor polls until something holds. It rests in between: on a busy machine what it waits for needs the time, and while
// anything runs on its only processor Go looks for what has come over sockets but 100 times a second.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestAClientThatDoesNotRead is not read from either, so that it holds back itself and fills no memory; and when it reads, each
// of its commands has its answer.
func TestAClientThatDoesNotRead(t *testing.T) {
	const commands = 30_000
	r := newRigOnTCP(t)
	c, other := r.client(t), r.client(t)
	c.do("CLIENT", "SETNAME", "deaf")
	one := "SENTINEL DEBUG\r\n" // a short command with a long answer
	answer := c.do("SENTINEL", "DEBUG")
	var written atomic.Int64
	var writer sync.WaitGroup
	writer.Go(func() {
		batch := strings.Repeat(one, 100)
		for range commands / 100 {
			if _, err := io.WriteString(c.conn, batch); err != nil {
				t.Error(err)
				return
			}
			written.Add(100)
		}
	})
	server := r.server.clients()[0]
	// The kernel may take more for a while; then nothing more is read of it, whatever comes.
	sent, before := int64(-1), int64(-1)
	waitFor(t, "its answers wait", func() bool {
		was, ran := sent, before
		for range 50 {
			other.do("PING")
		}
		sent, before = server.traffic.out.Load(), server.traffic.commands.Load()
		return sent == was && before == ran && about(server).queued > 0
	})
	for range 50 {
		other.do("PING")
	}
	if after := server.traffic.commands.Load(); after > before {
		t.Errorf("%d commands are run while their answers wait", after-before)
	}
	if ran := server.traffic.commands.Load(); ran > commands*9/10 {
		t.Errorf("%d commands are run before their answers wait: too few to tell", ran)
	}
	if v := about(server); v.queued > 2*maxBytes {
		t.Errorf("%d bytes wait for one client", v.queued)
	}
	for i := range commands {
		if got := c.read(); got != answer {
			t.Fatalf("answer %d: %.100q", i, got)
		}
	}
	writer.Wait()
	c.converse(step{"PING", "+PONG"})
}

// TestKill ends connections at rest, in the midst of answers, and of subscribers.
func TestKill(t *testing.T) {
	r := newRigOnTCP(t)
	killer := r.client(t)
	idle, deaf, listener := r.client(t), r.client(t), r.client(t)
	idle.do("PING")
	deaf.do("PING")
	listener.do("SUBSCRIBE", "x")
	go func() {
		for {
			if _, err := io.WriteString(deaf.conn, strings.Repeat("COMMAND LIST\r\n", 100)); err != nil {
				return
			}
		}
	}()
	waitFor(t, "answers wait for the deaf one", func() bool { return about(r.server.clients()[2]).queued > 0 })
	killer.converse(
		step{"CLIENT KILL ID 2", ":1"},
		step{"CLIENT KILL " + deaf.conn.LocalAddr().String(), "+OK"},
		step{"CLIENT KILL LADDR " + r.lis.Addr().String() + " TYPE pubsub", ":1"},
	)
	for name, c := range map[string]*peer{"idle": idle, "listener": listener} {
		if got := c.read(); got != io.EOF.Error() && !strings.Contains(got, "reset") {
			t.Errorf("%s: %q", name, got)
		}
	}
	waitFor(t, "one connection is left", func() bool { return len(r.server.clients()) == 1 })
	killer.converse(step{"CLIENT LIST", "id=1 …\n"}, step{"INFO clients", "…connected_clients:1\r\n…"})
	r.server.Publish("x", "nobody is left to hear it")
}

// TestTheServersEnd: with clients that ask, that listen, that do not read and that rest, Run returns soon, and each connection
// has an end.
func TestTheServersEnd(t *testing.T) {
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, lis, nil)
	var clients sync.WaitGroup
	for range 8 {
		busy, listener, deaf := r.client(t), r.client(t), r.dial(t)
		listener.do("SUBSCRIBE", "x")
		clients.Go(func() {
			for busy.ask("SENTINEL MASTERS\r\n") {
				continue
			}
		})
		clients.Go(func() {
			for listener.ask("") {
				continue
			}
		})
		clients.Go(func() {
			for {
				if _, err := io.WriteString(deaf, strings.Repeat("COMMAND LIST\r\n", 50)); err != nil {
					return
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	clients.Go(func() {
		for ctx.Err() == nil {
			r.server.Publish("x", "hello")
		}
	})
	waitFor(t, "they are busy", func() bool {
		total, _, _ := r.server.total()
		return total.commands.Load() > 10_000
	})
	began := time.Now()
	r.stop()
	r.ended(t)
	if took := time.Since(began); took > writeLimit/2 { // by when those that do not read would be ended anyway
		t.Errorf("the end took %v", took)
	}
	cancel()
	clients.Wait()
	if n := len(r.server.clients()); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// ask sends bytes and reads one reply; false where the connection has ended.
func (c *peer) ask(raw string) bool {
	if _, err := io.WriteString(c.conn, raw); err != nil {
		return false
	}
	_, err := c.in.ReadString('\n')
	return err == nil
}
