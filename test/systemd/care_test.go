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
	list := func() string { return sh(t, h, "sh", "-c", "stat --format='%n %a %U' /var/lib/sentineld-backup/*") }
	sh(t, h, "systemctl", "start", unit)
	first := list()
	// Its name tells the second.
	next := time.Now().Truncate(time.Second).Add(time.Second)
	eventually(t, "the next second", soon, func(context.Context) error {
		if time.Now().Before(next) {
			return errors.New("not yet")
		}
		return nil
	})
	sh(t, h, "systemctl", "start", unit)
	second := list()
	if second == first || strings.Contains(second, "\n") {
		t.Fatalf("with KEEP=1 there was %s, and now there is\n%s", first, second)
	}
	file, rest, _ := strings.Cut(second, " ")
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
	sh(t, h, "systemctl", "enable", "--now", drainUnit)
	unitIs(t, h, undrainUnit, "UnitFileState=enabled")

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
	l.following(t, h)
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

// journals: what every host has written since it was installed, all boots, tells no secret.
func journals(t *testing.T, l *lab) {
	for _, h := range l.hosts {
		all := sh(t, h, "journalctl", "--quiet", "--no-pager", "--merge", "--output=cat")
		if strings.Contains(all, secret) {
			t.Errorf("%s: the journal tells the cluster's secret", h.name)
		}
		l.say(t, "%s: %d lines in the journal, none of them tells the secret", h.name, strings.Count(all, "\n"))
	}
}
