//go:build linux

package systemd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// TestSystemd is the life of a cluster, from the installation to the removal. Each chapter begins where the last one ended.
func TestSystemd(t *testing.T) {
	if *rootfs == "" {
		t.Skip("no hosts are booted: make test-systemd, as root, gives this test a root file system and packages")
	}
	l := newLab(t)
	for _, chapter := range []struct {
		name string
		tell func(*testing.T, *lab)
	}{
		{"install", install},
		{"unconfigured", unconfigured},
		{"bad configuration", badConfiguration},
		{"form", form},
		{"form by names", formByNames},
		{"failover", failover},
		{"examine", examine},
		{"back up", backUp},
		{"kill", kill},
		{"freeze", freeze},
		{"stall", stall},
		{"reload", reload},
		{"restart the leader", restartLeader},
		{"drain a node", drainNode},
		{"reboot", reboot},
		{"power cut", powerCut},
		{"partition", partition},
		{"replace", replace},
		{"upgrade", upgrade},
		{"purge", purge},
	} {
		begun := time.Now()
		told := t.Run(chapter.name, func(t *testing.T) { chapter.tell(t, l) })
		l.say(t, "%s: %.1f s", chapter.name, time.Since(begun).Seconds())
		if !told {
			t.FailNow()
		}
	}
}

const (
	configFile = "/etc/sentineld/sentineld.conf"
	secretFile = "/etc/sentineld/secret"
	stateDir   = "/var/lib/sentineld"
)

// config is the same on every host.
func config(peers ...string) string {
	return "bind *\nprotected-mode no\ncluster-peers " + strings.Join(peers, " ") + "\nbootstrap-expect 3\n" +
		"cluster-secret-file " + secretFile + "\n"
}

// configure gives a host its configuration and a secret, which the service's user can read.
func configure(t *testing.T, h *host, config string) {
	t.Helper()
	must(t, errors.Join(h.write(configFile, config, 0o640), h.write(secretFile, "correct horse battery staple\n", 0o640)))
	sh(t, h, "chgrp", "sentineld", configFile, secretFile)
}

// dpkg installs a package.
func dpkg(t *testing.T, h *host, file string) {
	t.Helper()
	must(t, h.copyIn(file, "/root/sentineld.deb"))
	sh(t, h, "dpkg", "--install", "/root/sentineld.deb")
}

// install: the package brings everything and starts nothing.
func install(t *testing.T, l *lab) {
	for _, h := range l.hosts {
		begun := time.Now()
		dpkg(t, h, *deb)
		l.say(t, "%s: dpkg -i, %.1f s", h.name, time.Since(begun).Seconds())
		unitIs(t, h, sentineld, "LoadState=loaded", "ActiveState=inactive", "UnitFileState=disabled")
	}
	h := l.hosts[0]
	l.say(t, "%s: %s, and nothing was started", h.name, sh(t, h, "sentineld", "--version"))
	// systemd 253 and later wait for the end of a reload.
	kind := "notify"
	if _, err := h.run(t.Context(), "sh", "-c", "test $(systemctl --version | awk 'NR == 1 {print int($2)}') -ge 253"); err == nil {
		kind = "notify-reload"
	}
	unitIs(t, h, sentineld, "Type="+kind)
	sh(t, h, "getent", "passwd", "sentineld")
	for path, want := range map[string]string{
		"/usr/bin/sentineld":                        "755 root root",
		"/usr/bin/sentinelctl":                      "755 root root",
		"/usr/lib/systemd/system/sentineld.service": "644 root root",
		configFile: "640 root sentineld",
	} {
		if got := sh(t, h, "stat", "--format=%a %U %G", path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if out := sh(t, h, "dpkg-query", "--show", "--showformat=${Conffiles}", "sentineld"); !strings.Contains(out, configFile) {
		t.Errorf("the configuration is no conffile: %q", out)
	}
	units := strings.Fields(sh(t, h, "sh", "-c", "dpkg -L sentineld | grep -E '/systemd/system/[^/]*[.](service|timer)$'"))
	sh(t, h, append([]string{"systemd-analyze", "verify", "--man=no", "--recursive-errors=yes"}, units...)...)
	exposure, err := h.run(t.Context(), "systemd-analyze", "security", "--no-pager", "--threshold=15", sentineld)
	exposure = lastLine(exposure)
	if err != nil {
		t.Errorf("%s: want at most 1.5", exposure)
	}
	l.say(t, "%s: systemd-analyze verify has nothing against %d units; %s", h.name, len(units), exposure)
}

// unconfigured: a node that nobody has configured is passed over, at each boot too, and says what is missing.
func unconfigured(t *testing.T, l *lab) {
	h := l.hosts[1]
	since := mark(t, h)
	sh(t, h, "systemctl", "start", sentineld)
	unitIs(t, h, sentineld, "ActiveState=inactive")
	l.say(t, "%s: %s", h.name, tells(t, h, sentineld, since, "^not configured"))
}

// badConfiguration: a node with a fault in its configuration says where, and is not started again and again.
func badConfiguration(t *testing.T, l *lab) {
	h := l.hosts[0]
	since := mark(t, h)
	configure(t, h, "bind *\nbootstrap-expect many\n")
	fails(t, h, "systemctl", "start", sentineld)
	unitIs(t, h, sentineld, "ActiveState=failed", "SubState=failed", "ExecMainStatus=2", "NRestarts=0")
	l.say(t, "%s: %s", h.name, tells(t, h, sentineld, since, regexp.QuoteMeta(configFile)+":2:"))
	sh(t, h, "systemctl", "reset-failed", sentineld)
}

// form: each host is ready for systemd as soon as it serves what it has, and the cluster forms with the last one.
func form(t *testing.T, l *lab) {
	for i, h := range l.hosts {
		configure(t, h, config(l.hosts[0].addr, l.hosts[1].addr, l.hosts[2].addr))
		l.startAlone(t, h)
		if i < len(l.hosts)-1 {
			l.waits(t, h)
		}
	}
	l.healthy(t, l.hosts[0])
}

// startAlone starts and enables a node; systemctl returns when it is ready.
func (l *lab) startAlone(t *testing.T, h *host) {
	t.Helper()
	begun := time.Now()
	sh(t, h, "systemctl", "enable", "--now", sentineld)
	unitIs(t, h, sentineld, "ActiveState=active", "SubState=running")
	l.say(t, "%s: systemctl enable --now, ready after %.2f s", h.name, time.Since(begun).Seconds())
}

// waits checks that a node is no member of a cluster and tells systemd what it waits for.
func (l *lab) waits(t *testing.T, h *host) {
	t.Helper()
	eventually(t, h.name+" tells what it waits for", soon, func(ctx context.Context) error {
		told, err := property(ctx, h, sentineld, "StatusText")
		if err != nil || !regexp.MustCompile(`(?i)cluster`).MatchString(told) {
			return fmt.Errorf("STATUS is %q, %v", told, err)
		}
		l.say(t, "%s: STATUS=%s", h.name, told)
		return nil
	})
	if s, err := h.api.status(t.Context()); err == nil && s.GetLeaderNodeId() != "" {
		t.Fatalf("%s has the leader %s", h.name, s.GetLeaderNodeId())
	}
}

// formByNames: a new cluster, whose nodes know each other by names that the first to start cannot resolve yet.
func formByNames(t *testing.T, l *lab) {
	for _, h := range l.hosts {
		sh(t, h, "systemctl", "disable", "--now", sentineld)
		sh(t, h, "sh", "-c", "rm -rf "+stateDir+"/*")
		configure(t, h, config("n1", "n2", "n3"))
	}
	first := l.hosts[0]
	must(t, l.naming(first, nil))
	l.startAlone(t, first)
	l.waits(t, first)
	for _, h := range l.hosts[1:] {
		l.startAlone(t, h)
	}
	l.waits(t, first)
	must(t, l.naming(first, l.hosts))
	l.healthy(t, first)
	unitIs(t, first, sentineld, "NRestarts=0")
}

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

// examine: the doctor finds nothing, and then a cut cable, from both ends.
func examine(t *testing.T, l *lab) {
	a, b, c := l.hosts[0], l.hosts[1], l.hosts[2]
	var told string
	eventually(t, "the doctor finds no problem", soon, func(ctx context.Context) (err error) {
		told, err = a.run(ctx, "sentinelctl", "doctor")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, told)
		}
		return err
	})
	l.say(t, "%s: sentinelctl doctor: %s", a.name, lastLine(told))
	must(t, l.network.cutOff(b.name, c.name))
	told, err := a.run(t.Context(), "sentinelctl", "doctor")
	f, ok := errors.AsType[*failed](err)
	if !ok || f.code != 5 {
		t.Fatalf("the doctor with a cut cable: %v\n%s", err, told)
	}
	for _, pair := range [][2]*host{{b, c}, {c, b}} {
		if !regexp.MustCompile(`(?s)node ` + pair[0].name + `\n.*` + regexp.QuoteMeta(pair[1].addr)).MatchString(told) {
			t.Errorf("the doctor does not say that %s does not reach %s:\n%s", pair[0].name, pair[1].name, told)
		}
	}
	must(t, l.network.heal())
	l.say(t, "%s: with a cable cut between %s and %s: exit 5, %s", a.name, b.name, c.name, lastLine(told))
	l.healthy(t, a)
}

// backUp: the timer's service writes backups, and keeps as many as it is told.
func backUp(t *testing.T, l *lab) {
	const unit = "sentineld-backup.service"
	h := l.hosts[1]
	must(t, h.write("/etc/default/sentineld-backup", "KEEP=1\n", 0o644))
	sh(t, h, "systemctl", "start", unit)
	list := func(ctx context.Context) (string, error) {
		return h.run(ctx, "sh", "-c", "stat --format='%n %a %U' /var/lib/sentineld-backup/*")
	}
	first, err := list(t.Context())
	must(t, err)
	// The name tells the second; two in the same one would be the same file.
	eventually(t, "another backup takes the place of the first", soon, func(ctx context.Context) error {
		if _, err := h.run(ctx, "systemctl", "start", unit); err != nil {
			return err
		}
		second, err := list(ctx)
		if err == nil && (second == first || strings.Count(second, "\n") != 1) {
			err = fmt.Errorf("it was %s, and is %s", first, second)
		}
		first = second
		return err
	})
	file, rest, _ := strings.Cut(strings.TrimSpace(first), " ")
	if rest != "600 sentineld" {
		t.Errorf("%s is %s", file, rest)
	}
	if told := sh(t, h, "sentinelctl", "inspect", file); !strings.Contains(told, setName) {
		t.Errorf("the backup does not hold %s:\n%s", setName, told)
	}
	sh(t, h, "systemctl", "enable", "--now", "sentineld-backup.timer")
	unitIs(t, h, "sentineld-backup.timer", "ActiveState=active", "SubState=waiting")
	l.say(t, "%s: %s, mode and owner %s, holds %s", h.name, file, rest, setName)
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

// reload: a good file is taken over, a bad one is refused and the node runs on.
func reload(t *testing.T, l *lab) {
	h := l.hosts[2]
	good := config("n1", "n2", "n3")
	pid, err := property(t.Context(), h, sentineld, "MainPID")
	must(t, err)

	since := mark(t, h)
	configure(t, h, good+"loglevel debug\n")
	sh(t, h, "systemctl", "reload", sentineld)
	if level := sh(t, h, "redis-cli", "-p", "26379", "SENTINEL", "CONFIG", "GET", "loglevel"); level != "loglevel\ndebug" {
		t.Fatalf("%s: it has the log level %q", h.name, level)
	}
	l.say(t, "%s: reloaded; %s", h.name, tells(t, h, sentineld, since, "configuration reloaded"))

	since = mark(t, h)
	configure(t, h, good+"loglevel deafening\n")
	f := fails(t, h, "systemctl", "reload", sentineld)
	unitIs(t, h, sentineld, "ActiveState=active", "SubState=running", "MainPID="+pid)
	l.say(t, "%s: a bad file, systemctl reload ends with %d; %s", h.name, f.code, tells(t, h, sentineld, since, regexp.QuoteMeta(configFile)+":6:"))

	configure(t, h, good)
	sh(t, h, "systemctl", "reload", sentineld)
	unitIs(t, h, sentineld, "ActiveState=active", "MainPID="+pid)
	l.healthy(t, h)
}

// restartLeader: leadership is handed on, and no master is moved.
func restartLeader(t *testing.T, l *lab) {
	before := l.picture(t, l.hosts[0])
	leader := l.leader(t)
	begun := time.Now()
	sh(t, leader, "systemctl", "restart", sentineld)
	next := l.leader(t)
	l.say(t, "%s: restarted in %.1f s, %s leads", leader.name, time.Since(begun).Seconds(), next.name)
	if next == leader {
		t.Fatalf("%s leads again at once", leader.name)
	}
	l.healthy(t, leader)
	l.unmoved(t, leader, before)
}

// drainNode: a drained node hands leadership on, and takes none while it is drained.
func drainNode(t *testing.T, l *lab) {
	drained := l.leader(t)
	before := l.picture(t, drained)
	sh(t, drained, "sentinelctl", "node", "drain", drained.name, "--reason", "a new disk")
	next := l.leader(t, l.others(drained)...)
	l.say(t, "%s: drained, %s leads", drained.name, next.name)
	sh(t, next, "systemctl", "restart", sentineld)
	last := l.leader(t)
	if last == next || last == drained {
		t.Fatalf("%s was restarted, and %s leads", next.name, last.name)
	}
	l.say(t, "%s: restarted, %s leads and not the drained %s", next.name, last.name, drained.name)
	sh(t, next, "sentinelctl", "node", "undrain", drained.name)
	l.healthy(t, next)
	sh(t, drained, "sentinelctl", "node", "transfer-leadership", drained.name)
	if leader := l.leader(t); leader != drained {
		t.Fatalf("%s leads, and %s does not although it is undrained", leader.name, drained.name)
	}
	l.say(t, "%s: undrained, and leads again when told to", drained.name)
	l.unmoved(t, drained, before)
}

const (
	drainUnit   = "sentineld-host-drain.service"
	undrainUnit = "sentineld-host-undrain.service"
)

// reboot: the host of the master is rebooted while a client writes. The master is switched over before Redis is stopped, no write
// is lost, and after the boot the host is given back by itself.
func reboot(t *testing.T, l *lab) {
	before := l.picture(t, l.hosts[0])
	h := before.master
	must(t, h.write("/etc/default/sentineld-host-drain", "HOST="+h.addr+"\n", 0o644))
	sh(t, h, "systemctl", "enable", "--now", drainUnit, undrainUnit)

	// Whatever is restarted without the host going down drains nothing.
	sh(t, h, "systemctl", "restart", redisUnit, sentineld, drainUnit)
	l.following(t, h)
	l.healthy(t, h)
	l.unmoved(t, h, before)
	must(t, l.givenBack(t.Context(), h))
	l.say(t, "%s: Redis, sentineld and the drain's unit are restarted, and nothing is moved", h.name)
	// Redis began a new history when it was restarted; the cluster soon knows who has it.
	eventually(t, h.name+" can be drained", soon, func(ctx context.Context) error {
		_, err := h.run(ctx, "sentinelctl", "host", "drain", h.addr, "--dry-run")
		return err
	})

	w := l.newWriter(t)
	eventually(t, "the writer writes", soon, func(context.Context) error { return w.wrote() })
	begun := time.Now()
	must(t, h.reboot(t.Context()))
	booted := time.Since(begun)
	told := sh(t, h, "journalctl", "--quiet", "--boot=-1", "--output=cat", "--unit="+drainUnit)
	drained := regexp.MustCompile(regexp.QuoteMeta(h.redis()) + ".*master moves to.*").FindString(told)
	if drained == "" {
		t.Errorf("%s: the journal before the boot does not tell of a drain:\n%s", h.name, told)
	}
	l.say(t, "%s: the journal before the boot: %s", h.name, drained)
	next := l.switched(t, h, l.hosts...)
	l.following(t, next)
	l.healthy(t, h)
	lost, all := w.lost(t, next)
	l.say(t, "%s: rebooted in %.1f s; the master is %s; of %d acknowledged writes %d are lost, the longest pause was %d ms", h.name,
		booted.Seconds(), next.name, all, lost, w.gap.Milliseconds())
	if lost > 0 {
		t.Errorf("%d writes are lost", lost)
	}
	eventually(t, h.name+" is given back", patience, func(ctx context.Context) error { return l.givenBack(ctx, h) })
	l.say(t, "%s: undrained after %.1f s", h.name, time.Since(begun).Seconds())
	f, err := h.api.admin.ListFailovers(t.Context(), &sentinelv1.ListFailoversRequest{Name: setName})
	must(t, err)
	planned := 0
	for _, f := range f.GetFailovers() {
		if f.GetEpoch() > before.epoch && f.GetKind() == sentinelv1.FailoverKind_FAILOVER_KIND_PLANNED {
			planned++
		}
	}
	if n := len(f.GetFailovers()) - before.failovers; n != 1 || planned != 1 {
		t.Fatalf("there were %d failovers, %d of them planned: %v", n, planned, f)
	}
}

// givenBack tells why a host is not undrained.
func (l *lab) givenBack(ctx context.Context, h *host) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := h.api.masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: setName})
	if err != nil {
		return err
	}
	for _, in := range r.GetMaster().GetInstances() {
		if m := in.GetMaintenance(); m != nil {
			return fmt.Errorf("%s is in maintenance: %v", text(in.GetAddress()), m)
		}
	}
	if len(r.GetMaster().GetInstances()) != len(l.hosts) {
		return fmt.Errorf("%d instances", len(r.GetMaster().GetInstances()))
	}
	return nil
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
	eventually(t, first.name+" tells systemd what it lacks", soon, func(ctx context.Context) error {
		told, err := property(ctx, first, sentineld, "StatusText")
		if err != nil || !strings.Contains(told, "leader") {
			return fmt.Errorf("STATUS is %q, %v", told, err)
		}
		l.say(t, "%s: alone after the power cut, ready, STATUS=%s", first.name, told)
		return nil
	})
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

// replace: a host is lost with its disk, and a blank one of the same name and address takes its place.
func replace(t *testing.T, l *lab) {
	before := l.picture(t, l.hosts[0])
	lost := l.others(before.master)[0]
	asked := before.master
	id := l.member(t, asked, lost.name).GetRaftId()
	crashed := time.Now()
	must(t, lost.crash(t.Context()))
	must(t, lost.blank())
	must(t, l.naming(lost, l.hosts))
	must(t, lost.boot(t.Context()))
	dpkg(t, lost, *deb)
	configure(t, lost, config("n1", "n2", "n3"))
	l.startAlone(t, lost)
	startRedis(t, lost, before.master)
	l.say(t, "%s: a blank host asks to join, STATUS=%s", lost.name, sh(t, lost, "systemctl", "show", "--property=StatusText", "--value", sentineld))
	var n *sentinelv1.Node
	eventually(t, "the new "+lost.name+" is a voter and the old one no member", patience, func(context.Context) error {
		if n = l.member(t, asked, lost.name); n.GetRaftId() == id || !n.GetVoter() {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	took := time.Since(crashed)
	l.say(t, "%s: a blank host is a voter %.1f s after the crash, %s instead of %s", lost.name, took.Seconds(), n.GetRaftId(), id)
	if took < 10*time.Second {
		t.Errorf("it took the place of one that might have lived")
	}
	l.following(t, before.master)
	l.healthy(t, lost)
	l.unmoved(t, lost, before)
}

// member is the one member of that name.
func (l *lab) member(t *testing.T, asked *host, name string) *sentinelv1.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := asked.api.cluster.ListNodes(ctx, &sentinelv1.ListNodesRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
	must(t, err)
	var found *sentinelv1.Node
	for _, n := range r.GetNodes() {
		if n.GetNodeId() == name {
			if found != nil {
				t.Fatalf("two members are called %s: %v, %v", name, found, n)
			}
			found = n
		}
	}
	return found
}

// upgrade: one node after the other gets a newer package, the leader last. Configuration and state stay, each node is restarted
// once, and no master is moved.
func upgrade(t *testing.T, l *lab) {
	leader := l.leader(t)
	before := l.picture(t, leader)
	for _, h := range append(l.others(leader), leader) {
		was, err := h.api.status(t.Context())
		must(t, err)
		configured := sh(t, h, "md5sum", configFile)
		since := mark(t, h)
		begun := time.Now()
		dpkg(t, h, *newer)
		var is *sentinelv1.GetStatusResponse
		eventually(t, h.name+" runs the newer version", soon, func(ctx context.Context) error {
			if is, err = h.api.status(ctx); err == nil && is.GetVersion() == was.GetVersion() {
				err = fmt.Errorf("it is %s still", is.GetVersion())
			}
			return err
		})
		if is.GetRaftId() != was.GetRaftId() || is.GetClusterId() != was.GetClusterId() || sh(t, h, "md5sum", configFile) != configured {
			t.Fatalf("%s is another node: %v, before it %v", h.name, is, was)
		}
		unitIs(t, h, sentineld, "ActiveState=active", "UnitFileState=enabled", "NRestarts=0")
		if n := count(t, h, sentineld, since, "^Started "); n != 1 {
			t.Errorf("%s was started %d times", h.name, n)
		}
		l.say(t, "%s: dpkg -i, %s to %s, %.1f s", h.name, was.GetVersion(), is.GetVersion(), time.Since(begun).Seconds())
		l.healthy(t, h)
	}
	l.unmoved(t, leader, before)
}

// purge: a node is taken out, and of its package nothing stays.
func purge(t *testing.T, l *lab) {
	leader := l.leader(t)
	before := l.picture(t, leader)
	gone := l.others(leader)[0]
	sh(t, leader, "sentinelctl", "node", "remove", gone.name, "--yes")
	since := mark(t, gone)
	sh(t, gone, "dpkg", "--remove", "sentineld")
	l.say(t, "%s: dpkg -r; %s", gone.name, tells(t, gone, sentineld, since, "^Stopped "))
	sh(t, gone, "test", "-e", configFile, "-a", "-d", stateDir)
	sh(t, gone, "dpkg", "--purge", "sentineld")
	left := sh(t, gone, "sh", "-c", "ls -d /etc/sentineld "+stateDir+
		" /usr/lib/systemd/system/sentineld* /etc/systemd/system/*/sentineld* /etc/systemd/system/sentineld* /usr/bin/sentinel* 2>/dev/null || true")
	if left != "" {
		t.Errorf("%s: dpkg -P leaves %s", gone.name, left)
	}
	sh(t, leader, "sentinelctl", "status", "--wait", "healthy")
	l.say(t, "%s: purged; two nodes are healthy", gone.name)
	l.unmoved(t, leader, before)
}
