package raftfsm

import (
	"fmt"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Level is the feature level of this build: the highest command level it can apply.
const Level = 2

// LevelOf is the lowest feature level at which a command may be proposed. Nodes of every release that knows the level apply
// it alike, so that a command is never given a higher one.
func LevelOf(c *raftlogv1.Command) uint32 {
	level, _ := featureOf(c)
	return level
}

// featureOf is the level that a command needs, and in words what for.
func featureOf(c *raftlogv1.Command) (level uint32, feature string) {
	switch op := c.GetOp().(type) {
	case *raftlogv1.Command_Monitor:
		if op.Monitor.GetEpoch() != 0 || len(op.Monitor.GetReplicas()) > 0 {
			return 2, "monitoring with an epoch or with replicas"
		}
		if op.Monitor.GetPausedUntilMs() != 0 {
			return 2, "monitoring with a pause that ends"
		}
	case *raftlogv1.Command_Resume:
		if op.Resume.GetOverridden() != "" {
			return 2, "a record of what a resume overrides"
		}
	case *raftlogv1.Command_Configure:
		return 2, "settings of the cluster"
	case *raftlogv1.Command_ResolveHosts:
		return 2, "resolved host names"
	case *raftlogv1.Command_Correct:
		return 2, "corrections on the record"
	case *raftlogv1.Command_Delivered:
		return 2, "the cursor of webhooks"
	}
	return 1, "the command"
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
