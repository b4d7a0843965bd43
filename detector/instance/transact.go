package instance

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// step is one command of a transaction. The first step is what the transaction is for; the optional ones go with it.
type step struct {
	args     []string
	optional bool
	// text takes the reply, where that is one.
	text *string
}

func replicaOf(args ...string) step { return step{args: append([]string{"REPLICAOF"}, args...)} }

func rewrite() step { return step{args: []string{"CONFIG", "REWRITE"}, optional: true} }

// transact runs the steps in one MULTI, sent in one write. beside joins the refusals of optional steps; err is the refusal
// of another one, or a failed connection.
//
// A command refused while it was queued discards the whole transaction (EXECABORT), so nothing has happened and it is
// sent again without that command; REPLICAOF unknown is sent again as SLAVEOF (Redis before 5). Where MULTI itself is
// refused, the rest of the write has run by itself, and its replies are the outcome.
func (c *Conn) transact(ctx context.Context, steps ...step) (beside error, err error) {
	_, beside, err = c.transactAndAsk(ctx, nil, steps...)
	return beside, err
}

// transactAndAsk is transact and, in the same write behind it, questions that are no part of it. The answers count where err is nil.
func (c *Conn) transactAndAsk(ctx context.Context, questions [][]string, steps ...step) (answers []any, beside, err error) {
	if c.unnamed != nil {
		return nil, nil, fmt.Errorf("%w; a connection without its name cannot be fenced", c.unnamed)
	}
	for {
		replies, err := c.exchange(ctx, maxReply, append(inMulti(steps), questions...)...)
		if err != nil {
			return nil, beside, err
		}
		replies, answers = replies[:len(steps)+2], replies[len(steps)+2:]
		queued, exec := replies[1:len(replies)-1], replies[len(replies)-1]
		outcome, ran := exec.([]any)
		if _, refused := replies[0].(ReplyError); refused {
			outcome, ran = queued, true
		}
		if ran {
			failed, err := c.outcome(steps, outcome)
			if err != nil && len(outcome) > 0 && c.asSlaveOf(steps, outcome[0]) {
				continue // without MULTI: the others ran, and run again
			}
			return answers, errors.Join(beside, failed), err
		}
		if c.asSlaveOf(steps, queued[0]) {
			continue
		}
		var kept []step
		for i, s := range steps {
			refusal, refused := queued[i].(ReplyError)
			switch {
			case !refused:
				kept = append(kept, s)
			case !s.optional:
				return nil, beside, refusal
			default:
				beside = errors.Join(beside, s.refused(refusal))
			}
		}
		if len(kept) == len(steps) {
			return nil, beside, c.execRefusal(exec)
		}
		steps = kept
	}
}

func inMulti(steps []step) [][]string {
	commands := make([][]string, 0, len(steps)+2)
	commands = append(commands, []string{"MULTI"})
	for _, s := range steps {
		commands = append(commands, s.args)
	}
	return append(commands, []string{"EXEC"})
}

// outcome reads each step's own reply.
func (c *Conn) outcome(steps []step, replies []any) (beside error, err error) {
	if len(replies) != len(steps) {
		return nil, c.fault([]string{"exec"}, fmt.Errorf("%w: %d replies to %d commands", errProtocol, len(replies), len(steps)))
	}
	for i, s := range steps {
		refusal, refused := replies[i].(ReplyError)
		switch {
		case !refused:
			if s.text != nil {
				*s.text, _ = replies[i].(string)
			}
		case s.optional:
			beside = errors.Join(beside, s.refused(refusal))
		default:
			err = refusal
		}
	}
	return beside, err
}

// asSlaveOf renames an unknown REPLICAOF, once, and tells whether it did.
func (c *Conn) asSlaveOf(steps []step, reply any) bool {
	refusal, refused := reply.(ReplyError)
	if !refused || steps[0].args[0] != "REPLICAOF" || !strings.HasPrefix(refusal.Text, "ERR unknown command") {
		return false
	}
	steps[0].args = append([]string{"SLAVEOF"}, steps[0].args[1:]...)
	return true
}

// execRefusal is for an EXEC that ran nothing though each command had been queued.
func (c *Conn) execRefusal(reply any) error {
	if refusal, ok := reply.(ReplyError); ok {
		return refusal
	}
	return c.fault([]string{"exec"}, fmt.Errorf("%w: a %T in reply", errProtocol, reply))
}

func (s step) refused(e ReplyError) error {
	return fmt.Errorf("%s: %w", strings.ToLower(strings.Join(s.args, " ")), e)
}
