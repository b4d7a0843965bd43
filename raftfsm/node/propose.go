package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// seekLimit is how long a call looks for a leader, and retries what was certainly not appended. At default timing an
	// election takes about as long.
	seekLimit = 1200 * time.Millisecond
	// seekPause is the longest pause between two tries; a change of leader ends it at once.
	seekPause = 50 * time.Millisecond
	// callLimit bounds a call whose context has no deadline of its own.
	callLimit = 5 * time.Second
	// enqueueLimit is how long Raft may take to accept a command; after it nothing was appended.
	enqueueLimit = 500 * time.Millisecond
)

// Propose commits a command and returns after it is applied on this node. From a follower it is sent to the leader, once.
// An error of ErrNoLeader or ErrNotLeader means nothing was appended; ErrUnknownOutcome that it may have been. A refusal on
// the merits is no error: see Result.Code. Without a deadline in ctx it takes 5 s at most.
func (n *Node) Propose(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c, data, err := n.encode(c)
	if err != nil {
		return refusedAt(n.State(), err)
	}
	var res raftfsm.Result
	err = n.seek(ctx, func(ctx context.Context) error {
		if r := n.raft.Load(); r != nil && r.State() == raft.Leader {
			res, err = n.proposeHere(ctx, c, data)
		} else {
			res, err = n.forward(ctx, c)
		}
		return err
	})
	return res, err
}

// ProposeIn commits what a leader decided in its term. It is not sent to another leader, and the law refuses it once a later
// leadership has begun: what was decided in a leadership that is over takes no effect. Errors are Propose's.
func (n *Node) ProposeIn(ctx context.Context, term uint64, c *raftlogv1.Command) (raftfsm.Result, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	c = proto.CloneOf(c)
	n.header(c).Term = term
	c, data, err := n.encode(c)
	if err != nil {
		return refusedAt(n.State(), err)
	}
	if l := n.leads.get(); l == nil || l.term != term {
		return raftfsm.Result{}, fmt.Errorf("term %d is over: %w", term, ErrNotLeader)
	}
	return n.proposeHere(ctx, c, data)
}

// encode completes a command and gives its entry.
func (n *Node) encode(c *raftlogv1.Command) (*raftlogv1.Command, []byte, error) {
	c = proto.CloneOf(c)
	n.header(c)
	data, err := raftfsm.Encode(c)
	if err != nil {
		return nil, nil, fmt.Errorf("propose: %w", err)
	}
	if err := n.State().CheckLevel(c); err != nil {
		return nil, nil, err
	}
	return c, data, nil
}

// refusedAt makes the result of a command that is refused on its merits before it is appended; other errors stay.
func refusedAt(s *raftfsm.State, err error) (raftfsm.Result, error) {
	if r, ok := errors.AsType[raftfsm.Refusal](err); ok {
		return raftfsm.Result{Index: s.Index(), Code: r.Code, Detail: r.Detail}, nil
	}
	return raftfsm.Result{}, err
}

// header fills in what the proposer may leave out.
func (n *Node) header(c *raftlogv1.Command) *raftlogv1.Header {
	if c.Header == nil {
		c.Header = &raftlogv1.Header{}
	}
	h := c.GetHeader()
	h.Level = max(h.GetLevel(), raftfsm.LevelOf(c))
	if h.Proposer == "" {
		h.Proposer = string(n.self)
	}
	if h.ProposedAtMs == 0 {
		h.ProposedAtMs = time.Now().UnixMilli()
	}
	return h
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, callLimit)
}

// seek repeats a try that found no leader, until one is found, ctx ends, or [seekLimit] is over.
func (n *Node) seek(ctx context.Context, try func(context.Context) error) error {
	until := time.Now().Add(seekLimit)
	for {
		next := n.heard.next()
		if n.isRemoved() {
			return ErrRemoved
		}
		err := try(ctx)
		if err == nil || (!errors.Is(err, ErrNoLeader) && !errors.Is(err, ErrNotLeader)) || !time.Now().Before(until) {
			return err
		}
		select {
		case <-next:
		case <-time.After(seekPause):
		case <-n.removed:
		case <-n.stopping:
			return fmt.Errorf("%w: %w", errStopping, err)
		case <-ctx.Done():
			return err
		}
	}
}

// proposeHere commits a command as leader.
func (n *Node) proposeHere(ctx context.Context, c *raftlogv1.Command, data []byte) (raftfsm.Result, error) {
	l, err := n.ready(ctx)
	if err != nil {
		return raftfsm.Result{}, err
	}
	r := n.raft.Load()
	if r == nil {
		return raftfsm.Result{}, ErrNotLeader
	}
	res, err := n.commit(ctx, r, data)
	if err != nil {
		return res, err
	}
	if rep := c.GetReport(); rep != nil && res.Code == raftfsm.OK && res.Term == l.term {
		l.renew(rep.GetNode(), res.Index)
	}
	return res, nil
}

// commit appends an entry and waits until it is applied here. Raft's future has no context, and Raft may forget to answer
// when it is shut down: the wait is a goroutine's, which [Node.futures] counts.
func (n *Node) commit(ctx context.Context, r *raft.Raft, data []byte) (raftfsm.Result, error) {
	type answer struct {
		response any
		err      error
	}
	got := make(chan answer, 1)
	n.future(func() {
		f := r.Apply(data, enqueueLimit)
		err := f.Error()
		if err != nil {
			got <- answer{nil, err}
			return
		}
		got <- answer{f.Response(), nil}
	})
	select {
	case a := <-got:
		if a.err != nil {
			return raftfsm.Result{}, outcome(a.err)
		}
		switch v := a.response.(type) {
		case raftfsm.Result:
			return v, nil
		case error:
			return raftfsm.Result{}, fmt.Errorf("%w: %w", ErrUnknownOutcome, v)
		}
		return raftfsm.Result{}, fmt.Errorf("%w: raft answered %T", ErrUnknownOutcome, a.response)
	case <-ctx.Done():
		return raftfsm.Result{}, fmt.Errorf("%w: not committed in time: %w", ErrUnknownOutcome, context.Cause(ctx))
	}
}

// outcome tells an error of Raft's after which nothing was appended from one after which the entry may still be committed.
func outcome(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

// forward has the leader commit a command, and waits until it is applied here too.
func (n *Node) forward(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error) {
	call, cancel := n.whileLeads(ctx)
	defer cancel()
	client, err := n.leaderClient(call)
	if err != nil {
		return raftfsm.Result{}, err
	}
	resp, err := client.Propose(call, &peerv1.ProposeRequest{Command: c})
	if err != nil {
		return raftfsm.Result{}, fromStatus(err)
	}
	res := raftfsm.Result{
		Index: resp.GetIndex(), Term: resp.GetTerm(), Code: raftfsm.Code(resp.GetCode()), Detail: resp.GetDetail(),
		Changed: resp.GetChanged(), Epoch: resp.GetEpoch(),
	}
	if err := n.waitApplied(ctx, res.Index); err != nil {
		return res, fmt.Errorf("%w: committed at index %d, but not yet applied on this node: %w", ErrUnknownOutcome, res.Index, err)
	}
	return res, nil
}

// whileLeads is ctx until another node than now is known to lead: a leader that hangs answers nothing, and its successor
// can be asked. It must be cancelled.
func (n *Node) whileLeads(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	r := n.raft.Load()
	if r == nil {
		return ctx, cancel
	}
	_, asked := r.LeaderWithID()
	n.future(func() {
		for {
			next := n.heard.next()
			if _, id := r.LeaderWithID(); id != asked && id != "" {
				cancel()
			}
			select {
			case <-next:
			case <-ctx.Done():
				return
			}
		}
	})
	return ctx, cancel
}

// waitApplied returns when the state includes index.
func (n *Node) waitApplied(ctx context.Context, index uint64) error {
	for n.State().Index() < index {
		changed := n.Changed()
		if n.State().Index() >= index {
			return nil
		}
		select {
		case <-changed:
		case <-n.removed:
			return ErrRemoved
		case <-n.fsm.Failed():
			return n.fsm.Err()
		case <-n.stopping:
			return errStopping
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// toStatus is a leader's answer to another node; fromStatus is its inverse. gRPC itself makes neither of the two codes, so
// that they alone promise that nothing was appended.
func toStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrRemoved):
		return status.Error(codes.PermissionDenied, err.Error())
	case errors.Is(err, ErrNotLeader), errors.Is(err, ErrNoLeader):
		return status.Error(codes.FailedPrecondition, err.Error())
	default:
		return status.Error(codes.Aborted, err.Error())
	}
}

func fromStatus(err error) error {
	switch status.Code(err) {
	case codes.FailedPrecondition:
		return fmt.Errorf("%w: the node that was asked: %s", ErrNotLeader, status.Convert(err).Message())
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument, codes.Unimplemented:
		return fmt.Errorf("the leader refuses this node: %w", err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}
