package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) ckquorumCmd() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:               "ckquorum NAME | --all",
		Short:             "Tell whether enough nodes are heard to agree on a failover; exit 5 if not",
		Args:              args(0, 1),
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := a.reading()
			names, err := a.names(cmd.Context(), all, args, usage(cmd))
			if err != nil {
				return err
			}
			var answers []*sentinelv1.CheckQuorumResponse
			for _, name := range names {
				answer, err := r.ckquorum(cmd.Context(), name)
				if err != nil {
					return err
				}
				answers = append(answers, answer)
			}
			return a.printQuorum(r, names, answers, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all masters")
	return cmd
}

func (r *reading) ckquorum(ctx context.Context, name string) (*sentinelv1.CheckQuorumResponse, error) {
	return ask(ctx, r, func(ctx context.Context, c *client.Client, how sentinelv1.Consistency) (*sentinelv1.CheckQuorumResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).CheckQuorum(ctx, &sentinelv1.CheckQuorumRequest{Name: name, Consistency: how})
	})
}

// printQuorum writes one answer as it is, several as a list with their names.
func (a *app) printQuorum(r *reading, names []string, answers []*sentinelv1.CheckQuorumResponse, all bool) error {
	defer r.mark()
	bad := 0
	t := newTable("NAME", "OK", "USABLE", "VOTERS", "QUORUM", "MESSAGE")
	var list []byte
	for i, answer := range answers {
		if !answer.GetOk() {
			bad++
		}
		t.add(names[i], yesNo(answer.GetOk()), answer.GetUsable(), answer.GetVoters(), answer.GetQuorum(), answer.GetMessage())
		if i > 0 {
			list = append(list, ',')
		}
		list = append(sentinelv1.AppendJSONString(append(list, `{"name":`...), names[i]), ',')
		list = append(list, sentinelv1.JSON(answer)[1:]...)
	}
	var err error
	switch {
	case !a.set.json():
		err = t.write(a.stdout)
	case all:
		err = a.writeJSON(fmt.Appendf(nil, `{"masters":[%s],"local":%t}`, list, r.local()))
	default:
		err = a.print(answers[0], nil, key{"local", r.local()})
	}
	if err != nil || bad == 0 {
		return err
	}
	return checkf("no failover can be agreed upon for %d of %d", bad, len(answers))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (a *app) explainCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "explain NAME",
		Short:             "Tell which replica would be promoted now, and why each other would not; exit 5 if a failover could not happen",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := a.reading()
			answer, err := ask(cmd.Context(), r, func(ctx context.Context, c *client.Client, how sentinelv1.Consistency) (*sentinelv1.ExplainMasterResponse, error) {
				return sentinelv1.NewAdminServiceClient(c).ExplainMaster(ctx, &sentinelv1.ExplainMasterRequest{Name: args[0], Consistency: how})
			})
			if err != nil {
				return err
			}
			if a.set.json() {
				err = r.print(answer, nil)
			} else {
				err = r.printExplanation(answer)
			}
			if err != nil {
				return err
			}
			if !answer.GetCanFailover() {
				return checkf("no automatic failover of %s could happen now", args[0])
			}
			return nil
		},
	}
}

func (r *reading) printExplanation(e *sentinelv1.ExplainMasterResponse) error {
	defer r.mark()
	if err := explainTable(e).write(r.a.stdout); err != nil {
		return err
	}
	if len(e.GetCandidates()) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(r.a.stdout); err != nil {
		return err
	}
	return candidateTable(e.GetCandidates()).write(r.a.stdout)
}

// explainTable says first what can be done and what cannot, and why.
func explainTable(e *sentinelv1.ExplainMasterResponse) *table {
	t := newTable()
	winner := "nobody"
	if e.GetWinner() != nil {
		winner = client.HostPort(e.GetWinner())
	}
	t.add("would win", winner)
	t.add("would lose", lossOf(e.GetPredictedLossKind(), e.GetPredictedLossBytes()))
	addPlanned(t, e)
	for _, kind := range []struct {
		name     string
		blockers []*sentinelv1.Blocker
	}{{"failover", e.GetFailoverBlockers()}, {"switchover", e.GetSwitchoverBlockers()}} {
		if len(kind.blockers) == 0 {
			t.add(kind.name, "possible")
		}
		for _, b := range kind.blockers {
			t.add(kind.name, fmt.Sprintf("blocked (%s): %s", b.GetCode(), b.GetDetail()))
		}
	}
	seen := e.GetNodeId()
	if e.GetFromLeader() {
		seen += ", which leads"
	}
	t.add("master read", agoWord(e.GetMasterAgeMs()))
	t.add("seen by", seen)
	return t
}

// addPlanned says whom a switchover would promote and whom not, where a failover would do otherwise.
func addPlanned(t *table, e *sentinelv1.ExplainMasterResponse) {
	rejection := map[string]string{}
	for _, c := range e.GetCandidates() {
		rejection[client.HostPort(c.GetAddress())] = c.GetRejection()
	}
	if e.GetWinner() != nil && e.GetPlannedWinner() == nil && len(e.GetPlannedCandidates()) > 0 {
		t.add("by switchover", "nobody")
	}
	for _, c := range e.GetPlannedCandidates() {
		at := client.HostPort(c.GetAddress())
		switch {
		case c.GetRejection() == rejection[at]:
		case c.GetChosen():
			t.add("by switchover", at)
		default:
			t.add("by switchover", "not "+at+": "+whyNot(c))
		}
	}
}

func candidateTable(candidates []*sentinelv1.Candidate) *table {
	t := newTable("REPLICA", "VERDICT", "BEHIND", "SILENT", "OFFSET", "PRIORITY", "MEASURED", "WHY")
	for _, c := range candidates {
		verdict := "no"
		if c.GetChosen() {
			verdict = "would win"
		}
		silent := "?"
		if c.GetBehindMs() >= 0 {
			silent = age(ms(c.GetBehindMs()))
		}
		t.add(client.HostPort(c.GetAddress()), verdict, bytesWord(c.GetBehindBytes()), silent, c.GetOffsetBytes(), c.GetPriority(),
			agoWord(c.GetAgeMs()), whyNot(c))
	}
	return t
}

// whyNot is what is against a replica; empty for the chosen one.
func whyNot(c *sentinelv1.Candidate) string {
	if c.GetDetail() == "" {
		return c.GetRejection()
	}
	return c.GetDetail()
}
