//go:build linux

package systemd

import (
	"context"
	"fmt"
	"testing"
	"time"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

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
	l.say(t, "%s: STATUS=%s", h.name, statusTells(t, h, "waits for a cluster"))
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
