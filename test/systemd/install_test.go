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

const (
	configFile = "/etc/sentineld/sentineld.conf"
	secretFile = "/etc/sentineld/secret"
	stateDir   = "/var/lib/sentineld"
	secret     = "correct horse battery staple"
)

// config is the same on every host.
func config(peers ...string) string {
	return "bind *\nprotected-mode no\ncluster-peers " + strings.Join(peers, " ") + "\nbootstrap-expect 3\n" +
		"cluster-secret-file " + secretFile + "\n"
}

// configure gives a host its configuration and a secret, which the service's user can read.
func configure(t *testing.T, h *host, config string) {
	t.Helper()
	must(t, errors.Join(h.write(configFile, config, 0o640), h.write(secretFile, secret+"\n", 0o640)))
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
	f := fails(t, h, "systemctl", "start", sentineld)
	unitIs(t, h, sentineld, "ActiveState=failed", "SubState=failed", "ExecMainStatus=2", "NRestarts=0")
	l.say(t, "%s: systemctl start ends with %d; %s", h.name, f.code, tells(t, h, sentineld, since, regexp.QuoteMeta(configFile)+":2:"))
	sh(t, h, "systemctl", "reset-failed", sentineld)
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
