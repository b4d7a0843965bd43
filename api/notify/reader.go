package notify

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// readAgain is how soon a node that cannot be read, or a disk that cannot be written, is tried again.
	readAgain = time.Second
	// tooLate is the age at which a notification is not worth running: a node that was away need not tell of past troubles.
	tooLate = 10 * time.Minute
	// maxRefused bounds the memory of what may not run.
	maxRefused = 1024
)

// reader turns the events of the state into jobs, each of them once in the life of the data directory.
//
// Invariant: no job leaves the reader before the place behind its event is on disk. And the place on disk is never before
// the setting of a script: an event that a script could have run for moves the place on disk, whether it did or not.
type reader struct {
	node   Node
	permit func(master, path string) (string, error)
	log    *slog.Logger
	ledger ledger
	// at is the place, saved what the ledger has.
	at, saved place
	// last is the state that was read last: it knows masters that have been removed since.
	last    *raftfsm.State
	refused map[[2]string]bool // master, path: logged
	// unwritten: the ledger cannot be written, and that is logged.
	unwritten bool
	// late counts the notifications of this reading that are not worth running any more. Their age is told by the clock of the
	// node that proposed them, and clocks differ: only where nothing was read for as long on this node's own clock is it believed.
	late   int
	readAt time.Time
	away   bool
}

// read gives the jobs of the events since the last call. ok is false where it should be tried again soon, because the node
// is still loading or the disk does not take the place.
func (r *reader) read() (jobs []*job, ok bool) {
	st, _, err := r.node.Local()
	if err != nil {
		return nil, false
	}
	to, save := r.at, false
	r.late, r.away, r.readAt = 0, time.Since(r.readAt) > tooLate, time.Now()
	if !r.at.in(st) {
		to, save = endOf(st), anyScripts(st)
	} else {
		// A state that has not come as far as the place, as after a power failure, has no events behind it.
		events, complete := st.EventsSince(r.at.after)
		if !complete && anyScripts(st) {
			r.log.Warn("events were forgotten before this node heard of them; no script runs for those",
				"after_index", r.at.after.Index, "index", st.Index())
		}
		for e := range events {
			to.after = e.Cursor
			if m := r.master(st, e.Master); m != nil && hasScripts(m) {
				save = true
				jobs = append(jobs, r.jobs(st, m, e)...)
			}
		}
	}
	if save && !r.save(to) {
		return nil, false
	}
	if r.late > 0 {
		r.log.Warn("notifications are too old to be run: this node was away", "count", r.late, "limit", tooLate)
	}
	r.at, r.last = to, st
	return jobs, true
}

// master finds the master of an event, also where that has been removed just now.
func (r *reader) master(st *raftfsm.State, name string) *raftfsm.Master {
	m, ok := st.Master(name)
	if !ok && r.last != nil {
		m, _ = r.last.Master(name)
	}
	return m
}

// save makes a place durable.
func (r *reader) save(p place) bool {
	err := r.ledger.save(p)
	if err != nil && !r.unwritten {
		r.log.Error("place in the events cannot be written; no script runs until it can", "error", err)
	}
	if r.unwritten = err != nil; err == nil {
		r.saved = p
	}
	return err == nil
}

// close saves the place where the ledger lags behind, so that the next start misses nothing in the ring.
func (r *reader) close() {
	if r.saved.cluster != "" && r.saved != r.at {
		r.save(r.at)
	}
}

// jobs are the runs that an event of a master calls for.
func (r *reader) jobs(st *raftfsm.State, m *raftfsm.Master, e raftfsm.Event) []*job {
	out := r.notifications(st, m, e)
	e = e.Told()
	path := m.Options.ClientReconfigScript
	if path == "" || e.Kind != raftfsm.EventSwitch {
		return out
	}
	role := "observer"
	if e.Actor == r.node.Self() {
		role = "leader"
	}
	port := func(a raftfsm.Addr) string { return strconv.Itoa(int(a.Port)) }
	if j := r.job(m, path, m.Name, role, "start", e.From.Host, port(e.From), e.To.Host, port(e.To)); j != nil {
		j.switched = &standing{e.Epoch, e.To}
		out = append(out, j)
	}
	return out
}

func (r *reader) notifications(st *raftfsm.State, m *raftfsm.Master, e raftfsm.Event) []*job {
	path := m.Options.NotificationScript
	if path == "" {
		return nil
	}
	var out []*job
	late := r.away && time.Since(time.UnixMilli(e.AtMs)) > tooLate
	for _, n := range api.Notices(st, r.node.Self(), e) {
		switch {
		case !n.Warning:
		case late:
			r.late++
		default:
			if j := r.job(m, path, n.Channel, n.Payload); j != nil {
				out = append(out, j)
			}
		}
	}
	return out
}

// job is a run of a script of m, if it may run here.
func (r *reader) job(m *raftfsm.Master, path string, args ...string) *job {
	file, err := r.permit(m.Name, path)
	if err != nil {
		r.refuse(m.Name, path, err)
		return nil
	}
	return &job{master: m.Name, argv: append([]string{path}, args...), file: file}
}

// refuse logs, once for a master and path, that a script may not run here.
func (r *reader) refuse(master, path string, why error) {
	key := [2]string{master, path}
	if r.refused[key] {
		return
	}
	if len(r.refused) >= maxRefused {
		clear(r.refused)
	}
	r.refused[key] = true
	r.log.Warn("script may not run on this node; name it in the configuration file, or put it into scripts-dir",
		"master", master, "path", path, "reason", why)
}
