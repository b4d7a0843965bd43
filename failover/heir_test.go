package failover_test

import (
	"testing"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// The master is down, and somebody else has promoted a replica of it: Sentinels that were in charge until now, or an
// operator by hand. Clients write there already; to promote another one would make a second master.
func TestOthersPromotedAlready(t *testing.T) {
	// follow is a replica that was repointed to the promoted one and took over its history.
	follow := func(s *scene) {
		s.see(addr(3), func(o *detector.Observation) {
			o.Info.MasterHost, o.Info.ReplID, o.Info.ReplID2, o.Info.SecondOffset, o.Info.Offset = "10.0.0.2", "b"+setID[1:], setID, 1001, 5000
		})
	}
	for _, c := range []struct {
		name string
		do   func(s *scene)
		want string
	}{
		{"the other replica follows it", follow, "adopt"},
		{"the other replica still looks for the dead master", func(*scene) {}, "adopt"},
		{"the other replica has less", func(s *scene) {
			s.see(addr(3), func(o *detector.Observation) { o.Info.Offset = 900 })
		}, "adopt"},
		{"the other replica is down", func(s *scene) { s.down(addr(3), "a", "b") }, "adopt"},
		{"the other replica has what the promoted one lacks", func(s *scene) {
			s.see(addr(3), func(o *detector.Observation) { o.Info.Offset = 1200 })
		}, "hold"},
		{"it was restarted as a master, and nobody has come to it", func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) { o.Info.Offset = 1000 })
		}, "begin"},
		{"nothing was written yet, and the other replica follows it", func(s *scene) {
			follow(s)
			for n := 2; n < 4; n++ {
				s.see(addr(n), func(o *detector.Observation) { o.Info.Offset = 1000 })
			}
		}, "adopt"},
		{"nothing was written yet, and the other replica is on its way to it", func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) { o.Info.Offset = 1000 })
			s.see(addr(3), func(o *detector.Observation) { o.Info.MasterHost, o.Info.MasterLinkUp = "10.0.0.2", false })
		}, "adopt"},
		{"others hold it down", func(s *scene) { s.down(addr(2), "b", "c") }, "begin"},
		{"others hold it down, and no replica can be promoted", func(s *scene) {
			s.down(addr(2), "b", "c")
			s.down(addr(3), "a", "b")
		}, "measure"},
		{"one other holds it down", func(s *scene) { s.down(addr(2), "b") }, "adopt"},
		{"the master lost its data, and the other replica has more of it", func(s *scene) {
			s.fact(addr(1), raftfsm.RoleMaster, "d"+setID[1:], "")
			s.see(addr(3), func(o *detector.Observation) { o.Info.Offset = 1200 })
		}, "hold"},
		{"the master lost its data, and the other replica has no more of it", func(s *scene) {
			s.fact(addr(1), raftfsm.RoleMaster, "d"+setID[1:], "")
			s.see(addr(3), func(o *detector.Observation) { o.Info.Offset = 1000 })
		}, "adopt"},
		{"it was not promoted from this set", func(s *scene) {
			s.see(addr(2), func(o *detector.Observation) { o.Info.ReplID2 = foreignID })
		}, "begin"},
		{"two were promoted", func(s *scene) {
			s.promoted(addr(3), 1001)
			s.see(addr(3), func(o *detector.Observation) { o.Info.ReplID = "c" + setID[1:] })
		}, "measure"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, 2)
			s.promoted(addr(2), 1001)
			s.see(addr(2), func(o *detector.Observation) { o.Info.Offset = 5000 })
			s.down(addr(1), "a", "b")
			c.do(s)
			got := ""
			switch step := s.next().(type) {
			case failover.Adopt:
				got = "adopt"
				if step.Address != addr(2) {
					t.Errorf("%+v", step)
				}
			case failover.Hold:
				got = "hold"
			case failover.Begin:
				got = "begin"
			case failover.Measure:
				got = "measure"
			}
			if got != c.want {
				t.Errorf("%q, want %q (%#v)", got, c.want, s.next())
			}
		})
	}
}

// A candidate that this cluster itself promoted and abandoned is no heir: nobody was ever sent to it.
func TestAbandonedCandidateIsNoHeir(t *testing.T) {
	s := newScene(t, 2)
	s.down(addr(1), "a", "b")
	row := s.begin()
	s.promoted(row.To, 1001)
	s.see(row.To, func(o *detector.Observation) { o.Info.Offset = 1000 })
	s.up(addr(1), "a", "b")
	s.end()
	if s.master().Failover != nil {
		t.Fatal("the row is open")
	}
	s.down(addr(1), "a", "b")
	if step, adopts := s.next().(failover.Adopt); adopts {
		t.Errorf("%+v", step)
	}
}
