package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/api/client/goredis"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// app is an application that writes by a client that follows the master.
type app struct {
	*set
	cluster *client.Client
	rdb     *goredis.Client
	cancel  context.CancelFunc
	work    sync.WaitGroup

	mu     sync.Mutex
	acked  []acked
	failed []error
}

type acked struct {
	at  time.Time
	key string
}

// newApp writes to the set until stop, each key once, by several connections. The nodes are tried in the order given.
func (s *set) newApp(nodes ...*node) *app {
	s.t.Helper()
	var endpoints []string
	for _, n := range nodes {
		endpoints = append(endpoints, n.GRPCAddr())
	}
	cluster, err := client.Dial(endpoints)
	s.must(err)
	ctx, cancel := context.WithCancel(s.t.Context())
	a := &app{set: s, cluster: cluster, cancel: cancel, rdb: goredis.New(cluster, s.name, &redis.Options{
		ClientName: "app", DialTimeout: soon, ReadTimeout: time.Second,
	})}
	for w := range 4 {
		a.work.Go(func() { a.write(ctx, w) })
	}
	s.t.Cleanup(a.stop)
	a.goesOn()
	return a
}

func (a *app) write(ctx context.Context, worker int) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("app:%d:%d", worker, i)
		// Begun commands are let end: what is not acknowledged is not counted.
		err := a.rdb.Set(context.WithoutCancel(ctx), key, i, 0).Err()
		a.mu.Lock()
		if err == nil {
			a.acked = append(a.acked, acked{time.Now(), key})
		} else {
			a.failed = append(a.failed, err)
		}
		a.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (a *app) stop() {
	a.cancel()
	a.work.Wait()
	_ = a.rdb.Close()
	_ = a.cluster.Close()
}

func (a *app) writes() []acked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.acked)
}

// goesOn waits for a hundred more acknowledged writes.
func (a *app) goesOn() {
	a.t.Helper()
	before := len(a.writes())
	a.eventually("writes go on", soon, func(context.Context) error {
		if n := len(a.writes()) - before; n < 100 {
			a.mu.Lock()
			defer a.mu.Unlock()
			return fmt.Errorf("%d writes, errors %v", n, a.failed)
		}
		return nil
	})
}

// outage stops the writers and is the longest time without an acknowledged write.
func (a *app) outage() time.Duration {
	a.cancel()
	a.work.Wait()
	var longest time.Duration
	for i := range a.acked[1:] {
		longest = max(longest, a.acked[i+1].at.Sub(a.acked[i].at))
	}
	return longest
}

// unharmed fails the test if a write failed.
func (a *app) unharmed() {
	a.t.Helper()
	if len(a.failed) > 0 {
		a.t.Errorf("%d writes failed, the first with: %v", len(a.failed), a.failed[0])
	}
}

// kept fails the test unless the server has every write that was acknowledged.
func (a *app) kept(v *server) {
	a.t.Helper()
	lost := 0
	for part := range slices.Chunk(a.writes(), 1000) {
		var keys []string
		for _, w := range part {
			keys = append(keys, w.key)
		}
		n, err := v.client.Exists(a.t.Context(), keys...).Result()
		a.must(err)
		lost += len(keys) - int(n)
	}
	if lost > 0 {
		a.t.Errorf("%d of %d acknowledged writes are lost", lost, len(a.acked))
	}
}

// connections are the app's to a server.
func (a *app) connections(ctx context.Context, v *server) (int, error) {
	list, err := v.client.Do(ctx, "CLIENT", "LIST").Text()
	return strings.Count(list, " name=app "), err
}

// TestGoRedisCrash: the application's outage is that of the cluster, no command fails, and nothing is lost.
func TestGoRedisCrash(t *testing.T) {
	l := newLab(t)
	s := l.newSet("crash", setOptions{})
	a := s.newApp(l.nodes...)
	l.must(s.servers[0].Kill())
	to := s.switched(s.servers[0])
	a.goesOn()
	outage := a.outage()
	t.Logf("no write was acknowledged for %v, down-after is %v", outage, downAfter)
	if outage < downAfter/2 || outage > 3*downAfter {
		t.Errorf("no write was acknowledged for %v, down-after is %v", outage, downAfter)
	}
	a.unharmed()
	a.kept(to)
}

// TestGoRedisForced: the master lives, and every connection leaves it, those too that wait for an answer.
func TestGoRedisForced(t *testing.T) {
	l := newLab(t)
	s := l.newSet("forced", setOptions{})
	a := s.newApp(l.nodes...)
	former := s.servers[0]
	popped := make(chan error, 1)
	go func() { popped <- a.rdb.BLPop(t.Context(), 0, "queue").Err() }()
	l.eventually("a command waits", soon, func(ctx context.Context) error {
		list, err := former.client.Do(ctx, "CLIENT", "LIST").Text()
		if !strings.Contains(list, "cmd=blpop") {
			return fmt.Errorf("%s, %w", list, err)
		}
		return nil
	})
	begun := time.Now()
	_, err := l.nodes[1].admin.FailoverMaster(t.Context(), &sentinelv1.FailoverMasterRequest{Name: s.name, Force: true})
	l.must(err)
	s.switched(former)
	l.eventually("all connections leave", soon, func(ctx context.Context) error {
		if n, err := a.connections(ctx, former); err != nil || n > 0 {
			return fmt.Errorf("%d are left, %w", n, err)
		}
		return nil
	})
	t.Logf("all connections left the former master within %v of the order", time.Since(begun))
	a.goesOn()
	l.must(a.rdb.RPush(t.Context(), "queue", "x").Err())
	select {
	case err := <-popped:
		l.must(err)
	case <-time.After(soon):
		t.Error("the blocked command was not repeated on the new master")
	}
	outage := a.outage()
	t.Logf("no write was acknowledged for %v", outage)
	if outage > downAfter {
		t.Errorf("no write was acknowledged for %v", outage)
	}
	a.unharmed()
}

// TestGoRedisWatchedNodeFreezes with the master, as where they share a host: the application asks another node. Commands
// that wait for a frozen master end by their read timeout, which go-redis does not repeat.
func TestGoRedisWatchedNodeFreezes(t *testing.T) {
	l := newLab(t)
	s := l.newSet("host", setOptions{})
	watched := l.follower()
	others := slices.DeleteFunc(slices.Clone(l.nodes), func(n *node) bool { return n == watched })
	a := s.newApp(append([]*node{watched}, others...)...)
	l.must(watched.Freeze())
	l.must(s.servers[0].Freeze())
	a.goesOn()
	outage := a.outage()
	t.Logf("no write was acknowledged for %v", outage)
	// Its read timeout, the pause before it asks, and what the frozen node lets pass of the question.
	if outage > 8*time.Second {
		t.Errorf("no write was acknowledged for %v", outage)
	}
	l.must(watched.Thaw())
	l.must(s.servers[0].Thaw())
	s.switched(s.servers[0])
}

// TestGoRedisWithoutLeader: of three nodes one is left. The application is told that nobody can vouch for the master, and
// writes on.
func TestGoRedisWithoutLeader(t *testing.T) {
	l := newLab(t)
	s := l.newSet("alone", setOptions{})
	a := s.newApp(l.nodes...)
	stale := make(chan client.Update)
	go func() {
		was := false
		for u, err := range a.cluster.Watch(t.Context(), s.name) {
			if err == nil && u.Stale != was {
				was = u.Stale
				select {
				case stale <- u:
				case <-t.Context().Done():
					return
				}
			}
		}
	}()
	becomes := func(want bool) {
		t.Helper()
		select {
		case u := <-stale:
			if u.Stale != want || want && u.Age < 2*time.Second {
				t.Errorf("the watch tells %+v", u)
			}
		case <-time.After(soon):
			t.Fatalf("the watch does not tell stale %v", want)
		}
	}
	for _, n := range l.nodes[:2] {
		l.must(n.Kill())
	}
	becomes(true)
	begun := time.Now()
	m, err := a.cluster.Master(t.Context(), s.name)
	if err != nil || !m.Stale || m.Age <= 0 || m.Addr != s.servers[0].at || time.Since(begun) > 2*time.Second {
		t.Errorf("without a leader: %+v, %v after %v", m, err, time.Since(begun))
	}
	a.goesOn()
	for _, n := range l.nodes[:2] {
		l.must(n.Start(t.Context()))
	}
	becomes(false)
	l.eventually("a leader vouches for the master", soon, func(ctx context.Context) error {
		if m, err = a.cluster.Master(ctx, s.name); err == nil && m.Stale {
			err = errors.New("still stale")
		}
		return err
	})
	if outage := a.outage(); outage > downAfter {
		t.Errorf("no write was acknowledged for %v, and the master was well", outage)
	}
	a.unharmed()
	a.kept(s.servers[0])
	s.quiet()
}
