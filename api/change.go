package api

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// change is one change on its way: first it is tried on a fresh state, by the law itself, so that what is refused and what
// changes nothing never enters the log; only then is it proposed.
type change struct {
	command *raftlogv1.Command
	// name of the master that it is about; "" for several.
	name string
	// expected is the master's revision that the caller saw; 0 = any.
	expected uint64
	validate bool
	// preflight looks at the world, on a change that is due. It may complete the command.
	preflight func(ctx context.Context, st *raftfsm.State) error
}

// outcome is a change that was made, or was not needed.
type outcome struct {
	st      *raftfsm.State
	index   uint64
	changed bool
}

// carryOut makes a change on base, which a linearizable read gave.
func (s *Server) carryOut(ctx context.Context, base *raftfsm.State, c change) (outcome, error) {
	if err := expect(base, c.name, c.expected); err != nil {
		return outcome{}, err
	}
	c.command.Header = &raftlogv1.Header{Actor: s.actor(ctx)}
	_, trial := raftfsm.Apply(base, base.Index()+1, c.command)
	if err := trial.Err(); err != nil {
		return outcome{}, s.readError(err)
	}
	if !trial.Changed {
		return outcome{st: base, index: base.Index()}, nil
	}
	if c.preflight != nil {
		if err := c.preflight(ctx, base); err != nil {
			return outcome{}, err
		}
	}
	if c.validate {
		after, _ := raftfsm.Apply(base, base.Index()+1, c.command)
		return outcome{st: after, index: base.Index(), changed: true}, nil
	}
	res, err := s.node.Propose(ctx, c.command)
	if err != nil {
		return s.lookAgain(ctx, c, err)
	}
	if err := res.Err(); err != nil {
		return outcome{}, s.readError(err)
	}
	return outcome{st: s.node.State(), index: res.Index, changed: res.Changed}, nil
}

// lookAgain finds out what became of a change whose proposal failed: a leader that goes in the midst of it leaves that open, and
// where the next one's state is as was asked for, it was made. Nothing is proposed again.
func (s *Server) lookAgain(ctx context.Context, c change, failed error) (outcome, error) {
	if s.classify(failed) == FailureUnknownOutcome {
		if st, err := s.node.Read(ctx); err == nil {
			if _, trial := raftfsm.Apply(st, st.Index()+1, c.command); trial.Err() == nil && !trial.Changed {
				return outcome{st: st, index: st.Index(), changed: true}, nil
			}
		}
	}
	return outcome{}, s.changeError(failed)
}

// expect compares the revision that the caller saw.
func expect(st *raftfsm.State, name string, expected uint64) error {
	if expected == 0 || name == "" {
		return nil
	}
	m, ok := st.Master(name)
	switch {
	case !ok:
		return noMaster(name)
	case m.Revision != expected:
		return fail(codes.Aborted, sentinelv1.ErrorReason_ERROR_REASON_REVISION_MISMATCH,
			"master %s is at revision %d, not %d: read it again", name, m.Revision, expected)
	}
	return nil
}

// masterAfter is the set as the outcome has it; nil where it is gone meanwhile.
func (s *Server) masterAfter(o outcome, name string) *sentinelv1.Master {
	m, ok := o.st.Master(name)
	if !ok {
		return nil
	}
	return s.view(o.st).master(m)
}

// record is the audit of changes.
func (s *Server) record(ctx context.Context, what, master string, o outcome, validate bool) {
	if o.changed && !validate {
		s.log.Info("change made", "change", what, "master", master, "actor", s.actor(ctx), "index", o.index)
	}
}

// checkWords refuses what could break a line of a log or of a protocol.
func checkWords(what, text string, limit int) error {
	if len(text) > limit {
		return invalid("%s: has %d bytes; at most %d are allowed", what, len(text), limit)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return invalid("%s: control characters are not allowed (byte %d)", what, i)
	}
	return nil
}
