package daemon

import (
	"fmt"
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/api/web"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// beatLimit is how long the fleet's beat, ten a second, may be missing in a process that does its work.
const beatLimit = 5 * time.Second

// webOptions are those of the HTTP port.
func (d *Daemon) webOptions(self member) web.Options {
	o := web.Options{
		Node: self, API: d.api.Direct(), Clients: d.sentinel.counts, Scripts: d.scriptCounts,
		Protected: d.config.ProtectedMode, Version: Version(), Log: d.log,
	}
	if d.config.NodeRole != conf.RoleObserver {
		o.Fleet, o.Outlook = d.fleet, d.outlook
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

// outlook is what a failover of a set would meet now, by what this node read last.
func (d *Daemon) outlook(st *raftfsm.State, m *raftfsm.Master) web.Outlook {
	x := orders{d.executor}.Glance(st, m)
	out := web.Outlook{LossBytes: -1}
	for _, b := range x.FailoverBlockers {
		if !slices.Contains(out.Blockers, b.Code) {
			out.Blockers = append(out.Blockers, b.Code)
		}
	}
	if x.PredictedLoss.Kind == raftfsm.LossLowerBound {
		out.LossBytes = x.PredictedLoss.Bytes
	}
	return out
}
