package daemon

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/raftsentinel/raftsentinel/api/notify"
	"github.com/raftsentinel/raftsentinel/api/resp"
	"github.com/raftsentinel/raftsentinel/failover/executor"
)

// local is what the Sentinel protocol changes on this node alone, until it restarts or its configuration is read again.
type local struct{ d *Daemon }

// LogLevel implements resp.Local.
func (l local) LogLevel() string { return l.d.live.Load().LogLevel }

// SetLogLevel implements resp.Local.
func (l local) SetLogLevel(word string) error {
	l.d.changing.Lock()
	defer l.d.changing.Unlock()
	after := *l.d.live.Load()
	after.LogLevel = word
	l.d.level.Set(levelOf(word))
	l.d.live.Store(&after)
	return nil
}

// Announce implements resp.Local. Port 0 is the port that is listened on.
func (l local) Announce() (ip string, port int) {
	c := l.d.live.Load()
	if c.AnnouncePort == c.Port {
		return c.AnnounceIP, 0
	}
	return c.AnnounceIP, c.AnnouncePort
}

// SetAnnounce implements resp.Local. Where Raft and the API are reached stays as it is.
func (l local) SetAnnounce(ctx context.Context, ip string, port int) error {
	wanted := *l.d.live.Load()
	wanted.AnnounceIP = ip
	host, err := l.d.hostOf(ctx, l.d.live.Load(), &wanted) // it may take a while: what else is changed meanwhile stays
	if err != nil {
		return err
	}
	l.d.changing.Lock()
	defer l.d.changing.Unlock()
	after := *l.d.live.Load()
	after.AnnounceIP, after.AnnouncePort = ip, cmp.Or(port, after.Port)
	l.d.node.AnnounceRESP(sentinelAddr(&after, host))
	l.d.live.Store(&after)
	l.d.host = host
	return nil
}

// jobs are the scripts as the Sentinel protocol shows them.
type jobs struct{ *notify.Scripts }

// Pending implements resp.Scripts.
func (j jobs) Pending() []resp.Script {
	var out []resp.Script
	for _, job := range j.Scripts.Pending() {
		out = append(out, resp.Script(job))
	}
	return out
}

// exitSimulated is Redis Sentinel's status after a simulated failure.
const exitSimulated = 99

// crashes end the process at two points of a failover, where SENTINEL SIMULATE-FAILURE asked for it.
type crashes struct {
	exit                          func(code int)
	log                           *slog.Logger
	afterElection, afterPromotion atomic.Bool
}

func (c *crashes) arm(afterElection, afterPromotion bool) {
	c.afterElection.Store(afterElection)
	c.afterPromotion.Store(afterPromotion)
	c.log.Warn("failure simulation changed", "crash_after_election", afterElection, "crash_after_promotion", afterPromotion)
}

// passed is told each point of a failover. That the row is committed stands for an election that was won.
func (c *crashes) passed(p executor.Point) {
	due := p == executor.AfterBegin && c.afterElection.Load() || p == executor.AfterPromote && c.afterPromotion.Load()
	if !due {
		return
	}
	c.log.Error("failure simulation: the process ends", "point", string(p))
	c.exit(exitSimulated)
}
