package web

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
)

func TestHealth(t *testing.T) {
	broken := errors.New("its beat is missing")
	for _, c := range []struct {
		name        string
		status      api.NodeStatus
		state, part error
		live, ready string // what each must say; "" for fine
	}{
		{name: "leader", status: api.NodeStatus{Role: api.RoleLeader}},
		{name: "follower", status: api.NodeStatus{Role: "follower", LeaderID: "b-1", LastContact: 300 * time.Millisecond}},
		{
			name: "silence", status: api.NodeStatus{Role: "follower", LeaderID: "b-1", LastContact: 2100 * time.Millisecond},
			ready: "[-] leader: no leader heard for 2.1s\n",
		},
		{name: "election", status: api.NodeStatus{Role: "candidate", LastContact: time.Second}, ready: "[-] leader: no leader heard for 1s\n"},
		{name: "never", status: api.NodeStatus{Role: "follower", LastContact: -1}, ready: "[-] leader: no leader heard since the start\n"},
		{
			name: "forming", status: api.NodeStatus{Role: "joining", LastContact: -1, Waiting: "1 of 3 nodes"},
			ready: "[-] leader: no cluster yet: 1 of 3 nodes\n[-] member: this node does not vote yet\n",
		},
		{
			name: "loading", status: api.NodeStatus{Role: "follower", LeaderID: "b-1"}, state: errLoading,
			ready: "[-] state: the node has not caught up\n",
		},
		{
			name: "catching up", status: api.NodeStatus{Role: "joining", LeaderID: "b-1"},
			ready: "[-] member: this node does not vote yet\n",
		},
		{name: "observer", status: api.NodeStatus{Role: "observer", LeaderID: "b-1", CommitIndex: 1064, AppliedIndex: 1000}},
		{
			name: "behind", status: api.NodeStatus{Role: "follower", LeaderID: "b-1", CommitIndex: 1065, AppliedIndex: 1000},
			ready: "[-] member: this node has yet to apply 65 entries\n",
		},
		{
			name: "broken", status: api.NodeStatus{Role: api.RoleLeader}, part: broken,
			live: "[-] probes: its beat is missing\n", ready: "[-] probes: its beat is missing\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newFakeNode(t)
			n.status, n.err = c.status, c.state
			o := options(t, n, nil)
			o.Live = []Check{{"probes", func() error { return c.part }}}
			s := newServer(t, o)
			for path, wrong := range map[string]string{"/livez": c.live, "/readyz": c.ready} {
				code, want := 503, wrong
				if wrong == "" {
					code, want = 200, "ok\n"
				}
				if w := ask(s, http.MethodGet, path); w.Code != code || w.Body.String() != want {
					t.Errorf("%s: %d %q, want %d %q", path, w.Code, w.Body, code, want)
				}
			}
		})
	}
}

func TestVerbose(t *testing.T) {
	s := newServer(t, options(t, newFakeNode(t), nil))
	if got := ask(s, http.MethodGet, "/readyz?verbose").Body.String(); got != "[+] node: ok\n[+] state: ok\n[+] leader: ok\n[+] member: ok\nok\n" {
		t.Errorf("%q", got)
	}
}

// A part that hangs fails the check in time, holds one goroutine however often it is asked, and is asked again once it answers.
func TestHangingPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		o := options(t, newFakeNode(t), nil)
		o.Live = []Check{{"probes", func() error { asked.Add(1); <-release; return nil }}}
		s := newServer(t, o)
		for range 3 {
			began := time.Now()
			w := ask(s, http.MethodGet, "/livez")
			if w.Code != 503 || w.Body.String() != "[-] probes: no answer within 1s\n" || time.Since(began) != checkLimit {
				t.Errorf("%d %q after %v", w.Code, w.Body, time.Since(began))
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times at once", n)
		}
		close(release)
		synctest.Wait()
		if w := ask(s, http.MethodGet, "/livez"); w.Code != 200 || asked.Load() != 2 {
			t.Errorf("%d %q, asked %d times", w.Code, w.Body, asked.Load())
		}
	})
}

func TestProtectedMode(t *testing.T) {
	for _, c := range []struct {
		remote    string
		protected bool
		code      int
	}{
		{"127.0.0.1:99", true, 200},
		{"127.8.9.10:99", true, 200},
		{"[::1]:99", true, 200},
		{"[::ffff:127.0.0.1]:99", true, 200},
		{"192.0.2.1:99", true, 403},
		{"[2001:db8::1]:99", true, 403},
		{"[::ffff:192.0.2.1]:99", true, 403},
		{"", true, 403},
		{"192.0.2.1:99", false, 200},
	} {
		o := options(t, newFakeNode(t), nil)
		o.Protected = c.protected
		s := newServer(t, o)
		for _, path := range []string{"/metrics", "/livez", "/readyz"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.RemoteAddr = c.remote
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != c.code {
				t.Errorf("%s from %q, protected %v: %d, want %d", path, c.remote, c.protected, w.Code, c.code)
			}
		}
	}
}

func TestOptions(t *testing.T) {
	good := options(t, newFakeNode(t), nil)
	for name, spoil := range map[string]func(*Options){
		"node": func(o *Options) { o.Node = nil }, "api": func(o *Options) { o.API = nil }, "log": func(o *Options) { o.Log = nil },
	} {
		o := good
		spoil(&o)
		if _, err := New(o); err == nil {
			t.Errorf("New without %s", name)
		}
	}
}

// serve runs a server on a port of this machine and returns its address, and how to end it and wait.
func serve(t *testing.T, o Options) (addr string, end func() error) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := newServer(t, o)
	go func() { done <- s.Run(ctx, l) }()
	return l.Addr().String(), func() error {
		cancel()
		return <-done
	}
}

// Run answers what is under way, does not wait for idle connections, and closes the port.
func TestRunEnds(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	o := options(t, newFakeNode(t), nil)
	o.Live = []Check{{"slow", func() error { close(began); <-release; return nil }}}
	addr, end := serve(t, o)
	idle := dial(t, addr)
	busy := dial(t, addr)
	_, _ = io.WriteString(busy, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	close(release)
	answer, err := http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil || answer.StatusCode != 200 {
		t.Errorf("under way: %v %v", answer, err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an idle connection after Run: %v", err)
	}
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the port is open after Run")
	}
}

// A header beyond the bound is refused, not read.
func TestHeaderLimit(t *testing.T) {
	addr, end := serve(t, options(t, newFakeNode(t), nil))
	c := dial(t, addr)
	go func() { _, _ = io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1<<20)) }()
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%v %v", answer, err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}
