package daemon

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
)

// announcedHost is what nodes and clients are told: the configured one, else the local address from which the first peer
// beyond loopback is reached, else the first address that is listened on. It is never a wildcard.
func announcedHost(ctx context.Context, c *conf.Config) (string, error) {
	if c.AnnounceIP != "" {
		return c.AnnounceIP, nil
	}
	if !c.BindsBeyondLoopback() {
		return c.Bind[0].Host, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, peer := range c.Peers {
		// Connecting a UDP socket sends nothing: it only asks the kernel for the route.
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", peer)
		if err != nil {
			continue
		}
		local := conn.LocalAddr().(*net.UDPAddr)
		_ = conn.Close()
		if !local.IP.IsLoopback() {
			return local.IP.String(), nil
		}
	}
	for _, b := range c.Bind {
		if b.Host != "*" && !b.Loopback() && net.ParseIP(b.Host) != nil && !net.ParseIP(b.Host).IsUnspecified() {
			return b.Host, nil
		}
	}
	return "", fmt.Errorf("%w: cannot tell which address other machines reach this node at; say it with announce-ip", ErrConfig)
}
