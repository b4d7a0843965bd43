package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/api/notify"
	"github.com/raftsentinel/raftsentinel/api/resp"
	"github.com/raftsentinel/raftsentinel/api/web"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/cmd/version"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/detector/probe"
	"github.com/raftsentinel/raftsentinel/failover/executor"
	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/raftfsm/node"
)

// ErrConfig: the configuration reads well and cannot be carried out; the exit code is 2.
var ErrConfig = errors.New("configuration")

// grpcGrace is how long calls under way may take once the node stops.
const grpcGrace = 500 * time.Millisecond

// Options of a daemon.
type Options struct {
	Config *conf.Config
	// Reload reads the configuration anew, at a SIGHUP.
	Reload func() (*conf.Config, []conf.Warning, error)
	// Stderr takes the log unless the configuration names a file.
	Stderr io.Writer
	// Dialer reaches Redis; the zero value dials TCP.
	Dialer instance.Dialer
	// Listen opens the ports, and DialContext reaches other nodes; nil is the system's TCP.
	Listen      func(ctx context.Context, network, address string) (net.Listener, error)
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// LookupHost resolves host names of Redis instances; nil is the system's resolver.
	LookupHost func(ctx context.Context, host string) ([]string, error)
	// Exit ends the process at once, for SENTINEL SIMULATE-FAILURE; nil cannot.
	Exit func(code int)
	// Lost is called when many masters do not answer at once, and Surge when they are held down, before they are failed over; nil for nobody.
	Lost, Surge func()
	// ConfigFile is where Config was read from; "" for none.
	ConfigFile string
	// Supervisor is the service manager; the zero value is none.
	Supervisor Supervisor
}

// Daemon is one node with everything around it.
type Daemon struct {
	// config is what the node was started with; live is what holds now, after reloads.
	config     *conf.Config
	live       atomic.Pointer[conf.Config]
	options    Options
	changing   sync.Mutex // guards host, and is held where live is changed
	host       string     // what is announced
	output     *logSink
	began      time.Time
	level      slog.LevelVar
	log        *slog.Logger
	node       *node.Node
	fleet      *probe.Fleet
	executor   *executor.Executor
	api        *api.Server
	sentinel   sentinelPort
	seeds      seeder
	scripts    *notify.Scripts
	webhooks   *notify.Webhooks
	web        *web.Server
	crashes    crashes
	supervised supervised
	halt       chan struct{} // closed when a client asked for the node's end
	haltOnce   sync.Once

	grpcListener net.Listener
	httpListener net.Listener // nil where http-port is 0
}

// New validates, binds every port and starts nothing. What it opened is closed again where it fails.
func New(o Options) (_ *Daemon, err error) {
	if o.Listen == nil {
		o.Listen = new(net.ListenConfig).Listen
	}
	if o.LookupHost == nil {
		o.LookupHost = net.DefaultResolver.LookupHost
	}
	d := &Daemon{config: o.Config, options: o, began: time.Now(), halt: make(chan struct{})}
	d.live.Store(o.Config)
	var opened []io.Closer
	defer func() {
		if err != nil {
			for _, c := range opened {
				_ = c.Close()
			}
		}
	}()
	if d.output, err = openLog(o.Stderr, o.Config.LogFile); err != nil {
		return nil, err
	}
	opened = append(opened, d.output)
	d.level.Set(levelOf(o.Config.LogLevel))
	d.log = newLogger(d.output, o.Config, &d.level)
	d.crashes.exit, d.crashes.log = o.Exit, d.log
	d.supervised.Supervisor, d.supervised.log = o.Supervisor, d.log

	ctx := context.Background() // New has no caller to wait for: binding is immediate, finding a route bounded
	secret, err := readSecret(o.Config.ClusterSecretFile)
	if err != nil {
		return nil, fault(o.Config, "cluster-secret-file", err)
	}
	host, err := announcedHost(ctx, o.Config, ownAddress)
	if err != nil {
		return nil, err
	}
	d.host = host
	bind := func(directive string, port int) net.Listener {
		if err != nil {
			return nil
		}
		var l net.Listener
		if l, err = listen(ctx, o.Listen, o.Config, directive, port); err == nil {
			opened = append(opened, l)
		}
		return l
	}
	var sentinelListener net.Listener
	if o.Config.Port != 0 {
		sentinelListener = bind("port", o.Config.Port)
	}
	d.grpcListener = bind("grpc-port", o.Config.GRPCPort)
	raftListener := bind("raft-port", o.Config.RaftPort)
	if o.Config.HTTPPort != 0 {
		d.httpListener = bind("http-port", o.Config.HTTPPort)
	}
	if err != nil {
		return nil, err
	}
	if err := makeDir(o.Config.Dir); err != nil {
		return nil, fault(o.Config, "dir", err)
	}
	options := nodeOptions(o.Config, d.log, host, secret, raftListener)
	options.DialContext = o.DialContext
	options.StandsBy = func(v raftfsm.Vote) bool { return d.fleet.StandsBy(v) }
	d.node, err = node.New(options)
	if err != nil {
		return nil, err
	}
	opened = append(opened, d.node)
	if err := d.wire(o); err != nil {
		return nil, err
	}
	d.sentinel.moves = make(chan move)
	if sentinelListener != nil {
		d.sentinel.now, err = d.front(sentinelListener)
	}
	return d, err
}

// fault is an error of the configuration that shows only when it is carried out, with the line of the directive.
func fault(c *conf.Config, directive string, err error) error {
	return fmt.Errorf("%w: %w", ErrConfig, placed(c, directive, err))
}

// placed is an error with the line of the directive that it comes from.
func placed(c *conf.Config, directive string, err error) error {
	if p := c.Place(directive); p.File != "" {
		return fmt.Errorf("%s: %s: %w", p, directive, err)
	}
	return fmt.Errorf("%s: %w", directive, err)
}

// makeDir makes the data directory, and no parent of it: a misspelt path is not to grow a tree.
func makeDir(path string) error {
	if path == "" {
		return nil
	}
	err := os.Mkdir(path, 0o700)
	switch {
	case err == nil, errors.Is(err, os.ErrExist):
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w; make the directories above it first", err)
	}
	return err
}

func timing(c *conf.Config) node.Timing {
	switch {
	case c.Dev:
		return node.TimingDev
	case c.RaftTiming == conf.TimingLAN:
		return node.TimingLAN
	case c.RaftTiming == conf.TimingWAN:
		return node.TimingWAN
	}
	return node.TimingDefault
}

func nodeOptions(c *conf.Config, log *slog.Logger, host string, secret raftfsm.Secret, raft net.Listener) node.Options {
	at := func(port int) raftfsm.Addr { return raftfsm.Addr{Host: host, Port: uint16(port)} }
	o := node.Options{
		NodeID: c.NodeID, ClusterName: c.ClusterName, Dir: c.Dir, Peers: c.Peers, BootstrapExpect: c.BootstrapExpect,
		Observer: c.NodeRole == conf.RoleObserver,
		Secret:   secret, Timing: timing(c), RaftListener: raft, Raft: at(c.RaftPort), GRPC: at(c.GRPCPort), RESP: sentinelAddr(c, host),
		Version: version.String(), Log: log,
	}
	if c.HTTPPort != 0 {
		o.HTTP = at(c.HTTPPort)
	}
	return o
}

// sentinelAddr is where a node says that it serves the Sentinel protocol; zero for nowhere.
func sentinelAddr(c *conf.Config, host string) raftfsm.Addr {
	if c.Port == 0 {
		return raftfsm.Addr{}
	}
	return raftfsm.Addr{Host: host, Port: uint16(cmp.Or(c.AnnouncePort, c.Port))}
}

// wire makes the rooms and joins them by the interfaces that each declares.
func (d *Daemon) wire(o Options) error {
	self := member{d.node}
	var err error
	d.fleet, err = probe.New(probe.Options{
		Cluster: self, Dialer: o.Dialer, Observer: d.config.NodeRole == conf.RoleObserver, Lost: o.Lost, Surge: o.Surge, Log: d.log,
	})
	if err != nil {
		return err
	}
	d.executor, err = executor.New(executor.Options{
		Cluster: self, Fleet: d.fleet, Dial: control{&o.Dialer}.dial, LookupHost: o.LookupHost, OnPoint: d.crashes.passed, Log: d.log,
	})
	if err != nil {
		return err
	}
	visits := inspector{&o.Dialer}
	d.api, err = api.New(api.Options{
		Node: self, Failovers: orders{d.executor}, Fleet: d.fleet, Inspector: visits, House: house{d}, Classify: classify,
		Protected: d.config.ProtectedMode, ScriptsReconfig: d.config.ScriptsReconfig, CheckScript: d.checkScript,
		FromNode: node.FromNode, Version: version.String(), Log: d.log,
	})
	if err != nil {
		return err
	}
	d.seeds = seeder{node: self, inspector: visits, log: d.log}
	d.scripts, err = notify.NewScripts(notify.ScriptOptions{
		Node: self, Dir: d.config.Dir, Permit: d.permitScript, Publish: d.sentinel.publish, Log: d.log,
	})
	if err != nil {
		return err
	}
	d.webhooks, err = notify.NewWebhooks(notify.WebhookOptions{Node: self, Deliver: delivery{self}.deliver, Log: d.log})
	if err != nil {
		return err
	}
	if err := d.setWebhooks(d.config); err != nil {
		return err
	}
	d.web, err = web.New(d.webOptions(self))
	return err
}

// serveOn makes a server of the Sentinel protocol.
func (d *Daemon) serveOn(l net.Listener) (*resp.Server, error) {
	o := resp.Options{
		Listener: l, Node: member{d.node}, API: d.api.Direct(), Switchover: d.api.Switchover, Fleet: d.fleet, Classify: classify,
		LookupHost: d.options.LookupHost, Local: local{d}, Scripts: jobs{d.scripts},
		Protected: d.config.ProtectedMode, Shutdown: d.shutdown, ConfigFile: d.options.ConfigFile,
		HeardWithin: timing(d.config).HeardWithin(),
		Periods:     resp.Periods{Info: probe.InfoEvery, Ping: probe.LongestPeriod, Election: timing(d.config).Election},
		Version:     version.String(), Log: d.log,
	}
	if d.crashes.exit != nil {
		o.Simulate = d.crashes.arm
	}
	return resp.New(o)
}

// shutdown does what SIGTERM does; once is enough.
func (d *Daemon) shutdown() { d.haltOnce.Do(func() { close(d.halt) }) }

// Addr tells where the node listens for clients of either protocol; nil for what is off.
func (d *Daemon) Addr() (resp, grpc net.Addr) {
	return d.sentinel.addr(), d.grpcListener.Addr()
}

// HTTPAddr tells where the node serves HTTP; nil for nowhere.
func (d *Daemon) HTTPAddr() net.Addr {
	if d.httpListener == nil {
		return nil
	}
	return d.httpListener.Addr()
}

// State is this node's latest applied state.
func (d *Daemon) State() *raftfsm.State { return d.node.State() }

// Status is this node's part in the cluster at one moment.
func (d *Daemon) Status() api.NodeStatus { return member{d.node}.Status() }

// Run serves until ctx ends or a part fails, and returns after the last goroutine has ended. Calls are served until the
// node has handed leadership over, so that a client hears an answer and not a broken connection.
func (d *Daemon) Run(ctx context.Context) error {
	d.log.Info("starting", "version", version.String(), "node", d.config.NodeID, "raft_id", d.node.RaftID(), "grpc", d.grpcListener.Addr())
	d.seeds.fresh = d.node.Status().ClusterID == ""

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before anybody hears that this node is up: unheeded, it would end the process
	defer signal.Stop(hup)
	duties, stopDuties := context.WithCancelCause(ctx)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	var (
		errs  []error
		mu    sync.Mutex
		inner sync.WaitGroup // what needs the log
		outer sync.WaitGroup // what serves callers
	)
	start := func(group *sync.WaitGroup, ctx context.Context, name string, run func(context.Context) error) {
		group.Go(func() {
			err := run(ctx)
			if err != nil && !errors.Is(err, context.Canceled) {
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				mu.Unlock()
				stopDuties(err)
			}
		})
	}
	start(&outer, serving, "api", d.api.Run)
	start(&outer, serving, "grpc", d.serveGRPC)
	start(&outer, serving, "resp", d.sentinel.run)
	if d.httpListener != nil {
		start(&outer, serving, "http", func(ctx context.Context) error { return d.web.Run(ctx, d.httpListener) })
	}
	start(&outer, serving, "watchdog", d.lives)
	start(&inner, duties, "node", d.node.Run)
	start(&inner, duties, "fleet", d.fleet.Run)
	start(&inner, duties, "executor", func(ctx context.Context) error { return d.node.Lead(ctx, d.executor.Duties) })
	start(&inner, duties, "seeds", func(ctx context.Context) error {
		d.seeds.run(ctx, d.config.Seeds, d.config.Settings)
		return nil
	})
	start(&inner, duties, "reload", func(ctx context.Context) error { return d.reloads(ctx, hup) })
	start(&inner, duties, "status", d.describes)
	start(&inner, duties, "scripts", d.scripts.Run)
	start(&inner, duties, "webhooks", func(ctx context.Context) error { return d.node.Lead(ctx, d.webhooks.Duties) })
	select {
	case <-duties.Done():
	case <-d.halt:
		stopDuties(nil)
	}
	d.log.Info("stopping")
	d.supervised.stop()
	inner.Wait()
	stopServing()
	outer.Wait()
	stopDuties(nil)
	d.log.Info("stopped")
	return errors.Join(append(errs, d.output.Close())...)
}

func (d *Daemon) serveGRPC(ctx context.Context) error {
	// Not made before: it starts the goroutines that its calls run in.
	server := grpc.NewServer(append(d.api.GRPCOptions(), grpc.Creds(d.node.Credentials()))...)
	d.api.Register(server)
	peerv1.RegisterPeerServiceServer(server, d.node.PeerServer())
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		force := time.AfterFunc(grpcGrace, server.Stop)
		server.GracefulStop()
		force.Stop()
	})
	err := server.Serve(d.grpcListener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// readSecret reads the cluster secret. A file that others may read is refused: whoever knows the secret is a node.
func readSecret(path string) (raftfsm.Secret, error) {
	if path == "" {
		return raftfsm.Secret{}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return raftfsm.Secret{}, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return raftfsm.Secret{}, fmt.Errorf("%s: everybody may read it (mode %04o); chmod 600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return raftfsm.Secret{}, err
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < 16 {
		return raftfsm.Secret{}, fmt.Errorf("%s: the secret must have at least 16 characters", path)
	}
	return raftfsm.NewSecret(secret), nil
}
