package raftfsm

import (
	"strings"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Told is what clients are told of an address. It is the address itself, unless that is a host name, names are not announced,
// and the IP address of the instance's host was committed.
func (s *State) Told(a Addr) Addr {
	t := s.Settings()
	if t.AnnounceHostnames || !a.IsName() {
		return a
	}
	m, ok := s.Owner(a)
	if !ok {
		return a
	}
	in, _ := m.Instance(a)
	return t.told(in)
}

// told is what clients are told of an instance.
func (t Settings) told(in Instance) Addr {
	if t.AnnounceHostnames || in.IP == "" {
		return in.Addr
	}
	return Addr{Host: in.IP, Port: in.Addr.Port}
}

// Told is an event with the addresses that clients were told when it happened. In the state an event has those by which
// instances are known.
func (e Event) Told() Event {
	for _, t := range []struct {
		a  *Addr
		ip string
	}{{&e.Instance, e.InstanceIP}, {&e.MasterAddr, e.MasterIP}, {&e.From, e.FromIP}, {&e.To, e.ToIP}} {
		if t.ip != "" {
			t.a.Host = t.ip
		}
	}
	return e
}

// tellOf notes on an event about m what clients are told of its addresses. There is nothing to note below level 2, which
// knows no addresses of host names.
func (d *draft) tellOf(m *Master, e *Event) {
	t := d.s.Settings()
	ip := func(a Addr) string {
		if in, _ := m.Instance(a); !t.AnnounceHostnames {
			return in.IP
		}
		return ""
	}
	e.InstanceIP, e.MasterIP = ip(e.Instance), ip(e.MasterAddr)
	if e.Kind != EventSwitch || e.To == e.Instance { // else From and To are what clients are told already
		e.FromIP, e.ToIP = ip(e.From), ip(e.To)
	}
}

// retell has clients hear what they are told of a set that was told otherwise before, under the settings of then: a switch
// where that is so of the master, and each replica anew after a switch.
func (d *draft) retell(before, m *Master, was Settings) {
	now := d.s.Settings()
	old, _ := before.Instance(m.Address)
	master, _ := m.Instance(m.Address)
	from, to := was.told(old), now.told(master)
	moved := from != to
	if moved {
		d.emitOn(m, EventSwitch, m.Address, Event{Epoch: m.Epoch, From: from, To: to})
	}
	heard := moved
	for _, in := range m.Replicas() {
		if old, _ := before.Instance(in.Addr); moved || was.told(old) != now.told(in) {
			d.emitOn(m, EventSlave, in.Addr, Event{})
			heard = true
		}
	}
	if heard {
		d.edit(m.Name)
		d.retold[m.Name] = true
	}
}

// resolveHosts commits what host names have as their IP addresses. An instance that has left the set is passed over.
func (d *draft) resolveHosts(c *raftlogv1.ResolveHosts) verdict {
	m, ok := d.s.Master(c.GetMaster())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetMaster())
	}
	if m.Generation != c.GetGeneration() {
		return refuse(StaleGeneration, "master %s is at generation %d", m.Name, m.Generation)
	}
	for _, h := range c.GetHosts() {
		if a := AddrOf(h.GetAddress()); !a.IsName() {
			return refuse(InvalidArgument, "master %s: %q is no host name", m.Name, a.Host)
		}
		if !IsIP(h.GetIp()) {
			return refuse(InvalidArgument, "master %s: host %q: %q is no IP address", m.Name, h.GetAddress().GetHost(), h.GetIp())
		}
	}
	e := d.edit(m.Name)
	for _, h := range c.GetHosts() {
		if in, member := e.Instance(AddrOf(h.GetAddress())); member {
			in.IP = h.GetIp()
			d.put(e, in)
		}
	}
	d.retell(m, e, d.s.Settings())
	return done()
}

// IsName tells whether the host is a name that has to be resolved, and no IP address.
func (a Addr) IsName() bool { return a.Host != "" && !strings.Contains(a.Host, ":") && !isIPv4(a.Host) }

// IsIP tells whether a text is an IPv4 or IPv6 address, without a zone. The rule is spelled out here, and not left to a
// package that may learn new forms in a later Go release: it is law.
func IsIP(s string) bool { return isIPv4(s) || isIPv6(s) }

func isIPv4(s string) bool {
	parts, digits, value := 1, 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && digits > 0 && parts < 4:
			parts, digits, value = parts+1, 0, 0
		case c >= '0' && c <= '9' && (digits == 0 || value > 0): // no leading zero
			digits, value = digits+1, value*10+int(c-'0')
			if value > 255 {
				return false
			}
		default:
			return false
		}
	}
	return parts == 4 && digits > 0
}

func isIPv6(s string) bool {
	head, tail, gap := strings.Cut(s, "::")
	if !gap {
		n, ok := groups(s, true)
		return ok && n == 8
	}
	n, ok := groups(head, false)
	more, right := groups(tail, true)
	return ok && right && n+more < 8
}

// groups counts groups of 16 bits between colons; an IPv4 address at the end of the whole stands for two.
func groups(s string, last bool) (n int, ok bool) {
	for s != "" {
		part, rest, more := strings.Cut(s, ":")
		switch {
		case more && rest == "":
			return 0, false
		case last && !more && isIPv4(part):
			return n + 2, true
		case part == "" || len(part) > 4 || strings.Trim(part, "0123456789abcdefABCDEF") != "":
			return 0, false
		}
		n, s = n+1, rest
	}
	return n, true
}
