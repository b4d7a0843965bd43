package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func authOf(id, secret string) linkAuth {
	return linkAuth{clusterName: "prod", secret: raftfsm.NewSecret(secret), raftID: raft.ServerID(id)}
}

// tapConn records what goes over a connection, and may claim a remote address.
type tapConn struct {
	net.Conn
	remote net.Addr
	mu     sync.Mutex
	wrote  bytes.Buffer
	read   bytes.Buffer
}

func (c *tapConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.wrote.Write(b)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

func (c *tapConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.read.Write(b[:n])
	c.mu.Unlock()
	return n, err
}

func (c *tapConn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

func admitAll(linkHello) error { return nil }

// shake lets two nodes meet over memory and gives either's error, and the acceptor's connection.
func shake(t *testing.T, dialler, acceptor linkAuth, hello linkHello, purpose string, remote net.Addr) (tap *tapConn, derr, aerr error) {
	t.Helper()
	near, far := net.Pipe()
	deadline := time.Now().Add(5 * time.Second)
	for _, c := range []net.Conn{near, far} {
		if err := c.SetDeadline(deadline); err != nil {
			t.Fatal(err)
		}
	}
	tap = &tapConn{Conn: far, remote: remote}
	done := make(chan error, 1)
	go func() {
		_, err := acceptor.accept(tap, purpose, admitAll)
		done <- errors.Join(err, far.Close())
	}()
	derr = dialler.dial(near, hello)
	aerr = <-done
	return tap, derr, aerr
}

func TestHandshake(t *testing.T) {
	far := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 1}
	near := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	other := authOf("n1-a", "s3cret")
	other.clusterName = "staging"
	for _, tc := range []struct {
		name              string
		dialler, acceptor linkAuth
		purpose           string
		remote            net.Addr
		want              string // "" for admitted; else what both sides say
	}{
		{"same secret", authOf("n1-a", "s3cret"), authOf("n2-b", "s3cret"), purposeRaft, far, ""},
		{"other secret", authOf("n1-a", "s3cret"), authOf("n2-b", "hunter2"), purposeRaft, far, "cluster secrets differ"},
		{"no secret there", authOf("n1-a", ""), authOf("n2-b", "s3cret"), purposeRaft, near, "no cluster-secret-file"},
		{"no secret here", authOf("n1-a", "s3cret"), authOf("n2-b", ""), purposeRaft, near, "no cluster-secret-file"},
		{"no secret, same machine", authOf("n1-a", ""), authOf("n2-b", ""), purposeRaft, near, ""},
		{"no secret, far away", authOf("n1-a", ""), authOf("n2-b", ""), purposeRaft, far, "only nodes of the same machine"},
		{"other cluster name", other, authOf("n2-b", "s3cret"), purposeRaft, far, `cluster-name is prod on n2-b and staging on n1-a`},
		{"other purpose", authOf("n1-a", "s3cret"), authOf("n2-b", "s3cret"), purposeGRPC, far, "grpc port"},
		{"oneself", authOf("n2-b", "s3cret"), authOf("n2-b", "s3cret"), purposeRaft, far, "this node itself"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tap, derr, aerr := shake(t, tc.dialler, tc.acceptor, linkHello{Purpose: purposeRaft}, tc.purpose, tc.remote)
			for side, err := range map[string]error{"dialler": derr, "acceptor": aerr} {
				switch {
				case tc.want == "" && err != nil:
					t.Errorf("%s: %v", side, err)
				case tc.want != "" && (err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `\"`, `"`), tc.want)):
					t.Errorf("%s: %v, want %q", side, err, tc.want)
				}
			}
			for _, secret := range []string{"s3cret", "hunter2"} {
				if bytes.Contains(tap.read.Bytes(), []byte(secret)) || bytes.Contains(tap.wrote.Bytes(), []byte(secret)) {
					t.Errorf("the secret %q went over the wire", secret)
				}
			}
		})
	}
}

func TestHandshakeCannotBeReplayed(t *testing.T) {
	a, b := authOf("n1-a", "s3cret"), authOf("n2-b", "s3cret")
	tap, derr, aerr := shake(t, a, b, linkHello{Purpose: purposeRaft}, purposeRaft, nil)
	if derr != nil || aerr != nil {
		t.Fatal(derr, aerr)
	}
	near, far := net.Pipe()
	defer near.Close()
	go func() { _, _ = io.Copy(io.Discard, near) }()
	go func() { _, _ = near.Write(tap.read.Bytes()) }()
	if _, err := b.accept(far, purposeRaft, admitAll); !errors.Is(err, errLinkProof) {
		t.Errorf("recorded bytes were answered with %v", err)
	}
}

func TestHandshakeWithImpostor(t *testing.T) {
	// The acceptor has no secret and turns the dialler's own proof round.
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		magic := make([]byte, len(linkMagic))
		_, _ = io.ReadFull(far, magic)
		var h linkHello
		_, _ = readFrame(far, &h)
		_, _ = writeFrame(far, linkChallenge{Nonce: h.Nonce})
		var p linkProof
		_, _ = readFrame(far, &p)
		_, _ = writeFrame(far, linkVerdict{MAC: p.MAC})
	}()
	if err := authOf("n1-a", "s3cret").dial(near, linkHello{Purpose: purposeRaft}); !errors.Is(err, errLinkProof) {
		t.Errorf("an impostor was answered with %v", err)
	}
}

func TestHandshakeWithStrangers(t *testing.T) {
	for name, text := range map[string]string{
		"HTTP":       "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"cut short":  linkMagic + "\x00\x10{",
		"too long":   linkMagic + "\xff\xff" + strings.Repeat("x", 5000),
		"not JSON":   linkMagic + "\x00\x03abc",
		"wrong type": linkMagic + "\x00\x0f{\"nonce\":[1,2]}",
		"nothing":    "",
	} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, near) }()
			go func() {
				_, _ = near.Write([]byte(text))
				_ = near.Close()
			}()
			if _, err := authOf("n2-b", "s3cret").accept(far, purposeRaft, admitAll); err == nil {
				t.Error("admitted")
			}
			_ = far.Close()
		})
	}
}

// pipeListener is a network of one port in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipeListener) Addr() net.Addr { return linkAddr("pipe") }

func (p *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// linkPair is a dialling link and an accepting one, n2-b, that runs until the test ends.
func linkPair(t *testing.T, log *slog.Logger) (dialling, accepting *raftLink, l *pipeListener) {
	t.Helper()
	l = newPipeListener()
	accepting = newRaftLink(l, authOf("n2-b", "s3cret"), raftfsm.Addr{Host: "n2", Port: 1}, log)
	dialling = newRaftLink(newPipeListener(), authOf("n1-a", "s3cret"), raftfsm.Addr{Host: "n1", Port: 1}, slog.New(slog.DiscardHandler))
	dialling.dialer = l.dial
	dialling.Open("c1")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := accepting.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = dialling.Close()
	})
	return dialling, accepting, l
}

func TestLinkAdmitsWhoeverMeansThisNode(t *testing.T) {
	for _, tc := range []struct {
		name, open, target, want string
	}{
		{"member", "c1", "n2-b@n2:1", ""},
		{"without state", "", "n2-b@n2:1", "no state yet"},
		{"other cluster", "c9", "n2-b@n2:1", "belongs to cluster c9"},
		{"other node at this address", "c1", "n3-c@n2:1", "this is node n2-b"},
		{"no id", "c1", "n2:1", "want ID@HOST:PORT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				// A node that was just admitted is without state for a moment: that refusal is for debugging alone.
				all := &slog.HandlerOptions{Level: slog.LevelDebug}
				dialling, accepting, _ := linkPair(t, slog.New(slog.NewTextHandler(&log, all)))
				accepting.Open(tc.open)
				got := make(chan net.Conn, 1)
				go func() {
					if conn, err := accepting.Accept(); err == nil {
						got <- conn
					}
				}()
				conn, err := dialling.Dial(raft.ServerAddress(tc.target), time.Second)
				if tc.want != "" {
					if err == nil || !strings.Contains(err.Error(), tc.want) {
						t.Errorf("dial: %v, want %q", err, tc.want)
					}
					synctest.Wait()
					if strings.Contains(log.String(), "level=WARN") == (tc.open == "") && strings.Contains(tc.target, "@") {
						t.Errorf("log: %s", log.String())
					}
					if strings.Contains(tc.target, "@") && !strings.Contains(log.String(), tc.want) {
						t.Errorf("log: %s, want %q", log.String(), tc.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				far := <-got
				go func() { _, _ = conn.Write([]byte("ping")) }()
				text := make([]byte, 4)
				if _, err := io.ReadFull(far, text); err != nil || string(text) != "ping" {
					t.Errorf("read %q, %v", text, err)
				}
			})
		})
	}
}

func TestLinkRefusesInTheLogOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		dialling, accepting, _ := linkPair(t, slog.New(slog.NewTextHandler(&log, nil)))
		accepting.Open("c9")
		for range 90 {
			if _, err := dialling.Dial("n2-b@n2:1", time.Second); err == nil {
				t.Fatal("admitted by a node of another cluster")
			}
			time.Sleep(time.Second)
		}
		if got := strings.Count(log.String(), "belongs to cluster c9"); got != 2 || !strings.Contains(log.String(), "left_out=59") {
			t.Errorf("%d lines in 90 s, want 2, and the second with what was left out:\n%s", got, log.String())
		}
	})
}

func TestLinkSilentPeerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialling, accepting, l := linkPair(t, slog.New(slog.DiscardHandler))
		accepting.Open("c1")
		begun := time.Now()
		var silent []net.Conn
		for range handshakesAtOnce - 1 {
			c, err := l.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, c)
		}
		go func() { _, _ = accepting.Accept() }()
		if _, err := dialling.Dial("n2-b@n2:1", time.Second); err != nil {
			t.Fatalf("behind silent peers: %v", err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("waited %v for silent peers", took)
		}
		for _, c := range silent {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("a silent peer got %v", err)
			}
		}
		if took := time.Since(begun); took != handshakeLimit {
			t.Errorf("silent peers were dropped after %v, want %v", took, handshakeLimit)
		}
	})
}

func TestLinkBoundsWhatOneNodeHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialling, accepting, _ := linkPair(t, slog.New(slog.DiscardHandler))
		accepting.Open("c1")
		var stuck []net.Conn // what a Raft whose log store hangs neither reads nor closes
		go func() {
			for {
				conn, err := accepting.Accept()
				if err != nil {
					return
				}
				stuck = append(stuck, conn)
			}
		}()
		for range inboundPerNode {
			conn, err := dialling.Dial("n2-b@n2:1", time.Second)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		if _, err := dialling.Dial("n2-b@n2:1", time.Second); err == nil || !strings.Contains(err.Error(), "log store may hang") {
			t.Errorf("one more: %v", err)
		}
		synctest.Wait()
		_ = stuck[0].Close()
		if _, err := dialling.Dial("n2-b@n2:1", time.Second); err != nil {
			t.Errorf("after one was answered: %v", err)
		}
	})
}

func TestLinkDialHonoursTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := newRaftLink(newPipeListener(), authOf("n1-a", "s"), raftfsm.Addr{}, slog.New(slog.DiscardHandler))
		defer link.Close()
		link.Open("c1")
		link.dialer = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, far) }() // reads all, says nothing
			return near, nil
		}
		begun := time.Now()
		if _, err := link.Dial("n2-b@n2:1", time.Second); err == nil || !strings.Contains(err.Error(), "did not answer") {
			t.Errorf("a peer that says nothing: %v", err)
		}
		if took := time.Since(begun); took != time.Second {
			t.Errorf("gave up after %v, want 1s", took)
		}
	})
}

func TestLinkCloseEndsEveryConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialling, accepting, _ := linkPair(t, slog.New(slog.DiscardHandler))
		accepting.Open("c1")
		got := make(chan net.Conn, 1)
		go func() {
			conn, _ := accepting.Accept()
			got <- conn
		}()
		near, err := dialling.Dial("n2-b@n2:1", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		far := <-got
		if err := accepting.Close(); err != nil {
			t.Error(err)
		}
		for side, c := range map[string]net.Conn{"acceptor": far, "dialler": near} {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s reads on after Close", side)
			}
		}
		if _, err := accepting.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close: %v", err)
		}
	})
}

// slowConn takes a while for each 64 KB.
type slowConn struct {
	net.Conn
	each time.Duration
}

func (c slowConn) Write(p []byte) (n int, err error) {
	for piece := range slices.Chunk(p, 64<<10) {
		if len(piece) == 64<<10 {
			time.Sleep(c.each)
		}
		k, err := c.Conn.Write(piece)
		if n += k; err != nil {
			return n, err
		}
	}
	return n, nil
}

// A large entry comes through a slow network, however short the time limit of an exchange is: nothing could follow it else.
func TestLinkTransportBringsLargeEntries(t *testing.T) {
	transports := linkTransports(t, time.Second/4, 40*time.Millisecond) // 1.6 MB/s
	go func() {
		for rpc := range transports[1].Consumer() {
			req := rpc.Command.(*raft.AppendEntriesRequest)
			rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true, LastLog: uint64(len(req.Entries[0].Data))}, nil)
		}
	}()
	for _, size := range []int{1, 1 << 20, 1} {
		req := &raft.AppendEntriesRequest{Term: 7, Entries: []*raft.Log{{Data: make([]byte, size)}}}
		var resp raft.AppendEntriesResponse
		if err := transports[0].AppendEntries("n2-b", transports[1].LocalAddr(), req, &resp); err != nil || resp.LastLog != uint64(size) {
			t.Errorf("%d bytes: %+v, %v", size, resp, err)
		}
	}
}

// linkTransports are those of two nodes, n1-a and n2-b; the first sends slowly.
func linkTransports(t *testing.T, timeout, each time.Duration) []quietable {
	t.Helper()
	var out []quietable
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)
	for _, id := range []string{"n1-a", "n2-b"} {
		l := listen(t, "127.0.0.1:0")
		link := newRaftLink(l, authOf(id, "s3cret"), parseAddr(t, l.Addr().String()), slog.New(slog.DiscardHandler))
		wg.Go(func() { _ = link.Run(ctx) })
		link.Open("c1")
		dial := link.dialer
		link.dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return slowConn{conn, each}, err
		}
		tr := newLinkTransport(link, timeout, hclog.NewNullLogger())
		t.Cleanup(func() { _ = tr.Close() })
		out = append(out, tr)
	}
	return out
}

func TestLinkTransportBindsConnectionsToServers(t *testing.T) {
	var links []*raftLink
	var transports []quietable
	var wg sync.WaitGroup
	for _, id := range []string{"n1-a", "n2-b"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr, err := raftfsm.ParseAddr(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		link := newRaftLink(l, authOf(id, "s3cret"), addr, slog.New(slog.DiscardHandler))
		wg.Go(func() {
			if err := link.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
		link.Open("c1")
		links = append(links, link)
		transports = append(transports, newLinkTransport(link, time.Second, hclog.NewNullLogger()))
	}
	go func() {
		for rpc := range transports[1].Consumer() {
			rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
		}
	}()
	to := transports[1].LocalAddr()
	for range 3 {
		var resp raft.AppendEntriesResponse
		if err := transports[0].AppendEntries("n2-b", to, &raft.AppendEntriesRequest{Term: 7}, &resp); err != nil || resp.Term != 7 {
			t.Errorf("to the right server: %+v, %v", resp, err)
		}
		err := transports[0].AppendEntries("n3-c", to, &raft.AppendEntriesRequest{Term: 7}, &resp)
		if err == nil || !strings.Contains(err.Error(), "this is node n2-b") {
			t.Errorf("to a server that is not there: %v", err)
		}
	}
	if _, err := transports[0].AppendEntriesPipeline("n2-b", to); !errors.Is(err, raft.ErrPipelineReplicationNotSupported) {
		t.Errorf("pipelining: %v", err)
	}
	if got := transports[0].EncodePeer("n2-b", to); string(got) != string(to) {
		t.Errorf("a peer is told as %q, want its plain address %q", got, to)
	}
	for _, tr := range transports {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	for i, l := range links {
		if len(l.live) != 0 {
			t.Errorf("link %d has %d connections after Close", i, len(l.live))
		}
	}
}
