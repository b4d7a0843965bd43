package daemon

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
)

// reloads carries out a reload at each SIGHUP.
func (d *Daemon) reloads(ctx context.Context, hup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			d.supervised.reload(func() bool { return d.reload(ctx) })
		}
	}
}

// reload opens the log file anew, for rotation, and brings the node to what its configuration says now, as far as that can
// be changed while it runs. A configuration with a fault, or one that cannot be carried out, changes nothing but that: then
// done is false.
func (d *Daemon) reload(ctx context.Context) (done bool) {
	d.rotate()
	if d.options.Reload == nil {
		return true
	}
	next, warnings, err := d.options.Reload()
	for _, w := range warnings {
		d.log.Warn("configuration", "warning", w.String())
	}
	if faults, ok := errors.AsType[conf.Faults](err); ok {
		for _, f := range faults {
			d.log.Error("configuration refused", "fault", f.Error())
		}
		return false
	}
	if err == nil {
		err = d.adopt(ctx, next)
	}
	if err != nil {
		d.log.Error("configuration not reloaded, nothing changed", "error", err)
	}
	return err == nil
}

// rotate opens the present log file anew.
func (d *Daemon) rotate() {
	path := d.live.Load().LogFile
	if path == "" {
		return
	}
	f, err := openLogFile(path)
	if err != nil {
		d.log.Error("log file not opened anew", "error", err)
		return
	}
	d.output.use(f)
}

// adopt carries out what differs between what holds now and the next configuration: first all that can fail, then the rest.
func (d *Daemon) adopt(ctx context.Context, next *conf.Config) (err error) {
	before := d.live.Load()
	after := reloadable(before, next)
	var opened []io.Closer
	defer func() {
		if err != nil {
			for _, c := range opened {
				_ = c.Close()
			}
		}
	}()
	host, err := d.hostOf(ctx, before, &after)
	if err != nil {
		return err
	}
	port, moves := front{}, after.Port != before.Port
	if moves && after.Port != 0 {
		if port, err = d.openPort(ctx, next, before.Bind); err != nil {
			return err
		}
		opened = append(opened, port.listener)
	}
	var file *os.File
	if after.LogFile != before.LogFile && after.LogFile != "" {
		if file, err = openLogFile(after.LogFile); err != nil {
			return err
		}
		opened = append(opened, file)
	}
	secret, err := readSecret(after.ClusterSecretFile)
	if err != nil {
		return placed(next, "cluster-secret-file", err)
	}
	if err = d.setWebhooks(next); err != nil {
		return err
	}

	if moves {
		if err = d.sentinel.move(ctx, port); err != nil {
			return err // the node stops
		}
	}
	if after.LogFile != before.LogFile {
		d.output.use(file)
	}
	d.changing.Lock()
	d.level.Set(levelOf(after.LogLevel))
	d.live.Store(&after)
	d.node.AnnounceRESP(sentinelAddr(&after, host))
	d.host = host
	d.changing.Unlock()
	if d.node.Rekey(secret) {
		d.log.Info("the cluster secret is another; connections between nodes are opened by it from now on, those that stand go on")
	}
	d.tellRest(before, next)
	return nil
}

// hostOf is what is announced under the next configuration. What was found at the start stays unless announce-ip changes.
func (d *Daemon) hostOf(ctx context.Context, before, after *conf.Config) (string, error) {
	if after.AnnounceIP != before.AnnounceIP {
		return announcedHost(ctx, after, ownAddress)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	return d.host, nil
}

// reloadable is what holds after a reload: the next configuration where it can be changed, what held before where not.
func reloadable(before, next *conf.Config) conf.Config {
	after := *before
	after.LogFile, after.LogLevel = next.LogFile, next.LogLevel
	after.Port, after.AnnounceIP, after.AnnouncePort = next.Port, next.AnnounceIP, next.AnnouncePort
	after.ClusterSecretFile = next.ClusterSecretFile
	after.ScriptsDir, after.Webhooks, after.WebhookSecretFile = next.ScriptsDir, next.Webhooks, next.WebhookSecretFile
	return after
}

// openPort begins to listen where the Sentinel protocol is to be served.
func (d *Daemon) openPort(ctx context.Context, c *conf.Config, bind []conf.Bind) (front, error) {
	here := *c
	here.Bind = bind
	l, err := listen(ctx, d.options.Listen, &here, "port", here.Port)
	if err != nil {
		return front{}, err
	}
	return d.front(l)
}

// tellRest tells what of a configuration does not hold by its being read again.
func (d *Daemon) tellRest(before, next *conf.Config) {
	if next.AnnounceIP != before.AnnounceIP {
		d.log.Warn("announce-ip is told of the sentinel protocol from now on, of raft and grpc after a restart")
	}
	if waits := needRestart(before, next); len(waits) > 0 {
		d.log.Warn("these directives hold after a restart only", "directives", strings.Join(waits, ", "))
	}
	same := slices.EqualFunc(before.Seeds, next.Seeds, func(a, b conf.Seed) bool {
		return a.Name == b.Name && a.Address == b.Address && a.Options.Equal(b.Options)
	})
	if !same || !maps.Equal(before.Settings, next.Settings) {
		d.log.Warn("what the file says of masters and of the cluster is proposed once, at a start; " +
			"to bring a running cluster to it use sentinelctl apply")
	}
	d.log.Info("configuration reloaded", "port", next.Port)
}

// directive is one and its values in two configurations.
type directive struct {
	name string
	a, b any
}

// needReload names the directives that differ and that a reload changes.
func needReload(a, b *conf.Config) []string {
	return differing([]directive{
		{"loglevel", a.LogLevel, b.LogLevel},
		{"logfile", a.LogFile, b.LogFile},
		{"port", a.Port, b.Port},
		{"announce-ip", a.AnnounceIP, b.AnnounceIP},
		{"announce-port", a.AnnouncePort, b.AnnouncePort},
		{"cluster-secret-file", a.ClusterSecretFile, b.ClusterSecretFile},
		{"scripts-dir", a.ScriptsDir, b.ScriptsDir},
		{"webhook", a.Webhooks, b.Webhooks},
		{"webhook-secret-file", a.WebhookSecretFile, b.WebhookSecretFile},
	})
}

// needRestart names the directives that differ and cannot be changed while the node runs.
func needRestart(a, b *conf.Config) []string {
	return differing([]directive{
		{"cluster-name", a.ClusterName, b.ClusterName},
		{"node-id", a.NodeID, b.NodeID},
		{"bind", a.Bind, b.Bind},
		{"grpc-port", a.GRPCPort, b.GRPCPort},
		{"raft-port", a.RaftPort, b.RaftPort},
		{"http-port", a.HTTPPort, b.HTTPPort},
		{"dir", a.Dir, b.Dir},
		{"cluster-peers", a.Peers, b.Peers},
		{"bootstrap-expect", a.BootstrapExpect, b.BootstrapExpect},
		{"node-role", a.NodeRole, b.NodeRole},
		{"log-format", a.LogFormat, b.LogFormat},
		{"protected-mode", a.ProtectedMode, b.ProtectedMode},
		{"raft-timing", a.RaftTiming, b.RaftTiming},
		{"deny-scripts-reconfig", a.ScriptsReconfig, b.ScriptsReconfig},
		{"dev", a.Dev, b.Dev},
	})
}

func differing(all []directive) []string {
	var out []string
	for _, d := range all {
		if !reflect.DeepEqual(d.a, d.b) {
			out = append(out, d.name)
		}
	}
	return out
}
