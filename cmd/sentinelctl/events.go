package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

func (a *app) eventsCmd() *cobra.Command {
	var followOn bool
	var since, master string
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened, as far back as the cluster keeps it",
		Long: `Show what happened, as far back as the cluster keeps it. With -f what happens from now on, until interrupted;
with -f and --since both, without a gap. Any node tells the events, with or without a leader.`,
		Example: "  sentinelctl events --since 10m\n  sentinelctl events -f --master mymaster -o json",
		Args:    args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := parseSince(since, time.Now())
			if err != nil {
				return err
			}
			var after *sentinelv1.EventCursor
			if !followOn || since != "" {
				after = &sentinelv1.EventCursor{}
			}
			return a.events(cmd.Context(), after, master, from, followOn)
		},
	}
	cmd.Flags().BoolVarP(&followOn, "follow", "f", false, "go on with what happens")
	cmd.Flags().StringVar(&since, "since", "", "only from here on: a `SPAN` such as 10m, or a time such as 2026-11-22T12:00:00Z")
	cmd.Flags().StringVar(&master, "master", "", "only events of the master `NAME`")
	_ = cmd.RegisterFlagCompletionFunc("master", a.completeMaster)
	return cmd
}

// parseSince reads a span before now or a time; empty is the beginning.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, usagef("--since %q: want a span such as 10m, or a time such as 2026-11-22T12:00:00Z", s)
	}
	return t, nil
}

func (a *app) events(ctx context.Context, after *sentinelv1.EventCursor, master string, from time.Time, followOn bool) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	// A watch waits for a node to come; somebody at a terminal wants to know that there is none.
	s, err := a.status(ctx)
	if absent(err) {
		return err
	}
	local := s.GetLocal()
	if local {
		a.marking(s.GetAgeMs()).mark()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(a.set.timeout, func() { cancel(context.DeadlineExceeded) })
	defer patience.Stop()
	for r, err := range c.WatchEvents(ctx, after, master) {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return err
		}
		if followOn {
			// The time of a request bounds the first answer; from then on there is no hurry.
			patience.Stop()
		}
		switch u := r.GetUpdate().(type) {
		case *sentinelv1.WatchEventsResponse_Batch:
			if err := a.printEvents(u.Batch.GetEvents(), from, local); err != nil {
				return err
			}
		case *sentinelv1.WatchEventsResponse_Compacted:
			if u.Compacted.GetAfter().GetIndex() > 0 {
				a.say("earlier events are no longer kept: %s", printable(u.Compacted.GetReason()))
			}
		case *sentinelv1.WatchEventsResponse_Reset_:
			a.say("another cluster answers now: %s", printable(u.Reset_.GetReason()))
		case *sentinelv1.WatchEventsResponse_Synced:
			if !followOn {
				return nil
			}
		}
	}
	return nil
}

func (a *app) printEvents(events []*sentinelv1.Event, from time.Time, local bool) error {
	for _, e := range events {
		if e.GetAt().AsTime().Before(from) {
			continue
		}
		if err := a.printEvent(a.stdout, e, local); err != nil {
			return err
		}
	}
	return nil
}

// printEvent writes one event as one line: JSON, or columns that stay aligned from event to event.
func (a *app) printEvent(w io.Writer, e *sentinelv1.Event, local bool) error {
	if a.set.json() {
		_, err := fmt.Fprintf(w, "%s,\"local\":%t}\n", bytes.TrimSuffix(sentinelv1.JSON(e), []byte("}")), local)
		return err
	}
	_, err := fmt.Fprintf(w, "%s  %-24s  %s\n", stamp(e.GetAt()), printable(e.GetKind()), printable(eventText(e)))
	return err
}

// eventText is what Sentinel would publish, and what it would not: the node, the cause, the detail.
func eventText(e *sentinelv1.Event) string {
	text := e.GetPayload()
	var more []string
	if n := e.GetNodeId(); n != "" && !strings.Contains(text, n) {
		more = append(more, "node "+n)
	}
	if e.GetCause() != sentinelv1.Cause_CAUSE_UNSPECIFIED {
		more = append(more, causeWord(e.GetCause()))
	}
	if d := e.GetDetail(); d != "" && !strings.Contains(text, d) {
		more = append(more, d)
	}
	if len(more) == 0 {
		return text
	}
	return strings.TrimSpace(text + " (" + strings.Join(more, ", ") + ")")
}
