package daemon

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
)

// logSink takes the log: into a file that can be opened anew after it was moved away, or to stderr. The end of it stays in
// memory, for bug reports.
type logSink struct {
	stderr io.Writer
	mu     sync.Mutex
	file   *os.File // nil: stderr
	tail   []byte
}

// tailSize is how much of the log is kept in memory at least, in bytes; at most it is twice as much.
const tailSize = 128 << 10

// openLog opens the log at a path, "" being stderr.
func openLog(stderr io.Writer, path string) (*logSink, error) {
	l := &logSink{stderr: stderr}
	f, err := openLogFile(path)
	l.file = f
	return l, err
}

// openLogFile opens a log file; "" is none.
func openLogFile(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("logfile: %w", err)
	}
	return f, nil
}

// use goes on in another file, nil being stderr.
func (l *logSink) use(f *os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file = f
}

func (l *logSink) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep(p)
	if l.file == nil {
		return l.stderr.Write(p)
	}
	return l.file.Write(p)
}

func (l *logSink) keep(p []byte) {
	p = p[max(0, len(p)-tailSize):]
	if len(l.tail)+len(p) > 2*tailSize {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-tailSize:]...)
	}
	l.tail = append(l.tail, p...)
}

// writeTail tells the end of the log, in whole lines.
func (l *logSink) writeTail(w io.Writer) error {
	l.mu.Lock()
	text := bytes.Clone(l.tail)
	l.mu.Unlock()
	if len(text) >= tailSize { // it may begin in the midst of a line
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	_, err := w.Write(text)
	return err
}

// Close closes the file.
func (l *logSink) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

func newLogger(w io.Writer, c *conf.Config, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == conf.FormatJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// levelOf maps Redis's words. Verbose lies between slog's debug and info.
func levelOf(word string) slog.Level {
	switch word {
	case "debug":
		return slog.LevelDebug
	case "verbose":
		return slog.LevelDebug + 2
	case "warning":
		return slog.LevelWarn
	case "nothing":
		return slog.LevelError + 100
	}
	return slog.LevelInfo
}
