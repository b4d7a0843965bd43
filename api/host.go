package api

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// resolveWithin bounds the look-up of a host's name.
const resolveWithin = time.Second

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

// UndrainHost ends the maintenance of every instance on a host, or of those that are there for one reason.
func (s *Server) UndrainHost(ctx context.Context, req *sentinelv1.UndrainHostRequest) (*sentinelv1.UndrainHostResponse, error) {
	st, on, err := s.hostIn(ctx, req.GetHost())
	if err != nil {
		return nil, err
	}
	resp := &sentinelv1.UndrainHostResponse{ClusterId: st.Cluster().Era, Revision: st.Index()}
	known := false
	for m := range st.Masters() {
		for _, in := range m.Instances {
			if !on.has(in) {
				continue
			}
			known = true
			if in.Maintenance == nil || req.Reason != nil && in.Maintenance.Reason != req.GetReason() {
				continue
			}
			out, err := s.endMaintenance(ctx, st, m, in.Addr, req.GetValidateOnly())
			if err != nil {
				return nil, err
			}
			resp.Changed, resp.Revision = resp.GetChanged() || out.changed, max(resp.GetRevision(), out.index)
			resp.Instances = append(resp.Instances, address(in.Addr))
		}
	}
	if !known {
		return nil, emptyHost(req.GetHost())
	}
	return resp, nil
}

func emptyHost(name string) *Error {
	return fail(codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_INSTANCE_NOT_FOUND,
		"no watched set has an instance on %s; nothing was changed", echo(name))
}

// host is a machine, by every name and address that it was found to have.
type host map[string]bool

// hostIn reads a fresh state and finds out what a host is called there: as it was named, and by what that resolves to.
func (s *Server) hostIn(ctx context.Context, name string) (*raftfsm.State, host, error) {
	if _, err := raftfsm.NewAddr(name, 1); err != nil {
		return nil, nil, invalid("host: %s: want an IP address or a host name, without a port", echo(name))
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	st, err := s.fresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	on := host{plainHost(name): true}
	if a := (raftfsm.Addr{Host: name, Port: 1}); a.IsName() {
		ctx, cancel := context.WithTimeout(ctx, resolveWithin)
		defer cancel()
		found, err := s.lookupHost(ctx, name)
		if err != nil {
			s.log.Debug("host not resolved", "host", name, "error", err)
		}
		for _, ip := range found {
			on[plainHost(ip)] = true
		}
	}
	return st, on, nil
}

// has tells whether an instance is on the host.
func (h host) has(in raftfsm.Instance) bool {
	return h[plainHost(in.Addr.Host)] || in.IP != "" && h[plainHost(in.IP)]
}

// plainHost is one spelling of an address.
func plainHost(name string) string {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Unmap().String()
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
