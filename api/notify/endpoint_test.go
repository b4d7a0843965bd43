package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const hookSecret = "0123456789abcdef"

// hook is a real HTTP server that webhooks are delivered to.
type hook struct {
	*httptest.Server
	node *fakeNode
	log  *logBuffer
	got  chan request
}

type request struct {
	header http.Header
	body   []byte
	path   string
	remote string
}

// newHook makes a server, and a node with a set "m" whose next events are the first that it delivers.
func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{node: newFakeNode(t, "c1"), log: &logBuffer{}, got: make(chan request, 10)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.got <- request{r.Header, body, r.URL.Path, r.RemoteAddr}
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write([]byte("thank you"))
	}))
	t.Cleanup(h.Close)
	h.node.watchSet("m", 1)
	h.node.raise()
	h.node.by(self, &raftlogv1.Command{Op: &raftlogv1.Command_Delivered{
		Delivered: &raftlogv1.Delivered{Index: h.node.State().Index()},
	}})
	return h
}

// lead delivers until the function that it gives is called.
func (h *hook) lead(t *testing.T, path string, secret raftfsm.Secret) (stop func()) {
	t.Helper()
	w, err := NewWebhooks(WebhookOptions{
		Node: h.node, Deliver: func(context.Context, raftfsm.Cursor) error { return nil }, Log: h.log.logger(),
	})
	if err == nil {
		err = w.Set([]string{strings.Replace(h.URL, "http://", "http://user:hidden@", 1) + path}, secret)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Duties(ctx, 1) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// event is the latest one of a kind.
func (h *hook) event(kind string) (ev raftfsm.Event) {
	events, _ := h.node.State().EventsSince(raftfsm.Cursor{})
	for e := range events {
		if e.Kind == kind {
			ev = e
		}
	}
	return ev
}

// What arrives: every event, each with its id and signature, over one connection.
func TestWebhookRequest(t *testing.T) {
	h := newHook(t)
	h.node.switchTo(self, "m", 2)
	stop := h.lead(t, "/hook?token=hidden", raftfsm.NewSecret(hookSecret))
	ev := h.event(raftfsm.EventSwitch)
	var requests []request
	for range ev.Ordinal + 2 { // +slave follows
		requests = append(requests, <-h.got)
	}
	stop()
	if requests[0].remote != requests[len(requests)-1].remote {
		t.Error("each delivery came over a connection of its own")
	}
	r := requests[ev.Ordinal]
	id := fmt.Sprintf("c1-%d-%d", ev.Index, ev.Ordinal)
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Sentineld-Event-Id": id, "User-Agent": "sentineld",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	checkSignature(t, r)
	var body map[string]any
	if err := json.Unmarshal(r.body, &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"id": id, "cluster": "test", "kind": "+switch-master", "at": time.UnixMilli(ev.AtMs).UTC().Format("2006-01-02T15:04:05.000Z"),
		"master": "m", "instance": "10.0.0.1:2", "role": "master", "from": "10.0.0.1:1", "to": "10.0.0.1:2", "epoch": 1.0, "cause": "",
		"node": "", "actor": "n1", "detail": "", "payload": "m 10.0.0.1 1 10.0.0.1 2",
	}
	if !maps.Equal(body, want) {
		t.Errorf("body\n%v\nwant\n%v", body, want)
	}
}

// checkSignature does what docs/notify.md tells a receiver to do.
func checkSignature(t *testing.T, r request) {
	t.Helper()
	at, signature, ok := strings.Cut(r.header.Get("Sentineld-Signature"), ",v1=")
	sent, err := strconv.ParseInt(strings.TrimPrefix(at, "t="), 10, 64)
	if age := time.Since(time.Unix(sent, 0)); !ok || err != nil || age < 0 || age > time.Minute {
		t.Fatalf("signature %q", r.header.Get("Sentineld-Signature"))
	}
	mac := hmac.New(sha256.New, []byte(hookSecret))
	_, _ = fmt.Fprintf(mac, "%d.%s", sent, r.body)
	if want := hex.EncodeToString(mac.Sum(nil)); signature != want {
		t.Errorf("signature %s, want %s", signature, want)
	}
}

// Every kind of event leaves no key out, and says of a node, an instance or a cause what it has.
func TestWebhookBodies(t *testing.T) {
	h := newHook(t)
	st := h.node.State()
	for _, c := range []struct {
		e    raftfsm.Event
		want map[string]any
	}{
		{raftfsm.Event{Kind: raftfsm.EventFounded}, map[string]any{"kind": "+founded", "role": "", "instance": "", "at": "1970-01-01T00:00:00.000Z"}},
		{raftfsm.Event{
			Kind: raftfsm.EventSDown, Master: "m", Instance: raftfsm.Addr{Host: "fd00::1", Port: 7}, Role: raftfsm.RoleReplica,
			Node: self, Cause: raftfsm.CauseTimeout, Detail: "silent", AtMs: 1_800_000_000_001,
		}, map[string]any{
			"kind": "+sdown", "role": "replica", "instance": "[fd00::1]:7", "node": "n1", "cause": "timeout", "detail": "silent",
			"at": "2027-01-15T08:00:00.001Z",
		}},
		{raftfsm.Event{Kind: raftfsm.EventNode, Instance: raftfsm.Addr{Host: "a", Port: 1}, Node: "unknown"}, map[string]any{"role": "", "node": "unknown"}},
	} {
		text, err := json.Marshal(messageOf(st, c.e))
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != 15 {
			t.Errorf("%s has %d keys, want 15", text, len(got))
		}
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("%s: %s is %q, want %q", c.e.Kind, key, got[key], want)
			}
		}
	}
}

// A redirect is a refusal, a delivery without a secret is not signed, and no secret comes into the log.
func TestWebhookRefused(t *testing.T) {
	h := newHook(t)
	h.node.switchTo(self, "m", 2)
	stop := h.lead(t, "/moved?token=hidden", raftfsm.Secret{})
	r := <-h.got
	eventually(t, "a refusal", func() bool { return h.log.count("answered 307; want 2xx") == 1 })
	stop()
	if r.header.Get("Sentineld-Signature") != "" {
		t.Error("signed without a secret")
	}
	for len(h.got) > 0 {
		if r := <-h.got; r.path != "/moved" {
			t.Errorf("the redirect to %s was followed", r.path)
		}
	}
	h.Close()
	stop = h.lead(t, "/hook?token=hidden", raftfsm.NewSecret(hookSecret))
	eventually(t, "a refused connection", func() bool { return h.log.count("refused") > 0 })
	stop()
	for _, hidden := range []string{"hidden", hookSecret} {
		if h.log.count(hidden) != 0 {
			t.Errorf("the log holds %q", hidden)
		}
	}
}

func TestNewWebhooks(t *testing.T) {
	if _, err := NewWebhooks(WebhookOptions{}); err == nil {
		t.Error("options that lack everything are taken")
	}
	w, err := NewWebhooks(WebhookOptions{
		Node: newFakeNode(t, "c1"), Deliver: func(context.Context, raftfsm.Cursor) error { return nil }, Log: (&logBuffer{}).logger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "host/path", "ftp://host/", "http:///path", "http://user:hidden@ho st/", "/path"} {
		err := w.Set([]string{"http://good/", bad}, raftfsm.Secret{})
		if err == nil || !strings.Contains(err.Error(), "webhook 2: want http://HOST/PATH") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
