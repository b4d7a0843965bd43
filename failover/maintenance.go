package failover

import (
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// leftAlone tells whether an instance is in maintenance and nothing is to be done about it. One that says it is a master is
// not left alone: a second master takes writes that are lost, whoever is at work on it.
func leftAlone(in raftfsm.Instance, i *detector.Info) bool {
	return in.Maintenance != nil && (i == nil || i.Role != raftfsm.RoleMaster)
}

// maintained says in words why an instance in maintenance is no candidate.
func maintained(p *raftfsm.Pause) string {
	text := "is in maintenance"
	if p.Actor != "" {
		text += ", begun by " + p.Actor
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// ranOut is the end of a maintenance whose time is over; nil where there is none.
func (v View) ranOut() Step {
	for _, in := range v.Master.Instances {
		if p := in.Maintenance; p != nil && p.UntilMs != 0 && v.Now.UnixMilli() >= p.UntilMs {
			return EndMaintenance{Instance: in.Addr, UntilMs: p.UntilMs}
		}
	}
	return nil
}

// rest is until when nothing happens by itself: until the pause or a maintenance runs out; 0 where none does.
func (v View) rest() time.Duration {
	var first int64
	sooner := func(p *raftfsm.Pause) {
		if p != nil && p.UntilMs != 0 && (first == 0 || p.UntilMs < first) {
			first = p.UntilMs
		}
	}
	sooner(v.Master.Pause)
	for _, in := range v.Master.Instances {
		sooner(in.Maintenance)
	}
	if first == 0 {
		return 0
	}
	return max(time.UnixMilli(first).Sub(v.Now), time.Millisecond)
}
