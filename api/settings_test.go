package api

import (
	"testing"

	"google.golang.org/grpc/codes"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// raise brings the cluster to the level of this release.
func (r *rig) raise(t *testing.T) {
	t.Helper()
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: raftfsm.Level}}})
}

func TestSettings(t *testing.T) {
	r := newRig(t)
	update := func(resolve, announce *bool, validate bool) (*sentinelv1.UpdateSettingsResponse, error) {
		return r.admin.UpdateSettings(t.Context(), &sentinelv1.UpdateSettingsRequest{
			Settings: &sentinelv1.Settings{ResolveHostnames: resolve, AnnounceHostnames: announce}, ValidateOnly: validate,
		})
	}
	told := func() [2]bool {
		t.Helper()
		resp, err := r.admin.GetSettings(t.Context(), &sentinelv1.GetSettingsRequest{})
		if err != nil || resp.GetClusterId() != "c1" {
			t.Fatalf("%v, %v", resp, err)
		}
		return [2]bool{resp.GetSettings().GetResolveHostnames(), resp.GetSettings().GetAnnounceHostnames()}
	}
	_, err := update(new(true), nil, false)
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FEATURE_LEVEL)
	r.raise(t)
	for _, q := range []*sentinelv1.UpdateSettingsRequest{{}, {Settings: &sentinelv1.Settings{}}} {
		_, err = r.admin.UpdateSettings(t.Context(), q)
		wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
	}
	for _, c := range []struct {
		resolve, announce *bool
		validate, changed bool
		answer, holds     [2]bool
	}{
		{new(true), nil, true, true, [2]bool{true, false}, [2]bool{}},
		{new(true), nil, false, true, [2]bool{true, false}, [2]bool{true, false}},
		{nil, new(true), false, true, [2]bool{true, true}, [2]bool{true, true}},
		{new(true), new(true), false, false, [2]bool{true, true}, [2]bool{true, true}},
		{new(false), nil, false, true, [2]bool{false, true}, [2]bool{false, true}},
	} {
		resp, err := update(c.resolve, c.announce, c.validate)
		if err != nil {
			t.Fatal(err)
		}
		answer := [2]bool{resp.GetSettings().GetResolveHostnames(), resp.GetSettings().GetAnnounceHostnames()}
		if resp.GetChanged() != c.changed || answer != c.answer || told() != c.holds {
			t.Errorf("%+v: changed %t, answers %v, holds %v", c, resp.GetChanged(), answer, told())
		}
	}
}

// TestBrake: the setting is a share in percent.
func TestBrake(t *testing.T) {
	r := newRig(t)
	r.raise(t)
	for _, c := range []struct {
		set     *int32
		changed bool
		want    int32
	}{{nil, false, 50}, {new(int32(70)), true, 70}, {new(int32(0)), true, 0}, {new(int32(0)), false, 0}} {
		if c.set != nil {
			resp, err := r.admin.UpdateSettings(t.Context(), &sentinelv1.UpdateSettingsRequest{Settings: &sentinelv1.Settings{FailoverBrakePercent: c.set}})
			if err != nil || resp.GetChanged() != c.changed || resp.GetSettings().GetFailoverBrakePercent() != c.want {
				t.Errorf("set %d: %v, %v", *c.set, resp, err)
			}
		}
		resp, err := r.admin.GetSettings(t.Context(), &sentinelv1.GetSettingsRequest{})
		if err != nil || resp.GetSettings().GetFailoverBrakePercent() != c.want {
			t.Errorf("want %d: %v, %v", c.want, resp, err)
		}
	}
	_, err := r.admin.UpdateSettings(t.Context(), &sentinelv1.UpdateSettingsRequest{Settings: &sentinelv1.Settings{FailoverBrakePercent: new(int32(101))}})
	wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
}

// TestImport: what another control plane knows of a set comes with it.
func TestImport(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Inspector = fakeInspector{"10.0.0.1:6379": watched()} })
	quorum := int32(2)
	q := &sentinelv1.MonitorMasterRequest{
		Name: "m", Address: addr("10.0.0.1", 6379), Options: &sentinelv1.MasterOptions{Quorum: &quorum}, PausedReason: "imported", Epoch: 7,
		Replicas: []*sentinelv1.Address{addr("10.0.0.2", 6379), addr("10.0.0.1", 6379)},
	}
	_, err := r.admin.MonitorMaster(t.Context(), q)
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FEATURE_LEVEL)
	r.raise(t)
	for _, changed := range []bool{true, false} {
		resp, err := r.admin.MonitorMaster(t.Context(), q)
		m := resp.GetMaster()
		if err != nil || resp.GetChanged() != changed || m.GetEpoch() != 7 || m.GetReplicaCount() != 1 || m.GetPause().GetReason() != "imported" {
			t.Errorf("%v, %v", resp, err)
		}
	}
}

func TestRemoveDeadNodesAfter(t *testing.T) {
	r := newRig(t)
	r.raise(t)
	update := func(ms int64) (*sentinelv1.UpdateSettingsResponse, error) {
		return r.admin.UpdateSettings(t.Context(), &sentinelv1.UpdateSettingsRequest{Settings: &sentinelv1.Settings{RemoveDeadNodesAfterMs: &ms}})
	}
	for _, ms := range []int64{-1000, 59_000, 60_001, 366 * 24 * 3600 * 1000} {
		_, err := update(ms)
		wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
	}
	for _, ms := range []int64{3_600_000, 0} {
		resp, err := update(ms)
		if err != nil || !resp.GetChanged() || resp.GetSettings().GetRemoveDeadNodesAfterMs() != ms {
			t.Errorf("%v, %v", resp, err)
		}
	}
}
