package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// crash kills the master and tells what follows, from what the cluster itself says.
func (d *demo) crash(ctx context.Context) error {
	old := d.redis[0].Addr()
	view := d.watchClients(ctx, old)
	defer view.stop()
	events, err := d.follow(ctx)
	if err != nil {
		return err
	}
	defer events.stop()
	if err := view.settle(ctx); err != nil {
		return err
	}
	d.printf("\nThe master %s gets a SIGKILL.\n\n  %11s  %12s\n", old, "from kill", "+down-after")
	killed := time.Now()
	if err := d.redis[0].Signal(syscall.SIGKILL); err != nil {
		return err
	}
	view.killed(killed)
	line := timeline{d: d, killed: killed}
	line.print(killed, "SIGKILL")
	var told story
	for told.ended == nil {
		e, err := events.next(ctx, 15*time.Second)
		if err != nil {
			return fmt.Errorf("follow the failover: %w", err)
		}
		told.hear(e)
		if e.GetKind() != "+selected-slave" {
			line.event(e)
		} else if err := d.printCandidates(ctx, line, e); err != nil {
			return err
		}
	}
	f, err := d.record(ctx, told)
	if err != nil {
		return err
	}
	d.printSteps(f)
	if err := d.checkSwitched(ctx, f, told); err != nil {
		return err
	}
	return view.report(ctx, d, client.HostPort(f.GetTo()))
}

// story is what the events of one failover have said so far.
type story struct {
	reporters []string
	odown     bool
	selected  *sentinelv1.Event
	switched  *sentinelv1.Event
	ended     *sentinelv1.Event
}

func (s *story) hear(e *sentinelv1.Event) {
	switch e.GetKind() {
	case "+sdown":
		s.reporters = append(s.reporters, e.GetNodeId())
	case "+odown":
		s.odown = true
	case "+selected-slave":
		s.selected = e
	case "+switch-master":
		s.switched = e
	case "+failover-end", "+failover-end-for-timeout", "-failover-abort":
		s.ended = e
	}
}

// timeline prints one line per event, each with its distance from the kill and from the earliest moment at which the
// master may count as down.
type timeline struct {
	d      *demo
	killed time.Time
}

func (l timeline) print(at time.Time, what string) {
	from := at.Sub(l.killed)
	past := ""
	if from >= demoDownAfter {
		past = offset(from - demoDownAfter)
	}
	l.d.printf("  %11s  %12s  %s\n", offset(from), past, printable(what))
}

// offset is a time as a signed number of milliseconds. The events' own times are whole milliseconds.
func offset(d time.Duration) string {
	return fmt.Sprintf("%+d ms", d.Round(time.Millisecond).Milliseconds())
}

func (l timeline) event(e *sentinelv1.Event) {
	if what := demoText(e); what != "" {
		l.print(e.GetAt().AsTime(), what)
	}
}

// demoText is an event in words; empty for one that only repeats another.
func demoText(e *sentinelv1.Event) string {
	it := client.HostPort(e.GetInstance())
	switch e.GetKind() {
	case "+new-epoch", "+slave", "+failover-step":
		return ""
	case "+sdown":
		what := "replica"
		if it == client.HostPort(e.GetMasterAddress()) {
			what = "master"
		}
		return fmt.Sprintf("%s reports the %s %s down: %s", e.GetNodeId(), what, it, causeWord(e.GetCause()))
	case "-sdown":
		return fmt.Sprintf("%s reaches %s again", e.GetNodeId(), it)
	case "+odown":
		return "objectively down: " + strings.TrimPrefix(e.GetDetail(), "#")
	case "-odown":
		return "no longer objectively down"
	case "+try-failover":
		return strings.TrimSuffix(fmt.Sprintf("failover %d begins: %s", e.GetEpoch(), e.GetDetail()), ": ")
	case "+promoted-slave":
		return "promoted " + it + sinceDecision(e)
	case "+switch-master":
		return fmt.Sprintf("switched: the master is %s", client.HostPort(e.GetTo()))
	case "+slave-reconf-done":
		return it + " follows the new master" + sinceDecision(e)
	case "+convert-to-slave":
		return it + " is made a replica" + sinceDecision(e)
	case "+reboot":
		return it + " is another process than before"
	case "+role-change":
		return it + ": " + e.GetDetail()
	case "+failover-end":
		return "every replica that is up follows; failover closed"
	}
	return strings.TrimSpace(e.GetKind() + " " + eventText(e))
}

func sinceDecision(e *sentinelv1.Event) string {
	if e.GetOffsetMs() == 0 {
		return ""
	}
	return fmt.Sprintf(", %.1f ms after the decision", e.GetOffsetMs())
}

// printCandidates tells from the failover's record who was chosen, and why each other was not.
func (d *demo) printCandidates(ctx context.Context, l timeline, e *sentinelv1.Event) error {
	f, err := d.failover(ctx, e.GetEpoch())
	if err != nil {
		return err
	}
	for _, c := range f.GetCandidates() {
		if c.GetChosen() {
			l.print(e.GetAt().AsTime(), fmt.Sprintf("candidate %s: %s", client.HostPort(c.GetAddress()), candidateWord(c)))
		}
	}
	for _, c := range f.GetCandidates() {
		if !c.GetChosen() {
			d.printf("  %11s  %12s  not %s: %s\n", "", "", client.HostPort(c.GetAddress()), printable(candidateWord(c)))
		}
	}
	return nil
}

// failover reads a failover of the demonstration's master by its epoch.
func (d *demo) failover(ctx context.Context, epoch uint64) (*sentinelv1.Failover, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := sentinelv1.NewAdminServiceClient(d.all).ListFailovers(ctx, &sentinelv1.ListFailoversRequest{Name: demoMaster})
	if err != nil {
		return nil, fmt.Errorf("read the record of failover %d: %w", epoch, err)
	}
	for _, f := range r.GetFailovers() {
		if f.GetEpoch() == epoch {
			return f, nil
		}
	}
	return nil, fmt.Errorf("there is no record of failover %d", epoch)
}

// record is the closed failover, held against what the events said.
func (d *demo) record(ctx context.Context, told story) (*sentinelv1.Failover, error) {
	switch {
	case len(told.reporters) < demoQuorum || !told.odown:
		return nil, fmt.Errorf("reports of %d nodes, quorum %t: no failover may come of that", len(told.reporters), told.odown)
	case told.selected == nil:
		return nil, errors.New("the failover ended without a candidate")
	case told.switched == nil:
		return nil, fmt.Errorf("the failover ended without a switch: %s", told.ended.GetDetail())
	}
	f, err := d.failover(ctx, told.selected.GetEpoch())
	if err != nil {
		return nil, err
	}
	if f.GetOutcome() != sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED {
		return nil, fmt.Errorf("failover %d ended as %s: %s", f.GetEpoch(), outcomeWord(f.GetOutcome()), f.GetEndReason())
	}
	return f, nil
}

// printSteps tells the steps as the record has them, from the decision on.
func (d *demo) printSteps(f *sentinelv1.Failover) {
	what := "failover"
	if f.GetKind() == sentinelv1.FailoverKind_FAILOVER_KIND_PLANNED {
		what = "switchover"
	}
	d.printf("\nThe record of %s %d, led by %s; steps from the decision\n\n  %11s  %12s\n", what, f.GetEpoch(), f.GetLeaderNodeId(), "ended", "took")
	for _, s := range f.GetSteps() {
		what := strings.TrimSpace(s.GetName() + " " + client.HostPort(s.GetInstance()))
		if s.GetDetail() != "" {
			what += ": " + s.GetDetail()
		}
		d.printf("  %11s  %12s  %s\n", fmt.Sprintf("%+.1f ms", s.GetAtMs()), fmt.Sprintf("%.1f ms", s.GetTookMs()), printable(what))
	}
	if lost := lossWord(f); lost != "" {
		d.printf("  %11s  %12s  writes lost, as far as the cluster can know: %s\n", "", "", lost)
	}
}

// checkSwitched holds the cluster to what it said: the candidate is the master on every node, and says so itself.
func (d *demo) checkSwitched(ctx context.Context, f *sentinelv1.Failover, told story) error {
	to := client.HostPort(f.GetTo())
	if to != client.HostPort(told.selected.GetInstance()) || to != client.HostPort(told.switched.GetTo()) {
		return fmt.Errorf("the record says %s, the events %s and %s", to, client.HostPort(told.selected.GetInstance()),
			client.HostPort(told.switched.GetTo()))
	}
	if to == d.redis[0].Addr() || !slices.Contains(d.addrs(), to) {
		return fmt.Errorf("the new master %s is none of the replicas", to)
	}
	return d.leads(ctx, f)
}

// leads waits until every node tells the new master, and asks it whether it is one.
func (d *demo) leads(ctx context.Context, f *sentinelv1.Failover) error {
	to := client.HostPort(f.GetTo())
	if err := await(ctx, "every node tells the new master", 5*time.Second, func(ctx context.Context) error {
		return d.everyNode(ctx, func(m *sentinelv1.Master) error {
			if got := client.HostPort(m.GetAddress()); got != to || m.GetEpoch() != f.GetEpoch() {
				return fmt.Errorf("it tells %s in epoch %d", got, m.GetEpoch())
			}
			return nil
		})
	}); err != nil {
		return err
	}
	text, err := info(ctx, to)
	if err != nil {
		return err
	}
	if !strings.Contains(text, "role:master") {
		return fmt.Errorf("%s does not say that it is a master", to)
	}
	return nil
}

// comeback restarts the old master and waits until it is a replica of the new one.
func (d *demo) comeback(ctx context.Context) error {
	m, err := d.all.Master(ctx, demoMaster)
	if err != nil {
		return err
	}
	old := d.redis[0]
	events, err := d.follow(ctx)
	if err != nil {
		return err
	}
	defer events.stop()
	if err := old.Kill(); err != nil { // reaps it
		return err
	}
	d.printf("\nThe old master %s is started again, as a master that knows of nothing.\n\n  %11s\n", old.Addr(), "from start")
	began := time.Now()
	if err := old.Start(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- d.isReplica(ctx, m.Addr) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			for e := events.ready(); e != nil; e = events.ready() {
				d.printReturn(e, began)
			}
			d.printf("  %11s  every node sees it as a replica of %s, link up\n", "", m.Addr)
			return nil
		case e, ok := <-events.ch:
			if !ok {
				return fmt.Errorf("follow the events: %w", <-done)
			}
			d.printReturn(e, began)
		}
	}
}

func (d *demo) printReturn(e *sentinelv1.Event, began time.Time) {
	if what := demoText(e); what != "" {
		d.printf("  %11s  %s\n", offset(e.GetAt().AsTime().Sub(began)), printable(what))
	}
}

// isReplica waits until the old master says of itself, and every node of it, that it follows the new one.
func (d *demo) isReplica(ctx context.Context, master string) error {
	old := d.redis[0].Addr()
	if err := await(ctx, "the old master becomes a replica", 20*time.Second, func(ctx context.Context) error {
		text, err := info(ctx, old)
		if err != nil {
			return err
		}
		_, port, _ := strings.Cut(master, ":")
		for _, want := range []string{"role:slave", "master_port:" + port, "master_link_status:up"} {
			if !strings.Contains(text, want) {
				return fmt.Errorf("%s does not say %s yet", old, want)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return await(ctx, "every node sees the whole set again", 20*time.Second, func(ctx context.Context) error {
		return d.everyNode(ctx, func(m *sentinelv1.Master) error { return allUp(m, master, 2) })
	})
}
