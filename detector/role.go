package detector

import (
	"fmt"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// ParseRole reads the reply to ROLE, as [any] values: string, int64, nil, []any. It fails for a Sentinel, which has a
// role of its own, and for anything that is no reply to ROLE.
func ParseRole(reply any) (RoleReply, error) {
	list, ok := reply.([]any)
	if !ok || len(list) == 0 {
		return RoleReply{}, fmt.Errorf("%w: got %T, want an array", errRole, reply)
	}
	switch word, _ := list[0].(string); word {
	case "master":
		if len(list) < 2 {
			return RoleReply{}, fmt.Errorf("%w: a master's has %d elements, want 3", errRole, len(list))
		}
		offset, ok := list[1].(int64)
		if !ok {
			return RoleReply{}, fmt.Errorf("%w: the offset is a %T, want an integer", errRole, list[1])
		}
		return RoleReply{Role: raftfsm.RoleMaster, Offset: offset}, nil
	case "slave", "replica":
		return parseReplicaRole(list)
	default:
		return RoleReply{}, fmt.Errorf("%w: %.40q is neither master nor slave; is this a Redis data instance?", errRole, word)
	}
}

// parseReplicaRole reads [slave, host, port, link state, offset].
func parseReplicaRole(list []any) (RoleReply, error) {
	if len(list) < 5 {
		return RoleReply{}, fmt.Errorf("%w: a replica's has %d elements, want 5", errRole, len(list))
	}
	host, hostOK := list[1].(string)
	port, portOK := list[2].(int64)
	link, linkOK := list[3].(string)
	offset, offsetOK := list[4].(int64)
	if !hostOK || !portOK || !linkOK || !offsetOK {
		return RoleReply{}, fmt.Errorf("%w: a replica's has other types than string, integer, string, integer", errRole)
	}
	master, err := raftfsm.NewAddr(host, int(port))
	if err != nil {
		return RoleReply{}, fmt.Errorf("%w: the master's address: %w", errRole, err)
	}
	return RoleReply{Role: raftfsm.RoleReplica, Offset: offset, Master: master, Link: link}, nil
}
