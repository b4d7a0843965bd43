package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func fileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const appliedFile = `port 26379
dir /tmp
sentinel announce-hostnames yes
sentinel monitor cache 10.0.0.1 6380 3
sentinel down-after-milliseconds cache 5000
sentinel auth-pass cache sesame
sentinel rename-command cache CONFIG GUESSME
sentinel monitor fresh 10.0.0.2 6379 2
sentinel auth-pass fresh "open sesame"
sentinel failover-timeout fresh 60000
sentinel monitor same 10.0.0.3 6379 2
sentinel known-replica same 10.0.0.3 6380
`

// applyTo is a cluster that the file of these tests differs from in several ways.
func applyTo() *keeper {
	cache := watchedAt("cache", "10.0.0.1", 2)
	cache.Options.RenameCommand = map[string]string{"role": "ROLLE"}
	cache.Options.AuthPassSet = true
	k := newKeeper(cache, watchedAt("old", "10.0.0.9", 2), watchedAt("same", "10.0.0.3", 2))
	k.passwords["cache"] = "former"
	return k
}

// TestApply: the dry run tells what would be done, apply does it, and after it nothing is left to do.
func TestApply(t *testing.T) {
	k := applyTo()
	endpoint, file := serveNode(t, k), fileOf(t, appliedFile+"sentinel failover-brake 70\nremove-dead-nodes-after 600\n")
	r := ctl(t.Context(), t, endpoint, nil, "apply", file, "--dry-run", "--prune")
	if r.status != exitCheck || k.changesAsked() != 0 {
		t.Fatalf("dry run: exit %d, %s, %d changes", r.status, r.stderr, k.changesAsked())
	}
	golden(t, "apply-dry-run", r.stdout)
	r = ctl(t.Context(), t, endpoint, nil, "apply", file, "--dry-run", "--prune", "-o", "json")
	golden(t, "apply-dry-run.json", r.stdout)
	if strings.Contains(r.stdout+r.stderr, "sesame") {
		t.Error("a password shows")
	}

	if r = ctl(t.Context(), t, endpoint, nil, "apply", file, "--prune"); r.status != exitUsage || !strings.Contains(r.stderr, "over old on every node") {
		t.Errorf("prune without --yes: exit %d, %s", r.status, r.stderr)
	}
	r = ctl(t.Context(), t, endpoint, nil, "apply", file, "--prune", "--yes")
	if r.status != exitDone || r.stderr != "" {
		t.Fatalf("apply: exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
	golden(t, "apply", r.stdout)
	cache, _ := k.find("cache")
	fresh, _ := k.find("fresh")
	if o := cache.GetOptions(); o.GetQuorum() != 3 || o.GetDownAfterMs() != 5000 || o.GetFailoverTimeoutMs() != 180000 ||
		o.GetRenameCommand()["role"] != "ROLLE" || o.GetRenameCommand()["config"] != "GUESSME" || k.passwords["cache"] != "sesame" {
		t.Errorf("cache %v", cache)
	}
	if fresh.GetPause() != nil || k.passwords["fresh"] != "open sesame" || fresh.GetOptions().GetFailoverTimeoutMs() != 60000 {
		t.Errorf("fresh %v", fresh)
	}
	if _, err := k.find("old"); err == nil || !k.settings.GetAnnounceHostnames() || k.settings.GetResolveHostnames() || k.settings.GetFailoverBrakePercent() != 70 ||
		k.settings.GetRemoveDeadNodesAfterMs() != 600_000 {
		t.Errorf("old is still there, or settings %v", k.settings)
	}
	before := k.changesAsked()
	for _, args := range [][]string{{"--prune"}, {"--dry-run", "--prune"}, {"-o", "json"}} {
		r = ctl(t.Context(), t, endpoint, nil, append([]string{"apply", file}, args...)...)
		if r.status != exitDone || k.changesAsked() != before {
			t.Errorf("%v again: exit %d, %s%s, %d changes", args, r.status, r.stdout, r.stderr, k.changesAsked()-before)
		}
	}
	if !strings.Contains(r.stdout, `"changed": false`) {
		t.Errorf("JSON %s", r.stdout)
	}
}

// TestApplyInPart: what could not be done is named, nothing is removed then, and the exit status tells.
func TestApplyInPart(t *testing.T) {
	rejected := refusalFor(t, codes.FailedPrecondition, "AUTH_REJECTED", "the login is rejected by 10.0.0.1:6379", nil)
	for _, c := range []struct {
		name   string
		refuse map[string]error
		args   []string
		status int
		says   []string // of stdout and stderr together
	}{
		{
			"one of several",
			map[string]error{"cache": rejected},
			[]string{"--prune", "--yes"},
			exitFailed,
			[]string{"failed", "the login is rejected by 10.0.0.1:6379", "created", "not done: cache, old; the others are", "nothing is removed while"},
		},
		{
			"all that differ",
			map[string]error{"cache": rejected, "fresh": rejected},
			nil, exitRefused,
			[]string{"not done: cache, fresh; nothing was changed", "left as they are (--prune removes them): old"},
		},
		{
			"in a dry run",
			map[string]error{"cache": rejected},
			[]string{"--dry-run"},
			exitCheck,
			[]string{"would fail", "the login is rejected", "not as it should be: "},
		},
		{
			"no leader",
			map[string]error{"cache": refusalFor(t, codes.Unavailable, "NO_LEADER", "no leader", nil)},
			[]string{"--prune", "--yes"},
			exitUnreachable,
			[]string{"not tried: "},
		},
		{
			"removal", map[string]error{"old": rejected}, []string{"--prune", "--yes"}, exitFailed, []string{"not done: old; the others are"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := applyTo()
			k.refuse = c.refuse
			file := fileOf(t, strings.Replace(appliedFile, "sentinel announce-hostnames yes\n", "", 1))
			r := ctl(t.Context(), t, serveNode(t, k), nil, append([]string{"apply", file}, c.args...)...)
			if r.status != c.status {
				t.Errorf("exit %d, want %d", r.status, c.status)
			}
			for _, w := range c.says {
				if !strings.Contains(r.stdout+r.stderr, w) {
					t.Errorf("%q is not in\n%s%s", w, r.stdout, r.stderr)
				}
			}
			if _, err := k.find("old"); err != nil {
				t.Error("a set was removed though something else failed")
			}
		})
	}
}

// TestApplyRenames: a set may get another name, where the old one is pruned: its address is free only then.
func TestApplyRenames(t *testing.T) {
	k := newKeeper(watchedAt("old", "10.0.0.9", 2))
	endpoint, file := serveNode(t, k), fileOf(t, "sentinel monitor fresh 10.0.0.9 6379 2\n")
	if r := ctl(t.Context(), t, endpoint, nil, "apply", file); r.status != exitRefused || !strings.Contains(r.stdout, "belongs to master old") {
		t.Errorf("without --prune: exit %d, %s", r.status, r.stdout)
	}
	if r := ctl(t.Context(), t, endpoint, nil, "apply", file, "--prune", "--dry-run"); r.status != exitCheck || !strings.Contains(r.stderr, "removed first") {
		t.Errorf("dry run: exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
	r := ctl(t.Context(), t, endpoint, nil, "apply", file, "--prune", "--yes")
	if _, err := k.find("fresh"); err != nil || r.status != exitDone {
		t.Errorf("exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
}

// TestApplyMovesNoAddress: an address that is none of the set's is told, and stays a difference.
func TestApplyMovesNoAddress(t *testing.T) {
	k := newKeeper(watchedAt("cache", "10.0.0.1", 2))
	endpoint, file := serveNode(t, k), fileOf(t, "sentinel monitor cache 10.0.0.7 6379 3\n")
	for _, dry := range []bool{true, false} {
		args := []string{"apply", file}
		if dry {
			args = append(args, "--dry-run")
		}
		r := ctl(t.Context(), t, endpoint, nil, args...)
		if r.status != exitCheck || !strings.Contains(r.stderr, "the file says 10.0.0.7:6379") || !strings.Contains(r.stderr, "never moves an address") {
			t.Errorf("dry run %t: exit %d, %s%s", dry, r.status, r.stdout, r.stderr)
		}
	}
	if m, _ := k.find("cache"); m.GetOptions().GetQuorum() != 3 || m.GetAddress().GetHost() != "10.0.0.1" {
		t.Errorf("%v", m)
	}
}

func TestApplyReadsTheFileFirst(t *testing.T) {
	file := fileOf(t, "sentinel monitor m 10.0.0.1 6379 0\nsentinel auth-pass n sesame\n")
	r := ctl(t.Context(), t, "127.0.0.1:1", nil, "apply", file)
	if r.status != exitUsage || strings.Count(r.stderr, file) != 2 || strings.Contains(r.stderr, "sesame") {
		t.Errorf("exit %d, %s", r.status, r.stderr)
	}
	k := newKeeper()
	endpoint := serveNode(t, k)
	r = ctl(t.Context(), t, endpoint, strings.NewReader("sentinel monitor m 10.0.0.1 6379 1\n"), "apply", "-")
	if r.status != exitDone || !strings.Contains(r.stdout, "created") {
		t.Errorf("from stdin: exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
	k.fail = refusal(t, codes.Unavailable, "no leader")
	if r = ctl(t.Context(), t, endpoint, nil, "apply", fileOf(t, "sentinel monitor n 10.0.0.2 6379 1\n")); r.status != exitUnreachable {
		t.Errorf("without a leader: exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
}

// TestResume: one, or all that are paused; what stands in the way of one leaves the others alone.
func TestResume(t *testing.T) {
	active := refusalFor(t, codes.FailedPrecondition, "SENTINELS_ACTIVE", "Sentinels are still active on b: 10.0.0.8", nil)
	paused := func() *keeper {
		k := newKeeper(watchedAt("a", "10.0.0.1", 2), watchedAt("b", "10.0.0.2", 2), watchedAt("c", "10.0.0.3", 2))
		for _, m := range k.masters[:2] {
			m.Pause = &sentinelv1.Pause{Reason: "imported"}
		}
		return k
	}
	for _, c := range []struct {
		args   []string
		refuse bool
		status int
		out    string
		err    string
	}{
		{[]string{"--all"}, false, exitDone, "a is resumed, master 10.0.0.1:6379\nb is resumed, master 10.0.0.2:6379\n", ""},
		{[]string{"--all"}, true, exitFailed, "a is resumed, master 10.0.0.1:6379\n", "not resumed: b; the others are"},
		{[]string{"b"}, true, exitRefused, "", "Sentinels are still active on b: 10.0.0.8"},
		{[]string{"b", "--force"}, true, exitDone, "b is resumed, master 10.0.0.2:6379\n", ""},
		{[]string{"c"}, false, exitDone, "c is not paused; nothing changed\n", ""},
		{[]string{"b", "--all"}, false, exitUsage, "", "give a name or --all"},
		{[]string{"--all", "--adopt", "10.0.0.1:6379"}, false, exitUsage, "", "exclude it"},
		{[]string{"--all", "--enforce"}, false, exitUsage, "", "every instance of a, b follow"},
	} {
		k := paused()
		if c.refuse {
			k.refuse["b"] = active
		}
		r := ctl(t.Context(), t, serveNode(t, k), nil, append([]string{"resume"}, c.args...)...)
		if r.status != c.status || r.stdout != c.out || !strings.Contains(r.stderr, c.err) {
			t.Errorf("%v: exit %d, %q, %q", c.args, r.status, r.stdout, r.stderr)
		}
	}
}

// TestPauseAllForATime: a set whose pause has no end is left with it and named; alone, that is a refusal.
func TestPauseAllForATime(t *testing.T) {
	endless := refusalFor(t, codes.FailedPrecondition, "MASTER_PAUSED", "master a is paused until it is resumed", nil)
	other := refusalFor(t, codes.NotFound, "MASTER_NOT_FOUND", "no master named a", nil)
	for _, c := range []struct {
		arg    string
		refuse error
		status int
		out    string
		err    string
	}{
		{"--all", endless, exitDone, "b is paused until resumed\n", "skipped: master a is paused until it is resumed"},
		{"--all", other, exitRefused, "", "no master named a"},
		{"a", endless, exitRefused, "", "master a is paused until it is resumed"},
	} {
		k := newKeeper(watchedAt("a", "10.0.0.1", 2), watchedAt("b", "10.0.0.2", 2))
		k.refuse["a"] = c.refuse
		r := ctl(t.Context(), t, serveNode(t, k), nil, "pause", c.arg, "--for", "30m")
		if r.status != c.status || r.stdout != c.out || !strings.Contains(r.stderr, c.err) {
			t.Errorf("%v: exit %d, %q, %q", c.arg, r.status, r.stdout, r.stderr)
		}
	}
}

// TestApplyRenameFails: the Redis of a set that gets another name is never left unwatched, and what is put back is what it was.
func TestApplyRenameFails(t *testing.T) {
	rejected := refusalFor(t, codes.FailedPrecondition, "AUTH_REJECTED", "the login is rejected by 10.0.0.9:6379", nil)
	taken := refusalFor(t, codes.AlreadyExists, "ADDRESS_TAKEN", "address belongs to master old", nil)
	unknown := refusalFor(t, codes.DeadlineExceeded, "UNKNOWN_OUTCOME", "the outcome is unknown", nil)
	end := timestamppb.New(time.Now().Add(time.Hour).Truncate(time.Millisecond))
	errors := func(name string, err error) map[string]error { return map[string]error{name: err} }
	for _, c := range []struct {
		name    string
		alter   func(k *keeper)
		file    string
		removes bool // and puts back
		forced  bool
		instead string // who watches it in the end, if not old
		status  int
		says    string
	}{
		{"the login", func(k *keeper) { k.rehearsal = rejected }, "10.0.0.9", false, false, "", exitRefused, "old, which is not removed: the login is rejected"},
		{"the creation", func(k *keeper) { k.refuse["fresh"] = taken }, "10.0.0.9", true, false, "", exitFailed, "removed, and put back: fresh could not"},
		{"of another", func(k *keeper) { k.refuse["fresh"] = taken }, "10.0.0.8", false, false, "", exitRefused, "nothing is removed while"},
		{
			"and the old one cannot be put back as it is", func(k *keeper) { k.dropped, k.objects = errors("fresh", taken), errors("old", rejected) },
			"10.0.0.9", true, true, "", exitFailed, "removed, and put back",
		},
		{"the answer was lost", func(k *keeper) { k.lost = errors("fresh", unknown) }, "10.0.0.9", true, false, "fresh", exitDone, "created"},
		{"unknown, and not made", func(k *keeper) { k.dropped = errors("fresh", unknown) }, "10.0.0.9", true, false, "", exitUnknown, "removed, and put back: fresh could not"},
		{
			"the answer to the removal was lost", func(k *keeper) { k.lost, k.dropped = errors("old", unknown), errors("fresh", rejected) },
			"10.0.0.9", true, false, "", exitUnknown, "it is not known whether it was put back",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := watchedAt("old", "10.0.0.9", 2)
			old.Options.DownAfterMs, old.Pause = new(int64(1234)), &sentinelv1.Pause{Reason: "kept", Until: end}
			k := newKeeper(old)
			c.alter(k)
			r := ctl(t.Context(), t, serveNode(t, k), nil, "apply", fileOf(t, "sentinel monitor fresh "+c.file+" 6379 2\n"), "--prune", "--yes")
			m, err := k.find(cmp.Or(c.instead, "old"))
			if err != nil || c.instead == "" && (m.GetOptions().GetDownAfterMs() != 1234 || !proto.Equal(m.GetPause(), old.GetPause())) {
				t.Fatalf("it is %v, %v; %s", m, err, r.stdout)
			}
			removed, forced := false, false
			for _, q := range k.asked {
				switch q := q.(type) {
				case *sentinelv1.RemoveMasterRequest:
					removed = true
				case *sentinelv1.MonitorMasterRequest:
					forced = forced || q.GetForce()
				}
			}
			if r.status != c.status || removed != c.removes || forced != c.forced || !strings.Contains(r.stdout, c.says) {
				t.Errorf("exit %d, removed %t, forced %t, %s%s", r.status, removed, forced, r.stdout, r.stderr)
			}
		})
	}
}

// TestFormerly: a pause that has run out meanwhile is not put back.
func TestFormerly(t *testing.T) {
	m := watchedAt("old", "10.0.0.9", 2)
	m.Pause = &sentinelv1.Pause{Until: timestamppb.New(time.Now().Add(-time.Second))}
	if q := formerly(m); q.GetPausedReason() != "" || q.GetPausedUntil() != nil {
		t.Errorf("%v", q)
	}
	m.Pause.Until = nil
	if q := formerly(m); q.GetPausedReason() != "it was paused before" || q.GetPausedUntil() != nil || len(q.GetReplicas()) != 1 {
		t.Errorf("%v", q)
	}
}
