//go:build linux

package systemd

import (
	"testing"
	"time"
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
		{"journals", journals},
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
