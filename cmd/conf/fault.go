package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Place is where a setting was read.
type Place struct {
	// File is a path, "--NAME" for a flag, or the name of an environment variable.
	File string
	// Line from 1; 0 where there are no lines.
	Line int

	level level // which kind of source
	order int   // position among all lines read
}

// level is what beats what: a greater one beats a lesser.
type level int

const (
	levelFile level = iota
	levelEnv
	levelFlag
)

// String is FILE:LINE, --NAME or the variable's name.
func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Fault is one thing that keeps the daemon from starting. It never holds a password.
type Fault struct {
	// Place is zero where a setting is missing altogether.
	Place Place
	// Text says what was read and what is allowed.
	Text string
}

// Error is PLACE: TEXT.
func (f Fault) Error() string {
	if f.Place.File == "" {
		return "configuration: " + f.Text
	}
	return f.Place.String() + ": " + f.Text
}

// Faults are all faults of a configuration, in the order of their lines.
type Faults []Fault

// Error has one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Warning is something odd that does not keep the daemon from starting.
type Warning struct {
	Place Place
	Text  string
}

// String is PLACE: TEXT.
func (w Warning) String() string { return Fault(w).Error() }

// findings collects faults and warnings while a configuration is read.
type findings struct {
	faults   Faults
	warnings []Warning
}

func (f *findings) fault(p Place, format string, args ...any) {
	f.faults = append(f.faults, Fault{p, fmt.Sprintf(format, args...)})
}

func (f *findings) warn(p Place, format string, args ...any) {
	f.warnings = append(f.warnings, Warning{p, fmt.Sprintf(format, args...)})
}

// sort puts both in the order in which lines were read.
func (f *findings) sort() {
	slices.SortStableFunc(f.faults, func(a, b Fault) int { return cmp.Compare(a.Place.order, b.Place.order) })
	slices.SortStableFunc(f.warnings, func(a, b Warning) int { return cmp.Compare(a.Place.order, b.Place.order) })
}
