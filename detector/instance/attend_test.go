package instance

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
)

// attending is a connection at which one goroutine listens.
type attending struct {
	*Conn
	heard []detector.ReplyClass
	err   error
	ended chan struct{}
}

func attend(c *Conn, most int) *attending {
	a := &attending{Conn: c, ended: make(chan struct{})}
	c.Settle()
	go func() {
		defer close(a.ended)
		a.err = c.Attend(func(class detector.ReplyClass, _ time.Duration) bool {
			a.heard = append(a.heard, class)
			return len(a.heard) < most
		})
	}()
	synctest.Wait()
	return a
}

func TestAttendHearsRepliesToNudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, replica := pair(t)
		a := attend(control(t, n, replica), 3)
		for range 2 {
			if !a.Nudge() {
				t.Error("not sent")
			}
			time.Sleep(time.Second)
		}
		replica.SetBusy(true)
		a.Nudge()
		<-a.ended
		if a.err != nil || len(a.heard) != 3 || a.heard[0] != detector.ReplyPong || a.heard[2] != detector.ReplyBusy {
			t.Errorf("heard %v, then %v", a.heard, a.err)
		}
		replica.SetBusy(false)
		if class, err := a.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
			t.Errorf("afterwards: %v, %v", class, err)
		}
	})
}

// Whoever is interrupted with a reply outstanding reads it late; nobody nudges twice for one reply.
func TestAttendLeavesAReplyOutstanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, replica := pair(t)
		c := control(t, n, replica)
		replica.Hang()
		a := attend(c, 9)
		if !a.Nudge() || a.Nudge() {
			t.Error("want one PING and no more")
		}
		time.Sleep(time.Second)
		a.Interrupt()
		<-a.ended
		if !errors.Is(a.err, context.Canceled) || !c.Outstanding() {
			t.Fatalf("%v, outstanding %v", a.err, c.Outstanding())
		}
		replica.Resume()
		class, err := c.PingLate(bounded(t))
		if class != detector.ReplyPong || err != nil || c.RTT() != time.Second || c.Outstanding() {
			t.Errorf("%v, %v after %v, outstanding %v", class, err, c.RTT(), c.Outstanding())
		}
	})
}

// Whoever is interrupted before listening has begun does not listen.
func TestInterruptBeforeAttend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, replica := pair(t)
		c := control(t, n, replica)
		c.Settle()
		c.Interrupt()
		if err := c.Attend(nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if class, err := c.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
			t.Errorf("afterwards: %v, %v", class, err)
		}
	})
}

// While a reply is being accounted for, no further PING is sent: it would be forgotten with it.
func TestNudgeWaitsForTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _, replica := pair(t)
		c := control(t, n, replica)
		c.Settle()
		ended := make(chan error)
		go func() {
			ended <- c.Attend(func(detector.ReplyClass, time.Duration) bool {
				if c.Nudge() {
					t.Error("a PING was sent meanwhile")
				}
				return false
			})
		}()
		synctest.Wait()
		c.Nudge()
		if err := <-ended; err != nil || c.Outstanding() {
			t.Error(err, c.Outstanding())
		}
	})
}

func TestAttendEnds(t *testing.T) {
	for name, end := range map[string]struct {
		by   func(a *attending, crash func(), ask func())
		good bool
	}{
		"interrupted": {by: func(a *attending, _, _ func()) { a.Interrupt() }, good: true},
		"broken":      {by: func(_ *attending, crash, _ func()) { crash() }},
		"unasked":     {by: func(_ *attending, _, ask func()) { ask() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _, replica := pair(t)
				c := control(t, n, replica)
				a := attend(c, 9)
				end.by(a, replica.Crash, func() { _, _ = c.net.Write(plainPing) })
				<-a.ended
				_, err := c.Ping(bounded(t))
				if errors.Is(a.err, context.Canceled) != end.good || (err == nil) != end.good || c.Outstanding() {
					t.Errorf("%v; afterwards %v, outstanding %v", a.err, err, c.Outstanding())
				}
				if !end.good && c.Attend(nil) == nil {
					t.Error("a broken connection is listened to")
				}
			})
		})
	}
}

// From Redis 7.0 on one INFO tells all, once the version is known.
func TestInfoInOneCommand(t *testing.T) {
	for version, want := range map[string]int{"6.2.7": 6, "7.0.15": 4, "8.0.0": 4, "?": 6} {
		synctest.Test(t, func(t *testing.T) {
			n, _, replica := pair(t)
			replica.SetVersion(version)
			c := control(t, n, replica)
			var texts []string
			for range 2 {
				i, err := c.Info(bounded(t))
				if err != nil {
					t.Fatal(version, err)
				}
				texts = append(texts, i.Text)
			}
			asked := 0
			for _, cmd := range n.Log() {
				if cmd.Args[0] == "INFO" {
					asked++
				}
			}
			if asked != want || texts[0] != texts[1] {
				t.Errorf("%s: %d commands, want %d; kept %q, then %q", version, asked, want, texts[0], texts[1])
			}
		})
	}
}
