package resp

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestSubscriptions: the shapes of both protocol versions, and what may be sent between.
func TestSubscriptions(t *testing.T) {
	r := newRig(t, nil)
	two, three := r.client(t), r.client(t)
	three.do("HELLO", "3")
	for _, v := range []struct {
		c    *peer
		sign string
		null string
	}{{two, "", "nil"}, {three, ">", "_"}} {
		c := v.c
		answers := func(command string, want ...string) {
			t.Helper()
			c.write(command + "\r\n")
			for _, w := range want {
				if got := c.read(); got != w {
					t.Errorf("%s: got %s, want %s", command, got, w)
				}
			}
		}
		answers("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command")
		answers("UNSUBSCRIBE", v.sign+"[unsubscribe "+v.null+" :0]")
		answers("UNSUBSCRIBE x", v.sign+"[unsubscribe x :0]")
		answers("SUBSCRIBE b a a", v.sign+"[subscribe b :1]", v.sign+"[subscribe a :2]", v.sign+"[subscribe a :2]")
		answers("PSUBSCRIBE [ab]*", v.sign+"[psubscribe [ab]* :3]")
		r.server.Publish("a", "x")
		answers("PUNSUBSCRIBE nosuch", v.sign+"[message a x]", v.sign+"[pmessage [ab]* a x]", v.sign+"[punsubscribe nosuch :3]")
		r.server.Publish("c", "not for us")
		if c == two {
			answers("PING", "[pong ]")
			answers("PING hi", "[pong hi]")
			answers("CLIENT ID", "-ERR Can't execute 'client|id': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
		} else {
			answers("PING", "+PONG")
			answers("CLIENT ID", ":2")
		}
		answers("PUNSUBSCRIBE", v.sign+"[punsubscribe [ab]* :2]")
		answers("UNSUBSCRIBE", v.sign+"[unsubscribe a :1]", v.sign+"[unsubscribe b :0]")
		answers("PING", "+PONG")
		answers("SUBSCRIBE a", v.sign+"[subscribe a :1]")
		answers("RESET", "+RESET")
		r.server.Publish("a", "nobody listens")
		answers("PING", "+PONG")
		answers("SUBSCRIBE a", "[subscribe a :1]")
		answers("QUIT", "+OK", io.EOF.Error())
	}
	if !r.server.subscribers.none() {
		t.Error("connections that have ended listen")
	}
}

// TestConfirmationsAreNoReplies: CLIENT REPLY does not keep them back, as it does the answer to a PING between them.
func TestConfirmationsAreNoReplies(t *testing.T) {
	for sent, want := range map[string][]string{
		"CLIENT REPLY OFF\r\nUNSUBSCRIBE a\r\nSUBSCRIBE q\r\nPING\r\nUNSUBSCRIBE\r\nPUNSUBSCRIBE\r\nPING\r\nCLIENT REPLY ON\r\n": {
			"[unsubscribe a :0]", "[subscribe q :1]", "[unsubscribe q :0]", "[punsubscribe nil :0]", "+OK",
		},
		"CLIENT REPLY SKIP\r\nUNSUBSCRIBE a\r\nPING\r\n": {"[unsubscribe a :0]", "+PONG"},
	} {
		c := newRig(t, nil).client(t)
		c.write(sent)
		for _, w := range want {
			if got := c.read(); got != w {
				t.Errorf("%q: got %s, want %s", sent, got, w)
			}
		}
	}
}

// events reads messages until the channel last, as "channel payload" each.
func (c *peer) events(last string) []string {
	c.t.Helper()
	var out []string
	for {
		got := c.read()
		body, ok := strings.CutPrefix(got, "[pmessage * ")
		if !ok {
			c.t.Fatalf("%q after %v", got, out)
		}
		out = append(out, strings.TrimSuffix(body, "]"))
		if strings.HasPrefix(body, last+" ") {
			return out
		}
	}
}

// TestEventsOfAFailover: the whole of it in Sentinel's order, with this node's own +sdown alone.
func TestEventsOfAFailover(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	for id, host := range map[string]string{"a": "10.1.0.1", "b": "10.1.0.2", "c": "10.1.0.3"} {
		r.node.register(t, id, host)
	}
	listener := r.client(t)
	listener.converse(step{"PSUBSCRIBE *", "[psubscribe * :1]"})
	c.do("SENTINEL", "MONITOR", "before", "10.0.0.9", "6379", "2")
	c.do("SENTINEL", "REMOVE", "before")
	listener.events("-monitor") // what went before may be told late, and so to those who came after it
	c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
	r.node.replica(t, "10.0.0.2")
	r.node.replica(t, "10.0.0.3")
	r.node.votesDown(t, "b") // of another node
	r.node.votesDown(t, "a")
	r.node.beginForced(t)
	r.node.switches(t)
	r.node.recordStep(t, raftfsm.StepRepoint, "10.0.0.3")
	r.node.ends(t, raftfsm.OutcomeCompleted, "")
	c.do("SENTINEL", "REMOVE", "m")
	const master, old = "master m 10.0.0.1 6379", "@ m 10.0.0.1 6379"
	const two, three = "slave 10.0.0.2:6379 10.0.0.2 6379 ", "slave 10.0.0.3:6379 10.0.0.3 6379 "
	const now = "@ m 10.0.0.2 6379"
	want := []string{
		"+monitor " + master + " quorum 2",
		"+slave " + two + old,
		"+slave " + three + old,
		"+sdown " + master,
		"+odown " + master + " #quorum 2/2",
		"+new-epoch 1",
		"+try-failover " + master,
		"+elected-leader " + master,
		"+failover-state-select-slave " + master,
		"+selected-slave " + two + old,
		"+failover-state-send-slaveof-noone " + two + old,
		"+failover-state-wait-promotion " + two + old,
		"-role-change " + two + old + " new reported role is master",
		"+promoted-slave " + two + old,
		"+failover-state-reconf-slaves " + master,
		"+switch-master m 10.0.0.1 6379 10.0.0.2 6379",
		"+slave slave 10.0.0.1:6379 10.0.0.1 6379 " + now,
		"+slave " + three + now,
		"+slave-reconf-sent " + three + now,
		"+slave-reconf-inprog " + three + now,
		"+slave-reconf-done " + three + now,
		"+failover-end master m 10.0.0.2 6379",
		"-monitor master m 10.0.0.2 6379",
	}
	got := listener.events("-monitor")
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestHistoryIsNotTold: a node that has not caught up with its cluster tells nothing of what happened before it has.
func TestHistoryIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil, func(o *Options) { o.Node.(*fakeNode).localErr = errLoading })
		listener := r.client(t)
		listener.converse(step{"PSUBSCRIBE *", "[psubscribe * :1]"})
		r.node.do(t, monitor("before"))
		r.node.set(func(n *fakeNode) { n.localErr = nil })
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{Node: "a-1", Term: 3}}})
		synctest.Wait()
		r.node.do(t, monitor("after"))
		if got, want := listener.read(), "[pmessage * +monitor master after after.example 6379 quorum 1]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestSubscribeWhileEventsFlow: from its confirmation on, a subscriber misses none and hears none twice.
func TestSubscribeWhileEventsFlow(t *testing.T) {
	for name, r := range map[string]*rig{"pipe": newRig(t, nil), "socket": newRigOnTCP(t)} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64 // messages whose publication has begun
			stop := make(chan struct{})
			var publisher, listeners sync.WaitGroup
			publisher.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					r.server.Publish("x", strconv.FormatInt(sent.Add(1), 10))
					time.Sleep(10 * time.Microsecond) // a flow, and no wait for something
				}
			})
			for range 20 {
				c := r.client(t)
				listeners.Go(func() { follow(t, c, &sent) })
			}
			listeners.Wait()
			close(stop)
			publisher.Wait()
		})
	}
}

// follow subscribes five times, and each time reads a few messages.
func follow(t *testing.T, c *peer, sent *atomic.Int64) {
	t.Helper()
	for range 5 {
		if got := c.do("SUBSCRIBE", "x"); got != "[subscribe x :1]" {
			t.Errorf("%q", got)
			return
		}
		confirmed := sent.Load() // every later one is published after the confirmation
		next := int64(-1)
		for range 20 {
			var n int64
			if _, err := fmt.Sscanf(c.read(), "[message x %d]", &n); err != nil {
				t.Error(err)
				return
			}
			if next < 0 && n > confirmed+1 || next >= 0 && n != next {
				t.Errorf("message %d; confirmed at %d, expected %d", n, confirmed, next)
				return
			}
			next = n + 1
		}
		c.write("UNSUBSCRIBE x\r\n")
		for got := ""; got != "[unsubscribe x :0]"; {
			if got = c.read(); !strings.HasPrefix(got, "[message x ") && got != "[unsubscribe x :0]" {
				t.Errorf("%q", got)
				return
			}
		}
	}
}

// TestASlowSubscriberIsDisconnected: at the bound, and nobody else is held up or loses anything.
func TestASlowSubscriberIsDisconnected(t *testing.T) {
	for name, r := range map[string]*rig{"pipe": newRig(t, nil), "socket": newRigOnTCP(t)} {
		t.Run(name, func(t *testing.T) {
			slow, good := r.client(t), r.client(t)
			if tcp, ok := slow.conn.(*net.TCPConn); ok {
				if err := tcp.SetReadBuffer(4 << 10); err != nil {
					t.Fatal(err)
				}
			}
			slow.do("SUBSCRIBE", "x")
			good.do("SUBSCRIBE", "x")
			payload := strings.Repeat("p", 32<<10)
			most, messages := 0, 0
			server := r.server.clients()[0]
			for !about(server).ended {
				r.server.Publish("x", payload)
				most = max(most, about(server).queued)
				if got := good.read(); got != "[message x "+payload+"]" {
					t.Fatalf("message %d: %.80q", messages, got)
				}
				if messages++; messages > 10_000 {
					t.Fatal("it is never disconnected")
				}
			}
			if most > messageLimit {
				t.Errorf("%d bytes waited for one subscriber; the bound is %d", most, messageLimit)
			}
			if n := messages * len(payload); n < messageLimit {
				t.Errorf("disconnected after %d bytes", n)
			}
			waitFor(t, "the slow one is gone", func() bool { return len(r.server.clients()) == 1 })
			good.converse(step{"UNSUBSCRIBE x", "[unsubscribe x :0]"}, step{"PING", "+PONG"})
		})
	}
}

// TestAThousandSubscribers: each gets every message in order.
func TestAThousandSubscribers(t *testing.T) {
	r := newRigOnTCP(t)
	const n, messages = 1000, 50
	var ready, read sync.WaitGroup
	for range n {
		c := r.client(t)
		ready.Add(1)
		read.Go(func() {
			got := c.do("PSUBSCRIBE", "+switch*")
			ready.Done()
			if got != "[psubscribe +switch* :1]" {
				t.Errorf("%q", got)
			}
			for i := range messages {
				if got, want := c.read(), fmt.Sprintf("[pmessage +switch* +switch-master %d]", i); got != want {
					t.Errorf("got %q, want %q", got, want)
					return
				}
			}
		})
	}
	ready.Wait()
	for i := range messages {
		r.server.Publish("+switch-master", strconv.Itoa(i))
	}
	read.Wait()
}

// TestTooManySubscriptions: what one connection may listen to has a bound.
func TestTooManySubscriptions(t *testing.T) {
	c := newRig(t, nil).client(t)
	name := strings.Repeat("x", 60<<10)
	for i := range subscriptionLimit / len(name) {
		c.do("SUBSCRIBE", name+strconv.Itoa(i))
	}
	if got := c.do("SUBSCRIBE", name); got != "-ERR too many subscriptions on one connection" {
		t.Errorf("%.80q", got)
	}
	c.do("UNSUBSCRIBE", name+"0")
	if got := c.do("SUBSCRIBE", name); !strings.HasPrefix(got, "[subscribe x") {
		t.Errorf("%.80q", got)
	}
}
