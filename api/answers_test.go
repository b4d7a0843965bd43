package api

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestAnswersAreShared: within a millisecond all get the same bytes for one question, and they are those of the message.
func TestAnswersAreShared(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	r.monitor(t, "n", "10.0.0.2")
	st := r.node.State()
	now := time.Now()
	var a answers
	ask := func(v view, name string, ageMs int64) frame {
		t.Helper()
		f, err := a.master(v, name, ageMs)
		if err != nil {
			t.Fatal(err)
		}
		want, err := answerMaster(v, name, ageMs)
		if err != nil {
			t.Fatal(err)
		}
		var got sentinelv1.GetMasterResponse
		if err := proto.Unmarshal(f[0].ReadOnlyData(), &got); err != nil || !proto.Equal(&got, want) {
			t.Errorf("%v, %v, want %v", &got, err, want)
		}
		return f
	}
	first := ask(view{st: st, now: now}, "m", 3)
	r.quorum(t, "m", 1)
	for _, c := range []struct {
		name   string
		v      view
		master string
		ageMs  int64
		shared bool
	}{
		{"the same", view{st: st, now: now.Add(time.Millisecond - 1)}, "m", 3, true},
		{"another age", view{st: st, now: now}, "m", 4, false},
		{"another master", view{st: st, now: now}, "n", 3, false},
		{"the first again", view{st: st, now: now}, "m", 3, true},
		{"later", view{st: st, now: now.Add(time.Millisecond)}, "m", 3, false},
		{"another state", view{st: r.node.State(), now: now}, "m", 3, false},
	} {
		if f := ask(c.v, c.master, c.ageMs); (&f[0] == &first[0]) != c.shared {
			t.Errorf("%s: shared %v", c.name, !c.shared)
		}
	}
	if _, err := a.master(view{st: st, now: now}, "none", 0); ReasonOf(err) != sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND {
		t.Errorf("no such master: %v", err)
	}
}

// heeding notes what it is asked to keep current.
type heeding struct {
	fakeFleet
	heeded []raftfsm.Addr
}

func (h *heeding) Heed(addrs ...raftfsm.Addr) { h.heeded = append(h.heeded, addrs...) }

// TestInstancesOfAnAnswerAreKeptCurrent: where thousands are watched, a follower reads INFO seldom, unless somebody asks.
func TestInstancesOfAnAnswerAreKeptCurrent(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	r.monitor(t, "n", "10.0.0.2")
	fleet := &heeding{}
	v := view{st: r.node.State(), fleet: fleet, now: time.Now()}
	if _, err := answerMaster(v, "m", 0); err != nil || len(fleet.heeded) != 1 || fleet.heeded[0].Host != "10.0.0.1" {
		t.Errorf("%v, %v", fleet.heeded, err)
	}
}
