package api

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/detector"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// watched is a visit to an instance on which three Sentinels are active, two of them on one host.
func watched() Inspection {
	return Inspection{Info: &detector.Info{Role: raftfsm.RoleMaster, RunID: "run1"}, Sentinels: []ActiveSentinel{
		{Host: "10.0.0.9", ID: "bb"}, {Host: "10.0.0.8", ID: "aa"}, {Host: "10.0.0.9", ID: "bb"}, {Host: "10.0.0.9", ID: "cc"}, {Host: "10.0.0.8", ID: "aa"},
	}}
}

// TestSentinelsActive: a set that Sentinels still watch comes up paused and says who they are, unless the caller has a
// reason of its own.
func TestSentinelsActive(t *testing.T) {
	const who = "10.0.0.8 (aa), 10.0.0.9 (bb), 10.0.0.9 (cc)"
	for _, c := range []struct {
		name   string
		seen   Inspection
		given  string
		reason string // of the pause; "" for none
		warns  string
	}{
		{"nobody", Inspection{Info: &detector.Info{Role: raftfsm.RoleMaster}}, "", "", ""},
		{"three", watched(), "", "Sentinels are still active on it: " + who + "; stop them, then resume", "m comes up paused: Sentinels"},
		{"a reason of its own", watched(), "imported", "imported", ""},
		{
			"no address",
			Inspection{Info: &detector.Info{Role: raftfsm.RoleMaster}, Sentinels: []ActiveSentinel{{}}},
			"",
			"Sentinels are still active on it: at an address that is not told; stop them, then resume", "comes up paused",
		},
		{
			"no right to ask",
			Inspection{Info: &detector.Info{Role: raftfsm.RoleMaster}, SentinelsUnknown: "NOPERM"},
			"",
			"", "whether Sentinels are active on 10.0.0.1:6379 could not be told: NOPERM",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Inspector = fakeInspector{"10.0.0.1:6379": c.seen} })
			req := &sentinelv1.MonitorMasterRequest{
				Name: "m", Address: addr("10.0.0.1", 6379), Options: &sentinelv1.MasterOptions{Quorum: proto.Int32(2)}, PausedReason: c.given,
				ValidateOnly: true,
			}
			for range 2 {
				resp, err := r.admin.MonitorMaster(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				if got := resp.GetMaster().GetPause().GetReason(); got != c.reason {
					t.Errorf("validate_only %t: paused %q, want %q", req.GetValidateOnly(), got, c.reason)
				}
				if w := strings.Join(resp.GetWarnings(), "; "); (w == "") != (c.warns == "") || !strings.Contains(w, c.warns) {
					t.Errorf("warnings %q, want %q", w, c.warns)
				}
				req.ValidateOnly = false
			}
			// The words of a pause are not words of the option table: a repeat is no other set.
			if resp, err := r.admin.MonitorMaster(t.Context(), req); err != nil || resp.GetChanged() {
				t.Errorf("again: %v, %v", resp, err)
			}
		})
	}
}

// TestImportedWords: what an import brings is checked before anything is asked.
func TestImportedWords(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		spoil func(q *sentinelv1.MonitorMasterRequest)
		want  string
	}{
		{func(q *sentinelv1.MonitorMasterRequest) { q.PausedReason = "a\nb" }, "paused_reason: control characters"},
		{func(q *sentinelv1.MonitorMasterRequest) { q.PausedReason = strings.Repeat("a", 513) }, "paused_reason: has 513 bytes"},
		{func(q *sentinelv1.MonitorMasterRequest) { q.Replicas = []*sentinelv1.Address{addr("h", 0)} }, "replica of m: port 0"},
		{func(q *sentinelv1.MonitorMasterRequest) { q.Replicas = []*sentinelv1.Address{addr("0.0.0.0", 1)} }, "replica of m: host 0.0.0.0"},
	} {
		q := &sentinelv1.MonitorMasterRequest{Name: "m", Address: addr("10.0.0.1", 6379), Options: &sentinelv1.MasterOptions{Quorum: proto.Int32(2)}}
		c.spoil(q)
		_, err := r.admin.MonitorMaster(t.Context(), q)
		wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func metaOf(err error) map[string]string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()
		}
	}
	return nil
}

// TestResumeIsVisited: what stands in the way of a failover is named and refused. Force overrides Sentinels and nothing else,
// incomplete all else, and what was overridden is in the answer and on the record.
func TestResumeIsVisited(t *testing.T) {
	up := func(change func(*Inspection)) Inspection {
		i := Inspection{Info: &detector.Info{Role: raftfsm.RoleMaster}}
		change(&i)
		return i
	}
	good := up(func(*Inspection) {})
	locked := func(why string) Inspection { return Inspection{AuthRejected: why} }
	const both = ": nothing was changed"
	for _, c := range []struct {
		name              string
		master, replica   Inspection
		reason            sentinelv1.ErrorReason // unspecified: not refused
		force, incomplete bool                   // what it takes
		never             bool
		says              []string // in every refusal and warning
		end               string   // of the refusal
	}{
		{name: "well", master: good, replica: good},
		{
			name: "Sentinels on a replica alone", master: good, replica: watched(), reason: sentinelv1.ErrorReason_ERROR_REASON_SENTINELS_ACTIVE,
			force: true,
			says:  []string{"Sentinels are still active on m: 10.0.0.7:26379, 10.0.0.8:26379, 10.0.0.9 (cc), 10.9.0.9:26380; stop them first"},
			end:   both + ForceHint,
		},
		{
			name: "login", master: locked("NOAUTH"), replica: good, reason: sentinelv1.ErrorReason_ERROR_REASON_AUTH_REJECTED,
			incomplete: true,
			says:       []string{"the login is rejected by 10.0.0.1:6379 (NOAUTH); set it first: sentinelctl set m auth-pass=-"},
			end:        both + incompleteHint,
		},
		{
			name: "login at all that answer", master: locked("NOAUTH"), replica: locked("WRONGPASS"),
			reason: sentinelv1.ErrorReason_ERROR_REASON_AUTH_REJECTED, never: true,
			says: []string{"10.0.0.1:6379 (NOAUTH), 10.0.0.2:6379 (WRONGPASS)"}, end: both,
		},
		{
			name: "commands", master: good, replica: up(func(i *Inspection) { i.Lacks = []string{"config", "role"} }),
			reason: sentinelv1.ErrorReason_ERROR_REASON_COMMANDS_MISSING, incomplete: true,
			says: []string{"10.0.0.2:6379 (config, role)", "sentinelctl set m rename-command="}, end: both + incompleteHint,
		},
		{
			name: "everything", master: locked("WRONGPASS"), replica: watched(), reason: sentinelv1.ErrorReason_ERROR_REASON_SENTINELS_ACTIVE,
			force: true, incomplete: true, says: []string{"10.0.0.8:26379", "rejected by 10.0.0.1:6379"}, end: both,
		},
		{
			name: "no rights", master: good, replica: up(func(i *Inspection) { i.SentinelsUnknown, i.LacksUnknown = "NOPERM a", "NOPERM b" }),
			says: []string{"NOPERM a", "NOPERM b"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := fakeInspector{}
			r := newRig(t, func(o *Options) { o.Inspector = seen })
			r.raise(t)
			r.monitor(t, "m", "10.0.0.1")
			r.replica(t, "10.0.0.2")
			if resp, err := r.admin.ResumeMaster(t.Context(), &sentinelv1.ResumeMasterRequest{Name: "m"}); err != nil || len(resp.GetWarnings()) > 0 {
				t.Fatalf("a set that is not paused was visited: %v, %v", resp, err)
			}
			if _, err := r.admin.PauseMaster(t.Context(), &sentinelv1.PauseMasterRequest{Name: "m"}); err != nil {
				t.Fatal(err)
			}
			seen["10.0.0.1:6379"], seen["10.0.0.2:6379"] = c.master, c.replica
			for _, q := range []struct{ force, incomplete bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
				enough := !c.never && (q.force || !c.force) && (q.incomplete || !c.incomplete)
				resp, err := r.admin.ResumeMaster(t.Context(), &sentinelv1.ResumeMasterRequest{Name: "m", Force: q.force, Incomplete: q.incomplete})
				if enough {
					if err != nil || !resp.GetChanged() || resp.GetMaster().GetPause() != nil {
						t.Fatalf("%+v: %v, %v", q, resp, err)
					}
					r.wantOverridden(t, resp.GetWarnings(), c.says, c.force || c.incomplete)
					return
				}
				if err == nil {
					t.Fatalf("%+v: it was resumed", q)
				}
				if q.force || q.incomplete {
					continue
				}
				wantError(t, err, codes.FailedPrecondition, c.reason)
				for _, w := range c.says {
					if !strings.Contains(err.Error(), w) || !strings.HasSuffix(err.Error(), c.end) {
						t.Errorf("%q does not say %q, or does not end with %q", err, w, c.end)
					}
				}
				if at := metaOf(err)["sentinels"]; c.force && at != "10.0.0.7:26379,10.0.0.8:26379,10.0.0.9,10.9.0.9:26380" {
					t.Errorf("metadata names %q", at)
				}
			}
			if !c.never {
				t.Fatal("it was never resumed")
			}
		})
	}
}

// wantOverridden looks for words in the warnings of a resume, and, where they were objections, in its event.
func (r *rig) wantOverridden(t *testing.T, warnings, says []string, recorded bool) {
	t.Helper()
	warned, detail := strings.Join(warnings, "; "), ""
	events, _ := r.node.State().EventsSince(raftfsm.Cursor{})
	for e := range events {
		if e.Kind == raftfsm.EventResume {
			detail = e.Detail
		}
	}
	for _, w := range says {
		if !strings.Contains(warned, w) || recorded != strings.Contains(detail, w) {
			t.Errorf("warnings %q or event %q do not say %q", warned, detail, w)
		}
	}
	if len(says) == 0 && warned != "" || strings.Contains(warned, "nothing was changed") {
		t.Errorf("warnings %q", warned)
	}
}

// TestResumeOfASetThatIsDown: the dead master may be why it is resumed.
func TestResumeOfASetThatIsDown(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Inspector = fakeInspector{"10.0.0.2:6379": {Info: &detector.Info{Role: raftfsm.RoleReplica}}}
	})
	r.monitor(t, "m", "10.0.0.1")
	r.replica(t, "10.0.0.2")
	if _, err := r.admin.PauseMaster(t.Context(), &sentinelv1.PauseMasterRequest{Name: "m"}); err != nil {
		t.Fatal(err)
	}
	resp, err := r.admin.ResumeMaster(t.Context(), &sentinelv1.ResumeMasterRequest{Name: "m"})
	if err != nil || !resp.GetChanged() || !strings.Contains(strings.Join(resp.GetWarnings(), ""), "10.0.0.1:6379 does not answer") {
		t.Errorf("%v, %v", resp, err)
	}
}

// TestScripts: no wire changes the path of a script unless the node's own file allows it, and then only to what can run.
func TestScripts(t *testing.T) {
	const script = "/opt/notify"
	withScript := func(path string) *sentinelv1.MasterOptions {
		return &sentinelv1.MasterOptions{Quorum: proto.Int32(2), NotificationScript: &path}
	}
	monitor := func(r *rig, name, host, path string) error {
		_, err := r.admin.MonitorMaster(t.Context(), &sentinelv1.MonitorMasterRequest{
			Name: name, Address: addr(host, 6379), Options: withScript(path),
		})
		return err
	}
	update := func(r *rig, path string) error {
		_, err := r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{Name: "m", Options: withScript(path)})
		return err
	}
	check := func(path string) error {
		if path != script {
			return errors.New(path + ": no such file")
		}
		return nil
	}
	r := newRig(t, func(o *Options) { o.CheckScript = check })
	denied := sentinelv1.ErrorReason_ERROR_REASON_SCRIPTS_DENIED
	wantError(t, monitor(r, "m", "10.0.0.1", script), codes.PermissionDenied, denied)
	r.monitor(t, "m", "10.0.0.1")
	wantError(t, update(r, script), codes.PermissionDenied, denied)
	if err := update(r, ""); err != nil {
		t.Errorf("no change: %v", err)
	}

	r = newRig(t, func(o *Options) { o.CheckScript, o.ScriptsReconfig = check, true })
	if err := monitor(r, "m", "10.0.0.1", script); err != nil {
		t.Fatal(err)
	}
	if err := monitor(r, "m", "10.0.0.1", script); err != nil {
		t.Errorf("again: %v", err)
	}
	for _, err := range []error{monitor(r, "n", "10.0.0.2", "/none"), update(r, "/none")} {
		wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
		if !strings.Contains(err.Error(), "notification-script: /none: no such file") || metaOf(err)["script"] != "notification-script" {
			t.Errorf("%v, %v", err, metaOf(err))
		}
	}
	if err := update(r, ""); err != nil {
		t.Errorf("cleared: %v", err)
	}
	if m, _ := r.node.State().Master("m"); m.Options.NotificationScript != "" {
		t.Errorf("the script is %q", m.Options.NotificationScript)
	}
}

// TestNoTimeForAPauseWithoutEnd: what was paused until it is resumed is never resumed by a time.
func TestNoTimeForAPauseWithoutEnd(t *testing.T) {
	r := newRig(t)
	r.monitor(t, "m", "10.0.0.1")
	pause := func(why string, ms int64) error {
		_, err := r.admin.PauseMaster(t.Context(), &sentinelv1.PauseMasterRequest{Name: "m", Reason: why, DurationMs: ms})
		return err
	}
	for _, c := range []struct {
		why     string
		ms      int64
		refused bool
	}{
		{"deploy", 1000, false},
		{"longer", 2000, false},
		{"Sentinels are in charge", 0, false},
		{"deploy", 1000, true},
		{"another word", 0, false},
	} {
		err := pause(c.why, c.ms)
		if !c.refused {
			if err != nil {
				t.Fatalf("%v: %v", c, err)
			}
			continue
		}
		wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_PAUSED)
		if m, _ := r.node.State().Master("m"); m.Pause.UntilMs != 0 || !strings.Contains(err.Error(), "resume it first") {
			t.Errorf("%v, until %d", err, m.Pause.UntilMs)
		}
	}
}

// TestResumeBlind: where no instance answers, nothing is known of Sentinels, and only force resumes.
func TestResumeBlind(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Inspector = fakeInspector{} })
	r.monitor(t, "m", "10.0.0.1")
	if _, err := r.admin.PauseMaster(t.Context(), &sentinelv1.PauseMasterRequest{Name: "m", Reason: "imported"}); err != nil {
		t.Fatal(err)
	}
	_, err := r.admin.ResumeMaster(t.Context(), &sentinelv1.ResumeMasterRequest{Name: "m"})
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_SENTINELS_ACTIVE)
	if !strings.Contains(err.Error(), "no instance of m tells") || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	if resp, err := r.admin.ResumeMaster(t.Context(), &sentinelv1.ResumeMasterRequest{Name: "m", Force: true}); err != nil || !resp.GetChanged() {
		t.Errorf("forced: %v, %v", resp, err)
	}
}

// locked is an inspector of instances that want a password, and on which Sentinels are active.
type locked struct{ fakeInspector }

func (locked) Inspect(_ context.Context, _ raftfsm.Addr, o raftfsm.Options) (Inspection, error) {
	if o.AuthPass.IsZero() {
		return Inspection{AuthRejected: "NOAUTH"}, nil
	}
	return watched(), nil
}

// TestPasswordShowsSentinels: the first password that works shows the Sentinels that could not be seen before.
func TestPasswordShowsSentinels(t *testing.T) {
	for _, c := range []struct{ paused, force, refused bool }{
		{false, false, true}, {false, true, true}, {true, false, false},
	} {
		r := newRig(t, func(o *Options) { o.Inspector = locked{} })
		if m := r.monitor(t, "m", "10.0.0.1"); m.GetMaster().GetPause() != nil {
			t.Fatalf("%v", m)
		}
		if c.paused {
			if _, err := r.admin.PauseMaster(t.Context(), &sentinelv1.PauseMasterRequest{Name: "m"}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := r.admin.UpdateMaster(t.Context(), &sentinelv1.UpdateMasterRequest{
			Name: "m", Options: &sentinelv1.MasterOptions{AuthPass: new("sesame")}, Force: c.force,
		})
		if !c.refused {
			if err != nil {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_SENTINELS_ACTIVE)
		if !strings.Contains(err.Error(), "10.0.0.8 (aa)") || !strings.Contains(err.Error(), "pause it first") {
			t.Error(err)
		}
	}
}
