package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// writeEvery is the pause between two writes of a client.
const writeEvery = 5 * time.Millisecond

// write is how one write of a client ended.
type write struct {
	n     int
	at    time.Time
	error string // empty: it was acknowledged
}

// client writes the keys prefix:1, prefix:2 and so on, and goes on whatever happens.
type client struct {
	prefix string
	// read gives what has been told since the last call.
	read   func() ([]write, error)
	writes []write
}

func (c *client) key(w write) string { return fmt.Sprintf("%s:%d", c.prefix, w.n) }

// catchUp takes what the client has told.
func (c *client) catchUp() error {
	more, err := c.read()
	c.writes = append(c.writes, more...)
	if err != nil {
		return fmt.Errorf("%s: %w", c.prefix, err)
	}
	return nil
}

// acked are the acknowledged writes from a moment on.
func (c *client) acked(from time.Time) []write {
	var out []write
	for _, w := range c.writes {
		if w.error == "" && !w.at.Before(from) {
			out = append(out, w)
		}
	}
	return out
}

// outage is the longest time without an acknowledgement that ended between the two moments.
func (c *client) outage(from, to time.Time) time.Duration {
	var longest time.Duration
	var last time.Time
	for _, w := range c.acked(time.Time{}) {
		if !last.IsZero() && w.at.After(from) && !w.at.After(to) {
			longest = max(longest, w.at.Sub(last))
		}
		last = w.at
	}
	return longest
}

// newClients starts all clients that there are.
func newClients(t *testing.T, s *stage.Stage, sentinels []string) []*client {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	script := func(name, program, file string) *client {
		args := append([]string{filepath.Join(here, file), lab.MasterName, name}, sentinels...)
		p, err := s.Program(stage.ProgramOptions{
			Name: name, Path: filepath.Join(programs.room, program), Args: args,
			Env: []string{"NODE_PATH=" + filepath.Join(programs.room, "node_modules")},
		})
		if err == nil {
			err = p.Launch()
		}
		if err != nil {
			t.Fatal(err)
		}
		f := &follower{process: p}
		return &client{prefix: name, read: f.read}
	}
	return []*client{
		goRedis(t, sentinels),
		script("redis-py", "python3", "redis_py.py"),
		script("ioredis", "node", filepath.Join("node", "ioredis.cjs")),
		script("node-redis", "node", filepath.Join("node", "node_redis.cjs")),
	}
}

// follower reads what a client's process writes, while it writes.
type follower struct {
	process *stage.Process
	offset  int64
}

// read gives the outcomes of whole lines; other lines are for people.
func (f *follower) read() ([]write, error) {
	if err := alive(f.process); err != nil {
		return nil, err
	}
	file, err := os.Open(f.process.LogPath())
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.NewSectionReader(file, f.offset, 1<<30))
	if err != nil {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	f.offset += int64(len(text))
	var out []write
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("{")) {
			continue
		}
		var told struct {
			N     int     `json:"n"`
			At    float64 `json:"at"`
			Error string  `json:"error"`
		}
		if err := json.Unmarshal(line, &told); err != nil {
			return out, fmt.Errorf("%q: %w", line, err)
		}
		out = append(out, write{n: told.N, at: time.UnixMicro(int64(told.At * 1e6)), error: told.Error})
	}
	return out, nil
}

// goRedis writes from this process.
func goRedis(t *testing.T, sentinels []string) *client {
	t.Helper()
	const prefix = "go-redis"
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: lab.MasterName, SentinelAddrs: sentinels})
	var mu sync.Mutex
	var told []write
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(writeEvery)
		defer tick.Stop()
		for n := 1; ctx.Err() == nil; n++ {
			w := write{n: n}
			err := c.Set(ctx, fmt.Sprintf("%s:%d", prefix, n), n, 0).Err()
			if w.at = time.Now(); err != nil {
				w.error = err.Error()
			}
			mu.Lock()
			told = append(told, w)
			mu.Unlock()
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return &client{prefix: prefix, read: func() ([]write, error) {
		mu.Lock()
		defer mu.Unlock()
		out := told
		told = nil
		return out, nil
	}}
}
