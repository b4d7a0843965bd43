package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// handshakesAtOnce bounds how many inbound connections may be unproven at one time.
	handshakesAtOnce = 128
	// inboundPerNode bounds what one other node may hold open. It needs eight at most. Where this node's log store hangs,
	// hashicorp/raft keeps each call, its connection and 256 KB until the store returns, and the caller comes anew each time.
	inboundPerNode = 32
)

var linkKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// raftLink is the raft.StreamLayer. Run must run from before the transport is made until after it is closed; until Open,
// every inbound connection is refused in words, because a node without state must answer no Raft call.
type raftLink struct {
	listener  net.Listener
	auth      linkAuthNow
	advertise raftfsm.Addr
	log       *sparseLog
	dialer    func(ctx context.Context, network, address string) (net.Conn, error)

	accepted chan net.Conn
	// closing ends every wait here; it is the life of the link, not of a call.
	closing context.Context
	close   context.CancelFunc

	mu        sync.Mutex
	clusterID string // "" until Open
	live      map[*linkConn]struct{}
}

// newRaftLink owns the listener from now on. It starts nothing. advertise is what Addr tells.
func newRaftLink(l net.Listener, auth linkAuth, advertise raftfsm.Addr, log *slog.Logger) *raftLink {
	dialer := net.Dialer{KeepAliveConfig: linkKeepAlive}
	link := &raftLink{
		listener: l, advertise: advertise, log: newSparseLog(log), dialer: dialer.DialContext,
		accepted: make(chan net.Conn), live: map[*linkConn]struct{}{},
	}
	link.auth.Store(&auth)
	link.closing, link.close = context.WithCancel(context.Background())
	return link
}

// Run accepts and shakes hands until ctx ends or Close; it returns after its last goroutine has ended.
func (l *raftLink) Run(ctx context.Context) error {
	defer func() { _ = l.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, handshakesAtOnce)
	pause := 5 * time.Millisecond
	for {
		conn, err := l.listener.Accept()
		switch {
		case l.closing.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept raft connections: %w", err)
		case err != nil:
			l.log.warn(err.Error(), "raft connection not accepted", "error", err)
			select {
			case <-time.After(pause):
			case <-l.closing.Done():
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		select {
		case places <- struct{}{}:
		default:
			l.log.warn("full", "raft connection dropped: too many others have not proven themselves", "remote", conn.RemoteAddr().String())
			_ = conn.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-places }()
			l.admit(conn)
		})
	}
}

// admit hands a connection to Accept once its other end has proven to be a node that means this one.
func (l *raftLink) admit(raw net.Conn) {
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(linkKeepAlive)
	}
	conn, ok := l.track(raw)
	if !ok {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(handshakeLimit))
	hello, err := l.auth.Load().accept(conn, purposeRaft, func(h linkHello) error { return l.meant(conn, h) })
	if err != nil {
		if l.closing.Err() == nil && !errors.Is(err, io.EOF) {
			level := slog.LevelWarn
			if errors.Is(err, errNoState) {
				level = slog.LevelDebug
			}
			l.log.write(level, refusalKey(conn, err), "raft connection refused",
				"remote", conn.RemoteAddr().String(), "from", printable(string(hello.From)), "error", err)
		}
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	waited := time.NewTimer(handshakeLimit)
	defer waited.Stop()
	select {
	case l.accepted <- conn:
	case <-waited.C:
		_ = conn.Close()
	case <-l.closing.Done():
		_ = conn.Close()
	}
}

// meant refuses a node that takes this one for another, or that holds too much of it.
func (l *raftLink) meant(conn *linkConn, h linkHello) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := 0
	for c := range l.live {
		if c.from == h.From {
			held++
		}
	}
	own := l.clusterID
	switch {
	case own == "":
		return errNoState
	case h.ClusterID != own:
		return linkRefusal{fmt.Sprintf("this node belongs to cluster %s, not to %s", own, printable(h.ClusterID))}
	case h.To != l.auth.Load().raftID:
		return linkRefusal{fmt.Sprintf("this is node %s, not %s", l.auth.Load().raftID, printable(string(h.To)))}
	case held >= inboundPerNode:
		return linkRefusal{fmt.Sprintf("%d connections of node %s are unanswered here: the log store may hang", held, h.From)}
	}
	conn.from = h.From
	return nil
}

// Open lets members of the cluster in, and this node out.
func (l *raftLink) Open(clusterID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clusterID = clusterID
}

func (l *raftLink) cluster() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clusterID
}

// Accept implements net.Listener.
func (l *raftLink) Accept() (net.Conn, error) {
	select {
	case conn := <-l.accepted:
		return conn, nil
	case <-l.closing.Done():
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener: what other nodes dial.
func (l *raftLink) Addr() net.Addr { return linkAddr(l.advertise.String()) }

// Close ends the link and every connection over it, those that Raft holds too: hashicorp/raft closes none of the inbound
// ones itself.
func (l *raftLink) Close() error {
	l.mu.Lock()
	l.close()
	live := l.live
	l.live = nil
	l.mu.Unlock()
	err := l.listener.Close()
	for conn := range live {
		_ = conn.Conn.Close()
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Dial implements raft.StreamLayer. The address is ID@HOST:PORT, see linkTransport; the timeout covers the handshake.
func (l *raftLink) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, target, ok := cutTarget(address)
	if !ok {
		return nil, fmt.Errorf("raft address %q: want ID@HOST:PORT", address)
	}
	cluster := l.cluster()
	if cluster == "" {
		return nil, fmt.Errorf("dial node %s: this node has no state yet", id)
	}
	ctx, cancel := context.WithTimeout(l.closing, timeout)
	defer cancel()
	raw, err := l.dialer(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	conn, ok := l.track(raw)
	if !ok {
		return nil, net.ErrClosed
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if err := l.auth.Load().dial(conn, linkHello{Purpose: purposeRaft, To: id, ClusterID: cluster}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("node %s at %s: %w", id, target, err)
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, nil
}

// linkConn is a connection that Close of its link ends.
type linkConn struct {
	net.Conn
	link *raftLink
	from raft.ServerID // of an inbound connection, once it is proven; guarded by link.mu
}

// track adds a connection to those that Close ends; after Close it ends it at once.
func (l *raftLink) track(raw net.Conn) (*linkConn, bool) {
	conn := &linkConn{Conn: raw, link: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Err() != nil {
		_ = raw.Close()
		return nil, false
	}
	l.live[conn] = struct{}{}
	return conn, true
}

func (c *linkConn) Close() error {
	c.link.mu.Lock()
	delete(c.link.live, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}

type linkAddr string

func (linkAddr) Network() string  { return "tcp" }
func (a linkAddr) String() string { return string(a) }

// linkTransport tells the link for which server each connection is: raft.NetworkTransport dials, and pools, by address
// alone. What Raft itself sees are plain addresses.
type linkTransport struct{ *raft.NetworkTransport }

// newLinkTransport is raft's network transport over the link: pipelining off, each connection bound to the server id it is
// for. It implements raft.WithPreVote and raft.WithClose. It starts a goroutine: make it inside Run.
func newLinkTransport(l *raftLink, timeout time.Duration, log hclog.Logger) quietable {
	return linkTransport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: l, Logger: log, Timeout: timeout, MaxPool: 3, MaxRPCsInFlight: 1,
	})}
}

func joinTarget(id raft.ServerID, address raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(id) + "@" + address
}

func cutTarget(a raft.ServerAddress) (id raft.ServerID, address string, ok bool) {
	i := strings.LastIndexByte(string(a), '@')
	if i < 0 {
		return "", "", false
	}
	return raft.ServerID(a[:i]), string(a[i+1:]), true
}

// AppendEntries implements raft.Transport.
func (t linkTransport) AppendEntries(
	id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse,
) error {
	return t.NetworkTransport.AppendEntries(id, joinTarget(id, target), req, resp)
}

// RequestVote implements raft.Transport.
func (t linkTransport) RequestVote(
	id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse,
) error {
	return t.NetworkTransport.RequestVote(id, joinTarget(id, target), req, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t linkTransport) RequestPreVote(
	id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse,
) error {
	return t.NetworkTransport.RequestPreVote(id, joinTarget(id, target), req, resp)
}

// InstallSnapshot implements raft.Transport.
func (t linkTransport) InstallSnapshot(
	id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader,
) error {
	return t.NetworkTransport.InstallSnapshot(id, joinTarget(id, target), req, resp, data)
}

// TimeoutNow implements raft.Transport.
func (t linkTransport) TimeoutNow(
	id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse,
) error {
	return t.NetworkTransport.TimeoutNow(id, joinTarget(id, target), req, resp)
}

// Close implements raft.WithClose. It ends the link, too.
func (t linkTransport) Close() error {
	err := t.NetworkTransport.Close()
	t.CloseStreams()
	return err
}
