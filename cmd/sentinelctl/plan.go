package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// Actions of a deed. differs is a set whose differences are told and left.
const (
	actionCreate  = "create"
	actionSet     = "set"
	actionRemove  = "remove"
	actionNone    = "none"
	actionDiffers = "differs"
)

// deed is what is to become of one master, and what became of it.
type deed struct {
	Name        string       `json:"name"`
	Address     string       `json:"address"`
	Action      string       `json:"action"`
	Done        bool         `json:"done"`
	Differences []difference `json:"differences"`
	Notes       []string     `json:"notes"`
	Error       string       `json:"error"`

	err error
	// left: some of the differences are not for this command to remove.
	left bool
	// wanted is what is to be created, set what is to be removed.
	wanted *wanted
	set    *sentinelv1.Master
	// do makes the change, or with validate only tries whether it could be made.
	do func(ctx context.Context, d *deed, validate bool) (changed bool, err error)
}

// difference is one option, as it is and as it is wanted; passwords are masked.
type difference struct {
	Option string `json:"option"`
	Was    string `json:"was"`
	Wanted string `json:"wanted"`
}

func newDeed(name, address, action string) *deed {
	return &deed{Name: name, Address: address, Action: action, Differences: []difference{}, Notes: []string{}}
}

// note adds words that are for people.
func (d *deed) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// attempt does a deed, and tells whether another may be tried after it: without a node that answers, none need be.
func (a *app) attempt(ctx context.Context, d *deed, dryRun bool) bool {
	if d.do == nil || d.err != nil {
		return true
	}
	changed, err := d.do(ctx, d, dryRun)
	if !dryRun && exitStatus(err, true, ctx.Err() != nil) == exitUnknown {
		// Nothing is changed twice: another try finds out what became of the first.
		_, err = d.do(ctx, d, false)
		changed = err == nil
	}
	switch {
	case err != nil:
		d.err, d.Error = err, a.words(err)
	case !changed:
		d.Action = actionNone
	default:
		d.Done = !dryRun
	}
	s := exitStatus(err, true, ctx.Err() != nil)
	return s != exitUnreachable && s != exitInterrupted
}

// atOnce bounds the deeds that are tried side by side: so many that their changes share the writes to the nodes' disks, and
// so few that each is answered well within the time of a request.
const atOnce = 32

// attemptAll does deeds: the first alone, which shows whether any node answers, and then the others side by side.
func (a *app) attemptAll(ctx context.Context, deeds []*deed, dryRun bool) {
	deeds = slices.DeleteFunc(slices.Clone(deeds), func(d *deed) bool { return d.do == nil || d.err != nil })
	var silent atomic.Pointer[deed]
	try := func(d *deed) {
		if !a.attempt(ctx, d, dryRun) {
			silent.CompareAndSwap(nil, d)
		}
	}
	var wg sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for i, d := range deeds {
		if i == 0 {
			try(d)
			continue
		}
		turn <- struct{}{}
		if first := silent.Load(); first != nil {
			d.err, d.Error = first.err, "not tried: "+first.Error
			<-turn
			continue
		}
		wg.Go(func() {
			defer func() { <-turn }()
			try(d)
		})
	}
	wg.Wait()
}

// verdict is the outcome of all: an exit status for a difference that a dry run found, or for what could not be done.
func verdict(deeds []*deed, dryRun bool) error {
	var failed, differ, unknown []string
	var states []int
	done := false
	for _, d := range deeds {
		done = done || d.Done
		switch {
		case d.err != nil:
			s := exitStatus(d.err, true, false)
			failed, states = append(failed, d.Name), append(states, s)
			if s == exitUnknown {
				unknown = append(unknown, d.Name)
			}
		case d.left, dryRun && d.Action != actionNone:
			differ = append(differ, d.Name)
		}
	}
	if dryRun {
		return dryVerdict(append(differ, failed...), states)
	}
	others := "the others are as they should be"
	if len(differ) > 0 {
		others = "left as they are, and differ: " + strings.Join(differ, ", ")
	}
	switch {
	case len(unknown) > 0:
		return &exitError{exitUnknown, fmt.Errorf("outcome unknown: %s; look whether it was done, or do it again (not done for certain: %s)",
			strings.Join(unknown, ", "), orNone(strings.Join(without(failed, unknown), ", ")))}
	case len(failed) > 0 && !done && len(slices.Compact(states)) == 1:
		return &exitError{states[0], fmt.Errorf("not done: %s; nothing was changed", strings.Join(failed, ", "))}
	case len(failed) > 0:
		return failedf("not done: %s; %s", strings.Join(failed, ", "), others)
	case len(differ) > 0:
		return checkf("left as they are, and differ: %s", strings.Join(differ, ", "))
	}
	return nil
}

// dryVerdict tells of differences and refusals. Where the cluster could not be asked, nothing is known of them: that passes.
func dryVerdict(names []string, states []int) error {
	if len(names) == 0 {
		return nil
	}
	for _, s := range states {
		if s == exitUnreachable || s == exitUnknown || s == exitForbidden || s == exitInterrupted {
			return &exitError{s, fmt.Errorf("could not be tried: %s; nothing was changed", strings.Join(names, ", "))}
		}
	}
	return checkf("not as it should be: %s; nothing was changed", strings.Join(names, ", "))
}

func without(names, some []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(some, n) })
}

// planTable has a line for each deed.
func planTable(deeds []*deed, dryRun bool) *table {
	t := newTable("MASTER", "ADDRESS", "ACTION", "DETAIL")
	for _, d := range deeds {
		word := d.Action
		switch {
		case d.err != nil:
			word = map[bool]string{true: "would fail", false: "failed"}[dryRun]
		case d.Action == actionNone:
			word = "same"
		case d.Done:
			word = map[string]string{actionCreate: "created", actionSet: "set", actionRemove: "removed"}[d.Action]
		}
		t.add(d.Name, d.Address, word, d.detail())
	}
	return t
}

func (d *deed) detail() string {
	if d.err != nil {
		return d.Error
	}
	var out []string
	for _, x := range d.Differences {
		switch {
		case d.Action == actionCreate:
			out = append(out, strings.TrimSpace(x.Option+" "+x.Wanted))
		case x.Was == secretWord && x.Wanted == secretWord:
			out = append(out, x.Option+" is another")
		default:
			out = append(out, fmt.Sprintf("%s %s -> %s", x.Option, orNone(x.Was), orNone(x.Wanted)))
		}
	}
	return strings.Join(out, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// tellNotes writes what people should know of each deed.
func (a *app) tellNotes(deeds []*deed) {
	for _, d := range deeds {
		for _, n := range d.Notes {
			a.say("%s: %s", printable(d.Name), printable(n))
		}
	}
}

// printPlan writes an outcome: the document as JSON, or the table with the notes on stderr.
func (a *app) printPlan(document any, deeds []*deed, dryRun bool) error {
	if !a.set.json() {
		a.tellNotes(deeds)
		return planTable(deeds, dryRun).write(a.stdout)
	}
	b, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode the outcome: %w", err)
	}
	return a.writeJSON(b)
}

func anyDone(deeds []*deed) bool {
	return slices.ContainsFunc(deeds, func(d *deed) bool { return d.Done })
}

// reason is the reason of an error that a node gave, and what came with it.
func reason(err error) (string, map[string]string) {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "sentineld" {
			return info.GetReason(), info.GetMetadata()
		}
	}
	return "", nil
}
