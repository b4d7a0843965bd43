package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// cloud is the world of endpoints in virtual time, and the replicated place of the webhooks.
type cloud struct {
	t     *testing.T
	node  *fakeNode
	log   *logBuffer
	began time.Time
	// answers gives, by host, the answer to a delivery; 0 is none at all, until the time is over. No entry: 200.
	answers map[string]func() int
	// keepErr is what replicating the place gives.
	keepErr error

	mu   sync.Mutex
	got  map[string][]string // by host: "<seconds> <kind> <id's end>", of what it took
	kept []string            // "<seconds> <index>-<ordinal>"
	at   raftfsm.Cursor
}

func atop(t *testing.T, test func(t *testing.T, c *cloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, &cloud{
			t: t, node: newFakeNode(t, "c1"), log: &logBuffer{}, began: time.Now(), answers: map[string]func() int{}, got: map[string][]string{},
		})
	})
}

// lead begins a leadership; the function it gives ends it.
func (c *cloud) lead(hosts ...string) func() {
	c.t.Helper()
	urls := make([]string, len(hosts))
	for i, h := range hosts {
		urls[i] = "http://" + h + "/hook?token=hidden"
	}
	w, err := NewWebhooks(WebhookOptions{Node: c.node, URLs: urls, Secret: raftfsm.NewSecret("secret"), Delivered: c.delivered, Deliver: c.deliver, Log: c.log.logger()})
	if err != nil {
		c.t.Fatal(err)
	}
	w.client.Transport = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Duties(ctx, 1) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}
}

func (c *cloud) answer(host string, how func() int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[host] = how
}

func (c *cloud) delivered(*raftfsm.State) raftfsm.Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *cloud) deliver(_ context.Context, at raftfsm.Cursor) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keepErr != nil {
		return c.keepErr
	}
	c.at = at
	ordinal := strconv.Itoa(int(at.Ordinal))
	if at.Ordinal > raftfsm.RingSize {
		ordinal = "end"
	}
	c.kept = append(c.kept, fmt.Sprintf("%.0f %d-%s", time.Since(c.began).Seconds(), at.Index, ordinal))
	return nil
}

// RoundTrip implements [http.RoundTripper].
func (c *cloud) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	c.mu.Lock()
	answer := c.answers[req.URL.Host]
	c.mu.Unlock()
	if answer != nil {
		status = answer()
	}
	if status == 0 {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	if status/100 == 2 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got[req.URL.Host] = append(c.got[req.URL.Host],
			fmt.Sprintf("%.0f %s %s", time.Since(c.began).Seconds(), m.Kind, strings.TrimPrefix(m.ID, "c1-")))
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: req}, nil
}

func (c *cloud) expect(host string, want ...string) {
	c.t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.got[host], want) {
		c.t.Errorf("%s took\n%s\nwant\n%s", host, strings.Join(c.got[host], "\n"), strings.Join(want, "\n"))
	}
}

func (c *cloud) expectKept(want ...string) {
	c.t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.kept, want) {
		c.t.Errorf("kept\n%s\nwant\n%s", strings.Join(c.kept, "\n"), strings.Join(want, "\n"))
	}
}

func (c *cloud) change(n int) {
	c.t.Helper()
	c.node.by(self, set("m", fmt.Sprint("failover-timeout ", n)))
}

// ids are the ends of the ids that a host took, in order.
func (c *cloud) ids(host string) string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, len(c.got[host]))
	for i, line := range c.got[host] {
		out[i] = line[strings.LastIndexByte(line, ' ')+1:]
	}
	return strings.Join(out, " ")
}
