package detector

import (
	"strconv"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// A scenario is a list of things that happen at milliseconds, and the verdict expected right after each.
type step struct {
	at   int
	do   func(*Track, time.Time)
	want string // "up", "auth", "unknown", "down CAUSE since MS"
	due  int    // the deadline in ms; 0 = none
}

func sent(t *Track, now time.Time)      { t.Sent(now) }
func connected(t *Track, _ time.Time)   { t.Connected() }
func dropped(t *Track, _ time.Time)     { t.Dropped() }
func doubt(t *Track, now time.Time)     { t.Doubt(now) }
func nothing(*Track, time.Time)         {}
func pong(t *Track, now time.Time)      { t.Answered(now, ProbePing, ReplyPong) }
func loading(t *Track, now time.Time)   { t.Answered(now, ProbePing, ReplyLoading) }
func masterdn(t *Track, now time.Time)  { t.Answered(now, ProbePing, ReplyMasterDown) }
func busy(t *Track, now time.Time)      { t.Answered(now, ProbePing, ReplyBusy) }
func other(t *Track, now time.Time)     { t.Answered(now, ProbePing, ReplyOther) }
func auth(t *Track, now time.Time)      { t.Answered(now, ProbePing, ReplyAuth) }
func infoAuth(t *Track, now time.Time)  { t.Answered(now, ProbeInfo, ReplyAuth) }
func login(t *Track, now time.Time)     { t.Answered(now, ProbeLogin, ReplyAuth) }
func infoPong(t *Track, now time.Time)  { t.Answered(now, ProbeInfo, ReplyPong) }
func refused(t *Track, now time.Time)   { t.Broken(now, raftfsm.CauseRefused) }
func reset(t *Track, now time.Time)     { t.Broken(now, raftfsm.CauseReset) }
func unreach(t *Track, now time.Time)   { t.Broken(now, raftfsm.CauseUnreachable) }
func processA(t *Track, now time.Time)  { t.Process(now, "a") }
func processB(t *Track, now time.Time)  { t.Process(now, "b") }
func processNo(t *Track, now time.Time) { t.Process(now, "") }

func TestTrack(t *testing.T) {
	for _, tc := range []struct {
		name   string
		limits Limits
		steps  []step
	}{
		{name: "nothing seen is neither up nor down", steps: []step{{at: 9000, do: nothing, want: "unknown"}}},
		{name: "an answered probe ends the silence", steps: []step{
			{at: 0, do: sent, want: "unknown", due: 1000}, {at: 1, do: pong, want: "up"}, {at: 5000, do: nothing, want: "up"},
		}},
		{name: "a hang counts from the first unanswered probe, not from the last answer", steps: []step{
			{at: 0, do: sent, want: "unknown", due: 1000},
			{at: 1, do: pong, want: "up"},
			{at: 100, do: sent, want: "up", due: 1100},
			{at: 200, do: sent, want: "up", due: 1100},
			{at: 1099, do: nothing, want: "up", due: 1100},
			{at: 1100, do: nothing, want: "down timeout since 100"},
		}},
		{name: "an answer in the last millisecond counts", steps: []step{
			{at: 100, do: sent, want: "unknown", due: 1100}, {at: 1099, do: pong, want: "up"}, {at: 1101, do: nothing, want: "up"},
		}},
		{name: "a crash counts from the break, and the cause is the last evidence", steps: []step{
			{at: 0, do: sent, want: "unknown", due: 1000},
			{at: 1, do: pong, want: "up"},
			{at: 50, do: reset, want: "up", due: 1050},
			{at: 51, do: sent, want: "up", due: 1050},
			{at: 51, do: refused, want: "up", due: 1050},
			{at: 1049, do: nothing, want: "up", due: 1050},
			{at: 1050, do: nothing, want: "down refused since 50"},
		}},
		{name: "a break while a probe is unanswered counts from the probe", steps: []step{
			{at: 100, do: sent, want: "unknown", due: 1100},
			{at: 600, do: reset, want: "unknown", due: 1100},
			{at: 1100, do: nothing, want: "down reset since 100"},
		}},
		{name: "a connection alone is no sign of life", steps: []step{
			{at: 0, do: refused, want: "unknown", due: 1000},
			{at: 500, do: connected, want: "unknown", due: 1000},
			{at: 1000, do: nothing, want: "down refused since 0"},
		}},
		{name: "giving up a connection neither opens nor ends a silence", steps: []step{
			{at: 0, do: sent, want: "unknown", due: 1000},
			{at: 1, do: pong, want: "up"},
			{at: 2, do: dropped, want: "up"},
			{at: 10, do: sent, want: "up", due: 1010},
			{at: 20, do: dropped, want: "up", due: 1010},
			{at: 1010, do: nothing, want: "down timeout since 10"},
		}},
		{name: "down ends with the first acceptable reply", steps: []step{
			{at: 0, do: unreach, want: "unknown", due: 1000},
			{at: 1000, do: nothing, want: "down unreachable since 0"},
			{at: 1500, do: refused, want: "down unreachable since 0"},
			{at: 2000, do: sent, want: "down unreachable since 0"},
			{at: 2001, do: pong, want: "up"},
		}},
		{name: "loading and masterdown are acceptable", steps: []step{
			{at: 0, do: sent, want: "unknown", due: 1000},
			{at: 900, do: loading, want: "up"},
			{at: 1000, do: sent, want: "up", due: 2000},
			{at: 1900, do: masterdn, want: "up"},
			{at: 3000, do: nothing, want: "up"},
		}},
		{name: "busy and other errors do not count as answers", steps: []step{
			{at: 0, do: sent, want: "unknown", due: 1000},
			{at: 1, do: busy, want: "unknown", due: 1000},
			{at: 100, do: sent, want: "unknown", due: 1000},
			{at: 101, do: other, want: "unknown", due: 1000},
			{at: 1000, do: nothing, want: "down error since 0"},
			{at: 1100, do: busy, want: "down error since 0"},
			{at: 1200, do: pong, want: "up"},
		}},
		{name: "a rejected password proves life, also of one held down", steps: []step{
			{at: 0, do: sent, want: "unknown", due: 1000},
			{at: 1, do: auth, want: "auth"},
			{at: 3000, do: nothing, want: "auth"},
			{at: 3100, do: sent, want: "auth", due: 4100},
			{at: 4100, do: nothing, want: "down timeout since 3100"},
			{at: 4200, do: auth, want: "auth"},
			{at: 4300, do: pong, want: "up"},
		}},
		{name: "a right to PING is no right to INFO", steps: []step{
			{at: 0, do: infoAuth, want: "auth"}, {at: 100, do: pong, want: "auth"}, {at: 200, do: infoPong, want: "up"},
		}},
		{name: "a connection that is let in ends a rejected login", steps: []step{
			{at: 0, do: login, want: "auth"},
			{at: 100, do: sent, want: "auth", due: 1100},
			{at: 101, do: connected, want: "unknown", due: 1100},
			{at: 102, do: infoPong, want: "up"},
		}},
		{name: "doubt counts from then", steps: []step{
			{at: 100, do: sent, want: "unknown", due: 1100},
			{at: 1050, do: doubt, want: "unknown", due: 2050},
			{at: 2050, do: nothing, want: "down timeout since 1050"},
		}},
		{name: "doubt opens no silence and takes no verdict back", steps: []step{
			{at: 0, do: sent, want: "unknown", due: 1000},
			{at: 1, do: pong, want: "up"},
			{at: 500, do: doubt, want: "up"},
			{at: 600, do: refused, want: "up", due: 1600},
			{at: 1600, do: nothing, want: "down refused since 600"},
			{at: 9000, do: doubt, want: "down refused since 600"},
		}},
		{name: "a replaced process owes a pong", limits: Limits{DownAfter: time.Second, Reboot: 3 * time.Second}, steps: []step{
			{at: 0, do: processA, want: "unknown"},
			{at: 0, do: infoPong, want: "up"},
			{at: 100, do: processB, want: "up", due: 3100},
			{at: 100, do: loading, want: "up", due: 3100},
			{at: 2000, do: loading, want: "up", due: 3100},
			{at: 3100, do: loading, want: "down reboot since 100"},
			{at: 3200, do: loading, want: "down reboot since 100"},
			{at: 4000, do: pong, want: "up"},
		}},
		{name: "a replaced process that answers in time", limits: Limits{DownAfter: time.Second, Reboot: 3 * time.Second}, steps: []step{
			{at: 0, do: processA, want: "unknown"},
			{at: 0, do: infoPong, want: "up"},
			{at: 50, do: processNo, want: "up"},
			{at: 100, do: processB, want: "up", due: 3100},
			{at: 2000, do: pong, want: "up"},
			{at: 9000, do: loading, want: "up"},
		}},
		{name: "without the option a replaced process may load for ever", steps: []step{
			{at: 0, do: processA, want: "unknown"},
			{at: 100, do: processB, want: "unknown"},
			{at: 100, do: loading, want: "up"},
			{at: 99999, do: loading, want: "up"},
		}},
		{name: "a silent replaced process is down by silence first", limits: Limits{DownAfter: time.Second, Reboot: 3 * time.Second}, steps: []step{
			{at: 0, do: processA, want: "unknown"},
			{at: 1, do: processB, want: "unknown", due: 3001},
			{at: 1, do: loading, want: "up", due: 3001},
			{at: 100, do: sent, want: "up", due: 1100},
			{at: 1100, do: nothing, want: "down timeout since 100"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			limits := tc.limits
			if limits == (Limits{}) {
				limits.DownAfter = time.Second
			}
			var tr Track
			for i, s := range tc.steps {
				now := moment(s.at)
				s.do(&tr, now)
				tr.Judge(now, limits)
				if got := describe(&tr); got != s.want {
					t.Fatalf("step %d at %d ms: %s, want %s", i, s.at, got, s.want)
				}
				due, ok := tr.Deadline(limits)
				if ok != (s.due != 0) || ok && !due.Equal(moment(s.due)) {
					t.Fatalf("step %d at %d ms: deadline %v %v, want %d ms", i, s.at, due.Sub(moment(0)), ok, s.due)
				}
			}
		})
	}
}

// TestTrackTellsOfAReboot until the new process has given a +PONG.
func TestTrackTellsOfAReboot(t *testing.T) {
	var tr Track
	for i, s := range []struct {
		do   func(*Track, time.Time)
		want bool
	}{{processA, false}, {infoPong, false}, {processB, true}, {loading, true}, {pong, false}} {
		s.do(&tr, moment(i))
		if got := tr.Observation(raftfsm.Addr{}).Rebooted; got != s.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestTrackUnderNewLimits(t *testing.T) {
	var tr Track
	tr.Broken(moment(0), raftfsm.CauseRefused)
	for _, s := range []struct {
		at, downAfter int
		want          bool
	}{{999, 1000, false}, {1000, 1000, true}, {1500, 30000, false}, {1500, 1500, true}, {30000, 30000, true}} {
		tr.Judge(moment(s.at), Limits{DownAfter: time.Duration(s.downAfter) * time.Millisecond})
		if tr.Down() != s.want {
			t.Errorf("silent for %d ms with down-after %d ms: down %v, want %v", s.at, s.downAfter, tr.Down(), s.want)
		}
	}
}

func moment(ms int) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
}

func describe(t *Track) string {
	o := t.Observation(raftfsm.Addr{})
	switch {
	case o.Down:
		return "down " + raftfsm.CauseWord(o.Cause) + " since " + strconv.FormatInt(o.DownSince.Sub(moment(0)).Milliseconds(), 10)
	case o.AuthRejected:
		return "auth"
	case o.LastReply.IsZero():
		return "unknown"
	}
	return "up"
}
