package daemon

import (
	"fmt"
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/api/web"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/cmd/version"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// stuckLimit is how long a loop of a process that does its work may take for one piece of it, all of which are short.
const stuckLimit = 5 * time.Second

// webOptions are those of the HTTP port.
func (d *Daemon) webOptions(self member) web.Options {
	o := web.Options{
		Node: self, API: d.api.Direct(), Clients: d.sentinel.counts, Scripts: d.scriptCounts,
		Protected: d.config.ProtectedMode, Version: version.String(), Log: d.log,
		Live: []web.Check{
			goesOn("apply", "log entries are not applied", d.node.ApplyStuck),
			goesOn("raft", "raft's main loop does not turn", d.node.RaftStuck),
			goesOn("failover", "the leader does not look after its masters", d.executor.Stuck),
		},
	}
	if d.config.NodeRole != conf.RoleObserver {
		o.Fleet, o.Outlook = d.fleet, outlook(orders{d.executor})
		o.Live = append(o.Live, goesOn("probes", "instances are not probed, or not reported", d.fleet.Stuck))
	}
	return o
}

// goesOn is a check that a loop goes on. One that has nothing to do is not stuck, nor is one that is not yet begun.
func goesOn(name, what string, stuck func() time.Duration) web.Check {
	return web.Check{Name: name, Ask: func() error {
		if since := stuck(); since > stuckLimit {
			return fmt.Errorf("%s: no progress for %v", what, since.Round(time.Second))
		}
		return nil
	}}
}

func (d *Daemon) scriptCounts() web.Scripts {
	running, queued := d.scripts.Counts()
	runs, failures := d.scripts.Totals()
	return web.Scripts{Running: running, Waiting: queued - running, Runs: runs, Failures: failures}
}

// outlook is what the policy tells of a failover and a switchover of a set by what this node read last. A loss that is foretold is a bound
// from below, or not known.
func outlook(policy orders) func(*raftfsm.State, *raftfsm.Master) web.Outlook {
	return func(st *raftfsm.State, m *raftfsm.Master) web.Outlook {
		e := policy.Glance(st, m)
		out := web.Outlook{LossBytes: -1, FailoverBlockers: codes(e.FailoverBlockers), SwitchoverBlockers: codes(e.SwitchoverBlockers)}
		if e.PredictedLoss.Kind == raftfsm.LossLowerBound {
			out.LossBytes = e.PredictedLoss.Bytes
		}
		return out
	}
}

// codes are those of the blockers, each once.
func codes(blockers []api.Blocker) []string {
	var out []string
	for _, b := range blockers {
		if !slices.Contains(out, b.Code) {
			out = append(out, b.Code)
		}
	}
	return out
}
