package resp

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Local is what SENTINEL CONFIG SET changes on this node alone, until it restarts.
type Local interface {
	// Announce is what is configured or was set: "" and 0 for what the node found out by itself.
	Announce() (ip string, port int)
	// SetAnnounce changes where clients and nodes are told to find this node's Sentinel protocol.
	SetAnnounce(ctx context.Context, ip string, port int) error
	// LogLevel is one of Redis's words.
	LogLevel() string
	SetLogLevel(level string) error
}

// The parameters of SENTINEL CONFIG.
const (
	paramResolve       = "resolve-hostnames"
	paramAnnounceNames = "announce-hostnames"
	paramAnnounceIP    = "announce-ip"
	paramAnnouncePort  = "announce-port"
	paramUser          = "sentinel-user"
	paramPass          = "sentinel-pass"
	paramLogLevel      = "loglevel"
	// These are ours: a Sentinel has no such thing.
	paramBrake      = "failover-brake"
	paramRemoveDead = "remove-dead-nodes-after"
)

// parameters are in the order in which Sentinel tells them. Ours are told to who asks for them by name.
var parameters = []string{
	paramResolve, paramAnnounceNames, paramAnnounceIP, paramAnnouncePort, paramUser, paramPass, paramLogLevel, paramBrake, paramRemoveDead,
}

// ofCluster are the parameters of the whole cluster.
var ofCluster = []string{paramResolve, paramAnnounceNames, paramBrake, paramRemoveDead}

func (s *Server) config(ctx context.Context, _ *conn, args []string) reply {
	switch verb := strings.ToLower(args[0]); {
	case verb == "get":
		return s.configGet(ctx, args[1:])
	case verb == "set" && len(args) > 2:
		return s.configSet(ctx, args[1:])
	}
	return failure("ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...] / SET <param> <value> [<param> <value> ...] are supported.")
}

// configGet tells the parameters that match any of the patterns: each once, pattern by pattern.
func (s *Server) configGet(ctx context.Context, patterns []string) reply {
	var names []string
	for _, pattern := range patterns {
		for _, name := range parameters {
			pattern := strings.ToLower(pattern)
			told := raftfsm.Glob(pattern, name) && (name != paramBrake && name != paramRemoveDead || pattern == name)
			if told && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	var settings *sentinelv1.Settings
	if slices.ContainsFunc(names, func(name string) bool { return slices.Contains(ofCluster, name) }) {
		ctx, cancel := context.WithTimeout(ctx, changeLimit)
		defer cancel()
		resp, err := s.admin.GetSettings(ctx, &sentinelv1.GetSettingsRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
		if err != nil {
			return refusal(err)
		}
		settings = resp.GetSettings()
	}
	ip, announced := s.o.Local.Announce()
	var out fields
	for _, name := range names {
		switch name {
		case paramResolve:
			out.add(name, yesNo(settings.GetResolveHostnames()))
		case paramAnnounceNames:
			out.add(name, yesNo(settings.GetAnnounceHostnames()))
		case paramBrake:
			out.num(name, int64(settings.GetFailoverBrakePercent()))
		case paramRemoveDead:
			out.num(name, settings.GetRemoveDeadNodesAfterMs()/1000)
		case paramAnnounceIP:
			out.add(name, ip)
		case paramAnnouncePort:
			out.num(name, int64(announced))
		case paramLogLevel:
			out.add(name, s.o.Local.LogLevel())
		default: // nodes need no user and password among themselves
			out.add(name, "")
		}
	}
	return out
}

func yesNo(on bool) string { return choose(on, "yes", "no") }

// configSet checks everything before it changes anything. What concerns the cluster, and can fail for want of a majority, is
// changed first.
func (s *Server) configSet(ctx context.Context, args []string) reply {
	if bad := controls("CONFIG SET", 3, args); bad != nil {
		return bad
	}
	values, bad := readParameters(args)
	if bad != nil {
		return bad
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	var done []string
	for _, step := range []struct {
		names []string
		do    func(context.Context, map[string]string) error
	}{
		{slices.Clone(ofCluster), s.setSettings},
		{[]string{paramAnnounceIP, paramAnnouncePort}, s.setAnnounce},
		{[]string{paramLogLevel}, func(_ context.Context, v map[string]string) error { return s.o.Local.SetLogLevel(v[paramLogLevel]) }},
	} {
		due := slices.DeleteFunc(step.names, func(name string) bool { _, set := values[name]; return !set })
		if len(due) == 0 {
			continue
		}
		if err := step.do(ctx, values); err != nil {
			return partly(refusal(err), done)
		}
		done = append(done, due...)
	}
	return simple("OK")
}

// partly adds to a failure what had been changed before it.
func partly(r reply, done []string) reply {
	if f, failed := r.(failure); failed && len(done) > 0 {
		return f + failure("; "+strings.Join(done, " and ")+" had been set before")
	}
	return r
}

func (s *Server) setSettings(ctx context.Context, values map[string]string) error {
	req := &sentinelv1.UpdateSettingsRequest{Settings: &sentinelv1.Settings{}}
	if v, set := values[paramResolve]; set {
		req.Settings.ResolveHostnames = new(v == "yes")
	}
	if v, set := values[paramAnnounceNames]; set {
		req.Settings.AnnounceHostnames = new(v == "yes")
	}
	if v, set := values[paramBrake]; set {
		percent, _ := strconv.ParseInt(v, 10, 32) // it was checked
		req.Settings.FailoverBrakePercent = new(int32(percent))
	}
	if v, set := values[paramRemoveDead]; set {
		seconds, _ := strconv.ParseInt(v, 10, 64) // it was checked
		req.Settings.RemoveDeadNodesAfterMs = new(seconds * 1000)
	}
	_, err := s.admin.UpdateSettings(ctx, req)
	return err
}

func (s *Server) setAnnounce(ctx context.Context, values map[string]string) error {
	ip, announced := s.o.Local.Announce()
	if v, set := values[paramAnnounceIP]; set {
		ip = v
	}
	if v, set := values[paramAnnouncePort]; set {
		announced, _ = strconv.Atoi(v) // it was checked
	}
	return s.o.Local.SetAnnounce(ctx, ip, announced)
}

// readParameters reads pairs in Redis's order of checks: known, not twice, with a value, and a good one.
func readParameters(args []string) (map[string]string, reply) {
	values := map[string]string{}
	for ; len(args) > 0; args = args[2:] {
		name := strings.ToLower(args[0])
		_, twice := values[name]
		switch {
		case !slices.Contains(parameters, name):
			return nil, failure(fmt.Sprintf("ERR Invalid argument '%s' to SENTINEL CONFIG SET", shorten(args[0], 128)))
		case twice:
			return nil, failure(fmt.Sprintf("ERR Duplicate argument '%s' to SENTINEL CONFIG SET", args[0]))
		case len(args) == 1:
			return nil, failure(fmt.Sprintf("ERR Missing argument '%s' value", args[0]))
		}
		value, bad := readParameter(name, args[0], args[1])
		if bad != nil {
			return nil, bad
		}
		values[name] = value
	}
	return values, nil
}

// levels are the words of loglevel.
var levels = []string{"debug", "verbose", "notice", "warning", "nothing"}

// readParameter gives a value in its normal form; asked is how the client spelt the name.
func readParameter(name, asked, value string) (string, reply) {
	good := false
	switch name {
	case paramResolve, paramAnnounceNames:
		value = strings.ToLower(value)
		good = value == "yes" || value == "no"
	case paramBrake:
		n, err := strconv.Atoi(value)
		good = err == nil && n >= 0 && n <= 100
	case paramRemoveDead:
		n, err := strconv.Atoi(value)
		good = err == nil && raftfsm.RemoveDeadAfterAllowed(n)
	case paramAnnouncePort:
		n, err := strconv.ParseInt(value, 10, 64)
		good = err == nil && n >= 0 && n <= 65535
	case paramAnnounceIP: // empty: what the node finds out by itself
		_, err := raftfsm.NewAddr(value, 1)
		good = value == "" || err == nil && api.CheckHost(value) == nil
	case paramLogLevel:
		value = strings.ToLower(value)
		good = slices.Contains(levels, value)
	case paramUser, paramPass:
		if value != "" {
			return "", failure("ERR " + name + " has no meaning here: nodes know each other by cluster-secret-file")
		}
		good = true
	}
	if !good {
		return "", failure(fmt.Sprintf("ERR Invalid value '%s' to SENTINEL CONFIG SET '%s'", shorten(value, 128), asked))
	}
	return value, nil
}
