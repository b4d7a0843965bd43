package failover_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Replication ids of the tests: the set's, and one of nobody here.
const (
	setID     = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	foreignID = "ffffffffffffffffffffffffffffffffffffffff"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func addr(n int) raftfsm.Addr { return raftfsm.Addr{Host: fmt.Sprintf("10.0.0.%d", n), Port: 6379} }

// scene is one set under test: the real law, and observations as the test wants them.
type scene struct {
	t   testing.TB
	st  *raftfsm.State
	now time.Time
	obs map[raftfsm.Addr]detector.Observation
	v   failover.View
}

// newScene has the master 10.0.0.1 with replicas 10.0.0.2 and on, all well, down-after 1 s and quorum 2 of 3.
func newScene(t testing.TB, replicas int, kv ...string) *scene {
	s := &scene{t: t, st: raftfsm.New(), now: start, obs: map[raftfsm.Addr]detector.Observation{}}
	var servers []raftfsm.Server
	for _, id := range []string{"a", "b", "c"} {
		servers = append(servers, raftfsm.Server{ID: id, Voter: true})
	}
	s.st = raftfsm.ApplyServers(s.st, 1, servers)
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: &raftlogv1.FoundCluster{ClusterId: "c", ClusterName: "t"}}})
	for _, id := range []string{"a", "b", "c"} {
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: id, NodeId: id, MaxLevel: raftfsm.Level}}})
	}
	options := []*raftlogv1.OptionValue{{Name: "quorum", Value: "2"}, {Name: "down-after-milliseconds", Value: "1000"}}
	for i := 0; i < len(kv); i += 2 {
		options = append(options, &raftlogv1.OptionValue{Name: kv[i], Value: kv[i+1]})
	}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{Name: "m", Address: addr(1).Proto(), Options: options}}})
	s.fact(addr(1), raftfsm.RoleMaster, setID, "")
	s.see(addr(1), func(o *detector.Observation) { o.Info = masterInfo() })
	for n := 2; n < replicas+2; n++ {
		s.fact(addr(n), raftfsm.RoleReplica, setID, setID)
		s.see(addr(n), func(o *detector.Observation) { o.Info = replicaInfo() })
	}
	s.v = failover.View{Self: "a", Renewed: map[string]bool{"a": true, "b": true, "c": true}, Heard: []string{"a", "b", "c"}}
	return s
}

func masterInfo() *detector.Info {
	return &detector.Info{RunID: "run-1", Role: raftfsm.RoleMaster, ReplID: setID, SecondOffset: -1, Offset: 1000}
}

func replicaInfo() *detector.Info {
	return &detector.Info{
		Role: raftfsm.RoleReplica, ReplID: setID, SecondOffset: -1, Offset: 1000, Priority: 100, MasterHost: "10.0.0.1", MasterPort: 6379,
		MasterLinkUp: true, ReplicaAnnounced: true,
	}
}

func (s *scene) apply(c *raftlogv1.Command) raftfsm.Result {
	s.t.Helper()
	if c.Header == nil {
		c.Header = &raftlogv1.Header{Level: 1, Proposer: "a", ProposedAtMs: s.now.UnixMilli()}
	}
	next, res := raftfsm.Apply(s.st, s.st.Index()+1, c)
	if res.Code != raftfsm.OK {
		s.t.Fatalf("%v: %s", c, res.Detail)
	}
	s.st = next
	return res
}

// raise brings the cluster to a feature level.
func (s *scene) raise(level uint32) {
	s.t.Helper()
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: level}}})
}

func (s *scene) master() *raftfsm.Master {
	m, _ := s.st.Master("m")
	return m
}

func (s *scene) fact(a raftfsm.Addr, role raftfsm.Role, id, synced string) {
	s.factOf(&raftlogv1.InstanceFacts{Address: a.Proto(), RunId: "run-" + a.Host[7:], Role: role, ReplId: id, SecondOffset: -1, SyncedReplId: synced})
}

func (s *scene) factOf(f *raftlogv1.InstanceFacts) {
	s.t.Helper()
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
		Master: "m", Generation: s.master().Generation, Instances: []*raftlogv1.InstanceFacts{f},
	}}})
}

// see changes what is observed of an instance, which was read just now.
func (s *scene) see(a raftfsm.Addr, change func(o *detector.Observation)) {
	o := s.obs[a]
	if o.Info != nil {
		i := *o.Info
		o.Info = &i
	}
	o.Addr, o.Connected, o.LastReply, o.InfoAt = a, true, s.now, s.now
	change(&o)
	if o.Info != nil && o.Info.RunID == "" {
		o.Info.RunID = "run-" + a.Host[7:]
	}
	s.obs[a] = o
}

// down makes nodes hold an instance down, and this node see it so.
func (s *scene) down(a raftfsm.Addr, nodes ...string) {
	s.t.Helper()
	for _, id := range nodes {
		n, _ := s.st.Node(id)
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: &raftlogv1.Report{Node: id, Base: n.ReportBase, Down: []*raftlogv1.Verdict{{
			Master: "m", Instance: a.Proto(), Generation: s.master().Generation, Cause: raftfsm.CauseTimeout,
		}}}}})
		if id == "a" {
			s.see(a, func(o *detector.Observation) {
				o.Down, o.Cause, o.InfoAt = true, raftfsm.CauseTimeout, s.now.Add(-time.Second)
			})
		}
	}
}

func (s *scene) up(a raftfsm.Addr, nodes ...string) {
	s.t.Helper()
	for _, id := range nodes {
		n, _ := s.st.Node(id)
		s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: &raftlogv1.Report{Node: id, Base: n.ReportBase, Up: []*raftlogv1.Verdict{{
			Master: "m", Instance: a.Proto(), Generation: s.master().Generation,
		}}}}})
		if id == "a" {
			s.see(a, func(o *detector.Observation) { o.Down = false })
		}
	}
}

func (s *scene) view() failover.View {
	v := s.v
	v.State, v.Master, v.Now = s.st, s.master(), s.now
	v.Observe = func(a raftfsm.Addr) (detector.Observation, bool) {
		o, ok := s.obs[a]
		return o, ok
	}
	v.Memory = v.Remember()
	s.v.Memory = v.Memory
	return v
}

func (s *scene) next() failover.Step { return failover.Next(s.view()) }

// pass lets time go by, with everything that answers read again.
func (s *scene) pass(d time.Duration) {
	s.now = s.now.Add(d)
	for a, o := range s.obs {
		if !o.Down {
			o.InfoAt, o.LastReply = s.now, s.now
			s.obs[a] = o
		}
	}
}

// begin commits the row that Next wants.
func (s *scene) begin() *raftfsm.Failover {
	s.t.Helper()
	b, ok := s.next().(failover.Begin)
	if !ok {
		s.t.Fatalf("no row is wanted: %#v", s.next())
	}
	return s.commit(b)
}

// commit commits a row.
func (s *scene) commit(b failover.Begin) *raftfsm.Failover {
	s.t.Helper()
	c := &raftlogv1.BeginFailover{
		Master: "m", Generation: b.Generation, OperationId: fmt.Sprint(s.st.Index()), Kind: b.Kind, From: b.From.Proto(),
		Candidate: b.To.Proto(), Replaces: b.Replaces, Reason: b.Reason, OldOffset: b.OldOffset, OldReplId: b.OldReplID,
	}
	for _, x := range b.Candidates {
		c.Candidates = append(c.Candidates, x.Proto())
	}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: c}})
	return s.master().Failover
}

// end commits the end of the row that Next wants.
func (s *scene) end() failover.End {
	s.t.Helper()
	e, ok := s.next().(failover.End)
	if !ok {
		s.t.Fatalf("no end is wanted: %#v", s.next())
	}
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
		Master: "m", Epoch: e.Epoch, Outcome: e.Outcome, Reason: e.Reason,
	}}})
	return e
}

// newLeader forgets what a leadership remembers; votes up to now are older than the next one.
func (s *scene) newLeader() {
	s.v.Memory, s.v.Since = failover.Memory{}, s.st.Index()
}

// promoted makes an instance a master that left the set's history at an offset.
func (s *scene) promoted(a raftfsm.Addr, second int64) {
	s.see(a, func(o *detector.Observation) {
		o.Info = &detector.Info{RunID: "run-" + a.Host[7:], Role: raftfsm.RoleMaster, ReplID: "b" + setID[1:], ReplID2: setID, SecondOffset: second, Offset: second}
	})
}

// switched commits the row's candidate, and has the new master's configuration saved.
func (s *scene) switched() {
	s.t.Helper()
	row := s.master().Failover
	i := s.obs[row.To].Info
	s.apply(&raftlogv1.Command{Op: &raftlogv1.Command_SwitchMaster{SwitchMaster: &raftlogv1.SwitchMaster{
		Master: "m", Epoch: row.Epoch, From: row.From.Proto(), To: row.To.Proto(), Offset: i.Offset, Promoted: &raftlogv1.InstanceFacts{
			Address: row.To.Proto(), RunId: i.RunID, Role: i.Role, ReplId: i.ReplID, ReplId2: i.ReplID2, SecondOffset: i.SecondOffset, SyncedReplId: setID,
		},
	}}})
	s.v.Memory.Saved = row.Epoch
}
