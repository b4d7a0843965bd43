package raftfsm

import raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

// FailoverKind is why a failover runs.
type FailoverKind = raftlogv1.FailoverKind

// The kinds.
const (
	KindAutomatic = raftlogv1.FailoverKind_FAILOVER_KIND_AUTOMATIC
	KindForced    = raftlogv1.FailoverKind_FAILOVER_KIND_FORCED
	KindPlanned   = raftlogv1.FailoverKind_FAILOVER_KIND_PLANNED
)

// FailoverOutcome is how a failover ended.
type FailoverOutcome = raftlogv1.FailoverOutcome

// The outcomes.
const (
	OutcomeCompleted = raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED
	OutcomeTimedOut  = raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_TIMED_OUT
	OutcomeAborted   = raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_ABORTED
	OutcomeOvertaken = raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_OVERTAKEN
	OutcomeRemoved   = raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_REMOVED
)

// The kinds of [Loss].
const (
	LossUnknown    = raftlogv1.LossKind_LOSS_KIND_UNKNOWN
	LossLowerBound = raftlogv1.LossKind_LOSS_KIND_LOWER_BOUND
	LossExact      = raftlogv1.LossKind_LOSS_KIND_EXACT
)

// The kinds of corrections.
const (
	CorrectionDemoted   = raftlogv1.CorrectionKind_CORRECTION_KIND_DEMOTED
	CorrectionRepointed = raftlogv1.CorrectionKind_CORRECTION_KIND_REPOINTED
)
