package probe

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestCrashIsKnownAtDownAfter(t *testing.T) {
	inRoom(t, func(r *room) {
		time.Sleep(37 * time.Millisecond)
		r.at(master).Crash()
		if took := r.downAfter(master, 5*time.Second); took != time.Second {
			t.Errorf("the verdict fell %v after the crash, want exactly down-after", took)
		}
		o := r.observe(master)
		if o.Cause != raftfsm.CauseRefused || o.Connected {
			t.Errorf("cause %v, connected %v", o.Cause, o.Connected)
		}
		if e := r.law.reports(); len(e) != 1 || e[0].at.Sub(o.DownSince) != time.Second {
			t.Errorf("want one report at the moment of the verdict, got %v", e)
		}
		if v := r.law.votes(master); len(v) != 1 || v[0].Cause != raftfsm.CauseRefused {
			t.Errorf("votes: %v", v)
		}
		time.Sleep(10 * time.Second)
		r.at(master).Restart(false)
		time.Sleep(300 * time.Millisecond)
		if o := r.observe(master); o.Down || len(r.law.votes(master)) != 0 {
			t.Errorf("back, and still held down: %+v", o)
		}
		if n := len(r.law.reports()); n != 2 {
			t.Errorf("%d reports, want one down and one up", n)
		}
	})
}

func TestHangCountsFromTheFirstUnansweredProbe(t *testing.T) {
	for _, phase := range []time.Duration{0, 30 * time.Millisecond, 77 * time.Millisecond} {
		inRoom(t, func(r *room) {
			time.Sleep(phase)
			r.at(master).Hang()
			took := r.downAfter(master, 5*time.Second)
			o := r.observe(master)
			if since := time.Since(o.DownSince); since < time.Second || since > time.Second+lastLook {
				t.Errorf("the verdict fell %v after the first unanswered probe", since)
			}
			if took < time.Second || took > 1100*time.Millisecond+lastLook {
				t.Errorf("the verdict fell %v after the hang", took)
			}
			if o.Cause != raftfsm.CauseTimeout || o.LastPingSent.IsZero() {
				t.Errorf("%+v", o)
			}
			time.Sleep(20 * time.Second)
			r.at(master).Resume()
			if o := r.observe(master); o.Down {
				t.Errorf("awake, and held down until the next probe: %+v", o)
			}
		})
	}
}

func TestPauseShorterThanDownAfterNeverCounts(t *testing.T) {
	for _, pause := range []time.Duration{300, 501, 900, 999} {
		inRoom(t, func(r *room) {
			for range 20 {
				r.at(master).Hang()
				time.Sleep(pause * time.Millisecond)
				r.at(master).Resume()
				if r.observe(master).Down {
					t.Fatalf("down after a pause of %d ms", pause)
				}
				time.Sleep(533 * time.Millisecond)
			}
			if n := r.verdicts.n.Load(); n != 0 {
				t.Errorf("%d verdicts", n)
			}
		})
	}
}

func TestRestartWithinDownAfterNeverCounts(t *testing.T) {
	inRoom(t, func(r *room) {
		for range 20 {
			r.at(master).Crash()
			time.Sleep(950 * time.Millisecond)
			r.at(master).Restart(false)
			time.Sleep(433 * time.Millisecond)
			if o := r.observe(master); o.Down || !o.Connected {
				t.Fatalf("%+v", o)
			}
		}
		if n := r.verdicts.n.Load(); n != 0 {
			t.Errorf("%d verdicts", n)
		}
	})
}

func TestDroppedPackets(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Drop()
		if took := r.downAfter(master, 5*time.Second); took < time.Second || took > 1100*time.Millisecond+lastLook {
			t.Errorf("the verdict fell after %v", took)
		}
		if o := r.observe(master); o.Cause != raftfsm.CauseTimeout {
			t.Errorf("cause %v", o.Cause)
		}
		time.Sleep(time.Minute)
		r.at(master).Heal()
		time.Sleep(3 * time.Second)
		if o := r.observe(master); o.Down {
			t.Errorf("healed, and held down: %+v", o)
		}
	})
}

func TestNeverReachedIsDownAfterDownAfter(t *testing.T) {
	for _, swallow := range []bool{false, true} {
		inEmptyRoom(t, nil, func(r *room) {
			if swallow {
				r.net.Add(master).Drop()
			}
			r.law.monitor("m", master)
			r.start()
			if took := r.downAfter(master, 3*time.Second); took != time.Second {
				t.Errorf("swallow %v: the verdict fell after %v", swallow, took)
			}
		})
	}
}

func TestRejectedPasswordIsNoVerdict(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).SetAuth("", "secret")
		r.at(master).Restart(false)
		time.Sleep(10 * time.Second)
		o := r.observe(master)
		if o.Down || !o.AuthRejected || o.LastReplyClass != detector.ReplyAuth {
			t.Fatalf("%+v", o)
		}
		if v := r.law.votes(master); len(v) != 1 || v[0].Cause != raftfsm.CauseAuth {
			t.Fatalf("votes %v", v)
		}
		if m, _ := r.law.State().Master("m"); r.law.State().DownVotes(m, m.Address) != 0 {
			t.Error("a rejected password counts towards objective down")
		}
		if n := len(r.law.reports()); n != 1 {
			t.Errorf("%d reports", n)
		}
		r.law.setOption("m", "auth-pass", "secret")
		synctest.Wait()
		if o := r.observe(master); o.AuthRejected || len(r.law.votes(master)) != 0 {
			t.Errorf("the new password is not used at once: %+v", o)
		}
	})
}

func TestFormerPasswordIsTried(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(replica).SetAuth("", "old")
		r.law.setOption("m", "auth-pass", "old")
		r.law.setOption("m", "auth-pass", "new")
		time.Sleep(5 * time.Second)
		if o := r.observe(replica); o.Down || o.AuthRejected || !o.Connected {
			t.Errorf("%+v", o)
		}
		if n := len(r.law.reports()); n != 0 {
			t.Errorf("%d reports", n)
		}
	})
}

func TestOptionsLeaveTheClockAlone(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(master).Crash()
		time.Sleep(700 * time.Millisecond)
		r.law.setOption("m", "auth-pass", "x")
		if took := r.downAfter(master, 2*time.Second); took != 300*time.Millisecond {
			t.Errorf("the verdict fell %v after the change", took)
		}
		r.law.setOption("m", "auth-pass", "y")
		time.Sleep(time.Second)
		if !r.observe(master).Down || len(r.law.votes(master)) != 1 {
			t.Error("a change of the password raised the dead")
		}
	})
	inRoom(t, func(r *room) {
		time.Sleep(time.Millisecond) // off the probes' grid: at one moment with a probe, either could come first
		r.at(master).Hang()
		time.Sleep(699 * time.Millisecond)
		r.law.setOption("m", "down-after-milliseconds", "800")
		// The first probe that goes unanswered left 99 ms after the hang, the verdict is due 800 ms after that.
		if took := r.downAfter(master, 2*time.Second); took != 200*time.Millisecond {
			t.Errorf("the verdict fell %v after down-after was lowered", took)
		}
		r.law.setOption("m", "down-after-milliseconds", "5000")
		synctest.Wait()
		if r.observe(master).Down || len(r.law.votes(master)) != 0 {
			t.Error("held down by a limit that holds no more")
		}
		time.Sleep(5 * time.Second)
		if !r.observe(master).Down || len(r.law.votes(master)) != 1 {
			t.Error("not held down by the new limit")
		}
	})
}

func TestBusyIsNoAnswer(t *testing.T) {
	inRoom(t, func(r *room) {
		r.at(replica).SetBusy(true)
		took := r.downAfter(replica, 3*time.Second)
		if took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("the verdict fell after %v", took)
		}
		if o := r.observe(replica); o.Cause != raftfsm.CauseError || time.Since(o.DownSince) != time.Second {
			t.Errorf("%+v", o)
		}
		r.at(replica).SetBusy(false)
		time.Sleep(100 * time.Millisecond)
		if r.observe(replica).Down {
			t.Error("still down")
		}
	})
}

// TestRoleSince is when the role was first told, however often it is told again.
func TestRoleSince(t *testing.T) {
	inRoom(t, func(r *room) {
		began := r.observe(master).RoleSince
		time.Sleep(time.Minute)
		if o := r.observe(master); !o.RoleSince.Equal(began) || began.IsZero() || !o.InfoAt.After(began) {
			t.Errorf("since %v, before %v, INFO at %v", o.RoleSince, began, o.InfoAt)
		}
		r.at(master).Replicate(addrOf(replica))
		r.fleet.Refresh(addrOf(master))
		time.Sleep(time.Second)
		if o := r.observe(master); o.Info.Role != raftfsm.RoleReplica || time.Since(o.RoleSince) > time.Second {
			t.Errorf("role %v since %v", o.Info.Role, time.Since(o.RoleSince))
		}
	})
}

func TestRebootLimit(t *testing.T) {
	inRoom(t, func(r *room) {
		r.law.setOption("m", "master-reboot-down-after-period", "3000")
		time.Sleep(time.Second)
		r.at(master).Restart(false)
		r.at(master).SetLoading(true)
		took := r.downAfter(master, 10*time.Second)
		if took != 3*time.Second {
			t.Errorf("the verdict fell after %v", took)
		}
		if o := r.observe(master); o.Cause != raftfsm.CauseReboot {
			t.Errorf("cause %v", o.Cause)
		}
		r.at(master).SetLoading(false)
		time.Sleep(200 * time.Millisecond)
		if r.observe(master).Down {
			t.Error("still down")
		}
	})
}
