package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// watch follows the masters until the test ends. next gives a message as one line.
func (r *rig) watch(t *testing.T, req *sentinelv1.WatchMastersRequest) (next func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := r.app.WatchMasters(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		m, err := stream.Recv()
		if err != nil {
			return "error " + status.Code(err).String()
		}
		switch u := m.GetUpdate().(type) {
		case *sentinelv1.WatchMastersResponse_Master:
			return fmt.Sprintf("%s quorum %d", u.Master.GetName(), u.Master.GetOptions().GetQuorum())
		case *sentinelv1.WatchMastersResponse_Removed:
			return "removed " + u.Removed.GetName()
		case *sentinelv1.WatchMastersResponse_Synced:
			return "synced"
		case *sentinelv1.WatchMastersResponse_Progress:
			return progressLine(u.Progress)
		case *sentinelv1.WatchMastersResponse_Reset_:
			return "reset"
		}
		return "empty"
	}
}

func progressLine(p *sentinelv1.WatchProgress) string {
	if p.GetAgeMs() < 0 || p.GetAgeMs() > leaderSilence.Milliseconds() {
		return fmt.Sprintf("no leader for %d", p.GetAgeMs())
	}
	return "progress"
}

func (r *rig) quorum(t *testing.T, name string, n int) {
	t.Helper()
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: &raftlogv1.Set{
		Name: name, Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: fmt.Sprint(n)}},
	}}})
}

func (r *rig) remove(t *testing.T, name string) {
	t.Helper()
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: name}}})
}

func want(t *testing.T, next func() string, lines ...string) {
	t.Helper()
	for i, l := range lines {
		if got := next(); got != l {
			t.Fatalf("message %d: %q, want %q", i, got, l)
		}
	}
}

func TestWatchMasters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor(t, "a", "10.0.0.1")
		r.monitor(t, "b", "10.0.0.2")
		r.monitor(t, "gone", "10.0.0.3")
		r.remove(t, "gone")
		next := r.watch(t, &sentinelv1.WatchMastersRequest{})
		only := r.watch(t, &sentinelv1.WatchMastersRequest{Names: []string{"b", "later"}})
		want(t, next, "a quorum 2", "b quorum 2", "synced")
		want(t, only, "b quorum 2", "synced")
		began := time.Now()
		r.quorum(t, "a", 1)
		want(t, next, "a quorum 1")
		r.remove(t, "b")
		want(t, next, "removed b")
		want(t, only, "removed b")
		if waited := time.Since(began); waited != 0 {
			t.Errorf("a change was told %v late: something waits for a timer", waited)
		}
		r.monitor(t, "later", "10.0.0.4")
		want(t, only, "later quorum 2")
		want(t, next, "later quorum 2", "progress")
		if waited := time.Since(began); waited != progressEvery {
			t.Errorf("progress after %v", waited)
		}
	})
}

// TestSlowWatcherCoalesces: what was not read meanwhile is told once, at its latest value, in the order of the last changes.
func TestSlowWatcherCoalesces(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "a", "10.0.0.1")
	r.monitor(t, "b", "10.0.0.2")
	w := masterWatch{hub: newHub(), stream: &recorder{}}
	if err := w.step(r.node.State(), 0); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		r.quorum(t, "a", 1+i%2)
		r.quorum(t, "b", 3+i%2)
	}
	r.quorum(t, "a", 9)
	told := &recorder{}
	w.stream = told
	if err := w.step(r.node.State(), 0); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(told.lines, ", "); got != "b 4, a 9" {
		t.Errorf("told %q", got)
	}
}

func TestWatchResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor(t, "a", "10.0.0.1")
		r.monitor(t, "b", "10.0.0.2")
		seen := r.node.State().Index()
		r.remove(t, "b")
		r.monitor(t, "c", "10.0.0.3")
		want(t, r.watch(t, &sentinelv1.WatchMastersRequest{AfterClusterId: "c1", AfterRevision: seen}),
			"removed b", "c quorum 2", "synced")
		want(t, r.watch(t, &sentinelv1.WatchMastersRequest{AfterClusterId: "other", AfterRevision: seen}),
			"reset", "a quorum 2", "c quorum 2", "synced")
		// A watcher that has seen more elsewhere waits until this node has it too.
		ahead := r.watch(t, &sentinelv1.WatchMastersRequest{AfterClusterId: "c1", AfterRevision: r.node.State().Index() + 2})
		synctest.Wait()
		r.quorum(t, "a", 1)
		r.quorum(t, "c", 1)
		want(t, ahead, "synced")
		r.quorum(t, "a", 3)
		want(t, ahead, "a quorum 3")
	})
}

// TestWatchTellsOfTheLeader: of its loss and its return at once, without any change of the state.
func TestWatchTellsOfTheLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor(t, "a", "10.0.0.1")
		age := func(d time.Duration) { r.node.set(func(n *fakeNode) { n.age = d }) }
		masters := r.watch(t, &sentinelv1.WatchMastersRequest{})
		events := r.events(t, &sentinelv1.WatchEventsRequest{})
		want(t, masters, "a quorum 2", "synced")
		want(t, events, "synced")
		began := time.Now()
		age(3 * time.Second)
		want(t, masters, "no leader for 3000")
		want(t, events, "no leader for 3000")
		if waited := time.Since(began); waited > healthEvery {
			t.Errorf("the loss is told %v late", waited)
		}
		// Whoever comes now knows it before the values, and one that has seen more elsewhere hears at least this.
		want(t, r.watch(t, &sentinelv1.WatchMastersRequest{}), "no leader for 3000", "a quorum 2", "synced")
		ahead := r.watch(t, &sentinelv1.WatchMastersRequest{AfterClusterId: "c1", AfterRevision: r.node.State().Index() + 1})
		want(t, ahead, "no leader for 3000")
		began = time.Now()
		age(time.Millisecond)
		want(t, masters, "progress")
		want(t, events, "progress")
		want(t, ahead, "progress")
		if waited := time.Since(began); waited > healthEvery {
			t.Errorf("the return is told %v late", waited)
		}
		// A change that wakes the watches tells it as well.
		age(-1)
		r.quorum(t, "a", 1)
		want(t, masters, "no leader for -1", "a quorum 1")
		want(t, events, "+set a", "no leader for -1")
	})
}

// TestProgressIsOfNow: what an idle watch is told is no older than the message.
func TestProgressIsOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		stream, err := r.app.WatchMasters(t.Context(), &sentinelv1.WatchMastersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for {
			m, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.GetSynced() != nil {
				r.node.set(func(n *fakeNode) { n.age = time.Second })
			}
			if p := m.GetProgress(); p != nil {
				if p.GetAgeMs() != 1000 {
					t.Errorf("age %d", p.GetAgeMs())
				}
				return
			}
		}
	})
}

func TestWatchEndsWithTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		next := r.watch(t, &sentinelv1.WatchMastersRequest{})
		want(t, next, "synced")
		r.node.set(func(n *fakeNode) {
			n.localErr = errLoading
			n.publish(n.st)
		})
		want(t, next, "error "+codes.Unavailable.String())
	})
}

// events follows the events; next gives a message as one line.
func (r *rig) events(t *testing.T, req *sentinelv1.WatchEventsRequest) (next func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := r.app.WatchEvents(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		m, err := stream.Recv()
		if err != nil {
			return "error " + status.Code(err).String()
		}
		switch u := m.GetUpdate().(type) {
		case *sentinelv1.WatchEventsResponse_Batch:
			var kinds []string
			for _, e := range u.Batch.GetEvents() {
				if e.GetCursor().GetIndex() != m.GetRevision() || e.GetCursor().GetClusterId() != m.GetClusterId() {
					return "an event of another entry"
				}
				kinds = append(kinds, strings.TrimSpace(e.GetKind()+" "+e.GetMaster()))
			}
			return strings.Join(kinds, ", ")
		case *sentinelv1.WatchEventsResponse_Synced:
			return "synced"
		case *sentinelv1.WatchEventsResponse_Progress:
			return progressLine(u.Progress)
		case *sentinelv1.WatchEventsResponse_Reset_:
			return "reset"
		case *sentinelv1.WatchEventsResponse_Compacted:
			return "compacted"
		}
		return "empty"
	}
}

func TestWatchEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor(t, "a", "10.0.0.1")
		r.monitor(t, "b", "10.0.0.2")
		seen := r.node.State().Index()
		all := r.events(t, &sentinelv1.WatchEventsRequest{After: &sentinelv1.EventCursor{}})
		want(t, all, "+founded", "+sentinel", "+sentinel", "+sentinel", "+monitor a", "+monitor b", "synced")
		fresh := r.events(t, &sentinelv1.WatchEventsRequest{})
		synctest.Wait()
		onlyB := r.events(t, &sentinelv1.WatchEventsRequest{Master: "b", After: &sentinelv1.EventCursor{ClusterId: "c1", Index: seen - 1}})
		foreign := r.events(t, &sentinelv1.WatchEventsRequest{Master: "a", After: &sentinelv1.EventCursor{ClusterId: "c0", Index: seen}})
		want(t, fresh, "synced")
		want(t, onlyB, "+monitor b", "synced")
		want(t, foreign, "reset", "+monitor a", "synced")
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "*"}}})
		want(t, all, "+reset-master a, +reset-master b")
		want(t, fresh, "+reset-master a, +reset-master b")
		want(t, onlyB, "+reset-master b", "progress")
	})
}

// TestWatchEventsCompacted: a cursor that fell out of the ring is told so, and goes on with the oldest event kept.
func TestWatchEventsCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor(t, "a", "10.0.0.1")
		seen := r.node.State().Index()
		r.quorum(t, "a", 1)
		for i := range raftfsm.RingSize {
			r.quorum(t, "a", 1+(i+1)%2)
		}
		next := r.events(t, &sentinelv1.WatchEventsRequest{After: &sentinelv1.EventCursor{ClusterId: "c1", Index: seen}})
		want(t, next, "compacted", "+set a")
		for range raftfsm.RingSize - 1 {
			if got := next(); got != "+set a" {
				t.Fatal(got)
			}
		}
		want(t, next, "synced")
	})
}

// TestResumeInsideAnEntry: the rest of an entry's events is told, and is not mistaken for all of them by others.
func TestResumeInsideAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor(t, "a", "10.0.0.1")
		r.monitor(t, "b", "10.0.0.2")
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "*"}}})
		at := r.node.State().Index()
		want(t, r.events(t, &sentinelv1.WatchEventsRequest{After: &sentinelv1.EventCursor{Index: at}}), "+reset-master b", "synced")
		want(t, r.events(t, &sentinelv1.WatchEventsRequest{After: &sentinelv1.EventCursor{Index: at - 1, Ordinal: 9}}),
			"+reset-master a, +reset-master b", "synced")
	})
}

// TestNewsIsShared: all who have come as far get the same messages, and nobody gets those of another place or state.
func TestNewsIsShared(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "a", "10.0.0.1")
	r.monitor(t, "b", "10.0.0.2")
	old := r.node.State()
	r.quorum(t, "b", 1)
	r.remove(t, "a")
	st := r.node.State()
	h := newHub()
	news := func(st *raftfsm.State, after uint64, names ...string) (frames []frame, said string) {
		t.Helper()
		frames, err := h.since(st, after, names)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, f := range frames {
			var m sentinelv1.WatchMastersResponse
			if err := proto.Unmarshal(f[0].ReadOnlyData(), &m); err != nil {
				t.Fatal(err)
			}
			if gone := m.GetRemoved(); gone != nil {
				lines = append(lines, fmt.Sprintf("%s removed at %d", gone.GetName(), m.GetRevision()-old.Index()))
			} else {
				lines = append(lines, fmt.Sprintf("%s %d", m.GetMaster().GetName(), m.GetMaster().GetOptions().GetQuorum()))
			}
		}
		return frames, strings.Join(lines, ", ")
	}
	for _, c := range []struct {
		name  string
		st    *raftfsm.State
		after uint64
		names []string
		want  string
	}{
		{"who has nothing", st, 0, nil, "b 1"},
		{"who has the old state", st, old.Index(), nil, "b 1, a removed at 2"},
		{"who has all", st, st.Index(), nil, ""},
		{"who wants one", st, old.Index(), []string{"a"}, "a removed at 2"},
		{"who lags", old, 0, nil, "a 2, b 2"},
	} {
		first, said := news(c.st, c.after, c.names...)
		if said != c.want {
			t.Errorf("%s: %q, want %q", c.name, said, c.want)
		}
		again, said := news(c.st, c.after, c.names...)
		if said != c.want {
			t.Errorf("%s, asked again: %q", c.name, said)
		}
		if shares := c.st == st && c.names == nil; shares && len(first) > 0 && &first[0] != &again[0] {
			t.Errorf("%s: gathered twice", c.name)
		}
	}
}

// TestFramesAreShared: an entry is encoded once for all who follow.
func TestFramesAreShared(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "a", "10.0.0.1")
	st := r.node.State()
	m, _ := st.Master("a")
	h := newHub()
	f, err := h.master(st, m)
	g, _ := h.master(st, m)
	if err != nil || &f[0] != &g[0] {
		t.Errorf("masters: %v", err)
	}
	seq, _ := st.EventsSince(raftfsm.Cursor{})
	events := slices.Collect(seq)[:1]
	f, err = h.batch(st, events, true)
	g, _ = h.batch(st, events, true)
	if err != nil || &f[0] != &g[0] {
		t.Errorf("events: %v", err)
	}
}
