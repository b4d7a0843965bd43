package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/cmd/version"
	"github.com/raftsentinel/raftsentinel/doctor"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// house is the process with its files and its machine, as the doctor and bug reports ask for it.
type house struct{ d *Daemon }

// Config implements [api.House].
func (h house) Config() doctor.Config {
	live := h.d.live.Load()
	out := doctor.Config{
		File: h.d.options.ConfigFile, ClusterName: live.ClusterName, RaftTiming: live.RaftTiming,
		BootstrapExpect: live.BootstrapExpect, Peers: live.Peers,
	}
	if h.d.options.Reload == nil {
		return out
	}
	next, warnings, err := h.d.options.Reload()
	for _, w := range warnings {
		out.Warnings = append(out.Warnings, w.String())
	}
	faults, many := errors.AsType[conf.Faults](err)
	for _, f := range faults {
		out.Faults = append(out.Faults, f.Error())
	}
	if err != nil && !many {
		out.Faults = append(out.Faults, err.Error())
	}
	if err == nil {
		out.ReloadPending, out.RestartPending = needReload(live, next), needRestart(live, next)
	}
	return out
}

// Disk implements [api.House].
func (h house) Disk() doctor.Disk {
	if h.d.config.Dir == "" {
		return doctor.Disk{}
	}
	return diskOf(h.d.config.Dir)
}

// Reach implements [api.House].
func (h house) Reach(ctx context.Context, a raftfsm.Addr) error {
	dial := h.d.options.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", a.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// Papers implements [api.House].
func (h house) Papers() []api.Paper {
	return []api.Paper{
		{Name: "version.json", Write: h.writeVersion},
		{Name: "config.conf", Write: h.writeConfig},
		{Name: "raft.json", Write: h.writeRaft},
		{Name: "metrics.txt", Write: h.d.web.WriteMetrics},
		{Name: "log.txt", Write: h.d.output.writeTail},
		// 2: each goroutine by itself, with how long it has been waiting. Arguments are numbers there, no texts.
		{Name: "goroutines.txt", Write: func(w io.Writer) error { return pprof.Lookup("goroutine").WriteTo(w, 2) }},
		{Name: "heap.pprof", Write: pprof.WriteHeapProfile},
	}
}

func (h house) writeVersion(w io.Writer) error {
	host, err := os.Hostname()
	if err != nil {
		host = err.Error()
	}
	about := map[string]any{
		"version": version.String(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": runtime.NumCPU(),
		"pid": os.Getpid(), "host": host, "feature_level": raftfsm.Level, "started_at": h.d.began.UTC().Format(time.RFC3339Nano),
		"now": time.Now().UTC().Format(time.RFC3339Nano),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		modules := map[string]string{}
		for _, m := range info.Deps {
			modules[m.Path] = m.Version
		}
		settings := map[string]string{}
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		about["modules"], about["build"] = modules, settings
	}
	return writeIndented(w, about)
}

// writeConfig tells what holds, and where it was read.
func (h house) writeConfig(w io.Writer) error {
	from := "# no file"
	if h.d.options.ConfigFile != "" {
		from = "# " + h.d.options.ConfigFile
	}
	_, err := fmt.Fprintf(w, "%s; what holds, flags, environment and defaults included\n%s\n", from,
		strings.Join(h.d.live.Load().Show(), "\n"))
	return err
}

func (h house) writeRaft(w io.Writer) error { return writeIndented(w, h.d.node.RaftStats()) }

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
