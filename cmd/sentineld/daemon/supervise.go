package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/api/web"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// statusEvery bounds how often the service manager is told how the node is; statusAnyway is how soon what does not come
	// from the log is told.
	statusEvery  = time.Second
	statusAnyway = 5 * time.Second
	// signsPerInterval is how often, in each interval of the watchdog, the node looks whether it lives: only if it did at none
	// of these moments is it ended.
	signsPerInterval = 10
	// statusLimit bounds a status, in bytes.
	statusLimit = 300
)

// Supervisor is the service manager that has started the process.
type Supervisor struct {
	// Tell sends it assignments as sd_notify(3) has them; nil: there is none.
	Tell func(assignments string) error
	// Watchdog is the interval in which it wants a sign of life; 0: it wants none.
	Watchdog time.Duration
}

// supervised is what the service manager has been told.
type supervised struct {
	Supervisor
	log *slog.Logger

	mu       sync.Mutex
	ready    bool
	stopping bool
	failed   bool   // the last message did not arrive
	refused  bool   // the configuration that the last reload read
	line     string // how the node is
	status   string // told last
}

// send sends assignments, and the status where that is another than before. The caller holds mu.
func (s *supervised) send(assignments ...string) {
	status := s.line
	if s.refused {
		status = "the last reload was refused, see the log; " + status
	}
	if status = oneLine(status); status != s.status {
		s.status = status
		assignments = append(assignments, "STATUS="+status)
	}
	if s.Tell == nil || len(assignments) == 0 {
		return
	}
	err := s.Tell(strings.Join(assignments, "\n"))
	if err != nil && !s.failed {
		s.log.Warn("the service manager is not told how this node is", "error", err)
	}
	if s.failed = err != nil; s.failed {
		s.status = "" // it is told again
	}
}

// describe tells how the node is.
func (s *supervised) describe(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.line = line
		s.send()
	}
}

// oneLine is text without line breaks, which would end the assignment, and of a bounded length.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > statusLimit {
		text = strings.ToValidUTF8(text[:statusLimit], "") + "..."
	}
	return text
}

// begun tells that the node is up.
func (s *supervised) begun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready && !s.stopping {
		s.ready = true
		s.send("READY=1")
	}
}

// reload tells that the node reads its configuration, has it do so, and tells that it has done. READY=1 stands for a
// configuration that was refused too: the node runs on. Before the node is up nothing is told, for READY=1 would say that it is.
func (s *supervised) reload(read func() (done bool)) {
	s.mu.Lock()
	ready := s.ready && !s.stopping
	if ready {
		s.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", monotonicMicroseconds()))
	}
	s.mu.Unlock()
	done := read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return
	}
	s.refused = !done
	if ready {
		s.send("READY=1")
	}
}

// monotonicMicroseconds is the clock by which a service manager tells a reload from the one before.
func monotonicMicroseconds() int64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return now.Nano() / int64(time.Microsecond)
}

// stop tells that the node ends. Nothing is told after it.
func (s *supervised) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.stopping, s.refused, s.line = true, false, "stopping"
		s.send("STOPPING=1")
	}
}

// sign gives the watchdog a sign of life.
func (s *supervised) sign() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send("WATCHDOG=1")
}

// describes keeps the service manager's word for this node current until ctx ends, and says when it is up: its ports are open
// and what it told before a restart is loaded. That needs no leader and no other node: see docs/systemd.md.
func (d *Daemon) describes(ctx context.Context) error {
	if d.supervised.Tell == nil {
		return nil
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	recalled := d.node.Recalled()
	var told time.Time
	var before string
	for {
		// What the state holds is counted anew only where it may have changed.
		key := d.statusKey()
		if key != before || time.Since(told) >= statusAnyway {
			d.supervised.describe(d.statusLine(ctx))
			told, before = time.Now(), key
		}
		select {
		case <-ctx.Done():
			return nil
		case <-recalled:
			recalled = nil
			d.supervised.begun()
		case <-tick.C:
		}
	}
}

// statusKey differs where the status may.
func (d *Daemon) statusKey() string {
	s := d.Status()
	return fmt.Sprint(s.Role, s.LeaderID, s.AppliedIndex, s.Loading, s.Waiting)
}

// statusLine is what `systemctl status` shows.
func (d *Daemon) statusLine(ctx context.Context) string {
	s := d.Status()
	switch {
	case s.Role == "removed":
		return "removed from the cluster; to join again, empty its dir"
	case s.Waiting != "":
		return "waits for a cluster: " + s.Waiting
	}
	select {
	case <-d.node.Recalled():
	default:
		return "reads its own log"
	}
	answer, err := sentinelv1.NewClusterServiceClient(d.api.Direct()).GetStatus(ctx,
		&sentinelv1.GetStatusRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
	if err != nil {
		return err.Error()
	}
	line := "leads"
	switch {
	case s.Role == api.RoleLeader:
	case web.HearsLeader(s) == nil:
		line = "follows " + answer.GetLeaderNodeId()
	case s.Loading:
		return "waits for a leader, to be no older than before the restart"
	default:
		return fmt.Sprintf("waits for a leader, and tells what it knew; %d nodes, %d masters", answer.GetMembers(), answer.GetMasters())
	}
	line += fmt.Sprintf("; %d nodes, %d masters", answer.GetMembers(), answer.GetMasters())
	if problems := answer.GetProblems(); len(problems) > 0 {
		line += fmt.Sprintf("; problems: %d, the first: %s", len(problems), problems[0])
	}
	return line
}

// lives gives the watchdog its signs until ctx ends: the checks are those of /livez.
func (d *Daemon) lives(ctx context.Context) error {
	if d.supervised.Tell == nil || d.supervised.Watchdog <= 0 {
		return nil
	}
	tick := time.NewTicker(max(d.supervised.Watchdog/signsPerInterval, time.Millisecond))
	defer tick.Stop()
	well := true
	for {
		err := d.web.Alive()
		if err == nil {
			d.supervised.sign()
		}
		if well != (err == nil) {
			well = err == nil
			d.tellLife(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (d *Daemon) tellLife(err error) {
	if err == nil {
		d.log.Info("every part shows life again")
		return
	}
	d.log.Error("a part shows no life; the service manager ends this process unless it comes back", "error", err,
		"watchdog_ms", d.supervised.Watchdog.Milliseconds())
}
