package stage

import (
	"cmp"
	"fmt"
	"path/filepath"
)

// SentinelOptions say how a Redis Sentinel is started. The zero value watches nothing, on a free port.
type SentinelOptions struct {
	// Name is unique on the stage; empty: sentinel-PORT.
	Name string
	// Port on 127.0.0.1; 0: a free one.
	Port int
	// Config are further lines of sentinel.conf.
	Config []string
}

// Sentinel is one real Redis Sentinel on 127.0.0.1, to compare with and to import from.
type Sentinel struct {
	*Process
	port int
}

// Sentinel makes a Redis Sentinel that does not run yet.
func (s *Stage) Sentinel(o SentinelOptions) (*Sentinel, error) {
	path, err := s.redisServer()
	if err != nil {
		return nil, err
	}
	if o.Port == 0 {
		if o.Port, err = s.block.single(); err != nil {
			return nil, err
		}
	}
	o.Name = cmp.Or(o.Name, fmt.Sprintf("sentinel-%d", o.Port))
	dir, err := s.room(o.Name)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "sentinel.conf")
	lines := []string{"bind 127.0.0.1", fmt.Sprintf("port %d", o.Port), fmt.Sprintf("dir %q", dir), "protected-mode no"}
	if err := writeLines(conf, append(lines, o.Config...)); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	v := &Sentinel{port: o.Port}
	v.Process = &Process{
		name: o.Name, path: path, args: []string{conf, "--sentinel"}, dir: dir,
		logPath: filepath.Join(dir, "log"), ready: []string{v.Addr()},
	}
	return v, s.add(v.Process)
}

// Addr is HOST:PORT.
func (v *Sentinel) Addr() string { return local(v.port) }
