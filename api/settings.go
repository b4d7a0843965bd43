package api

import (
	"context"
	"strconv"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// GetSettings tells the settings of the whole cluster.
func (s *Server) GetSettings(ctx context.Context, req *sentinelv1.GetSettingsRequest) (*sentinelv1.GetSettingsResponse, error) {
	st, age, err := s.read(ctx, req.GetConsistency())
	if err != nil {
		return nil, err
	}
	return &sentinelv1.GetSettingsResponse{
		ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age, Settings: settings(st.Settings()),
	}, nil
}

func settings(s raftfsm.Settings) *sentinelv1.Settings {
	return &sentinelv1.Settings{
		ResolveHostnames: &s.ResolveHostnames, AnnounceHostnames: &s.AnnounceHostnames, FailoverBrakePercent: new(int32(s.BrakePercent)),
		RemoveDeadNodesAfterMs: new(int64(s.RemoveDeadAfter) * 1000),
	}
}

// UpdateSettings changes the settings that the request has.
func (s *Server) UpdateSettings(ctx context.Context, req *sentinelv1.UpdateSettingsRequest) (*sentinelv1.UpdateSettingsResponse, error) {
	configure, wanted := &raftlogv1.Configure{}, req.GetSettings()
	if wanted == nil {
		wanted = &sentinelv1.Settings{}
	}
	for _, f := range []struct {
		name  string
		value *bool
	}{
		{"resolve-hostnames", wanted.ResolveHostnames},
		{"announce-hostnames", wanted.AnnounceHostnames},
	} {
		if f.value != nil {
			word := map[bool]string{true: "yes", false: "no"}[*f.value]
			configure.Settings = append(configure.Settings, &raftlogv1.OptionValue{Name: f.name, Value: word})
		}
	}
	if wanted.FailoverBrakePercent != nil {
		percent := strconv.Itoa(int(wanted.GetFailoverBrakePercent()))
		configure.Settings = append(configure.Settings, &raftlogv1.OptionValue{Name: "failover-brake", Value: percent})
	}
	if wanted.RemoveDeadNodesAfterMs != nil {
		ms := wanted.GetRemoveDeadNodesAfterMs()
		if ms%1000 != 0 {
			return nil, invalid("settings: remove_dead_nodes_after_ms: %d is not allowed; want whole seconds", ms)
		}
		configure.Settings = append(configure.Settings,
			&raftlogv1.OptionValue{Name: "remove-dead-nodes-after", Value: strconv.FormatInt(ms/1000, 10)})
	}
	if len(configure.GetSettings()) == 0 {
		return nil, invalid("settings: nothing to set; known fields are resolve_hostnames, announce_hostnames, failover_brake_percent, " +
			"remove_dead_nodes_after_ms")
	}
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	out, err := s.carryOut(ctx, base, change{
		command:  &raftlogv1.Command{Op: &raftlogv1.Command_Configure{Configure: configure}},
		validate: req.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "configure", "", out, req.GetValidateOnly())
	return &sentinelv1.UpdateSettingsResponse{
		ClusterId: out.st.Cluster().Era, Revision: out.index, Changed: out.changed, Settings: settings(out.st.Settings()),
	}, nil
}
