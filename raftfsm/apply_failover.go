package raftfsm

import (
	"fmt"
	"slices"
	"strings"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// MaxSteps bounds the story of one failover; a step beyond it is refused.
const MaxSteps = 128

func (d *draft) beginFailover(c *raftlogv1.BeginFailover) verdict {
	m, ok := d.s.Master(c.GetMaster())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetMaster())
	}
	if f := m.operation(c.GetOperationId()); f != nil {
		return verdict{epoch: f.Epoch}
	}
	if v := d.mayBegin(m, c); v.code != OK {
		return v
	}
	e := d.edit(m.Name)
	if e.Failover != nil {
		why := fmt.Sprintf("overtaken by epoch %d", d.s.epoch+1)
		d.close(e, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_OVERTAKEN, why, Loss{})
	}
	d.s.epoch++
	e.Failover = &Failover{
		OperationID: c.GetOperationId(), Epoch: d.s.epoch, Kind: c.GetKind(), From: m.Address, To: AddrOf(c.GetCandidate()),
		Reason: clip(c.GetReason()), Votes: m.VotesAgainst(m.Address), Candidates: candidatesOf(c.GetCandidates()),
		Leader: d.head.GetProposer(), Replaces: c.GetReplaces(), OldOffset: c.GetOldOffset(), OldOffsetAgeMs: c.GetOldOffsetAgeMs(),
		OldReplID: c.GetOldReplId(), ODownAtMs: m.ODownAtMs, BegunIndex: d.index, BegunAtMs: d.head.GetProposedAtMs(),
		MaxWaitMs: c.GetMaxWaitMs(),
	}
	if d.s.level >= 3 {
		e.Failover.Actor = clip(d.head.GetActor())
	}
	d.emitOn(e, EventNewEpoch, e.Address, Event{Epoch: d.s.epoch})
	d.emitOn(e, EventTryFailover, e.Address, Event{Epoch: d.s.epoch, Detail: e.Failover.Reason})
	d.emitOn(e, EventSelected, e.Failover.To, Event{Epoch: d.s.epoch, From: e.Failover.From, To: e.Failover.To})
	return verdict{epoch: d.s.epoch}
}

// mayBegin is the law of opening a row: the proposer saw the present set, nothing else is under way, and, where nobody
// ordered it, the quorum's verdicts or the master's own word call for it.
func (d *draft) mayBegin(m *Master, c *raftlogv1.BeginFailover) verdict {
	automatic := c.GetKind() == raftlogv1.FailoverKind_FAILOVER_KIND_AUTOMATIC
	open := m.Failover
	to := AddrOf(c.GetCandidate())
	master, _ := m.Instance(m.Address)
	_, member := m.Instance(to)
	switch {
	case m.Generation != c.GetGeneration() || AddrOf(c.GetFrom()) != m.Address:
		return refuse(StaleGeneration, "master %s is %s at generation %d", m.Name, m.Address, m.Generation)
	case c.GetReplaces() != 0 && (open == nil || open.Epoch != c.GetReplaces() || open.Switched):
		return refuse(StaleEpoch, "no failover of %s with epoch %d can be replaced", m.Name, c.GetReplaces())
	case c.GetReplaces() == 0 && open != nil && !open.Switched:
		return refuse(InProgress, "a failover of %s is under way (epoch %d)", m.Name, open.Epoch)
	case m.Hold != nil:
		return refuse(Paused, "master %s is held: %s", m.Name, m.Hold.Reason)
	case automatic && m.Pause != nil:
		return refuse(Paused, "master %s is paused: %s", m.Name, m.Pause.Reason)
	case automatic && !m.IsODown() && master.Role != RoleReplica:
		return refuse(NotDown, "master %s is not objectively down: %d of %d votes",
			m.Name, d.s.DownVotes(m, m.Address), m.Options.Quorum)
	case !member || to == m.Address:
		return refuse(BadCandidate, "%s is no replica of %s", to, m.Name)
	case m.InMaintenance(to):
		return refuse(BadCandidate, "%s is in maintenance", to)
	case c.GetKind() == KindPlanned && m.IsODown():
		return refuse(MasterDown, "master %s is objectively down: nobody can switch over from it without loss", m.Name)
	case automatic && c.GetReplaces() == 0 && d.s.level >= 3 && d.cooling(m) > 0:
		return refuse(Cooldown, "master %s was failed over again and again; the next automatic failover may begin in %d ms", m.Name, d.cooling(m))
	case d.s.DownVotes(m, to) >= m.Options.Quorum:
		return refuse(BadCandidate, "%s is itself held down by %d nodes", to, d.s.DownVotes(m, to))
	}
	return done()
}

// cooling is for how many milliseconds after this entry no automatic failover of m may begin.
func (d *draft) cooling(m *Master) int64 { return m.Cooling(d.head.GetProposedAtMs()) }

// Cooling is for how many milliseconds after nowMs no automatic failover may begin: two may follow each other, and from then on
// each next one comes the option's time after the one before it, until twice that time lay between two. It goes by the clocks of
// the leaders that proposed, so that every node and every next leader comes to the same: one that is behind the last switch lets
// the failover begin.
func (m *Master) Cooling(nowMs int64) int64 {
	pause := m.Options.FailoverCooldown.Milliseconds()
	last, before := m.AutomaticAtMs, m.AutomaticBeforeMs
	burst := last != 0 && before != 0 && last-before < 2*pause
	if ago := nowMs - last; burst && ago >= 0 && ago < pause {
		return pause - ago
	}
	return 0
}

// operation finds the failover with an operation's id, open or past.
func (m *Master) operation(id string) *Failover {
	if id == "" {
		return nil
	}
	if m.Failover != nil && m.Failover.OperationID == id {
		return m.Failover
	}
	for _, f := range m.History {
		if f.OperationID == id {
			return f
		}
	}
	return nil
}

func (d *draft) switchMaster(c *raftlogv1.SwitchMaster) verdict {
	m, v := d.row(c.GetMaster(), c.GetEpoch())
	if v.code != OK {
		return v
	}
	from, to := AddrOf(c.GetFrom()), AddrOf(c.GetTo())
	if _, member := m.Instance(to); !member {
		return refuse(BadCandidate, "%s is not an instance of master %s any more", to, m.Name)
	}
	if f := m.Failover; f.Switched || from != f.From || from != m.Address || to != f.To {
		return refuse(StaleEpoch, "the failover of %s with epoch %d does not lead from %s to %s", m.Name, f.Epoch, from, to)
	}
	e := d.edit(m.Name)
	f := *e.Failover
	f.Switched, f.SwitchedIndex, f.SwitchedAtMs = true, d.index, d.head.GetProposedAtMs()
	f.PromotedOffset = c.GetOffset()
	f.Steps = appendSteps(f.Steps, stepsOf(c.GetSteps()))
	e.Failover = &f
	if in, known := e.Instance(to); known && c.GetPromoted() != nil {
		d.put(e, e.learn(in, c.GetPromoted()))
	}
	if d.s.level >= 3 { // at once: whoever overtakes the row knows no more, and its new master may be another's replica by then
		promoted, _ := e.Instance(to)
		f.Loss = f.LossSeen(promoted)
	}
	e.Epoch = f.Epoch
	if f.Kind == KindAutomatic && d.s.level >= 3 {
		e.AutomaticBeforeMs, e.AutomaticAtMs = e.AutomaticAtMs, f.SwitchedAtMs
	}
	d.emitOn(e, EventPromoted, to, Event{Epoch: f.Epoch, OffsetMs: f.atMs()})
	d.install(e, from, to)
	return done()
}

// atMs is the end of the last step, in milliseconds from the decision.
func (f *Failover) atMs() float64 {
	if len(f.Steps) == 0 {
		return 0
	}
	return f.Steps[len(f.Steps)-1].AtMs
}

func (d *draft) recordStep(c *raftlogv1.RecordStep) verdict {
	m, v := d.row(c.GetMaster(), c.GetEpoch())
	if v.code != OK {
		return v
	}
	if len(m.Failover.Steps) >= MaxSteps {
		return refuse(TooMany, "the failover of %s with epoch %d has %d steps; no more are kept", m.Name, c.GetEpoch(), MaxSteps)
	}
	e := d.edit(m.Name)
	f := *e.Failover
	steps := stepsOf([]*raftlogv1.Step{c.GetStep()})
	f.Steps = appendSteps(f.Steps, steps)
	if f.Loss.Kind == LossExact {
		promoted, _ := e.Instance(f.To)
		f.Loss = f.LossSeen(promoted)
	}
	e.Failover = &f
	step := steps[0]
	kind, detail := stepEvent(step.Name), step.Detail
	if kind == EventStep {
		detail = strings.TrimSuffix(step.Name+": "+detail, ": ")
	}
	d.emitOn(e, kind, step.Instance, Event{Epoch: f.Epoch, OffsetMs: step.AtMs, Detail: detail})
	return done()
}

func stepEvent(name string) string {
	switch name {
	case StepRepoint:
		return EventReconfDone
	case StepDemote:
		return EventConvert
	}
	return EventStep
}

// Names of the steps that stand in a failover's story.
const (
	StepMeasure = "measure"
	StepFence   = "fence"
	StepPause   = "pause"
	StepLevel   = "level"
	StepDown    = "step-down"
	StepCheck   = "check"
	StepPromote = "promote"
	StepSwitch  = "switch"
	StepMove    = "move"
	StepSave    = "save"
	StepRepoint = "repoint"
	StepDemote  = "demote"
)

func (d *draft) endFailover(c *raftlogv1.EndFailover) verdict {
	m, v := d.row(c.GetMaster(), c.GetEpoch())
	if v.code != OK {
		return v
	}
	aborted := c.GetOutcome() == raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED
	if aborted == m.Failover.Switched {
		return refuse(StaleEpoch, "the failover of %s with epoch %d cannot end so: switched is %t", m.Name, m.Failover.Epoch, m.Failover.Switched)
	}
	e := d.edit(m.Name)
	d.close(e, c.GetOutcome(), clip(c.GetReason()), Loss{Kind: c.GetLoss().GetKind(), Bytes: c.GetLoss().GetBytes()})
	return done()
}

// row finds the open failover of a master by its epoch.
func (d *draft) row(name string, epoch uint64) (*Master, verdict) {
	m, ok := d.s.Master(name)
	if !ok {
		return nil, refuse(NotFound, "no master named %q", name)
	}
	if m.Failover == nil || m.Failover.Epoch != epoch {
		return nil, refuse(StaleEpoch, "no failover of %s with epoch %d is open", name, epoch)
	}
	return m, done()
}

// close moves the open row into the history, with what it has lost, where that is told anew.
func (d *draft) close(m *Master, outcome raftlogv1.FailoverOutcome, reason string, loss Loss) {
	f := *m.Failover
	f.Outcome, f.EndReason, f.Loss = outcome, reason, d.lossAtEnd(&f, loss)
	f.EndedIndex, f.EndedAtMs = d.index, d.head.GetProposedAtMs()
	m.Failover = nil
	kind := EventFailoverEnd
	switch {
	case !f.Switched:
		kind = EventFailoverAbort
	case outcome == raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_TIMED_OUT:
		kind = EventFailoverTimeout
	}
	d.emitOn(m, kind, m.Address, Event{Epoch: f.Epoch, Detail: reason})
	d.remember(m, &f)
}

func appendSteps(steps, more []Step) []Step {
	room := max(0, MaxSteps-len(steps))
	return append(slices.Clip(steps), more[:min(len(more), room)]...)
}

func stepsOf(ps []*raftlogv1.Step) []Step {
	out := make([]Step, len(ps))
	for i, p := range ps {
		out[i] = Step{
			Name: p.GetName(), Instance: AddrOf(p.GetInstance()), AtMs: p.GetAtMs(), TookMs: p.GetTookMs(), Detail: clip(p.GetDetail()),
		}
	}
	return out
}

func candidatesOf(ps []*raftlogv1.Candidate) []Candidate {
	out := make([]Candidate, len(ps))
	for i, p := range ps {
		out[i] = Candidate{
			Addr: AddrOf(p.GetAddress()), Chosen: p.GetChosen(), Rejection: clip(p.GetRejection()), Detail: clip(p.GetDetail()),
			Offset: p.GetOffset(), Priority: int(p.GetPriority()), RunID: p.GetRunId(), AgeMs: p.GetAgeMs(),
			BehindBytes: orUnknown(p.BehindBytes), BehindMs: orUnknown(p.BehindMs),
		}
	}
	return out
}

// orUnknown is a measurement, -1 where there is none.
func orUnknown(v *int64) int64 {
	if v == nil {
		return -1
	}
	return *v
}

// known is the inverse of orUnknown.
func known(v int64) *int64 {
	if v < 0 {
		return nil
	}
	return &v
}
