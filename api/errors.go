package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Domain of every ErrorInfo.
const Domain = "sentineld"

const reasonPrefix = "ERROR_REASON_"

// Error is a refusal or failure as every wire tells it.
type Error struct {
	Code   codes.Code
	Reason sentinelv1.ErrorReason
	Text   string
	// Meta travels in the ErrorInfo.
	Meta map[string]string
}

func (e *Error) Error() string { return e.Text }

// GRPCStatus is what gRPC sends.
func (e *Error) GRPCStatus() *status.Status {
	st := status.New(e.Code, e.Text)
	info := &errdetails.ErrorInfo{
		Reason: strings.TrimPrefix(e.Reason.String(), reasonPrefix), Domain: Domain, Metadata: e.Meta,
	}
	detailed, err := st.WithDetails(protoadapt.MessageV1Of(info))
	if err != nil {
		return st
	}
	return detailed
}

// ReasonOf reads the reason back from an error of this API, local or received; unspecified where there is none.
func ReasonOf(err error) sentinelv1.ErrorReason {
	return sentinelv1.ErrorReason(sentinelv1.ErrorReason_value[reasonPrefix+infoOf(err).GetReason()])
}

// MetaOf reads what an error of this API says beside its reason; "" where it says nothing of that.
func MetaOf(err error, key string) string { return infoOf(err).GetMetadata()[key] }

// infoOf is nil where there is none.
func infoOf(err error) *errdetails.ErrorInfo {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return info
		}
	}
	return nil
}

// maxText bounds an error's text, in bytes: an error may travel as a header, and nobody reads more.
const maxText = 1024

func fail(code codes.Code, reason sentinelv1.ErrorReason, format string, args ...any) *Error {
	return &Error{Code: code, Reason: reason, Text: cut(fmt.Sprintf(format, args...), maxText)}
}

// maxEcho bounds what an error repeats of a caller's words, in bytes.
const maxEcho = 128

// echo is a caller's word as an error repeats it.
func echo(word string) string { return strconv.Quote(cut(word, maxEcho)) }

// cut keeps the first most bytes of a text, and marks that there were more.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

func invalid(format string, args ...any) *Error {
	return fail(codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT, format, args...)
}

func noMaster(name string) *Error {
	return fail(codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND, "no master named %s", echo(name))
}

// refusals is the table from the law's codes to gRPC's.
var refusals = map[raftfsm.Code]struct {
	code   codes.Code
	reason sentinelv1.ErrorReason
}{
	raftfsm.NotFound:        {codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND},
	raftfsm.DuplicateName:   {codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_DUPLICATE_MASTER},
	raftfsm.AddressTaken:    {codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_ADDRESS_TAKEN},
	raftfsm.InvalidArgument: {codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT},
	raftfsm.StaleBase:       {codes.Aborted, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT},
	raftfsm.StaleGeneration: {codes.Aborted, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT},
	raftfsm.StaleRevision:   {codes.Aborted, sentinelv1.ErrorReason_ERROR_REASON_REVISION_MISMATCH},
	raftfsm.StaleEpoch:      {codes.Aborted, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT},
	raftfsm.NotDown:         {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_DOWN},
	raftfsm.Paused:          {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_PAUSED},
	raftfsm.InProgress:      {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FAILOVER_IN_PROGRESS},
	raftfsm.MasterDown:      {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_DOWN},
	raftfsm.Cooldown:        {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_DOWN},
	raftfsm.BadCandidate:    {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_NO_GOOD_REPLICA},
	raftfsm.Removed:         {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_REMOVED},
	raftfsm.UnknownNode:     {codes.NotFound, sentinelv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND},
	raftfsm.LevelTooHigh:    {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FEATURE_LEVEL},
	raftfsm.Unsettled:       {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_MASTER_UNSETTLED},
	raftfsm.AlreadyFounded:  {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT},
	raftfsm.Duplicate:       {codes.AlreadyExists, sentinelv1.ErrorReason_ERROR_REASON_DUPLICATE_NODE},
	raftfsm.StaleTerm:       {codes.Aborted, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT},
	raftfsm.TooMany:         {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT},
	raftfsm.NotEmpty:        {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT},
	raftfsm.ForeignCluster:  {codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT},
}

// refused is the error of a refusal on the merits.
func refused(r raftfsm.Refusal) error {
	row, ok := refusals[r.Code]
	if !ok {
		return fail(codes.Internal, sentinelv1.ErrorReason_ERROR_REASON_INTERNAL, "%v", r)
	}
	return fail(row.code, row.reason, "%v", r)
}

// readError is the error of a read that failed: whatever happened, nothing was changed.
func (s *Server) readError(err error) error { return s.failure(err, ", or read with LOCAL") }

// failure is the error of a call that changed nothing; hint ends the advice of one that found no majority.
func (s *Server) failure(err error, hint string) error {
	if r, ok := errors.AsType[raftfsm.Refusal](err); ok {
		return refused(r)
	}
	switch s.classify(err) {
	case FailureNoLeader:
		return fail(codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER,
			"no leader that a majority follows was found: nothing was changed; try again%s", hint)
	case FailureLoading:
		return fail(codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_LOADING,
			"this node has not caught up since it started; ask another one")
	case FailureRemoved:
		return wasRemoved()
	case FailureRefused:
		return fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT, "%v: nothing was changed", err)
	case FailureUnknownOutcome, FailureOther:
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fail(codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_TIMEOUT,
			"no majority answered in time: nothing was changed; try again%s", hint)
	case errors.Is(err, context.Canceled):
		return fail(codes.Canceled, sentinelv1.ErrorReason_ERROR_REASON_TIMEOUT, "the caller gave up; nothing was changed")
	case passThrough(err):
		return err
	}
	s.log.Error("call failed", "error", err)
	return fail(codes.Internal, sentinelv1.ErrorReason_ERROR_REASON_INTERNAL, "%v", err)
}

func wasRemoved() error {
	return fail(codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NODE_REMOVED, "this node was removed from its cluster; ask another one")
}

// changeError is the error of a change whose command was, or may have been, sent.
func (s *Server) changeError(err error) error {
	unknown := s.classify(err) == FailureUnknownOutcome ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if unknown {
		return unknownOutcome()
	}
	return s.failure(err, "")
}

func unknownOutcome() error {
	return fail(codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_UNKNOWN_OUTCOME,
		"no answer in time: the change may or may not have been made; ask again")
}

// passThrough tells whether err is a status already, ours or another node's.
func passThrough(err error) bool {
	_, ok := status.FromError(err)
	return ok
}
