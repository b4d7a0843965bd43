package scale

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// watcher is three nodes of one kind.
type watcher interface {
	Start(ctx context.Context) error
	Name() string
	Procs() []*stage.Process
	Addrs() []string
	Close() error
}

// world is one cluster of watchers and what they watch.
type world struct {
	o     Options
	stage *stage.Stage
	watcher
	// each is whether a change must be made on every node.
	each  bool
	nodes []*redis.Client
	farms []*farm
	sets  []*set
}

// set is a master with one replica.
type set struct {
	name            string
	master, replica string // HOST:PORT, as they were at first
	// process is a real master; a simulated one is a farm's server.
	process *stage.Process
	farm    *farm
	server  int
}

// newWorld starts the nodes, and servers for so many sets, of which the first are real. Nothing is watched yet.
func newWorld(ctx context.Context, o Options, theirs bool, sets, genuine int, config ...string) (_ *world, err error) {
	s, err := stage.New("")
	if err != nil {
		return nil, err
	}
	w := &world{o: o, stage: s, each: theirs}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if theirs {
		w.watcher, err = lab.NewRedisSentinel(s)
	} else {
		w.watcher, err = lab.NewSentineld(s, o.Node, config...)
	}
	if err != nil {
		return nil, err
	}
	w.profiled()
	if err := w.genuine(ctx, genuine); err != nil {
		return nil, err
	}
	for k := 0; len(w.sets) < sets; k++ {
		if err := w.plant(ctx, k, min(setsPerFarm, sets-len(w.sets))); err != nil {
			return nil, err
		}
	}
	if err := w.Start(ctx); err != nil {
		return nil, err
	}
	for _, a := range w.Addrs() {
		options := lab.Plain(a)
		options.ReadTimeout = limit
		w.nodes = append(w.nodes, redis.NewClient(options))
	}
	return w, until(ctx, w.leads)
}

// leads tells why changes cannot be made yet.
func (w *world) leads(ctx context.Context) error {
	if w.each {
		return nil
	}
	for i, n := range w.nodes {
		text, err := n.Info(ctx, "raft").Result()
		if err != nil {
			return err
		}
		if strings.Contains(text, "raft_leader:\r\n") || !strings.Contains(text, "raft_leader:") {
			return fmt.Errorf("node %d hears no leader", i+1)
		}
	}
	return nil
}

// leaderAndFollower are the places of the leader and of another node.
func (w *world) leaderAndFollower(ctx context.Context) (leader, follower int, err error) {
	err = until(ctx, func(ctx context.Context) error {
		leader, err = w.watcher.(*lab.Sentineld).Leader(ctx)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("find the leader: %w", err)
	}
	return leader, (leader + 1) % len(w.nodes), nil
}

// grpc is HOST:PORT of every node's API.
func (w *world) grpc() string {
	return strings.Join(w.watcher.(*lab.Sentineld).Cluster.GRPCAddrs(), ",")
}

// Close ends everything that runs.
func (w *world) Close() error {
	var errs []error
	for _, n := range w.nodes {
		errs = append(errs, n.Close())
	}
	for _, f := range w.farms {
		if f.conn != nil {
			errs = append(errs, f.conn.Close())
		}
	}
	if w.watcher != nil {
		errs = append(errs, w.watcher.Close())
	}
	return errors.Join(append(errs, w.stage.Close())...)
}

// genuine starts real servers.
func (w *world) genuine(ctx context.Context, n int) error {
	var servers []*stage.Redis
	port, err := w.stage.Port()
	if err != nil {
		return err
	}
	host := hostOf(port, 200)
	for i := range n {
		m, err := w.stage.Redis(stage.RedisOptions{Name: fmt.Sprintf("m%d", i), Host: host, Port: firstPort + 2*i})
		if err != nil {
			return err
		}
		r, err := w.stage.Redis(stage.RedisOptions{Name: fmt.Sprintf("r%d", i), Host: host, Port: firstPort + 2*i + 1, ReplicaOf: m.Addr()})
		if err != nil {
			return err
		}
		servers = append(servers, m, r)
		w.sets = append(w.sets, &set{name: fmt.Sprintf("set-%05d", len(w.sets)), master: m.Addr(), replica: r.Addr(), process: m.Process})
	}
	for _, s := range servers {
		if err := s.Launch(); err != nil {
			return err
		}
	}
	for _, s := range servers {
		if err := s.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// plant starts a farm.
func (w *world) plant(ctx context.Context, k, sets int) error {
	f, err := newFarm(ctx, w.stage, w.o.Farm, k, sets)
	if err != nil {
		return err
	}
	w.farms = append(w.farms, f)
	for i := range sets {
		at := func(n int) string { return net.JoinHostPort(f.host, strconv.Itoa(firstPort+n)) }
		w.sets = append(w.sets, &set{
			name: fmt.Sprintf("set-%05d", len(w.sets)), master: at(2 * i), replica: at(2*i + 1), farm: f, server: 2 * i,
		})
	}
	return nil
}

// monitor puts sets under watch, one call each, on one connection: on one node of sentineld, on each redis-sentinel.
func (w *world) monitor(ctx context.Context, sets []*set) error {
	return w.tellEach(ctx, sets, func(ctx context.Context, n *redis.Client, s *set) error {
		host, port, err := net.SplitHostPort(s.master)
		if err != nil {
			return err
		}
		return n.Do(ctx, "SENTINEL", "MONITOR", s.name, host, port, "2").Err()
	})
}

// tellEach makes one change after the other, wherever it has to be made.
func (w *world) tellEach(ctx context.Context, sets []*set, change func(context.Context, *redis.Client, *set) error) error {
	nodes := w.nodes
	if !w.each {
		nodes = nodes[:1]
	}
	for _, n := range nodes {
		for _, s := range sets {
			if err := change(ctx, n, s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return nil
}

// everywhere waits until every node knows the last and the first of the sets.
func (w *world) everywhere(ctx context.Context, sets []*set) error {
	return until(ctx, func(ctx context.Context) error {
		for i, n := range w.nodes {
			for _, s := range []*set{sets[len(sets)-1], sets[0]} {
				if a, err := w.ask(ctx, n, s.name); err != nil || a == "" {
					return fmt.Errorf("node %d does not know %s yet: %w", i+1, s.name, err)
				}
			}
		}
		return nil
	})
}

// ask is the master's address by one node.
func (w *world) ask(ctx context.Context, n *redis.Client, name string) (string, error) {
	v, err := n.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name).StringSlice()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil || len(v) != 2 {
		return "", fmt.Errorf("address of %s: %v: %w", name, v, err)
	}
	return net.JoinHostPort(v[0], v[1]), nil
}

// settle waits until every node sees every master with its replica and nothing down, and then until every instance has
// been asked for INFO once more.
func (w *world) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*limit)
	defer cancel()
	for {
		err := w.settled(ctx)
		if err == nil {
			return sleep(ctx, 12*time.Second)
		}
		if sleep(ctx, time.Second) != nil {
			return fmt.Errorf("not at rest: %w", err)
		}
	}
}

func (w *world) settled(ctx context.Context) error {
	for i, n := range w.nodes {
		masters, err := n.Do(ctx, "SENTINEL", "MASTERS").Slice()
		if err != nil {
			return err
		}
		if len(masters) != len(w.sets) {
			return fmt.Errorf("node %d watches %d of %d", i+1, len(masters), len(w.sets))
		}
		for _, m := range masters {
			f := fields(m)
			if f["flags"] != "master" || f["num-slaves"] != "1" || f["num-other-sentinels"] != "2" {
				return fmt.Errorf("node %d: %s: flags %s, %s replicas, %s other nodes", i+1, f["name"], f["flags"], f["num-slaves"], f["num-other-sentinels"])
			}
		}
	}
	return nil
}

// fields makes a map of a reply's names and values.
func fields(reply any) map[string]string {
	out := map[string]string{}
	list, _ := reply.([]any)
	for pair := range slices.Chunk(list, 2) {
		if len(pair) == 2 {
			out[fmt.Sprint(pair[0])] = fmt.Sprint(pair[1])
		}
	}
	return out
}

// kill ends the masters of sets at once.
func (w *world) kill(sets []*set) error {
	var procs []*stage.Process
	byFarm := map[*farm][]string{}
	for _, s := range sets {
		if s.process != nil {
			procs = append(procs, s.process)
		} else {
			byFarm[s.farm] = append(byFarm[s.farm], strconv.Itoa(s.server))
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, len(w.farms))
	for i, f := range w.farms {
		if words := byFarm[f]; len(words) > 0 {
			wg.Go(func() { _, errs[i] = f.tell(append([]string{"CRASH"}, words...)...) })
		}
	}
	err := stage.KillAll(procs...)
	wg.Wait()
	return errors.Join(append(errs, err)...)
}

// commands is how many commands all simulated servers have executed.
func (w *world) commands() (total int64, err error) {
	for _, f := range w.farms {
		n, err := f.count()
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
