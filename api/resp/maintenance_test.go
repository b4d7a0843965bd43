package resp

import (
	"testing"

	"github.com/raftsentinel/raftsentinel/api"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// TestMaintenanceIsSkippedByClients: one that answers is disconnected all the same, and its beginning and end are published.
func TestMaintenanceIsSkippedByClients(t *testing.T) {
	fleet := fakeFleet{"10.0.0.1:6379": api.Observation{Connected: true}, "10.0.0.2:6379": api.Observation{Connected: true}}
	r := newRig(t, fleet)
	c, listener := r.client(t), r.client(t)
	c.converse(step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
	r.node.replica(t, "10.0.0.2")
	c.converse(step{"SENTINEL REPLICAS m", "[[…flags slave …]]"})
	listener.converse(step{"PSUBSCRIBE *maintenance", "[psubscribe *maintenance :1]"})
	maintain := func(end bool) {
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Maintain{Maintain: &raftlogv1.Maintain{
			Instance: &raftlogv1.Address{Host: "10.0.0.2", Port: 6379}, End: end, Reason: "new memory",
		}}})
	}
	maintain(false)
	c.converse(step{"SENTINEL REPLICAS m", "[[…flags slave,disconnected …]]"})
	if got, want := listener.read(), "[pmessage *maintenance +maintenance slave 10.0.0.2:6379 10.0.0.2 6379 @ m 10.0.0.1 6379 new memory]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	maintain(true)
	c.converse(step{"SENTINEL REPLICAS m", "[[…flags slave …]]"})
	if got, want := listener.read(), "[pmessage *maintenance -maintenance slave 10.0.0.2:6379 10.0.0.2 6379 @ m 10.0.0.1 6379]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
