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

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// What arrives: the body, its signature, and no more than one connection.
func TestWebhookRequest(t *testing.T) {
	const secret = "0123456789abcdef"
	type request struct {
		header http.Header
		body   []byte
		remote string
	}
	got := make(chan request, 10)
	moved := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			moved <- struct{}{}
			return
		}
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Header, body, r.RemoteAddr}
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write([]byte("thank you"))
	}))
	defer server.Close()
	node, log := newFakeNode(t, "c1"), &logBuffer{}
	node.watchSet("m", 1)
	run := func(path string, key raftfsm.Secret) func() {
		w, err := NewWebhooks(WebhookOptions{
			Node: node, URLs: []string{strings.Replace(server.URL, "http://", "http://user:hidden@", 1) + path}, Secret: key,
			Delivered: func(*raftfsm.State) raftfsm.Cursor { return raftfsm.Cursor{Index: 4} },
			Deliver:   func(context.Context, raftfsm.Cursor) error { return nil }, Log: log.logger(),
		})
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
	node.switchTo(self, "m", 2) // index 5: +adopt-master, +switch-master, +slave
	stop := run("/hook?token=hidden", raftfsm.NewSecret(secret))
	requests := []request{<-got, <-got, <-got}
	stop()
	if requests[0].remote != requests[2].remote {
		t.Error("each delivery came over a connection of its own")
	}
	r := requests[1]
	at, signature, ok := strings.Cut(r.header.Get("Sentineld-Signature"), ",v1=")
	sent, err := strconv.ParseInt(strings.TrimPrefix(at, "t="), 10, 64)
	if age := time.Since(time.Unix(sent, 0)); !ok || err != nil || age < 0 || age > time.Minute {
		t.Fatalf("signature %q", r.header.Get("Sentineld-Signature"))
	}
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "%d.%s", sent, r.body)
	if want := hex.EncodeToString(mac.Sum(nil)); signature != want {
		t.Errorf("signature %s, want %s", signature, want)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Sentineld-Event-Id": "c1-5-1", "User-Agent": "sentineld",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var body map[string]any
	if err := json.Unmarshal(r.body, &body); err != nil {
		t.Fatal(err)
	}
	st := node.State()
	events, _ := st.EventsSince(raftfsm.Cursor{Index: 5})
	var ev raftfsm.Event
	for e := range events {
		ev = e
		break
	}
	want := map[string]any{
		"id": "c1-5-1", "cluster": "test", "kind": "+switch-master", "at": time.UnixMilli(ev.AtMs).UTC().Format("2006-01-02T15:04:05.000Z"),
		"master": "m", "instance": "10.0.0.1:2", "role": "master", "from": "10.0.0.1:1", "to": "10.0.0.1:2", "epoch": 1.0, "cause": "",
		"node": "", "actor": "self", "detail": "", "payload": "m 10.0.0.1 1 10.0.0.1 2",
	}
	if !maps.Equal(body, want) {
		t.Errorf("body\n%v\nwant\n%v", body, want)
	}

	stop = run("/moved", raftfsm.Secret{})
	r = <-got
	eventually(t, "a refusal", func() bool { return log.count("answered 307; want 2xx") == 1 })
	stop()
	if r.header.Get("Sentineld-Signature") != "" {
		t.Error("signed without a secret")
	}
	if len(moved) != 0 {
		t.Error("a redirect was followed")
	}
	server.Close()
	stop = run("/hook?token=hidden", raftfsm.NewSecret(secret))
	eventually(t, "a refused connection", func() bool { return log.count("refused") > 0 })
	stop()
	for _, hidden := range []string{"hidden", secret} {
		if log.count(hidden) != 0 {
			t.Errorf("the log holds %q", hidden)
		}
	}
}

func TestNewWebhooks(t *testing.T) {
	for _, bad := range []string{"", "host/path", "ftp://host/", "http:///path", "http://user:hidden@ho st/", "/path"} {
		_, err := NewWebhooks(WebhookOptions{
			Node: newFakeNode(t, "c1"), URLs: []string{"http://good/", bad}, Delivered: func(*raftfsm.State) (c raftfsm.Cursor) { return },
			Deliver: func(context.Context, raftfsm.Cursor) error { return nil }, Log: (&logBuffer{}).logger(),
		})
		if err == nil || !strings.Contains(err.Error(), "webhook 2: want http://HOST/PATH") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := NewWebhooks(WebhookOptions{}); err == nil {
		t.Error("options that lack everything are taken")
	}
}
