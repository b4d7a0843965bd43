package api

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/raftsentinel/raftsentinel/detector"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// view turns one state into messages. Secrets stay behind: what is not named here does not come out.
type view struct {
	st *raftfsm.State
	// fleet adds what this node sees; nil for the replicated state alone.
	fleet Fleet
	now   time.Time
}

func address(a raftfsm.Addr) *sentinelv1.Address {
	if a.IsZero() {
		return nil
	}
	return &sentinelv1.Address{Host: a.Host, Port: uint32(a.Port)}
}

// parseAddress reads a required address; what names it in the error.
func parseAddress(what string, a *sentinelv1.Address) (raftfsm.Addr, error) {
	if a == nil {
		return raftfsm.Addr{}, invalid("%s: an address is required", what)
	}
	if a.GetPort() > 65535 {
		return raftfsm.Addr{}, invalid("%s: port %d: must be 1 to 65535", what, a.GetPort())
	}
	if n := len(a.GetHost()); n > 253 {
		return raftfsm.Addr{}, invalid("%s: host %s: has %d characters; at most 253 are allowed", what, echo(a.GetHost()), n)
	}
	addr, err := raftfsm.NewAddr(a.GetHost(), int(a.GetPort()))
	if err != nil {
		return raftfsm.Addr{}, invalid("%s: %v", what, err)
	}
	return addr, nil
}

func stamp(ms int64) *timestamppb.Timestamp {
	if ms == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMilli(ms))
}

// ageMs is an age in milliseconds; -1 for never.
func ageMs(now, at time.Time) int64 {
	if at.IsZero() {
		return -1
	}
	return max(0, now.Sub(at).Milliseconds())
}

func (v view) master(m *raftfsm.Master) *sentinelv1.Master {
	down := v.st.DownVotes(m, m.Address)
	out := &sentinelv1.Master{
		Name: m.Name, Address: address(m.Address), Announced: address(v.st.Told(m.Address)), Epoch: m.Epoch,
		Revision: m.Revision, Generation: m.Generation,
		Status: v.status(m), Options: options(m.Options),
		DownVotes: uint32(down), Voters: uint32(v.st.Voters()), OdownAt: stamp(m.ODownAtMs),
		Pause: pause(m.Pause), Hold: pause(m.Hold),
		ReplicaCount: uint32(max(0, len(m.Instances)-1)), HistoryCount: uint32(len(m.History)),
	}
	if m.Failover != nil {
		out.Failover = v.failover(m.Name, m.Failover)
	}
	for _, in := range m.Instances {
		out.Instances = append(out.Instances, v.instance(m, in))
	}
	for _, c := range m.Conflicts {
		out.Conflicts = append(out.Conflicts, &sentinelv1.AddressConflict{Address: address(c.Addr), Owner: c.Other})
	}
	return out
}

// status is the worst that is known of the committed master: by the cluster, then by this node.
func (v view) status(m *raftfsm.Master) sentinelv1.MasterStatus {
	in, _ := m.Instance(m.Address)
	seen := v.seen(m.Address)
	switch {
	case m.IsODown():
		return sentinelv1.MasterStatus_MASTER_STATUS_ODOWN
	case v.st.DownVotes(m, m.Address) > 0, seen.Down && raftfsm.Counts(seen.Cause):
		return sentinelv1.MasterStatus_MASTER_STATUS_SDOWN
	case seen.AuthRejected, rejects(m, m.Address):
		return sentinelv1.MasterStatus_MASTER_STATUS_AUTH_REJECTED
	case in.Role == raftfsm.RoleUnknown && (seen.Info == nil || seen.Info.Role == raftfsm.RoleUnknown):
		return sentinelv1.MasterStatus_MASTER_STATUS_UNKNOWN
	}
	return sentinelv1.MasterStatus_MASTER_STATUS_OK
}

// seen is what this node sees of an instance; zero where it does not probe it.
func (v view) seen(a raftfsm.Addr) Observation {
	if v.fleet == nil {
		return Observation{}
	}
	o, _ := v.fleet.Observe(a)
	return o
}

// rejects tells whether a node says that an instance rejects its password.
func rejects(m *raftfsm.Master, a raftfsm.Addr) bool {
	return slices.ContainsFunc(m.Votes, func(v raftfsm.Vote) bool { return v.Instance == a && v.Cause == raftfsm.CauseAuth })
}

func (v view) instance(m *raftfsm.Master, in raftfsm.Instance) *sentinelv1.Instance {
	out := &sentinelv1.Instance{
		Address: address(in.Addr), Role: sentinelv1.Role_ROLE_REPLICA, ReportedRole: sentinelv1.Role(in.Role), RunId: in.RunID,
		ReplId: in.ReplID, ReplId2: in.ReplID2, SecondOffset: in.SecondOffset, SyncedReplId: in.SyncedReplID,
		Unconfirmed: in.Unconfirmed, Maintenance: pause(in.Maintenance),
	}
	if in.Addr == m.Address {
		out.Role = sentinelv1.Role_ROLE_MASTER
	}
	for _, vote := range m.VotesAgainst(in.Addr) {
		out.Votes = append(out.Votes, &sentinelv1.Vote{
			NodeId: v.st.NodeName(vote.Node), RaftId: vote.Node, Cause: sentinelv1.Cause(vote.Cause),
			Since: stamp(vote.SinceMs), ReportedAt: stamp(vote.ReportedAtMs), Instance: address(in.Addr),
			Counts: raftfsm.Counts(vote.Cause) && v.st.IsVoter(vote.Node),
		})
	}
	out.Observation = v.observation(m, in.Addr)
	return out
}

func (v view) observation(m *raftfsm.Master, a raftfsm.Addr) *sentinelv1.Observation {
	if v.fleet == nil {
		return nil
	}
	o, ok := v.fleet.Observe(a)
	if !ok {
		return nil
	}
	out := &sentinelv1.Observation{
		Down: o.Down, Connected: o.Connected, AuthRejected: o.AuthRejected, LastReplyAgeMs: ageMs(v.now, o.LastReply),
		PingMs: float64(o.PingTime) / float64(time.Millisecond), InfoAgeMs: ageMs(v.now, o.InfoAt),
		PingPendingMs: ageMs(v.now, o.LastPingSent), LagBytes: -1,
	}
	if o.Down {
		out.Cause, out.DownSince = sentinelv1.Cause(o.Cause), timestamppb.New(o.DownSince)
	}
	if o.Info == nil {
		return out
	}
	out.Version, out.OffsetBytes, out.Loading = o.Info.Version, o.Info.Offset, o.Info.Loading
	out.Priority = int32(o.Info.Priority)
	if o.Info.Role != raftfsm.RoleReplica {
		return out
	}
	follows, err := raftfsm.NewAddr(o.Info.MasterHost, o.Info.MasterPort)
	if err == nil {
		out.Follows = address(follows)
	}
	out.LinkUp, out.LinkDownMs = o.Info.MasterLinkUp, linkDownMs(o.Info)
	if owner, ours := v.st.Owner(follows); ours && (owner.Name != m.Name || follows != m.Address) {
		return out // it is not behind this master: its offset grows from another's
	}
	master, _ := v.fleet.Observe(m.Address)
	out.LagBytes = Lag(a, master, o, v.now)
	return out
}

func linkDownMs(in *detector.Info) int64 {
	switch {
	case in.MasterLinkUp:
		return 0
	case in.MasterLinkDown < 0:
		return -1
	}
	return in.MasterLinkDown.Milliseconds()
}

func (v view) failover(master string, f *raftfsm.Failover) *sentinelv1.Failover {
	out := &sentinelv1.Failover{
		OperationId: f.OperationID, Master: master, Epoch: f.Epoch, Kind: sentinelv1.FailoverKind(f.Kind),
		From: address(f.From), To: address(f.To), Switched: f.Switched, Reason: f.Reason,
		Candidates: candidates(f.Candidates), Outcome: sentinelv1.FailoverOutcome(f.Outcome), EndReason: f.EndReason,
		LossKind: sentinelv1.LossKind(f.Loss.Kind), LossBytes: lossBytes(f.Loss), LeaderNodeId: v.st.NodeName(f.Leader),
		Replaces: f.Replaces, OdownAt: stamp(f.ODownAtMs), BegunAt: stamp(f.BegunAtMs), SwitchedAt: stamp(f.SwitchedAtMs),
		EndedAt: stamp(f.EndedAtMs), BegunRevision: f.BegunIndex, SwitchedRevision: f.SwitchedIndex, EndedRevision: f.EndedIndex,
		Actor: v.st.NodeName(f.Actor), MaxWaitMs: f.MaxWaitMs,
	}
	for _, vote := range f.Votes {
		out.Votes = append(out.Votes, &sentinelv1.FailoverVote{
			NodeId: v.st.NodeName(vote.Node), Cause: sentinelv1.Cause(vote.Cause), Since: stamp(vote.SinceMs),
			ReportedAt: stamp(vote.ReportedAtMs),
		})
	}
	for _, step := range f.Steps {
		out.Steps = append(out.Steps, &sentinelv1.Step{
			Name: step.Name, Instance: address(step.Instance), AtMs: step.AtMs, TookMs: step.TookMs, Detail: step.Detail,
		})
	}
	return out
}

// lossBytes are nil where nothing is known of them.
func lossBytes(l raftfsm.Loss) *int64 {
	if l.Kind != raftfsm.LossExact && l.Kind != raftfsm.LossLowerBound {
		return nil
	}
	return &l.Bytes
}

func candidates(in []raftfsm.Candidate) []*sentinelv1.Candidate {
	var out []*sentinelv1.Candidate
	for _, c := range in {
		out = append(out, &sentinelv1.Candidate{
			Address: address(c.Addr), Chosen: c.Chosen, Rejection: c.Rejection, Detail: c.Detail, OffsetBytes: c.Offset,
			Priority: int32(c.Priority), RunId: c.RunID, AgeMs: c.AgeMs, BehindBytes: c.BehindBytes, BehindMs: c.BehindMs,
		})
	}
	return out
}

func pause(p *raftfsm.Pause) *sentinelv1.Pause {
	if p == nil {
		return nil
	}
	return &sentinelv1.Pause{Actor: p.Actor, Reason: p.Reason, Since: stamp(p.SinceMs), Until: stamp(p.UntilMs)}
}

func (v view) event(e raftfsm.Event) *sentinelv1.Event {
	return &sentinelv1.Event{
		Cursor: v.cursor(e.Cursor), Kind: e.Kind, At: stamp(e.AtMs), Master: e.Master, Instance: address(e.Instance),
		Role: sentinelv1.Role(e.Role), MasterAddress: address(e.MasterAddr), NodeId: v.st.NodeName(e.Node),
		Actor: v.st.NodeName(e.Actor), Epoch: e.Epoch, From: address(e.From), To: address(e.To),
		Cause: sentinelv1.Cause(e.Cause), Detail: e.Detail, OffsetMs: e.OffsetMs, Payload: Payload(e),
	}
}

func (v view) cursor(c raftfsm.Cursor) *sentinelv1.EventCursor {
	return &sentinelv1.EventCursor{ClusterId: v.st.Cluster().Era, Index: c.Index, Ordinal: c.Ordinal}
}

// node is a member. contacts are the leader's; nil where they are not known.
func (v view) node(s raftfsm.Server, status NodeStatus, contacts map[string]Contact) *sentinelv1.Node {
	out := &sentinelv1.Node{
		RaftId: s.ID, Voter: s.Voter, Leader: s.ID == status.LeaderID, Self: s.ID == status.RaftID,
	}
	if contacts != nil {
		c := contacts[s.ID]
		out.Heard = new(c.Heard)
		if !c.At.IsZero() {
			out.LastContactMs = new(max(0, v.now.Sub(c.At).Milliseconds()))
		}
	}
	if a, err := raftfsm.ParseAddr(s.Address); err == nil {
		out.Raft = address(a)
	}
	for m := range v.st.Masters() {
		for _, vote := range m.Votes {
			if vote.Node == s.ID {
				out.Votes++
			}
		}
	}
	n, ok := v.st.Node(s.ID)
	if !ok {
		return out
	}
	out.Registered, out.NodeId, out.Version, out.FeatureLevel, out.Drain = true, n.NodeID, n.Version, n.MaxLevel, pause(n.Drain)
	out.Raft, out.Grpc, out.Resp, out.Http = address(n.Raft), address(n.GRPC), address(n.RESP), address(n.HTTP)
	return out
}
