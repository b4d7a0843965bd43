package fakeredis

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Net is a network of instances. Made inside a testing/synctest bubble, it lives in the bubble's time. One lock guards
// all of it; nothing waits while holding it.
type Net struct {
	mu        sync.Mutex
	instances map[raftfsm.Addr]*Instance
	order     []*Instance                  // as they were added
	followers map[raftfsm.Addr][]*Instance // by the master that they follow, in the order they began to
	cuts      map[cut]bool
	silent    map[*end]cut  // connections that a cut has silenced, of processes that are gone too
	healed    chan struct{} // closed and replaced when a cut ends or the net closes
	closed    bool
	log       []Command
	keep      func(args []string) bool
	name      string
	ids       uint64
	ports     uint16
	running   sync.WaitGroup
}

type cut struct {
	host string
	addr raftfsm.Addr
}

// Command is one executed command.
type Command struct {
	At       time.Time
	Instance raftfsm.Addr
	// Host dialled the connection, and Client is its CLIENT SETNAME at that moment; ClientID its id.
	Host     string
	Client   string
	ClientID int64
	// Args are the words, Args[0] as sent. Passwords of AUTH are shown as they came: they are a test's own.
	Args []string
	// Err is the text of an error reply, "" for success.
	Err string
	// InMulti: it ran inside EXEC.
	InMulti bool
}

// NewNet makes an empty network.
func NewNet() *Net { return NewNetNamed("fakeredis") }

// NewNetNamed makes one whose ids are those of no net of another name.
func NewNetNamed(name string) *Net {
	return &Net{
		name:      name,
		instances: map[raftfsm.Addr]*Instance{}, followers: map[raftfsm.Addr][]*Instance{}, cuts: map[cut]bool{},
		silent: map[*end]cut{},
		healed: make(chan struct{}), ports: 30000, keep: func([]string) bool { return true },
	}
}

// Add starts an instance as an empty master at addr ("10.0.0.1:6379"); it panics where one is already, or on a bad address.
func (n *Net) Add(addr string) *Instance {
	a, err := raftfsm.ParseAddr(addr)
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.instances[a] != nil {
		panic(fmt.Sprintf("fakeredis: %s is taken", a))
	}
	i := newInstance(n, a)
	n.instances[a] = i
	n.order = append(n.order, i)
	return i
}

// Instance is the one at addr, or nil.
func (n *Net) Instance(addr raftfsm.Addr) *Instance {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.instances[addr]
}

// DialContext connects as the host "".
func (n *Net) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.dial(ctx, "", network, addr)
}

// From gives the dial function of a named host, for [Net.Drop] between it and an instance, and for the log.
func (n *Net) From(host string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return n.dial(ctx, host, network, addr)
	}
}

func (n *Net) dial(ctx context.Context, host, network, addr string) (net.Conn, error) {
	fault := func(err error) error { return &net.OpError{Op: "dial", Net: network, Addr: namedAddr(addr), Err: err} }
	a, err := raftfsm.ParseAddr(addr)
	if err != nil {
		return nil, fault(err)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fault(err)
		}
		conn, wait, err := n.tryDial(host, a)
		switch {
		case err != nil:
			return nil, fault(err)
		case conn != nil:
			return conn, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
}

// tryDial gives a connection, an error, or what to wait for while packets are dropped.
func (n *Net) tryDial(host string, a raftfsm.Addr) (net.Conn, <-chan struct{}, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := n.instances[a]
	switch {
	case n.closed:
		return nil, nil, net.ErrClosed
	case n.isCut(host, a):
		return nil, n.healed, nil
	case i == nil || i.process == nil:
		return nil, nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	}
	n.ports = max(30000, n.ports+1)
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(n.ports)}
	if ip := net.ParseIP(host); ip != nil {
		from.IP = ip
	}
	client, server := newPipe(from, tcpAddr(a))
	i.accept(server, host)
	return client, nil, nil
}

// Drop discards all packets between a host ("*" = every host) and the instance at addr: dials hang, and connections fall
// silent without a reset. Replication links come from the host of the replica's address. Heal undoes it; what was sent
// in between then arrives, as TCP sends it again.
func (n *Net) Drop(host string, addr raftfsm.Addr) { n.setCut(host, addr, true) }

// Heal ends a Drop of the same arguments.
func (n *Net) Heal(host string, addr raftfsm.Addr) { n.setCut(host, addr, false) }

func (n *Net) setCut(host string, addr raftfsm.Addr, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settleAll()
	if on {
		n.cuts[cut{host, addr}] = true
	} else {
		delete(n.cuts, cut{host, addr})
	}
	if i := n.instances[addr]; i != nil {
		for _, c := range i.clients() {
			if e, ok := c.conn.(*end); ok && n.isCut(c.host, addr) {
				e.setCut(true)
				n.silent[e] = cut{c.host, addr}
			}
		}
	}
	for e, c := range n.silent {
		if !n.isCut(c.host, c.addr) {
			e.setCut(false)
			delete(n.silent, e)
		}
	}
	n.wakeDials()
	n.settleAll()
}

func (n *Net) isCut(host string, addr raftfsm.Addr) bool {
	return n.cuts[cut{"*", addr}] || n.cuts[cut{host, addr}]
}

func (n *Net) wakeDials() {
	close(n.healed)
	n.healed = make(chan struct{})
}

// Log is every command that was executed, in order, of all instances.
func (n *Net) Log() []Command {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.log)
}

// LogOnly bounds the log from now on to commands for which keep is true; long runs leave out PING and INFO.
func (n *Net) LogOnly(keep func(args []string) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keep = keep
}

// Close ends every connection and goroutine, and returns after the last has ended.
func (n *Net) Close() {
	n.mu.Lock()
	n.closed = true
	for _, i := range n.order {
		i.kill()
	}
	n.wakeDials()
	n.mu.Unlock()
	n.running.Wait()
}

// newID makes an id of 40 hex digits, the same in every run.
func (n *Net) newID() string {
	n.ids++
	sum := sha1.Sum(fmt.Appendf(nil, "%s %d", n.name, n.ids))
	return hex.EncodeToString(sum[:])
}

type namedAddr string

func (namedAddr) Network() string  { return "tcp" }
func (a namedAddr) String() string { return string(a) }

func tcpAddr(a raftfsm.Addr) net.Addr {
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, a.Port))
	}
	return namedAddr(a.String())
}
