package node

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// resolveLimit bounds each look-up of a name.
const resolveLimit = time.Second

// resolver gives the addresses of a name, as they are at this moment: nothing of an earlier answer is kept.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

func systemResolver(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// addresses of a peer, each once. A name with several is as many peers.
func (r resolver) addresses(ctx context.Context, a raftfsm.Addr) ([]netip.AddrPort, error) {
	ips := []netip.Addr{}
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		ips = append(ips, ip)
	} else {
		ctx, cancel := context.WithTimeout(ctx, resolveLimit)
		defer cancel()
		if ips, err = r(ctx, a.Host); err != nil {
			return nil, err
		}
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		if ap := netip.AddrPortFrom(ip.Unmap(), a.Port); !slices.Contains(out, ap) {
			out = append(out, ap)
		}
	}
	return out, nil
}
