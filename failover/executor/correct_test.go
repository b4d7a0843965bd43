package executor

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// corrections are the events of what was put right, in order: the kind, the instance and why.
func (w *world) corrections() (out []string) {
	w.t.Helper()
	events, _ := w.nodes["a"].State().EventsSince(raftfsm.Cursor{})
	for e := range events {
		if e.Kind == raftfsm.EventConvert || e.Kind == raftfsm.EventFix {
			out = append(out, strings.Join([]string{e.Kind, e.Instance.Host, e.Detail}, " "))
		}
	}
	return out
}

func isCorrect(c *raftlogv1.Command) bool { return c.GetCorrect() != nil }

// expectCorrections compares them by their beginnings.
func (w *world) expectCorrections(want ...string) {
	w.t.Helper()
	got := w.corrections()
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		w.t.Errorf("corrections\n got %q\nwant %q", got, want)
	}
}

// Whatever is put right in no failover is told, once each time that it happens.
func TestCorrectionsAreTold(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		other := w.net.Add("10.0.9.9:6379")
		other.Write(5)
		w.lead("a", nil)
		w.pass(20 * time.Second)
		w.expectCorrections()
		w.hand(all[1], "NO", "ONE")
		w.until("demoted", 30*time.Second, w.converged)
		w.pass(time.Minute)
		demoted := "+convert-to-slave 10.0.0.2 says that it is a master"
		w.expectCorrections(demoted)
		w.hand(all[2], "10.0.9.9", "6379")
		w.until("away", time.Second, func() bool { return all[2].State().LinkUp })
		w.until("brought back", 30*time.Second, w.converged)
		w.pass(time.Minute)
		repointed := "+fix-slave-config 10.0.0.3 follows 10.0.9.9:6379"
		w.expectCorrections(demoted, repointed)
		w.hand(all[1], "NO", "ONE")
		w.until("demoted again", 30*time.Second, w.converged)
		w.pass(time.Minute)
		w.expectCorrections(demoted, repointed, demoted)
	})
}

// An old master that returns after its failover has ended: what may be lost stands on the record.
func TestReturnOfAnOldMasterIsTold(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		all[0].Crash()
		w.until("converged", 10*time.Second, w.converged)
		w.pass(30 * time.Second)
		all[0].Restart(true)
		w.until("demoted", 5*time.Second, func() bool { return !all[0].State().Master })
		w.pass(30 * time.Second)
		w.expectCorrections("+convert-to-slave 10.0.0.1 says that it is a master; offset ")
		if got := w.corrections(); len(got) != 1 || !strings.Contains(got[0], "; lost ") {
			t.Errorf("%q", got)
		}
	})
}

// In a failover the row tells everything: its replicas' new master is no correction, and the old one's return is told once.
func TestAFailoverIsNoCorrection(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(3)
		w.lead("a", nil)
		w.pass(6 * time.Second)
		for _, r := range all[1:] {
			r.SetLinkDelay(0, 4*time.Second) // keeps the row open until the old master is back
		}
		all[0].Drop()
		w.until("switched", 5*time.Second, func() bool { return w.master().Address != addr(1) })
		all[0].Heal()
		w.until("converged", 30*time.Second, w.converged)
		w.pass(30 * time.Second)
		w.expectCorrections("+convert-to-slave 10.0.0.1")
		if got := w.count(isCorrect); got != 0 {
			t.Errorf("%d corrections beside the row", got)
		}
	})
}

// A command that fails corrects nothing; one that has to be repeated, because the instance never comes to follow, is told once.
func TestARetryIsNotToldAgain(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(20 * time.Second)
		w.hand(all[1], "NO", "ONE")
		all[1].Deny("replicaof")
		all[1].CutLink(true)
		w.pass(30 * time.Second)
		w.expectCorrections()
		all[1].Deny()
		for range 3 {
			w.until("demoted", 30*time.Second, func() bool { return !all[1].State().Master })
			w.hand(all[1], "NO", "ONE")
		}
		all[1].CutLink(false)
		w.until("put back", 30*time.Second, w.converged)
		told := 0
		for _, c := range w.commands() {
			if strings.HasPrefix(c, "sentineld-control") && strings.HasSuffix(c, " "+addr(1).Host+" 6379") {
				told++
			}
		}
		if told < 4 {
			t.Errorf("told to follow %d times: %q", told, w.commands())
		}
		w.expectCorrections("+convert-to-slave 10.0.0.2")
	})
}

func TestNothingIsToldBelowTheLevel(t *testing.T) {
	playAt(t, 1, func(t *testing.T, w *world) {
		all := w.redis(2)
		w.lead("a", nil)
		w.pass(20 * time.Second)
		w.hand(all[1], "NO", "ONE")
		w.until("demoted", 30*time.Second, w.converged)
		w.expectCorrections()
	})
}

// An old master whose process has survived tells, after its failover has ended, to the byte what was lost, and the past row is
// corrected; one that was restarted proves nothing.
func TestThePastRowsLossIsCorrected(t *testing.T) {
	for _, c := range []struct {
		name  string
		level uint32
		away  func(*fakeredis.Instance)
		back  func(*fakeredis.Instance)
		loss  raftlogv1.LossKind
		bytes int64
	}{
		{
			"survived", raftfsm.Level, (*fakeredis.Instance).Drop,
			func(r *fakeredis.Instance) { r.Write(77); r.Heal() }, raftfsm.LossExact, 77,
		},
		{
			"survived, before level 3", 2, (*fakeredis.Instance).Drop,
			func(r *fakeredis.Instance) { r.Write(77); r.Heal() }, raftfsm.LossLowerBound, 0,
		},
		{
			"restarted", raftfsm.Level, (*fakeredis.Instance).Crash,
			func(r *fakeredis.Instance) { r.Restart(true) }, raftfsm.LossLowerBound, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			playAt(t, c.level, func(t *testing.T, w *world) {
				all := w.redis(2)
				w.lead("a", nil)
				w.pass(6 * time.Second)
				c.away(all[0])
				w.until("ended", 30*time.Second, func() bool { return len(w.master().History) == 1 })
				if row := w.master().History[0]; !row.Switched || row.Loss.Kind == raftfsm.LossExact {
					t.Fatalf("%+v", row)
				}
				w.pass(30 * time.Second)
				c.back(all[0])
				w.until("converged", 10*time.Second, w.converged)
				w.pass(30 * time.Second)
				if got := w.master().History[0].Loss; got.Kind != c.loss || got.Bytes != c.bytes {
					t.Errorf("lost %v %d, want %v %d", got.Kind, got.Bytes, c.loss, c.bytes)
				}
			})
		})
	}
}

// The exact 0 of a switchover is taken back where the old master, which was never seen to follow the new one, comes back as a
// master: it may have taken writes.
func TestAnExactZeroIsTakenBack(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		all[0].FailRewrite("ERR Rewriting config file: Permission denied") // it will come back as what it was
		var once sync.Once
		w.lead("a", func(p Point) {
			if p == AfterSwitch {
				once.Do(all[0].Crash)
			}
		})
		w.pass(6 * time.Second)
		w.mustOrder("a", addr(3))
		w.until("ended", 30*time.Second, func() bool { return len(w.master().History) == 1 })
		if row := w.last(); !row.Switched || row.Loss != (raftfsm.Loss{Kind: raftfsm.LossExact}) {
			t.Fatalf("%+v", row)
		}
		w.pass(30 * time.Second)
		all[0].Restart(false)
		if !all[0].State().Master {
			t.Fatal("it did not come back as a master")
		}
		w.until("converged", 20*time.Second, w.converged)
		w.pass(time.Second)
		if got := w.last().Loss; got.Kind == raftfsm.LossExact {
			t.Errorf("%+v", got)
		}
	})
}
