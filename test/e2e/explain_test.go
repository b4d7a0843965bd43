package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// setsOfLab is how many sets one lab has ports for, and setsAtOnce how many of them live at a time: fewer than it takes
	// for the nodes to doubt themselves because all are down together.
	setsOfLab  = 40
	setsAtOnce = 6
)

// troubles are what can be wrong with a replica when its set is explained.
var troubles = []struct {
	name string
	// cause is done to the replica while the set is written to.
	cause func(ctx context.Context, v *server) error
	// silent: it answers nobody.
	silent bool
}{
	{name: "behind", cause: func(ctx context.Context, v *server) error {
		// It cannot come back to its master, and lacks what is written from now on.
		return errors.Join(v.client.ConfigSet(ctx, "masterauth", "wrong").Err(), v.client.Do(ctx, "CLIENT", "KILL", "TYPE", "master").Err())
	}},
	{name: "dead", silent: true, cause: func(_ context.Context, v *server) error { return v.Kill() }},
	{name: "frozen", silent: true, cause: func(_ context.Context, v *server) error { return v.Freeze() }},
	{name: "restarted", cause: func(ctx context.Context, v *server) error { return v.Restart(ctx) }},
	{name: "frozen for a moment", cause: func(ctx context.Context, v *server) error {
		err := v.Freeze()
		pause(ctx, downAfter/4)
		return errors.Join(err, v.Thaw())
	}},
}

// TestExplainNamesTheWinner: in random sets the replica that explain names is the one that is promoted when the master
// dies, and none is where it names none. E2E_SETS sets how many there are.
func TestExplainNamesTheWinner(t *testing.T) {
	t.Parallel()
	sets := 24
	if n, err := strconv.Atoi(os.Getenv("E2E_SETS")); err == nil {
		sets = n
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for first := 0; first < sets; first += setsOfLab {
		t.Run(fmt.Sprintf("from %d", first), func(t *testing.T) {
			l := newLab(t)
			turn := make(chan struct{}, setsAtOnce)
			for n := first; n < min(sets, first+setsOfLab); n++ {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					t.Parallel()
					turn <- struct{}{}
					defer func() { <-turn }()
					l.in(t).explained(fmt.Sprintf("explained-%d", n), rand.New(rand.NewPCG(seed, uint64(n))))
				})
			}
		})
	}
}

// explained makes a random set, asks who would win, and kills its master.
func (l *lab) explained(name string, r *rand.Rand) {
	// No pings: the offsets of a set at rest are to stay what they are.
	s := l.newSet(name, setOptions{replicas: 2 + r.IntN(2), password: "hush", config: unpinged()})
	defer s.remove()
	silent, story := s.trouble(r)
	// Links that broke within two seconds broke together: what is told apart is to be so before and after.
	l.last(4 * downAfter)
	leader := l.leader()
	var x *sentinelv1.ExplainMasterResponse
	l.eventually(name+" is explained as it is", soon, func(ctx context.Context) error {
		var err error
		if x, err = leader.admin.ExplainMaster(ctx, &sentinelv1.ExplainMasterRequest{Name: name}); err != nil {
			return err
		}
		return s.measured(ctx, x, silent)
	})
	story = fmt.Sprintf("%s; winner %v of %v", story, x.GetWinner(), x.GetCandidates())
	l.t.Log(story)
	master := s.servers[0]
	l.must(master.Kill())
	if !x.GetCanFailover() {
		l.last(3 * downAfter)
		s.unswitched(story)
		return
	}
	to := s.switched(master)
	if role, err := to.role(l.t.Context()); err != nil || role != "master" {
		l.t.Errorf("%s is named and says %q, %v", to.Name(), role, err)
	}
	if to.at != text(x.GetWinner()) {
		l.t.Errorf("%s was promoted; %s: %v", to.at, story, s.failovers())
	}
}

// trouble gives every replica a priority and some of them a trouble, writes meanwhile, and tells who is silent, and all of it.
func (s *set) trouble(r *rand.Rand) (silent map[string]bool, story string) {
	s.t.Helper()
	ctx := s.t.Context()
	silent = map[string]bool{}
	for _, v := range s.servers[1:] {
		priority := []int{0, 1, 50, 100, 100, 100}[r.IntN(6)]
		s.must(v.client.ConfigSet(ctx, "replica-priority", strconv.Itoa(priority)).Err())
		story += fmt.Sprintf("%s priority %d", v.at, priority)
		if i := r.IntN(2 * len(troubles)); i < len(troubles) {
			s.must(troubles[i].cause(ctx, v))
			silent[v.at] = troubles[i].silent
			story += " " + troubles[i].name
		}
		story += ", "
		for n := range 20 {
			s.must(s.servers[0].client.Set(ctx, fmt.Sprintf("%s-%d", v.at, n), "value", 0).Err())
		}
	}
	return silent, story
}

// measured tells why an explanation is not yet by what every replica says now.
func (s *set) measured(ctx context.Context, x *sentinelv1.ExplainMasterResponse, silent map[string]bool) error {
	if !x.GetFromLeader() || len(x.GetCandidates()) != len(s.servers)-1 {
		return fmt.Errorf("from the leader: %v, %d candidates", x.GetFromLeader(), len(x.GetCandidates()))
	}
	for _, v := range s.servers[1:] {
		for _, c := range x.GetCandidates() {
			if text(c.GetAddress()) != v.at {
				continue
			}
			if silent[v.at] {
				if !strings.Contains(c.GetRejection(), "down") {
					return fmt.Errorf("%s does not answer, and is told as %v", v.at, c)
				}
				continue
			}
			info, err := v.client.InfoMap(ctx, "replication").Result()
			if err != nil {
				return err
			}
			if at := info["Replication"]["slave_repl_offset"]; at != strconv.FormatInt(c.GetOffsetBytes(), 10) {
				return fmt.Errorf("%s is at offset %s, and told as %v", v.at, at, c)
			}
		}
	}
	return nil
}

// unswitched fails the test if anybody took over.
func (s *set) unswitched(story string) {
	s.t.Helper()
	for _, n := range s.running() {
		m, err := s.local(s.t.Context(), n)
		if err != nil || text(m.GetAddress()) != s.servers[0].at {
			s.t.Errorf("%s names %s, %v; %s", n.Name(), text(m.GetAddress()), err, story)
		}
	}
}

// remove ends the set for good.
func (s *set) remove() {
	s.t.Helper()
	s.eventually(s.name+" is removed", soon, func(ctx context.Context) error {
		_, err := s.nodes[0].admin.RemoveMaster(ctx, &sentinelv1.RemoveMasterRequest{Name: s.name, AllowMissing: true})
		return err
	})
	var all []*stage.Process
	for _, v := range s.servers {
		all = append(all, v.Process)
	}
	s.must(stage.KillAll(all...))
}
