package raftfsm

import raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

// Cause is why a node holds an instance down.
type Cause = raftlogv1.Cause

// The causes.
const (
	CauseTimeout     = raftlogv1.Cause_CAUSE_TIMEOUT
	CauseRefused     = raftlogv1.Cause_CAUSE_REFUSED
	CauseReset       = raftlogv1.Cause_CAUSE_RESET
	CauseUnreachable = raftlogv1.Cause_CAUSE_UNREACHABLE
	CauseAuth        = raftlogv1.Cause_CAUSE_AUTH
	CauseError       = raftlogv1.Cause_CAUSE_ERROR
	CauseReboot      = raftlogv1.Cause_CAUSE_REBOOT
)

// CauseWord is the lower-case word for c: "timeout", "refused", ...
func CauseWord(c Cause) string {
	switch c {
	case CauseTimeout:
		return "timeout"
	case CauseRefused:
		return "refused"
	case CauseReset:
		return "reset"
	case CauseUnreachable:
		return "unreachable"
	case CauseAuth:
		return "auth"
	case CauseError:
		return "error"
	case CauseReboot:
		return "reboot"
	case raftlogv1.Cause_CAUSE_UNSPECIFIED:
	}
	return "unspecified"
}

// Counts tells whether a verdict of this cause counts towards objective down. A rejected password proves life.
func Counts(c Cause) bool {
	return c != CauseAuth && c != raftlogv1.Cause_CAUSE_UNSPECIFIED
}

// Role is what an instance says it is.
type Role = raftlogv1.InstanceRole

// The roles.
const (
	RoleUnknown = raftlogv1.InstanceRole_INSTANCE_ROLE_UNSPECIFIED
	RoleMaster  = raftlogv1.InstanceRole_INSTANCE_ROLE_MASTER
	RoleReplica = raftlogv1.InstanceRole_INSTANCE_ROLE_REPLICA
)
