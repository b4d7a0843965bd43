package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/failover/executor"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// local is what the Sentinel protocol changes on this node alone, until it restarts.
type local struct {
	config *conf.Config
	level  *slog.LevelVar
	// announce tells the cluster where this node answers the Sentinel protocol; nil cannot.
	announce func(ctx context.Context, resp raftfsm.Addr) error

	mu   sync.Mutex
	word string // of the level
	ip   string
	port int
}

func newLocal(c *conf.Config, level *slog.LevelVar) *local {
	l := &local{config: c, level: level, word: c.LogLevel, ip: c.AnnounceIP}
	if c.AnnouncePort != c.Port {
		l.port = c.AnnouncePort
	}
	return l
}

// LogLevel implements resp.Local.
func (l *local) LogLevel() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.word
}

// SetLogLevel implements resp.Local.
func (l *local) SetLogLevel(word string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.word = word
	l.level.Set(level(word))
	return nil
}

// Announce implements resp.Local.
func (l *local) Announce() (ip string, port int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ip, l.port
}

// SetAnnounce implements resp.Local. Where Raft and the API are reached stays as it is.
func (l *local) SetAnnounce(ctx context.Context, ip string, port int) error {
	if l.announce == nil {
		return errors.New("where this node is announced cannot be changed while it runs: set announce-ip and announce-port " +
			"in its configuration and restart it")
	}
	anew := *l.config
	anew.AnnounceIP = ip
	host, err := announcedHost(ctx, &anew, ownAddress)
	if err != nil {
		return err
	}
	at := raftfsm.Addr{Host: host, Port: uint16(l.config.Port)}
	if port != 0 {
		at.Port = uint16(port)
	}
	if err := l.announce(ctx, at); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ip, l.port = ip, port
	return nil
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
