package resp

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// TestAFloodDoesNotKeepTheServer: clients that send without end, and are answered nothing, end with the server.
func TestAFloodDoesNotKeepTheServer(t *testing.T) {
	for name, raw := range map[string]string{"empty lines": "\r\n", "muted": "PING\r\n"} {
		t.Run(name, func(t *testing.T) {
			r := newRigOnTCP(t)
			for range 3 {
				c := r.client(t)
				c.write("CLIENT REPLY OFF\r\n")
				go func() {
					for {
						if _, err := io.WriteString(c.conn, strings.Repeat(raw, 4000)); err != nil {
							return
						}
					}
				}()
			}
			waitFor(t, "they flood", func() bool { return len(r.server.clients()) == 3 && r.server.clients()[2].traffic.in.Load() > 1<<20 })
			r.stop()
			waitFor(t, "the server has none left", func() bool { return len(r.server.clients()) == 0 })
		})
	}
}

// TestAKilledClientRunsNothingMore: neither the command under way nor those behind it.
func TestAKilledClientRunsNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		killer, c := r.client(t), r.client(t)
		killer.do("PING")
		r.node.set(func(n *fakeNode) { n.hang = true })
		c.write("SENTINEL REMOVE m\r\nCLIENT SETNAME later\r\n")
		synctest.Wait()
		victim := r.server.clients()[1]
		began := time.Now()
		if got := killer.do("CLIENT", "KILL", "ID", fmt.Sprint(victim.id)); got != ":1" {
			t.Fatal(got)
		}
		if got := c.read(); got != io.EOF.Error() {
			t.Errorf("the killed one reads %q", got)
		}
		if v := about(victim); v.told.name != "" || time.Since(began) > time.Millisecond {
			t.Errorf("name %q, ended after %v", v.told.name, time.Since(began))
		}
	})
}

// TestAnswersDoNotWaitForASlowCommand: what was answered before it leaves before it.
func TestAnswersDoNotWaitForASlowCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.client(t)
		r.node.set(func(n *fakeNode) { n.hang = true })
		began := time.Now()
		c.write("PING\r\nSENTINEL REMOVE m\r\nSENTINEL REMOVE m\r\n")
		for i, want := range []string{"+PONG", "-NOQUORUM", "-NOQUORUM"} {
			got := c.read()
			if took, limit := time.Since(began), time.Duration(i)*changeLimit; !strings.HasPrefix(got, want) || took > limit {
				t.Errorf("%s after %v; want %s within %v", got, took, want, limit)
			}
		}
		began = time.Now()
		c.write("PING\r\nCLIENT PAUSE 5000\r\nPING\r\n")
		for i, want := range []time.Duration{0, 0, 5 * time.Second} {
			if got := c.read(); time.Since(began) != want {
				t.Errorf("answer %d, %s, after %v; want %v", i, got, time.Since(began), want)
			}
		}
	})
}

// TestALargeAnswerIsNoSlowSubscriber: what a subscriber asked for does not count against what it was not asked.
func TestALargeAnswerIsNoSlowSubscriber(t *testing.T) {
	r := newRigOnTCP(t)
	for i := range 3000 {
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
			Name: fmt.Sprint("m", i), Address: &raftlogv1.Address{Host: "10.9.1.1", Port: uint32(1000 + i)},
			Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "2"}},
		}}})
	}
	c := r.client(t)
	if err := c.conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	c.do("HELLO", "3")
	c.do("SUBSCRIBE", "x")
	c.write(strings.Repeat("SENTINEL MASTERS\r\n", 8))
	served := r.server.clients()[0]
	waitFor(t, "an answer larger than a subscriber's bound waits", func() bool { return about(served).queued > messageLimit })
	r.server.Publish("x", "news")
	if about(served).ended {
		t.Error("disconnected for one short message")
	}
}

// TestWhatAConnectionMayHold: names, prefixes and subscriptions are bounded, and what was refused is not counted.
func TestWhatAConnectionMayHold(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	long := strings.Repeat("x", maxTold+1)
	for _, command := range []string{
		"CLIENT SETNAME " + long, "CLIENT SETINFO lib-name " + long, "CLIENT TRACKING ON BCAST PREFIX " + long,
		"CLIENT TRACKING ON BCAST" + strings.Repeat(" PREFIX p", maxPrefixes+1),
	} {
		if got := c.do(strings.Fields(command)...); !strings.HasPrefix(got, "-ERR ") {
			t.Errorf("%.40s: %s", command, got)
		}
	}
	names := make([]string, 0, 1024)
	for i := range cap(names) - 1 {
		names = append(names, fmt.Sprint("a", i))
	}
	c.write(string(fields(append([]string{"SUBSCRIBE"}, names...)).append(nil, 2)))
	confirmed := 0
	for ; strings.HasPrefix(c.read(), "[subscribe "); confirmed++ {
	}
	if told := about(r.server.clients()[0]).told.channels; told != confirmed || confirmed > subscriptionLimit/256 {
		t.Errorf("%d confirmed, %d told", confirmed, told)
	}
}

// TestHTTPIsNotSpoken: a request that a browser could be made to send runs no command out of its body.
func TestHTTPIsNotSpoken(t *testing.T) {
	for _, head := range []string{"POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n", "host: x\r\n"} {
		r := newRig(t, nil)
		c := r.client(t)
		c.write(head + "\r\nSENTINEL MONITOR m 10.0.0.1 6379 2\r\n")
		for got := c.read(); got != io.EOF.Error(); got = c.read() {
			if !strings.HasPrefix(got, "-ERR unknown command 'GET'") {
				t.Errorf("%q: %s", head, got)
				break
			}
		}
		if n := r.node.State().MasterCount(); n != 0 {
			t.Errorf("%q: a command of the body was run", head)
		}
	}
}
