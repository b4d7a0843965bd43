package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) statusCmd() *cobra.Command {
	var wait string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the cluster is",
		Long: `Show how the cluster is, as its nodes see it. --wait healthy waits until a leader is known and hears every node, each
node answers, keeps up and votes, every master is up, no failover is under way, no master is held, and nothing else is wrong
for any node; exit 5 if that does not come true within --max-wait. It tells whether it is safe to stop the next node, in an
upgrade for example: run it before each one.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if wait != "" && wait != "healthy" {
				return usagef("--wait %q: want healthy", wait)
			}
			if limit <= 0 {
				return usagef("--max-wait %v: want more than 0", limit)
			}
			ask := a.status
			if wait != "" {
				ask = func(ctx context.Context) (*sentinelv1.GetStatusResponse, error) { return a.awaitHealthy(ctx, limit) }
			}
			s, err := ask(cmd.Context())
			if err != nil {
				return err
			}
			if s.GetLocal() {
				defer a.marking(s.GetAgeMs()).mark()
			}
			if err := a.print(s, func() *table { return statusTable(s) }); err != nil {
				return err
			}
			if wait != "" && !s.GetHealthy() {
				return checkf("not healthy within %v", limit)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&wait, "wait", "", "wait until the cluster is `healthy`")
	cmd.Flags().DurationVar(&limit, "max-wait", time.Minute, "how long --wait waits")
	_ = cmd.RegisterFlagCompletionFunc("wait", cobra.FixedCompletions([]string{"healthy"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) status(ctx context.Context) (*sentinelv1.GetStatusResponse, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.request(ctx)
	defer cancel()
	s, err := sentinelv1.NewClusterServiceClient(c).GetStatus(ctx, &sentinelv1.GetStatusRequest{Consistency: a.reading().consistency})
	if err == nil {
		s.Local = s.GetLocal() || a.set.local
	}
	return s, err
}

// awaitHealthy asks until a node says that it is healthy; after limit the last answer counts.
func (a *app) awaitHealthy(ctx context.Context, limit time.Duration) (*sentinelv1.GetStatusResponse, error) {
	end := time.Now().Add(limit)
	for {
		s, err := a.status(ctx)
		if s.GetHealthy() || ctx.Err() != nil || time.Now().After(end) || err != nil && !leaderless(err) && !absent(err) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(min(askAgain, time.Until(end))):
		}
	}
}

// absent tells that no node was reached.
func absent(err error) bool {
	_, is := errors.AsType[*client.NoNodeError](err)
	return is
}

func statusTable(s *sentinelv1.GetStatusResponse) *table {
	t := newTable()
	t.add("cluster", fmt.Sprintf("%s (%s)", s.GetClusterName(), s.GetClusterId()))
	t.add("healthy", yesNo(s.GetHealthy()))
	for _, p := range s.GetProblems() {
		t.add("problem", p)
	}
	t.add("node", fmt.Sprintf("%s, %s, version %s, up for %s, probes %d instances",
		s.GetNodeId(), roleWord(s.GetRole()), s.GetVersion(), age(ms(s.GetUptimeMs())), s.GetInstancesProbed()))
	t.add("leader", leaderWord(s))
	t.add("nodes", fmt.Sprintf("%d, of which %d vote", s.GetMembers(), s.GetVoters()))
	t.add("versions", versionsWord(s.GetVersions()))
	t.add("feature level", s.GetFeatureLevel())
	if len(s.GetDrained()) > 0 {
		t.add("drained", strings.Join(s.GetDrained(), ", "))
	}
	t.add("masters", mastersWord(s))
	t.add("failovers open", s.GetFailoversOpen())
	t.add("highest epoch", s.GetEpoch())
	t.add("revision", fmt.Sprintf("%d applied, %d committed, term %d", s.GetAppliedIndex(), s.GetCommitIndex(), s.GetTerm()))
	fsync := "?" // nothing was written since the start
	if s.GetFsyncP50Ms() > 0 {
		fsync = fmt.Sprintf("%.2f ms", s.GetFsyncP50Ms())
	}
	t.add("fsync p50", fsync)
	return t
}

func roleWord(r sentinelv1.NodeRole) string { return enumWord(r.String(), "NODE_ROLE_") }

func leaderWord(s *sentinelv1.GetStatusResponse) string {
	switch {
	case s.GetLeaderNodeId() == "":
		return "none known"
	case s.GetAgeMs() < 0:
		return s.GetLeaderNodeId() + ", not heard yet"
	case s.GetRole() == sentinelv1.NodeRole_NODE_ROLE_LEADER:
		return s.GetLeaderNodeId()
	}
	return fmt.Sprintf("%s, heard %d ms ago", s.GetLeaderNodeId(), s.GetAgeMs())
}

// versionsWord tells which node runs what, where that differs.
func versionsWord(versions []*sentinelv1.RunningVersion) string {
	switch len(versions) {
	case 0:
		return "?" // no node has registered
	case 1:
		return versions[0].GetVersion()
	}
	words := make([]string, len(versions))
	for i, v := range versions {
		words[i] = fmt.Sprintf("%s (level %d) on %s", v.GetVersion(), v.GetFeatureLevel(), strings.Join(v.GetNodeIds(), ", "))
	}
	return strings.Join(words, "; ")
}

func mastersWord(s *sentinelv1.GetStatusResponse) string {
	text := fmt.Sprintf("%d: %d ok, %d sdown, %d odown", s.GetMasters(), s.GetMastersOk(), s.GetMastersSdown(), s.GetMastersOdown())
	if n := s.GetMastersUnknown(); n > 0 {
		text += fmt.Sprintf(", %d never reached", n)
	}
	if n := s.GetMastersAuthRejected(); n > 0 {
		text += fmt.Sprintf(", %d auth-rejected", n)
	}
	if n := s.GetMastersPaused(); n > 0 {
		text += fmt.Sprintf(", %d paused", n)
	}
	if n := s.GetMastersHeld(); n > 0 {
		text += fmt.Sprintf(", %d held", n)
	}
	return text
}
