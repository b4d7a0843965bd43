package raftfsm

import (
	"fmt"
	"slices"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// maxFormer bounds how many lost clusters a cluster remembers.
const maxFormer = 16

// Recover gives the state at index of a new cluster that goes on from what one member of a lost one knew. Only the given
// servers are members; epochs go on above whatever the others may have given; verdicts and open failovers, which nobody can
// stand by any more, are over; and each set is compared with its instances before anything is done about them. What the
// others knew and this member did not is lost.
func Recover(old *State, index uint64, clusterID string, servers []Server, atMs int64) *State {
	d := newDraft(old, index, &raftlogv1.Header{ProposedAtMs: atMs})
	lost := d.s.cluster
	d.s.cluster = Cluster{ID: clusterID, Name: lost.Name, Era: clusterID}
	d.s.former = append(slices.Clone(d.s.former), lost.ID)
	d.s.former = d.s.former[max(0, len(d.s.former)-maxFormer):]
	d.s.servers = slices.Clone(servers)
	d.dropNodes(servers)
	// Nobody is left who knows less, and what is new in this state no older build understands.
	d.s.level = max(d.s.level, Level)
	d.s.weigh()
	d.s.epoch = leap(d.s.epoch)
	d.emit(Event{Kind: EventRecovered, Epoch: d.s.epoch, Detail: fmt.Sprintf("cluster %s was lost; it goes on as cluster %s from revision %d",
		lost.ID, clusterID, old.Index())})
	d.emit(Event{Kind: EventNewEpoch, Epoch: d.s.epoch})
	for m := range old.Masters() {
		e := d.edit(m.Name)
		if e.Failover != nil {
			outcome := OutcomeAborted
			if e.Failover.Switched {
				outcome = OutcomeTimedOut
			}
			d.close(e, outcome, "the cluster was lost in its midst", Loss{})
		}
		d.newGeneration(e)
		e.Epoch, e.Enforce, e.Restored = d.s.epoch, false, true
		e.Instances = slices.Clone(e.Instances)
		for i := range e.Instances {
			e.Instances[i].Unconfirmed = e.Instances[i].Addr != e.Address
		}
		d.recount(e)
	}
	b := NewBatch(old)
	b.take(d)
	return b.State()
}
