package failover

import (
	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Loss is what a failover may have lost of the old master's writes, in bytes of the replication stream. old is what the
// old master says of itself when it is seen again, before it follows anybody; nil while it was not.
//
// It is exact only where the old master's process survived and still has its offset. Otherwise the offset last seen of it
// bounds the loss from below: it may have gone on unseen. Where not even the history is known to be the same, the loss is
// unknown; a restarted process comes back with the offset of its last save, which proves nothing. Where the old master gave way
// first and the promoted one had every byte of it, nothing is lost; unless it comes back as a master, restarted, which may have
// been written to before the switch was known.
func Loss(row *raftfsm.Failover, promoted raftfsm.Instance, old *detector.Info) raftfsm.Loss {
	if old == nil || old.Role != raftfsm.RoleMaster {
		return row.LossSeen(promoted)
	}
	if old.ReplID == row.OldReplID {
		if bytes, ok := detector.LostBytes(old.Lineage(), lineageOf(promoted)); ok {
			return raftfsm.Loss{Kind: raftfsm.LossExact, Bytes: bytes}
		}
	}
	return row.LossBound(promoted)
}

// loss is that of the open row, with what this leadership has seen of the old master; else as it was when the new one was
// promoted, which may have been restarted since.
func (v View) loss(row *raftfsm.Failover) raftfsm.Loss {
	if v.Memory.Returned == nil && row.Loss != (raftfsm.Loss{}) {
		return row.Loss
	}
	promoted, _ := v.Master.Instance(row.To)
	return Loss(row, promoted, v.Memory.Returned)
}
