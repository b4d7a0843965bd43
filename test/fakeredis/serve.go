package fakeredis

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// client is one connection to an instance.
type client struct {
	id       int64
	conn     net.Conn
	host     string
	instance *Instance
	process  *process
	opened   time.Time

	name     string
	loggedIn bool
	closing  bool // close after the reply
	channels map[string]bool

	multi  bool
	dirty  bool
	queued [][]string
	inExec bool
}

var errSyntax = errors.New("protocol error")

// Bounds of a request.
const (
	maxArgs = 1 << 16
	maxBulk = 1 << 20
)

// accept takes a connection over and serves it in a goroutine that ends with the connection, the process or the net. The
// lock is held.
func (i *Instance) accept(conn net.Conn, host string) {
	p := i.process
	p.lastClient++
	c := &client{
		id: p.lastClient, conn: conn, host: host, instance: i, process: p, opened: time.Now(),
		loggedIn: len(i.passwords["default"]) == 0,
	}
	p.clients[c.id] = c
	i.net.running.Go(c.serve)
}

func (c *client) serve() {
	defer c.leave()
	r := bufio.NewReaderSize(c.conn, 512)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		if len(args) == 0 {
			continue
		}
		if !c.awaitTurn() {
			return
		}
		reply, closing := c.execute(args)
		if _, err := c.conn.Write(reply); err != nil || closing {
			return
		}
		c.instance.answered(args[0])
	}
}

// execute runs one command as Redis does: alone.
func (c *client) execute(args []string) (reply []byte, closing bool) {
	n := c.instance.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.instance.process != c.process {
		return nil, true
	}
	reply = c.dispatch(args)
	return reply, c.closing
}

// awaitTurn waits while the process is frozen or all clients are paused; false is the process's end.
func (c *client) awaitTurn() bool {
	for {
		c.instance.net.mu.Lock()
		thawed := c.process.thawed
		var pause time.Duration
		if c.process.pausedAll {
			pause = time.Until(c.process.pausedUntil)
		}
		c.instance.net.mu.Unlock()
		if thawed == nil && pause <= 0 {
			select {
			case <-c.process.dead:
				return false
			default:
				return true
			}
		}
		var timeout <-chan time.Time
		if thawed == nil {
			timeout = time.After(pause)
		}
		select {
		case <-c.process.dead:
			return false
		case <-thawed:
		case <-timeout:
		}
	}
}

func (c *client) leave() {
	_ = c.conn.Close()
	n := c.instance.net
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(c.process.clients, c.id)
}

// abort resets the connection.
func (c *client) abort() {
	switch conn := c.conn.(type) {
	case *end:
		conn.abort()
	case *net.TCPConn:
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}

// readCommand reads a RESP array of bulk strings, or an inline command.
func readCommand(r *bufio.Reader) ([]string, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	count, isArray := strings.CutPrefix(line, "*")
	if !isArray {
		return strings.Fields(line), nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n > maxArgs {
		return nil, errSyntax
	}
	var args []string
	for range n {
		if line, err = readLine(r); err != nil {
			return nil, err
		}
		length, isBulk := strings.CutPrefix(line, "$")
		size, err := strconv.Atoi(length)
		if !isBulk || err != nil || size < 0 || size > maxBulk {
			return nil, errSyntax
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args = append(args, string(b[:size]))
	}
	return args, nil
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// Listen serves the instance on a real TCP port of the loopback interface as well, until [Net.Close] or Crash; Restart
// opens the same port again. It cannot be used in a synctest bubble.
func (i *Instance) Listen() (net.Addr, error) { return i.listenAt("127.0.0.1:0") }

// ListenHere is [Instance.Listen] at the instance's own address, which others of its [Net] tell of it.
func (i *Instance) ListenHere() error {
	_, err := i.listenAt(i.addr.String())
	return err
}

func (i *Instance) listenAt(addr string) (net.Addr, error) {
	i.net.mu.Lock()
	defer i.net.mu.Unlock()
	if i.process == nil {
		return nil, net.ErrClosed
	}
	if i.process.listener == nil {
		i.listen = addr
		if err := i.open(); err != nil {
			return nil, err
		}
	}
	return i.process.listener.Addr(), nil
}

func (i *Instance) open() error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", i.listen)
	if err != nil {
		return err
	}
	i.listen = l.Addr().String()
	p := i.process
	p.listener = l
	i.net.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			i.net.mu.Lock()
			if i.process == p {
				i.accept(conn, conn.RemoteAddr().(*net.TCPAddr).IP.String())
			} else {
				_ = conn.Close()
			}
			i.net.mu.Unlock()
		}
	})
	return nil
}

// reopen panics where the port is taken: a test cannot go on without it.
func (i *Instance) reopen() {
	if err := i.open(); err != nil {
		panic(err)
	}
}
