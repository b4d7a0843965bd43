package executor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// promote makes the row's candidate a master, where it is not one already, and commits it. A candidate that fails is
// blamed: the next look chooses another, at once and under a new epoch, or tries it again a little later.
func (d *duties) promote(ctx context.Context, s *set, m *raftfsm.Master, step failover.Promote) error {
	row := step.Row
	if s.begun != row.Epoch {
		d.e.o.Log.Info("failover resumed", "master", m.Name, "epoch", row.Epoch, "to", row.To.String(), "promoted", step.Already)
		d.fenceAll(ctx, s, m)
	}
	story := &story{set: s, row: row}
	c, info, err := d.fencedCandidate(ctx, s, m, row, story)
	if err != nil || c == nil {
		return err
	}
	already, why := d.viewOf(s, d.e.o.Cluster.State(), m).Fit(row.To, info)
	switch {
	case why != "":
		_ = c.Close() // of no further use
		s.blame(row.To)
		d.e.o.Log.Warn("candidate cannot be promoted", "master", m.Name, "epoch", row.Epoch, "candidate", row.To.String(), "reason", why)
		return nil
	case already:
	case d.viewOf(s, d.e.o.Cluster.State(), m).MayGiveWay(row):
		if handed := d.giveWay(ctx, s, m, row, c, story); handed != nil {
			info = handed
			break
		}
		fallthrough
	default:
		if info, err = d.noOne(ctx, s, c, row, story); err != nil {
			_ = c.Close()
			s.blame(row.To)
			d.e.o.Log.Warn("promotion failed", "master", m.Name, "epoch", row.Epoch, "candidate", row.To.String(), "error", err)
			return nil
		}
	}
	s.keep(row.To, c)
	began := time.Now()
	if switched, err := d.switchMaster(ctx, s, row, info, story); !switched || err != nil {
		return err
	}
	s.owes(row, story.step(raftfsm.StepSwitch, row.To, began, ""))
	return nil
}

// fencedCandidate is the connection over which the candidate is promoted; nil where the candidate failed, or where the
// row was called off while the connection was made.
func (d *duties) fencedCandidate(ctx context.Context, s *set, m *raftfsm.Master, row *raftfsm.Failover, t *story) (Conn, *detector.Info, error) {
	began := time.Now()
	c, info, err := d.control(ctx, s, m, row.To)
	if err != nil {
		if ctx.Err() == nil && d.verify(ctx) != nil {
			return nil, nil, err // it is not the candidate that failed
		}
		s.blame(row.To)
		d.e.o.Log.Warn("candidate cannot be reached", "master", m.Name, "epoch", row.Epoch, "candidate", row.To.String(), "error", err)
		return nil, nil, nil
	}
	t.add(raftfsm.StepFence, row.To, began, "")
	if !d.wanted(s, row) {
		s.keep(row.To, c)
		return nil, nil, nil
	}
	return c, info, nil
}

// noOne sends REPLICAOF NO ONE.
func (d *duties) noOne(ctx context.Context, s *set, c Conn, row *raftfsm.Failover, t *story) (*detector.Info, error) {
	began := time.Now()
	d.e.point(BeforePromote)
	info, err := d.toMaster(ctx, c)
	d.e.point(AfterPromote)
	if err != nil {
		return nil, err
	}
	s.saw(row.To, info)
	t.add(raftfsm.StepPromote, row.To, began, "")
	d.e.o.Log.Info("promoted", "master", s.name, "epoch", row.Epoch, "instance", row.To.String(), "offset", info.Offset,
		"second_offset", info.SecondOffset, "took_ms", ms(time.Since(began)))
	return info, nil
}

// toMaster promotes what is at the end of a connection. Once begun, the exchange is finished, within its deadline, though ctx
// ends: half of it would leave a master that nobody knows of.
func (d *duties) toMaster(ctx context.Context, c Conn) (*detector.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.e.o.Deadline)
	defer cancel()
	return c.Promote(ctx)
}

// unsaved says that a configuration file could not be rewritten: the role comes back wrong after a restart.
func unsaved(rewriteErr error) string {
	if rewriteErr == nil {
		return ""
	}
	return "configuration not saved: " + rewriteErr.Error()
}

// wanted tells whether the row is still open, not switched, and not called off. Until the switch commits, the committed
// master is the truth.
func (d *duties) wanted(s *set, row *raftfsm.Failover) bool {
	st := d.e.o.Cluster.State()
	m, ok := st.Master(s.name)
	if !ok || m.Failover == nil || m.Failover.Epoch != row.Epoch || m.Failover.Switched {
		return false
	}
	_, called := failover.Next(d.viewOf(s, st, m)).(failover.End)
	return !called
}

// switchMaster commits the candidate as the master: the end of the urgent part. It is false where the row was called off.
func (d *duties) switchMaster(ctx context.Context, s *set, row *raftfsm.Failover, info *detector.Info, t *story) (bool, error) {
	d.e.point(BeforeSwitch)
	if !d.wanted(s, row) {
		return false, nil
	}
	in := raftfsm.Instance{}
	if m, ok := d.e.o.Cluster.State().Master(s.name); ok {
		in, _ = m.Instance(row.To)
	}
	_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_SwitchMaster{SwitchMaster: &raftlogv1.SwitchMaster{
		Master: s.name, Epoch: row.Epoch, From: row.From.Proto(), To: row.To.Proto(), Steps: t.steps, Offset: info.Offset,
		Promoted: &raftlogv1.InstanceFacts{
			Address: row.To.Proto(), RunId: plain(info.RunID), Role: info.Role, ReplId: plain(info.ReplID), ReplId2: plain(info.ReplID2),
			SecondOffset: info.SecondOffset, SyncedReplId: in.SyncedReplID,
		},
	}}})
	if err != nil {
		return false, err
	}
	d.e.point(AfterSwitch)
	d.e.o.Log.Info("master switched", "master", s.name, "epoch", row.Epoch, "from", row.From.String(), "to", row.To.String(),
		"took_ms", s.sinceBegin(row, time.Now()))
	return true, nil
}

// owed is a step that the open row is yet to be told.
type owed struct {
	row  *raftfsm.Failover
	step *raftlogv1.Step
}

// owes keeps a step that is told before anything else is done about the set: at once, unless other sets wait for a master.
func (s *set) owes(row *raftfsm.Failover, step *raftlogv1.Step) { s.owed = &owed{row: row, step: step} }

// payUp tells what is owed.
func (d *duties) payUp(ctx context.Context, s *set) error {
	if s.owed == nil {
		return nil
	}
	if err := d.tell(ctx, s, s.owed.row, s.owed.step); err != nil {
		return err
	}
	s.owed = nil
	return nil
}

// tell adds a step to the open row. Where the row is closed by now, or full, there is nothing to add it to.
func (d *duties) tell(ctx context.Context, s *set, row *raftfsm.Failover, step *raftlogv1.Step) error {
	d.e.point(BeforeRecord)
	_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_RecordStep{RecordStep: &raftlogv1.RecordStep{
		Master: s.name, Epoch: row.Epoch, Step: step,
	}}})
	if r, refused := errors.AsType[raftfsm.Refusal](err); refused && (r.Code == raftfsm.StaleEpoch || r.Code == raftfsm.TooMany) {
		d.e.o.Log.Debug("step not recorded", "master", s.name, "epoch", row.Epoch, "step", step.GetName(), "reason", r.Detail)
		return nil
	}
	if err != nil {
		return fmt.Errorf("step %s of epoch %d: %w", step.GetName(), row.Epoch, err)
	}
	d.e.point(AfterRecord)
	return nil
}

// save has the new master keep its role in its configuration file and tells it on the record. That waits for the disk of the
// instance, twice: no client is to wait for it. A master that restarts before comes back as a replica, and is made a master
// again or replaced like any other.
func (d *duties) save(ctx context.Context, s *set, m *raftfsm.Master, row *raftfsm.Failover) error {
	t, began := &story{set: s, row: row}, time.Now()
	d.e.point(BeforeSave)
	c, _, err := d.control(ctx, s, m, row.To)
	if err == nil {
		err = d.saveOn(ctx, c)
		s.keep(row.To, c)
	}
	d.e.point(AfterSave)
	if _, refused := errors.AsType[instance.ReplyError](err); err != nil && !refused {
		s.memory.Unsaved++
		return fmt.Errorf("configuration of %s: %w", row.To, err)
	}
	s.memory.Saved = row.Epoch
	if err != nil {
		d.e.o.Log.Warn("configuration not saved", "master", m.Name, "epoch", row.Epoch, "instance", row.To.String(), "error", err)
	}
	return d.tell(ctx, s, row, t.step(raftfsm.StepSave, row.To, began, unsaved(err)))
}

func (d *duties) saveOn(ctx context.Context, c Conn) error {
	ctx, cancel := context.WithTimeout(ctx, d.e.o.Deadline)
	defer cancel()
	return c.SaveConfig(ctx)
}

// restore makes the committed master a master again, which says that it is a replica and has all that the others have.
func (d *duties) restore(ctx context.Context, s *set, m *raftfsm.Master, step failover.Restore) error {
	c, _, err := d.control(ctx, s, m, m.Address)
	if err != nil {
		return err
	}
	defer s.keep(m.Address, c)
	st := d.e.o.Cluster.State()
	now, ok := st.Master(s.name)
	if !ok || now.Generation != m.Generation {
		return errChanged
	}
	if _, still := failover.Next(d.viewOf(s, st, now)).(failover.Restore); !still {
		return nil
	}
	d.e.o.Log.Warn("committed master is promoted again", "master", m.Name, "instance", m.Address.String(), "reason", step.Reason)
	d.e.point(BeforeRestore)
	info, err := d.toMaster(ctx, c)
	d.e.point(AfterRestore)
	if err != nil {
		return err
	}
	s.saw(m.Address, info)
	if err := d.saveOn(ctx, c); err != nil {
		d.e.o.Log.Warn("configuration not saved", "master", m.Name, "instance", m.Address.String(), "error", err)
	}
	return nil
}

// story collects the steps that SwitchMaster carries.
type story struct {
	set   *set
	row   *raftfsm.Failover
	steps []*raftlogv1.Step
}

func (t *story) step(name string, a raftfsm.Addr, began time.Time, detail string) *raftlogv1.Step {
	now := time.Now()
	return &raftlogv1.Step{
		Name: name, Instance: a.Proto(), AtMs: t.set.sinceBegin(t.row, now), TookMs: ms(now.Sub(began)), Detail: plain(detail),
	}
}

func (t *story) add(name string, a raftfsm.Addr, began time.Time, detail string) {
	t.steps = append(t.steps, t.step(name, a, began, detail))
}
