package raftfsm

import (
	"slices"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// zeroReplID is what Redis shows where there is no second history.
const zeroReplID = "0000000000000000000000000000000000000000"

// HandedOver tells whether the old master gave way before the new one was promoted, which had all of its data then.
func (f *Failover) HandedOver() bool {
	return slices.ContainsFunc(f.Steps, func(s Step) bool { return s.Name == StepCheck })
}

// tells tells whether the story has a step of the old master.
func (f *Failover) tells(step string) bool {
	return slices.ContainsFunc(f.Steps, func(s Step) bool { return s.Name == step && s.Instance == f.From })
}

// LossSeen is what a failover may have lost by what its story tells; promoted is the new master, as it was promoted. It is
// nothing where the old one gave way first, unless that had to be demoted afterwards: it came back as a master, restarted, and
// may have been written to before the switch was known.
func (f *Failover) LossSeen(promoted Instance) Loss {
	if f.HandedOver() && !f.tells(StepDemote) {
		return Loss{Kind: LossExact}
	}
	return f.LossBound(promoted)
}

// LossBound is what was lost at least, of what the old master was last seen to have: it may have gone on unseen. It is unknown
// where the promoted one did not leave that very history, or left it further on. Like all law it is spelled out here.
func (f *Failover) LossBound(promoted Instance) Loss {
	left := promoted.SecondOffset - 1
	id := f.OldReplID
	if id == "" || id == zeroReplID || promoted.ReplID2 != id || promoted.ReplID == id || left < 0 || f.OldOffset < left {
		return Loss{Kind: LossUnknown}
	}
	return Loss{Kind: LossLowerBound, Bytes: f.OldOffset - left}
}

// lossAtEnd is the loss of a row that ends, where whoever ends it tells of none: what was kept of it, and of a master that was
// switched never nothing at all.
func (d *draft) lossAtEnd(f *Failover, told Loss) Loss {
	switch {
	case d.s.level < 3 || !f.Switched || told.told():
		return told
	case f.Loss.told():
		return f.Loss
	}
	return Loss{Kind: LossUnknown}
}

// told tells whether it says anything.
func (l Loss) told() bool {
	switch l.Kind {
	case LossExact, LossLowerBound:
		return l.Bytes >= 0
	case LossUnknown:
		return l.Bytes == 0
	case raftlogv1.LossKind_LOSS_KIND_UNSPECIFIED:
	}
	return false
}

// corrects tells whether a loss that was told after the end says more than the one that stands. What is known to the byte always
// does. A bound, or that it is unknown, takes back the nothing of an old master that gave way and then came back as a master; not
// once it was seen to follow: what it took as a master later is no loss of that failover.
func (f *Failover) corrects(told Loss) bool {
	if told.Kind == LossExact || !f.Loss.told() {
		return true
	}
	return f.Loss == Loss{Kind: LossExact} && f.HandedOver() && !f.tells(StepRepoint)
}
