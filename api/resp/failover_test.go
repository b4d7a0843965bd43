package resp

import (
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// downRig is a set of a master and two replicas whose master is down by quorum.
func downRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, nil)
	for id, host := range map[string]string{"a": "10.1.0.1", "b": "10.1.0.2", "c": "10.1.0.3"} {
		r.node.register(t, id, host)
	}
	r.client(t).converse(step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
	r.node.replica(t, "10.0.0.2")
	r.node.replica(t, "10.0.0.3")
	r.node.votesDown(t, "a")
	r.node.votesDown(t, "b")
	return r
}

// TestFailoverWords: what is refused, in which order, and with which words.
func TestFailoverWords(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	const nobody = "-NOGOODSLAVE No suitable replica to promote: master m has no replica"
	c.converse(
		step{"SENTINEL FAILOVER", "-ERR wrong number of arguments for 'sentinel|failover' command"},
		step{"SENTINEL FAILOVER m x y", "-ERR wrong number of arguments for 'sentinel|failover' command"},
		step{"SENTINEL FAILOVER m x", "-ERR Unknown failover option specified"},
		step{"SENTINEL FAILOVER m", "-ERR No such master with that name"},
		step{"SENTINEL FAILOVER m COORDINATED", "-ERR No such master with that name"},
		step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"},
		step{"SENTINEL FAILOVER m coordinated", nobody},
		step{"SENTINEL FAILOVER m", nobody},
	)
	if r.node.State().Epoch() != 0 {
		t.Error("something was begun")
	}
}

// TestFailoverOfAMasterThatIsUp is a switchover, which loses nothing; until it is over nothing else is begun.
func TestFailoverOfAMasterThatIsUp(t *testing.T) {
	for _, command := range []string{"SENTINEL FAILOVER m", "SENTINEL FAILOVER m COORDINATED"} {
		t.Run(command, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.client(t)
			c.converse(step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
			r.node.replica(t, "10.0.0.2")
			r.node.replica(t, "10.0.0.3")
			c.converse(step{command, "+OK"}, step{command, "-INPROG Failover already in progress"})
			m, _ := r.node.State().Master("m")
			if f := m.Failover; f.Kind != raftfsm.KindPlanned || f.MaxWaitMs != 5000 || f.Switched {
				t.Fatalf("row %+v", f)
			}
			c.converse(step{"SENTINEL MASTER m", "[…flags master,disconnected,failover_in_progress,coordinated_failover …]"})
			r.node.switches(t)
			c.converse(
				step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "[10.0.0.2 6379]"},
				step{command, "-INPROG Failover already in progress"},
			)
			r.node.ends(t, raftfsm.OutcomeCompleted, "done")
			c.converse(step{command, "+OK"})
			if r.node.State().Epoch() != 2 {
				t.Errorf("epoch %d", r.node.State().Epoch())
			}
		})
	}
}

// TestSwitchoverThatIsRefused: what would lose writes, or cannot be said to lose none, is not done.
func TestSwitchoverThatIsRefused(t *testing.T) {
	r := downRig(t)
	r.client(t).converse(
		step{"SENTINEL FAILOVER m COORDINATED", "-NOGOODSLAVE master m at 10.0.0.1:6379 is objectively down: …; nothing changed"},
	)
	fleet := fakeFleet{"10.0.0.1:6379": {Down: true, Cause: raftfsm.CauseAuth, AuthRejected: true}}
	other := newRig(t, fleet)
	c := other.client(t)
	c.converse(step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
	other.node.replica(t, "10.0.0.2")
	c.converse(step{"SENTINEL FAILOVER m", "-NOGOODSLAVE master m at 10.0.0.1:6379 rejects our password…; nothing changed"})
	if r.node.begun+other.node.begun != 0 {
		t.Error("something was begun")
	}
}

func TestFailoverOfADownMaster(t *testing.T) {
	r := downRig(t)
	c := r.client(t)
	c.converse(
		step{"SENTINEL FAILOVER m", "+OK"},
		step{"SENTINEL FAILOVER m", "-INPROG Failover already in progress"},
		step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "[10.0.0.1 6379]"}, // the row is open, the switch not committed
	)
	r.node.switches(t)
	c.converse(
		step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "[10.0.0.2 6379]"},
		step{"SENTINEL FAILOVER m", "-INPROG Failover already in progress"},
	)
	if r.node.begun != 1 {
		t.Errorf("%d failovers begun", r.node.begun)
	}
}

// TestSwitchoverOnceForMany: playbooks ask every node, the last of which may know only of what was there before.
func TestSwitchoverOnceForMany(t *testing.T) {
	r := newRig(t, nil)
	first, second := r.client(t), r.client(t)
	first.converse(step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
	r.node.replica(t, "10.0.0.2")
	r.node.beginning = func() {
		r.node.beginning = nil
		first.converse(step{"SENTINEL FAILOVER m", "+OK"})
		r.node.switches(t)
		r.node.ends(t, raftfsm.OutcomeCompleted, "done")
	}
	second.converse(step{"SENTINEL FAILOVER m", "+OK"})
	if m, _ := r.node.State().Master("m"); m.Address.Host != "10.0.0.2" || r.node.State().Epoch() != 1 {
		t.Errorf("master %v, epoch %d", m.Address, r.node.State().Epoch())
	}
}

// TestALeaderThatIsCutOffForcesNothing: what it alone holds down may be well, and its clients go on writing. Once the others agree
// it is forced.
func TestALeaderThatIsCutOffForcesNothing(t *testing.T) {
	fleet := fakeFleet{"10.0.0.1:6379": {Down: true, Cause: raftfsm.CauseTimeout}}
	r := newRig(t, fleet)
	c := r.client(t)
	c.converse(
		step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"},
	)
	r.node.register(t, "a", "10.1.0.1")
	r.node.register(t, "b", "10.1.0.2")
	r.node.replica(t, "10.0.0.2")
	r.node.votesDown(t, "a")
	const alone = "-NOGOODSLAVE master m at 10.0.0.1:6379 does not answer (timeout): without it nothing can be switched over without loss; nothing changed"
	c.converse(step{"SENTINEL FAILOVER m", alone})
	if r.node.begun != 0 {
		t.Error("something was begun")
	}
	r.node.votesDown(t, "b")
	c.converse(step{"SENTINEL FAILOVER m", "+OK"})
	if m, _ := r.node.State().Master("m"); m.Failover == nil || m.Failover.Kind != raftfsm.KindForced {
		t.Errorf("%+v", m.Failover)
	}
}

// TestFailoverOnceForMany: playbooks ask every node. Two that ask with the same state in mind, of which the second is carried
// out when the first has switched the master already, begin one failover.
func TestFailoverOnceForMany(t *testing.T) {
	r := downRig(t)
	first, second := r.client(t), r.client(t)
	r.node.beginning = func() {
		r.node.beginning = nil
		first.converse(step{"SENTINEL FAILOVER m", "+OK"})
		r.node.switches(t)
	}
	second.converse(step{"SENTINEL FAILOVER m", "+OK"})
	m, _ := r.node.State().Master("m")
	if m.Address.Host != "10.0.0.2" || m.Epoch != 1 || r.node.State().Epoch() != 1 || m.Failover.EndedIndex != 0 {
		t.Errorf("master %v, epoch %d of %d", m.Address, m.Epoch, r.node.State().Epoch())
	}
}

// TestFailoverAfterOneThatFailed: it is a new one; and who asks a node that has not seen the end is told of it.
func TestFailoverAfterOneThatFailed(t *testing.T) {
	r := downRig(t)
	c, other := r.client(t), r.client(t)
	r.node.beginning = func() {
		r.node.beginning = nil
		c.converse(step{"SENTINEL FAILOVER m", "+OK"})
		r.node.ends(t, raftfsm.OutcomeAborted, "the candidate is gone")
	}
	other.converse(
		step{"SENTINEL FAILOVER m", "-NOGOODSLAVE the failover was given up: the candidate is gone"},
		step{"SENTINEL FAILOVER m", "+OK"},
	)
	if r.node.State().Epoch() != 2 {
		t.Errorf("epoch %d", r.node.State().Epoch())
	}
}

func TestFailoverWithoutAMajority(t *testing.T) {
	r := downRig(t)
	r.node.proposeErr = errUnknown
	r.client(t).converse(step{"SENTINEL FAILOVER m", "-UNKNOWN outcome, ask again…"})
}

// TestReset counts the masters whose names match; their nodes and replicas stay.
func TestReset(t *testing.T) {
	r := downRig(t)
	c := r.client(t)
	c.converse(
		step{"SENTINEL MONITOR n 10.0.9.1 6379 2", "+OK"},
		step{"SENTINEL RESET", "-ERR wrong number of arguments for 'sentinel|reset' command"},
		step{"SENTINEL RESET x*", ":0"},
		step{"SENTINEL RESET M", ":0"},
		step{"SENTINEL RESET ?", ":2"},
		step{"SENTINEL RESET *", ":2"},
		step{"SENTINEL REPLICAS m", "[[name 10.0.0.2:6379 …] [name 10.0.0.3:6379 …]]"},
		step{"SENTINEL SENTINELS m", "[[name … ip 10.1.0.2 …] [name … ip 10.1.0.3 …]]"},
		step{"SENTINEL MASTER m", "[name m ip 10.0.0.1 …num-slaves 2 num-other-sentinels 2 …]"},
	)
	if got := c.do("SENTINEL", "RESET", ""); got != ":0" {
		t.Errorf("the empty pattern: %s", got)
	}
}

// TestIsMasterDown: this node's own verdict, by address, and never a vote.
func TestIsMasterDown(t *testing.T) {
	fleet := fakeFleet{
		"10.0.0.1:6379": {Down: true, Cause: raftfsm.CauseTimeout},
		"10.0.0.2:6379": {Down: true, Cause: raftfsm.CauseTimeout},
		"10.0.9.1:6379": {Down: true, Cause: raftfsm.CauseAuth},
	}
	r := newRig(t, fleet)
	c := r.client(t)
	c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
	c.do("SENTINEL", "MONITOR", "n", "10.0.9.1", "6379", "2")
	r.node.replica(t, "10.0.0.2")
	c.converse(
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 6379 0 *", "[:1 * :0]"},
		step{"SENTINEL IS-PRIMARY-DOWN-BY-ADDR 10.0.0.1 6379 7 74c89451e19405c589888b009cf6131843757502", "[:1 * :0]"},
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.2 6379 0 *", "[:0 * :0]"}, // a replica
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.9.1 6379 0 *", "[:0 * :0]"}, // it lives, and rejects us
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.7 6379 0 *", "[:0 * :0]"},
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 70000 0 *", "[:0 * :0]"},
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 -1 -1 *", "[:0 * :0]"},
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 x 0 *", "-ERR value is not an integer or out of range"},
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 6379 x *", "-ERR value is not an integer or out of range"},
		step{"SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.1 6379 0", "-ERR wrong number of arguments for 'sentinel|is-master-down-by-addr' command"},
	)
}

// TestFlagsOfAFailover: candidate, old master and the other replicas, before and after the switch.
func TestFlagsOfAFailover(t *testing.T) {
	fleet := fakeFleet{}
	r := newRig(t, fleet)
	for _, h := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		fleet[h+":6379"] = api.Observation{Connected: true}
	}
	c := r.client(t)
	c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
	r.node.replica(t, "10.0.0.2")
	r.node.replica(t, "10.0.0.3")
	down := fleet["10.0.0.1:6379"]
	down.Down, down.Cause = true, raftfsm.CauseTimeout
	fleet["10.0.0.1:6379"] = down
	for _, id := range []string{"a", "b"} {
		r.node.register(t, id, "10.1.0.1")
		r.node.votesDown(t, id)
	}
	flags := func(what, want string) {
		t.Helper()
		var got []string
		for _, command := range []string{"MASTER", "REPLICAS"} {
			for part := range strings.SplitSeq(c.do("SENTINEL", command, "m"), " flags ") {
				if word, _, _ := strings.Cut(part, " "); strings.Contains(word, "master") || strings.Contains(word, "slave") {
					got = append(got, word)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	flags("before", "s_down,o_down,master slave slave")
	c.converse(step{"SENTINEL FAILOVER m", "+OK"})
	flags("begun", "s_down,o_down,master,failover_in_progress,force_failover slave,promoted slave")
	r.node.switches(t)
	flags("switched", "master s_down,slave slave")
	r.node.recordStep(t, raftfsm.StepRepoint, "10.0.0.3")
	flags("repointed", "master s_down,slave slave,reconf_done")
	r.node.ends(t, raftfsm.OutcomeCompleted, "done")
	flags("ended", "master s_down,slave slave")
}
