package raftfsm_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// tale lets a failover come to nothing that has measured many replicas of long names, and has little to say of them. It does not
// hold the law to what log.apply does: the state is large.
func (l *log) tale() {
	l.t.Helper()
	apply := func(c *raftlogv1.Command) (res raftfsm.Result) {
		c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c), Proposer: "a"}
		l.index++
		if l.state, res = raftfsm.Apply(l.state, l.index, c); res.Code != raftfsm.OK {
			l.t.Fatal(res)
		}
		return res
	}
	e := apply(l.begin("m", 2, func(b *raftlogv1.BeginFailover) {
		b.Kind = raftfsm.KindForced
		for i := range 100 {
			host := strings.Repeat("x", 200) + fmt.Sprint(i)
			b.Candidates = append(b.Candidates, &raftlogv1.Candidate{
				Address: &raftlogv1.Address{Host: host, Port: 1}, Rejection: "another-history", RunId: strings.Repeat("r", 40),
			})
		}
	})).Epoch
	apply(end("m", e, raftfsm.OutcomeAborted))
}

// The stories of failovers are bounded by about what they take, names included, and the last of a master stays beyond it. A
// level that is raised weighs those that are there anew; a restored state goes on alike.
func TestStoriesAreBoundedByWhatTheyTake(t *testing.T) {
	const tales = 350 // of about 28 kB each
	for _, raised := range []int{0, tales - 1} {
		l := newLog(t)
		l.ok(monitor("other", 50))
		l.ok(l.facts("other", 51))
		e := l.ok(l.begin("other", 51, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch
		l.ok(end("other", e, raftfsm.OutcomeAborted))
		l.ok(monitor("m", 1))
		l.ok(l.facts("m", 2))
		for i := range tales {
			if i == raised {
				if n := len(l.master("m").History); n != raised {
					t.Fatalf("%d of %d stories are kept at level 1: it counts as it did", n, raised)
				}
				l.ok(raise(3))
			}
			l.tale()
		}
		size := len(image(t, l.state))
		if size > raftfsm.ArchiveBytes || size < raftfsm.ArchiveBytes*3/5 {
			t.Errorf("raised after %d stories: %d are kept and take %d bytes, of at most %d", raised, len(l.master("m").History), size, raftfsm.ArchiveBytes)
		}
		if n := len(l.master("other").History); n != 1 {
			t.Errorf("%d stories of the other master", n)
		}
		back, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
		if err != nil {
			t.Fatal(err)
		}
		twin := &log{t: t, state: back, index: l.index}
		l.tale()
		twin.tale()
		if !bytes.Equal(image(t, l.state), image(t, twin.state)) {
			t.Errorf("restored, it keeps %d stories, not %d", len(twin.master("m").History), len(l.master("m").History))
		}
	}
}
