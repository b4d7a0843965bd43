package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// TestFlappingMasterWaits: two failovers of a master that crashes again and again are free, the third and the fourth come once
// the cooldown is over, the fifth at once because a person orders it.
func TestFlappingMasterWaits(t *testing.T) {
	l := newLab(t)
	s := l.newSet("flapping", setOptions{})
	defer s.remove()
	const cooldown = 12 * time.Second
	s.eventually("the cooldown is set", soon, func(ctx context.Context) error { // as soon as the cluster is at its level
		ms := cooldown.Milliseconds()
		_, err := s.nodes[0].admin.UpdateMaster(ctx, &sentinelv1.UpdateMasterRequest{
			Name: s.name, Options: &sentinelv1.MasterOptions{FailoverCooldownMs: &ms},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"failover_cooldown_ms"}},
		})
		return err
	})
	master := s.servers[0]
	for n := range 5 {
		switch n {
		case 2, 3:
			master = s.crashes(master, func() { s.cools() })
		case 4:
			s.crashes(master, func() {
				s.cools()
				_, err := l.leader().admin.FailoverMaster(t.Context(), &sentinelv1.FailoverMasterRequest{Name: s.name})
				l.must(err)
			})
		default:
			master = s.crashes(master, func() {})
		}
	}
	for i, at := range s.begun() {
		if i == 0 {
			continue
		}
		if gap := at.Sub(s.begun()[i-1]); (gap >= cooldown) != (i == 2 || i == 3) {
			t.Errorf("failover %d began %v after the one before; the cooldown is %v", i+1, gap, cooldown)
		}
	}
}

// crashes kills the master, does something meanwhile, has it come back, and gives the next master.
func (s *set) crashes(master *server, meanwhile func()) *server {
	s.t.Helper()
	s.must(master.Kill())
	meanwhile()
	to := s.switched(master)
	s.must(master.Restart(s.t.Context()))
	s.settled(to)
	return to
}

// cools waits until the cooldown is all that stands in the way of a failover.
func (s *set) cools() {
	s.t.Helper()
	s.odown()
	s.eventually("the cooldown is told", soon, func(ctx context.Context) error {
		x, err := s.leader().admin.ExplainMaster(ctx, &sentinelv1.ExplainMasterRequest{Name: s.name})
		if err != nil {
			return err
		}
		if b := x.GetFailoverBlockers(); len(b) != 1 || b[0].GetCode() != "cooldown" {
			return fmt.Errorf("%v stand in the way", b)
		}
		return nil
	})
}

// begun are the moments at which the set's failovers began, in their order.
func (s *set) begun() []time.Time {
	s.t.Helper()
	var out []time.Time
	for _, f := range slices.Backward(s.failovers()) {
		out = append(out, f.GetBegunAt().AsTime())
	}
	return out
}

// TestNodesDoubtThemselves: where every instance of all masters falls silent at once, nothing is reported, and everybody is told
// why. As soon as one of them answers, those that do not are down.
func TestNodesDoubtThemselves(t *testing.T) {
	l := newLab(t)
	var sets []*set
	for n := range 10 { // so many masters it takes at least
		s := l.newSet(fmt.Sprintf("silent-%d", n), setOptions{replicas: 1})
		defer s.remove()
		sets = append(sets, s)
	}
	each(sets, func(s *set) {
		each(s.servers, func(v *server) { l.must(v.Freeze()) })
	})
	for _, s := range sets {
		s.eventually("the doubt is told", soon, func(ctx context.Context) error {
			x, err := s.leader().admin.ExplainMaster(ctx, &sentinelv1.ExplainMasterRequest{Name: s.name})
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(x.GetFailoverBlockers(), func(b *sentinelv1.Blocker) bool { return b.GetCode() == "brake" }) {
				return fmt.Errorf("%v stand in the way", x.GetFailoverBlockers())
			}
			return nil
		})
	}
	l.last(4 * downAfter)
	for _, s := range sets {
		if n := count(l.events(s.name), "+sdown"); n > 0 {
			t.Errorf("%s was reported down %d times", s.name, n)
		}
	}
	one := sets[3]
	l.must(one.servers[1].Thaw())
	if to := one.switched(one.servers[0]); to != one.servers[1] {
		t.Errorf("%s is the master", to.Name())
	}
	for _, s := range sets {
		if s != one {
			s.odown()
		}
	}
}
