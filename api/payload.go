package api

import (
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Payload is the message that a Redis Sentinel would publish on the channel e.Kind (sentinel.c, sentinelEvent): for most
// events the instance, "@" and its master. Events of our own keep that shape and end with their detail.
func Payload(e raftfsm.Event) string {
	switch e.Kind {
	case raftfsm.EventSwitch:
		return strings.Join([]string{e.Master, hostPort(e.From), hostPort(e.To)}, " ")
	case raftfsm.EventNewEpoch:
		return strconv.FormatUint(e.Epoch, 10)
	case raftfsm.EventNode, raftfsm.EventNodeGone:
		return words("sentinel", e.Detail, hostPort(e.Instance))
	case raftfsm.EventRoleChange:
		// The detail is the role that it says it has.
		return words(subject(e), e.Detail)
	case raftfsm.EventSDown, raftfsm.EventSDownEnd, raftfsm.EventODownEnd, raftfsm.EventUnmonitor, raftfsm.EventReset,
		raftfsm.EventSlave, raftfsm.EventReboot, raftfsm.EventTryFailover, raftfsm.EventSelected, raftfsm.EventPromoted,
		raftfsm.EventReconfDone, raftfsm.EventConvert, raftfsm.EventFailoverEnd, raftfsm.EventFailoverTimeout:
		// Clients split these by position: a detail would be read as part of an address.
		return subject(e)
	}
	if e.Master == "" {
		return words(e.Node, e.Detail)
	}
	return words(subject(e), e.Detail)
}

// subject is Sentinel's "%@": type, name and address, and behind "@" the master of what is no master.
func subject(e raftfsm.Event) string {
	if e.Role != raftfsm.RoleReplica {
		return words("master", e.Master, hostPort(e.Instance))
	}
	return words("slave", e.Instance.String(), hostPort(e.Instance), "@", e.Master, hostPort(e.MasterAddr))
}

func hostPort(a raftfsm.Addr) string {
	if a.IsZero() {
		return ""
	}
	return a.Host + " " + strconv.Itoa(int(a.Port))
}

func words(parts ...string) string {
	out := parts[:0]
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " ")
}
