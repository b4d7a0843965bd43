package api

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestEveryRefusalHasItsReason(t *testing.T) {
	for c := raftfsm.NotFound; c <= raftfsm.Cooldown; c++ {
		if _, ok := refusals[c]; !ok {
			t.Errorf("code %d has no row", c)
		}
		err := refused(raftfsm.Refusal{Code: c, Detail: "why"})
		if r := ReasonOf(err); r == sentinelv1.ErrorReason_ERROR_REASON_UNSPECIFIED || r == sentinelv1.ErrorReason_ERROR_REASON_INTERNAL {
			t.Errorf("code %d: reason %v", c, r)
		}
	}
}

// TestEnumsAreAlike: values are converted by number between the log's enums and the API's.
func TestEnumsAreAlike(t *testing.T) {
	for _, pair := range []struct {
		log, api       protoreflect.EnumDescriptor
		logPre, apiPre string
	}{
		{raftlogv1.Cause(0).Descriptor(), sentinelv1.Cause(0).Descriptor(), "CAUSE_", "CAUSE_"},
		{raftlogv1.InstanceRole(0).Descriptor(), sentinelv1.Role(0).Descriptor(), "INSTANCE_ROLE_", "ROLE_"},
		{raftlogv1.FailoverKind(0).Descriptor(), sentinelv1.FailoverKind(0).Descriptor(), "", ""},
		{raftlogv1.FailoverOutcome(0).Descriptor(), sentinelv1.FailoverOutcome(0).Descriptor(), "", ""},
		{raftlogv1.LossKind(0).Descriptor(), sentinelv1.LossKind(0).Descriptor(), "", ""},
	} {
		if pair.log.Values().Len() != pair.api.Values().Len() {
			t.Errorf("%s and %s differ in length", pair.log.FullName(), pair.api.FullName())
		}
		for i := range pair.log.Values().Len() {
			v := pair.log.Values().Get(i)
			w := pair.api.Values().ByNumber(v.Number())
			if w == nil || strings.TrimPrefix(string(v.Name()), pair.logPre) != strings.TrimPrefix(string(w.Name()), pair.apiPre) {
				t.Errorf("%s = %d has no like in %s", v.Name(), v.Number(), pair.api.FullName())
			}
		}
	}
}

// TestEveryOptionHasItsField: an option added to the law must be added to MasterOptions.
func TestEveryOptionHasItsField(t *testing.T) {
	known := map[string]bool{renameOption: true, "former-auth-pass": true}
	message := (&sentinelv1.MasterOptions{}).ProtoReflect().Descriptor()
	for _, f := range fields() {
		known[f.option] = true
		if message.Fields().ByName(protoreflect.Name(f.path)) == nil {
			t.Errorf("MasterOptions has no field %s", f.path)
		}
	}
	for _, o := range raftfsm.OptionTable() {
		if !known[o.Name] {
			t.Errorf("option %s has no field in MasterOptions", o.Name)
		}
	}
}

func TestPayload(t *testing.T) {
	m, r := raftfsm.Addr{Host: "10.0.0.1", Port: 6379}, raftfsm.Addr{Host: "fd00::2", Port: 6380}
	on := func(kind string, a raftfsm.Addr, detail string) raftfsm.Event {
		role := raftfsm.RoleReplica
		if a == m {
			role = raftfsm.RoleMaster
		}
		return raftfsm.Event{Kind: kind, Master: "mymaster", Instance: a, Role: role, MasterAddr: m, Detail: detail, Node: "a-1"}
	}
	for _, c := range []struct {
		event raftfsm.Event
		want  string
	}{
		{on(raftfsm.EventMonitor, m, "quorum 2"), "master mymaster 10.0.0.1 6379 quorum 2"},
		{on(raftfsm.EventUnmonitor, m, ""), "master mymaster 10.0.0.1 6379"},
		{on(raftfsm.EventSet, m, "auth-pass ******"), "master mymaster 10.0.0.1 6379 auth-pass ******"},
		{on(raftfsm.EventSDown, m, ""), "master mymaster 10.0.0.1 6379"},
		{on(raftfsm.EventSDown, r, ""), "slave [fd00::2]:6380 fd00::2 6380 @ mymaster 10.0.0.1 6379"},
		{on(raftfsm.EventODown, m, "#quorum 2/2"), "master mymaster 10.0.0.1 6379 #quorum 2/2"},
		{on(raftfsm.EventTryFailover, m, "objectively down"), "master mymaster 10.0.0.1 6379"},
		{
			on(raftfsm.EventRoleChange, r, "new reported role is master"),
			"slave [fd00::2]:6380 fd00::2 6380 @ mymaster 10.0.0.1 6379 new reported role is master",
		},
		{on(raftfsm.EventPause, m, "upgrade"), "master mymaster 10.0.0.1 6379 upgrade"},
		{on(raftfsm.EventMaintenance, r, "new memory"), "slave [fd00::2]:6380 fd00::2 6380 @ mymaster 10.0.0.1 6379 new memory"},
		{on(raftfsm.EventMaintenanceEnd, r, ""), "slave [fd00::2]:6380 fd00::2 6380 @ mymaster 10.0.0.1 6379"},
		{raftfsm.Event{Kind: raftfsm.EventNewEpoch, Epoch: 7, Master: "mymaster", Instance: m}, "7"},
		{raftfsm.Event{Kind: raftfsm.EventSwitch, Master: "mymaster", From: m, To: r}, "mymaster 10.0.0.1 6379 fd00::2 6380"},
		{raftfsm.Event{Kind: raftfsm.EventDrain, Node: "b-1", Detail: "b new disk", Instance: m}, "sentinel b new disk"},
		{raftfsm.Event{Kind: raftfsm.EventNode, Node: "b-1", Detail: "b", Instance: m}, "sentinel b 10.0.0.1 6379"},
		{raftfsm.Event{Kind: raftfsm.EventFounded, Detail: "c1"}, "c1"},
	} {
		if got := Payload(c.event); got != c.want {
			t.Errorf("%s: %q, want %q", c.event.Kind, got, c.want)
		}
	}
}
