package main

import (
	"context"
	"fmt"
	"time"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// switchover moves the master to a replica while a client writes, and tells what that cost.
func (d *demo) switchover(ctx context.Context) error {
	m, err := d.all.Master(ctx, demoMaster)
	if err != nil {
		return err
	}
	view := d.watchClients(ctx, m.Addr)
	defer view.stop()
	if err := view.settle(ctx); err != nil {
		return err
	}
	d.printf("\nNow a planned switchover, as sentinelctl switchover %s orders it, while a client writes to %s.\n", demoMaster, m.Addr)
	ordered := time.Now()
	f, err := d.order(ctx)
	if err != nil {
		return err
	}
	d.printSteps(f)
	if err := d.leads(ctx, f); err != nil {
		return err
	}
	told, w, err := view.reached(ctx, d, client.HostPort(f.GetTo()))
	if err != nil {
		return err
	}
	d.printf("\nWhat clients saw, by their own clock\n\n  %11s\n", "from order")
	for _, r := range rowsOf(d, told, w, client.HostPort(f.GetTo())) {
		d.printf("  %11s  %s\n", fineOffset(r.at.Sub(ordered)), r.what)
	}
	d.printf("\n  %s\n", w.told())
	if lost := w.lost(); lost > 0 {
		return fmt.Errorf("the switchover lost %d acknowledged writes", lost)
	}
	return nil
}

// order has the switchover made, and gives its record once it has ended.
func (d *demo) order(ctx context.Context) (*sentinelv1.Failover, error) {
	id := newOperation()
	if _, err := d.all.Switchover(ctx, &sentinelv1.SwitchoverMasterRequest{Name: demoMaster, RequestId: id}); err != nil {
		return nil, fmt.Errorf("order the switchover: %w", err)
	}
	var f *sentinelv1.Failover
	for m, err := range d.all.WatchOperation(ctx, id) {
		if err != nil {
			return nil, fmt.Errorf("follow the switchover: %w", err)
		}
		f = m.GetFailover()
	}
	if !f.GetSwitched() || f.GetOutcome() != sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED {
		return nil, fmt.Errorf("the switchover ended as %s: %s", outcomeWord(f.GetOutcome()), f.GetEndReason())
	}
	return f, nil
}
