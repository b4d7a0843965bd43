package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// outcome is what became of one instance that was to follow.
type outcome struct {
	told    bool
	began   time.Time
	ended   time.Time
	was     *detector.Info // what it said of itself before
	demoted bool
	detail  string
	err     error
}

// repoint tells instances to follow the committed master, all at the same time: there are no more than parallel-syncs.
func (d *duties) repoint(ctx context.Context, s *set, m *raftfsm.Master, actions []failover.Follow) error {
	outcomes := make([]outcome, len(actions))
	var each sync.WaitGroup
	for i, a := range actions {
		each.Go(func() { outcomes[i] = d.follow(ctx, s, m, a) })
	}
	each.Wait()
	var failed error
	for i, o := range outcomes {
		a := actions[i].Addr
		if o.told {
			s.repointed(a, o.ended)
			delete(s.misses, a)
		}
		if o.err != nil && ctx.Err() == nil {
			s.miss(a)
			d.e.o.Log.Warn("instance not repointed", "master", m.Name, "instance", a.String(), "error", o.err)
		}
		if o.told {
			if err := d.told(ctx, s, a, o); err != nil {
				failed = err
			}
		}
	}
	return failed
}

// told tells on the record that an instance was made to follow. In a failover the return of its old master is a step, and so
// is, later, that a replica follows; what was put right otherwise is told by itself.
func (d *duties) told(ctx context.Context, s *set, a raftfsm.Addr, o outcome) error {
	m, ok := d.e.o.Cluster.State().Master(s.name)
	switch {
	case !ok:
		return nil
	case o.demoted:
		return d.demoted(ctx, s, m, a, o)
	case m.Failover != nil:
		return nil
	}
	return d.correct(ctx, s, m, a, &raftlogv1.Correct{Kind: raftfsm.CorrectionRepointed, Detail: plain(o.detail)})
}

// follow makes one instance follow the committed master, if it still has to by what both say on fenced connections.
func (d *duties) follow(ctx context.Context, s *set, m *raftfsm.Master, act failover.Follow) outcome {
	c, info, err := d.control(ctx, s, m, act.Addr)
	if err != nil {
		return outcome{err: err}
	}
	o := d.followOn(ctx, s, m, act, c, info)
	if o.err != nil {
		_ = c.Close() // a new one begins with the check
	} else {
		s.keep(act.Addr, c)
	}
	return o
}

func (d *duties) followOn(ctx context.Context, s *set, m *raftfsm.Master, act failover.Follow, c Conn, info *detector.Info) outcome {
	demote := info.Role == raftfsm.RoleMaster
	if demote && !act.Demote {
		return outcome{} // it became a master since the decision, which must be made anew
	}
	master, err := d.stillMaster(ctx, s, m, demote)
	if err != nil {
		return outcome{err: err}
	}
	st := d.e.o.Cluster.State()
	now, ok := st.Master(s.name)
	if !ok || now.Generation != m.Generation || failover.AtRest(now) {
		return outcome{err: errChanged}
	}
	reason, wrong := d.viewOf(s, st, now).Astray(act.Addr, info, master)
	if !wrong {
		return outcome{}
	}
	o := outcome{was: info, demoted: demote, detail: reason}
	before, after := BeforeRepoint, AfterRepoint
	if demote {
		before, after = BeforeDemote, AfterDemote
		d.e.o.Log.Warn("demoting", "master", m.Name, "instance", act.Addr.String(), "reason", reason, "offset", info.Offset,
			"repl_id", info.ReplID, "repl_id2", info.ReplID2, "run_id", info.RunID)
	}
	o.began = time.Now()
	d.e.point(before)
	if err := ctx.Err(); err != nil {
		return outcome{err: err}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.e.o.Deadline) // once begun, it is finished
	defer cancel()
	had, rewriteErr, err := c.Follow(ctx, m.Address, demote)
	d.e.point(after)
	if err != nil {
		return outcome{err: err}
	}
	o.told, o.ended = true, time.Now()
	if demote {
		o.was = withMore(o.was, had)
	}
	if unsaved := unsaved(rewriteErr); unsaved != "" {
		o.detail += "; " + unsaved
	}
	d.e.o.Log.Info("repointed", "master", m.Name, "instance", act.Addr.String(), "to", m.Address.String(), "reason", o.detail,
		"took_ms", ms(o.ended.Sub(o.began)))
	if info, err = c.Info(ctx); err != nil {
		return outcome{err: fmt.Errorf("after it was told to follow: %w", err), told: true, ended: o.ended, demoted: o.demoted, was: o.was, began: o.began, detail: o.detail}
	}
	s.saw(act.Addr, info)
	return o
}

// withMore is what an instance said of itself, and that it had more by the time it was told to follow: clients wrote to it
// until then.
func withMore(was *detector.Info, had int64) *detector.Info {
	if had <= was.Offset {
		return was
	}
	more := *was
	more.Offset = had
	return &more
}

// stillMaster is what the committed master says of itself. Before another one is demoted, which costs it its data, the
// master is asked at this moment; otherwise the last reading will do.
func (d *duties) stillMaster(ctx context.Context, s *set, m *raftfsm.Master, ask bool) (*detector.Info, error) {
	if !ask {
		if o, ok := d.viewOf(s, d.e.o.Cluster.State(), m).Observe(m.Address); ok && o.Info != nil {
			return o.Info, nil
		}
	}
	c, info, err := d.control(ctx, s, m, m.Address)
	if err != nil {
		return nil, fmt.Errorf("master %s must be seen first: %w", m.Address, err)
	}
	s.keep(m.Address, c)
	if info.Role != raftfsm.RoleMaster {
		return nil, fmt.Errorf("%s says that it is no master: %w", m.Address, errChanged)
	}
	return info, nil
}

// demoted tells that a master beside the committed one was made a replica: of an old master with what may have been lost, in
// the open row if that is its own. The story of a past one is corrected: the law takes what the old master tells to the byte if
// its process has survived, and of one that was restarted only that an exact 0 is doubtful.
func (d *duties) demoted(ctx context.Context, s *set, m *raftfsm.Master, a raftfsm.Addr, o outcome) error {
	row := lastSwitchFrom(m, a)
	if row == nil {
		return d.correct(ctx, s, m, a, &raftlogv1.Correct{Kind: raftfsm.CorrectionDemoted, Detail: plain(o.detail)})
	}
	promoted, _ := m.Instance(row.To)
	loss := failover.Loss(row, promoted, o.was)
	detail := fmt.Sprintf("%s; offset %d of history %s; lost %s", o.detail, o.was.Offset, o.was.ReplID, lost(loss))
	d.e.o.Log.Warn("old master demoted", "master", s.name, "epoch", row.Epoch, "instance", a.String(), "offset", o.was.Offset,
		"loss", loss.Kind.String(), "lost_bytes", loss.Bytes)
	if m.Failover == nil || m.Failover.Epoch != row.Epoch {
		c := &raftlogv1.Correct{Kind: raftfsm.CorrectionDemoted, Detail: plain(detail)}
		if d.e.o.Cluster.State().FeatureLevel() >= amendLevel {
			c.Epoch, c.Loss = row.Epoch, &raftlogv1.Loss{Kind: loss.Kind, Bytes: loss.Bytes}
		}
		return d.correct(ctx, s, m, a, c)
	}
	s.memory.Returned = o.was
	t := &story{set: s, row: row}
	return d.tell(ctx, s, row, t.step(raftfsm.StepDemote, a, o.began, detail))
}

// amendLevel is the feature level from which the loss of a past failover can be corrected.
const amendLevel = 3

// correct tells what was put right on the instance a in no failover: once, until the instance was seen to follow. Where the law refuses it,
// because the set has changed or the cluster is not upgraded yet, it is not told at all.
func (d *duties) correct(ctx context.Context, s *set, m *raftfsm.Master, a raftfsm.Addr, c *raftlogv1.Correct) error {
	if s.corrected[a] == m.Address {
		return nil
	}
	s.corrected[a] = m.Address
	c.Master, c.Generation, c.Instance = s.name, m.Generation, a.Proto()
	_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_Correct{Correct: c}})
	if errors.Is(err, errChanged) {
		d.e.o.Log.Debug("correction not recorded", "master", s.name, "instance", a.String(), "error", err)
		return nil
	}
	return err
}

// lastSwitchFrom is the newest failover that took the mastership from an instance; nil for none.
func lastSwitchFrom(m *raftfsm.Master, a raftfsm.Addr) *raftfsm.Failover {
	if f := m.Failover; f != nil && f.Switched && f.From == a {
		return f
	}
	for _, f := range slices.Backward(m.History) {
		if f.Switched && f.From == a {
			return f
		}
	}
	return nil
}

func lost(l raftfsm.Loss) string {
	if l.Kind == raftfsm.LossExact {
		return fmt.Sprintf("%d bytes", l.Bytes)
	}
	if l.Kind == raftfsm.LossLowerBound {
		return fmt.Sprintf("%d bytes or more", l.Bytes)
	}
	return "an unknown amount"
}

// record tells in the open row that instances follow.
func (d *duties) record(ctx context.Context, s *set, m *raftfsm.Master, following []raftfsm.Addr) error {
	row := m.Failover
	if row == nil {
		return nil
	}
	for _, a := range following {
		began, told := s.memory.Repointed[a]
		if !told {
			began = time.Now()
		}
		t := &story{set: s, row: row}
		if err := d.tell(ctx, s, row, t.step(raftfsm.StepRepoint, a, began, "follows")); err != nil {
			return err
		}
		d.e.o.Log.Info("replica follows", "master", s.name, "epoch", row.Epoch, "instance", a.String())
	}
	return nil
}
