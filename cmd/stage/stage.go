package stage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

var (
	errNoRedis   = errors.New("no Redis server on this machine")
	errNoNode    = errors.New("no sentineld on this machine")
	errNoPorts   = errors.New("no free ports")
	errClosed    = errors.New("stage is closed")
	errRunning   = errors.New("already running")
	errStopped   = errors.New("not running")
	errNotReady  = errors.New("not ready in time")
	errUnstopped = errors.New("did not stop in time")
)

// Stage owns processes, ports and one temporary directory. Everything that was started through it ends with it.
type Stage struct {
	dir   string
	block *block

	mu     sync.Mutex
	redis  string
	procs  []*Process
	closed bool
}

// New makes a stage with a directory of its own under parent; an empty parent is the system's directory for temporary
// files. Nothing runs yet. The caller closes it, on failure too.
func New(parent string) (*Stage, error) {
	dir, err := os.MkdirTemp(parent, "sentineld-stage-")
	if err != nil {
		return nil, fmt.Errorf("make the stage's directory: %w", err)
	}
	b, err := reserveBlock()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Stage{dir: dir, block: b}, nil
}

// Dir is the stage's directory; it is removed by Close.
func (s *Stage) Dir() string { return s.dir }

// Close kills every process that is left, frozen ones too, waits for their ends, gives the ports back and removes the
// directory. It may be called more than once.
func (s *Stage) Close() error {
	s.mu.Lock()
	procs, closed := s.procs, s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	for _, p := range procs {
		p.retire()
	}
	err := KillAll(procs...)
	s.block.release()
	return errors.Join(err, os.RemoveAll(s.dir))
}

// WriteLogs writes the last limit bytes of what each process has said, in the order in which they were made.
func (s *Stage) WriteLogs(w io.Writer, limit int64) error {
	s.mu.Lock()
	procs := s.procs
	s.mu.Unlock()
	for _, p := range procs {
		if _, err := fmt.Fprintf(w, "--- %s (%s)\n%s\n", p.name, p.logPath, tail(p.logPath, limit)); err != nil {
			return err
		}
	}
	return nil
}

// add makes the process known to Close before it can be started.
func (s *Stage) add(p *Process) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("%s: %w", p.name, errClosed)
	}
	s.procs = append(slices.Clip(s.procs), p)
	return nil
}

// redisServer finds the server once.
func (s *Stage) redisServer() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redis != "" {
		return s.redis, nil
	}
	path, err := FindRedis(s.dir)
	s.redis = path
	return path, err
}

func (s *Stage) room(name string) (string, error) {
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of %s: %w", name, err)
	}
	return dir, nil
}

// tail is the end of a file, or why it cannot be read.
func tail(path string, limit int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > limit {
		if _, err := f.Seek(-limit, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
