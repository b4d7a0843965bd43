package main

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/raftsentinel/raftsentinel/api/client"
)

// Exit statuses.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
	exitCheck       = 5
	exitUnknown     = 6
	exitForbidden   = 7
	exitInterrupted = 130
)

// exitError is an error that knows its exit status.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func failedf(format string, args ...any) error {
	return &exitError{exitFailed, fmt.Errorf(format, args...)}
}

func checkf(format string, args ...any) error {
	return &exitError{exitCheck, fmt.Errorf(format, args...)}
}

// exitByCode is the exit status of an answer's code, for what tells the state and for what changes it.
var exitByCode = map[codes.Code]struct{ read, change int }{
	codes.OK:                 {exitDone, exitDone},
	codes.InvalidArgument:    {exitUsage, exitUsage},
	codes.Unavailable:        {exitUnreachable, exitUnreachable},
	codes.NotFound:           {exitRefused, exitRefused},
	codes.AlreadyExists:      {exitRefused, exitRefused},
	codes.FailedPrecondition: {exitRefused, exitRefused},
	codes.Aborted:            {exitRefused, exitRefused},
	codes.Unauthenticated:    {exitForbidden, exitForbidden},
	codes.PermissionDenied:   {exitForbidden, exitForbidden},
	codes.DeadlineExceeded:   {exitUnreachable, exitUnknown},
}

// exitStatus is the exit status of err. change tells that the command changes the state, interrupted that the user
// broke it off.
func exitStatus(err error, change, interrupted bool) int {
	var known *exitError
	var none *client.NoNodeError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &known):
		return known.status
	case interrupted || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled:
		return exitInterrupted
	case change && errors.As(err, &none) && none.Sent:
		return exitUnknown
	}
	code := status.Code(err)
	if errors.Is(err, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	by, ok := exitByCode[code]
	switch {
	case !ok:
		return exitFailed
	case change:
		return by.change
	}
	return by.read
}
