// Command sentineld is one node of a sentineld cluster.
//
//	sentineld [CONFIG-FILE] [--directive value ...]
//	sentineld --check-config FILE
//	sentineld --version
//	sentineld recover --force-new-cluster [CONFIG-FILE] [--directive value ...] [--yes]
//
// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 4 refused and nothing changed, 130 interrupted before it ran.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/cmd/sentineld/daemon"
	"github.com/raftsentinel/raftsentinel/cmd/version"
)

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	// exitRefused: nothing changed, because the present state forbids it.
	exitRefused = 4
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	recovers := len(args) > 0 && args[0] == "recover"
	switch {
	case slices.Contains(args, "--version") || slices.Contains(args, "-v"):
		fmt.Fprintln(stdout, "sentineld", version.String())
		return exitDone
	case slices.Contains(args, "--help") || slices.Contains(args, "-h"):
		if recovers {
			fmt.Fprintln(stdout, recoverUsage)
			return exitDone
		}
		fmt.Fprint(stdout, usage)
		return exitDone
	case recovers:
		return recoverCluster(ctx, args[1:], stdin, stdout, stderr)
	}
	check := len(args) > 0 && args[0] == "--check-config"
	if check {
		args = args[1:]
		if len(args) == 0 {
			fmt.Fprintln(stderr, "sentineld: --check-config wants a file")
			return exitUsage
		}
	}
	config, ok := configure(args, stderr)
	if !ok {
		return exitUsage
	}
	if check {
		fmt.Fprintln(stdout, "configuration is good")
		return exitDone
	}
	return serve(ctx, daemon.Options{
		Config: config, Stderr: stderr, Exit: os.Exit, ConfigFile: configFile(args),
		Reload: func() (*conf.Config, []conf.Warning, error) { return parse(args) },
	})
}

// configure reads the configuration, and prints every warning and fault.
func configure(args []string, stderr io.Writer) (*conf.Config, bool) {
	config, warnings, err := parse(args)
	for _, w := range warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if _, faults := errors.AsType[conf.Faults](err); err != nil && !faults {
		err = fmt.Errorf("sentineld: %w", err)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return nil, false
	}
	return config, true
}

// parse reads the configuration as it is at this moment.
func parse(args []string) (*conf.Config, []conf.Warning, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, nil, err
	}
	return conf.Parse(conf.Input{
		Args: args, Env: os.Environ(), HostName: host, WorkDir: dir, Open: open, Script: daemon.Runnable,
	})
}

// open reads a configuration file, or the files of a pattern.
func open(name string) ([]conf.File, error) {
	names := []string{name}
	if matches, err := filepath.Glob(name); err == nil && len(matches) > 0 {
		names = matches
	}
	var files []conf.File
	for _, n := range names {
		text, err := os.ReadFile(n)
		if err != nil {
			return nil, err
		}
		files = append(files, conf.File{Path: n, Text: string(text)})
	}
	return files, nil
}

// configFile is the file among the arguments; "" for none.
func configFile(args []string) string {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return ""
	}
	path, err := filepath.Abs(args[0])
	if err != nil {
		return args[0]
	}
	return path
}

func serve(ctx context.Context, o daemon.Options) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)

	// A crash must not look like exit code 2, with which Go ends: no service manager starts a wrong configuration again.
	debug.SetTraceback("crash")
	if os.Getenv("GOGC") == "" {
		o.Lost, o.Surge = collectGarbage()
	}
	var err error
	if o.Supervisor, err = supervisor(); err != nil {
		fmt.Fprintln(o.Stderr, "sentineld: the service manager's watchdog:", err)
		return exitFailed
	}
	d, err := daemon.New(o)
	if err != nil {
		fmt.Fprintln(o.Stderr, "sentineld:", err)
		if errors.Is(err, daemon.ErrConfig) {
			return exitUsage
		}
		return exitFailed
	}
	if err := d.Run(ctx); err != nil {
		fmt.Fprintln(o.Stderr, "sentineld:", err)
		return exitFailed
	}
	return exitDone
}

const usage = `usage: sentineld [CONFIG-FILE] [--directive value ...]
       sentineld --check-config FILE [--directive value ...]
       sentineld --dev
       sentineld --version
       sentineld recover --force-new-cluster [CONFIG-FILE] [--directive value ...] [--yes]

One node of a sentineld cluster. Every directive of the configuration file is also a flag (--grpc-port 26479) and an
environment variable (SENTINELD_CONF_GRPC_PORT); flag beats environment beats file.

At a SIGHUP it opens its log file anew and reads the configuration again: the Sentinel port, announce-ip and announce-port,
loglevel and logfile, cluster-secret-file, scripts-dir and webhooks change at once; of the rest it tells that a restart is needed.

  --dev                 one node, nothing on disk, ready in under a second
  --check-config FILE   print every fault by file and line; open no port
  recover               for a cluster that has lost the majority of its nodes for good; tells more by --help

A cluster on one machine:
  sentineld --port 26379 --dir n1 --node-id n1 --cluster-peers 127.0.0.1:26479 127.0.0.1:26489 127.0.0.1:26499 --bootstrap-expect 3
  sentineld --port 26389 --dir n2 --node-id n2 --cluster-peers 127.0.0.1:26479 127.0.0.1:26489 127.0.0.1:26499 --bootstrap-expect 3
  sentineld --port 26399 --dir n3 --node-id n3 --cluster-peers 127.0.0.1:26479 127.0.0.1:26489 127.0.0.1:26499 --bootstrap-expect 3
  sentinelctl monitor mymaster 127.0.0.1 6379 2
`
