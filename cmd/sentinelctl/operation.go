package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// askAgain is the pause between two looks at something that is awaited.
	askAgain = 50 * time.Millisecond
	// restsAfter is how long a failover may wait for nothing but what is down before it is told as done.
	restsAfter = time.Second
)

func (a *app) operationCmd() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "operation ID",
		Short: "Tell what became of a failover or switchover, by its id",
		Long: `Tell what became of a failover or switchover, by its id. --wait tells each step as it is made and waits for the end;
the exit status is then that of the command that ordered it. Exit 4 if there is no such operation.`,
		Args:              args(1, 1),
		ValidArgsFunction: a.completeOperation,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !wait {
				return a.operation(cmd.Context(), args[0])
			}
			return a.awaitOperation(cmd.Context(), args[0])
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "tell its steps, until its end")
	return cmd
}

// operation tells how far an operation has come.
func (a *app) operation(ctx context.Context, id string) error {
	r := a.reading()
	all, err := r.failovers(ctx, &sentinelv1.ListFailoversRequest{OperationId: id}, 1)
	if err != nil {
		return err
	}
	if len(all.GetFailovers()) == 0 {
		r.mark()
		return &exitError{exitRefused, fmt.Errorf("no failover or switchover has the id %q, or its story is no longer kept", id)}
	}
	f := all.GetFailovers()[0]
	return r.print(&sentinelv1.WatchOperationResponse{ClusterId: all.GetClusterId(), Revision: all.GetRevision(), Failover: f},
		func() *table { return failoverTable(f) })
}

// awaitOperation tells the steps of an operation until its end.
func (a *app) awaitOperation(ctx context.Context, id string) error {
	last, err := a.follow(ctx, id, nil, 0)
	if err != nil {
		return err
	}
	f := last.GetFailover()
	if err := a.print(last, func() *table { return failoverTable(f) }); err != nil {
		return err
	}
	return howItEnded(f)
}

// awaitEnd follows an operation that was just begun. Whatever keeps its end from being heard leaves the outcome unknown.
func (a *app) awaitEnd(ctx context.Context, f *sentinelv1.Failover, limit time.Duration) (*sentinelv1.Failover, error) {
	last, err := a.follow(ctx, f.GetOperationId(), &sentinelv1.WatchOperationResponse{Failover: f}, limit)
	if _, known := errors.AsType[*exitError](err); err != nil && !known && ctx.Err() == nil {
		err = &exitError{exitUnknown, errors.New(words(err))}
	}
	return last.GetFailover(), err
}

// follow tells the steps of an operation, which stands as first says, nil for not known yet, until it is closed or only waits
// for what cannot be reached. One whose master was not switched within the limit is given up, and one that was is told as it
// is then; 0 is no limit. Without an answer at all it waits no longer than a request.
func (a *app) follow(ctx context.Context, id string, first *sentinelv1.WatchOperationResponse, limit time.Duration) (*sentinelv1.WatchOperationResponse, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var pump sync.WaitGroup
	defer pump.Wait()
	defer cancel()
	rows := make(chan operationRow)
	pump.Go(func() {
		for m, err := range c.WatchOperation(ctx, id) {
			select {
			case rows <- operationRow{m, err}:
			case <-ctx.Done():
				return
			}
		}
	})
	answered, late := time.After(a.set.timeout), (<-chan time.Time)(nil)
	if limit > 0 {
		late = time.After(limit)
	}
	t := teller{a: a}
	for last := first; ; {
		if last != nil {
			answered = nil
			if t.tell(ctx, last.GetFailover()) {
				return last, nil
			}
		}
		select {
		case r := <-rows:
			if r.err != nil {
				return nil, endedBy(ctx, r.err)
			}
			last = r.m
		case <-t.again():
		case <-answered:
			return nil, context.DeadlineExceeded
		case <-late:
			if last.GetFailover().GetSwitched() {
				a.progress("some replicas do not follow yet")
				return last, nil
			}
			return nil, errStillOpen
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// operationRow is what a watch gives.
type operationRow struct {
	m   *sentinelv1.WatchOperationResponse
	err error
}

// teller tells each step of a failover once.
type teller struct {
	a     *app
	begun bool
	told  int
	// switched: the failover is at the stage at which what cannot be reached does not hold it up; idle is since when it waits
	// for nothing else, zero while there is more.
	switched bool
	idle     time.Time
}

// tell tells what is new of a failover, and whether that is all that there will be.
func (t *teller) tell(ctx context.Context, f *sentinelv1.Failover) (all bool) {
	if !t.begun {
		t.begun = true
		t.a.progress("%s to %s, epoch %d", f.GetMaster(), client.HostPort(f.GetTo()), f.GetEpoch())
	}
	for ; t.told < len(f.GetSteps()); t.told++ {
		t.a.progress("%s", stepWord(f.GetSteps()[t.told]))
	}
	if f.GetOutcome() != sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED {
		return true
	}
	if t.switched = f.GetSwitched(); !t.switched {
		return false
	}
	away, busy := t.a.unreached(ctx, f)
	switch {
	case busy:
		t.idle = time.Time{}
	case t.idle.IsZero():
		t.idle = time.Now()
	case time.Since(t.idle) > restsAfter:
		t.a.progress("cannot be reached and will follow when back: %s", strings.Join(away, ", "))
		return true
	}
	return false
}

// again is when to look once more whether the rest can be reached.
func (t *teller) again() <-chan time.Time {
	if !t.switched {
		return nil
	}
	return time.After(askAgain)
}

// progress writes a line about what goes on.
func (a *app) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, "  %s\n", printable(fmt.Sprintf(format, args...)))
}

// unreached are the instances that an open failover still waits for though they are down. busy tells that there is more to
// wait for than these.
func (a *app) unreached(ctx context.Context, f *sentinelv1.Failover) (away []string, busy bool) {
	answer, err := a.reading().master(ctx, f.GetMaster())
	if err != nil {
		return nil, true
	}
	for _, in := range answer.GetMaster().GetInstances() {
		o, name := in.GetObservation(), client.HostPort(in.GetAddress())
		switch {
		case proto.Equal(in.GetAddress(), f.GetTo()), o.GetLinkUp() && proto.Equal(o.GetFollows(), f.GetTo()):
		case o != nil && (o.GetDown() || !o.GetConnected()):
			away = append(away, name)
		default:
			return nil, true
		}
	}
	return away, len(away) == 0
}

var errStillOpen = &exitError{exitUnknown, errors.New("the failover is still open")}

// endedBy is the caller's own end, where that is why a watch has ended.
func endedBy(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// howItEnded is how an operation ended, as an exit status.
func howItEnded(f *sentinelv1.Failover) error {
	planned := f.GetKind() == sentinelv1.FailoverKind_FAILOVER_KIND_PLANNED
	switch {
	case f.GetSwitched():
		return nil
	case planned && f.GetOutcome() == sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED:
		return &exitError{exitRefused, fmt.Errorf("rolled back, nothing changed: %s", f.GetEndReason())}
	case planned:
		return failedf("the switchover of %s ended as %s: %s", f.GetMaster(), outcomeWord(f.GetOutcome()), f.GetEndReason())
	}
	return failedf("the failover of %s ended as %s: %s", f.GetMaster(), outcomeWord(f.GetOutcome()), f.GetEndReason())
}

// ordered tells how to ask for an operation that was ordered and whose end was not heard.
func (a *app) ordered(ctx context.Context, err error, id string) error {
	switch exitStatus(err, true, ctx.Err() != nil) {
	case exitUnknown, exitInterrupted:
		a.say("the operation is %s; ask for it: sentinelctl operation %s --wait", id, id)
	}
	return err
}
