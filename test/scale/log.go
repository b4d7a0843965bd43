package scale

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

const (
	logSets   = 500
	logRounds = 20 // of failovers of all sets: 10,000
	// patience is the down-after: with a shorter one so many servers on one machine are asked more often than it can answer.
	patience = 10 * time.Second
)

// longLog has every master fail over again and again, and then looks at what that has left on the disk of each node, and at how
// soon one that was killed is back.
func longLog(ctx context.Context, o Options, _ bool) (out sample, err error) {
	w, err := newWorld(ctx, o, false, logSets, 0, "sentinel failover-brake 0")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	_, err = w.importAll(ctx, w.sets, fmt.Sprintf("down-after-milliseconds %d", patience.Milliseconds()), "failover-cooldown 0")
	if err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	out = sample{}
	for round := range logRounds {
		begun := time.Now()
		took, err := w.switches(ctx, w.sets)
		if err != nil {
			return nil, err
		}
		_, most := spread(took, patience)
		if err := w.comeBack(ctx); err != nil {
			return nil, err
		}
		used, err := w.disk()
		if err != nil {
			return nil, err
		}
		out["log-disk"] = max(out["log-disk"], used)
		o.say("round %d: the last of %d switches took %.0f ms, the round %v; %.1f MiB on disk",
			round+1, len(took), most, time.Since(begun).Round(time.Second), used)
	}
	nodes := w.watcher.(*lab.Sentineld).Cluster.Nodes
	out["log-restart"], err = w.restart(ctx, nodes[len(nodes)-1])
	return out, err
}

// disk is how much the largest node's data directory takes on disk, in MiB.
func (w *world) disk() (most float64, err error) {
	for _, n := range w.watcher.(*lab.Sentineld).Cluster.Nodes {
		used, err := diskOf(filepath.Join(n.Dir(), "data"))
		if err != nil {
			return 0, err
		}
		most = max(most, used/(1<<20))
	}
	return most, nil
}

// comeBack starts the dead masters again, waits until every node has seen them follow their former replicas, and until that is
// committed: who dies before is not known to have a replica with its data.
func (w *world) comeBack(ctx context.Context) error {
	for _, s := range w.sets {
		if _, err := s.farm.tell("RESTART", fmt.Sprint(s.server)); err != nil {
			return err
		}
		s.master, s.replica = s.replica, s.master
		s.server ^= 1
	}
	for _, n := range w.nodes {
		for _, s := range w.sets {
			if err := until(ctx, func(ctx context.Context) error { return follows(ctx, n, s) }); err != nil {
				return err
			}
		}
	}
	return sleep(ctx, 2*time.Second)
}

// follows tells why a node does not yet see the replica of a set in step with its master, and the failover as over.
func follows(ctx context.Context, n *redis.Client, s *set) error {
	replicas, err := n.Do(ctx, "SENTINEL", "REPLICAS", s.name).Slice()
	if err != nil || len(replicas) != 1 {
		return fmt.Errorf("%s: %d replicas: %w", s.name, len(replicas), err)
	}
	r := fields(replicas[0])
	if at := net.JoinHostPort(r["ip"], r["port"]); at != s.replica || r["flags"] != "slave" || r["master-link-status"] != "ok" {
		return fmt.Errorf("%s: replica %s: flags %s, link %s", s.name, at, r["flags"], r["master-link-status"])
	}
	m, err := n.Do(ctx, "SENTINEL", "MASTER", s.name).Result()
	if err != nil || strings.Contains(fields(m)["flags"], "failover") {
		return fmt.Errorf("%s: %v: %w", s.name, m, err)
	}
	return nil
}

// diskOf is how many bytes of its disk a directory takes.
func diskOf(dir string) (bytes float64, err error) {
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		bytes += float64(info.Sys().(*syscall.Stat_t).Blocks) * 512
		return nil
	})
	return bytes, err
}

// restart kills a node and starts it again, and tells for how long it was not ready: it answers on the Sentinel port, knows a
// master, and says of itself that it is behind with nothing.
func (w *world) restart(ctx context.Context, node *stage.Node) (float64, error) {
	if err := node.Kill(); err != nil {
		return 0, err
	}
	client := redis.NewClient(lab.Plain(node.Addr()))
	defer func() { _ = client.Close() }()
	begun := time.Now()
	if err := node.Launch(); err != nil {
		return 0, err
	}
	err := until(ctx, func(ctx context.Context) error {
		if err := client.Ping(ctx).Err(); err != nil {
			return err
		}
		if a, err := w.ask(ctx, client, w.sets[0].name); err != nil || a != w.sets[0].master {
			return fmt.Errorf("the master is %s: %w", a, err)
		}
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node.HTTPAddr()+"/readyz", nil)
		if err != nil {
			return err
		}
		r, err := http.DefaultClient.Do(q)
		if err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
		if r.StatusCode != http.StatusOK {
			return errors.New(r.Status)
		}
		return nil
	})
	return millisSince(begun), err
}
