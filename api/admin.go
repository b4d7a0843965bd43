package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// fresh is the state that changes are tried on.
func (s *Server) fresh(ctx context.Context) (*raftfsm.State, error) {
	st, err := s.node.Read(ctx)
	if err != nil {
		return nil, s.failure(err, "")
	}
	return st, nil
}

// MonitorMaster puts a master under watch.
func (s *Server) MonitorMaster(ctx context.Context, req *sentinelv1.MonitorMasterRequest) (*sentinelv1.MonitorMasterResponse, error) {
	monitor, opts, err := monitorOf(req)
	if err != nil {
		return nil, err
	}
	name, addr := monitor.GetName(), raftfsm.AddrOf(monitor.GetAddress())
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	if m, ok := base.Master(name); ok {
		err = otherOptions(m, addr, monitor.GetOptions())
	} else {
		err = s.allowScripts(raftfsm.Options{}, opts)
	}
	if err != nil {
		return nil, err
	}
	visit := visit{force: req.GetForce()}
	out, err := s.carryOut(ctx, base, change{
		command: &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: monitor}},
		name:    name, expected: req.GetExpectedRevision(), validate: req.GetValidateOnly(),
		preflight: func(ctx context.Context, st *raftfsm.State) error {
			if err := s.visitMaster(ctx, st, &visit, name, addr, opts); err != nil {
				return err
			}
			s.pauseNew(ctx, st, &visit, monitor, opts)
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "monitor", name, out, req.GetValidateOnly())
	return &sentinelv1.MonitorMasterResponse{
		ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed, Master: s.masterAfter(out, name),
		Warnings: append(visit.warnings, quorumWarning(out.st, name)...),
	}, nil
}

// monitorOf checks a request, as far as it can be judged by itself, and gives the command and the options that it means.
func monitorOf(req *sentinelv1.MonitorMasterRequest) (*raftlogv1.Monitor, raftfsm.Options, error) {
	none, name := raftfsm.Options{}, req.GetName()
	if len(name) > maxEcho {
		return nil, none, invalid("master name %s: has %d bytes; at most %d are allowed", echo(name), len(name), maxEcho)
	}
	if err := raftfsm.CheckName(name); err != nil {
		return nil, none, invalid("%v", err)
	}
	addr, err := watchable("master "+name, req.GetAddress())
	if err != nil {
		return nil, none, err
	}
	m := &raftlogv1.Monitor{
		Name: name, Address: addr.Proto(), Options: newOptions(req.GetOptions()), PausedReason: req.GetPausedReason(), Epoch: req.GetEpoch(),
	}
	opts, err := raftfsm.DefaultOptions().With(m.GetOptions())
	switch {
	case err != nil:
		return nil, none, invalid("master %s: %v", name, err)
	case opts.Quorum < 1:
		return nil, none, invalid("master %s: options.quorum is required: 1 or greater", name)
	}
	if err := checkWords("paused_reason", req.GetPausedReason(), maxReason); err != nil {
		return nil, none, err
	}
	if until := req.GetPausedUntil(); until != nil {
		if m.GetPausedReason() == "" || until.AsTime().UnixMilli() <= 0 || time.Until(until.AsTime()) > maxPause {
			return nil, none, invalid("paused_until: wants a paused_reason and a time within ten years")
		}
		m.PausedUntilMs = until.AsTime().UnixMilli()
	}
	for _, r := range req.GetReplicas() {
		a, err := watchable("replica of "+name, r)
		if err != nil {
			return nil, none, err
		}
		m.Replicas = append(m.Replicas, a.Proto())
	}
	return m, opts, nil
}

// watchable is an address that every node can take for the same instance's.
func watchable(what string, a *sentinelv1.Address) (raftfsm.Addr, error) {
	addr, err := parseAddress(what, a)
	if err != nil {
		return addr, err
	}
	if err := CheckHost(addr.Host); err != nil {
		return addr, invalid("%s: %v", what, err)
	}
	return addr, nil
}

// otherOptions refuses Monitor of a set that exists with other options, and says which; the law only knows that.
func otherOptions(m *raftfsm.Master, a raftfsm.Addr, values []*raftlogv1.OptionValue) error {
	wanted, err := m.Options.With(values)
	if _, member := m.Instance(a); !member || err != nil || wanted.Equal(m.Options) {
		return nil
	}
	return fail(codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_DUPLICATE_MASTER,
		"master %s exists with other options (%s); change them with set", m.Name, differences(m.Options, wanted))
}

// differences names the options that differ, with both values where they may be told.
func differences(have, want raftfsm.Options) string {
	list := func(o raftfsm.Options) map[string]string {
		values := map[string]string{}
		for _, v := range o.Values() {
			values[v.GetName()] = strings.TrimPrefix(values[v.GetName()]+", "+v.GetValue(), ", ")
		}
		return values
	}
	was, is := list(have), list(want)
	var out []string
	for _, opt := range raftfsm.OptionTable() {
		a, b := was[opt.Name], is[opt.Name]
		switch {
		case a == b:
		case opt.Secret:
			out = append(out, opt.Name)
		default:
			out = append(out, fmt.Sprintf("%s is %q, not %q", opt.Name, a, cut(b, maxEcho)))
		}
	}
	return strings.Join(out, "; ")
}

// UpdateMaster sets options.
func (s *Server) UpdateMaster(ctx context.Context, req *sentinelv1.UpdateMasterRequest) (*sentinelv1.UpdateMasterResponse, error) {
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	m, ok := base.Master(req.GetName())
	if !ok {
		return nil, noMaster(req.GetName())
	}
	values, whole, err := updates(m.Options, req.GetOptions(), req.GetUpdateMask().GetPaths())
	if err != nil {
		return nil, err
	}
	if wanted, err := m.Options.With(values); err == nil { // what is no option is refused by the law, in its words
		if err := s.allowScripts(m.Options, wanted); err != nil {
			return nil, err
		}
	}
	set := &raftlogv1.Set{Name: m.Name, Options: values, ExpectedRevision: req.GetExpectedRevision()}
	if whole && set.GetExpectedRevision() == 0 {
		set.ExpectedRevision = m.Revision
	}
	visit := visit{force: req.GetForce()}
	out, err := s.carryOut(ctx, base, change{
		command: &raftlogv1.Command{Op: &raftlogv1.Command_Set{Set: set}},
		name:    m.Name, expected: req.GetExpectedRevision(), validate: req.GetValidateOnly(),
		preflight: func(ctx context.Context, _ *raftfsm.State) error { return s.visitLogin(ctx, &visit, m, values) },
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "set", m.Name, out, req.GetValidateOnly())
	return &sentinelv1.UpdateMasterResponse{
		ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed, Master: s.masterAfter(out, m.Name),
		Warnings: append(visit.warnings, quorumWarning(out.st, m.Name)...),
	}, nil
}

// RemoveMaster ends the watch over a set. A name that was removed before is no error.
func (s *Server) RemoveMaster(ctx context.Context, req *sentinelv1.RemoveMasterRequest) (*sentinelv1.RemoveMasterResponse, error) {
	name := req.GetName()
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := base.Master(name); !ok {
		if _, removed := base.Tombstone(name); !removed && !req.GetAllowMissing() {
			return nil, noMaster(name)
		}
		return &sentinelv1.RemoveMasterResponse{ClusterId: base.Cluster().Era, Revision: base.Index()}, nil
	}
	out, err := s.carryOut(ctx, base, change{
		command: &raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: name}}},
		name:    name, expected: req.GetExpectedRevision(), validate: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "remove", name, out, req.GetValidateOnly())
	return &sentinelv1.RemoveMasterResponse{ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed}, nil
}

// ResetMasters forgets what was learned about the sets whose names match.
func (s *Server) ResetMasters(ctx context.Context, req *sentinelv1.ResetMastersRequest) (*sentinelv1.ResetMastersResponse, error) {
	pattern := req.GetPattern()
	if pattern == "" {
		return nil, invalid("pattern: must not be empty; * matches every name")
	}
	if err := checkWords("pattern", pattern, 256); err != nil {
		return nil, err
	}
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	resp := &sentinelv1.ResetMastersResponse{ClusterId: base.Cluster().Era, Revision: base.Index()}
	for m := range base.Masters() {
		if !raftfsm.Glob(pattern, m.Name) {
			continue
		}
		if seen := req.GetExpectedRevision(); seen != 0 && m.Revision > seen {
			return nil, expect(base, m.Name, seen)
		}
		resp.Names = append(resp.Names, m.Name)
	}
	if len(resp.GetNames()) == 0 {
		return resp, nil
	}
	out, err := s.carryOut(ctx, base, change{
		command:  &raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: pattern}}},
		validate: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "reset", pattern, out, req.GetValidateOnly())
	resp.Revision, resp.Changed = out.index, out.changed
	return resp, nil
}

// ForgetReplica drops a replica from its set.
func (s *Server) ForgetReplica(ctx context.Context, req *sentinelv1.ForgetReplicaRequest) (*sentinelv1.ForgetReplicaResponse, error) {
	addr, err := parseAddress("replica", req.GetAddress())
	if err != nil {
		return nil, err
	}
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	name := req.GetName()
	if name == "" {
		owner, ok := base.Owner(addr)
		if !ok {
			return &sentinelv1.ForgetReplicaResponse{ClusterId: base.Cluster().Era, Revision: base.Index()}, nil
		}
		name = owner.Name
	}
	out, err := s.carryOut(ctx, base, change{
		command: &raftlogv1.Command{Op: &raftlogv1.Command_Forget{Forget: &raftlogv1.Forget{Name: name, Address: addr.Proto()}}},
		name:    name, expected: req.GetExpectedRevision(), validate: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "forget", name, out, req.GetValidateOnly())
	return &sentinelv1.ForgetReplicaResponse{
		ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed, Master: s.masterAfter(out, name),
	}, nil
}

// PauseMaster makes the cluster observe and not act. Pausing again until another time or for another reason replaces the
// pause; only one without an end is not given one.
func (s *Server) PauseMaster(ctx context.Context, req *sentinelv1.PauseMasterRequest) (*sentinelv1.PauseMasterResponse, error) {
	if err := checkWords("reason", req.GetReason(), maxReason); err != nil {
		return nil, err
	}
	if req.GetDurationMs() < 0 || req.GetDurationMs() > maxPause.Milliseconds() {
		return nil, invalid("duration_ms: %d is not allowed; want 1 to ten years, or 0 for until resumed", req.GetDurationMs())
	}
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	p := &raftlogv1.Pause{Name: req.GetName(), Reason: req.GetReason()}
	if req.GetDurationMs() > 0 {
		p.UntilMs = time.Now().UnixMilli() + req.GetDurationMs()
	}
	if m, ok := base.Master(p.GetName()); ok && pausedAlike(m, p) {
		// Another operator's word for the same pause is no change.
		return &sentinelv1.PauseMasterResponse{
			ClusterId: base.Cluster().Era, Revision: base.Index(), Master: s.view(base).master(m),
		}, expect(base, m.Name, req.GetExpectedRevision())
	}
	if m, ok := base.Master(p.GetName()); ok && m.Pause != nil && m.Pause.UntilMs == 0 && p.GetUntilMs() != 0 {
		// The end of a time looks at nothing: what paused the set without one may still be true then.
		return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_PAUSED,
			"master %s is paused until it is resumed (%s), and a time would resume it by itself, unchecked: nothing was changed; "+
				"resume it first, or pause it without a time", m.Name, cut(m.Pause.Reason, maxReason))
	}
	out, err := s.carryOut(ctx, base, change{
		command: &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: p}},
		name:    p.GetName(), expected: req.GetExpectedRevision(), validate: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "pause", p.GetName(), out, req.GetValidateOnly())
	return &sentinelv1.PauseMasterResponse{
		ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed, Master: s.masterAfter(out, p.GetName()),
	}, nil
}

func pausedAlike(m *raftfsm.Master, p *raftlogv1.Pause) bool {
	return m.Pause != nil && m.Pause.Reason == p.GetReason() && m.Pause.UntilMs == p.GetUntilMs()
}

// ResumeMaster ends a pause or settles a held set.
func (s *Server) ResumeMaster(ctx context.Context, req *sentinelv1.ResumeMasterRequest) (*sentinelv1.ResumeMasterResponse, error) {
	r := &raftlogv1.Resume{Name: req.GetName(), Enforce: req.GetEnforce()}
	if req.GetAdopt() != nil {
		addr, err := parseAddress("adopt", req.GetAdopt())
		if err != nil {
			return nil, err
		}
		if req.GetEnforce() {
			return nil, invalid("adopt and enforce exclude each other")
		}
		r.Adopt = addr.Proto()
	}
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	visit := visit{force: req.GetForce(), incomplete: req.GetIncomplete()}
	out, err := s.carryOut(ctx, base, change{
		command: &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: r}},
		name:    r.GetName(), expected: req.GetExpectedRevision(), validate: req.GetValidateOnly(),
		preflight: func(ctx context.Context, st *raftfsm.State) error {
			m, _ := st.Master(r.GetName()) // a resume that is due has a master
			err := s.visitResume(ctx, &visit, m)
			if st.FeatureLevel() >= 2 { // else not every member would keep it
				r.Overridden = cut(strings.Join(visit.overridden, "; "), maxReason)
			}
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "resume", r.GetName(), out, req.GetValidateOnly())
	return &sentinelv1.ResumeMasterResponse{
		ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed, Master: s.masterAfter(out, r.GetName()),
		Warnings: visit.warnings,
	}, nil
}
