package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// cloud is the world of endpoints in virtual time. Its events are changes of a master "m", each told apart by a number.
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
	got  map[string][]string // by host: "<seconds> <number>", of what it took
	kept []string            // "<seconds> <number>": the places that were replicated; 0 is before all changes
}

func atop(t *testing.T, test func(t *testing.T, c *cloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{
			t: t, node: newFakeNode(t, "c1"), log: &logBuffer{}, began: time.Now(), answers: map[string]func() int{}, got: map[string][]string{},
		}
		c.node.raise()
		c.node.by(self, monitor("m", 1))
		test(t, c)
	})
}

// lead begins a leadership; the function it gives ends it.
func (c *cloud) lead(hosts ...string) func() {
	c.t.Helper()
	_, stop := c.leadWith(hosts...)
	return stop
}

func (c *cloud) leadWith(hosts ...string) (*Webhooks, func()) {
	c.t.Helper()
	w, err := NewWebhooks(WebhookOptions{Node: c.node, Deliver: c.deliver, Log: c.log.logger()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.set(w, hosts...)
	w.client.Transport = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Duties(ctx, 1) }()
	synctest.Wait()
	return w, func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}
}

func (c *cloud) set(w *Webhooks, hosts ...string) {
	c.t.Helper()
	urls := make([]string, len(hosts))
	for i, h := range hosts {
		urls[i] = "http://" + h + "/hook?token=hidden"
	}
	if err := w.Set(urls, raftfsm.NewSecret("secret")); err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
}

func (c *cloud) answer(host string, how func() int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[host] = how
}

func (c *cloud) deliver(_ context.Context, at raftfsm.Cursor) error {
	c.mu.Lock()
	err := c.keepErr
	c.mu.Unlock()
	if err != nil {
		return err
	}
	number := "0"
	events, _ := c.node.State().EventsSince(before(at))
	for e := range events {
		if e.Cursor == at {
			number = numberOf(e.Detail)
		}
	}
	c.node.by(self, &raftlogv1.Command{Op: &raftlogv1.Command_Delivered{
		Delivered: &raftlogv1.Delivered{Index: at.Index, Ordinal: at.Ordinal},
	}})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = append(c.kept, fmt.Sprintf("%.0f %s", time.Since(c.began).Seconds(), number))
	return nil
}

// numberOf tells the changes apart.
func numberOf(detail string) string { return detail[strings.LastIndexByte(detail, ' ')+1:] }

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
		c.got[req.URL.Host] = append(c.got[req.URL.Host], fmt.Sprintf("%.0f %s", time.Since(c.began).Seconds(), numberOf(m.Detail)))
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

// numbers are what a host took, in order.
func (c *cloud) numbers(host string) string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]string, len(c.got[host]))
	for i, line := range c.got[host] {
		_, out[i], _ = strings.Cut(line, " ")
	}
	return strings.Join(out, " ")
}
