//go:build linux

package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// setName is the set's: a Redis on each host, one of them the master.
	setName   = "mymaster"
	redisPort = "6379"
	redisUnit = "redis-server.service"
	// downAfter leaves room for two processors that boot hosts and unpack packages meanwhile.
	downAfter = 2 * time.Second
)

// redisService is like Debian's, but that what was killed stays down.
const redisService = `[Unit]
Description=Redis
After=network.target

[Service]
Type=notify
ExecStart=/usr/bin/redis-server /etc/redis/redis.conf
StateDirectory=redis
TimeoutStopSec=30s

[Install]
WantedBy=multi-user.target
`

const redisConf = `bind 0.0.0.0
protected-mode no
supervised systemd
dir /var/lib/redis
appendonly yes
repl-diskless-sync-delay 0
`

// startRedis makes a Redis of the host that follows another, or none, and starts it now and at each boot.
func startRedis(t *testing.T, h, master *host) {
	t.Helper()
	config := redisConf
	if master != nil {
		config += "replicaof " + master.addr + " " + redisPort + "\n"
	}
	must(t, errors.Join(
		h.write("/etc/redis/redis.conf", config, 0o644),
		h.write("/etc/systemd/system/"+redisUnit, redisService, 0o644),
	))
	sh(t, h, "systemctl", "daemon-reload")
	sh(t, h, "systemctl", "enable", "--now", redisUnit)
}

// picture is what must stay as it is where no master is moved.
type picture struct {
	master *host
	epoch  uint64
	// failovers is how many the history tells of.
	failovers int
}

// picture is how the set stands.
func (l *lab) picture(t *testing.T, asked *host) picture {
	t.Helper()
	var p picture
	eventually(t, asked.name+" tells of the set", soon, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		m, err := asked.api.masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: setName})
		if err != nil {
			return err
		}
		f, err := asked.api.admin.ListFailovers(ctx, &sentinelv1.ListFailoversRequest{Name: setName})
		if err != nil {
			return err
		}
		p = picture{epoch: m.GetMaster().GetEpoch(), failovers: len(f.GetFailovers())}
		for _, h := range l.hosts {
			if text(m.GetMaster().GetAddress()) == h.redis() {
				p.master = h
				return nil
			}
		}
		return fmt.Errorf("the master is %v", m.GetMaster().GetAddress())
	})
	return p
}

// inSync waits until every node knows that the replicas have the history that the master has now: without that none takes its place.
func (l *lab) inSync(t *testing.T, master *host) {
	t.Helper()
	eventually(t, "every node knows the replicas in sync", patience, func(ctx context.Context) error {
		for _, h := range l.hosts {
			r, err := h.api.masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: setName})
			if err != nil {
				return err
			}
			history := ""
			for _, in := range r.GetMaster().GetInstances() {
				if text(in.GetAddress()) == master.redis() {
					history = in.GetReplId()
				}
			}
			for _, in := range r.GetMaster().GetInstances() {
				if text(in.GetAddress()) != master.redis() && (history == "" || in.GetSyncedReplId() != history) {
					return fmt.Errorf("%s: %s is known in sync under %q, and its master's history is %q",
						h.name, text(in.GetAddress()), in.GetSyncedReplId(), history)
				}
			}
		}
		return nil
	})
}

// unmoved checks that no master was moved since, nor was it tried.
func (l *lab) unmoved(t *testing.T, asked *host, before picture) {
	t.Helper()
	if now := l.picture(t, asked); now != before {
		t.Fatalf("the master is %s of epoch %d after %d failovers; it was %s of %d after %d", now.master.name, now.epoch, now.failovers,
			before.master.name, before.epoch, before.failovers)
	}
}

// redis is the address of the host's Redis.
func (h *host) redis() string { return net.JoinHostPort(h.addr, redisPort) }

// switched waits until all the nodes name another master than before, over the Sentinel protocol, and gives it.
func (l *lab) switched(t *testing.T, before *host, nodes ...*host) *host {
	t.Helper()
	var master *host
	eventually(t, "every node names the same new master", soon, func(ctx context.Context) error {
		master = nil
		for _, n := range nodes {
			named, err := l.named(ctx, n)
			if err != nil {
				return err
			}
			if named == before || master != nil && named != master {
				return fmt.Errorf("%s names %s", n.name, named.name)
			}
			master = named
		}
		return nil
	})
	return master
}

// named is the host of the master that a node names over the Sentinel protocol.
func (l *lab) named(ctx context.Context, node *host) (*host, error) {
	c := redis.NewSentinelClient(&redis.Options{Addr: net.JoinHostPort(node.addr, "26379"), MaxRetries: -1})
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addr, err := c.GetMasterAddrByName(ctx, setName).Result()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", node.name, err)
	}
	for _, h := range l.hosts {
		if h.redis() == net.JoinHostPort(addr[0], addr[1]) {
			return h, nil
		}
	}
	return nil, fmt.Errorf("%s names %v", node.name, addr)
}

// following waits until every other Redis follows the master and has what the master had, by what they say themselves.
func (l *lab) following(t *testing.T, master *host) {
	t.Helper()
	had := int64(-1)
	eventually(t, "every Redis follows "+master.name, patience, func(ctx context.Context) error {
		role, err := master.role(ctx)
		if err != nil {
			return err
		}
		if role.name != "master" {
			return fmt.Errorf("%s says %v", master.name, role)
		}
		if had < 0 {
			had = role.offset
		}
		for _, h := range l.others(master) {
			role, err := h.role(ctx)
			if err != nil {
				return err
			}
			if role.follows != master.addr || role.link != "connected" || role.offset < had {
				return fmt.Errorf("%s says %v, of %d bytes", h.name, role, had)
			}
		}
		return nil
	})
}

// role is what a Redis says of itself.
type role struct {
	name string // master or slave
	// Whom it follows, and how its link is; of a replica.
	follows, link string
	// Replication offset.
	offset int64
}

// role asks the host's Redis.
func (h *host) role(ctx context.Context) (role, error) {
	c := redis.NewClient(&redis.Options{Addr: h.redis(), MaxRetries: -1})
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	said, err := c.Do(ctx, "ROLE").Slice()
	if err != nil {
		return role{}, fmt.Errorf("%s: %w", h.name, err)
	}
	var out role
	switch {
	case len(said) == 3 && said[0] == "master":
		out.name = "master"
		out.offset, _ = said[1].(int64)
	case len(said) == 5 && said[0] == "slave":
		out.name, out.follows, out.link = "slave", fmt.Sprint(said[1]), fmt.Sprint(said[3])
		out.offset, _ = said[4].(int64)
	default:
		return role{}, fmt.Errorf("%s says %v", h.name, said)
	}
	return out, nil
}

// writer writes to the master that Sentinels name, each key once, and remembers what was acknowledged.
type writer struct {
	client *redis.Client
	stop   context.CancelFunc
	done   chan struct{}
	count  atomic.Int64
	// Read these once done is closed.
	acked []string
	gap   time.Duration // The longest between two acknowledged writes.
}

// newWriter begins to write.
func (l *lab) newWriter(t *testing.T) *writer {
	t.Helper()
	var sentinels []string
	for _, h := range l.hosts {
		sentinels = append(sentinels, net.JoinHostPort(h.addr, "26379"))
	}
	ctx, stop := context.WithCancel(t.Context())
	w := &writer{
		client: redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: setName, SentinelAddrs: sentinels, MaxRetries: -1, DialTimeout: time.Second,
			ReadTimeout: time.Second, WriteTimeout: time.Second,
		}),
		stop: stop, done: make(chan struct{}),
	}
	t.Cleanup(func() {
		stop()
		<-w.done
		_ = w.client.Close()
	})
	prefix := "written:" + strconv.FormatInt(time.Now().UnixNano(), 36) + ":"
	go w.write(ctx, prefix)
	return w
}

func (w *writer) write(ctx context.Context, prefix string) {
	defer close(w.done)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		key := prefix + strconv.Itoa(n)
		if w.client.Set(ctx, key, key, 0).Err() != nil {
			continue
		}
		w.acked = append(w.acked, key)
		w.count.Add(1)
		w.gap = max(w.gap, time.Since(last))
		last = time.Now()
	}
}

// wrote tells that nothing is acknowledged yet.
func (w *writer) wrote() error {
	if w.count.Load() == 0 {
		return errors.New("no write is acknowledged")
	}
	return nil
}

// lost stops writing, and gives how many of the acknowledged writes the host's Redis does not have, and how many there were.
func (w *writer) lost(t *testing.T, master *host) (lost, all int) {
	t.Helper()
	w.stop()
	<-w.done
	c := redis.NewClient(&redis.Options{Addr: master.redis()})
	defer func() { _ = c.Close() }()
	for begin := 0; begin < len(w.acked); begin += 1000 {
		keys := w.acked[begin:min(begin+1000, len(w.acked))]
		values, err := c.MGet(t.Context(), keys...).Result()
		must(t, err)
		for i, v := range values {
			if v != keys[i] {
				lost++
			}
		}
	}
	return lost, len(w.acked)
}
