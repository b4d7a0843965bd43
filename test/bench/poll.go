package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/test/lab"
)

// poller asks one node for the master's address every millisecond, on a connection of its own.
type poller struct {
	conn  net.Conn
	reply *bufio.Reader
}

func newPoller(ctx context.Context, node string) (*poller, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", node)
	if err != nil {
		return nil, err
	}
	return &poller{c, bufio.NewReader(c)}, nil
}

// ask gives HOST:PORT.
func (p *poller) ask(deadline time.Time) (string, error) {
	if err := p.conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(p.conn, "SENTINEL GET-MASTER-ADDR-BY-NAME %s\r\n", lab.MasterName); err != nil {
		return "", err
	}
	head, err := p.line()
	if err != nil || head != "*2" {
		return "", fmt.Errorf("answer %q: %w", head, err)
	}
	var words [2]string
	for i := range words {
		if words[i], err = p.bulk(); err != nil {
			return "", err
		}
	}
	return net.JoinHostPort(words[0], words[1]), nil
}

func (p *poller) line() (string, error) {
	s, err := p.reply.ReadString('\n')
	return strings.TrimRight(s, "\r\n"), err
}

func (p *poller) bulk() (string, error) {
	head, err := p.line()
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimPrefix(head, "$"))
	if err != nil || n < 0 || n > 1024 {
		return "", fmt.Errorf("length %q in an answer", head)
	}
	word := make([]byte, n+2)
	if _, err := io.ReadFull(p.reply, word); err != nil {
		return "", err
	}
	return string(word[:n]), nil
}

// untilMoved polls until the answer is another than the given one, and tells when it came.
func (p *poller) untilMoved(from string, deadline time.Time) (time.Time, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		addr, err := p.ask(deadline)
		now := time.Now()
		if err != nil {
			return now, err
		}
		if addr != from {
			return now, nil
		}
		<-tick.C
	}
}

// moved breaks something and tells how long it took from just before that until every node of the list named another
// master, less down-after.
func moved(ctx context.Context, from string, nodes []string, harm func() error) (time.Duration, error) {
	d, err := renamed(ctx, from, nodes, harm)
	return d - lab.DownAfter, err
}

// renamed tells how long it took from just before the deed until every node of the list named another master.
func renamed(ctx context.Context, from string, nodes []string, deed func() error) (time.Duration, error) {
	pollers := make([]*poller, len(nodes))
	for i, n := range nodes {
		p, err := newPoller(ctx, n)
		if err != nil {
			return 0, err
		}
		defer func() { _ = p.conn.Close() }()
		pollers[i] = p
		// The first question warms the connection up.
		if addr, err := p.ask(time.Now().Add(lab.Limit)); err != nil || addr != from {
			return 0, fmt.Errorf("%s names %q before anything happened: %w", n, addr, err)
		}
	}
	last := make([]time.Time, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	deadline := time.Now().Add(lab.Limit)
	for i, p := range pollers {
		wg.Go(func() { last[i], errs[i] = p.untilMoved(from, deadline) })
	}
	begun := time.Now()
	done := deed()
	if done != nil {
		// Nobody need wait for what will not come.
		for _, p := range pollers {
			_ = p.conn.Close()
		}
	}
	wg.Wait()
	if done != nil {
		return 0, done
	}
	end := begun
	for i, err := range errs {
		if err != nil {
			return 0, fmt.Errorf("%s: %w", nodes[i], err)
		}
		if last[i].After(end) {
			end = last[i]
		}
	}
	return end.Sub(begun), nil
}
