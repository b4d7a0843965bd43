package raftfsm

import (
	"fmt"
	"slices"
	"strings"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Level is the feature level of this build: the highest command level it can apply.
const Level = 4

// LevelOf is the lowest feature level at which a command may be proposed. Nodes of every release that knows the level apply
// it alike, so that a command is never given a higher one.
func LevelOf(c *raftlogv1.Command) uint32 {
	level, _ := featureOf(c)
	return level
}

// featureOf is the level that a command needs, and in words what for.
func featureOf(c *raftlogv1.Command) (level uint32, feature string) {
	switch op := c.GetOp().(type) {
	case *raftlogv1.Command_DrainNode:
		return 4, "draining a node"
	case *raftlogv1.Command_Monitor:
		switch {
		case sets(op.Monitor.GetOptions(), optionCooldown):
			return 3, "the option " + optionCooldown
		case op.Monitor.GetEpoch() != 0 || len(op.Monitor.GetReplicas()) > 0:
			return 2, "monitoring with an epoch or with replicas"
		case op.Monitor.GetPausedUntilMs() != 0:
			return 2, "monitoring with a pause that ends"
		}
	case *raftlogv1.Command_Set:
		if sets(op.Set.GetOptions(), optionCooldown) {
			return 3, "the option " + optionCooldown
		}
	case *raftlogv1.Command_Restore:
		return 4, "restoring a backup"
	case *raftlogv1.Command_Maintain:
		return 3, "maintenance of an instance"
	case *raftlogv1.Command_BeginFailover:
		if op.BeginFailover.GetKind() == KindPlanned || op.BeginFailover.GetMaxWaitMs() != 0 || measured(op.BeginFailover) {
			return 3, "switchovers, and how far candidates are behind"
		}
	case *raftlogv1.Command_Resume:
		if op.Resume.GetOverridden() != "" {
			return 2, "a record of what a resume overrides"
		}
	case *raftlogv1.Command_Configure:
		switch {
		case sets(op.Configure.GetSettings(), settingNames[removeDeadNodesAfter]):
			return 4, "the setting " + settingNames[removeDeadNodesAfter]
		case sets(op.Configure.GetSettings(), settingNames[failoverBrake]):
			return 3, "the setting " + settingNames[failoverBrake]
		}
		return 2, "settings of the cluster"
	case *raftlogv1.Command_ResolveHosts:
		return 2, "resolved host names"
	case *raftlogv1.Command_Correct:
		if op.Correct.GetEpoch() != 0 {
			return 3, "corrections of a past failover's loss"
		}
		return 2, "corrections on the record"
	case *raftlogv1.Command_Delivered:
		return 2, "the cursor of webhooks"
	}
	return 1, "the command"
}

// sets tells whether the values name an option or a setting.
func sets(values []*raftlogv1.OptionValue, name string) bool {
	return slices.ContainsFunc(values, func(v *raftlogv1.OptionValue) bool { return strings.EqualFold(v.GetName(), name) })
}

// measured tells whether a row says how far its candidates are behind.
func measured(c *raftlogv1.BeginFailover) bool {
	return slices.ContainsFunc(c.GetCandidates(), func(x *raftlogv1.Candidate) bool { return x.BehindBytes != nil || x.BehindMs != nil })
}

// CheckLevel refuses a command that not every member understands at the present feature level. It must not come into the
// log: a node that is too old stops at it, or, where only a field of it is new, passes over what the others do.
func (s *State) CheckLevel(c *raftlogv1.Command) error {
	need, feature := featureOf(c)
	need = max(need, c.GetHeader().GetLevel())
	if need <= max(s.level, 1) {
		return nil
	}
	return Refusal{Code: LevelTooHigh, Detail: fmt.Sprintf(
		"feature level %d is needed for %s, and the cluster is at %d: upgrade every node first", need, feature, s.level)}
}

// SupportedLevel is the highest level that the cluster can be raised to: every voter has registered with it or a higher one,
// and so has every other member that has registered. It is 0 while a voter has not.
func (s *State) SupportedLevel() uint32 {
	level := uint32(Level)
	for _, v := range s.servers {
		n, registered := s.Node(v.ID)
		switch {
		case registered:
			level = min(level, n.MaxLevel)
		case v.Voter:
			return 0
		}
	}
	return level
}
