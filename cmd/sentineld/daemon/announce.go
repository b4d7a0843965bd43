package daemon

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// routePatience is how long a route to a peer, and a name server, may take to be there, and routeRetry how often it is
	// looked for. A start that fails takes so long, and a service manager which limits the rate of starts goes on for ever.
	routePatience = 3 * time.Second
	routeRetry    = 250 * time.Millisecond
)

// announcedHost is what nodes and clients are told: the configured one, else the local address from which the first peer
// beyond loopback is reached, else the first address that is listened on, else, where no other machine is named, own's. It
// is never a wildcard. That none is found is no fault of the configuration: at a boot, routes and name servers may come later.
func announcedHost(ctx context.Context, c *conf.Config, own func(context.Context) string) (string, error) {
	if c.AnnounceIP != "" {
		return c.AnnounceIP, nil
	}
	if !c.BindsBeyondLoopback() {
		return c.Bind[0].Host, nil
	}
	ctx, cancel := context.WithTimeout(ctx, routePatience)
	defer cancel()
	remote := slices.DeleteFunc(slices.Clone(c.Peers), func(peer string) bool {
		a, err := raftfsm.ParseAddr(peer)
		return err == nil && a.IsLoopback()
	})
	if ip := towards(ctx, remote); ip != "" {
		return ip, nil
	}
	for _, b := range c.Bind {
		if b.Host != "*" && !b.Loopback() && net.ParseIP(b.Host) != nil && !net.ParseIP(b.Host).IsUnspecified() {
			return b.Host, nil
		}
	}
	if len(remote) == 0 {
		if ip := own(ctx); ip != "" {
			return ip, nil
		}
	}
	for len(remote) > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(routeRetry):
		}
		if ip := towards(ctx, remote); ip != "" {
			return ip, nil
		}
	}
	return "", errors.New("cannot tell which address other machines reach this node at: no peer can be looked up, or there is no route; " +
		"say it with announce-ip")
}

// towards is the local address from which the first of the peers is reached; "" where none is.
func towards(ctx context.Context, peers []string) string {
	for _, peer := range peers {
		if ip := localIP(ctx, peer); ip != "" {
			return ip
		}
	}
	return ""
}

// localIP is the address from which another machine is reached; "" where it is not, or not from outside. Connecting a UDP
// socket sends nothing: it only asks the kernel for the route.
func localIP(ctx context.Context, to string) string {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", to)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	if local := conn.LocalAddr().(*net.UDPAddr); !local.IP.IsLoopback() {
		return local.IP.String()
	}
	return ""
}

// ownAddress is the machine's address on its default route, else the first of its addresses that others can reach; "" for
// none.
func ownAddress(ctx context.Context) string {
	for _, documentation := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} { // RFC 5737, RFC 3849
		if ip := localIP(ctx, documentation); ip != "" {
			return ip
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}
