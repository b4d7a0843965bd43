package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

const (
	// MasterName is the set's.
	MasterName = "mymaster"
	// DownAfter is the set's down-after.
	DownAfter = time.Second
	// Limit bounds one measurement, and the wait for rest between two.
	Limit = 60 * time.Second
	// PollEvery is the pause between two questions.
	PollEvery = 20 * time.Millisecond
)

// Watcher is what watches the set: sentineld or redis-sentinel.
type Watcher interface {
	Name() string
	Start(ctx context.Context) error
	// Procs are its processes, Addrs where each answers as a Sentinel, in the same order.
	Procs() []*stage.Process
	Addrs() []string
	// Monitor puts the master under watch.
	Monitor(ctx context.Context, master string) error
	// Leader is the place in Procs of the node that carries out a failover.
	Leader(ctx context.Context) (int, error)
	// Failover orders a failover although the master is up.
	Failover(ctx context.Context) error
	// Rested tells why it is not yet at rest with the given master and two replicas.
	Rested(ctx context.Context, master string) error
	Close() error
}

// Set is a master with two replicas under watch.
type Set struct {
	Watcher
	// Master is who it was when the set was last at rest.
	Master  *stage.Redis
	servers []*stage.Redis
	clients map[*stage.Redis]*redis.Client
}

// NewSet starts a watcher, which is the set's from now on, and the servers, and has it watch them.
func NewSet(ctx context.Context, s *stage.Stage, w Watcher) (*Set, error) {
	l := &Set{Watcher: w, clients: map[*stage.Redis]*redis.Client{}}
	if err := l.begin(ctx, s); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Set) begin(ctx context.Context, s *stage.Stage) error {
	if err := l.Start(ctx); err != nil {
		return err
	}
	for i := range 3 {
		o := stage.RedisOptions{}
		if i > 0 {
			o.ReplicaOf = l.servers[0].Addr()
		}
		r, err := s.Redis(o)
		if err != nil {
			return err
		}
		if err := r.Start(ctx); err != nil {
			return err
		}
		l.servers = append(l.servers, r)
		l.clients[r] = redis.NewClient(Plain(r.Addr()))
	}
	l.Master = l.servers[0]
	if err := Until(ctx, l.following); err != nil {
		return err
	}
	return l.Monitor(ctx, l.Master.Addr())
}

// Close closes the connections; the processes are the stage's.
func (l *Set) Close() error {
	errs := []error{l.Watcher.Close()}
	for _, c := range l.clients {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// Client speaks to the server itself and does not try again.
func (l *Set) Client(r *stage.Redis) *redis.Client { return l.clients[r] }

// FullSyncs is how many full copies the servers have given to replicas since each was started.
func (l *Set) FullSyncs(ctx context.Context) (int, error) {
	total := 0
	for _, r := range l.servers {
		info, err := l.clients[r].InfoMap(ctx, "stats").Result()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", r.Addr(), err)
		}
		n, err := strconv.Atoi(info["Stats"]["sync_full"])
		if err != nil {
			return 0, fmt.Errorf("%s: sync_full: %w", r.Addr(), err)
		}
		total += n
	}
	return total, nil
}

// following tells why Redis itself is not one master with two replicas in sync, and finds that master.
func (l *Set) following(ctx context.Context) error {
	var master *stage.Redis
	follows := map[string]int{}
	for _, r := range l.servers {
		role, err := l.clients[r].Do(ctx, "ROLE").Slice()
		switch {
		case err != nil:
			return err
		case role[0] == "master" && master != nil:
			return errors.New("two masters")
		case role[0] == "master":
			master = r
		case len(role) < 4 || role[3] != "connected":
			return fmt.Errorf("%s: %v", r.Addr(), role)
		default:
			follows[net.JoinHostPort(fmt.Sprint(role[1]), fmt.Sprint(role[2]))]++
		}
	}
	if master == nil || follows[master.Addr()] != 2 {
		return fmt.Errorf("master %v, followed %v", master, follows)
	}
	l.Master = master
	return nil
}

// Settle revives what has ended, and waits until everything is at rest.
func (l *Set) Settle(ctx context.Context) error {
	for _, p := range l.Procs() {
		if !p.Running() {
			if err := p.Start(ctx); err != nil {
				return err
			}
		}
	}
	for _, r := range l.servers {
		if !r.Running() {
			if err := r.Start(ctx); err != nil {
				return err
			}
		}
	}
	return Until(ctx, func(ctx context.Context) error {
		if err := l.following(ctx); err != nil {
			return err
		}
		return l.Rested(ctx, l.Master.Addr())
	})
}

// Promoted waits until another server than Master says that it is the master, and gives it.
func (l *Set) Promoted(ctx context.Context) (*stage.Redis, error) {
	var promoted *stage.Redis
	err := Until(ctx, func(ctx context.Context) error {
		for _, r := range l.servers {
			if r == l.Master || !r.Running() {
				continue
			}
			role, err := l.clients[r].Do(ctx, "ROLE").Slice()
			if err == nil && role[0] == "master" {
				promoted = r
				return nil
			}
		}
		return errors.New("no replica is promoted")
	})
	return promoted, err
}
