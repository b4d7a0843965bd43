package api

import (
	"fmt"
	"net/netip"
	"strings"
)

// CheckHost refuses hosts that name no machine to watch: the unspecified address, which every node reads as itself, and
// numbers that are no IP address, which some resolvers complete to one (127.1) and others look up as a name.
func CheckHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Unmap().IsUnspecified() {
			return fmt.Errorf("host %s: is the unspecified address, every node's own machine; give the address at which the nodes reach it", host)
		}
		return nil
	}
	last := strings.TrimSuffix(host, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("host %s: is a number and no IP address; want four numbers from 0 to 255, an IPv6 address or a name", echo(host))
	}
	return nil
}
