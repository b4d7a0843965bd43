package executor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/failover"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// perform does one step. An error means that the set is looked at again a little later; what did happen is seen then.
func (d *duties) perform(ctx context.Context, s *set, step failover.Step) error {
	if err := d.payUp(ctx, s); err != nil {
		return err
	}
	st := d.e.o.Cluster.State()
	m, ok := st.Master(s.name)
	if !ok {
		return nil
	}
	s.resting = ""
	d.takeOn(s, m)
	switch step := step.(type) {
	case failover.Prepare:
		return d.prepare(ctx, s, m, step.Candidate)
	case failover.Begin:
		return d.begin(ctx, s, step)
	case failover.Promote:
		return d.promote(ctx, s, m, step)
	case failover.HandOver:
		return d.switchOver(ctx, s, m, step.Row)
	case failover.RollBack:
		d.fenceAll(ctx, s, m) // an earlier leader may be about to promote the candidate
		return d.rollBack(ctx, s, m, step.Row, nil, step.Reason)
	case failover.Move:
		return d.move(ctx, s, m, step.Row)
	case failover.Save:
		return d.save(ctx, s, m, step.Row)
	case failover.Repoint:
		return d.repoint(ctx, s, m, step.Actions)
	case failover.Record:
		return d.record(ctx, s, m, step.Following)
	case failover.End:
		return d.end(ctx, s, m, step)
	case failover.Restore:
		return d.restore(ctx, s, m, step)
	case failover.Adopt:
		d.e.o.Log.Warn("adopting master", "master", m.Name, "from", m.Address.String(), "to", step.Address.String(), "reason", step.Reason)
		d.e.point(BeforeAdopt)
		_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{
			Master: m.Name, Generation: m.Generation, Address: step.Address.Proto(), Reason: plain(step.Reason),
		}}})
		d.e.point(AfterAdopt)
		return err
	case failover.Hold:
		d.e.o.Log.Error("set held", "master", m.Name, "reason", step.Reason)
		_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{
			Name: m.Name, Generation: m.Generation, Reason: plain(step.Reason),
		}}})
		return err
	case failover.Resume:
		d.e.o.Log.Info("pause has run out", "master", m.Name)
		_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: m.Name, UntilMs: step.UntilMs}}})
		return err
	case failover.EndMaintenance:
		d.e.o.Log.Info("maintenance has run out", "master", m.Name, "instance", step.Instance.String())
		_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{
			Instance: step.Instance.Proto(), End: true, UntilMs: step.UntilMs,
		}}})
		return err
	case failover.Settle:
		d.e.o.Log.Info("instances are as committed", "master", m.Name)
		_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_Settle{Settle: &raftlogv1.Settle{
			Name: m.Name, Generation: m.Generation,
		}}})
		return err
	case failover.Transfer:
		return d.transfer(ctx, st, m, step)
	}
	return nil
}

// takeOn makes an order that was proposed in this leadership a row that it opened: nothing of it is resumed.
func (d *duties) takeOn(s *set, m *raftfsm.Master) {
	if row := m.Failover; row != nil && s.begun != row.Epoch {
		if at, ours := d.e.taken(operation{m.Name, row.OperationID}); ours {
			s.begun, s.begunAt = row.Epoch, at
		}
	}
}

// transfer gives leadership away. A voter that did not take it over is not offered it again in this leadership.
func (d *duties) transfer(ctx context.Context, st *raftfsm.State, m *raftfsm.Master, step failover.Transfer) error {
	d.e.o.Log.Warn("giving leadership away", "master", m.Name, "to", st.NodeName(step.To), "reason", step.Reason)
	ctx, cancel := context.WithTimeout(ctx, proposeDeadline)
	defer cancel()
	if err := d.e.o.Cluster.TransferLeadership(ctx, step.To); err != nil {
		d.refused.Store(step.To, true)
		d.e.stayed()
		return fmt.Errorf("%s did not take leadership over: %w", st.NodeName(step.To), err)
	}
	return nil
}

// prepare opens a named connection to the replica that would be chosen now. Nothing that changes anything is sent on it before it is
// confirmed. That it failed says nothing about a promotion.
func (d *duties) prepare(ctx context.Context, s *set, m *raftfsm.Master, a raftfsm.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, d.e.o.Deadline)
	defer cancel()
	c, err := d.dial(ctx, m, a)
	if err == nil {
		if err = d.lookAhead(ctx, s, a, c); err != nil {
			_ = c.Close() // the error says why it is of no use
		}
	}
	if err != nil {
		s.undialled[a] = time.Now().Add(failover.ProbePeriod(m.Options))
		d.e.o.Log.Warn("no control connection to the likely candidate", "master", m.Name, "instance", a.String(), "error", err)
		return nil
	}
	s.keep(a, c)
	return nil
}

// begin commits the row that names the candidate.
func (d *duties) begin(ctx context.Context, s *set, b failover.Begin) error {
	d.e.o.Log.Info("failover begins", "master", s.name, "from", b.From.String(), "to", b.To.String(), "reason", b.Reason,
		"replaces", b.Replaces, "candidates", described(b.Candidates), "old_offset", b.OldOffset)
	d.e.point(BeforeBegin)
	at := time.Now()
	id, err := operationID()
	if err != nil {
		return err
	}
	standing := s.standing()
	res, err := d.propose(ctx, beginCommand(s.name, id, "", b))
	if err != nil {
		return err
	}
	s.vouch(standing)
	s.begun, s.begunAt = res.Epoch, at
	d.e.point(AfterBegin)
	return nil
}

// operationID names a failover that nobody ordered: 128 random bits.
func operationID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("operation id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

func beginCommand(master, operation, actor string, b failover.Begin) *raftlogv1.Command {
	c := &raftlogv1.BeginFailover{
		Master: master, Generation: b.Generation, OperationId: operation, Kind: b.Kind, From: b.From.Proto(), Candidate: b.To.Proto(),
		Replaces: b.Replaces, MaxWaitMs: b.MaxWait.Milliseconds(), Reason: plain(b.Reason), OldOffset: b.OldOffset, OldOffsetAgeMs: b.OldOffsetAgeMs, OldReplId: plain(b.OldReplID),
	}
	for _, x := range b.Candidates {
		x.Detail, x.RunID = plain(x.Detail), plain(x.RunID)
		c.Candidates = append(c.Candidates, x.Proto())
	}
	return &raftlogv1.Command{
		Header: &raftlogv1.Header{Actor: actor},
		Op:     &raftlogv1.Command_BeginFailover{BeginFailover: c},
	}
}

// described are candidates for a log line.
func described(cs []raftfsm.Candidate) []string {
	out := make([]string, len(cs))
	for i, c := range cs {
		why := "chosen"
		if !c.Chosen {
			why = c.Rejection + ": " + c.Detail
		}
		out[i] = fmt.Sprintf("%s offset %d behind %d priority %d age %d ms: %s", c.Addr, c.Offset, c.BehindBytes, c.Priority, c.AgeMs, why)
	}
	return out
}

// end closes the row, after the connections of other terms are gone from its instances. A row that is given up stays open
// until that is so at its candidate, where it can be reached: somebody may still be about to promote it.
func (d *duties) end(ctx context.Context, s *set, m *raftfsm.Master, step failover.End) error {
	d.fenceAll(ctx, s, m)
	if row := m.Failover; row != nil && !row.Switched && d.reachable(row.To) && !s.isFenced(row.To) && !step.Late {
		return fmt.Errorf("%s: %w", row.To, errUnfenced)
	}
	d.e.point(BeforeEnd)
	_, err := d.propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_EndFailover{EndFailover: &raftlogv1.EndFailover{
		Master: m.Name, Epoch: step.Epoch, Outcome: step.Outcome, Reason: plain(step.Reason),
		Loss: &raftlogv1.Loss{Kind: step.Loss.Kind, Bytes: step.Loss.Bytes},
	}}})
	if err != nil {
		return err
	}
	d.e.point(AfterEnd)
	d.e.o.Log.Info("failover ended", "master", m.Name, "epoch", step.Epoch, "outcome", step.Outcome.String(), "reason", step.Reason,
		"loss", step.Loss.Kind.String(), "lost_bytes", step.Loss.Bytes)
	return nil
}

// propose commits a command. A refusal on its merits is an error here: the set is not what the step was decided on.
func (d *duties) propose(ctx context.Context, c *raftlogv1.Command) (raftfsm.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, proposeDeadline)
	defer cancel()
	res, err := d.e.o.Cluster.ProposeIn(ctx, d.term, c)
	if err != nil {
		return res, fmt.Errorf("proposal: %w", err)
	}
	if err := res.Err(); err != nil {
		return res, fmt.Errorf("%w: %w", errChanged, err)
	}
	return res, nil
}

// sinceBegin is how long ago the row was decided, in milliseconds: by this node's monotonic clock where it opened the row
// in this leadership, else by the wall clocks of the two nodes, and never below 0.
func (s *set) sinceBegin(row *raftfsm.Failover, now time.Time) float64 {
	if s.begun == row.Epoch {
		return ms(now.Sub(s.begunAt))
	}
	return max(0, float64(now.UnixMilli()-row.BegunAtMs))
}

// maxText bounds, in bytes, a text that is committed: parts of it come from Redis.
const maxText = 400

// plain makes a text fit to be committed.
func plain(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
