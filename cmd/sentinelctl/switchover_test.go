package main

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// planned is a cluster whose first operation is a switchover that is done.
func planned() *cluster {
	fake := sample()
	fake.failovers = []*sentinelv1.Failover{{
		OperationId: "OP4", Master: "cache", Epoch: 4, Kind: sentinelv1.FailoverKind_FAILOVER_KIND_PLANNED, From: addr("10.0.0.1", 6379),
		To: addr("10.0.0.2", 6379), Switched: true, Reason: "ordered by 127.0.0.1", Outcome: sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED,
		LossKind: sentinelv1.LossKind_LOSS_KIND_EXACT, LossBytes: new(int64), LeaderNodeId: "n2", BegunAt: at(2001), SwitchedAt: at(2010), EndedAt: at(2021),
		BegunRevision: 43, SwitchedRevision: 45, EndedRevision: 47, MaxWaitMs: 5000,
		Candidates: []*sentinelv1.Candidate{
			{Address: addr("10.0.0.2", 6379), Chosen: true, OffsetBytes: 900, Priority: 100, AgeMs: 3},
			{Address: addr("fe80::1", 6380), Rejection: "LINK_DOWN", Detail: "link down for 12.5 s", OffsetBytes: 800, Priority: 100, AgeMs: 3},
		},
		Steps: []*sentinelv1.Step{
			{Name: "pause", Instance: addr("10.0.0.1", 6379), AtMs: 1.25, TookMs: 0.5},
			{Name: "demote", Instance: addr("10.0.0.1", 6379), AtMs: 4.5, TookMs: 1, Detail: "offset 900"},
			{Name: "promote", Instance: addr("10.0.0.2", 6379), AtMs: 6.75, TookMs: 1.5},
		},
	}}
	return fake
}

// rolledBack makes of it one that came to nothing.
func rolledBack(f *sentinelv1.Failover) {
	f.Switched, f.SwitchedAt, f.Steps = false, nil, f.GetSteps()[:1]
	f.Outcome, f.EndReason = sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED, "10.0.0.2:6379 lacks 12 bytes after 5000 ms"
	f.LossKind, f.LossBytes = sentinelv1.LossKind_LOSS_KIND_UNSPECIFIED, nil
}

// TestSwitchoverOutput holds what is told of operations, and what their end makes of the exit status.
func TestSwitchoverOutput(t *testing.T) {
	removed := func(f *sentinelv1.Failover) {
		rolledBack(f)
		f.Outcome, f.EndReason = sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_REMOVED, "the master was removed"
	}
	for _, c := range []struct {
		name   string
		args   []string
		alter  func(*sentinelv1.Failover)
		status int
	}{
		{"switchover", []string{"switchover", "cache"}, nil, exitDone},
		{"switchover-rolled-back", []string{"switchover", "cache", "--to", "10.0.0.2:6379", "--max-wait", "1s"}, rolledBack, exitRefused},
		{"switchover-removed", []string{"switchover", "cache"}, removed, exitFailed},
		{"switchover-same", []string{"switchover", "cache", "--to", "10.0.0.1:6379"}, nil, exitDone},
		{"switchover-dry-run", []string{"switchover", "cache", "--dry-run"}, nil, exitDone},
		{"operation", []string{"operation", "OP4"}, nil, exitDone},
		{"operation-rolled-back", []string{"operation", "OP4"}, rolledBack, exitDone},
		{"operation-wait", []string{"operation", "OP4", "--wait"}, nil, exitDone},
		{"operation-wait-rolled-back", []string{"operation", "OP4", "--wait"}, rolledBack, exitRefused},
		{"operation-unknown", []string{"operation", "OP9"}, nil, exitRefused},
		{"operation-wait-unknown", []string{"operation", "OP9", "--wait"}, nil, exitRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := planned()
			if c.alter != nil {
				c.alter(fake.failovers[0])
			}
			endpoint := fake.serve(t)
			table := ctl(t.Context(), t, endpoint, nil, c.args...)
			doc := ctl(t.Context(), t, endpoint, nil, append(c.args, "-o", "json")...)
			if table.status != c.status || doc.status != c.status {
				t.Errorf("exit %d, as JSON %d, want %d; stderr %q", table.status, doc.status, c.status, table.stderr)
			}
			// The ids that the program makes are not the same twice.
			id := regexp.MustCompile(`"[0-9a-f]{32}"`)
			golden(t, c.name, table.stdout+"--- stderr\n"+table.stderr+"--- json\n"+id.ReplaceAllString(doc.stdout, `"ID"`))
		})
	}
}

// TestSwitchoverAsksOnce: one request, with an id, for as long as was said.
func TestSwitchoverAsksOnce(t *testing.T) {
	fake := planned()
	r := ctl(t.Context(), t, fake.serve(t), nil, "switchover", "cache", "--to", "10.0.0.2:6379", "--max-wait", "1.5s")
	q, ok := fake.asked[0].(*sentinelv1.SwitchoverMasterRequest)
	if r.status != exitDone || !ok || q.GetName() != "cache" || q.GetTo().GetHost() != "10.0.0.2" || q.GetMaxWaitMs() != 1500 ||
		len(q.GetRequestId()) != 32 || q.GetValidateOnly() {
		t.Errorf("exit %d, asked %v, stderr %q", r.status, fake.asked, r.stderr)
	}
}

// TestSwitchoverExitStatus: each way in which it is not done.
func TestSwitchoverExitStatus(t *testing.T) {
	for _, c := range []struct {
		name string
		with func(*cluster)
		args []string
		want int
		says string
	}{
		{"bad wait", nil, []string{"--max-wait", "0s"}, exitUsage, "100ms to 1m"},
		{"bad address", nil, []string{"--to", "host"}, exitUsage, "HOST:PORT"},
		{"refused", func(c *cluster) { c.fail = refusal(t, codes.FailedPrecondition, "is objectively down") }, nil, exitRefused, "is objectively down"},
		{"no leader", func(c *cluster) { c.fail = refusal(t, codes.Unavailable, "no leader") }, nil, exitUnreachable, "no leader"},
		{"no node", nil, []string{"--endpoints", "127.0.0.1:1"}, exitUnreachable, "no node reachable"},
		{"unknown", func(c *cluster) { c.fail = refusal(t, codes.DeadlineExceeded, "may or may not") }, nil, exitUnknown, "may or may not\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake := planned()
			if c.with != nil {
				c.with(fake)
			}
			r := ctl(t.Context(), t, fake.serve(t), nil, append([]string{"switchover", "cache"}, c.args...)...)
			if r.status != c.want || !strings.Contains(r.stderr, c.says) {
				t.Errorf("exit %d, stderr %q; want %d, %q", r.status, r.stderr, c.want, c.says)
			}
			ask := regexp.MustCompile(`the operation is ([0-9a-f]{32}); ask for it: sentinelctl operation ([0-9a-f]{32}) --wait\n`)
			if found := ask.MatchString(r.stderr); found != (c.want == exitUnknown) {
				t.Errorf("told how to ask: %t: %q", found, r.stderr)
			}
		})
	}
}

// TestInterruptedSwitchover goes on, and how to ask for it is told.
func TestInterruptedSwitchover(t *testing.T) {
	fake := planned()
	fake.silent = true
	endpoint := fake.serve(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	r := ctl(ctx, t, endpoint, nil, "switchover", "cache")
	if r.status != exitInterrupted || !strings.Contains(r.stderr, "sentinelctl operation ") || !strings.Contains(r.stderr, "the operation goes on") {
		t.Errorf("exit %d, %q", r.status, r.stderr)
	}
}

// TestOperationThatWaitsForTheDead: a replica that is down holds up nobody once the master is switched.
func TestOperationThatWaitsForTheDead(t *testing.T) {
	fake := planned()
	f := fake.failovers[0]
	f.Outcome, f.EndedAt = sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED, nil
	for _, in := range fake.masters[0].GetInstances() {
		in.Observation = &sentinelv1.Observation{Connected: true, LinkUp: true, Follows: f.GetTo()}
	}
	fake.masters[0].Instances[2].Observation = &sentinelv1.Observation{Down: true}
	r := ctl(t.Context(), t, fake.serve(t), nil, "operation", "OP4", "--wait")
	if r.status != exitDone || !strings.Contains(r.stderr, "will follow when back: [fe80::1]:6380") || !strings.Contains(r.stdout, "open") {
		t.Errorf("exit %d, %s, stderr %q", r.status, r.stdout, r.stderr)
	}
}

// TestSwitchoverThatIsNotHeardToEnd: the bound of the switchover bounds the wait for its end.
func TestSwitchoverThatIsNotHeardToEnd(t *testing.T) {
	fake := planned()
	fake.silent = true
	a := &app{stderr: new(strings.Builder), set: settings{endpoints: fake.serve(t), timeout: time.Second}}
	defer a.close()
	_, err := a.awaitEnd(t.Context(), fake.open(), 100*time.Millisecond)
	if exitStatus(err, true, false) != exitUnknown {
		t.Errorf("%v", err)
	}
	fake.failovers[0].OperationId = "OTHER" // its story is no longer kept: it was begun all the same
	_, err = a.awaitEnd(t.Context(), &sentinelv1.Failover{OperationId: "OP4"}, time.Minute)
	if exitStatus(err, true, false) != exitUnknown || !strings.Contains(err.Error(), "no such operation") {
		t.Errorf("%v", err)
	}
}
