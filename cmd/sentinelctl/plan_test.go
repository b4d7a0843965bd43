package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestVerdict: what is said, and the exit status, claim no more than is known.
func TestVerdict(t *testing.T) {
	made := func(name string, code codes.Code) *deed {
		d := newDeed(name, "", actionSet)
		d.err = status.Error(code, "why")
		d.Done = d.err == nil
		return d
	}
	left := newDeed("left", "", actionDiffers)
	left.left = true
	for _, c := range []struct {
		name   string
		deeds  []*deed
		dry    bool
		status int
		says   string
		not    string
	}{
		{"unknown", []*deed{made("m", codes.DeadlineExceeded)}, false, exitUnknown, "outcome unknown: m", "nothing was changed"},
		{
			"unknown and refused",
			[]*deed{made("m", codes.DeadlineExceeded), made("n", codes.NotFound), made("o", codes.OK)},
			false, exitUnknown, "not done for certain: n", "the others are",
		},
		{"one refused", []*deed{made("m", codes.NotFound), made("o", codes.OK)}, false, exitFailed, "the others are as they should be", ""},
		{
			"one refused, one left",
			[]*deed{made("m", codes.NotFound), made("o", codes.OK), left},
			false, exitFailed, "and differ: left", "the others are",
		},
		{"dry, refused", []*deed{made("m", codes.NotFound)}, true, exitCheck, "not as it should be: m", ""},
		{"dry, differs", []*deed{made("m", codes.OK)}, true, exitCheck, "not as it should be: m", ""},
		{"dry, no leader", []*deed{made("m", codes.Unavailable)}, true, exitUnreachable, "could not be tried: m", ""},
		{"dry, forbidden", []*deed{made("o", codes.OK), made("m", codes.PermissionDenied)}, true, exitForbidden, "could not be tried", ""},
		{"dry, no answer", []*deed{made("m", codes.DeadlineExceeded)}, true, exitUnknown, "could not be tried: m", ""},
		{"dry, broken off", []*deed{made("m", codes.Canceled)}, true, exitInterrupted, "could not be tried: m", ""},
	} {
		err := verdict(c.deeds, c.dry)
		if err == nil {
			err = errors.New("no error")
		}
		if s := exitStatus(err, true, false); s != c.status || !strings.Contains(err.Error(), c.says) || c.not != "" && strings.Contains(err.Error(), c.not) {
			t.Errorf("%s: exit %d, %v", c.name, s, err)
		}
	}
}

// TestAttemptAll: after the first, deeds are done side by side; none is begun any more once no node answers, and each keeps
// its place.
func TestAttemptAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var met sync.WaitGroup
		met.Add(atOnce)
		var deeds []*deed
		for i := range 3 * atOnce {
			d := newDeed(fmt.Sprint(i), "", actionSet)
			d.do = func(context.Context, *deed, bool) (bool, error) {
				if i >= 1 && i <= atOnce {
					met.Done()
					met.Wait() // for ever, unless they run side by side
				}
				if i == atOnce {
					return false, status.Error(codes.Unavailable, "no leader")
				}
				if i > atOnce {
					time.Sleep(time.Second)
				}
				return true, nil
			}
			deeds = append(deeds, d)
		}
		new(app).attemptAll(t.Context(), deeds, false)
		tried := slices.IndexFunc(deeds, func(d *deed) bool { return strings.HasPrefix(d.Error, "not tried: no leader") })
		if tried <= atOnce || tried > 2*atOnce {
			t.Errorf("%d were tried", tried)
		}
		for i, d := range deeds {
			if d.Done != (i != atOnce && i < tried) || (d.err == nil) != d.Done {
				t.Errorf("deed %d: done %v, %v", i, d.Done, d.err)
			}
		}
	})
}

// TestAttemptAgain: a deed whose outcome is unknown, as where the leader changes in its midst, is tried once more.
func TestAttemptAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []error
		dry     bool
		done    bool
		tries   int
	}{
		{"known then", []error{status.Error(codes.DeadlineExceeded, "why"), nil}, false, true, 2},
		{"unknown still", []error{status.Error(codes.DeadlineExceeded, "why"), status.Error(codes.DeadlineExceeded, "why")}, false, false, 2},
		{"refused", []error{status.Error(codes.NotFound, "why")}, false, false, 1},
		{"dry", []error{status.Error(codes.DeadlineExceeded, "why")}, true, false, 1},
	} {
		d, tries := newDeed("m", "", actionSet), 0
		d.do = func(context.Context, *deed, bool) (bool, error) {
			tries++
			return false, c.answers[tries-1] // no change: the first try has made it
		}
		new(app).attempt(t.Context(), d, c.dry)
		if d.Done != c.done || (d.err == nil) != c.done || tries != c.tries || d.Action != actionSet {
			t.Errorf("%s: done %v, %s, %v after %d tries", c.name, d.Done, d.Action, d.err, tries)
		}
	}
}
