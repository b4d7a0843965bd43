package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// lateBy is how long after its bound a failover may take to be told as closed.
const lateBy = 5 * time.Second

func (a *app) failoverCmd() *cobra.Command {
	var to string
	var force, yes bool
	cmd := &cobra.Command{
		Use:   "failover NAME",
		Short: "Make a replica the master; what it has not received is lost",
		Long: `Make a replica the master, at the price of what it has not received; the outcome tells how much that is.
Unless the master is objectively down this is refused without --force. It tells each step as it is made, and ends when every replica that
is up follows.`,
		Args:              args(1, 1),
		Annotations:       orders,
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := &sentinelv1.FailoverMasterRequest{Name: args[0], Force: force, RequestId: newOperation()}
			if to != "" {
				var err error
				if q.To, err = parseAddress(to); err != nil {
					return err
				}
			}
			return a.failover(cmd.Context(), q, yes)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "promote the replica at `HOST:PORT` instead of the best one")
	cmd.Flags().BoolVar(&force, "force", false, "although the master is not objectively down")
	yesFlag(cmd, &yes)
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeReplica)
	return cmd
}

// newOperation names an operation as the cluster names its own: 32 hexadecimal digits.
func newOperation() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func (a *app) failover(ctx context.Context, q *sentinelv1.FailoverMasterRequest, yes bool) error {
	r := a.reading()
	before, err := r.master(ctx, q.GetName())
	if err != nil {
		return err
	}
	m := before.GetMaster()
	if q.GetTo() != nil && proto.Equal(q.GetTo(), m.GetAddress()) && m.GetFailover() == nil && !r.local() {
		return a.printSame(&sentinelv1.FailoverMasterResponse{
			ClusterId: before.GetClusterId(), Revision: before.GetRevision(), Epoch: m.GetEpoch(),
		}, q)
	}
	if err := a.confirm(yes, "%s", plan(m, q)); err != nil {
		return err
	}
	answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.FailoverMasterResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).FailoverMaster(ctx, q)
	})
	if err != nil {
		return a.ordered(ctx, err, q.GetRequestId())
	}
	if answer.GetFailover() == nil {
		return a.printSame(answer, q)
	}
	limit := time.Duration(m.GetOptions().GetFailoverTimeoutMs())*time.Millisecond + lateBy
	f, err := a.awaitEnd(ctx, answer.GetFailover(), limit)
	if err != nil {
		return a.ordered(ctx, err, answer.GetOperationId())
	}
	answer.Failover = f
	if err := a.print(answer, func() *table { return failoverTable(f) }); err != nil {
		return err
	}
	return howItEnded(f)
}

// printSame tells that the replica that was named is the master already.
func (a *app) printSame(answer *sentinelv1.FailoverMasterResponse, q *sentinelv1.FailoverMasterRequest) error {
	return a.printChange(answer, "", fmt.Sprintf("%s is the master of %s already; nothing changed", client.HostPort(q.GetTo()), q.GetName()))
}

// plan is what the failover will do, for the confirmation.
func plan(m *sentinelv1.Master, q *sentinelv1.FailoverMasterRequest) string {
	to := "its best replica"
	lag := ""
	if q.GetTo() != nil {
		to = client.HostPort(q.GetTo())
		for _, in := range m.GetInstances() {
			if client.HostPort(in.GetAddress()) == to && in.GetObservation() != nil {
				lag = fmt.Sprintf(" (%s behind when last seen)", bytesWord(in.GetObservation().GetLagBytes()))
			}
		}
	}
	return fmt.Sprintf("make %s%s the master of %s in place of %s, which is %s; writes that it has not received are lost",
		to, lag, m.GetName(), client.HostPort(m.GetAddress()), statusWord(m.GetStatus()))
}

func outcomeWord(o sentinelv1.FailoverOutcome) string {
	if o == sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED {
		return "open"
	}
	return enumWord(o.String(), "FAILOVER_OUTCOME_")
}

// lossWord tells what a failover may have lost of the old master's writes.
func lossWord(f *sentinelv1.Failover) string { return lossOf(f.GetLossKind(), f.GetLossBytes()) }

func lossOf(kind sentinelv1.LossKind, bytes int64) string {
	switch kind {
	case sentinelv1.LossKind_LOSS_KIND_EXACT:
		return bytesWord(bytes)
	case sentinelv1.LossKind_LOSS_KIND_LOWER_BOUND:
		return "at least " + bytesWord(bytes)
	case sentinelv1.LossKind_LOSS_KIND_UNKNOWN:
		return "unknown"
	case sentinelv1.LossKind_LOSS_KIND_UNSPECIFIED:
	}
	return ""
}

// tookWord is the time from the decision to the committed switch.
func tookWord(f *sentinelv1.Failover) string {
	if f.GetSwitchedAt() == nil || f.GetBegunAt() == nil {
		return ""
	}
	return fmt.Sprintf("%d ms", f.GetSwitchedAt().AsTime().Sub(f.GetBegunAt().AsTime()).Milliseconds())
}

// failoverTable is the story of one failover.
func failoverTable(f *sentinelv1.Failover) *table {
	t := newTable()
	t.add("master", f.GetMaster())
	t.add("epoch", f.GetEpoch())
	t.add("kind", enumWord(f.GetKind().String(), "FAILOVER_KIND_"))
	t.add("from", client.HostPort(f.GetFrom()))
	t.add("to", client.HostPort(f.GetTo()))
	t.add("why", f.GetReason())
	if f.GetActor() != "" {
		t.add("ordered by", f.GetActor())
	}
	if f.GetMaxWaitMs() > 0 {
		t.add("to be done in", age(time.Duration(f.GetMaxWaitMs())*time.Millisecond))
	}
	t.add("outcome", outcomeWord(f.GetOutcome()))
	if f.GetEndReason() != "" {
		t.add("because", f.GetEndReason())
	}
	t.add("begun", stampOf(f.GetBegunAt()))
	t.add("switched after", tookWord(f))
	t.add("lost", lossWord(f))
	t.add("led by", f.GetLeaderNodeId())
	t.add("operation", f.GetOperationId())
	for _, v := range f.GetVotes() {
		t.add("vote", fmt.Sprintf("%s: %s since %s, reported %s", v.GetNodeId(), causeWord(v.GetCause()), stampOf(v.GetSince()), stampOf(v.GetReportedAt())))
	}
	for _, c := range f.GetCandidates() {
		t.add("candidate", client.HostPort(c.GetAddress())+": "+candidateWord(c))
	}
	for _, s := range f.GetSteps() {
		t.add("step", stepWord(s))
	}
	return t
}

// candidateWord tells why a candidate was chosen or not.
func candidateWord(c *sentinelv1.Candidate) string {
	if c.GetChosen() {
		return "chosen, " + measuredWord(c)
	}
	why := c.GetDetail()
	if why == "" {
		why = c.GetRejection()
	}
	return fmt.Sprintf("%s (%s)", why, measuredWord(c))
}

// measuredWord is what was measured of a candidate.
func measuredWord(c *sentinelv1.Candidate) string {
	text := fmt.Sprintf("offset %d, priority %d", c.GetOffsetBytes(), c.GetPriority())
	if c.GetBehindBytes() >= 0 {
		text += ", " + bytesWord(c.GetBehindBytes()) + " behind"
	}
	if c.GetBehindMs() >= 0 {
		text += ", silent for " + age(time.Duration(c.GetBehindMs())*time.Millisecond)
	}
	if c.GetAgeMs() >= 0 {
		text += ", measured " + agoWord(c.GetAgeMs())
	}
	return text
}

// agoWord is an age in milliseconds, in words; below 0 is never.
func agoWord(ms int64) string {
	if ms < 0 {
		return "never"
	}
	return age(time.Duration(ms)*time.Millisecond) + " ago"
}

func stepWord(s *sentinelv1.Step) string {
	text := fmt.Sprintf("+%.1f ms  %s", s.GetAtMs(), s.GetName())
	if s.GetInstance() != nil {
		text += " " + client.HostPort(s.GetInstance())
	}
	text += fmt.Sprintf(" (took %.1f ms)", s.GetTookMs())
	if s.GetDetail() != "" {
		text += ": " + s.GetDetail()
	}
	return text
}
