package node

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	sparseEvery = time.Minute
	sparseKeys  = 256
)

// sparseLog says the same thing at most once a minute, and no more than 256 things in that time: what strangers send must
// not fill the disk.
type sparseLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	last map[string]time.Time
}

func newSparseLog(log *slog.Logger) *sparseLog {
	return &sparseLog{log: log, last: map[string]time.Time{}}
}

// warn writes a line unless one of the same key was written within the last minute.
func (s *sparseLog) warn(key, msg string, args ...any) {
	if s.due(key, time.Now()) {
		s.log.Warn(msg, args...)
	}
}

func (s *sparseLog) due(key string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, said := s.last[key]; said && now.Sub(at) < sparseEvery {
		return false
	}
	if len(s.last) >= sparseKeys {
		for k, at := range s.last {
			if now.Sub(at) >= sparseEvery {
				delete(s.last, k)
			}
		}
	}
	if len(s.last) >= sparseKeys {
		return false
	}
	s.last[key] = now
	return true
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
