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

// beatLimit is how long the fleet's beat, ten a second, may be missing in a process that does its work.
const beatLimit = 5 * time.Second

// webOptions are those of the HTTP port.
func (d *Daemon) webOptions(self member) web.Options {
	o := web.Options{
		Node: self, API: d.api.Direct(), Clients: d.sentinel.counts, Scripts: d.scriptCounts,
		Protected: d.config.ProtectedMode, Version: version.String(), Log: d.log,
	}
	if d.config.NodeRole != conf.RoleObserver {
		o.Fleet, o.Outlook = d.fleet, outlook(orders{d.executor})
		o.Live = []web.Check{{Name: "probes", Ask: d.fleetBeats}}
	}
	return o
}

// fleetBeats tells whether the fleet goes on. Before Run, and while the process stops, nothing is missing.
func (d *Daemon) fleetBeats() error {
	if missing := d.fleet.Overdue(time.Now()); missing > beatLimit {
		return fmt.Errorf("instances are not probed: the beat is missing for %v", missing.Round(time.Second))
	}
	return nil
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
