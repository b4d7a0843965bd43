package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) historyCmd() *cobra.Command {
	var limit int
	var story bool
	cmd := &cobra.Command{
		Use:               "history [NAME]",
		Short:             "List failovers, newest first",
		Args:              args(0, 1),
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 {
				return usagef("--limit %d: want 0 or more", limit)
			}
			q := &sentinelv1.ListFailoversRequest{}
			if len(args) == 1 {
				q.Name = args[0]
			}
			r := a.reading()
			all, err := r.failovers(cmd.Context(), q, limit)
			if err != nil {
				return err
			}
			if story && !a.set.json() {
				defer r.mark()
				return a.printStories(all.GetFailovers())
			}
			return r.print(all, func() *table { return historyTable(all.GetFailovers()) })
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many; 0 = all")
	cmd.Flags().BoolVar(&story, "story", false, "tell each with its votes, candidates and steps")
	return cmd
}

// failovers reads pages until there are limit failovers; 0 is all.
func (r *reading) failovers(ctx context.Context, q *sentinelv1.ListFailoversRequest, limit int) (*sentinelv1.ListFailoversResponse, error) {
	var all *sentinelv1.ListFailoversResponse
	for token := ""; ; {
		page, err := ask(ctx, r, func(ctx context.Context, c *client.Client, how sentinelv1.Consistency) (*sentinelv1.ListFailoversResponse, error) {
			page := proto.CloneOf(q)
			page.Consistency, page.PageToken = how, token
			return sentinelv1.NewAdminServiceClient(c).ListFailovers(ctx, page)
		})
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = page
		} else {
			all.Failovers = append(all.Failovers, page.GetFailovers()...)
		}
		token = page.GetNextPageToken()
		if enough := limit > 0 && len(all.GetFailovers()) >= limit; enough || token == "" {
			if enough {
				all.Failovers = all.GetFailovers()[:limit]
			}
			all.NextPageToken = ""
			return all, nil
		}
	}
}

func historyTable(failovers []*sentinelv1.Failover) *table {
	t := newTable("BEGUN", "MASTER", "EPOCH", "KIND", "FROM", "TO", "OUTCOME", "SWITCHED AFTER", "LOST")
	for _, f := range failovers {
		t.add(stampOf(f.GetBegunAt()), f.GetMaster(), f.GetEpoch(), enumWord(f.GetKind().String(), "FAILOVER_KIND_"),
			client.HostPort(f.GetFrom()), client.HostPort(f.GetTo()), outcomeWord(f.GetOutcome()), tookWord(f), lossWord(f))
	}
	return t
}

func (a *app) printStories(failovers []*sentinelv1.Failover) error {
	for i, f := range failovers {
		if i > 0 {
			if _, err := fmt.Fprintln(a.stdout); err != nil {
				return err
			}
		}
		if err := failoverTable(f).write(a.stdout); err != nil {
			return err
		}
	}
	return nil
}

// stampOf is a time, empty where there is none.
func stampOf(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return stamp(t)
}
