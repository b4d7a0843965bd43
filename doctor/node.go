package doctor

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func judgeNode(r *report, f Facts, n Node) {
	of := Subject{Node: n.ID}
	r.check(of, "answers", "answers the asked node", func(say *sayer) {
		switch {
		case n.Unregistered:
			say.that("node_unregistered", "is a member and has not introduced itself")
		case n.Silent != "" && f.dead(n):
			say.that("node_silent", "does not answer the asked node: %s; no node reaches any of its ports", n.Silent)
		case n.Silent != "":
			say.that("node_silent", "does not answer the asked node: %s", n.Silent)
		case n.Unable != "":
			say.that("node_not_examined", "could not look at itself: %s", n.Unable)
		}
	})
	if n.Unregistered || n.Silent != "" || n.Unable != "" {
		return
	}
	r.check(of, "membership", "takes part in the cluster as "+n.Role, func(say *sayer) { judgeMembership(say, f, n) })
	r.check(of, "config", configPassed(n.Config), func(say *sayer) { judgeConfig(say, n.Config) })
	r.check(of, "clock", "its clock agrees with the asked node's", func(say *sayer) {
		say.unmade = n.ID == f.Asked
		judgeClock(say, n.Clock)
	})
	r.check(of, "disk", diskPassed(n.Disk), func(say *sayer) { judgeDisk(say, n.Disk) })
	r.check(of, "ports", "reaches every port of the other nodes", func(say *sayer) {
		say.unmade = true
		for _, p := range n.Ports {
			switch {
			case f.dead(f.node(p.Of)): // which is said of that node
			case p.Closed == "":
				say.unmade = false
			default:
				say.that("port_unreachable", "does not reach the %s port of node %s at %s: %s", p.Kind, p.Of, p.Addr, p.Closed)
			}
		}
	})
	r.check(of, "names", "all host names that it must know resolve", func(say *sayer) {
		for _, u := range n.Unresolved {
			whose := "of cluster-peers"
			if u.Master != "" {
				whose = "of master " + u.Master
			}
			say.that("name_unresolved", "cannot resolve the host name %s %s: %s", u.Host, whose, u.Error)
		}
	})
	if !n.Probes {
		return
	}
	r.check(of, "instances", "reaches every instance that any node reaches", func(say *sayer) { judgeView(say, f, n) })
}

// fewMissed are told one by one.
const fewMissed = 5

// judgeView tells of instances that a node does not reach and another does.
func judgeView(say *sayer, f Facts, n Node) {
	var missed []Unreached
	for _, u := range n.Unreached {
		if !u.Rejected && len(f.reachedBy(u.Addr)) > 0 {
			missed = append(missed, u)
		}
	}
	if len(missed) > fewMissed {
		u := missed[0]
		say.of(u.Addr, "misses_instance", "of master %s and %d others are not reached from here and are from other nodes: %s", u.Master,
			len(missed)-1, u.Reason)
		return
	}
	for _, u := range missed {
		say.of(u.Addr, "misses_instance", "of master %s is not reached from here and is from %s: %s", u.Master,
			strings.Join(f.reachedBy(u.Addr), ", "), u.Reason)
	}
}

func judgeMembership(say *sayer, f Facts, n Node) {
	switch {
	case n.Role == "removed":
		say.that("node_removed", "was removed from the cluster and runs on")
	case n.Waiting != "":
		say.that("node_no_cluster", "has no cluster yet: %s", n.Waiting)
	case n.Leader == "" && f.Leader != "":
		say.that("node_no_leader", "hears no leader; the asked node hears %s", f.Leader)
	case n.Leader != f.Leader && n.Leader != "" && f.Leader != "":
		say.that("node_other_leader", "hears the leader %s; the asked node hears %s", n.Leader, f.Leader)
	case n.Loading:
		say.that("node_loading", "has not caught up since it started")
	}
	if n.Drain != nil {
		say.that("node_drained", "is drained by %s: %s", cmp.Or(n.Drain.Actor, "the cluster"), cmp.Or(n.Drain.Reason, noReason))
	}
	if n.MaxLevel < f.Level {
		say.that("level_too_low", "knows feature level %d, and the cluster is at %d", n.MaxLevel, f.Level)
	}
	if n.Braked != "" {
		say.that("verdicts_withheld", "withholds its verdicts: %s", n.Braked)
	}
}

func configPassed(c Config) string {
	if c.File == "" {
		return "its configuration is good; it has no file"
	}
	return "its configuration is good and holds: " + c.File
}

func judgeConfig(say *sayer, c Config) {
	say.unmade = c.ClusterName == ""
	for _, f := range c.Faults {
		say.that("config_fault", "%s", f)
	}
	for _, w := range c.Warnings {
		say.that("config_warning", "%s", w)
	}
	if len(c.ReloadPending) > 0 {
		say.that("reload_pending", "what its file says now does not hold yet: %s", strings.Join(c.ReloadPending, ", "))
	}
	if len(c.RestartPending) > 0 {
		say.that("restart_pending", "what its file says now holds after a restart only: %s", strings.Join(c.RestartPending, ", "))
	}
}

// judgeClock believes the difference as far as the way of the question allows.
func judgeClock(say *sayer, c Clock) {
	apart := max(c.Ahead, -c.Ahead) - c.Within
	code := ""
	switch {
	case apart >= clockBad:
		code = "clock_wrong"
	case apart >= clockWarn:
		code = "clock_differs"
	default:
		return
	}
	side := "ahead of"
	if c.Ahead < 0 {
		side = "behind"
	}
	say.that(code, "its clock is %v %s the asked node's, give or take %v", max(c.Ahead, -c.Ahead).Round(time.Millisecond), side,
		c.Within.Round(time.Millisecond))
}

func diskPassed(d Disk) string {
	text := fmt.Sprintf("%s has %s free of %s", d.Dir, size(d.Free), size(d.Size))
	if d.FsyncP50 == 0 {
		return text + "; nothing was written yet by which fsync could be judged"
	}
	return fmt.Sprintf("%s, fsync takes %v", text, d.FsyncP50.Round(10*time.Microsecond))
}

func judgeDisk(say *sayer, d Disk) {
	if d.Dir == "" {
		say.that("dir_none", "has no dir")
		return
	}
	if d.Unknown != "" {
		say.that("dir_unknown", "the file system of %s could not be looked at: %s", d.Dir, d.Unknown)
	} else {
		judgeRoom(say, d)
	}
	switch {
	case d.FsyncP50 >= fsyncBad:
		say.that("fsync_too_slow", "fsync in %s takes %v (median)", d.Dir, d.FsyncP50.Round(time.Millisecond))
	case d.FsyncP50 >= fsyncWarn:
		say.that("fsync_slow", "fsync in %s takes %v (median)", d.Dir, d.FsyncP50.Round(time.Millisecond))
	}
}

func judgeRoom(say *sayer, d Disk) {
	if d.Memory {
		say.that("dir_memory", "%s lies in a file system in memory", d.Dir)
	}
	switch {
	case d.Free < diskBad:
		say.that("disk_full", "%s has %s free of %s", d.Dir, size(d.Free), size(d.Size))
	case d.Free < diskWarn:
		say.that("disk_low", "%s has %s free of %s", d.Dir, size(d.Free), size(d.Size))
	}
	switch {
	case d.Inodes == 0:
	case d.FreeInodes < inodeBad:
		say.that("inodes_out", "%s has %d inodes free of %d", d.Dir, d.FreeInodes, d.Inodes)
	case d.FreeInodes < inodeWarn:
		say.that("inodes_low", "%s has %d inodes free of %d", d.Dir, d.FreeInodes, d.Inodes)
	}
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}

// node finds one by its name.
func (f Facts) node(id string) Node {
	for _, n := range f.Nodes {
		if n.ID == id {
			return n
		}
	}
	return Node{}
}

// dead tells whether a node does not answer and no other one reaches any of its ports.
func (f Facts) dead(n Node) bool {
	if n.Silent == "" {
		return false
	}
	tried := false
	for _, other := range f.Nodes {
		for _, p := range other.Ports {
			if p.Of == n.ID && p.Closed == "" {
				return false
			}
			tried = tried || p.Of == n.ID
		}
	}
	return tried
}

// views are the instances that each node misses, by its place among the nodes.
type views []map[raftfsm.Addr]bool

func viewsOf(nodes []Node) views {
	out := make(views, len(nodes))
	for i, n := range nodes {
		out[i] = make(map[raftfsm.Addr]bool, len(n.Unreached))
		for _, u := range n.Unreached {
			out[i][u.Addr] = true
		}
	}
	return out
}

// reachedBy are the nodes that watch an instance and reach it.
func (f Facts) reachedBy(a raftfsm.Addr) []string {
	var out []string
	for i, n := range f.Nodes {
		if n.Probes && !n.MoreUnreached && !f.views[i][a] {
			out = append(out, n.ID)
		}
	}
	return out
}
