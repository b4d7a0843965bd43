package resp

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Periods are times of this node that SENTINEL DEBUG tells.
type Periods struct {
	// Info is how often INFO is read, Ping the longest time between two probes, Election Raft's election timeout.
	Info, Ping, Election time.Duration
}

// Scripts are this node's scripts, as SENTINEL PENDING-SCRIPTS, SENTINEL DEBUG and INFO need them.
type Scripts interface {
	Pending() []Script
	// Counts: queued ones include those that run.
	Counts() (running, queued int)
	ScriptMaxRuntime() time.Duration
	SetScriptMaxRuntime(d time.Duration)
	ScriptRetryDelay() time.Duration
	SetScriptRetryDelay(d time.Duration)
}

// Script is a script that runs or will.
type Script struct {
	Argv    []string
	Running bool
	// PID of a running one.
	PID int
	// RunTime is how long a running one has run, RunDelay after how long another will.
	RunTime, RunDelay time.Duration
	// Runs counts those that were begun.
	Runs int
}

func (s *Server) pendingScripts(context.Context, *conn, []string) reply {
	out := array{}
	for _, job := range s.o.Scripts.Pending() {
		argv := array{}
		for _, word := range job.Argv {
			argv = append(argv, bulk(word))
		}
		told := mapping{bulk("argv"), argv, bulk("flags"), bulk(choose(job.Running, "running", "scheduled")), bulk("pid"), decimal(int64(job.PID))}
		if job.Running {
			told = append(told, bulk("run-time"), decimal(job.RunTime.Milliseconds()))
		} else {
			told = append(told, bulk("run-delay"), decimal(job.RunDelay.Milliseconds()))
		}
		out = append(out, append(told, bulk("retry-num"), decimal(int64(job.Runs))))
	}
	return out
}

func decimal(n int64) bulk { return bulk(strconv.FormatInt(n, 10)) }

// setting is a time that SENTINEL DEBUG tells.
type setting struct {
	name string
	get  func(*Server) time.Duration
	// set changes it; nil where why tells that it cannot be.
	set func(Scripts, time.Duration)
	why string
}

func none(*Server) time.Duration { return 0 }

// settings are in Sentinel's order. What has no counterpart here is 0.
var settings = []setting{
	{name: "INFO-PERIOD", get: func(s *Server) time.Duration { return s.o.Periods.Info }, why: "it is fixed, and INFO is read at once where it matters"},
	{
		name: "PING-PERIOD", get: func(s *Server) time.Duration { return s.o.Periods.Ping },
		why: "every instance is probed ten times in its down-after-milliseconds, and at least this often",
	},
	{name: "ASK-PERIOD", get: none, why: "nodes do not ask each other; their verdicts are in the log"},
	{name: "PUBLISH-PERIOD", get: none, why: "nothing is published on instances; members find each other by Raft"},
	{
		name: "DEFAULT-DOWN-AFTER", get: func(*Server) time.Duration { return raftfsm.DefaultOptions().DownAfter },
		why: "give the master its own by SENTINEL SET down-after-milliseconds",
	},
	{
		name: "DEFAULT-FAILOVER-TIMEOUT", get: func(*Server) time.Duration { return raftfsm.DefaultOptions().FailoverTimeout },
		why: "give the master its own by SENTINEL SET failover-timeout",
	},
	{name: "TILT-TRIGGER", get: none, why: "there is no TILT; a node that was paused counts afresh"},
	{name: "TILT-PERIOD", get: none, why: "there is no TILT; a node that was paused counts afresh"},
	{name: "SLAVE-RECONF-TIMEOUT", get: none, why: "a replica that does not follow is told again, until the master's failover-timeout"},
	{name: "MIN-LINK-RECONNECT-PERIOD", get: none, why: "a broken link is made anew at once"},
	{name: "ELECTION-TIMEOUT", get: func(s *Server) time.Duration { return s.o.Periods.Election }, why: "it is Raft's, and equal on all nodes: see raft-timing"},
	{
		name: "SCRIPT-MAX-RUNTIME", set: Scripts.SetScriptMaxRuntime,
		get: func(s *Server) time.Duration { return s.o.Scripts.ScriptMaxRuntime() },
	},
	{
		name: "SCRIPT-RETRY-DELAY", set: Scripts.SetScriptRetryDelay,
		get: func(s *Server) time.Duration { return s.o.Scripts.ScriptRetryDelay() },
	},
}

// debug tells times, or changes those that can be, all or none, until the node restarts.
func (s *Server) debug(_ context.Context, _ *conn, args []string) reply {
	if len(args) == 0 {
		var out fields
		for _, v := range settings {
			out.num(v.name, v.get(s).Milliseconds())
		}
		return out
	}
	type change struct {
		setting
		to time.Duration
	}
	var changes []change
	for ; len(args) > 0; args = args[2:] {
		v, known := findSetting(args[0])
		if !known || len(args) == 1 {
			return failure(fmt.Sprintf("ERR Unknown option or number of arguments for SENTINEL DEBUG '%s'", shorten(args[0], 128)))
		}
		n, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil || n < 1 || n > math.MaxInt64/int64(time.Millisecond) {
			return failure(fmt.Sprintf("ERR Invalid argument '%s' for SENTINEL DEBUG '%s'", shorten(args[1], 128), args[0]))
		}
		changes = append(changes, change{v, time.Duration(n) * time.Millisecond})
	}
	for _, c := range changes {
		if c.set == nil {
			return failure(fmt.Sprintf("ERR %s cannot be set here: %s", c.name, c.why))
		}
	}
	for _, c := range changes {
		c.set(s.o.Scripts, c.to)
	}
	return simple("OK")
}

func findSetting(name string) (setting, bool) {
	for _, v := range settings {
		if strings.EqualFold(v.name, name) {
			return v, true
		}
	}
	return setting{}, false
}

// The flags of SENTINEL SIMULATE-FAILURE, as INFO tells them.
const (
	crashAfterElection  = 1
	crashAfterPromotion = 2
)

// simulateFailure makes this node crash in the next failover that it carries out. HELP disarms it, as in a Sentinel.
func (s *Server) simulateFailure(_ context.Context, _ *conn, args []string) reply {
	flags := 0
	for _, a := range args {
		switch strings.ToLower(a) {
		case "crash-after-election":
			flags |= crashAfterElection
		case "crash-after-promotion":
			flags |= crashAfterPromotion
		case "help":
			if s.o.Simulate != nil {
				s.simulate(0)
			}
			return array{bulk("crash-after-election"), bulk("crash-after-promotion")}
		default:
			return failure("ERR Unknown failure simulation specified")
		}
	}
	if s.o.Simulate == nil {
		return failure("ERR failures cannot be simulated on this node")
	}
	s.simulate(flags)
	return simple("OK")
}

func (s *Server) simulate(flags int) {
	s.simulated.Store(int64(flags))
	s.o.Simulate(flags&crashAfterElection != 0, flags&crashAfterPromotion != 0)
}

// flushConfig has nothing to do: the state is on disk with each change.
func (s *Server) flushConfig(context.Context, *conn, []string) reply { return simple("OK") }
