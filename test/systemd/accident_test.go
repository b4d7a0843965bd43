//go:build linux

package systemd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// failover: the master's process is killed.
func failover(t *testing.T, l *lab) {
	master := l.hosts[0]
	startRedis(t, master, nil)
	for _, h := range l.hosts[1:] {
		startRedis(t, h, master)
	}
	l.following(t, master)
	sh(t, l.hosts[1], "sentinelctl", "monitor", setName, master.addr, redisPort, "2",
		"--set", fmt.Sprintf("down-after-milliseconds=%d", downAfter.Milliseconds()), "--set", "failover-cooldown=0")
	l.healthy(t, l.hosts[1])
	eventually(t, "every replica is known", soon, func(ctx context.Context) error {
		_, err := l.hosts[2].run(ctx, "sentinelctl", "explain", setName)
		return err
	})

	begun := time.Now()
	sh(t, master, "systemctl", "kill", "--signal=KILL", redisUnit)
	next := l.switched(t, master, l.hosts...)
	l.say(t, "%s: its Redis was killed; %.2f s later, with down-after %v, every node names %s", master.name, time.Since(begun).Seconds(),
		downAfter, next.name)
	sh(t, master, "systemctl", "reset-failed", redisUnit)
	sh(t, master, "systemctl", "start", redisUnit)
	l.following(t, next)
	l.healthy(t, master)
	if p := l.picture(t, master); p.master != next || p.failovers != 1 {
		t.Fatalf("the history tells of %d failovers to %s", p.failovers, p.master.name)
	}
	_, told, _ := strings.Cut(sh(t, master, "sentinelctl", "history", setName), "\n")
	l.say(t, "%s: sentinelctl history: %s", master.name, told)
}

// kill: a process that is killed is started again; no master is moved.
func kill(t *testing.T, l *lab) {
	before := l.picture(t, l.hosts[0])
	leader := l.leader(t)
	since, n := mark(t, leader), restarts(t, leader)
	sh(t, leader, "systemctl", "kill", "--signal=KILL", sentineld)
	revived(t, leader, n)
	l.say(t, "%s: killed and back; %s; %s leads", leader.name, tells(t, leader, sentineld, since, "Scheduled restart job"), l.leader(t).name)
	l.healthy(t, leader)
	l.unmoved(t, leader, before)
}

// freeze: a process that is stopped is found by the watchdog, and the others go on without it.
func freeze(t *testing.T, l *lab) {
	before := l.picture(t, l.hosts[0])
	leader := l.leader(t)
	since, n := mark(t, leader), restarts(t, leader)
	begun := time.Now()
	sh(t, leader, "systemctl", "kill", "--kill-whom=main", "--signal=STOP", sentineld)
	others := l.others(leader)
	next := l.leader(t, others...)
	l.say(t, "%s: frozen; %s leads after %.1f s", leader.name, next.name, time.Since(begun).Seconds())
	sh(t, others[0], "sentinelctl", "set", setName, fmt.Sprintf("down-after-milliseconds=%d", downAfter.Milliseconds()+1))
	l.say(t, "%s: a change of an option is committed meanwhile", others[0].name)
	line := tells(t, leader, sentineld, since, "(?i)watchdog timeout")
	revived(t, leader, n)
	l.say(t, "%s: back after %.1f s; %s", leader.name, time.Since(begun).Seconds(), line)
	l.healthy(t, leader)
	l.unmoved(t, leader, before)
}

// stall: a whole host stands still for a while, as virtual machines do. The others go on; when it goes on itself, it takes its own
// absence for nobody else's, and its watchdog does not take the stall for a stuck process.
func stall(t *testing.T, l *lab) {
	before := l.picture(t, l.hosts[0])
	h := l.others(before.master)[0]
	eventually(t, h.name+" leads", soon, func(ctx context.Context) error {
		_, err := h.run(ctx, "sentinelctl", "node", "transfer-leadership", h.name)
		return err
	})
	n := restarts(t, h)
	since := mark(t, h)
	begun := time.Now()
	must(t, h.freeze(true))
	thawed := false
	defer func() {
		if !thawed {
			_ = h.freeze(false)
		}
	}()
	next := l.leader(t, l.others(h)...)
	eventually(t, "its Redis is held down", soon, func(ctx context.Context) error {
		r, err := next.api.masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: setName})
		if err != nil {
			return err
		}
		for _, in := range r.GetMaster().GetInstances() {
			if text(in.GetAddress()) == h.redis() && len(in.GetVotes()) == 2 {
				return nil
			}
		}
		return errors.New("it is not")
	})
	must(t, h.freeze(false))
	thawed = true
	l.say(t, "%s: stood still for %.1f s, %s leads", h.name, time.Since(begun).Seconds(), next.name)
	l.following(t, before.master)
	l.healthy(t, h)
	if now := restarts(t, h); now != n {
		t.Fatalf("%s was restarted: %s", h.name, tells(t, h, sentineld, since, "(?i)watchdog"))
	}
	l.unmoved(t, h, before)
}

// powerCut: all hosts lose their power at once. The one that comes back first is ready for systemd, says what it lacks, and names the
// master that it knew; it touches nothing until a majority is back.
func powerCut(t *testing.T, l *lab) {
	before := l.picture(t, l.hosts[0])
	for _, h := range l.hosts {
		must(t, h.crash(t.Context()))
	}
	begun := time.Now()
	first := before.master
	must(t, first.boot(t.Context()))
	unitIs(t, first, sentineld, "ActiveState=active", "SubState=running")
	l.say(t, "%s: alone after the power cut, ready, STATUS=%s", first.name, statusTells(t, first, "leader"))
	eventually(t, first.name+" names the master", soon, func(ctx context.Context) error {
		named, err := l.named(ctx, first)
		if err == nil && named != before.master {
			t.Fatalf("%s names %s", first.name, named.name)
		}
		return err
	})
	if f := fails(t, first, "sentinelctl", "status", "--wait", "healthy", "--max-wait", "1s"); f.code != 5 && f.code != 3 {
		t.Errorf("%v", f)
	}
	for _, h := range l.others(first) {
		must(t, h.boot(t.Context()))
	}
	l.following(t, before.master)
	l.healthy(t, first)
	l.inSync(t, before.master)
	l.say(t, "all are back after %.1f s", time.Since(begun).Seconds())
	l.unmoved(t, first, before)
}

// partition: the host of leader and master together is cut off. It loses both, and joins again as a follower and a replica.
func partition(t *testing.T, l *lab) {
	alone := l.picture(t, l.hosts[0]).master
	eventually(t, alone.name+" leads", soon, func(ctx context.Context) error {
		_, err := alone.run(ctx, "sentinelctl", "node", "transfer-leadership", alone.name)
		return err
	})
	others := l.others(alone)
	begun := time.Now()
	must(t, l.network.cutOff(alone.name, others[0].name, others[1].name))
	next := l.switched(t, alone, others...)
	l.say(t, "%s: cut off; %s is the master after %.1f s, %s leads", alone.name, next.name, time.Since(begun).Seconds(),
		l.leader(t, others...).name)
	if named, err := l.named(t.Context(), alone); err != nil || named != alone {
		t.Fatalf("%s names %v, %v", alone.name, named, err)
	}
	f := fails(t, alone, "sentinelctl", "set", setName, "parallel-syncs=2")
	if f.code != 3 && f.code != 6 {
		t.Fatalf("a change without a majority: %v", f)
	}
	l.say(t, "%s: names the last master it knows, and refuses a change: exit %d, %s", alone.name, f.code, f.complaint)
	must(t, l.network.heal())
	l.following(t, next)
	l.healthy(t, alone)
	if named, err := l.named(t.Context(), alone); err != nil || named != next {
		t.Fatalf("%s names %v, %v", alone.name, named, err)
	}
}
