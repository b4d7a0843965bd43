package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", path, got, want)
	}
}

// TestOutput holds what every command that reads prints, as a table and as JSON.
func TestOutput(t *testing.T) {
	at := sample().serve(t)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"masters", []string{"masters"}},
		{"master", []string{"master", "cache"}},
		{"replicas", []string{"replicas", "cache"}},
		{"get-master-addr", []string{"get-master-addr", "queue-with-a-longer-name"}},
		{"ckquorum", []string{"ckquorum", "cache"}},
		{"ckquorum-all", []string{"ckquorum", "--all"}},
		{"explain", []string{"explain", "cache"}},
		{"history", []string{"history", "cache"}},
		{"history-story", []string{"history", "--story"}},
		{"status", []string{"status"}},
		{"nodes", []string{"nodes"}},
		{"events", []string{"events"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ctl(t.Context(), t, at, nil, c.args...)
			if r.status != exitDone || r.stderr != "" {
				t.Fatalf("exit %d, stderr %q", r.status, r.stderr)
			}
			for line := range strings.SplitSeq(r.stdout, "\n") {
				if strings.TrimRight(line, " ") != line {
					t.Errorf("trailing space: %q", line)
				}
			}
			golden(t, c.name, r.stdout)
			r = ctl(t.Context(), t, at, nil, append(c.args, "-o", "json")...)
			if r.status != exitDone {
				t.Fatalf("exit %d, stderr %q", r.status, r.stderr)
			}
			for dec := json.NewDecoder(strings.NewReader(r.stdout)); dec.More(); {
				var v map[string]any
				if err := dec.Decode(&v); err != nil {
					t.Fatalf("%v in\n%s", err, r.stdout)
				}
			}
			golden(t, c.name+".json", r.stdout)
		})
	}
}

// TestChanges holds what commands that change say, and what they ask of the cluster.
// A switchover asks more of its candidate than a failover does; the table tells where that makes a difference.
func TestExplainPlanned(t *testing.T) {
	best, next := addr("10.0.0.2", 6379), addr("10.0.0.3", 6379)
	unlinked := &sentinelv1.Candidate{Address: best, Rejection: "link-down", Detail: "its link to the master is down"}
	maintained := &sentinelv1.Candidate{Address: addr("10.0.0.1", 6379), Rejection: "maintenance", Detail: "maintained"}
	for _, c := range []struct {
		name    string
		winner  *sentinelv1.Address
		planned []*sentinelv1.Candidate
		want    string
	}{
		{
			"another", next,
			[]*sentinelv1.Candidate{{Address: next, Chosen: true}, maintained, unlinked},
			"by switchover  10.0.0.3:6379\nby switchover  not 10.0.0.2:6379: its link to the master is down\n",
		},
		{
			"nobody", nil,
			[]*sentinelv1.Candidate{maintained, unlinked, {Address: next, Rejection: "outranked"}},
			"by switchover  nobody\nby switchover  not 10.0.0.2:6379: its link to the master is down\n",
		},
		{"the same", best, []*sentinelv1.Candidate{{Address: best, Chosen: true}, {Address: next, Rejection: "outranked"}, maintained}, ""},
		{"a node that does not tell", nil, nil, ""},
	} {
		fake := sample()
		fake.explain.Winner, fake.explain.PlannedWinner, fake.explain.PlannedCandidates = best, c.winner, c.planned
		fake.explain.Candidates = []*sentinelv1.Candidate{{Address: best, Chosen: true}, {Address: next, Rejection: "outranked"}, maintained}
		r := ctl(t.Context(), t, fake.serve(t), nil, "explain", "cache")
		got := ""
		for line := range strings.Lines(r.stdout) {
			if strings.HasPrefix(line, "by switchover") {
				got += line
			}
		}
		if r.status != exitDone || got != c.want {
			t.Errorf("%s: exit %d, %q, want %q", c.name, r.status, got, c.want)
		}
	}
}

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		args  []string
		done  string
		same  string
		asked string
	}{
		{
			[]string{"monitor", "m", "10.0.0.9", "6379", "2", "--set", "down-after-milliseconds=900", "--set", "tls=yes", "--force"},
			"monitoring m at 10.0.0.9:6379\n", "m is monitored already, at 10.0.0.9:6379; nothing changed\n",
			`{"name":"m","address":{"host":"10.0.0.9","port":6379},"options":{"quorum":2,"down_after_ms":900,"failover_timeout_ms":null,` +
				`"parallel_syncs":null,"auth_user":null,"auth_pass":null,"auth_pass_set":false,"notification_script":null,` +
				`"client_reconfig_script":null,"master_reboot_down_after_ms":null,"rename_command":{},"tls":"TLS_MODE_YES","failover_cooldown_ms":null},` +
				`"validate_only":false,"force":true,"expected_revision":0,"paused_reason":"","epoch":0,"replicas":[],"paused_until":null}`,
		},
		{
			[]string{"set", "cache", "auth-pass=", "quorum=1", "rename-command=KEYS NOKEYS", "rename-command=bgsave bgsave"},
			"options of cache set\n", "cache has these options already; nothing changed\n",
			`{"name":"cache","options":{"quorum":1,"down_after_ms":null,"failover_timeout_ms":null,"parallel_syncs":null,` +
				`"auth_user":null,"auth_pass":"","auth_pass_set":false,"notification_script":null,"client_reconfig_script":null,` +
				`"master_reboot_down_after_ms":null,"rename_command":{"config":"CFG","keys":"NOKEYS"},"tls":null,"failover_cooldown_ms":null},` +
				`"update_mask":{"paths":["auth_pass","quorum","rename_command"]},"expected_revision":40,"validate_only":false,"force":false}`,
		},
		{
			[]string{"remove", "cache", "--yes", "--if-exists"},
			"cache is watched no more\n", "cache is not watched; nothing changed\n",
			`{"name":"cache","allow_missing":true,"expected_revision":0,"validate_only":false}`,
		},
		{
			[]string{"reset", "*"},
			"reset 2: a, b\n", "no name matches \"*\"; nothing changed\n",
			`{"pattern":"*","validate_only":false,"expected_revision":0}`,
		},
		{
			[]string{"forget", "[fe80::1]:6380"},
			"[fe80::1]:6380 forgotten\n", "[fe80::1]:6380 is not known; nothing changed\n",
			`{"name":"","address":{"host":"fe80::1","port":6380},"expected_revision":0,"validate_only":false}`,
		},
		{
			[]string{"pause", "cache", "--for", "90s", "--reason", "update"},
			"cache is paused until resumed\n", "cache is paused already; nothing changed\n",
			`{"name":"cache","reason":"update","duration_ms":90000,"expected_revision":0,"validate_only":false}`,
		},
		{
			[]string{"resume", "cache", "--adopt", "10.0.0.2:6379"},
			"cache is resumed, master 10.0.0.1:6379\n", "cache is not paused; nothing changed\n",
			`{"name":"cache","adopt":{"host":"10.0.0.2","port":6379},"enforce":false,"expected_revision":0,"validate_only":false,"force":false,"incomplete":false}`,
		},
		{
			[]string{"node", "remove", "n3", "--yes"},
			"node n3 is removed\n", "there is no node n3; nothing changed\n",
			`{"node":"n3","validate_only":false,"allow_missing":false,"force":false}`,
		},
		{
			[]string{"node", "remove", "--force", "--if-exists", "--yes", "n3"},
			"node n3 is removed\n", "there is no node n3; nothing changed\n",
			`{"node":"n3","validate_only":false,"allow_missing":true,"force":true}`,
		},
		{
			[]string{"node", "drain", "n1", "--reason", "slow disk"},
			"node n1 is drained; n2 leads\n", "node n1 is drained already; nothing changed\n",
			`{"node":"n1","reason":"slow disk","validate_only":false}`,
		},
		{
			[]string{"node", "drain", "n2"},
			"node n2 is drained; it leads until another voter takes over\n", "node n2 is drained already; nothing changed\n",
			`{"node":"n2","reason":"","validate_only":false}`,
		},
		{
			[]string{"node", "undrain", "n1"},
			"node n1 may lead again\n", "node n1 is not drained; nothing changed\n", `{"node":"n1","validate_only":false}`,
		},
		{
			[]string{"node", "transfer-leadership", "n2"}, "n2 leads\n", "n2 leads already; nothing changed\n", `{"node":"n2"}`,
		},
	} {
		t.Run(strings.Join(c.args[:2], " "), func(t *testing.T) {
			fake := sample()
			endpoint := fake.serve(t)
			for _, changed := range []bool{true, false} {
				fake.changed = changed
				want := map[bool]string{true: c.done, false: c.same}[changed]
				r := ctl(t.Context(), t, endpoint, nil, c.args...)
				if r.status != exitDone || r.stdout != want {
					t.Errorf("changed %t: exit %d, %q, stderr %q; want %q", changed, r.status, r.stdout, r.stderr, want)
				}
				r = ctl(t.Context(), t, endpoint, nil, append(c.args, "-o", "json")...)
				if !strings.Contains(r.stdout, `"changed": `+map[bool]string{true: "true", false: "false"}[changed]) {
					t.Errorf("changed %t: JSON %s", changed, r.stdout)
				}
			}
			if got := string(sentinelv1.JSON(fake.asked[len(fake.asked)-1])); got != c.asked {
				t.Errorf("asked\n%s\nwant\n%s", got, c.asked)
			}
		})
	}
}

func TestPauseOfAllMasters(t *testing.T) {
	fake := sample()
	r := ctl(t.Context(), t, fake.serve(t), nil, "pause", "--all")
	want := "cache is paused until resumed\nqueue-with-a-longer-name is paused until resumed\n"
	if r.status != exitDone || r.stdout != want {
		t.Errorf("exit %d, %q, stderr %q", r.status, r.stdout, r.stderr)
	}
}

func TestFailoverWaitsAndTellsTheStory(t *testing.T) {
	fake := sample()
	endpoint := fake.serve(t)
	r := ctl(t.Context(), t, endpoint, nil, "failover", "cache", "--to", "10.0.0.2:6379", "--force", "--yes")
	if r.status != exitDone || !strings.Contains(r.stdout, "at least 4200 B") || !strings.Contains(r.stdout, "11 ms") {
		t.Errorf("exit %d, %s, stderr %q", r.status, r.stdout, r.stderr)
	}
	fake.failovers[0].Outcome, fake.failovers[0].Switched = sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED, false
	if r = ctl(t.Context(), t, endpoint, nil, "failover", "cache", "--yes"); r.status != exitFailed {
		t.Errorf("aborted: exit %d", r.status)
	}
}

// TestExitStatus is the table of exit statuses, by what goes wrong.
func TestExitStatus(t *testing.T) {
	refused := func(c codes.Code) error { return status.Error(c, "because of "+c.String()) }
	for _, c := range []struct {
		err          error
		read, change int
	}{
		{nil, 0, 0},
		{refused(codes.InvalidArgument), 2, 2},
		{refused(codes.Unavailable), 3, 3},
		{refused(codes.NotFound), 4, 4},
		{refused(codes.AlreadyExists), 4, 4},
		{refused(codes.FailedPrecondition), 4, 4},
		{refused(codes.Aborted), 4, 4},
		{refused(codes.Unauthenticated), 7, 7},
		{refused(codes.PermissionDenied), 7, 7},
		{refused(codes.DeadlineExceeded), 3, 6},
		{context.DeadlineExceeded, 3, 6},
		{refused(codes.Canceled), 130, 130},
		{context.Canceled, 130, 130},
		{refused(codes.Unimplemented), 1, 1},
		{refused(codes.Internal), 1, 1},
		{refused(codes.Unknown), 1, 1},
		{usagef("bad"), 2, 2},
		{checkf("bad"), 5, 5},
		{failedf("bad"), 1, 1},
		{os.ErrClosed, 1, 1},
	} {
		if got := exitStatus(c.err, false, false); got != c.read {
			t.Errorf("read, %v: %d, want %d", c.err, got, c.read)
		}
		if got := exitStatus(c.err, true, false); got != c.change {
			t.Errorf("change, %v: %d, want %d", c.err, got, c.change)
		}
	}
}

// TestExitStatusOfCommands runs into each status through the whole program.
func TestExitStatusOfCommands(t *testing.T) {
	for _, c := range []struct {
		name string
		with func(*cluster)
		args []string
		want int
		says string
	}{
		{"no command", nil, nil, 2, "name a command"},
		{"unknown command", nil, []string{"mastrs"}, 2, "did you mean masters"},
		{"unknown subcommand", nil, []string{"node", "eat"}, 2, "unknown command"},
		{"unknown flag", nil, []string{"masters", "--nonsense"}, 2, "unknown flag"},
		{"too few", nil, []string{"master"}, 2, "usage: sentinelctl master NAME"},
		{"too many", nil, []string{"masters", "x"}, 2, "usage"},
		{"bad output", nil, []string{"masters", "-o", "yaml"}, 2, "want table or json"},
		{"bad timeout", nil, []string{"masters", "--timeout", "0s"}, 2, "more than 0"},
		{"bad endpoint", nil, []string{"masters", "--endpoints", "host:0"}, 2, "port from 1 to 65535"},
		{"bad option", nil, []string{"set", "cache", "colour=red"}, 2, "unknown option"},
		{"bad value", nil, []string{"set", "cache", "quorum=two"}, 2, "not a whole number"},
		{"no value", nil, []string{"set", "cache", "quorum"}, 2, "OPTION=VALUE"},
		{"given twice", nil, []string{"set", "cache", "quorum=1", "auth-user=a", "quorum=2"}, 2, "option quorum: is given twice"},
		{"given twice by monitor", nil, []string{"monitor", "m", "h", "1", "2", "--set", "quorum=2"}, 2, "option quorum: is given twice"},
		{"negative", nil, []string{"monitor", "m", "10.0.0.9", "6379", "-1"}, 2, "-1: no argument may be negative; usage: sentinelctl monitor NAME"},
		{"not text", nil, []string{"master", "a\xff"}, 2, "is not UTF-8 text"},
		{"not text in a flag", nil, []string{"pause", "cache", "--reason", "\xfe"}, 2, "is not UTF-8 text"},
		{"too large", nil, []string{"set", "cache", "quorum=99999999999"}, 2, "of at most 2147483647"},
		{"missing file", nil, []string{"set", "cache", "auth-pass=@/nonexistent"}, 2, "no such file"},
		{"bad address", nil, []string{"forget", "host"}, 2, "HOST:PORT"},
		{"bad port", nil, []string{"monitor", "m", "h", "70000", "2"}, 2, "1 to 65535"},
		{"bad since", nil, []string{"events", "--since", "yesterday"}, 2, "--since"},
		{"all and a name", nil, []string{"ckquorum", "--all", "cache"}, 2, "name or --all"},
		{"adopt and enforce", nil, []string{"resume", "cache", "--adopt", "h:1", "--enforce"}, 2, "exclude"},
		{"bad shell", nil, []string{"completion", "tcsh"}, 2, "bash, zsh or fish"},
		{"unconfirmed remove", nil, []string{"remove", "cache"}, 2, "confirm by --yes"},
		{"unconfirmed failover", nil, []string{"failover", "cache"}, 2, "confirm by --yes"},
		{"unconfirmed node remove", nil, []string{"node", "remove", "n1"}, 2, "confirm by --yes"},
		{"unconfirmed enforce", nil, []string{"resume", "cache", "--enforce"}, 2, "confirm by --yes"},
		{"no node", nil, []string{"masters", "--endpoints", "127.0.0.1:1"}, 3, "no node reachable: 127.0.0.1:1"},
		{"no node for events", nil, []string{"events", "--endpoints", "127.0.0.1:1"}, 3, "no node reachable"},
		{"no leader for a change", func(c *cluster) { c.fail = refusal(t, codes.Unavailable, "no leader") }, []string{"reset", "*"}, 3, "no leader"},
		{"not found", nil, []string{"master", "none"}, 4, `no master named "none"`},
		{"refused", func(c *cluster) { c.fail = status.Error(codes.FailedPrecondition, "paused") }, []string{"failover", "cache", "--yes"}, 4, "paused"},
		{"no other leader", func(c *cluster) { c.fail = refusal(t, codes.FailedPrecondition, "no voter beside") }, []string{"node", "drain", "n1"}, 4, "no voter beside"},
		{"drain of nobody", nil, []string{"node", "drain"}, 2, "usage"},
		{"no quorum", func(c *cluster) { c.quorumOK = false }, []string{"ckquorum", "cache"}, 5, "no failover can be agreed"},
		{"no failover", func(c *cluster) { c.explain.CanFailover = false }, []string{"explain", "cache"}, 5, "no automatic failover of cache"},
		{"not healthy", nil, []string{"status", "--wait", "healthy", "--max-wait", "1ms"}, 5, "not healthy within"},
		{"forbidden", func(c *cluster) { c.fail = status.Error(codes.PermissionDenied, "protected mode") }, []string{"reset", "*"}, 7, "protected mode"},
		{"unimplemented", func(c *cluster) { c.fail = status.Error(codes.Unimplemented, "too old") }, []string{"reset", "*"}, 1, "too old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := sample()
			if c.with != nil {
				c.with(fake)
			}
			r := ctl(t.Context(), t, fake.serve(t), nil, c.args...)
			if r.status != c.want || !strings.Contains(r.stderr, c.says) {
				t.Errorf("exit %d, stderr %q; want %d, %q", r.status, r.stderr, c.want, c.says)
			}
		})
	}
}

// TestUnknownOutcome: a change that was sent and not answered may have been made.
func TestUnknownOutcome(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"remove", "cache", "--yes"}, "outcome unknown: no answer within the time allowed"},
		{[]string{"reset", "*"}, "asked: ENDPOINT; ask again"}, // somebody must know which nodes to look at
		{[]string{"failover", "cache", "--yes"}, "the operation is [0-9a-f]{32}; ask for it: sentinelctl operation "},
		{[]string{"switchover", "cache"}, "operation [0-9a-f]{32} --wait\nsentinelctl: outcome unknown: no answer"},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			r, endpoint := hung(t, c.args...)
			says := regexp.MustCompile(strings.ReplaceAll(c.says, "ENDPOINT", regexp.QuoteMeta(endpoint)))
			if r.status != exitUnknown || !says.MatchString(r.stderr) {
				t.Errorf("exit %d, stderr %q; want %q", r.status, r.stderr, says)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	fake := sample()
	fake.hang = true
	endpoint := fake.serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	r := ctl(ctx, t, endpoint, nil, "reset", "*")
	if r.status != exitInterrupted || !strings.Contains(r.stderr, "the operation goes on") {
		t.Errorf("exit %d, %q", r.status, r.stderr)
	}
}

// TestLocal: what tells the state does so without a leader, and says how old it is.
func TestLocal(t *testing.T) {
	for name, with := range map[string]func(*cluster){
		"no leader": func(c *cluster) { c.fail = refusal(t, codes.Unavailable, "no leader") },
		"silence":   func(c *cluster) { c.hang = true },
	} {
		t.Run(name, func(t *testing.T) {
			fake := sample()
			with(fake)
			endpoint := fake.serve(t)
			for _, args := range [][]string{
				{"masters"},
				{"master", "cache"},
				{"replicas", "cache"},
				{"get-master-addr", "cache"},
				{"nodes"},
				{"explain", "cache"},
				{"ckquorum", "cache"},
				{"ckquorum", "--all"},
				{"history"},
			} {
				r := ctl(t.Context(), t, endpoint, nil, append(args, "--timeout", "500ms", "-o", "json")...)
				if r.status != exitDone || !strings.Contains(r.stdout, `"local": true`) {
					t.Errorf("%v: exit %d, %s %s", args, r.status, r.stdout, r.stderr)
				}
				if args[0] != "explain" && r.stderr != "sentinelctl: local, 2500 ms old\n" {
					t.Errorf("%v: stderr %q", args, r.stderr)
				}
			}
		})
	}
	r := ctl(t.Context(), t, sample().serve(t), nil, "get-master-addr", "cache", "--local")
	if r.stdout != "10.0.0.1 6379\n" || r.stderr != "sentinelctl: local, 2500 ms old\n" {
		t.Errorf("--local: %q %q", r.stdout, r.stderr)
	}
}

func TestEventsSince(t *testing.T) {
	endpoint := sample().serve(t)
	r := ctl(t.Context(), t, endpoint, nil, "events", "--since", "2026-11-22T12:00:01.005Z")
	if strings.Count(r.stdout, "\n") != 1 || !strings.Contains(r.stdout, "+switch-master") {
		t.Errorf("%q %q", r.stdout, r.stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	if r = ctl(ctx, t, endpoint, nil, "events", "-f"); r.status != exitInterrupted || r.stdout != "" {
		t.Errorf("-f: exit %d, %q", r.status, r.stdout)
	}
}

// TestSecrets: a password comes from a file or from stdin, and is never shown.
func TestSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{"@" + file: "from a file", "-": "from stdin"} {
		fake := sample()
		r := ctl(t.Context(), t, fake.serve(t), strings.NewReader("from stdin\r\n"), "set", "cache", "auth-pass="+value)
		q, ok := fake.asked[0].(*sentinelv1.UpdateMasterRequest)
		if r.status != exitDone || !ok || q.GetOptions().GetAuthPass() != want {
			t.Errorf("%s: exit %d, asked %v", value, r.status, fake.asked)
		}
		if strings.Contains(r.stdout+r.stderr, want) {
			t.Errorf("%s: shown: %q %q", value, r.stdout, r.stderr)
		}
	}
	r := ctl(t.Context(), t, sample().serve(t), strings.NewReader("x"), "set", "cache", "auth-pass=-", "auth-user=-")
	if r.status != exitUsage {
		t.Errorf("two values from stdin: exit %d", r.status)
	}
}

func TestSettings(t *testing.T) {
	endpoint := sample().serve(t)
	home := t.TempDir()
	config := filepath.Join(home, "sentinelctl", "config")
	if err := os.MkdirAll(filepath.Dir(config), 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(args ...string) (int, string, string) {
		var stdout, stderr strings.Builder
		code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	t.Setenv("XDG_CONFIG_HOME", home)
	put("# mine\nendpoints\t" + endpoint + "\noutput json\n")
	if code, out, _ := do("get-master-addr", "cache"); code != 0 || !strings.Contains(out, `"host"`) {
		t.Errorf("file: exit %d, %q", code, out)
	}
	t.Setenv("SENTINELCTL_OUTPUT", "table")
	if code, out, _ := do("get-master-addr", "cache"); code != 0 || out != "10.0.0.1 6379\n" {
		t.Errorf("environment over file: exit %d, %q", code, out)
	}
	if code, out, _ := do("get-master-addr", "cache", "-o", "json"); code != 0 || !strings.Contains(out, `"host"`) {
		t.Errorf("flag over environment: exit %d, %q", code, out)
	}
	put("endpoints 127.0.0.1:1," + endpoint + "\n")
	if code, _, text := do("masters"); code != 0 {
		t.Errorf("second endpoint: exit %d, %q", code, text)
	}
	put("endpoints " + endpoint + "\ncolour red\n")
	if code, _, text := do("masters"); code != 2 || !strings.Contains(text, config+`:2: unknown name "colour"`) {
		t.Errorf("unknown name: exit %d, %q", code, text)
	}
	put("timeout soon\n")
	if code, _, text := do("masters"); code != 2 || !strings.Contains(text, config+":1") {
		t.Errorf("bad value: exit %d, %q", code, text)
	}
}

func TestConfirmOnATerminal(t *testing.T) {
	for answer, want := range map[string]int{"y\n": 0, "YES\n": 0, "n\n": 1, "\n": 1, "": 1} {
		var stderr strings.Builder
		a := &app{stdin: strings.NewReader(answer), stderr: &stderr, isTerminal: func(any) bool { return true }}
		if got := exitStatus(a.confirm(false, "do it"), true, false); got != want || !strings.Contains(stderr.String(), "This will do it.") {
			t.Errorf("%q: %d, %q; want %d", answer, got, stderr.String(), want)
		}
	}
}

func TestCompletion(t *testing.T) {
	endpoint := sample().serve(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"__complete", "master", ""}, "cache\nqueue-with-a-longer-name\n:4\n"},
		{[]string{"__complete", "doctor", "cache", ""}, "queue-with-a-longer-name\n:4\n"},
		{[]string{"__complete", "node", "remove", ""}, "n1\nn2\nn3-cc\nn4\n:4\n"},
		{[]string{"__complete", "node", "drain", ""}, "n1\nn2\nn3-cc\nn4\n:4\n"},
		{[]string{"__complete", "node", "undrain", ""}, "n1\n:4\n"},
		{[]string{"__complete", "set", "cache", "tl"}, "tls=\n"},
		{[]string{"__complete", "backup", ""}, ":0\n"},
		{[]string{"__complete", "inspect", ""}, ":0\n"},
		{[]string{"__complete", "restore", ""}, ":0\n"},
		{[]string{"__complete", "restore", "a", ""}, ":4\n"},
		{[]string{"__complete", "forget", ""}, "10.0.0.2:6379\n[fe80::1]:6380\n:4\n"},
		{[]string{"__complete", "failover", "cache", "--to", ""}, "10.0.0.2:6379\n[fe80::1]:6380\n:4\n"},
		{[]string{"__complete", "switchover", "cache", "--to", ""}, "10.0.0.2:6379\n[fe80::1]:6380\n:4\n"},
		{[]string{"__complete", "operation", ""}, "OP1\tcache 2026-11-22T12:00:01.001Z\n:36\n"},
		{[]string{"__complete", "--endpoints", "127.0.0.1:1", "master", ""}, ":4\n"},
	} {
		r := ctl(t.Context(), t, endpoint, nil, c.args...)
		if r.status != exitDone || !strings.Contains(r.stdout, c.want) {
			t.Errorf("%v: exit %d, %q", c.args, r.status, r.stdout)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if r := ctl(t.Context(), t, endpoint, nil, "completion", shell); r.status != exitDone || !strings.Contains(r.stdout, "sentinelctl") {
			t.Errorf("%s: exit %d", shell, r.status)
		}
	}
	if r := ctl(t.Context(), t, endpoint, nil, "version", "-o", "json"); r.status != exitDone || !strings.Contains(r.stdout, `"version"`) {
		t.Errorf("version: exit %d, %q", r.status, r.stdout)
	}
}
