package resp

import (
	"testing"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestAnOldMasterIsSkippedByClients: one that is back and says that it is a master is no replica to read from, until it follows.
func TestAnOldMasterIsSkippedByClients(t *testing.T) {
	fleet := fakeFleet{}
	r := newRig(t, fleet)
	c := r.client(t)
	c.converse(step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
	r.node.replica(t, "10.0.0.2")
	for _, at := range []struct {
		role     raftfsm.Role
		replicas string
	}{
		{raftfsm.RoleMaster, "[[…flags slave,disconnected …role-reported master …]]"},
		{raftfsm.RoleReplica, "[[…flags slave …role-reported slave …]]"},
	} {
		for host, role := range map[string]raftfsm.Role{"10.0.0.1": raftfsm.RoleMaster, "10.0.0.2": at.role} {
			fleet[host+":6379"] = api.Observation{Connected: true, Info: &detector.Info{Role: role, ReplicaAnnounced: true}}
		}
		c.converse(step{"SENTINEL REPLICAS m", at.replicas}, step{"SENTINEL MASTER m", "[…flags master …]"})
	}
}

// heeding notes what it is asked to keep current.
type heeding struct {
	fakeFleet
	heeded map[string]int
}

func (h heeding) Heed(addrs ...raftfsm.Addr) {
	for _, a := range addrs {
		h.heeded[a.Host]++
	}
}

// TestWhatIsToldOfInstancesIsKeptCurrent: where thousands are watched, a follower reads INFO seldom, unless somebody goes by it.
func TestWhatIsToldOfInstancesIsKeptCurrent(t *testing.T) {
	fleet := heeding{fakeFleet{}, map[string]int{}}
	r := newRig(t, fleet)
	c := r.client(t)
	c.converse(step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
	r.node.replica(t, "10.0.0.2")
	for i, command := range []string{"REPLICAS m", "SLAVES m", "INFO-CACHE m"} {
		c.converse(step{"SENTINEL " + command, "[…]"})
		if fleet.heeded["10.0.0.1"] != i+1 || fleet.heeded["10.0.0.2"] != i+1 {
			t.Errorf("%s: %v", command, fleet.heeded)
		}
	}
	c.converse(step{"SENTINEL MASTERS", "[[…]]"}, step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "[10.0.0.1 6379]"})
	if fleet.heeded["10.0.0.1"] != 3 {
		t.Error("a look at all masters, or at an address, has every instance read more often")
	}
}
