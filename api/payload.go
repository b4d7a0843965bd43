package api

import (
	"crypto/sha1" //nolint:gosec // an identity with the 40 digits that clients expect, not a secret
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// SentinelID is the id of a node in the Sentinel protocol: 40 hex digits made from its name.
func SentinelID(nodeID string) string {
	sum := sha1.Sum([]byte(nodeID)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// Notice is a message as a Redis Sentinel publishes it, and hands it to notification scripts.
type Notice struct {
	Channel, Payload string
	// Master that it is about; "" for none.
	Master string
	// Warning is Sentinel's level: notification scripts run for it. Others are only published.
	Warning bool
}

// Notices are the messages that a Redis Sentinel in the place of the node self would publish for an event, in its order
// (sentinel.c, sentinelEvent). Where a Sentinel passes through a state that is none here, such as being elected, the message
// that clients wait for comes with the event that stands for it. Another node's verdict is that node's to tell. Addresses are
// those that clients are told.
func Notices(st *raftfsm.State, self string, e raftfsm.Event) []Notice {
	e = e.Told()
	var out []Notice
	add := func(channel, payload string) {
		out = append(out, Notice{Channel: channel, Payload: payload, Master: e.Master, Warning: !publishedOnly[channel]})
	}
	switch e.Kind {
	case raftfsm.EventSDown, raftfsm.EventSDownEnd, raftfsm.EventAuth, raftfsm.EventAuthEnd:
		if e.Node == self {
			add(e.Kind, Payload(e))
		}
	case raftfsm.EventNode, raftfsm.EventNodeGone:
		return sentinelNotices(st, self, e)
	case raftfsm.EventTryFailover:
		add(e.Kind, Payload(e))
		add("+elected-leader", Payload(e))
		add("+failover-state-select-slave", Payload(e))
	case raftfsm.EventSelected:
		add(e.Kind, Payload(e))
		add("+failover-state-send-slaveof-noone", Payload(e))
		add("+failover-state-wait-promotion", Payload(e))
	case raftfsm.EventPromoted:
		// That it reports itself a master is how a Sentinel learns that it was promoted.
		add("-role-change", words(subject(e), "new reported role is master"))
		add(e.Kind, Payload(e))
		add("+failover-state-reconf-slaves", words("master", e.Master, hostPort(e.MasterAddr)))
	case raftfsm.EventReconfDone:
		add("+slave-reconf-sent", Payload(e))
		add("+slave-reconf-inprog", Payload(e))
		add(e.Kind, Payload(e))
	case raftfsm.EventFailoverTimeout:
		add(e.Kind, Payload(e))
		add(raftfsm.EventFailoverEnd, Payload(e))
	case raftfsm.EventSwitch:
		// Who did not carry the switch out learns of it, in a Sentinel from the one that did.
		if by, known := st.Node(e.Actor); known && e.Actor != self {
			add("+config-update-from", words("sentinel", SentinelID(by.NodeID), hostPort(by.RESP), "@", e.Master, hostPort(e.From)))
		}
		add(e.Kind, Payload(e))
	case raftfsm.EventRoleChange:
		if asWanted := strings.HasSuffix(e.Detail, " "+raftfsm.RoleWord(e.Role)); asWanted {
			add(e.Kind, Payload(e))
		} else {
			add("-role-change", Payload(e))
		}
	default:
		add(e.Kind, Payload(e))
	}
	return out
}

// sentinelNotices tell of another node, once for each master, as a Sentinel discovers it.
func sentinelNotices(st *raftfsm.State, self string, e raftfsm.Event) []Notice {
	if e.Node == self {
		return nil
	}
	var out []Notice
	for m := range st.Masters() {
		out = append(out, Notice{
			Channel: e.Kind, Master: m.Name,
			Payload: words("sentinel", SentinelID(e.Detail), hostPort(e.Instance), "@", m.Name, hostPort(st.Told(m.Address))),
		})
	}
	return out
}

// publishedOnly are the channels below Sentinel's level for notification scripts.
var publishedOnly = map[string]bool{
	"+slave": true, "-slave": true, "+sentinel": true, "-sentinel": true, "+reboot": true, "+failover-state-send-slaveof-noone": true,
	"+failover-state-wait-promotion": true, "+slave-reconf-sent": true, "+slave-reconf-inprog": true, "+slave-reconf-done": true,
	"+convert-to-slave": true, "+fix-slave-config": true, "+role-change": true, "-role-change": true, "+failover-step": true,
	"+feature-level": true, "+founded": true,
}

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
	case raftfsm.EventDrain, raftfsm.EventDrainEnd:
		// The detail is the node's name, and why.
		return words("sentinel", e.Detail)
	case raftfsm.EventRoleChange:
		// The detail is the role that it says it has.
		return words(subject(e), e.Detail)
	case raftfsm.EventSDown, raftfsm.EventSDownEnd, raftfsm.EventODownEnd, raftfsm.EventUnmonitor, raftfsm.EventReset,
		raftfsm.EventSlave, raftfsm.EventReboot, raftfsm.EventTryFailover, raftfsm.EventSelected, raftfsm.EventPromoted,
		raftfsm.EventReconfDone, raftfsm.EventConvert, raftfsm.EventFix, raftfsm.EventFailoverEnd, raftfsm.EventFailoverTimeout:
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
