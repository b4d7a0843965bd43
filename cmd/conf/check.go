package conf

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// refusedDirs are emptied at a reboot, or are no place for anybody's state.
var refusedDirs = []string{"/", "/tmp", "/var/tmp", "/run", "/dev/shm"}

// check compares settings with each other. It runs on what could be read, so that one start shows all faults; a setting
// that was refused is compared with nothing.
func (p *parser) check(in Input) {
	for _, c := range []struct {
		check func()
		of    []string
	}{
		{p.checkName, nil},
		{p.checkPorts, []string{"port", "grpc-port", "raft-port", "http-port"}},
		{p.checkDir, []string{"dir"}},
		{p.checkCluster, []string{"cluster-peers", "bootstrap-expect", "node-role"}},
		{p.checkReach, []string{"cluster-peers", "bind", "announce-ip"}},
		{p.checkWebhooks, []string{"webhook", "webhook-secret-file"}},
		{func() { p.checkScripts(in) }, []string{"scripts-dir"}},
	} {
		if !slices.ContainsFunc(c.of, func(name string) bool { return p.bad[name] }) {
			c.check()
		}
	}
}

func (p *parser) at(name string) Place { return p.set[name].place }

func (p *parser) checkName() {
	if _, given := p.set["node-id"]; given {
		return
	}
	if err := setName(&p.config.NodeID, p.config.NodeID); err != nil {
		p.fault(Place{}, "the host name %q cannot be the node's name; add a line: node-id NAME, with %s", p.config.NodeID, wantName)
	}
}

func (p *parser) checkPorts() {
	c := &p.config
	taken := map[int]string{}
	for _, port := range []struct {
		name string
		n    int
	}{{"port", c.Port}, {"grpc-port", c.GRPCPort}, {"raft-port", c.RaftPort}, {"http-port", c.HTTPPort}} {
		if port.n == 0 {
			continue
		}
		if other, ok := taken[port.n]; ok {
			place := p.at(port.name)
			if place.File == "" {
				place = p.at(other)
			}
			p.fault(place, "%s %d is %s too; each needs a port of its own", port.name, port.n, other)
		}
		taken[port.n] = port.name
	}
}

func (p *parser) checkDir() {
	if slices.Contains(refusedDirs, p.config.Dir) {
		p.fault(p.at("dir"), "dir %s is not a place where the state is safe or alone; write for example: dir /var/lib/sentineld",
			p.config.Dir)
	}
}

func (p *parser) checkCluster() {
	c := &p.config
	expect, given := p.set["bootstrap-expect"]
	switch {
	case c.NodeRole == RoleObserver && len(c.Peers) == 0:
		p.fault(p.at("node-role"), "an observer needs nodes to follow; add the line: cluster-peers HOST HOST HOST")
	case c.Dev && len(c.Peers) > 0:
		p.fault(p.at("cluster-peers"), "cluster-peers with --dev: that is one node alone; remove one of the two")
	case len(c.Peers) > 0 && !given:
		p.fault(p.at("cluster-peers"), "cluster-peers needs bootstrap-expect; add the line: bootstrap-expect %d", len(c.Peers))
	case len(c.Peers) > 0 && c.BootstrapExpect != 0 && 2*c.BootstrapExpect <= len(c.Peers):
		p.fault(expect.place, "bootstrap-expect %d is not more than half of the %d cluster-peers: two clusters could form; want %d to %d, or 0 to join only",
			c.BootstrapExpect, len(c.Peers), len(c.Peers)/2+1, len(c.Peers))
	case len(c.Peers) == 0 && given && c.BootstrapExpect != 1:
		p.fault(expect.place, "bootstrap-expect %d without cluster-peers: nobody could be found; add the line: cluster-peers HOST HOST HOST",
			c.BootstrapExpect)
	}
	if p.clustered != nil && len(c.Peers) == 0 {
		p.fault(p.clustered.place, "this line means to be one of several nodes, and there is no cluster-peers; "+
			"add the lines: cluster-peers HOST HOST HOST and bootstrap-expect 3, or give a quorum of 1")
	}
	if len(c.Peers) == 0 {
		return
	}
	if c.BootstrapExpect > len(c.Peers) && !slices.ContainsFunc(c.Peers, hasName) {
		p.warn(expect.place, "bootstrap-expect %d is more than the %d cluster-peers, which are the same line on every node: no cluster can form",
			c.BootstrapExpect, len(c.Peers))
	}
	for _, s := range c.Seeds {
		if s.Options.Quorum > len(c.Peers) {
			p.warn(s.Place, "sentinel monitor %s: quorum %d is more than the %d cluster-peers; no failover can happen",
				s.Name, s.Options.Quorum, len(c.Peers))
		}
	}
}

// hasName tells of a peer whose host is a name, which may stand for several addresses.
func hasName(peer string) bool {
	_, err := netip.ParseAddrPort(peer)
	return err != nil
}

// checkReach finds settings that other machines could not use.
func (p *parser) checkReach() {
	c := &p.config
	remote := p.remotePeer()
	if remote != "" && !c.BindsBeyondLoopback() {
		p.fault(p.at("cluster-peers"), "cluster-peers names %s on another machine, and only loopback is bound; add the line: bind * -::*", remote)
	}
	if len(c.Peers) > 0 && (remote != "" || c.BindsBeyondLoopback()) && c.ClusterSecretFile == "" {
		p.fault(p.at("cluster-peers"), "nodes that talk beyond loopback need a common secret; "+
			"add the line: cluster-secret-file PATH, with the same file on every node")
	}
	if remote == "" {
		return
	}
	if c.AnnounceIP != "" && (raftfsm.Addr{Host: c.AnnounceIP, Port: 1}).IsLoopback() {
		p.fault(p.at("announce-ip"), "announce-ip %s cannot be reached by %s; give an address that it can reach", c.AnnounceIP, remote)
	}
	for _, s := range c.Seeds {
		if s.Address.IsLoopback() {
			p.fault(s.Place, "sentinel monitor %s: %s is another instance on each node; give an address that every node can reach",
				s.Name, s.Address)
		}
	}
}

func (p *parser) checkWebhooks() {
	if c := &p.config; len(c.Webhooks) > 0 && c.WebhookSecretFile == "" {
		p.fault(p.at("webhook"), "webhook needs a secret that its messages are signed with; add the line: webhook-secret-file PATH")
	}
}

// checkScripts tries the scripts of the seeds, as Sentinel does before it starts.
func (p *parser) checkScripts(in Input) {
	for _, s := range p.config.Seeds {
		for _, named := range s.Named {
			script := map[string]string{
				"notification-script": s.Options.NotificationScript, "client-reconfig-script": s.Options.ClientReconfigScript,
			}[named.Name]
			if script == "" {
				continue
			}
			err := InDir(p.config.ScriptsDir, absolute(in, script))
			if err == nil && in.Script != nil {
				err = in.Script(script)
			}
			if err != nil {
				p.fault(named.Place, "sentinel %s %s: %v", named.Name, s.Name, err)
			}
		}
	}
}

// InDir refuses a script that does not lie in the directory of scripts-dir, both being absolute paths; "" allows every one.
func InDir(dir, script string) error {
	if dir == "" || strings.HasPrefix(path.Clean(script), strings.TrimSuffix(dir, "/")+"/") {
		return nil
	}
	return fmt.Errorf("%s does not lie in %s, the directory of scripts-dir", script, dir)
}

// remotePeer is the first peer on another machine, "" for none.
func (p *parser) remotePeer() string {
	for _, peer := range p.config.Peers {
		if addr, err := raftfsm.ParseAddr(peer); err == nil && !addr.IsLoopback() {
			return peer
		}
	}
	return ""
}
