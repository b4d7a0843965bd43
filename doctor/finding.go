package doctor

import (
	"fmt"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Severity of a finding.
type Severity uint8

// The severities.
const (
	// OK: the check passed.
	OK Severity = iota + 1
	// Warning: it works now, and less well than it should, or not in every case that may come.
	Warning
	// Problem: something does not work, or will not when it is needed.
	Problem
)

// Subject is what a finding is about: the cluster where both names are empty, else a node or a master.
type Subject struct{ Node, Master string }

// String names it.
func (s Subject) String() string {
	switch {
	case s.Node != "":
		return "node " + s.Node
	case s.Master != "":
		return "master " + s.Master
	}
	return "cluster"
}

// Finding is the outcome of a check. Code is a row of the catalogue, or the check's own name where it passed.
type Finding struct {
	Severity Severity
	Code     string
	Subject  Subject
	// Instance is zero where it is about none.
	Instance raftfsm.Addr
	// What is so, Why it matters, Advice what to do; the last two are empty where the check passed.
	What, Why, Advice string
}

// report collects findings.
type report struct{ findings []Finding }

// check runs one: what it says nothing against has passed, unless it could not be made at all.
func (r *report) check(s Subject, name, passed string, look func(say *sayer)) {
	say := &sayer{report: r, subject: s}
	before := len(r.findings)
	look(say)
	if len(r.findings) == before && !say.unmade {
		r.findings = append(r.findings, Finding{Severity: OK, Code: name, Subject: s, What: passed})
	}
}

// sayer adds findings about one subject.
type sayer struct {
	report  *report
	subject Subject
	// unmade: the check had nothing to look at, and has not passed.
	unmade bool
}

// that adds what was found.
func (s *sayer) that(code, format string, args ...any) { s.of(raftfsm.Addr{}, code, format, args...) }

// of adds what was found at an instance, whose address begins the text.
func (s *sayer) of(a raftfsm.Addr, code, format string, args ...any) {
	row := Catalogue[code]
	f := Finding{
		Severity: row.Severity, Code: code, Subject: s.subject, Instance: a, What: fmt.Sprintf(format, args...), Why: row.Why,
		Advice: strings.NewReplacer("{master}", s.subject.Master, "{node}", s.subject.Node, "{instance}", a.String()).Replace(row.Advice),
	}
	if !a.IsZero() {
		f.What = a.String() + " " + f.What
	}
	s.report.findings = append(s.report.findings, f)
}
