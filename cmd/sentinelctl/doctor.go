package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) doctorCmd() *cobra.Command {
	var all bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "doctor [NAME...]",
		Short: "Look for what is wrong with the cluster, its nodes and the sets that it watches; exit 5 if there is a problem",
		Long: `Look for what is wrong: with the configuration of every node, with the reachability of every port from every node, with
clocks, disks, names and certificates; at every Redis, with commands that sentineld is not allowed to use and with settings that
would make a replica a bad master; with quorums that cannot be reached. With names, only those sets are looked at, and all nodes.

A problem is what does not work, or will not when it is needed: the exit status is 5. A warning is what works now, and less well
than it should, or not in every case that may come: warnings alone end with 0. Nothing is changed. It works without a leader.`,
		Example:           "  sentinelctl doctor\n  sentinelctl doctor mymaster --all\n  sentinelctl doctor -o json",
		Args:              args(0, -1),
		ValidArgsFunction: a.completeMasters,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit <= 0 {
				return usagef("--max-wait %v: want more than 0", limit)
			}
			d, err := a.diagnose(cmd.Context(), &sentinelv1.DiagnoseRequest{
				Consistency: a.reading().consistency, Names: args, IncludePassed: all,
			}, limit)
			if err != nil {
				return err
			}
			if d.GetLocal() {
				defer a.marking(d.GetAgeMs()).mark()
			}
			if a.set.json() {
				err = a.print(d, nil)
			} else {
				err = a.printDiagnosis(d)
			}
			if n := d.GetSummary().GetProblems(); err == nil && n > 0 {
				return checkf("%s", plural(int(n), "problem"))
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "show the checks that passed, too")
	cmd.Flags().DurationVar(&limit, "max-wait", time.Minute, "how long it may take")
	return cmd
}

// errCutShort: the answer of a stream ended where more was to come.
var errCutShort = failedf("the node ended its answer before it was whole; ask again")

// diagnose is a diagnosis as one message.
func (a *app) diagnose(ctx context.Context, q *sentinelv1.DiagnoseRequest, limit time.Duration) (*sentinelv1.DiagnoseResponse, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stream, err := sentinelv1.NewDiagnoseServiceClient(c).Diagnose(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &sentinelv1.DiagnoseResponse{}
	for {
		part, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && out.GetSummary() == nil:
			return nil, errCutShort
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		}
		proto.Merge(out, part)
	}
}

// printDiagnosis writes the findings, grouped by their subjects, and what they come to.
func (a *app) printDiagnosis(d *sentinelv1.DiagnoseResponse) error {
	var b strings.Builder
	width := 0
	for _, f := range d.GetFindings() {
		width = max(width, len(f.GetCode()))
	}
	subject := ""
	for _, f := range d.GetFindings() {
		if f.GetSubject() != subject {
			subject = f.GetSubject()
			fmt.Fprintf(&b, "%s\n", printable(subject))
		}
		fmt.Fprintf(&b, "  %-7s  %-*s  %s\n", enumWord(f.GetSeverity().String(), "SEVERITY_"), width, printable(f.GetCode()), printable(f.GetWhat()))
		for _, more := range []struct{ word, text string }{{"why:", f.GetWhy()}, {"do:", f.GetAdvice()}} {
			if more.text != "" {
				fmt.Fprintf(&b, "           %-4s %s\n", more.word, printable(more.text))
			}
		}
	}
	s := d.GetSummary()
	fmt.Fprintf(&b, "%s, %s, %s passed; %d of %s answered, %d of %s visited\n", plural(int(s.GetProblems()), "problem"),
		plural(int(s.GetWarnings()), "warning"), plural(int(s.GetPassed()), "check"), s.GetNodesAnswered(), plural(int(s.GetNodes()), "node"),
		s.GetInstancesVisited(), plural(int(s.GetInstances()), "instance"))
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// completeMasters tells the masters that are not named yet.
func (a *app) completeMasters(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	names, directive := a.completeMaster(cmd, nil, word)
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), directive
}
