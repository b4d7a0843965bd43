package notify

import (
	"slices"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// As Redis Sentinel has them.
const (
	maxJobs    = 256
	maxRunning = 16
	maxRuns    = 10
	// longestDelay bounds the doubled wait, whatever delay it began with.
	longestDelay = 24 * time.Hour
)

// job is one run of a script that is due, with its repeats.
type job struct {
	master string
	argv   []string
	// file is what is executed; argv[0] is how the master's option names it.
	file string
	// switched is, for client-reconfig-script, what the switch made of the master; nil for a notification.
	switched *standing
	// runs counts those that were begun.
	runs int
	// due is when the next run may begin; zero for at once.
	due time.Time
	// running since began. process is nil until it is made.
	running bool
	began   time.Time
	process *process
	// killed: it ran for too long and was told to end.
	killed bool
}

// standing is what clients are told of a master, and since which failover.
type standing struct {
	epoch   uint64
	address raftfsm.Addr
}

// superseded tells whether the switch that j tells is not how things stand any more.
func (j *job) superseded(st *raftfsm.State) bool {
	if j.switched == nil {
		return false
	}
	m, ok := st.Master(j.master)
	return !ok || *j.switched != standing{m.Epoch, st.Told(m.Address)}
}

// queue holds jobs in the order in which they became due, running ones too. It knows no clock.
type queue struct{ jobs []*job }

// add appends a job. Over the bound the oldest one that does not run gives way, and is returned.
func (q *queue) add(j *job) (dropped *job) {
	q.jobs = append(q.jobs, j)
	if len(q.jobs) <= maxJobs {
		return nil
	}
	i := slices.IndexFunc(q.jobs, func(j *job) bool { return !j.running })
	dropped = q.jobs[i] // fewer may run than may wait
	q.jobs = slices.Delete(q.jobs, i, i+1)
	return dropped
}

func (q *queue) remove(j *job) {
	q.jobs = slices.DeleteFunc(q.jobs, func(other *job) bool { return other == j })
}

func (q *queue) running() int {
	n := 0
	for _, j := range q.jobs {
		if j.running {
			n++
		}
	}
	return n
}

// next is the first job that may run now; nil for none.
func (q *queue) next(now time.Time) *job {
	if q.running() >= maxRunning {
		return nil
	}
	for _, j := range q.jobs {
		if !j.running && !j.due.After(now) && !q.mustWait(j) {
			return j
		}
	}
	return nil
}

// mustWait: the scripts of two switches of one master never run side by side, or the older could have the last word.
func (q *queue) mustWait(j *job) bool {
	return j.switched != nil && slices.ContainsFunc(q.jobs, func(other *job) bool {
		return other.running && other.switched != nil && other.master == j.master
	})
}

// begin is the start of a run.
func (j *job) begin(now time.Time) {
	j.running, j.began, j.killed = true, now, false
	j.runs++
}

// end is the end of a run. Where it is to be tried again, delay is how long it waits; else the job leaves the queue.
func (q *queue) end(j *job, e exit, now time.Time, retryDelay time.Duration) (delay time.Duration, again bool) {
	j.running, j.process = false, nil
	if !e.retriable() || j.runs >= maxRuns {
		q.remove(j)
		return 0, false
	}
	delay = retryDelay
	for range j.runs - 1 {
		delay = min(2*min(delay, longestDelay), longestDelay)
	}
	j.due = now.Add(delay)
	return delay, true
}

// overdue are the jobs that have run for longer than limit and were not told to end yet.
func (q *queue) overdue(now time.Time, limit time.Duration) []*job {
	var out []*job
	for _, j := range q.jobs {
		if j.process != nil && !j.killed && now.Sub(j.began) >= limit {
			out = append(out, j)
		}
	}
	return out
}

// soonest is when the passing of time alone gives something to do; false for never.
func (q *queue) soonest(now time.Time, limit time.Duration) (at time.Time, ok bool) {
	for _, j := range q.jobs {
		var t time.Time
		switch {
		case j.process != nil && !j.killed:
			t = j.began.Add(limit)
		case !j.running && j.due.After(now):
			t = j.due
		default:
			continue
		}
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	return at, ok
}
