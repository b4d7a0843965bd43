package executor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// levelLimit is how long the candidate has, while writes are paused, to receive what the master has; checkLimit how long it
	// has once nobody is the master. A candidate that is well takes a millisecond or two.
	levelLimit = 500 * time.Millisecond
	checkLimit = 300 * time.Millisecond
	// shortLevel is levelLimit where the master is to be replaced in any case.
	shortLevel = 100 * time.Millisecond
	// pauseSlack is how much longer than all that the pause is leased, so that it ends by itself should this node be frozen.
	pauseSlack = 500 * time.Millisecond
	// exchangeLimit bounds one exchange with either of the two while the clients of both wait.
	exchangeLimit = 300 * time.Millisecond
	// readEvery is the pause between two readings of both.
	readEvery = 300 * time.Microsecond
	// movePause is the pause between two batches of connections that are closed.
	movePause = 10 * time.Millisecond
	// moveEach is what one connection adds to the time in which all are to be closed; one takes a third of a millisecond on a
	// busy machine.
	moveEach = time.Millisecond
)

// handover is the old master of a row on its way to give way to the candidate. Nothing is committed in it: it can be broken
// off anywhere, and whoever leads then goes on from what the two instances say of themselves.
type handover struct {
	d         *duties
	s         *set
	m         *raftfsm.Master
	row       *raftfsm.Failover
	t         *story
	old, cand Conn
	// paused: writes wait at the old one. down: it was told to be a replica, and may be one.
	paused, down bool
	// stayed: the old one was seen to be the master, and was not told anything else.
	stayed bool
	// leased is until when they wait. Nobody steps down later: the candidate may lack by then what was written since, and the
	// old one would copy the candidate's data in place of its own.
	leased time.Time
	// had is the most that the old one was seen to have. One that is told to follow a candidate which lags copies that one's
	// data, and then has less.
	had int64
}

// pair is what both said of themselves.
type pair struct{ old, cand *detector.Info }

// switchOver makes a switchover's candidate the master and commits it, from wherever things stand, or rolls back.
func (d *duties) switchOver(ctx context.Context, s *set, m *raftfsm.Master, row *raftfsm.Failover) error {
	if s.begun != row.Epoch {
		d.e.o.Log.Info("switchover carried on", "master", m.Name, "epoch", row.Epoch, "to", row.To.String())
		d.fenceAll(ctx, s, m)
	}
	h := &handover{d: d, s: s, m: m, row: row, t: &story{set: s, row: row}}
	defer h.keep()
	both, err := h.open(ctx)
	if err == nil && !d.wanted(s, row) {
		return nil
	}
	var promoted *detector.Info
	if err == nil {
		promoted, err = h.proceed(ctx, levelLimit, both)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		h.unpause(ctx)
		return d.rollBack(ctx, s, m, row, h, err.Error())
	}
	began := time.Now()
	if switched, err := d.switchMaster(ctx, s, row, promoted, h.t); !switched || err != nil {
		return err
	}
	step := h.t.step(raftfsm.StepSwitch, row.To, began, "")
	h.release(ctx)
	s.owes(row, step)
	return nil
}

// giveWay has the old master of an automatic failover, which this node reaches though others do not, hand over first; nil where
// it does not do so at once.
func (d *duties) giveWay(ctx context.Context, s *set, m *raftfsm.Master, row *raftfsm.Failover, cand Conn, t *story) *detector.Info {
	h := &handover{d: d, s: s, m: m, row: row, t: t, cand: cand}
	short, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	old, is, err := d.control(short, s, m, row.From)
	if err != nil {
		return nil
	}
	h.old = old
	defer s.keep(row.From, old)
	says, err := h.info(ctx, cand)
	if err == nil {
		says, err = h.proceed(ctx, shortLevel, pair{is, says})
	}
	if h.cand != nil && h.cand != cand {
		_ = h.cand.Close() // the caller has its own, and dials anew
	}
	if err == nil {
		return says
	}
	h.unpause(ctx)
	d.e.o.Log.Info("the old master does not give way; its writes may be lost", "master", s.name, "epoch", row.Epoch,
		"instance", row.From.String(), "error", err)
	return nil
}

// open gets fenced connections to both at the same time. Where an earlier leader has promoted the candidate already, the old
// one is not needed.
func (h *handover) open(ctx context.Context) (pair, error) {
	var both pair
	var oldErr, candErr error
	began := time.Now()
	var each sync.WaitGroup
	each.Go(func() { h.old, both.old, oldErr = h.d.control(ctx, h.s, h.m, h.row.From) })
	each.Go(func() { h.cand, both.cand, candErr = h.d.control(ctx, h.s, h.m, h.row.To) })
	each.Wait()
	h.stayed = oldErr == nil && both.old.Role == raftfsm.RoleMaster
	if candErr != nil {
		return both, fmt.Errorf("candidate %s cannot be reached: %w", h.row.To, candErr)
	}
	if oldErr != nil && !h.promoted(both.cand) {
		return both, fmt.Errorf("master %s cannot be reached: %w", h.row.From, oldErr)
	}
	h.t.add(raftfsm.StepFence, h.row.To, began, "")
	return both, nil
}

// promoted tells whether the candidate is the master, from this set.
func (h *handover) promoted(is *detector.Info) bool {
	already, _ := h.d.viewOf(h.s, h.d.e.o.Cluster.State(), h.m).Fit(h.row.To, is)
	return already
}

// keep gives the connections back for the steps that follow.
func (h *handover) keep() {
	if h.old != nil {
		h.s.keep(h.row.From, h.old)
	}
	if h.cand != nil {
		h.s.keep(h.row.To, h.cand)
	}
}

// proceed gives what the candidate says of itself once it is the master and has all that the old one had. Once begun, it goes
// on though ctx ends, within its limits: the less remains for the next leader.
func (h *handover) proceed(ctx context.Context, limit time.Duration, both pair) (*detector.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	if h.promoted(both.cand) {
		return both.cand, nil
	}
	stage, why := h.d.viewOf(h.s, h.d.e.o.Cluster.State(), h.m).StageOf(h.row, both.old, both.cand)
	if why != "" {
		return nil, errors.New(why)
	}
	if h.had = max(h.had, both.old.Offset); both.old.ReplID == h.row.OldReplID {
		h.had = max(h.had, h.row.OldOffset)
	}
	switch stage {
	case failover.StageBegin:
		if err := h.stepDown(ctx, limit); err != nil {
			return nil, err
		}
	case failover.StageDemoted:
		h.down = true
	case failover.StageLost: // it has its why
	}
	began := time.Now()
	last, err := h.untilLevel(ctx, checkLimit)
	if err != nil {
		return nil, fmt.Errorf("after master %s had stepped down: %w", h.row.From, err)
	}
	if last.old.Role != raftfsm.RoleReplica {
		return nil, fmt.Errorf("master %s did not stay a replica; something else reconfigures it", h.row.From)
	}
	h.t.add(raftfsm.StepCheck, h.row.To, began, fmt.Sprintf("has all of history %s up to offset %d", last.old.ReplID, last.old.Offset))
	h.d.e.point(AfterCheck)
	return h.promote(ctx)
}

// stepDown pauses writes, waits until the candidate is level, and makes the old master its replica.
func (h *handover) stepDown(ctx context.Context, limit time.Duration) error {
	if err := h.pause(ctx, limit); err != nil {
		return err
	}
	// Without a pause, too: what the candidate lacks must be on its way, or the old one would copy its data in place of its own.
	began := time.Now()
	if _, err := h.untilLevel(ctx, limit); err != nil {
		return err
	}
	h.t.add(raftfsm.StepLevel, h.row.To, began, "")
	began = time.Now()
	h.d.e.point(BeforeDown)
	if h.paused && time.Until(h.leased) < checkLimit {
		return fmt.Errorf("the pause of writes at master %s has almost run out: this node stood still", h.row.From)
	}
	within, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	had, err := h.old.Demote(within, h.row.To)
	h.had = max(h.had, had)
	h.d.e.point(AfterDown)
	_, refused := errors.AsType[instance.ReplyError](err)
	h.stayed, h.down = refused, !refused
	if err != nil {
		return fmt.Errorf("master %s does not step down: %w", h.row.From, err)
	}
	h.t.add(raftfsm.StepDown, h.row.From, began, "")
	return nil
}

// pause has writes wait at the old master. A server that cannot do that has them fail instead, for as short.
func (h *handover) pause(ctx context.Context, limit time.Duration) error {
	began := time.Now()
	h.d.e.point(BeforePause)
	within, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	lease := limit + checkLimit + pauseSlack
	h.leased = began.Add(lease)
	err := h.old.PauseWrites(within, lease)
	h.d.e.point(AfterPause)
	detail := ""
	if refusal, refused := errors.AsType[instance.ReplyError](err); refused {
		detail = "writes fail and do not wait: it has no CLIENT PAUSE WRITE (Redis before 6.2), or not for us: " + refusal.Text
	} else if err != nil {
		return fmt.Errorf("master %s does not answer: %w", h.row.From, err)
	}
	h.paused = detail == ""
	h.t.add(raftfsm.StepPause, h.row.From, began, plain(detail))
	return nil
}

// untilLevel reads both until the candidate has all that the old master has.
func (h *handover) untilLevel(ctx context.Context, limit time.Duration) (pair, error) {
	until := time.Now().Add(limit)
	for {
		var last pair
		var err error
		if last.old, err = h.info(ctx, h.old); err != nil {
			return last, fmt.Errorf("master %s does not answer: %w", h.row.From, err)
		}
		if last.cand, err = h.info(ctx, h.cand); err != nil {
			return last, fmt.Errorf("candidate %s does not answer: %w", h.row.To, err)
		}
		h.had = max(h.had, last.old.Offset)
		switch {
		case failover.Level(last.old, last.cand) && last.cand.Offset >= h.had:
			return last, nil
		case !time.Now().Before(until):
			return last, fmt.Errorf("candidate %s is at offset %d of %d after %s", h.row.To, last.cand.Offset, h.had, limit)
		}
		time.Sleep(readEvery)
	}
}

func (h *handover) info(ctx context.Context, c Conn) (*detector.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	return c.Info(ctx)
}

// promote makes the candidate the master. Where its answer is lost, it is asked once more what it is.
func (h *handover) promote(ctx context.Context) (*detector.Info, error) {
	began := time.Now()
	h.d.e.point(BeforePromote)
	within, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	info, err := h.cand.Promote(within)
	h.d.e.point(AfterPromote)
	if err != nil {
		_ = h.cand.Close() // the error says why it is of no use
		h.cand = nil
		again, cancel := context.WithTimeout(ctx, exchangeLimit)
		defer cancel()
		c, now, lookErr := h.d.control(again, h.s, h.m, h.row.To)
		if lookErr != nil {
			return nil, fmt.Errorf("candidate %s was not promoted: %w", h.row.To, err)
		}
		h.cand, info = c, now
		if !h.promoted(now) {
			return nil, fmt.Errorf("candidate %s was not promoted: %w", h.row.To, err)
		}
	}
	h.s.saw(h.row.To, info)
	h.t.add(raftfsm.StepPromote, h.row.To, began, "")
	h.d.e.o.Log.Info("promoted", "master", h.s.name, "epoch", h.row.Epoch, "instance", h.row.To.String(), "offset", info.Offset,
		"second_offset", info.SecondOffset, "took_ms", ms(time.Since(began)))
	return info, nil
}

// unpause lets the old master's clients write on, where it is still the master.
func (h *handover) unpause(ctx context.Context) {
	if h.paused && !h.down {
		h.release(ctx)
	}
}

// release ends the pause of writes: at one that is a replica by now, those that wait are refused and look for the new master.
func (h *handover) release(ctx context.Context) {
	if !h.paused {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeLimit)
	defer cancel()
	if err := h.old.Unpause(ctx); err != nil {
		h.d.e.o.Log.Warn("writes wait until their pause runs out", "master", h.s.name, "instance", h.row.From.String(), "error", err)
	}
	h.paused = false
}

// rollBack commits that a switchover is given up, and then makes its old master the master again, where it had stepped down.
// Should this node not come to that, the law restores it: the committed master that calls itself a replica. h is this
// leadership's attempt, nil for none: what an old master has that may have stepped down is not known before it is the master.
func (d *duties) rollBack(ctx context.Context, s *set, m *raftfsm.Master, row *raftfsm.Failover, h *handover, reason string) error {
	d.e.point(BeforeBack)
	loss := raftfsm.LossUnknown
	if h != nil && h.stayed {
		loss = raftfsm.LossExact
	}
	_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
		Master: m.Name, Epoch: row.Epoch, Outcome: raftfsm.OutcomeAborted, Reason: plain(reason), Loss: &raftlogv1.Loss{Kind: loss},
	}}})
	if _, watched := d.e.o.Cluster.State().Master(m.Name); !watched && h != nil && h.down {
		// Nobody watches it any more: what was taken from it in the midst of this is given back.
		_, backErr := d.toMaster(ctx, h.old)
		return errors.Join(err, backErr)
	}
	if err != nil {
		return err
	}
	d.e.point(AfterBack)
	d.e.o.Log.Warn("switchover rolled back", "master", m.Name, "epoch", row.Epoch, "reason", reason)
	within, cancel := context.WithTimeout(ctx, d.e.o.Deadline)
	defer cancel()
	c, info, err := d.control(within, s, m, row.From)
	if err != nil {
		return fmt.Errorf("master %s after the rollback: %w", row.From, err)
	}
	defer s.keep(row.From, c)
	if info.Role == raftfsm.RoleReplica {
		if info, err = d.toMaster(ctx, c); err != nil {
			return fmt.Errorf("master %s after the rollback: %w", row.From, err)
		}
		s.saw(row.From, info)
	}
	if err := c.Unpause(within); err != nil {
		d.e.o.Log.Debug("not unpaused", "master", m.Name, "instance", row.From.String(), "error", err)
	}
	return nil
}

// move lets the clients of the old master go, once in a leadership: writes that still wait are refused, and all connections of
// applications are closed, some at a time, so that they come back to the new master. Its configuration is saved, too.
func (d *duties) move(ctx context.Context, s *set, m *raftfsm.Master, row *raftfsm.Failover) error {
	s.memory.Moved = row.Epoch
	t, began := &story{set: s, row: row}, time.Now()
	d.e.point(BeforeMove)
	closed, err := d.moveFrom(ctx, s, m, row.From)
	d.e.point(AfterMove)
	detail := fmt.Sprintf("%d connections closed", closed)
	if err != nil {
		detail += "; " + err.Error()
		d.e.o.Log.Warn("clients of the old master are not all let go", "master", m.Name, "epoch", row.Epoch,
			"instance", row.From.String(), "closed", closed, "error", err)
	}
	return d.tell(ctx, s, row, t.step(raftfsm.StepMove, row.From, began, detail))
}

func (d *duties) moveFrom(ctx context.Context, s *set, m *raftfsm.Master, a raftfsm.Addr) (closed int, err error) {
	c, info, err := d.control(ctx, s, m, a)
	if err != nil {
		return 0, err
	}
	defer s.keep(a, c)
	if info.Role != raftfsm.RoleReplica {
		return 0, nil // demoting it will disconnect its clients
	}
	within, cancel := context.WithTimeout(ctx, d.e.o.Deadline)
	defer cancel()
	if err := c.Unpause(within); err != nil {
		d.e.o.Log.Debug("not unpaused", "master", m.Name, "instance", a.String(), "error", err)
	}
	ids, err := c.Applications(within)
	if err == nil {
		all, cancel := context.WithTimeout(ctx, d.e.o.Deadline+time.Duration(len(ids))*moveEach)
		defer cancel()
		closed, err = c.KillClients(all, ids, movePause)
	}
	return closed, errors.Join(err, d.saveOn(ctx, c))
}
