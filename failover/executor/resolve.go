package executor

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// resolveEvery is how often every host name is looked up. The names of a set that changes are looked up then, too.
	resolveEvery = 10 * time.Second
	// resolveFresh is how long an answer, or that there was none, serves again.
	resolveFresh = time.Second
	// resolveLimit bounds one look-up, resolveParallel how many are under way.
	resolveLimit    = 2 * time.Second
	resolveParallel = 16
)

// resolver keeps the committed IP addresses of host names true, in one leadership. Clients are told those; the instances
// themselves are dialled by name. A name that cannot be resolved keeps the address that it has.
type resolver struct {
	d    *duties
	seen uint64 // index of the state last looked at

	mu      sync.Mutex
	answers map[string]answer
}

// answer is what looking a host name up gave: no IP where it failed.
type answer struct {
	at  time.Time
	ips []string
}

// resolve runs until ctx ends.
func (d *duties) resolve(ctx context.Context) {
	r := &resolver{d: d, answers: map[string]answer{}}
	tick := time.NewTicker(resolveEvery)
	defer tick.Stop()
	for all := true; ctx.Err() == nil; {
		changed := d.e.o.Cluster.Changed()
		r.round(ctx, all)
		select {
		case <-ctx.Done():
		case <-changed:
			all = false
		case <-tick.C:
			all = true
		}
	}
}

// round looks up the host names of the sets that changed, or of all, and commits what differs.
func (r *resolver) round(ctx context.Context, all bool) {
	st := r.d.e.o.Cluster.State()
	if st.CheckLevel(resolveCommand("", 0, nil)) != nil {
		return
	}
	hosts := map[string][]string{}
	note := func(m *raftfsm.Master) {
		for _, in := range m.Instances {
			if sets := hosts[in.Addr.Host]; in.Addr.IsName() && (len(sets) == 0 || sets[len(sets)-1] != m.Name) {
				hosts[in.Addr.Host] = append(sets, m.Name)
			}
		}
	}
	if all || st.Index() < r.seen {
		for m := range st.Masters() {
			note(m)
		}
		r.forget(hosts)
	} else {
		for name := range st.ChangedSince(r.seen) {
			if m, ok := st.Master(name); ok {
				note(m)
			}
		}
	}
	r.seen = st.Index()
	var each errgroup.Group
	each.SetLimit(resolveParallel)
	for host, sets := range hosts {
		each.Go(func() error {
			if ips := r.lookUp(ctx, host); len(ips) > 0 {
				for _, name := range sets {
					r.commit(ctx, name, host, ips)
				}
			}
			return nil
		})
	}
	_ = each.Wait() // each says for itself what failed
}

// forget drops the answers of hosts that no set has any more.
func (r *resolver) forget(hosts map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for host := range r.answers {
		if _, ok := hosts[host]; !ok {
			delete(r.answers, host)
		}
	}
}

// lookUp gives the IP addresses of a host, the preferred first; none where there is no answer.
func (r *resolver) lookUp(ctx context.Context, host string) []string {
	r.mu.Lock()
	last, asked := r.answers[host]
	r.mu.Unlock()
	if asked && time.Since(last.at) < resolveFresh {
		return last.ips
	}
	limit, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	found, err := r.d.e.o.LookupHost(limit, host)
	if ctx.Err() != nil {
		return nil
	}
	ips := usable(found, foreign(host, r.d.e.o.Cluster.State()))
	switch failed := asked && len(last.ips) == 0; {
	case len(ips) == 0 && !failed:
		r.d.e.o.Log.Warn("host name has no address that clients could be told; what was committed for it stays", "host", host, "answers", found, "error", err)
	case len(ips) > 0 && failed:
		r.d.e.o.Log.Info("host name resolved again", "host", host)
	}
	r.mu.Lock()
	r.answers[host] = answer{at: time.Now(), ips: ips}
	r.mu.Unlock()
	return ips
}

// usable are the addresses of an answer that a client can be told, in the resolver's order. A foreign name has no loopback
// address.
func usable(found []string, foreign bool) []string {
	var out []string
	for _, text := range found {
		a, err := netip.ParseAddr(text)
		if ip := a.Unmap(); err == nil && raftfsm.IsIP(ip.String()) && !(foreign && ip.IsLoopback()) {
			out = append(out, ip.String())
		}
	}
	return out
}

// foreign tells whether a loopback address is no answer for a name: on the machine that bears it, hosts files often give
// one (127.0.1.1), which means nothing to the other machines of the cluster.
func foreign(host string, st *raftfsm.State) bool {
	return !raftfsm.Addr{Host: host}.IsLoopback() && slices.ContainsFunc(st.Servers(), func(s raftfsm.Server) bool {
		at, err := raftfsm.ParseAddr(s.Address)
		return err != nil || !at.IsLoopback()
	})
}

// pick is the address to commit in the place of one; "" for none. One that all machines can reach gives way to no loopback.
func pick(committed string, ips []string) string {
	if slices.Contains(ips, committed) {
		return ""
	}
	if committed == "" || (raftfsm.Addr{Host: committed}).IsLoopback() {
		return ips[0]
	}
	i := slices.IndexFunc(ips, func(ip string) bool { return !raftfsm.Addr{Host: ip}.IsLoopback() })
	if i < 0 {
		return ""
	}
	return ips[i]
}

// commit makes the set know what a host of it has as its address. One that it has already stays while the host still has it.
func (r *resolver) commit(ctx context.Context, name, host string, ips []string) {
	m, ok := r.d.e.o.Cluster.State().Master(name)
	if !ok {
		return
	}
	var hosts []*raftlogv1.ResolvedHost
	for _, in := range m.Instances {
		if in.Addr.Host != host {
			continue
		}
		if ip := pick(in.IP, ips); ip != "" {
			hosts = append(hosts, &raftlogv1.ResolvedHost{Address: in.Addr.Proto(), Ip: ip})
		}
	}
	if len(hosts) == 0 {
		return
	}
	if _, err := r.d.propose(ctx, resolveCommand(name, m.Generation, hosts)); err != nil {
		// The set has changed, or leadership has: either is looked at again.
		r.d.e.o.Log.Info("address of a host name not committed", "master", name, "host", host, "ip", hosts[0].GetIp(), "error", err)
		return
	}
	r.d.e.o.Log.Info("address of a host name committed", "master", name, "host", host, "ip", hosts[0].GetIp())
}

func resolveCommand(master string, generation uint64, hosts []*raftlogv1.ResolvedHost) *raftlogv1.Command {
	return &raftlogv1.Command{Op: &raftlogv1.Command_ResolveHosts{ResolveHosts: &raftlogv1.ResolveHosts{
		Master: master, Generation: generation, Hosts: hosts,
	}}}
}
