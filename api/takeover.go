package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// SentinelsReason is why a set comes up paused: two brains would decide about it.
func SentinelsReason(list []ActiveSentinel) string {
	return cut("Sentinels are still active on it: "+sentinelWords(list)+"; stop them, then resume", maxReason)
}

// pauseNew has a new set come up paused where Sentinels are active on it. A pause of the caller's own stands; its end does
// not, because the end of a time looks at nothing.
func (s *Server) pauseNew(ctx context.Context, st *raftfsm.State, v *visit, m *raftlogv1.Monitor, o raftfsm.Options) {
	if len(v.sentinels) > 0 && m.GetPausedReason() == "" {
		m.PausedReason = SentinelsReason(Introduce(ctx, s.inspector, raftfsm.AddrOf(m.GetAddress()), o, v.sentinels))
		v.warn("%s comes up paused: %s", m.GetName(), m.GetPausedReason())
	}
	switch {
	case m.GetPausedUntilMs() == 0:
	case len(v.sentinels) > 0:
		m.PausedUntilMs = 0
		v.warn("%s is paused until it is resumed, not for a time: Sentinels are active on it", m.GetName())
	case st.FeatureLevel() < 2:
		m.PausedUntilMs = 0
		v.warn("%s is paused until it is resumed, not for a time: not every node knows how to create it so", m.GetName())
	}
}

const (
	// maxPause bounds the time of a pause.
	maxPause = 10 * 365 * 24 * time.Hour
	// maxReason bounds the reason of a pause, in bytes.
	maxReason = 512
	// maxHeard bounds how many Sentinels are listened to.
	maxHeard = 64
)

// distinct are the Sentinels of a list of their connections.
func distinct(list []ActiveSentinel) []ActiveSentinel {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b ActiveSentinel) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), strings.Compare(a.ID, b.ID))
	})
	return slices.Compact(list)
}

func sentinelWords(list []ActiveSentinel) string {
	var out []string
	for _, s := range distinct(list) {
		switch {
		case s.Host == "":
			out = append(out, "at an address that is not told")
		case s.Port != 0:
			out = append(out, raftfsm.Addr{Host: s.Host, Port: s.Port}.String())
		case s.ID == "":
			out = append(out, s.Host)
		default:
			out = append(out, fmt.Sprintf("%s (%s)", s.Host, cut(s.ID, 40)))
		}
	}
	return strings.Join(out, ", ")
}

func sentinelAddresses(list []ActiveSentinel) string {
	var out []string
	for _, s := range distinct(list) {
		switch {
		case s.Port != 0:
			out = append(out, raftfsm.Addr{Host: s.Host, Port: s.Port}.String())
		case s.Host != "":
			out = append(out, s.Host)
		}
	}
	return strings.Join(slices.Compact(out), ",")
}

// Introduce gives Sentinels that were seen at an instance the addresses at which they serve, as far as they tell them while
// it listens.
func Introduce(ctx context.Context, i Inspector, a raftfsm.Addr, o raftfsm.Options, seen []ActiveSentinel) []ActiveSentinel {
	seen = distinct(seen)
	limit := hearLimit
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	many := len(seen)
	if slices.Contains(seen, ActiveSentinel{}) {
		many = maxHeard // one that is there may stand for several
	}
	heard := i.Hear(ctx, a, o, many)
	for _, s := range seen {
		if !slices.ContainsFunc(heard, s.is) {
			heard = append(heard, s)
		}
	}
	return distinct(heard)
}

// is tells whether one that was seen is one that spoke.
func (s ActiveSentinel) is(spoke ActiveSentinel) bool {
	if s.ID != "" {
		return strings.HasPrefix(spoke.ID, s.ID)
	}
	return s.Host == "" || s.Host == spoke.Host
}

// visitResume looks at what a set that is to be acted upon again needs: that nobody else acts on it, that its instances
// take the login, and that they know the commands of a failover. One that does not answer is no objection: it may be why
// the set is resumed. That none tells who else acts on the set is one.
func (s *Server) visitResume(ctx context.Context, v *visit, m *raftfsm.Master) error {
	if !m.Resting() || s.inspector == nil {
		return nil
	}
	bound, cancel := visitBound(ctx)
	defer cancel()
	var met meeting
	var no, lacking []string
	silent, telling := 0, 0
	for i, f := range s.visitAll(bound, m.Instances, m.Options) {
		a := m.Instances[i].Addr
		switch {
		case f.err != nil:
			silent++
			v.warn("%s does not answer: %v", a, f.err)
			continue
		case f.seen.AuthRejected != "":
			no = append(no, fmt.Sprintf("%s (%s)", a, f.seen.AuthRejected))
			continue
		}
		met.add(a, f.seen.Sentinels)
		v.unknown(a, f.seen)
		if f.seen.SentinelsUnknown == "" {
			telling++
		}
		if len(f.seen.Lacks) > 0 {
			lacking = append(lacking, fmt.Sprintf("%s (%s)", a, strings.Join(f.seen.Lacks, ", ")))
		}
	}
	if len(met.sentinels) > 0 {
		active := Introduce(ctx, s.inspector, met.at, m.Options, met.sentinels)
		v.objections = append(v.objections, overridable(v.force, ForceHint,
			stillActive(m.Name, active, "stop them first, or there are two that decide")))
	}
	if telling == 0 && len(no) == 0 {
		v.objections = append(v.objections, overridable(v.force, ForceHint,
			fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_SENTINELS_ACTIVE,
				"no instance of %s tells whether Sentinels are still active on it (%s); let one be asked first",
				m.Name, strings.Join(v.warnings, "; "))))
	}
	if len(no) > 0 {
		e := rejected(no)
		e.Text += "; set it first: sentinelctl set " + m.Name + " auth-pass=-"
		o := overridable(v.incomplete, incompleteHint, e)
		if len(no) == len(m.Instances)-silent {
			o = objection{Error: e} // nothing could be done on any of them
		}
		v.objections = append(v.objections, o)
	}
	if len(lacking) > 0 {
		v.objections = append(v.objections, overridable(v.incomplete, incompleteHint,
			fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_COMMANDS_MISSING,
				"commands that a failover needs are not known under their names at %s; say what they are called there: "+
					"sentinelctl set %s rename-command='COMMAND NEWNAME'", strings.Join(lacking, ", "), m.Name)))
	}
	return v.settle()
}

// meeting is who was met, and at which instance first.
type meeting struct {
	at        raftfsm.Addr
	sentinels []ActiveSentinel
}

func (m *meeting) add(at raftfsm.Addr, list []ActiveSentinel) {
	if len(m.sentinels) == 0 {
		m.at = at
	}
	m.sentinels = append(m.sentinels, list...)
}

// incompleteHint ends the text of an objection that only a resume with incomplete overrides.
const incompleteHint = " (incomplete overrides)"

// objection is what stands in the way of a change, and whether the operator goes on all the same.
type objection struct {
	*Error
	hint string
	over bool
}

func overridable(over bool, hint string, e *Error) objection { return objection{e, hint, over} }

// settle refuses once, for all objections that are not overridden; the first is the error's own. What is overridden becomes
// a warning, and is kept for the record.
func (v *visit) settle() error {
	var refused []objection
	for _, o := range v.objections {
		if o.over {
			v.warn("%s", o.Text)
			v.overridden = append(v.overridden, o.Text)
		} else {
			refused = append(refused, o)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	// One hint for all stands at the end; else each has its own.
	all := refused[0].hint
	if slices.ContainsFunc(refused, func(o objection) bool { return o.hint != all }) {
		all = ""
	}
	var texts []string
	for _, o := range refused {
		if all == "" {
			o.Text += o.hint
		}
		texts = append(texts, o.Text)
	}
	e := refused[0].Error
	e.Text = strings.Join(texts, "; ") + ": nothing was changed" + all
	return e
}

func stillActive(name string, active []ActiveSentinel, then string) *Error {
	e := fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_SENTINELS_ACTIVE,
		"Sentinels are still active on %s: %s; %s", name, sentinelWords(active), then)
	e.Meta = map[string]string{"sentinels": sentinelAddresses(active)}
	return e
}

// unknown warns of what a visit could not tell.
func (v *visit) unknown(a raftfsm.Addr, seen Inspection) {
	if seen.SentinelsUnknown != "" {
		v.warn("whether Sentinels are active on %s could not be told: %s", a, seen.SentinelsUnknown)
	}
	if seen.LacksUnknown != "" {
		v.warn("whether %s knows the commands of a failover could not be told: %s", a, seen.LacksUnknown)
	}
}
