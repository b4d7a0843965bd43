package detector

import (
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Limits are how patiently an instance is judged.
type Limits struct {
	// DownAfter is how long it may give no acceptable reply; above 0.
	DownAfter time.Duration
	// Reboot is how long a process that replaced another may take to its first +PONG; 0 = no limit of its own.
	Reboot time.Duration
}

// ProbeKind is what a probe asked. A user may have the right to one thing and not to another.
type ProbeKind uint8

// The kinds.
const (
	ProbePing ProbeKind = iota
	ProbeInfo
	ProbeLogin // what opens a connection
	probeKinds
)

// Track judges one instance by what its probes met. The zero value has seen nothing and holds it neither up nor down.
//
// Silence is counted from the sending of the first probe that got no acceptable reply, or from the moment the connection
// broke, whichever came first. A pause of the instance shorter than down-after therefore never counts, however the probes
// fall into it.
type Track struct {
	// silence is since when no acceptable reply came; zero while nothing is amiss.
	silence time.Time
	// cause is the last evidence within the silence.
	cause raftfsm.Cause
	// pending is the sending of the oldest probe whose reply may still come; zero for none.
	pending   time.Time
	connected bool
	// runID of the process last seen, and since when its successor owes a +PONG; zero for never replaced.
	runID    string
	rebooted time.Time
	// rejected are the kinds of probes whose password or rights were rejected last.
	rejected [probeKinds]bool

	down      bool
	downCause raftfsm.Cause
	downSince time.Time

	lastReply, lastAny time.Time
	lastClass          ReplyClass
}

// Sent records that a probe, or the attempt to connect for one, set out.
func (t *Track) Sent(now time.Time) {
	if t.silence.IsZero() {
		t.silence, t.cause = now, raftfsm.CauseTimeout
	}
	if t.pending.IsZero() {
		t.pending = now
	}
}

// Connected records that a connection stands and our password was not rejected on it. It is no evidence of life: the kernel
// of a hung process accepts too.
func (t *Track) Connected() { t.connected, t.rejected[ProbeLogin] = true, false }

// Broken records that the connection broke or could not be made.
func (t *Track) Broken(now time.Time, cause raftfsm.Cause) {
	t.Dropped()
	if t.silence.IsZero() {
		t.silence = now
	}
	t.cause = cause
}

// Dropped records that this node gave the connection up. That says nothing of the instance: an open silence goes on, and
// none is opened.
func (t *Track) Dropped() { t.connected, t.pending = false, time.Time{} }

// Answered records a reply. An acceptable one ends the silence; a rejected password ends it too, because the dead reject
// nothing; any other leaves it as it was.
func (t *Track) Answered(now time.Time, kind ProbeKind, class ReplyClass) {
	t.pending = time.Time{}
	t.lastAny, t.lastClass = now, class
	switch {
	case class.Acceptable():
		t.lastReply = now
		t.silence = time.Time{}
		t.rejected[kind] = false
		if class == ReplyPong {
			t.rebooted = time.Time{}
		}
	case class == ReplyAuth:
		t.silence, t.rebooted = time.Time{}, time.Time{}
		t.rejected[kind] = true
	default:
		t.cause = raftfsm.CauseError
	}
}

// Process records the run id that an INFO showed, before the reply itself is recorded. Another one than before starts the
// clock of [Limits.Reboot].
func (t *Track) Process(now time.Time, runID string) {
	if t.runID != "" && runID != "" && runID != t.runID {
		t.rebooted = now
	}
	if runID != "" {
		t.runID = runID
	}
}

// Doubt begins the count again at now, because this node itself was not there for part of it. A verdict that has been
// reached stands until first-hand evidence takes it back.
func (t *Track) Doubt(now time.Time) {
	if t.down {
		return
	}
	if !t.silence.IsZero() {
		t.silence = now
	}
	if !t.rebooted.IsZero() {
		t.rebooted = now
	}
}

// Judge brings the verdict up to date and tells whether it changed. Under changed limits it judges what is at hand anew.
func (t *Track) Judge(now time.Time, l Limits) bool {
	since, cause := t.silence, t.cause
	down := !since.IsZero() && now.Sub(since) >= l.DownAfter
	if !down && !t.rebooted.IsZero() && l.Reboot > 0 && now.Sub(t.rebooted) >= l.Reboot {
		down, since, cause = true, t.rebooted, raftfsm.CauseReboot
	}
	if down == t.down {
		return false
	}
	t.down, t.downSince, t.downCause = down, time.Time{}, 0
	if down {
		t.downSince, t.downCause = since, cause
	}
	return true
}

// Deadline is when [Track.Judge] will find the instance down if nothing more is heard; ok is false where nothing is
// amiss, or it is down already.
func (t *Track) Deadline(l Limits) (at time.Time, ok bool) {
	if t.down {
		return time.Time{}, false
	}
	if !t.silence.IsZero() {
		at, ok = t.silence.Add(l.DownAfter), true
	}
	if !t.rebooted.IsZero() && l.Reboot > 0 {
		if due := t.rebooted.Add(l.Reboot); !ok || due.Before(at) {
			at, ok = due, true
		}
	}
	return at, ok
}

// Silence is since when no acceptable reply came; ok is false while nothing is amiss.
func (t *Track) Silence() (since time.Time, ok bool) { return t.silence, !t.silence.IsZero() }

// Down tells the verdict as of the last [Track.Judge].
func (t *Track) Down() bool { return t.down }

// Observation is what the track knows of the instance at a.
func (t *Track) Observation(a raftfsm.Addr) Observation {
	return Observation{
		Addr: a,
		Down: t.down, Cause: t.downCause, DownSince: t.downSince,
		AuthRejected:   t.rejected != [probeKinds]bool{},
		Connected:      t.connected,
		LastReply:      t.lastReply,
		LastAnyReply:   t.lastAny,
		LastReplyClass: t.lastClass,
		LastPingSent:   t.pending,
		Rebooted:       !t.rebooted.IsZero(),
	}
}
