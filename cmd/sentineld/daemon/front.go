package daemon

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/api/resp"
	"github.com/raftsentinel/raftsentinel/api/web"
)

// front is a server of the Sentinel protocol on its listener; the zero value serves nothing.
type front struct {
	listener net.Listener
	server   *resp.Server
}

// front makes a server on a listener, which is closed where that fails.
func (d *Daemon) front(l net.Listener) (front, error) {
	s, err := d.serveOn(l)
	if err != nil {
		return front{}, errors.Join(err, l.Close())
	}
	return front{l, s}, nil
}

// sentinelPort serves the Sentinel protocol on a port that a reload may open, move and close.
type sentinelPort struct {
	moves chan move

	mu  sync.Mutex
	now front
}

// move brings what is to serve from now on; done is closed once it does.
type move struct {
	front
	done chan struct{}
}

// addr is where it listens; nil for nowhere.
func (p *sentinelPort) addr() net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.listener == nil {
		return nil
	}
	return p.now.listener.Addr()
}

// counts are the clients of the present port; false while it is off.
func (p *sentinelPort) counts() (web.Clients, bool) {
	p.mu.Lock()
	server := p.now.server
	p.mu.Unlock()
	if server == nil {
		return web.Clients{}, false
	}
	return web.Clients(server.Counts()), true
}

// publish tells subscribers what only this node knows.
func (p *sentinelPort) publish(n api.Notice) {
	p.mu.Lock()
	server := p.now.server
	p.mu.Unlock()
	if server != nil {
		server.Publish(n.Channel, n.Payload)
	}
}

// move has another front serve in the place of the present one, whose clients are disconnected; the zero front is none.
func (p *sentinelPort) move(ctx context.Context, next front) error {
	m := move{next, make(chan struct{})}
	select {
	case p.moves <- m:
		<-m.done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run serves until ctx ends, or a server fails.
func (p *sentinelPort) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	now := p.now.begin(ctx)
	for {
		select {
		case <-ctx.Done():
			return now.end()
		case err := <-now.ended:
			return err
		case next := <-p.moves:
			// The new port answers before the old one falls silent.
			before := now
			now = next.begin(ctx)
			p.mu.Lock()
			p.now = next.front
			p.mu.Unlock()
			err := before.end()
			close(next.done)
			if err != nil {
				return errors.Join(err, now.end())
			}
		}
	}
}

// serving is a front at work. A front that serves nothing never ends by itself.
type serving struct {
	stop  context.CancelFunc
	ended chan error
}

func (f front) begin(ctx context.Context) serving {
	if f.server == nil {
		return serving{}
	}
	ctx, stop := context.WithCancel(ctx)
	s := serving{stop, make(chan error, 1)}
	go func() { s.ended <- f.server.Run(ctx) }()
	return s
}

// end stops it and waits for its last goroutine.
func (s serving) end() error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	return <-s.ended
}
