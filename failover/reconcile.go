package failover

import (
	"fmt"
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// settling is for how long an instance that was told to follow is given to connect, before it ceases to count as one of
// the parallel syncs and may be told again.
const settling = 10 * time.Second

// reconciliation is how the instances of a set stand to the committed master.
type reconciliation struct {
	actions   []Follow
	following []raftfsm.Addr // link up, and the master's history
	stale     []raftfsm.Addr // to be read again before anything is decided about them
	done      bool           // every replica that is up follows
	waiting   string         // why nothing is done though something differs
}

// Reconcile tells what makes the instances of a set follow the committed master. It belongs to no row and looks only at
// how things are: replicas after a failover, an old master that returned, a candidate that was abandoned.
func Reconcile(v View) []Follow { return reconcile(v).actions }

func reconcile(v View) reconciliation {
	m := v.Master
	r := reconciliation{done: true}
	master, fresh := v.info(m.Address)
	switch {
	case m.Failover != nil && !m.Failover.Switched:
		return reconciliation{waiting: "a failover is before its switch"}
	case AtRest(m):
		r.waiting = "paused or held"
	case len(m.VotesAgainst(m.Address)) > 0:
		r.waiting = "the master has a down vote"
	case master == nil:
		r.waiting = "this node has not read the master"
	case master.Role != raftfsm.RoleMaster:
		r.waiting = "the master does not say that it is one"
	case master.Loading:
		r.waiting = "the master loads its data"
	}
	room := m.Options.ParallelSyncs
	var replicas []Follow
	for _, in := range m.Replicas() {
		act, busy := r.look(v, in, master)
		if busy && in.Addr != formerMaster(m) {
			room--
		}
		switch {
		case act == nil:
		case act.Demote:
			r.actions = append(r.actions, *act)
		default:
			replicas = append(replicas, *act)
		}
	}
	r.actions = append(r.actions, replicas[:min(len(replicas), max(room, 0))]...)
	switch {
	case r.waiting != "":
		r.actions = nil
	case len(r.actions) > 0 && !fresh:
		r.stale = append(r.stale, m.Address)
		r.actions = nil
	}
	return r
}

// demotes tells whether somebody beside the master takes writes, which are lost the longer that lasts.
func (r reconciliation) demotes() bool {
	return slices.ContainsFunc(r.actions, func(f Follow) bool { return f.Demote })
}

// formerMaster is the master that the last failover replaced. It may have to copy everything, and serves nobody meanwhile
// that was served before: the others, which go on from where they are, do not wait for it.
func formerMaster(m *raftfsm.Master) raftfsm.Addr {
	row := m.Failover
	if row == nil && len(m.History) > 0 {
		row = m.History[len(m.History)-1]
	}
	if row == nil || !row.Switched {
		return raftfsm.Addr{}
	}
	return row.From
}

// AtRest tells whether the instances of a set are left alone: it is held, or paused and not in the midst of a failover that
// an operator ordered.
func AtRest(m *raftfsm.Master) bool {
	ordered := m.Failover != nil && m.Failover.Switched && m.Failover.Kind != raftfsm.KindAutomatic
	return m.Hold != nil || m.Pause != nil && !ordered
}

// look judges one instance: what to do about it, and whether it counts as one that syncs at this moment.
func (r *reconciliation) look(v View, in raftfsm.Instance, master *detector.Info) (act *Follow, busy bool) {
	i, fresh := v.info(in.Addr)
	if leftAlone(in, i) {
		return nil, false
	}
	if i == nil {
		if v.answers(in.Addr) {
			r.done = false
			r.stale = append(r.stale, in.Addr)
		}
		return nil, false
	}
	if master == nil {
		r.done = false
		return nil, false
	}
	if follows(v, i, master) {
		r.following = append(r.following, in.Addr)
		return nil, false
	}
	r.done = false
	told, syncing := v.told(in.Addr), i.SyncInProgress || (i.Loading && i.Role == raftfsm.RoleReplica)
	if !fresh {
		r.stale = append(r.stale, in.Addr)
		return nil, told || syncing
	}
	reason, wrong := v.astray(i)
	switch {
	case told && !(wrong && i.Role == raftfsm.RoleMaster):
		return nil, true
	case !wrong:
		return nil, syncing || (i.MasterLinkDown >= 0 && i.MasterLinkDown < settling)
	case !v.may(in, i) || v.Memory.Avoids(in.Addr, v.Now):
		return nil, false
	}
	return &Follow{Addr: in.Addr, Demote: i.Role == raftfsm.RoleMaster, Reason: reason}, false
}

// follows: its link is up and its history is the master's, however the address is spelled. An address that another member
// has is no spelling of the master's: such a replica hangs on a replica and would stand still with it.
func follows(v View, i, master *detector.Info) bool {
	return i.Role == raftfsm.RoleReplica && i.MasterLinkUp && !i.SyncInProgress && i.Lineage().SameHistory(master.Lineage()) &&
		!v.chained(i)
}

// chained tells whether a replica follows a member of the set that is not the committed master.
func (v View) chained(i *detector.Info) bool {
	at, err := raftfsm.NewAddr(i.MasterHost, i.MasterPort)
	_, member := v.Master.Instance(at)
	return err == nil && member && at != v.Master.Address
}

// told: it was told to follow a moment ago.
func (v View) told(a raftfsm.Addr) bool {
	at, ok := v.Memory.Repointed[a]
	return ok && v.Now.Sub(at) < settling
}

// astray tells why an instance must be told whom to follow: it says that it is a master, its data is of another history,
// or its link is down and it looks elsewhere. One that looks at the committed master is left alone: it is on its way. An
// address that nobody of the set has may be another spelling of the master's, and its link be down for a moment only:
// that is given down-after.
func (v View) astray(i *detector.Info) (reason string, wrong bool) {
	m := v.Master
	at, err := raftfsm.NewAddr(i.MasterHost, i.MasterPort)
	_, member := m.Instance(at)
	switch {
	case i.Role == raftfsm.RoleMaster:
		return "says that it is a master", true
	case i.Role != raftfsm.RoleReplica || err == nil && at == m.Address:
		return "", false
	case i.MasterLinkUp && v.chained(i):
		return fmt.Sprintf("follows %s, which is not the master", at), true
	case i.MasterLinkUp:
		return fmt.Sprintf("follows %s:%d, whose data is of another history", i.MasterHost, i.MasterPort), true
	case member || i.MasterLinkDown < 0 || i.MasterLinkDown >= m.Options.DownAfter:
		return fmt.Sprintf("looks for its master at %s:%d", i.MasterHost, i.MasterPort), true
	}
	return "", false
}

// may tells whether an instance may be repointed: it is known to be of this set, and the master's address does not lead
// it to itself.
func (v View) may(in raftfsm.Instance, i *detector.Info) bool {
	m := v.Master
	if in.Addr == m.Address || in.RunID != "" && in.RunID == v.fact().RunID || i.RunID != "" && i.RunID == v.fact().RunID {
		return false
	}
	if m.Address.IsLoopback() && !in.Addr.IsLoopback() {
		return false
	}
	return !in.Unconfirmed || i.Lineage().Related(lineageOf(v.fact()))
}

// Astray tells whether the instance a must be told to follow the committed master by what both say of themselves at this
// moment, and why. The instances of the view are not looked at again.
func (v View) Astray(a raftfsm.Addr, i, master *detector.Info) (reason string, wrong bool) {
	in, member := v.Master.Instance(a)
	if !member || leftAlone(in, i) || follows(v, i, master) || !v.may(in, i) {
		return "", false
	}
	return v.astray(i)
}
