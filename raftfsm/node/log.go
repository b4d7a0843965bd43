package node

import (
	"context"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// raftLog lets hashicorp/raft write to a slog.Logger. Raft tells of every election and every failed heartbeat; what matters
// of it this package logs itself, so that each level is written one lower than Raft means it.
type raftLog struct {
	log  *slog.Logger
	name string
	args []any
}

var _ hclog.Logger = raftLog{}

func newRaftLog(log *slog.Logger) hclog.Logger { return raftLog{log: log.With("component", "raft")} }

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
	if !l.log.Enabled(context.Background(), at) {
		return
	}
	for i, a := range args {
		switch a := a.(type) {
		case string:
			if i%2 == 0 {
				args[i] = strings.ReplaceAll(a, "-", "_")
			}
		case hclog.Format:
			args[i] = formatted(a)
		}
	}
	l.log.Log(context.Background(), at, msg, args...)
}

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
	return raftLog{log: l.log.With(args...), name: l.name, args: append(append([]any(nil), l.args...), args...)}
}
func (l raftLog) Name() string                     { return l.name }
func (l raftLog) Named(s string) hclog.Logger      { return raftLog{log: l.log, name: s, args: l.args} }
func (l raftLog) ResetNamed(s string) hclog.Logger { return l.Named(s) }
func (l raftLog) SetLevel(hclog.Level)             {}
func (l raftLog) GetLevel() hclog.Level            { return hclog.NoLevel }

func (l raftLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.log.Handler(), slog.LevelDebug)
}

func (l raftLog) StandardWriter(o *hclog.StandardLoggerOptions) io.Writer {
	return l.StandardLogger(o).Writer()
}
