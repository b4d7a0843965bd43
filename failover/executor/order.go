package executor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/failover"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Order is a failover that an operator ordered.
type Order struct {
	Master string
	// To is the replica to promote; zero for the best.
	To raftfsm.Addr
	// Kind is forced, which may lose writes and does not ask whether the master is down, or planned, which loses none.
	Kind raftfsm.FailoverKind
	// MaxWait is how long a planned one may take until its candidate is promoted; it is rolled back then.
	MaxWait time.Duration
	// OperationID names it: a repeat gives the first outcome.
	OperationID string
	Actor       string
}

// Begin commits the row of an order. It is the leader's: its duties carry the row out. The replicas are measured first, for
// at most the executor's deadline. What the policy or the law refuses is a [raftfsm.Refusal].
func (e *Executor) Begin(ctx context.Context, o Order) (raftfsm.Result, error) {
	_, b, err := e.prepare(ctx, o)
	if err != nil {
		return raftfsm.Result{}, err
	}
	e.o.Log.Info("failover ordered", "master", o.Master, "from", b.From.String(), "to", b.To.String(), "actor", o.Actor,
		"operation", o.OperationID, "candidates", described(b.Candidates))
	e.point(BeforeBegin)
	op := operation{o.Master, o.OperationID}
	noted := e.note(op)
	res, err := e.o.Cluster.Propose(ctx, beginCommand(o.Master, o.OperationID, o.Actor, b))
	if noted && (err != nil || res.Err() != nil) {
		e.taken(op)
	}
	if err != nil {
		return res, fmt.Errorf("failover of %s: %w", o.Master, err)
	}
	e.point(AfterBegin)
	return res, res.Err()
}

// Rehearse tells the row that Begin would commit, and refuses what Begin would.
func (e *Executor) Rehearse(ctx context.Context, o Order) (*raftfsm.Failover, error) {
	st, b, err := e.prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	next, res := raftfsm.Apply(st, st.Index()+1, beginCommand(o.Master, o.OperationID, o.Actor, b))
	if err := res.Err(); err != nil {
		return nil, err
	}
	m, _ := next.Master(o.Master)
	return m.Failover, nil
}

// prepare measures the set and makes the row of an order, by the state that it gives.
func (e *Executor) prepare(ctx context.Context, o Order) (*raftfsm.State, failover.Begin, error) {
	sel, err := e.measure(ctx, o.Master, o.To)
	if err != nil {
		return nil, failover.Begin{}, err
	}
	st := e.o.Cluster.State()
	m, ok := st.Master(o.Master)
	if !ok {
		return nil, failover.Begin{}, raftfsm.Refusal{Code: raftfsm.NotFound, Detail: fmt.Sprintf("no master named %q", o.Master)}
	}
	v := e.view(st, m)
	var refusal error
	if o.Kind == raftfsm.KindPlanned {
		var blockers []failover.Blocker
		sel, blockers = failover.Preflight(v, o.To)
		refusal = blocked(o.Master, blockers)
	} else if !sel.OK {
		refusal = raftfsm.Refusal{Code: raftfsm.BadCandidate, Detail: noGoodReplica(o.Master, sel)}
	}
	if refusal != nil && !began(m, o.OperationID) {
		return nil, failover.Begin{}, refusal
	}
	b := failover.NewBegin(v, sel, o.Kind, "ordered by "+orderedBy(o.Actor))
	b.MaxWait = o.MaxWait
	return st, b, nil
}

// blockCodes are the law's words for what stands in the way of a switchover; all others are the candidate's.
var blockCodes = map[string]raftfsm.Code{
	failover.BlockHeld: raftfsm.Paused, failover.BlockInProgress: raftfsm.InProgress, failover.BlockFeatureLevel: raftfsm.LevelTooHigh,
	failover.BlockMasterDown: raftfsm.MasterDown, failover.BlockMasterUnseen: raftfsm.MasterDown, failover.BlockMasterRole: raftfsm.MasterDown,
	failover.BlockMasterLoading: raftfsm.MasterDown, failover.BlockMasterBusy: raftfsm.MasterDown,
}

// blocked refuses a switchover for all that stands in its way; the first is the refusal's own.
func blocked(name string, blockers []failover.Blocker) error {
	if len(blockers) == 0 {
		return nil
	}
	code, other := blockCodes[blockers[0].Code]
	if !other {
		code = raftfsm.BadCandidate
	}
	var why []string
	for _, b := range blockers {
		why = append(why, b.Detail)
	}
	return raftfsm.Refusal{Code: code, Detail: fmt.Sprintf("%s cannot be switched over: %s", name, strings.Join(why, "; "))}
}

// Explain tells what a failover of the set would do now, from what this node observes, after the replicas were measured
// as they would be before one: for at most the executor's deadline.
func (e *Executor) Explain(ctx context.Context, s *raftfsm.State, m *raftfsm.Master) (failover.Explanation, error) {
	if _, err := e.measure(ctx, m.Name, raftfsm.Addr{}); err != nil {
		return failover.Explanation{}, err
	}
	return failover.Explain(e.explained(s, m)), nil
}

// Glance is Explain by what was read last, without asking anybody: for gauges.
func (e *Executor) Glance(s *raftfsm.State, m *raftfsm.Master) failover.Explanation {
	v := e.explained(s, m)
	v.Glance = true
	return failover.Explain(v)
}

// measure has the INFO of every instance that answers read afresh, and selects.
func (e *Executor) measure(ctx context.Context, name string, to raftfsm.Addr) (failover.Selection, error) {
	began := time.Now()
	limit := time.NewTimer(e.o.Deadline)
	defer limit.Stop()
	for late := false; ; {
		changed := e.o.Fleet.Changed()
		st := e.o.Cluster.State()
		m, ok := st.Master(name)
		if !ok {
			return failover.Selection{}, raftfsm.Refusal{Code: raftfsm.NotFound, Detail: fmt.Sprintf("no master named %q", name)}
		}
		missing := false
		for _, in := range m.Instances {
			if o, ok := e.o.Fleet.Observe(in.Addr); ok && !o.Down && !o.AuthRejected && o.InfoAt.Before(began) {
				missing = true
				e.o.Fleet.Refresh(in.Addr)
			}
		}
		if !missing || late {
			return failover.Select(e.view(st, m), to), nil
		}
		select {
		case <-ctx.Done():
			return failover.Selection{}, ctx.Err()
		case <-changed:
		case <-limit.C:
			late = true
		}
	}
}

// began tells whether an operation has its row already.
func began(m *raftfsm.Master, operationID string) bool {
	if m.Failover != nil && m.Failover.OperationID == operationID {
		return true
	}
	for _, f := range m.History {
		if f.OperationID == operationID {
			return true
		}
	}
	return false
}

func noGoodReplica(name string, sel failover.Selection) string {
	if len(sel.Candidates) == 0 {
		return fmt.Sprintf("master %s has no replica", name)
	}
	var why []string
	for _, c := range sel.Candidates {
		why = append(why, c.Addr.String()+": "+c.Detail)
	}
	return fmt.Sprintf("no replica of %s can be promoted (%s)", name, strings.Join(why, "; "))
}

func orderedBy(actor string) string {
	if actor == "" {
		return "an operator"
	}
	return actor
}
