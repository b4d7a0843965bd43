package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// SentinelsReason is why a set comes up paused: two brains would decide about it.
func SentinelsReason(list []ActiveSentinel) string {
	return cut("Sentinels are still active on it: "+sentinelWords(list)+"; stop them, then resume", maxReason)
}

// maxReason bounds the reason of a pause, in bytes.
const maxReason = 512

// distinct are the Sentinels of a list of their connections.
func distinct(list []ActiveSentinel) []ActiveSentinel {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b ActiveSentinel) int {
		if d := strings.Compare(a.Host, b.Host); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	return slices.Compact(list)
}

func sentinelWords(list []ActiveSentinel) string {
	var out []string
	for _, s := range distinct(list) {
		switch {
		case s.Host == "":
			out = append(out, "at an address that is not told")
		case s.ID == "":
			out = append(out, s.Host)
		default:
			out = append(out, fmt.Sprintf("%s (%s)", s.Host, cut(s.ID, 40)))
		}
	}
	return strings.Join(out, ", ")
}

func sentinelHosts(list []ActiveSentinel) string {
	var out []string
	for _, s := range distinct(list) {
		if s.Host != "" {
			out = append(out, s.Host)
		}
	}
	return strings.Join(slices.Compact(out), ",")
}

// visitResume looks at what a set that is to be acted upon again needs: that nobody else acts on it, that its instances
// take the login, and that they know the commands of a failover. One that does not answer is no objection: it may be why
// the set is resumed. That none does is one: nothing is known then of who else acts on the set.
func (s *Server) visitResume(ctx context.Context, v *visit, m *raftfsm.Master) error {
	if !m.Resting() || s.inspector == nil {
		return nil
	}
	ctx, cancel := visitBound(ctx)
	defer cancel()
	var active []ActiveSentinel
	var no, lacking []string
	silent := 0
	for i, f := range s.visitAll(ctx, m.Instances, m.Options) {
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
		active = append(active, f.seen.Sentinels...)
		v.unknown(a, f.seen)
		if len(f.seen.Lacks) > 0 {
			lacking = append(lacking, fmt.Sprintf("%s (%s)", a, strings.Join(f.seen.Lacks, ", ")))
		}
	}
	var objections []*Error
	if len(active) > 0 {
		objections = append(objections, stillActive(m.Name, active, "stop them first, or there are two that decide"))
	}
	if silent > 0 && silent == len(m.Instances) {
		objections = append(objections, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_SENTINELS_ACTIVE,
			"no instance of %s answers, so whether Sentinels are still active on it could not be told (%s); make one reachable first",
			m.Name, strings.Join(v.warnings, "; ")))
	}
	if len(no) > 0 {
		e := rejected(no)
		e.Text += "; set it first: sentinelctl set " + m.Name + " auth-pass=-"
		objections = append(objections, e)
	}
	if len(lacking) > 0 {
		objections = append(objections, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_COMMANDS_MISSING,
			"commands that a failover needs are not known under their names at %s; say what they are called there: "+
				"sentinelctl set %s rename-command='COMMAND NEWNAME'", strings.Join(lacking, ", "), m.Name))
	}
	return v.objectAll(objections)
}

func stillActive(name string, active []ActiveSentinel, then string) *Error {
	e := fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_SENTINELS_ACTIVE,
		"Sentinels are still active on %s: %s; %s", name, sentinelWords(active), then)
	e.Meta = map[string]string{"sentinels": sentinelHosts(active)}
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

// objectAll objects once, for all reasons; the first is the error's own.
func (v *visit) objectAll(objections []*Error) error {
	if len(objections) == 0 {
		return nil
	}
	if v.force {
		for _, e := range objections {
			v.warn("%s", e.Text)
		}
		return nil
	}
	first := objections[0]
	for _, e := range objections[1:] {
		first.Text += "; " + e.Text
	}
	return v.object(first)
}
