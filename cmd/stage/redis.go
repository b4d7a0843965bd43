package stage

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
)

// RedisOptions say how a Redis server is started. The zero value is an empty master on a free port.
type RedisOptions struct {
	// Name is unique on the stage; empty: redis-PORT.
	Name string
	// Host is the loopback address that it serves at and announces; empty: 127.0.0.1. Another one, such as 127.0.0.2, stands
	// for another machine.
	Host string
	// Port at the host; 0: a free one.
	Port int
	// ReplicaOf is HOST:PORT of the master; empty: a master.
	ReplicaOf string
	// Config are further lines of redis.conf, which win over the stage's own.
	Config []string
}

// Redis is one real server on a loopback address. Its configuration file is written once, so that what CONFIG REWRITE makes of it
// survives a restart.
type Redis struct {
	*Process
	host string
	port int
	dir  string
}

// Redis makes a server that does not run yet.
func (s *Stage) Redis(o RedisOptions) (*Redis, error) {
	path, err := s.redisServer()
	if err != nil {
		return nil, err
	}
	if o.Port == 0 {
		if o.Port, err = s.block.single(); err != nil {
			return nil, err
		}
	}
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("redis-%d", o.Port)
	}
	dir, err := s.room(o.Name)
	if err != nil {
		return nil, err
	}
	lines := []string{
		"bind " + o.Host,
		"replica-announce-ip " + o.Host,
		fmt.Sprintf("port %d", o.Port),
		fmt.Sprintf("dir %q", dir),
		"daemonize no",
		"protected-mode no",
		`save ""`,
		"appendonly no",
		"repl-diskless-sync yes",
		"repl-diskless-sync-delay 0",
	}
	if o.ReplicaOf != "" {
		host, port, err := net.SplitHostPort(o.ReplicaOf)
		if err != nil {
			return nil, fmt.Errorf("%s: replica of %q: %w", o.Name, o.ReplicaOf, err)
		}
		lines = append(lines, fmt.Sprintf("replicaof %s %s", host, port))
	}
	conf := filepath.Join(dir, "redis.conf")
	if err := writeLines(conf, append(lines, o.Config...)); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	r := &Redis{host: o.Host, port: o.Port, dir: dir}
	r.Process = &Process{
		name: o.Name, path: path, args: []string{conf}, dir: dir,
		logPath: filepath.Join(dir, "log"), ready: []string{r.Addr()},
	}
	return r, s.add(r.Process)
}

// Port is where it listens at its host.
func (r *Redis) Port() int { return r.port }

// Addr is HOST:PORT.
func (r *Redis) Addr() string { return net.JoinHostPort(r.host, strconv.Itoa(r.port)) }

// Dir holds its data, its configuration file redis.conf and its log.
func (r *Redis) Dir() string { return r.dir }
