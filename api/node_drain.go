package api

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// yieldLimit is how long an answer waits for a leader that was drained to be one no more.
const yieldLimit = 2 * time.Second

// DrainNode has a member give leadership up and be no candidate for it. Another voter that may lead must be heard.
func (s *Server) DrainNode(ctx context.Context, req *sentinelv1.DrainNodeRequest) (*sentinelv1.DrainNodeResponse, error) {
	if err := checkWords("reason", req.GetReason(), maxReason); err != nil {
		return nil, err
	}
	out, v, err := s.drainNode(ctx, req.GetNode(), &raftlogv1.DrainNode{Reason: req.GetReason()}, req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	if !req.GetValidateOnly() {
		s.awaitYield(ctx, v.ID)
	}
	resp := &sentinelv1.DrainNodeResponse{ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed}
	if leader := s.node.Status().LeaderID; leader != "" {
		resp.LeaderNodeId = out.st.NodeName(leader)
	}
	return resp, nil
}

// UndrainNode lets a member lead again.
func (s *Server) UndrainNode(ctx context.Context, req *sentinelv1.UndrainNodeRequest) (*sentinelv1.UndrainNodeResponse, error) {
	out, _, err := s.drainNode(ctx, req.GetNode(), &raftlogv1.DrainNode{End: true}, req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &sentinelv1.UndrainNodeResponse{ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed}, nil
}

func (s *Server) drainNode(ctx context.Context, name string, c *raftlogv1.DrainNode, validate bool) (outcome, raftfsm.Server, error) {
	if name == "" {
		return outcome{}, raftfsm.Server{}, invalid("node: a node id or Raft id is required")
	}
	base, err := s.fresh(ctx)
	if err != nil {
		return outcome{}, raftfsm.Server{}, err
	}
	v, ok := member(base, name)
	if !ok {
		return outcome{}, v, noNode(name)
	}
	c.Node = v.ID
	out, err := s.carryOut(ctx, base, change{
		command:  &raftlogv1.Command{Op: &raftlogv1.Command_DrainNode{DrainNode: c}},
		validate: validate,
		preflight: func(_ context.Context, st *raftfsm.State) error {
			if c.GetEnd() {
				return nil
			}
			return s.leavesALeader(st, v.ID)
		},
	})
	if err != nil {
		return out, v, err
	}
	what := map[bool]string{false: "drain of node ", true: "end of the drain of node "}[c.GetEnd()]
	s.record(ctx, what+base.NodeName(v.ID), "", out, validate)
	return out, v, nil
}

// leavesALeader refuses to drain a member where no other voter that may lead is heard. It is asked on the leader.
func (s *Server) leavesALeader(st *raftfsm.State, drained string) error {
	contacts := s.node.Contacts()
	able := func(v raftfsm.Server) bool {
		return v.Voter && v.ID != drained && !st.Drained(v.ID) && contacts[v.ID].Heard
	}
	if slices.ContainsFunc(st.Servers(), able) {
		return nil
	}
	return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT,
		"no voter beside node %s is heard and may lead: nothing was changed; start another node, or undrain one, first", st.NodeName(drained))
}

// awaitYield waits until another node than the one drained leads, or for a little while.
func (s *Server) awaitYield(ctx context.Context, drained string) {
	ctx, cancel := context.WithTimeout(ctx, yieldLimit)
	defer cancel()
	for {
		changed := s.node.Changed() // a new leader's first act is an entry
		if leader := s.node.Status().LeaderID; leader != "" && leader != drained {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
