package notify

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// What an endpoint does not take is offered again, at growing distances, and what is behind it waits.
func TestWebhookRetries(t *testing.T) {
	for _, bad := range []int{0, 199, 300, 302, 400, 404, 500, 503} {
		atop(t, func(t *testing.T, c *cloud) {
			defer c.lead("a")()
			offers := []string{}
			c.answer("a", func() int {
				offers = append(offers, fmt.Sprintf("%.0f", time.Since(c.began).Seconds()))
				if len(offers) <= 8 {
					return bad
				}
				return 204
			})
			c.change(4)
			c.change(5)
			time.Sleep(time.Hour)
			synctest.Wait()
			// 1, 2, 4, ... 32 s, then 60 s; an answer that does not come takes 5 s.
			starts := []int{0, 1, 3, 7, 15, 31, 63, 123, 183}
			var want []string
			for i, at := range starts {
				if bad == 0 {
					at += 5 * i
				}
				want = append(want, strconv.Itoa(at))
			}
			last := want[len(want)-1]
			want = append(want, last) // the second event follows at once
			if !slices.Equal(offers, want) {
				t.Errorf("%d: offered at %v, want %v", bad, offers, want)
			}
			c.expect("a", last+" 4", last+" 5")
		})
	}
}

// An endpoint that takes something is offered the next event without delay, and again soon.
func TestWebhookBackoffBeginsAnew(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		defer c.lead("a")()
		offers := 0
		c.answer("a", func() int {
			if offers++; offers == 3 || offers >= 5 {
				return 200
			}
			return 500
		})
		c.change(4)
		c.change(5)
		time.Sleep(time.Minute)
		c.expect("a", "3 4", "4 5")
	})
}

// Every event is delivered at least once over changes of the leader, beginning where webhooks were first used.
func TestWebhooksOverLeaders(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		stop := c.lead("a")
		c.expect("a")
		c.answer("a", func() int { return 500 })
		c.change(4)
		time.Sleep(1500 * time.Millisecond)
		stop() // the first leader has delivered nothing at all
		c.expectKept("0 0")
		c.change(5)
		c.answer("a", nil)
		stop = c.lead("a")
		c.expect("a", "2 4", "2 5")
		stop() // before the place was replicated
		c.change(6)
		stop = c.lead("a")
		c.expect("a", "2 4", "2 5", "2 4", "2 5", "2 6")
		time.Sleep(2 * time.Second)
		stop()
		c.expectKept("0 0", "2 6")
		stop = c.lead("a")
		time.Sleep(time.Minute)
		c.expect("a", "2 4", "2 5", "2 4", "2 5", "2 6")
		stop()
	})
}

// The place is replicated once a second at most, and not when nothing was delivered.
func TestWebhookPlace(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		defer c.lead("a")()
		time.Sleep(550 * time.Millisecond)
		for i := range 30 { // an event each 100 ms, for 3 s
			c.change(10 + i)
			time.Sleep(100 * time.Millisecond)
		}
		for range 20 { // the log goes on, without events
			c.node.by(self, set("m"))
			time.Sleep(100 * time.Millisecond)
		}
		c.expectKept("0 0", "1 14", "2 24", "3 34", "4 39")
	})
}

// A place that cannot be replicated is tried again, and no delivery waits for it.
func TestWebhookPlaceRefused(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		c.keepErr = errors.New("not now") // before anybody asks
		defer c.lead("a")()
		c.change(4)
		c.expect("a", "0 4")
		time.Sleep(10500 * time.Millisecond)
		if got := c.log.count("not now"); got != 1 {
			t.Errorf("logged %d times, want once", got)
		}
		c.mu.Lock()
		c.keepErr = nil
		c.mu.Unlock()
		time.Sleep(time.Second)
		c.expectKept("11 4")
	})
}

// A dead endpoint holds nobody up. For ten minutes it holds the replicated place back, so that a new leader offers it what
// it missed; then no more.
func TestDeadEndpoint(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		stop := c.lead("dead", "good")
		c.answer("dead", func() int { return 0 })
		c.change(4)
		c.expect("good", "0 4")
		time.Sleep(5 * time.Minute)
		c.change(5)
		c.expect("good", "0 4", "300 5")
		c.expectKept("0 0")
		time.Sleep(5*time.Minute + 10*time.Second) // the first failure was after 5 s
		c.expectKept("0 0", "605 5")
		if got := c.log.count("fails for too long"); got != 1 {
			t.Errorf("logged %d times, want once", got)
		}
		// In this leadership it still gets everything.
		c.answer("dead", nil)
		time.Sleep(time.Minute)
		if got := c.numbers("dead"); got != "4 5" {
			t.Errorf("it took %s", got)
		}
		c.answer("dead", func() int { return 0 })
		c.change(6)
		time.Sleep(time.Minute)
		c.expectKept("0 0", "605 5") // it is waited for anew
		stop()
		c.answer("dead", nil)
		defer c.lead("dead", "good")()
		for host, want := range map[string]string{"dead": "4 5 6", "good": "4 5 6 6"} {
			if got := c.numbers(host); got != want {
				t.Errorf("%s took %s, want %s", host, got, want)
			}
		}
	})
}

// Where every endpoint is dead, the place stays.
func TestAllEndpointsDead(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		defer c.lead("a", "b")()
		c.answer("a", func() int { return 0 })
		c.answer("b", func() int { return 500 })
		c.change(4)
		time.Sleep(time.Hour)
		c.expectKept("0 0")
	})
}

// An endpoint that fails for longer than the ring remembers loses events, which is logged, and goes on behind them.
func TestWebhookCompacted(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		defer c.lead("a")()
		c.answer("a", func() int { return 500 })
		c.change(4)
		time.Sleep(time.Minute)
		st := c.node.State()
		for i := range raftfsm.RingSize {
			st = c.node.after(st, entry{self, set("m", fmt.Sprint("failover-timeout ", 1000+i))})
		}
		c.node.publish(st, nil)
		time.Sleep(10 * time.Minute)
		c.answer("a", nil)
		time.Sleep(time.Minute)
		got := strings.Fields(c.numbers("a"))
		if len(got) != raftfsm.RingSize || got[0] != "1000" || got[len(got)-1] != fmt.Sprint(999+raftfsm.RingSize) {
			t.Errorf("%d taken, from %s to %s", len(got), got[0], got[len(got)-1])
		}
		if got := c.log.count("compacted"); got != 1 {
			t.Errorf("logged %d times, want once", got)
		}
	})
}

// A reload changes the endpoints of a leadership: one that stays goes on where it was, a new one begins at the place that
// is replicated.
func TestWebhooksSetAnew(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		w, stop := c.leadWith()
		defer stop()
		c.change(4)
		c.expectKept()
		c.set(w, "dead", "good")
		c.expectKept("0 0")
		c.answer("dead", func() int { return 0 })
		c.change(5)
		c.change(6)
		time.Sleep(time.Minute)
		c.expect("good", "0 5", "0 6")
		if err := w.Set([]string{"http://good", "nowhere"}, raftfsm.Secret{}); err == nil {
			t.Error("a URL without a host is taken")
		}
		c.set(w, "good", "new")
		c.change(7)
		c.expect("good", "0 5", "0 6", "60 7")
		c.expect("new", "60 5", "60 6", "60 7")
		time.Sleep(time.Minute)
		c.expectKept("0 0", "61 7")
		c.set(w)
		c.change(8)
		time.Sleep(time.Minute)
		c.set(w, "good")
		c.expect("good", "0 5", "0 6", "60 7", "180 8")
	})
}

// In another cluster the webhooks begin at the end.
func TestWebhooksOfAnotherCluster(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		defer c.lead("a")()
		other := newFakeNode(t, "c2")
		other.by(self, monitor("m", 1), set("m", "failover-timeout 4"))
		c.node.publish(other.State(), nil)
		c.expect("a")
		c.node.publish(other.after(other.State(), entry{self, set("m", "failover-timeout 5")}), nil)
		c.expect("a", "0 5")
	})
}

// TestTheSameTargetsAnew: a reload that changes nothing does not begin the time anew for which an endpoint has failed.
func TestTheSameTargetsAnew(t *testing.T) {
	atop(t, func(t *testing.T, c *cloud) {
		c.answer("a", func() int { return 500 })
		w, stop := c.leadWith("a")
		defer stop()
		c.change(4)
		for range 3 {
			time.Sleep(9 * time.Minute)
			c.set(w, "a")
		}
		if n := c.log.count("fails for too long"); n == 0 {
			t.Error("after 27 minutes of failure and three reloads nobody says so")
		}
	})
}
