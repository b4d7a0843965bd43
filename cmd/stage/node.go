package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// NodeOptions say how a node is started. The zero value is a cluster of one on free ports.
type NodeOptions struct {
	// Name is the node-id and unique on the stage; empty: node-PORT.
	Name string
	// Binary is the sentineld program; empty: as FindNode finds it.
	Binary string
	// Port of the Sentinel protocol on 127.0.0.1; 0: one that is free, as are those 100, 200 and 300 above it.
	Port int
	// GRPCPort, RaftPort and HTTPPort; 0: 100, 200 and 300 above Port.
	GRPCPort, RaftPort, HTTPPort int
	// Peers are HOST:GRPCPORT of the cluster's nodes, this one included; none: no cluster-peers line.
	Peers []string
	// BootstrapExpect goes with Peers; 0: all of Peers.
	BootstrapExpect int
	// Config are further lines of the configuration file, which win over the stage's own.
	Config []string
	// Env is added to the environment, as NAME=VALUE.
	Env []string
}

// Node is one real sentineld on 127.0.0.1.
type Node struct {
	*Process
	options NodeOptions
	dir     string
}

// Node makes a node that does not run yet.
func (s *Stage) Node(o NodeOptions) (*Node, error) {
	var err error
	if o.Binary == "" {
		if o.Binary, err = FindNode(); err != nil {
			return nil, err
		}
	}
	if o.Binary, err = filepath.Abs(o.Binary); err != nil {
		return nil, fmt.Errorf("find %s: %w", o.Binary, err)
	}
	if o.Port == 0 {
		if o.Port, err = s.block.node(); err != nil {
			return nil, err
		}
	}
	o.Name = cmp.Or(o.Name, fmt.Sprintf("node-%d", o.Port))
	o.GRPCPort = cmp.Or(o.GRPCPort, o.Port+100)
	o.RaftPort = cmp.Or(o.RaftPort, o.Port+200)
	o.HTTPPort = cmp.Or(o.HTTPPort, o.Port+300)
	dir, err := s.room(o.Name)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	conf := filepath.Join(dir, "sentineld.conf")
	if err := writeLines(conf, o.lines(data)); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	n := &Node{options: o, dir: dir}
	n.Process = &Process{
		name: o.Name, path: o.Binary, args: []string{conf}, env: o.Env, dir: dir,
		logPath: filepath.Join(dir, "log"), ready: []string{n.Addr()},
	}
	return n, s.add(n.Process)
}

func (o *NodeOptions) lines(data string) []string {
	lines := []string{
		fmt.Sprintf("node-id %s", o.Name),
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", o.Port),
		fmt.Sprintf("grpc-port %d", o.GRPCPort),
		fmt.Sprintf("raft-port %d", o.RaftPort),
		fmt.Sprintf("http-port %d", o.HTTPPort),
		fmt.Sprintf("dir %q", data),
	}
	if len(o.Peers) > 0 {
		lines = append(lines,
			"cluster-peers "+strings.Join(o.Peers, " "),
			fmt.Sprintf("bootstrap-expect %d", cmp.Or(o.BootstrapExpect, len(o.Peers))))
	}
	return append(lines, o.Config...)
}

// Addr is HOST:PORT of the Sentinel protocol.
func (n *Node) Addr() string { return local(n.options.Port) }

// GRPCAddr is HOST:PORT for sentinelctl and other nodes.
func (n *Node) GRPCAddr() string { return local(n.options.GRPCPort) }

// RaftAddr is HOST:PORT of Raft.
func (n *Node) RaftAddr() string { return local(n.options.RaftPort) }

// HTTPAddr is HOST:PORT of metrics and health.
func (n *Node) HTTPAddr() string { return local(n.options.HTTPPort) }

// Dir holds its configuration file sentineld.conf, its log, and its state in data.
func (n *Node) Dir() string { return n.dir }

// ConfigPath is its configuration file.
func (n *Node) ConfigPath() string { return filepath.Join(n.dir, "sentineld.conf") }

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// ClusterOptions are common to the nodes of a cluster.
type ClusterOptions struct {
	// Prefix begins the names of the nodes, which a number follows; empty: n.
	Prefix string
	// Binary, Config and Env: as in NodeOptions.
	Binary string
	Config []string
	Env    []string
}

// Cluster is nodes that know each other.
type Cluster struct {
	Nodes []*Node
}

// Cluster makes n nodes, with consistent ports and the same cluster-peers line, that do not run yet.
func (s *Stage) Cluster(n int, o ClusterOptions) (*Cluster, error) {
	ports := make([]int, n)
	peers := make([]string, n)
	for i := range ports {
		p, err := s.block.node()
		if err != nil {
			return nil, err
		}
		ports[i], peers[i] = p, local(p+100)
	}
	c := &Cluster{}
	for i, p := range ports {
		node, err := s.Node(NodeOptions{
			Name: fmt.Sprintf("%s%d", cmp.Or(o.Prefix, "n"), i+1), Binary: o.Binary, Port: p,
			Peers: peers, Config: o.Config, Env: o.Env,
		})
		if err != nil {
			return nil, err
		}
		c.Nodes = append(c.Nodes, node)
	}
	return c, nil
}

// Start starts all nodes side by side and waits until each answers. It says nothing about a leader.
func (c *Cluster) Start(ctx context.Context) error {
	return c.each(func(n *Node) error { return n.Start(ctx) })
}

// Stop stops all nodes in an orderly way, side by side.
func (c *Cluster) Stop() error {
	return c.each(func(n *Node) error { return n.Stop() })
}

func (c *Cluster) each(do func(*Node) error) error {
	errs := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Addrs are HOST:PORT of the Sentinel protocol, node by node.
func (c *Cluster) Addrs() []string { return c.list((*Node).Addr) }

// GRPCAddrs are HOST:PORT for sentinelctl, node by node.
func (c *Cluster) GRPCAddrs() []string { return c.list((*Node).GRPCAddr) }

func (c *Cluster) list(addr func(*Node) string) []string {
	out := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		out[i] = addr(n)
	}
	return out
}
