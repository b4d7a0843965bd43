package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// raftLog lets hashicorp/raft write to a slog.Logger. Raft tells of every election and every failed heartbeat, for ever; what
// matters of it this package logs itself, so that each level is written one lower than Raft means it, and what would be
// seen at default level at most once a minute for each peer.
type raftLog struct {
	log    *slog.Logger
	sparse *sparseLog
	name   string
	args   []any
}

var _ hclog.Logger = raftLog{}

func newRaftLog(log *slog.Logger) hclog.Logger {
	log = log.With("component", "raft")
	return raftLog{log: log, sparse: newSparseLog(log)}
}

// ordinary are lines of Raft's about what happens whenever a cluster forms, a node joins, stops or is killed.
var ordinary = map[string]bool{
	"appendEntries rejected, sending older logs": true,
	"failed to get previous log":                 true,
	"failed to decode incoming command":          true,
	"failed to flush response":                   true,
	"failed to contact":                          true, // the heartbeat that failed has its own line
}

// errNoState refuses Raft's calls to a node that was admitted and has not opened its log yet.
var errNoState = linkRefusal{"this node has no state yet"}

func isOrdinary(msg string, args []any) bool {
	if ordinary[msg] {
		return true
	}
	for _, a := range args {
		err, ok := a.(error)
		if ok && (strings.Contains(err.Error(), errNoState.reason) || errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)) {
			return true // this node is stopping, or the other has just been admitted
		}
	}
	return false
}

func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelWarn
	case hclog.Warn:
		return slog.LevelInfo
	case hclog.NoLevel, hclog.Trace, hclog.Debug, hclog.Info, hclog.Off:
	}
	return slog.LevelDebug
}

// Log implements hclog.Logger, as do the methods below.
func (l raftLog) Log(level hclog.Level, msg string, args ...any) {
	at := slogLevel(level)
	if isOrdinary(msg, args) {
		at = slog.LevelDebug
	}
	if !l.log.Enabled(context.Background(), at) {
		return
	}
	out, key := make([]any, len(args)), msg
	for i, a := range args {
		out[i] = a
		switch a := a.(type) {
		case string:
			if i%2 == 0 {
				out[i] = snakeCase.Replace(a)
			}
		case hclog.Format:
			out[i] = formatted(a)
		case raft.Server:
			out[i] = string(a.ID) + " at " + string(a.Address)
		}
		if i%2 == 1 && peerKeys[out[i-1]] {
			key += fmt.Sprint(" ", out[i])
		}
	}
	if at < slog.LevelInfo {
		l.log.Log(context.Background(), at, msg, out...)
		return
	}
	l.sparse.write(at, key, msg, out...)
}

// peerKeys name the node that a line of Raft's is about.
var peerKeys = map[any]bool{"peer": true, "target": true, "server_id": true}

var snakeCase = strings.NewReplacer("-", "_", " ", "_")

// formatted is an hclog.Format as its parts: a verb is of no use to a structured log.
func formatted(f hclog.Format) any {
	if len(f) == 2 {
		return f[1]
	}
	return []any(f)
}

func (l raftLog) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l raftLog) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l raftLog) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l raftLog) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l raftLog) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

func (l raftLog) enabled(level hclog.Level) bool {
	return l.log.Enabled(context.Background(), slogLevel(level))
}
func (l raftLog) IsTrace() bool { return l.enabled(hclog.Trace) }
func (l raftLog) IsDebug() bool { return l.enabled(hclog.Debug) }
func (l raftLog) IsInfo() bool  { return l.enabled(hclog.Info) }
func (l raftLog) IsWarn() bool  { return l.enabled(hclog.Warn) }
func (l raftLog) IsError() bool { return l.enabled(hclog.Error) }

func (l raftLog) ImpliedArgs() []any { return l.args }

func (l raftLog) With(args ...any) hclog.Logger {
	return raftLog{log: l.log.With(args...), sparse: l.sparse, name: l.name, args: append(append([]any(nil), l.args...), args...)}
}
func (l raftLog) Name() string { return l.name }
func (l raftLog) Named(s string) hclog.Logger {
	return raftLog{log: l.log, sparse: l.sparse, name: s, args: l.args}
}
func (l raftLog) ResetNamed(s string) hclog.Logger { return l.Named(s) }
func (l raftLog) SetLevel(hclog.Level)             {}
func (l raftLog) GetLevel() hclog.Level            { return hclog.NoLevel }

func (l raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)
}

func (l raftLog) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(o).Writer()
}
