package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	sparseEvery = time.Minute
	sparseKeys  = 256
)

// sparseLog says the same thing at most once a minute, with the number of times that it was left out, and no more than 256
// things in that time: neither what strangers send nor a peer that is dead for days must fill the disk.
type sparseLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	last map[string]said
}

// said is when a thing was written last, and how often it was not since.
type said struct {
	at      time.Time
	leftOut int
}

func newSparseLog(log *slog.Logger) *sparseLog {
	return &sparseLog{log: log, last: map[string]said{}}
}

// warn writes a line unless one of the same key was written within the last minute.
func (s *sparseLog) warn(key, msg string, args ...any) { s.write(slog.LevelWarn, key, msg, args...) }

func (s *sparseLog) write(level slog.Level, key, msg string, args ...any) {
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	leftOut, due := s.due(key, time.Now())
	if !due {
		return
	}
	if leftOut > 0 {
		args = append(slices.Clip(args), "left_out", leftOut)
	}
	s.log.Log(context.Background(), level, msg, args...)
}

func (s *sparseLog) due(key string, now time.Time) (leftOut int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.last[key]
	if known && now.Sub(before.at) < sparseEvery {
		before.leftOut++
		s.last[key] = before
		return 0, false
	}
	if len(s.last) >= sparseKeys {
		for k, v := range s.last {
			if now.Sub(v.at) >= sparseEvery {
				delete(s.last, k)
			}
		}
	}
	if len(s.last) >= sparseKeys {
		return 0, false
	}
	s.last[key] = said{at: now}
	return before.leftOut, true
}

// refusalKey tells refusals apart by who is refused and why; errors of the network name ports, which differ each time.
func refusalKey(conn net.Conn, err error) string {
	host, _, splitErr := net.SplitHostPort(conn.RemoteAddr().String())
	if splitErr != nil {
		host = conn.RemoteAddr().String()
	}
	if r, ok := errors.AsType[linkRefusal](err); ok {
		return host + " " + r.reason
	}
	return host
}
