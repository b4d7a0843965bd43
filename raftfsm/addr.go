package raftfsm

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Addr names a Redis instance or a node: a host name or IP address as it was given, and a TCP port. It is comparable;
// two spellings of one host are two Addr values.
type Addr struct {
	Host string
	Port uint16
}

// ParseAddr reads HOST:PORT or [V6]:PORT.
func ParseAddr(s string) (Addr, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Addr{}, fmt.Errorf("address %q: want HOST:PORT", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Addr{}, fmt.Errorf("address %q: port must be 1 to 65535", s)
	}
	return NewAddr(host, int(n))
}

// NewAddr checks a host and a port.
func NewAddr(host string, port int) (Addr, error) {
	if port < 1 || port > 65535 {
		return Addr{}, fmt.Errorf("port %d: must be 1 to 65535", port)
	}
	if err := checkHost(host); err != nil {
		return Addr{}, err
	}
	return Addr{Host: host, Port: uint16(port)}, nil
}

// checkHost accepts what a resolver could understand and refuses what could break a line of a protocol.
func checkHost(host string) error {
	if err := checkHostLetters(host); err != nil {
		return err
	}
	if strings.Contains(host, ":") {
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Errorf("host %q: is neither a host name nor an IPv6 address", host)
		}
	}
	return nil
}

// checkHostLetters is the part of the rule that is law: it depends on nothing that a Go release could change.
func checkHostLetters(host string) error {
	if host == "" || len(host) > 253 {
		return fmt.Errorf("host %q: must have 1 to 253 characters", host)
	}
	for _, r := range host {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._:%", r):
		default:
			return fmt.Errorf("host %q: the character %q does not belong in a host name or address", host, r)
		}
	}
	return nil
}

// lawfulAddr is an address of the log, if it may stand in the state.
func lawfulAddr(p *raftlogv1.Address) (Addr, error) {
	if port := p.GetPort(); port < 1 || port > 65535 {
		return Addr{}, fmt.Errorf("port %d: must be 1 to 65535", port)
	}
	return AddrOf(p), checkHostLetters(p.GetHost())
}

// String is HOST:PORT, with brackets around an IPv6 address; "" for the zero Addr.
func (a Addr) String() string {
	if a.IsZero() {
		return ""
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
}

// IsZero tells whether a names nothing.
func (a Addr) IsZero() bool { return a == Addr{} }

// IsLoopback tells whether only processes of the same machine can reach a.
func (a Addr) IsLoopback() bool {
	if strings.EqualFold(a.Host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(a.Host)
	return err == nil && ip.IsLoopback()
}

// Compare orders addresses by host, then port.
func (a Addr) Compare(b Addr) int {
	return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
}

// Proto is a as the log holds it; nil for the zero Addr.
func (a Addr) Proto() *raftlogv1.Address {
	if a.IsZero() {
		return nil
	}
	return &raftlogv1.Address{Host: a.Host, Port: uint32(a.Port)}
}

// AddrOf is the inverse of [Addr.Proto]. It does not validate; a port that no Addr can have gives the zero Addr.
func AddrOf(p *raftlogv1.Address) Addr {
	if p.GetPort() > 65535 {
		return Addr{}
	}
	return Addr{Host: p.GetHost(), Port: uint16(p.GetPort())}
}
