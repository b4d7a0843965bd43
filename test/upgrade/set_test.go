package upgrade

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// set is a master with two replicas, whose master is killed again and again.
type set struct {
	t       *testing.T
	name    string
	servers []*stage.Redis
	clients map[*stage.Redis]*redis.Client
	// masters are those that the set had, in order, by what the servers themselves said.
	masters []*stage.Redis
}

func newSet(t *testing.T, s *stage.Stage, name string) *set {
	t.Helper()
	out := &set{t: t, name: name, clients: map[*stage.Redis]*redis.Client{}}
	for i := range 3 {
		o := stage.RedisOptions{Name: fmt.Sprintf("%s-%d", name, i+1)}
		if i > 0 {
			o.ReplicaOf = out.servers[0].Addr()
		}
		r, err := s.Redis(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		out.servers = append(out.servers, r)
		out.clients[r] = redis.NewClient(lab.Plain(r.Addr()))
		t.Cleanup(func() { _ = out.clients[r].Close() })
	}
	out.masters = out.servers[:1]
	if err := lab.Until(t.Context(), out.followed); err != nil {
		t.Fatal(err)
	}
	return out
}

// master is who it was when the set was last at rest.
func (s *set) master() *stage.Redis { return s.masters[len(s.masters)-1] }

// revive waits until a replica is promoted in place of the killed master, starts that again, and waits until both others
// follow the new one.
func (s *set) revive(ctx context.Context) error {
	old := s.master()
	err := lab.Until(ctx, func(ctx context.Context) error {
		for _, r := range s.servers {
			if r == old {
				continue
			}
			if role, err := s.clients[r].Do(ctx, "ROLE").Slice(); err == nil && role[0] == "master" {
				s.masters = append(slices.Clip(s.masters), r)
				return nil
			}
		}
		return fmt.Errorf("%s: nobody is promoted in place of %s", s.name, old.Addr())
	})
	if err != nil {
		return err
	}
	if err := old.Start(ctx); err != nil {
		return err
	}
	return lab.Until(ctx, s.followed)
}

// followed tells why the servers are not one master, as it should be, with two replicas in sync.
func (s *set) followed(ctx context.Context) error {
	host, port, err := net.SplitHostPort(s.master().Addr())
	if err != nil {
		return err
	}
	for _, r := range s.servers {
		role, err := s.clients[r].Do(ctx, "ROLE").Slice()
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", r.Name(), err)
		case r == s.master() && role[0] != "master":
			return fmt.Errorf("%s is no master: %v", r.Name(), role)
		case r != s.master() && (len(role) < 4 || role[1] != host || fmt.Sprint(role[2]) != port || role[3] != "connected"):
			return fmt.Errorf("%s does not follow %s: %v", r.Name(), s.master().Addr(), role)
		}
	}
	return nil
}

// application looks its master up through the Sentinel protocol, one node after the other, and writes there.
type application struct {
	set   *set
	nodes []*redis.Client

	mu sync.Mutex
	// acknowledged counts its writes; told are the addresses that it was told.
	acknowledged int
	told         map[string]bool
}

func newApplication(s *set, nodes []*node) *application {
	a := &application{set: s, told: map[string]bool{}}
	for _, n := range nodes {
		a.nodes = append(a.nodes, redis.NewClient(lab.Plain(n.Addr())))
	}
	return a
}

func (a *application) run(ctx context.Context) {
	defer func() {
		for _, n := range a.nodes {
			_ = n.Close()
		}
	}()
	for i := 0; ctx.Err() == nil; i++ {
		at, err := lookUp(ctx, a.nodes[i%len(a.nodes)], a.set.name)
		if err != nil {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		a.mu.Lock()
		a.told[at] = true
		a.mu.Unlock()
		a.write(ctx, at)
	}
}

// write writes for a second, or until a write is refused or not acknowledged.
func (a *application) write(ctx context.Context, at string) {
	c := redis.NewClient(lab.Plain(at))
	defer func() { _ = c.Close() }()
	for end := time.Now().Add(time.Second); time.Now().Before(end) && c.Incr(ctx, "written").Err() == nil; {
		a.mu.Lock()
		a.acknowledged++
		a.mu.Unlock()
		pause(ctx, 5*time.Millisecond)
	}
	pause(ctx, 10*time.Millisecond)
}

func (a *application) writes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.acknowledged
}

// lookUp asks a node for a set's master as clients of Redis Sentinel do.
func lookUp(ctx context.Context, node *redis.Client, name string) (string, error) {
	words, err := node.Do(ctx, "SENTINEL", "get-master-addr-by-name", name).StringSlice()
	switch {
	case err != nil:
		return "", err
	case len(words) != 2:
		return "", errors.New("no address")
	}
	return net.JoinHostPort(words[0], words[1]), nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
