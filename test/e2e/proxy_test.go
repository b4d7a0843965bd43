package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// proxy stands before a Redis server and can swallow what passes, in both directions, as a network that drops packets
// does: connections stay open, and what was swallowed arrives once the way is free.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	blocked func(pid int) bool
	changed chan struct{}
	conns   map[net.Conn]bool
	closed  bool
	wg      sync.WaitGroup
}

// newProxy listens on a free port. It knows clients by their processes, which takes Linux.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the proxy finds out in /proc whose connection it is")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		listener: l, target: target, blocked: nobody, changed: make(chan struct{}), conns: map[net.Conn]bool{},
	}
	p.wg.Go(p.serve)
	t.Cleanup(p.close)
	return p
}

func nobody(int) bool { return false }

func (p *proxy) addr() string { return p.listener.Addr().String() }

// block swallows the traffic of the processes that who tells, until the next call.
func (p *proxy) block(who func(pid int) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = who
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.block(nobody)
	p.wg.Wait()
}

func (p *proxy) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.keep(c) {
			p.wg.Go(func() { p.pass(c) })
		}
	}
}

// keep remembers a connection for close, and closes it where that has been.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) pass(client net.Conn) {
	defer p.drop(client)
	pid := ownerOf(client)
	p.await(pid)
	server, err := net.Dial("tcp", p.target)
	if err != nil || !p.keep(server) {
		return
	}
	defer p.drop(server)
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client, pid) })
	both.Go(func() { p.copy(client, server, pid) })
	both.Wait()
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

// copy ends both connections when one ends.
func (p *proxy) copy(to, from net.Conn, pid int) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.await(pid)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

// await returns once the process is not blocked.
func (p *proxy) await(pid int) {
	for {
		p.mu.Lock()
		blocked, changed := p.blocked(pid) && !p.closed, p.changed
		p.mu.Unlock()
		if !blocked {
			return
		}
		<-changed
	}
}

// ownerOf is the process at the other end of a connection on this machine; 0 for unknown.
func ownerOf(c net.Conn) int {
	inode := inodeOf(c.RemoteAddr().(*net.TCPAddr).Port, c.LocalAddr().(*net.TCPAddr).Port)
	if inode == "" {
		return 0
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == "socket:["+inode+"]" {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			return pid
		}
	}
	return 0
}

// inodeOf finds the socket that is bound to one port and connected to another.
func inodeOf(local, remote int) string {
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadString('\n')
		w := strings.Fields(line)
		if len(w) > 9 && strings.HasSuffix(w[1], fmt.Sprintf(":%04X", local)) && strings.HasSuffix(w[2], fmt.Sprintf(":%04X", remote)) {
			return w[9]
		}
		if err != nil {
			return ""
		}
	}
}

func TestProxyKnowsItsClients(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = echo.Close() }()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	p := newProxy(t, echo.Addr().String())
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	say := func(s string) {
		t.Helper()
		if _, err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("heard %q, %v; want %q", got, err, want)
		}
	}
	say("one")
	hear("one")
	asked := make(chan int, 10)
	p.block(func(pid int) bool { asked <- pid; return true })
	say("two")
	if pid := <-asked; pid != os.Getpid() {
		t.Errorf("the client is taken for process %d, it is %d", pid, os.Getpid())
	}
	p.block(func(pid int) bool { return pid != os.Getpid() })
	hear("two")
}
