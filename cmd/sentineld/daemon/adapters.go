package daemon

import (
	"context"
	"errors"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/failover"
	"github.com/raftsentinel/raftsentinel/failover/executor"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/raftfsm/node"
)

// member is the node as its users need it. Each of their interfaces asks for a little of it in words of its own.
type member struct{ *node.Node }

// Self is this node's Raft server id.
func (m member) Self() string { return m.RaftID() }

// Renewed are the nodes that stood by their reports in this leadership.
func (m member) Renewed() map[string]bool {
	renewals := m.Renewals()
	out := make(map[string]bool, len(renewals))
	for id := range renewals {
		out[id] = true
	}
	return out
}

// Status is the node's account as the API shows it.
func (m member) Status() api.NodeStatus {
	st := m.Node.Status()
	return api.NodeStatus{
		Role: st.Role, RaftID: st.RaftID, NodeID: st.NodeID, LeaderID: st.LeaderID, Term: st.Term, CommitIndex: st.CommitIndex,
		AppliedIndex: st.AppliedIndex, LastContact: st.LastContact, ClusterID: st.ClusterID, Peers: st.Peers, Loading: st.Loading,
		FsyncP50: st.FsyncP50, Heard: m.Heard(), Lagging: m.Lagging(), Joining: m.Joining(), Awaited: m.Awaited(), Astray: m.Astray(),
		Strangers: m.Strangers(), Waiting: st.Waiting,
	}
}

// Contacts are the node's with the members.
func (m member) Contacts() map[string]api.Contact {
	contacts := m.Node.Contacts()
	if contacts == nil {
		return nil
	}
	out := make(map[string]api.Contact, len(contacts))
	for id, c := range contacts {
		out[id] = api.Contact(c)
	}
	return out
}

// classify tells the API which of the node's errors an error is.
func classify(err error) api.Failure {
	switch {
	case errors.Is(err, node.ErrNoLeader), errors.Is(err, node.ErrNotLeader):
		return api.FailureNoLeader
	case errors.Is(err, node.ErrUnknownOutcome):
		return api.FailureUnknownOutcome
	case errors.Is(err, node.ErrLoading):
		return api.FailureLoading
	case errors.Is(err, node.ErrRemoved):
		return api.FailureRemoved
	case errors.Is(err, node.ErrQuorum), errors.Is(err, node.ErrNoSuccessor):
		return api.FailureRefused
	}
	return api.FailureOther
}

// orders lets the API order and explain failovers.
type orders struct{ executor *executor.Executor }

// Begin implements [api.Failovers].
func (o orders) Begin(ctx context.Context, order api.Order) (raftfsm.Result, error) {
	return o.executor.Begin(ctx, executor.Order(order))
}

// Rehearse implements [api.Failovers].
func (o orders) Rehearse(ctx context.Context, order api.Order) (*raftfsm.Failover, error) {
	return o.executor.Rehearse(ctx, executor.Order(order))
}

// Explain implements [api.Failovers].
func (o orders) Explain(ctx context.Context, s *raftfsm.State, m *raftfsm.Master) (api.Explanation, error) {
	e, err := o.executor.Explain(ctx, s, m)
	if err != nil {
		return api.Explanation{}, err
	}
	return explanation(e), nil
}

// Glance implements [api.Failovers].
func (o orders) Glance(s *raftfsm.State, m *raftfsm.Master) api.Explanation {
	return explanation(o.executor.Glance(s, m))
}

func explanation(e failover.Explanation) api.Explanation {
	return api.Explanation{
		Winner: e.Choice.Best, Candidates: e.Choice.Candidates, Heir: e.Planned.Best, Planned: e.Planned.Candidates,
		FailoverBlockers: e.Failover, SwitchoverBlockers: e.Switchover, PredictedLoss: e.Loss, MasterAgeMs: e.MasterAgeMs,
	}
}

// control opens the executor's connections.
type control struct{ dialer *instance.Dialer }

func (c control) dial(ctx context.Context, m *raftfsm.Master, a raftfsm.Addr, name string) (executor.Conn, error) {
	conn, err := c.dialer.Dial(ctx, instance.TargetOf(m, a, nil, false), name)
	if err != nil {
		return nil, err
	}
	return conn, nil
}
