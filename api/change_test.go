package api

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/raftsentinel/raftsentinel/detector"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestBadArgumentsNameWhatAndWhere: a clear error, and nothing enters the log.
func TestBadArgumentsNameWhatAndWhere(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "known", "10.0.0.9")
	before := r.node.State()
	quorum := func(n int32) *sentinelv1.MasterOptions { return &sentinelv1.MasterOptions{Quorum: new(n)} }
	monitor := func(name string, a *sentinelv1.Address, o *sentinelv1.MasterOptions) func() error {
		return func() error {
			_, err := r.admin.MonitorMaster(t.Context(), &sentinelv1.MonitorMasterRequest{Name: name, Address: a, Options: o})
			return err
		}
	}
	update := func(o *sentinelv1.MasterOptions, mask ...string) func() error {
		return func() error {
			_, err := r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
				Name: "known", Options: o, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask},
			})
			return err
		}
	}
	for name, c := range map[string]struct {
		call  func() error
		words []string
	}{
		"quorum 0":           {monitor("m", addr("10.0.0.1", 6379), quorum(0)), []string{"master m", "quorum", "1 or greater"}},
		"no quorum":          {monitor("m", addr("10.0.0.1", 6379), nil), []string{"master m", "quorum"}},
		"control characters": {monitor("m\n2", addr("10.0.0.1", 6379), quorum(1)), []string{`m\n2`, "control characters"}},
		"empty name":         {monitor("", addr("10.0.0.1", 6379), quorum(1)), []string{"name"}},
		"bad host":           {monitor("m", addr("10.0.0.1 x", 6379), quorum(1)), []string{"master m", "10.0.0.1 x"}},
		"no address":         {monitor("m", nil, quorum(1)), []string{"master m", "address"}},
		"port 0":             {monitor("m", addr("10.0.0.1", 0), quorum(1)), []string{"master m", "port 0"}},
		"port 70000":         {monitor("m", addr("10.0.0.1", 70000), quorum(1)), []string{"master m", "70000"}},
		"port over 32 bits":  {monitor("m", addr("10.0.0.1", 1<<32-1), quorum(1)), []string{"master m", "port"}},
		"unknown path":       {update(nil, "down_after"), []string{"down_after", "down_after_ms"}},
		"nothing to set":     {update(nil), []string{"nothing to set"}},
		"no default":         {update(nil, "quorum"), []string{"quorum"}},
		"negative":           {update(&sentinelv1.MasterOptions{DownAfterMs: proto.Int64(-1)}), []string{"down-after-milliseconds", "-1"}},
		"script with newline": {
			update(&sentinelv1.MasterOptions{NotificationScript: new("/a\nb")}),
			[]string{"notification-script", "control characters"},
		},
		"unknown tls": {update(&sentinelv1.MasterOptions{Tls: sentinelv1.TlsMode(9).Enum()}), []string{"tls", "9"}},
		"one good, one bad": {
			update(&sentinelv1.MasterOptions{ParallelSyncs: proto.Int32(2), DownAfterMs: proto.Int64(0)}),
			[]string{"down-after-milliseconds"},
		},
		"page size": {func() error {
			_, err := r.app.ListMasters(t.Context(), &sentinelv1.ListMastersRequest{PageSize: 1001})
			return err
		}, []string{"page_size", "1001"}},
		"reason": {func() error {
			_, err := r.admin.PauseMaster(t.Context(), &sentinelv1.PauseMasterRequest{Name: "known", Reason: "a\x00b"})
			return err
		}, []string{"reason", "control characters"}},
		"pattern": {func() error {
			_, err := r.admin.ResetMasters(t.Context(), &sentinelv1.ResetMastersRequest{})
			return err
		}, []string{"pattern"}},
		"adopt and enforce": {func() error {
			_, err := r.admin.ResumeMaster(t.Context(), &sentinelv1.ResumeMasterRequest{
				Name: "known", Adopt: addr("10.0.0.9", 6379), Enforce: true,
			})
			return err
		}, []string{"adopt", "enforce"}},
		"consistency": {func() error {
			_, err := r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{Name: "known", Consistency: 9})
			return err
		}, []string{"consistency", "9"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.call()
			wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
			for _, w := range c.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if r.node.State() != before {
				t.Error("the state changed")
			}
		})
	}
}

// TestRepeatedChangesChangeNothing: each change is made twice; the second answers changed = false and is not in the log.
func TestRepeatedChangesChangeNothing(t *testing.T) {
	type change interface{ GetChanged() bool }
	r := newRig(t)
	for _, step := range []struct {
		name string
		call func() (change, error)
	}{
		{"monitor", func() (change, error) {
			return r.admin.MonitorMaster(t.Context(), &sentinelv1.MonitorMasterRequest{
				Name: "m", Address: addr("10.0.0.1", 6379), Options: &sentinelv1.MasterOptions{Quorum: proto.Int32(2)},
			})
		}},
		{"update", func() (change, error) {
			return r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{Name: "m", Options: &sentinelv1.MasterOptions{
				DownAfterMs: proto.Int64(1000), AuthPass: new("geheim"), RenameCommand: map[string]string{"CONFIG": "abc"},
			}})
		}},
		{"pause", func() (change, error) {
			return r.admin.PauseMaster(t.Context(), &sentinelv1.PauseMasterRequest{Name: "m", Reason: "upgrade"})
		}},
		{"resume", func() (change, error) {
			return r.admin.ResumeMaster(t.Context(), &sentinelv1.ResumeMasterRequest{Name: "m"})
		}},
		{"forget", func() (change, error) {
			if _, known := r.node.State().Owner(raftfsm.Addr{Host: "10.0.0.2", Port: 6379}); !known && r.node.proposed < 5 {
				r.replica(t, "10.0.0.2")
			}
			return r.admin.ForgetReplica(t.Context(), &sentinelv1.ForgetReplicaRequest{Address: addr("10.0.0.2", 6379)})
		}},
		{"remove", func() (change, error) {
			return r.admin.RemoveMaster(t.Context(), &sentinelv1.RemoveMasterRequest{Name: "m"})
		}},
	} {
		first, err := step.call()
		if err != nil || !first.GetChanged() {
			t.Fatalf("%s: changed %v, %v", step.name, first.GetChanged(), err)
		}
		proposed := r.node.proposed
		second, err := step.call()
		if err != nil || second.GetChanged() || r.node.proposed != proposed {
			t.Fatalf("%s again: changed %v, %d entries, %v", step.name, second.GetChanged(), r.node.proposed-proposed, err)
		}
	}
	_, err := r.admin.RemoveMaster(t.Context(), &sentinelv1.RemoveMasterRequest{Name: "never"})
	wantError(t, err, codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND)
}

func TestMonitorAgain(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	r.replica(t, "10.0.0.2")
	monitor := func(name, host string, quorum int32) (*sentinelv1.MonitorMasterResponse, error) {
		return r.admin.MonitorMaster(t.Context(), &sentinelv1.MonitorMasterRequest{
			Name: name, Address: addr(host, 6379), Options: &sentinelv1.MasterOptions{Quorum: new(quorum)},
		})
	}
	if resp, err := monitor("m", "10.0.0.2", 2); err != nil || resp.GetChanged() || resp.GetMaster().GetAddress().GetHost() != "10.0.0.1" {
		t.Errorf("by a replica's address: %v, %v", resp, err)
	}
	_, err := monitor("m", "10.0.0.3", 2)
	wantError(t, err, codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_DUPLICATE_MASTER)
	_, err = monitor("m", "10.0.0.1", 3)
	wantError(t, err, codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_DUPLICATE_MASTER)
	_, err = monitor("other", "10.0.0.2", 2)
	wantError(t, err, codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_ADDRESS_TAKEN)
	if !strings.Contains(err.Error(), "other") || !strings.Contains(err.Error(), "master m;") {
		t.Errorf("%q does not name both sets", err)
	}
}

func TestUpdateMask(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	update := func(o *sentinelv1.MasterOptions, mask ...string) *sentinelv1.MasterOptions {
		t.Helper()
		resp, err := r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
			Name: "m", Options: o, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask},
		})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetMaster().GetOptions()
	}
	o := update(&sentinelv1.MasterOptions{
		DownAfterMs: proto.Int64(500), ParallelSyncs: proto.Int32(3), Tls: sentinelv1.TlsMode_TLS_MODE_YES.Enum(),
		RenameCommand: map[string]string{"CONFIG": "x", "SLAVEOF": "y"},
	})
	if o.GetDownAfterMs() != 500 || o.GetParallelSyncs() != 3 || o.GetTls() != sentinelv1.TlsMode_TLS_MODE_YES || len(o.GetRenameCommand()) != 2 {
		t.Errorf("set fields: %v", o)
	}
	o = update(&sentinelv1.MasterOptions{DownAfterMs: proto.Int64(600), ParallelSyncs: proto.Int32(9)}, "down_after_ms")
	if o.GetDownAfterMs() != 600 || o.GetParallelSyncs() != 3 {
		t.Errorf("a path that the mask leaves out was set: %v", o)
	}
	o = update(&sentinelv1.MasterOptions{RenameCommand: map[string]string{"CONFIG": "z"}}, "down_after_ms", "rename_command", "tls")
	if o.GetDownAfterMs() != 30000 || o.GetRenameCommand()["config"] != "z" || len(o.GetRenameCommand()) != 1 || o.GetTls() != 0 {
		t.Errorf("defaults and the whole map: %v", o)
	}
}

func TestExpectedRevisionAndValidateOnly(t *testing.T) {
	r := newRig(t)
	m := r.monitor(t, "m", "10.0.0.1").GetMaster()
	before := r.node.State()
	up, err := r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
		Name: "m", ValidateOnly: true, Options: &sentinelv1.MasterOptions{Quorum: proto.Int32(7)},
	})
	if err != nil || !up.GetChanged() || up.GetMaster().GetOptions().GetQuorum() != 7 || len(up.GetWarnings()) != 1 {
		t.Errorf("validate only: %v, %v", up, err)
	}
	_, err = r.admin.RemoveMaster(t.Context(), &sentinelv1.RemoveMasterRequest{Name: "m", ExpectedRevision: m.GetRevision() + 1})
	wantError(t, err, codes.Aborted, sentinelv1.ErrorReason_ERROR_REASON_REVISION_MISMATCH)
	if r.node.State() != before {
		t.Fatal("the state changed")
	}
	if resp, err := r.admin.RemoveMaster(t.Context(), &sentinelv1.RemoveMasterRequest{Name: "m", ExpectedRevision: m.GetRevision()}); err != nil || !resp.GetChanged() {
		t.Errorf("at the right revision: %v, %v", resp, err)
	}
}

func TestPreflight(t *testing.T) {
	master := func(replicas ...string) Inspection {
		in := &detector.Info{Role: raftfsm.RoleMaster}
		for _, host := range replicas {
			in.Replicas = append(in.Replicas, detector.ReplicaLine{Addr: raftfsm.Addr{Host: host, Port: 6380}})
		}
		return Inspection{Info: in}
	}
	world := fakeInspector{
		"10.0.0.1:6379":  master(),
		"10.0.0.2:6379":  {Info: &detector.Info{Role: raftfsm.RoleReplica, MasterHost: "10.0.0.1", MasterPort: 6379}},
		"10.0.0.3:6379":  {AuthRejected: "NOAUTH Authentication required."},
		"127.0.0.1:6379": master("10.0.0.7", "127.0.0.1"),
		"127.0.0.1:6380": master("127.0.0.1"),
	}
	for name, c := range map[string]struct {
		host   string
		port   uint32
		pass   string
		reason sentinelv1.ErrorReason
		warns  bool
	}{
		"a master":               {host: "10.0.0.1"},
		"a replica":              {host: "10.0.0.2", reason: sentinelv1.ErrorReason_ERROR_REASON_NOT_A_MASTER},
		"wrong password":         {host: "10.0.0.3", pass: "geheim", reason: sentinelv1.ErrorReason_ERROR_REASON_AUTH_REJECTED},
		"password comes later":   {host: "10.0.0.3", warns: true},
		"silent":                 {host: "10.0.0.9", warns: true},
		"loopback, remote":       {host: "127.0.0.1", reason: sentinelv1.ErrorReason_ERROR_REASON_LOOPBACK_MASTER},
		"loopback, all of a box": {host: "127.0.0.1", port: 6380},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Inspector = world })
			req := &sentinelv1.MonitorMasterRequest{
				Name: "m", Address: addr(c.host, max(c.port, 6379)), Options: &sentinelv1.MasterOptions{Quorum: proto.Int32(2)},
			}
			if c.pass != "" {
				req.Options.AuthPass = &c.pass
			}
			resp, err := r.admin.MonitorMaster(t.Context(), req)
			if c.reason == 0 {
				if err != nil || !resp.GetChanged() || (len(resp.GetWarnings()) > 0) != c.warns {
					t.Fatalf("%v, %v", resp, err)
				}
				return
			}
			wantError(t, err, codes.FailedPrecondition, c.reason)
			if r.node.proposed != 0 {
				t.Error("a refused change is in the log")
			}
			req.Force = true
			if resp, err := r.admin.MonitorMaster(t.Context(), req); err != nil || len(resp.GetWarnings()) != 1 {
				t.Errorf("forced: %v, %v", resp, err)
			}
		})
	}
}

func TestPasswordIsTriedOnEveryInstance(t *testing.T) {
	world := fakeInspector{
		"10.0.0.1:6379": {Info: &detector.Info{Role: raftfsm.RoleMaster}},
		"10.0.0.2:6379": {AuthRejected: "WRONGPASS"},
	}
	r := newRig(t, func(o *Options) { o.Inspector = world })
	r.monitor(t, "m", "10.0.0.1")
	r.replica(t, "10.0.0.2")
	r.replica(t, "10.0.0.3")
	req := &sentinelv1.UpdateMasterRequest{Name: "m", Options: &sentinelv1.MasterOptions{AuthPass: new("geheim")}}
	_, err := r.admin.UpdateMaster(t.Context(), req)
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_AUTH_REJECTED)
	if !strings.Contains(err.Error(), "10.0.0.2:6379") || strings.Contains(err.Error(), "10.0.0.1:6379") {
		t.Errorf("%q does not name the one that rejects it", err)
	}
	if m, _ := r.node.State().Master("m"); !m.Options.AuthPass.IsZero() {
		t.Error("the password was committed")
	}
	req.Force = true
	resp, err := r.admin.UpdateMaster(t.Context(), req)
	if err != nil || !resp.GetMaster().GetOptions().GetAuthPassSet() || len(resp.GetWarnings()) != 2 {
		t.Errorf("forced: %v, %v", resp, err)
	}
}

// TestSecretsNeverComeOut looks for the password in everything that is answered, watched or logged.
func TestSecretsNeverComeOut(t *testing.T) {
	const secret = "s3cr3t-w0rd"
	var log bytes.Buffer
	r := newRig(t, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	r.monitor(t, "m", "10.0.0.1")
	up, err := r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
		Name: "m", Options: &sentinelv1.MasterOptions{AuthPass: proto.String(secret)},
	})
	if err != nil {
		t.Fatal(err)
	}
	get, _ := r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{Name: "m"})
	list, _ := r.app.ListMasters(t.Context(), &sentinelv1.ListMastersRequest{})
	answers := []proto.Message{up, get, list}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := r.app.WatchEvents(ctx, &sentinelv1.WatchEventsRequest{After: &sentinelv1.EventCursor{}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := events.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if e.GetSynced() != nil {
			break
		}
		answers = append(answers, e)
	}
	for _, a := range answers {
		if text := prototext.Format(a); strings.Contains(text, secret) {
			t.Errorf("a %T tells the password", a)
		}
	}
	_, err = r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
		Name: "m", Options: &sentinelv1.MasterOptions{AuthPass: proto.String(secret + "\n")},
	})
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error %v", err)
	}
	if strings.Contains(log.String(), secret) {
		t.Error("the log tells the password")
	}
	if !get.GetMaster().GetOptions().GetAuthPassSet() || get.GetMaster().GetOptions().AuthPass != nil {
		t.Errorf("options %v", get.GetMaster().GetOptions())
	}
}

// TestNoQuorum: within the bound, a read or change that cannot reach a majority says that nothing was changed, and one whose
// command was sent says that it does not know.
func TestNoQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor(t, "m", "10.0.0.1")
		r.node.set(func(n *fakeNode) { n.hang = true })
		client := sentinelv1.NewAdminServiceClient(r.server.Direct())
		began := time.Now()
		_, err := client.RemoveMaster(t.Context(), &sentinelv1.RemoveMasterRequest{Name: "m"})
		wantError(t, err, codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_TIMEOUT)
		if took := time.Since(began); took > callLimit {
			t.Errorf("took %v", took)
		}
		r.node.set(func(n *fakeNode) { n.hang = false })
		r.node.set(func(n *fakeNode) { n.proposeErr = errUnknown })
		_, err = r.admin.RemoveMaster(t.Context(), &sentinelv1.RemoveMasterRequest{Name: "m"})
		wantError(t, err, codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_UNKNOWN_OUTCOME)
		r.node.set(func(n *fakeNode) { n.readErr = errNoLeader })
		_, err = r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{Name: "m"})
		wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
		got, err := r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{
			Name: "m", Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL,
		})
		if err != nil || got.GetAgeMs() != 7 {
			t.Errorf("local read: %v, %v", got, err)
		}
		r.node.set(func(n *fakeNode) { n.localErr = errLoading })
		_, err = r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{
			Name: "m", Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL,
		})
		wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_LOADING)
	})
}

// TestLostAnswer: a change whose outcome its proposal does not tell is looked for in the state, and not made again.
func TestLostAnswer(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	r.node.set(func(n *fakeNode) { n.lost = errUnknown })
	set := func(quorum int32) (*sentinelv1.UpdateMasterResponse, error) {
		return r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
			Name: "m", Options: &sentinelv1.MasterOptions{Quorum: &quorum}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"quorum"}},
		})
	}
	before := r.node.State().Index()
	got, err := set(3)
	if err != nil || !got.GetChanged() || got.GetMaster().GetOptions().GetQuorum() != 3 || r.node.State().Index() != before+1 {
		t.Errorf("made: %v, %v", got, err)
	}
	r.node.set(func(n *fakeNode) { n.lost, n.proposeErr = nil, errUnknown })
	_, err = set(4)
	wantError(t, err, codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_UNKNOWN_OUTCOME)
}
