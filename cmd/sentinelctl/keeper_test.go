package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// keeper is a node that keeps what it is told, passwords too, as far as plans need it.
type keeper struct {
	*cluster
	// one change at a time: those to masters come side by side.
	one       sync.Mutex
	passwords map[string]string
	settings  *sentinelv1.Settings
	// refuse is the answer to changes of a master of that name.
	refuse map[string]error
	// lost is the answer to changes that are made all the same, dropped to creations that are not, whatever their address.
	lost, dropped map[string]error
	// objects is the answer to creations that are not forced.
	objects map[string]error
	// rehearsal is the answer to updates that are only tried.
	rehearsal error
	// wants tells the address of instances that want a password.
	wants map[string]bool
	// scripts may be changed.
	scripts bool
}

func newKeeper(masters ...*sentinelv1.Master) *keeper {
	return &keeper{
		cluster: &cluster{masters: masters}, passwords: map[string]string{}, refuse: map[string]error{}, wants: map[string]bool{},
		settings: &sentinelv1.Settings{ResolveHostnames: new(false), AnnounceHostnames: new(false), FailoverBrakePercent: new(int32(50))},
	}
}

// watchedAt is a set with a replica, and Redis's defaults.
func watchedAt(name, host string, quorum int32) *sentinelv1.Master {
	return &sentinelv1.Master{
		Name: name, Address: addr(host, 6379), Revision: 40,
		Options: &sentinelv1.MasterOptions{
			Quorum: &quorum, DownAfterMs: new(int64(30000)), FailoverTimeoutMs: new(int64(180000)), ParallelSyncs: new(int32(1)),
		},
		Instances: []*sentinelv1.Instance{{Address: addr(host, 6379)}, {Address: addr(host, 6380)}},
	}
}

func refusalFor(t *testing.T, code codes.Code, reason, text string, meta map[string]string) error {
	t.Helper()
	s, err := status.New(code, text).WithDetails(&errdetails.ErrorInfo{Domain: "sentineld", Reason: reason, Metadata: meta})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func (k *keeper) denies(o *sentinelv1.MasterOptions) error {
	if k.scripts || o.GetNotificationScript() == "" && o.GetClientReconfigScript() == "" {
		return nil
	}
	s, err := status.New(codes.PermissionDenied, "scripts cannot be changed while this node runs").WithDetails(
		&errdetails.ErrorInfo{Domain: "sentineld", Reason: "SCRIPTS_DENIED"})
	if err != nil {
		return err
	}
	return s.Err()
}

func (k *keeper) MonitorMaster(ctx context.Context, q *sentinelv1.MonitorMasterRequest) (*sentinelv1.MonitorMasterResponse, error) {
	if err := k.note(ctx, q, 0); err != nil {
		return nil, err
	}
	k.one.Lock()
	defer k.one.Unlock()
	if err := cmp.Or(k.refuse[q.GetName()], k.denies(q.GetOptions())); err != nil {
		return nil, err
	}
	if err := k.objects[q.GetName()]; err != nil && !q.GetForce() {
		return nil, err
	}
	for _, m := range k.masters {
		if client.HostPort(m.GetAddress()) == client.HostPort(q.GetAddress()) {
			s, _ := status.New(codes.AlreadyExists, "address belongs to master "+m.GetName()).WithDetails(
				&errdetails.ErrorInfo{Domain: "sentineld", Reason: "ADDRESS_TAKEN"})
			return nil, s.Err()
		}
	}
	if err := k.dropped[q.GetName()]; err != nil {
		return nil, err
	}
	r := &sentinelv1.MonitorMasterResponse{Changed: true}
	if k.wants[client.HostPort(q.GetAddress())] && q.GetOptions().GetAuthPass() == "" {
		r.Warnings = append(r.Warnings, client.HostPort(q.GetAddress())+" wants a password (NOAUTH): sentinelctl set "+q.GetName()+" auth-pass=-")
	}
	if q.GetValidateOnly() {
		return r, nil
	}
	m := watchedAt(q.GetName(), q.GetAddress().GetHost(), 1)
	m.Address, m.Epoch = q.GetAddress(), q.GetEpoch()
	if q.GetPausedReason() != "" {
		m.Pause = &sentinelv1.Pause{Reason: q.GetPausedReason(), Until: q.GetPausedUntil()}
	}
	k.options(m, q.GetOptions())
	k.masters = append(k.masters, m)
	slices.SortFunc(k.masters, func(a, b *sentinelv1.Master) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return r, k.lost[q.GetName()]
}

// options takes what is set, and tells whether anything changed.
func (k *keeper) options(m *sentinelv1.Master, o *sentinelv1.MasterOptions) bool {
	before, pass := proto.CloneOf(m), k.passwords[m.GetName()]
	o = proto.CloneOf(o)
	if o.AuthPass != nil {
		k.passwords[m.GetName()] = o.GetAuthPass()
		o.AuthPass = nil
	}
	if o.RenameCommand != nil {
		m.Options.RenameCommand = nil
	}
	proto.Merge(m.GetOptions(), o)
	m.Options.AuthPassSet = k.passwords[m.GetName()] != ""
	return !proto.Equal(before, m) || pass != k.passwords[m.GetName()]
}

func (k *keeper) UpdateMaster(ctx context.Context, q *sentinelv1.UpdateMasterRequest) (*sentinelv1.UpdateMasterResponse, error) {
	if err := k.note(ctx, q, 0); err != nil {
		return nil, err
	}
	k.one.Lock()
	defer k.one.Unlock()
	m, err := k.find(q.GetName())
	if err == nil && q.GetValidateOnly() && k.rehearsal != nil {
		return nil, k.rehearsal
	}
	if err == nil && !q.GetForce() {
		err = cmp.Or(k.refuse[q.GetName()], k.denies(q.GetOptions()))
	}
	if err != nil {
		return nil, err
	}
	if q.GetValidateOnly() {
		pass := k.passwords[m.GetName()]
		defer func() { k.passwords[m.GetName()] = pass }()
		m = proto.CloneOf(m)
	}
	return &sentinelv1.UpdateMasterResponse{Changed: k.options(m, q.GetOptions())}, nil
}

func (k *keeper) RemoveMaster(ctx context.Context, q *sentinelv1.RemoveMasterRequest) (*sentinelv1.RemoveMasterResponse, error) {
	if err := k.note(ctx, q, 0); err != nil {
		return nil, err
	}
	k.one.Lock()
	defer k.one.Unlock()
	if err := k.refuse[q.GetName()]; err != nil {
		return nil, err
	}
	if q.GetValidateOnly() {
		return &sentinelv1.RemoveMasterResponse{Changed: true}, nil
	}
	k.masters = slices.DeleteFunc(k.masters, func(m *sentinelv1.Master) bool { return m.GetName() == q.GetName() })
	return &sentinelv1.RemoveMasterResponse{Changed: true}, k.lost[q.GetName()]
}

func (k *keeper) GetSettings(ctx context.Context, q *sentinelv1.GetSettingsRequest) (*sentinelv1.GetSettingsResponse, error) {
	return &sentinelv1.GetSettingsResponse{Settings: k.settings}, k.note(ctx, q, q.GetConsistency())
}

func (k *keeper) UpdateSettings(ctx context.Context, q *sentinelv1.UpdateSettingsRequest) (*sentinelv1.UpdateSettingsResponse, error) {
	if !q.GetValidateOnly() {
		proto.Merge(k.settings, q.GetSettings())
	}
	return &sentinelv1.UpdateSettingsResponse{Changed: true, Settings: k.settings}, k.note(ctx, q, 0)
}

func (k *keeper) PauseMaster(ctx context.Context, q *sentinelv1.PauseMasterRequest) (*sentinelv1.PauseMasterResponse, error) {
	if err := cmp.Or(k.note(ctx, q, 0), k.refuse[q.GetName()]); err != nil {
		return nil, err
	}
	return &sentinelv1.PauseMasterResponse{Changed: true}, nil
}

func (k *keeper) ResumeMaster(ctx context.Context, q *sentinelv1.ResumeMasterRequest) (*sentinelv1.ResumeMasterResponse, error) {
	if err := k.note(ctx, q, 0); err != nil {
		return nil, err
	}
	m, err := k.find(q.GetName())
	if err == nil && !q.GetForce() {
		err = k.refuse[q.GetName()]
	}
	if err != nil {
		return nil, err
	}
	changed := m.GetPause() != nil
	m.Pause = nil
	return &sentinelv1.ResumeMasterResponse{Changed: changed, Master: m}, nil
}

// changesAsked counts the changes that were not only tried.
func (k *keeper) changesAsked() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, q := range k.asked {
		if v, ok := q.(interface{ GetValidateOnly() bool }); ok && !v.GetValidateOnly() {
			n++
		}
	}
	return n
}
