package probe

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/progress"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// stance is what this node has to say of an instance.
type stance uint8

const (
	stanceNone stance = iota // no first-hand evidence yet: neither up nor down
	stanceUp
	stanceDown
	stanceAuth // it lives and rejects us: told, and never counted
)

func stanceOf(o detector.Observation) stance {
	switch {
	case o.Down:
		return stanceDown
	case o.AuthRejected:
		return stanceAuth
	case !o.LastReply.IsZero():
		return stanceUp
	}
	return stanceNone
}

// reporter keeps this node's verdicts in the state equal to those that it holds. It compares levels, never counts edges:
// a report that was lost, refused or expired shows as a difference that still stands.
type reporter struct {
	f     *Fleet
	loop  progress.Loop
	mu    sync.Mutex
	dirty map[string]bool // sets that may differ
	kick  chan struct{}
	// What follows belongs to the goroutine that reports.
	doubts detector.Brake
	// counted is its last census, of countedAt.
	counted   detector.Census
	countedAt time.Time
}

// Bounds on one attempt to propose, and on the wait before the next where nothing else shows that it may succeed now.
const (
	proposeTimeout = time.Second
	firstRetry     = 20 * time.Millisecond
	lastRetry      = 250 * time.Millisecond
)

func newReporter(f *Fleet) *reporter {
	return &reporter{f: f, dirty: map[string]bool{}, kick: make(chan struct{}, 1)}
}

// mark has a set compared; wake has it done now.
func (r *reporter) mark(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dirty[name] = true
}

func (r *reporter) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// run proposes what differs, one entry at a time with everything that is pending, until ctx ends.
func (r *reporter) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	wait := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.kick:
		case <-timer.C:
		}
		for ctx.Err() == nil {
			r.loop.Step()
			report, withheld := r.difference(r.f.o.Cluster.State())
			if report == nil {
				wait = firstRetry
				timer.Stop()
				if withheld {
					timer.Reset(brakeRetry)
				}
				break
			}
			r.loop.Rest()
			if !r.propose(ctx, report) {
				timer.Reset(wait)
				wait = min(2*wait, lastRetry)
				break
			}
		}
		r.loop.Rest()
	}
}

// propose tells whether it is worth comparing again at once.
func (r *reporter) propose(ctx context.Context, report *raftlogv1.Report) bool {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	c := &raftlogv1.Command{Header: header(r.f.o.Cluster), Op: &raftlogv1.Command_Report{Report: report}}
	res, err := r.f.o.Cluster.Propose(ctx, c)
	switch {
	case err != nil:
		r.f.o.Log.Debug("report not committed; it is tried again", "down", len(report.GetDown()), "up", len(report.GetUp()),
			"error", err)
		return false
	case res.Code != raftfsm.OK:
		r.f.o.Log.Debug("report refused; it is judged again", "error", res.Err())
		return false
	}
	return true
}

// difference is the report that makes the state say what this node holds; nil where it does. The sets without a difference
// are not looked at again before they change. Where the node doubts itself, new verdicts that count are withheld.
func (r *reporter) difference(s *raftfsm.State) (report *raftlogv1.Report, withheld bool) {
	self := r.f.o.Cluster.RaftID()
	node, registered := s.Node(self)
	if !registered {
		return nil, false // the registration will come as a change of the state; what is dirty stays so
	}
	r.mu.Lock()
	names := slices.Sorted(maps.Keys(r.dirty))
	clear(r.dirty)
	r.mu.Unlock()
	report = &raftlogv1.Report{Node: self, Base: node.ReportBase}
	for _, name := range names {
		m, ok := s.Master(name)
		if !ok {
			continue
		}
		before := len(report.GetDown()) + len(report.GetUp())
		r.compare(m, self, report)
		if len(report.GetDown())+len(report.GetUp()) > before {
			r.mark(name)
		}
	}
	counts := func(v *raftlogv1.Verdict) bool { return raftfsm.Counts(v.GetCause()) }
	switch {
	case !slices.ContainsFunc(report.GetDown(), counts):
		r.release()
	case r.brake(s):
		report.Down, withheld = slices.DeleteFunc(report.GetDown(), counts), true
	}
	if len(report.GetDown())+len(report.GetUp()) == 0 {
		return nil, withheld
	}
	return report, withheld
}

// compare adds what differs in one set. A verdict that was not judged under the set's present generation is left out: the
// watch is about to judge anew, and marks the set then.
func (r *reporter) compare(m *raftfsm.Master, self string, report *raftlogv1.Report) {
	for _, in := range m.Instances {
		w, ok := r.f.watch(in.Addr)
		if !ok {
			continue
		}
		seen := w.sight.Load()
		if seen.plan.set.Name != m.Name || seen.plan.set.Generation != m.Generation {
			continue
		}
		i := slices.IndexFunc(m.Votes, func(v raftfsm.Vote) bool { return v.Node == self && v.Instance == in.Addr })
		v := &raftlogv1.Verdict{Master: m.Name, Instance: in.Addr.Proto(), Generation: m.Generation}
		if in.Maintenance != nil {
			// Nothing is said of it, and what was on its way when the maintenance began is taken back.
			if i >= 0 {
				report.Up = append(report.Up, v)
			}
			continue
		}
		switch stanceOf(seen.obs) {
		case stanceNone:
			continue
		case stanceUp:
			if i >= 0 {
				report.Up = append(report.Up, v)
			}
			continue
		case stanceDown:
			v.Cause, v.SinceMs = seen.obs.Cause, unixMilli(seen.obs.DownSince)
		case stanceAuth:
			v.Cause, v.SinceMs = raftfsm.CauseAuth, unixMilli(seen.obs.LastAnyReply)
		}
		if i < 0 || raftfsm.Counts(m.Votes[i].Cause) != raftfsm.Counts(v.GetCause()) {
			report.Down = append(report.Down, v)
		}
	}
}

// unixMilli is a moment of the monotonic clock on the wall clock as that is now.
func unixMilli(t time.Time) int64 { return time.Now().UnixMilli() - time.Since(t).Milliseconds() }
