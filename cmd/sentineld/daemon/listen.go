package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
)

// listen binds one port on all configured addresses. An address marked optional may be missing from the machine.
func listen(
	ctx context.Context, open func(ctx context.Context, network, address string) (net.Listener, error), c *conf.Config, directive string, port int,
) (net.Listener, error) {
	var all []net.Listener
	for _, b := range c.Bind {
		host := b.Host
		if host == "*" {
			host = ""
		}
		l, err := open(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		switch {
		case err == nil:
			all = append(all, l)
			if port == 0 {
				port = l.Addr().(*net.TCPAddr).Port
			}
		case b.Optional:
		default:
			return nil, errors.Join(bindError(c, directive, b.Host, port, err), closeAll(all))
		}
	}
	if len(all) == 0 {
		return nil, placed(c, "bind", fmt.Errorf("none of the addresses is of this machine, or can be listened on at %s %d", directive, port))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return &fanIn{all: all, conns: make(chan accepted), closed: make(chan struct{})}, nil
}

// bindError says which directive is to be changed. It is no [ErrConfig]: ports become free, and at a boot addresses and name
// servers may come later.
func bindError(c *conf.Config, directive, host string, port int, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		at := ""
		if p := c.Place(directive); p.File != "" {
			at = p.String() + ": "
		}
		return fmt.Errorf("%s%s %d is in use at %s by another process (ss -ltnp shows which): stop that, or give this node another %s: %w",
			at, directive, port, host, directive, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return placed(c, "bind", fmt.Errorf("%s is no address of this machine; to pass over it where it is missing, write -%[1]s: %w", host, err))
	}
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		return placed(c, "bind", err)
	}
	return fmt.Errorf("%s %d at %s: %w", directive, port, host, err)
}

// fanIn is one listener over several. Its accepting goroutines start with the first Accept and end with Close.
type fanIn struct {
	all    []net.Listener
	start  sync.Once
	stop   sync.Once
	conns  chan accepted
	closed chan struct{}
	err    error
}

func (f *fanIn) Accept() (net.Conn, error) {
	f.start.Do(func() {
		for _, l := range f.all {
			go f.accept(l)
		}
	})
	select {
	case a := <-f.conns:
		return a.conn, a.err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// accepted is a connection, or why there is none: whoever accepts waits a little then, out of descriptors say.
type accepted struct {
	conn net.Conn
	err  error
}

func (f *fanIn) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case f.conns <- accepted{c, err}:
		case <-f.closed:
			if c != nil {
				_ = c.Close()
			}
			return
		}
	}
}

// Close closes all.
func (f *fanIn) Close() error {
	f.stop.Do(func() {
		close(f.closed)
		f.err = closeAll(f.all)
	})
	return f.err
}

// Addr is that of the first.
func (f *fanIn) Addr() net.Addr { return f.all[0].Addr() }

func closeAll(all []net.Listener) error {
	errs := make([]error, 0, len(all))
	for _, l := range all {
		errs = append(errs, l.Close())
	}
	return errors.Join(slices.Clip(errs)...)
}
