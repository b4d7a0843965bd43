package goredis

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// unusedError is what broke a connection in go-redis's handshake. go-redis repeats a command of the handshake on the very
// connection that is broken, after the same waits as any other command, and only then makes another connection: up to a
// second of outage where connections are made while the master moves. This error shows none of the marks by which go-redis
// takes an error for one that may pass, so that the handshake ends with it at once.
type unusedError struct{ err error }

func (e *unusedError) Error() string { return e.err.Error() }

// used shows the application's command what has really happened to the handshake, so that it is repeated as it should be.
// It is the client's first hook, and go-redis calls it for the handshake's commands too.
type used struct{}

func (used) DialHook(next redis.DialHook) redis.DialHook { return next }

func (used) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { return unwrap(next(ctx, cmd)) }
}

func (used) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { return unwrap(next(ctx, cmds)) }
}

func unwrap(err error) error {
	if u, ok := errors.AsType[*unusedError](err); ok {
		return u.err
	}
	return err
}

// handshake are the commands by which go-redis makes a connection ready.
var handshake = []string{"hello", "auth", "select", "readonly", "client"}

// ofHandshake tells whether a request in the Redis protocol begins with a command of the handshake: *N CRLF $N CRLF name.
func ofHandshake(b []byte) bool {
	parts := bytes.SplitN(b, []byte("\r\n"), 4)
	return len(parts) == 4 && slices.Contains(handshake, strings.ToLower(string(parts[2])))
}
