package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// The script that the file names runs for what happens, and not again after a restart; another path does not run at all.
func TestNodeRunsScripts(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		out := filepath.Join(w.dir, "out")
		path := filepath.Join(w.dir, "script")
		if err := os.WriteFile(path, []byte("#!/bin/sh\nprintf '%s\\n' \"$*\" >> "+out+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		c := w.config(1, 1, "sentinel monitor m 10.0.0.1 6379 1", "sentinel notification-script m "+path)
		w.redis.Add("10.0.0.1:6379")
		lines := func() []string {
			text, err := os.ReadFile(out)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
		}
		want := []string{"+monitor master m 10.0.0.1 6379 quorum 1"}
		r := w.run(c)
		w.until(want[0], func() bool { return slices.Equal(lines(), want) })
		r.end()

		r = w.run(c)
		r.master()
		w.until("an answer", func() bool { _, err := r.ask("SENTINEL", "SET", "m", "failover-timeout", "5000"); return err == nil })
		want = append(want, "+set master m 10.0.0.1 6379 failover-timeout 5000")
		w.until(want[1], func() bool { return len(lines()) >= 2 })
		time.Sleep(time.Minute)
		if got := lines(); !slices.Equal(got, want) {
			t.Errorf("the script was run for\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		r.end()
	})
}

func TestPermissionsOfTheFile(t *testing.T) {
	c, _, err := conf.Parse(conf.Input{
		Args: []string{"test.conf", "--dev"}, HostName: "test", WorkDir: "/", Open: func(name string) ([]conf.File, error) {
			return []conf.File{{Path: name, Text: "sentinel monitor m 10.0.0.1 6379 1\nsentinel client-reconfig-script m /reconfig\n" +
				"sentinel monitor n 10.0.0.2 6379 1\nsentinel notification-script n /notify"}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := permissions(c, "")
	for _, try := range []struct {
		master, path string
		may          bool
	}{{"m", "/reconfig", true}, {"m", "/notify", false}, {"n", "/notify", true}, {"n", "/reconfig", false}, {"o", "/notify", false}} {
		if _, err := p.Permit(try.master, try.path); (err == nil) != try.may {
			t.Errorf("%s for %s: %v", try.path, try.master, err)
		}
	}
}

// A node that leads delivers its events, and keeps in the log how far it came. It runs in real time, because HTTP does.
func TestNodeDeliversWebhooks(t *testing.T) {
	type delivery struct {
		Kind, Master, Cluster string
	}
	got := make(chan delivery, 100)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var d delivery
		if err := json.NewDecoder(r.Body).Decode(&d); err != nil || r.Header.Get("Sentineld-Signature") == "" {
			t.Errorf("a delivery that is no signed event: %v", err)
		}
		got <- d
	}))
	defer server.Close()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := conf.Parse(conf.Input{Args: []string{"--dev", "--port", "0", "--node-id", "n1"}, HostName: "test", WorkDir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	c.Webhooks, c.WebhookSecretFile = []string{server.URL + "/hook"}, secret
	d, err := New(Options{Config: c, Stderr: io.Discard, Listen: func(ctx context.Context, network, _ string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, network, "127.0.0.1:0")
	}})
	if err != nil {
		t.Fatal(err)
	}
	without := *c
	without.WebhookSecretFile += ".none"
	if err := d.setWebhooks(&without); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "webhook-secret-file") {
		t.Errorf("a secret that is not there: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	await := func(what string, cond func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within 20 s: %s", what)
			}
		}
	}
	await("a first place in the log", func() bool { return d.State().Delivered().Index > 0 })
	first := d.State().Delivered()
	if _, err := d.node.Propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
		Name: "m", Address: &raftlogv1.Address{Host: "127.0.0.1", Port: 1}, Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "1"}},
	}}}); err != nil {
		t.Fatal(err)
	}
	await("the event", func() bool {
		select {
		case e := <-got:
			return e == delivery{"+monitor", "m", "sentineld"}
		default:
			return false
		}
	})
	await("a further place", func() bool { return d.State().Delivered().Compare(first) > 0 })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
