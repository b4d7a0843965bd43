package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// TestNotesOfAMaster: what speaks against a master stands beside its name.
func TestNotesOfAMaster(t *testing.T) {
	auth := []*sentinelv1.Vote{{NodeId: "n1", Cause: sentinelv1.Cause_CAUSE_AUTH}, {NodeId: "n3", Cause: sentinelv1.Cause_CAUSE_AUTH}}
	for _, c := range []struct {
		status sentinelv1.MasterStatus
		in     *sentinelv1.Instance
		pass   bool
		want   string
	}{
		{status: sentinelv1.MasterStatus_MASTER_STATUS_OK, want: ""},
		{status: sentinelv1.MasterStatus_MASTER_STATUS_UNKNOWN, want: "never reached"},
		{
			status: sentinelv1.MasterStatus_MASTER_STATUS_SDOWN, want: "the asked node holds it down (timeout)",
			in: &sentinelv1.Instance{Observation: &sentinelv1.Observation{Down: true, Cause: sentinelv1.Cause_CAUSE_TIMEOUT}},
		},
		{
			status: sentinelv1.MasterStatus_MASTER_STATUS_AUTH_REJECTED, want: "wants a password, none is set (n1, n3)",
			in: &sentinelv1.Instance{Votes: auth, Observation: &sentinelv1.Observation{Down: true, AuthRejected: true}},
		},
		{
			status: sentinelv1.MasterStatus_MASTER_STATUS_AUTH_REJECTED, pass: true, want: "rejects the password (the asked node)",
			in: &sentinelv1.Instance{Observation: &sentinelv1.Observation{Down: true, AuthRejected: true}},
		},
	} {
		if c.in == nil {
			c.in = &sentinelv1.Instance{}
		}
		c.in.Address = addr("h", 1)
		m := &sentinelv1.Master{
			Address: addr("h", 1), Status: c.status, Instances: []*sentinelv1.Instance{c.in},
			Options: &sentinelv1.MasterOptions{AuthPassSet: c.pass},
		}
		if got := note(m); got != c.want {
			t.Errorf("%v: %q, want %q", c.status, got, c.want)
		}
	}
}

// TestUnknownIsAQuestionMark: what was never read is not told as zero.
func TestUnknownIsAQuestionMark(t *testing.T) {
	var out strings.Builder
	rows := replicasTable([]*sentinelv1.Instance{{
		Address: addr("h", 1), Observation: &sentinelv1.Observation{Connected: true, InfoAgeMs: 5, LagBytes: -1},
	}})
	if err := rows.write(&out); err != nil {
		t.Fatal(err)
	}
	if cells := strings.Fields(strings.Split(out.String(), "\n")[1]); cells[4] != "?" || cells[6] != "?" {
		t.Errorf("%q", cells)
	}
	out.Reset()
	if err := statusTable(&sentinelv1.GetStatusResponse{}).write(&out); err != nil || !strings.Contains(out.String(), "fsync p50       ?\n") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestLocalAccounts: status and events are marked like every other answer where no leader stands behind them.
func TestLocalAccounts(t *testing.T) {
	fake := sample()
	fake.status.Local, fake.status.AgeMs = true, 61000
	endpoint := fake.serve(t)
	for _, args := range [][]string{{"status"}, {"events"}} {
		r := ctl(t.Context(), t, endpoint, nil, args...)
		if r.status != exitDone || r.stderr != "sentinelctl: local, 61000 ms old\n" {
			t.Errorf("%v: exit %d, %q", args, r.status, r.stderr)
		}
		r = ctl(t.Context(), t, endpoint, nil, append(args, "-o", "json")...)
		if !strings.Contains(strings.ReplaceAll(r.stdout, " ", ""), `"local":true`) {
			t.Errorf("%v: %s", args, r.stdout)
		}
	}
	fake.status.Local = false
	if r := ctl(t.Context(), t, endpoint, nil, "status", "--local", "-o", "json"); !strings.Contains(r.stdout, `"local": true`) {
		t.Errorf("--local: %s", r.stdout)
	}
}

// TestFailoverTellsItsSteps as they are made.
func TestFailoverTellsItsSteps(t *testing.T) {
	r := ctl(t.Context(), t, sample().serve(t), nil, "failover", "cache", "--force", "--yes")
	want := "  cache to 10.0.0.1:6379, epoch 3\n  +3.2 ms  promote 10.0.0.1:6379 (took 1.5 ms)\n"
	if r.status != exitDone || r.stderr != want {
		t.Errorf("exit %d, %q, want %q", r.status, r.stderr, want)
	}
}

// TestFailoverEndsWithoutTheDead: an open row that waits for nothing but what is down is done for its operator.
func TestFailoverEndsWithoutTheDead(t *testing.T) {
	fake := sample()
	fake.failovers[0].Outcome = 0
	fake.masters[0].Instances[2].Observation = &sentinelv1.Observation{Down: true}
	r := ctl(t.Context(), t, fake.serve(t), nil, "failover", "cache", "--force", "--yes")
	if r.status != exitDone || !strings.Contains(r.stderr, "will follow when back: [fe80::1]:6380") {
		t.Errorf("exit %d, %q", r.status, r.stderr)
	}
}

// TestFailoverToTheMaster changes nothing and asks nothing.
func TestFailoverToTheMaster(t *testing.T) {
	fake := sample()
	endpoint := fake.serve(t)
	const same = "10.0.0.1:6379 is the master of cache already; nothing changed\n"
	if r := ctl(t.Context(), t, endpoint, nil, "failover", "cache", "--to", "10.0.0.1:6379"); r.status != exitDone || r.stdout != same {
		t.Errorf("exit %d, %q %q", r.status, r.stdout, r.stderr)
	}
	// A failover away from it is open: the cluster decides.
	fake.masters[0].Failover = &sentinelv1.Failover{To: addr("10.0.0.2", 6379)}
	r := ctl(t.Context(), t, endpoint, nil, "failover", "cache", "--to", "10.0.0.1:6379", "--yes")
	if _, asked := fake.asked[len(fake.asked)-1].(*sentinelv1.FailoverMasterRequest); !asked || r.stdout != same {
		t.Errorf("exit %d, %q %q", r.status, r.stdout, r.stderr)
	}
}

// TestAnswerNamesNobodyElse: who was asked is told of silence only.
func TestAnswerNamesNobodyElse(t *testing.T) {
	fake := sample()
	fake.fail = refusal(t, codes.DeadlineExceeded, "no majority answered in time")
	if r := ctl(t.Context(), t, fake.serve(t), nil, "reset", "*"); strings.Contains(r.stderr, "asked:") {
		t.Errorf("a node that answered: %q", r.stderr)
	}
}

func TestFilesThatAreNoText(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(file, []byte("a\xffb"), 0o600); err != nil {
		t.Fatal(err)
	}
	endpoint := sample().serve(t)
	for _, value := range []string{"@" + file, "-"} {
		r := ctl(t.Context(), t, endpoint, strings.NewReader("\xff"), "set", "cache", "auth-pass="+value)
		if r.status != exitUsage || !strings.Contains(r.stderr, "is not UTF-8 text") {
			t.Errorf("%s: exit %d, %q", value, r.status, r.stderr)
		}
	}
}
