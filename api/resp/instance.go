package resp

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func port(a raftfsm.Addr) string { return strconv.Itoa(int(a.Port)) }

// look is what goes into the map of one instance: the replicated state, and what this node sees.
type look struct {
	st  *raftfsm.State
	m   *raftfsm.Master
	a   raftfsm.Addr
	run string
	// seen is the zero Observation where this node does not probe it.
	seen api.Observation
	now  time.Time
}

func (s *Server) look(st *raftfsm.State, m *raftfsm.Master, in raftfsm.Instance) look {
	l := look{st: st, m: m, a: in.Addr, run: in.RunID, now: time.Now()}
	if s.o.Fleet != nil {
		l.seen, _ = s.o.Fleet.Observe(in.Addr)
	}
	return l
}

func (s *Server) lookAtMaster(st *raftfsm.State, m *raftfsm.Master) look {
	in, _ := m.Instance(m.Address)
	in.Addr = m.Address
	return s.look(st, m, in)
}

func (s *Server) master(_ context.Context, c *conn, args []string) reply {
	st, m, refusal := s.lookup(c, args[0])
	if refusal != nil {
		return refusal
	}
	return s.masterMap(st, m, s.others(st))
}

func (s *Server) masters(_ context.Context, c *conn, _ []string) reply {
	st, refusal := s.local(c)
	if refusal != nil {
		return refusal
	}
	out, others := array{}, s.others(st)
	for m := range st.Masters() {
		out = append(out, s.masterMap(st, m, others))
	}
	return out
}

// replicas leaves out those that ask not to be announced, as Redis does.
func (s *Server) replicas(_ context.Context, c *conn, args []string) reply {
	st, m, refusal := s.lookup(c, args[0])
	if refusal != nil {
		return refusal
	}
	api.HeedSet(s.o.Fleet, m)
	out := array{}
	for _, in := range m.Replicas() {
		if l := s.look(st, m, in); l.announced() {
			out = append(out, l.replica())
		}
	}
	return out
}

func (s *Server) masterMap(st *raftfsm.State, m *raftfsm.Master, others int) reply {
	l := s.lookAtMaster(st, m)
	f := l.common(m.Name)
	f.num("config-epoch", int64(m.Epoch))
	f.num("num-slaves", int64(len(m.Replicas())))
	f.num("num-other-sentinels", int64(others))
	f.num("quorum", int64(m.Options.Quorum))
	f.num("failover-timeout", m.Options.FailoverTimeout.Milliseconds())
	f.num("parallel-syncs", int64(m.Options.ParallelSyncs))
	if p := m.Options.NotificationScript; p != "" {
		f.add("notification-script", p)
	}
	if p := m.Options.ClientReconfigScript; p != "" {
		f.add("client-reconfig-script", p)
	}
	return f
}

// common are the fields of masters and replicas, in Sentinel's order (sentinel.c, addReplySentinelRedisInstance).
func (l look) common(name string) fields {
	var f fields
	f.add("name", name)
	told := l.st.Told(l.a)
	f.add("ip", told.Host)
	f.add("port", port(told))
	f.add("runid", l.run)
	f.add("flags", l.flags())
	f.num("link-pending-commands", l.pending())
	f.num("link-refcount", 1)
	if l.isMaster() && l.failingOver() {
		f.add("failover-state", "wait_promotion")
	}
	f.num("last-ping-sent", l.since(l.seen.LastPingSent))
	f.num("last-ok-ping-reply", l.since(l.seen.LastReply))
	f.num("last-ping-reply", l.since(l.seen.LastAnyReply))
	if l.sdown() {
		f.num("s-down-time", l.since(l.seen.DownSince))
	}
	if l.odown() {
		f.num("o-down-time", l.since(time.UnixMilli(l.m.ODownAtMs)))
	}
	f.num("down-after-milliseconds", l.m.Options.DownAfter.Milliseconds())
	f.num("info-refresh", l.since(l.seen.InfoAt))
	f.add("role-reported", l.role())
	f.num("role-reported-time", l.since(l.seen.RoleSince))
	return f
}

func (l look) replica() reply {
	f := l.common(l.st.Told(l.a).String())
	// Before the first INFO a replica has Redis's defaults, and follows nobody that is known.
	host, masterPort, priority, offset, up, down := "?", 0, 100, int64(0), false, time.Duration(0)
	if in := l.seen.Info; in != nil {
		priority, offset, up = in.Priority, in.Offset, in.MasterLinkUp
		if in.MasterHost != "" {
			host, masterPort = in.MasterHost, in.MasterPort
		}
		if !up {
			down = in.MasterLinkDown
		}
	}
	f.num("master-link-down-time", max(0, down.Milliseconds()))
	f.add("master-link-status", choose(up, "ok", "err"))
	f.add("master-host", host)
	f.num("master-port", int64(max(0, masterPort)))
	f.num("slave-priority", int64(priority))
	f.num("slave-repl-offset", max(0, offset))
	f.add("replica-announced", choose(l.announced(), "1", "0"))
	return f
}

func (l look) isMaster() bool { return l.a == l.m.Address }

// sdown is this node's own verdict; it works without a quorum.
func (l look) sdown() bool { return l.seen.Down && raftfsm.Counts(l.seen.Cause) }

func (l look) odown() bool { return l.isMaster() && l.m.IsODown() }

// failingOver holds until the switch: from then on the master is the new one.
func (l look) failingOver() bool { return l.m.Failover != nil && !l.m.Failover.Switched }

func (l look) isKind(k raftfsm.FailoverKind) bool { return l.m.Failover.Kind == k }

func (l look) announced() bool { return l.seen.Info == nil || l.seen.Info.ReplicaAnnounced }

// flags are in Sentinel's order. A master that is well has "master" alone.
func (l look) flags() string {
	var out []string
	set := func(on bool, name string) {
		if on {
			out = append(out, name)
		}
	}
	set(l.sdown(), "s_down")
	set(l.odown(), "o_down")
	set(l.isMaster(), "master")
	set(!l.isMaster(), "slave")
	// Clients skip what is disconnected: nobody is to be sent to what is in maintenance, nor for reads to a master beside the
	// committed one, whether it answers or not.
	set(!l.seen.Connected || l.seen.AuthRejected || l.m.InMaintenance(l.a) || l.astray(), "disconnected")
	set(l.isMaster() && l.failingOver(), "failover_in_progress")
	set(!l.isMaster() && l.failingOver() && l.m.Failover.To == l.a, "promoted")
	set(l.reconf() == "reconf_inprog", "reconf_inprog")
	set(l.reconf() == "reconf_done", "reconf_done")
	set(l.isMaster() && l.failingOver() && l.isKind(raftfsm.KindForced), "force_failover")
	set(l.isMaster() && l.failingOver() && l.isKind(raftfsm.KindPlanned), "coordinated_failover")
	set(l.isMaster() && l.seen.Rebooted && l.m.Options.MasterRebootDownAfter > 0, "master_reboot")
	return strings.Join(out, ",")
}

// reconf is how far a replica has come in following the new master; "" where no failover is being finished, or where this node
// does not see that it has begun.
func (l look) reconf() string {
	if l.isMaster() || l.m.Failover == nil || !l.m.Failover.Switched {
		return ""
	}
	for _, step := range l.m.Failover.Steps {
		if step.Instance == l.a && (step.Name == raftfsm.StepRepoint || step.Name == raftfsm.StepDemote) {
			return "reconf_done"
		}
	}
	in := l.seen.Info
	if in == nil || in.Role != raftfsm.RoleReplica {
		return ""
	}
	follows := raftfsm.Addr{Host: in.MasterHost, Port: uint16(in.MasterPort)}
	if follows != l.m.Address && follows != l.st.Told(l.m.Address) {
		return ""
	}
	return choose(in.MasterLinkUp, "reconf_done", "reconf_inprog")
}

// astray tells whether it says that it is a master and is not the committed one: an old master that is back and not demoted yet.
// What it holds is not the set's.
func (l look) astray() bool {
	return !l.isMaster() && l.seen.Info != nil && l.seen.Info.Role == raftfsm.RoleMaster
}

// role is what the instance says it is, or is thought to be before it has said so.
func (l look) role() string {
	role := raftfsm.RoleUnknown
	if l.seen.Info != nil {
		role = l.seen.Info.Role
	}
	if role == raftfsm.RoleMaster || (role == raftfsm.RoleUnknown && l.isMaster()) {
		return "master"
	}
	return "slave"
}

func (l look) pending() int64 {
	if l.seen.LastPingSent.IsZero() {
		return 0
	}
	return 1
}

// since is an age in milliseconds; 0 for never, as Redis tells it.
func (l look) since(t time.Time) int64 { return age(l.now, t) }

func age(now, t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t).Milliseconds())
}
