package e2e

import (
	"strings"
	"testing"
)

// ask puts one question to the node's Sentinel port.
func (n *node) ask(t *testing.T, command string) string {
	t.Helper()
	return newTalk(t, n.Addr()).ask(command).String()
}

// TestSimulatedFailures: the leader ends with Sentinel's status at the point that SENTINEL SIMULATE-FAILURE named, and another
// node finishes its work; SHUTDOWN ends a node as SIGTERM does.
func TestSimulatedFailures(t *testing.T) {
	l := newLab(t)
	s := l.newSet("simulated", setOptions{})
	master := s.servers[0]
	for i, flag := range []string{"crash-after-election", "crash-after-promotion"} {
		leader := l.leader()
		if got := leader.ask(t, "SENTINEL SIMULATE-FAILURE "+flag); got != "+OK" {
			t.Fatal(got)
		}
		if got := leader.ask(t, "INFO sentinel"); !strings.Contains(got, "sentinel_simulate_failure_flags:"+[]string{"1", "2"}[i]+"\r\n") {
			t.Error(got)
		}
		l.must(master.Kill())
		l.dies(leader)
		if code := leader.ExitCode(); code != 99 {
			t.Errorf("%s: status %d", flag, code)
		}
		to := s.switched(master)
		l.must(master.Restart(t.Context()))
		l.must(leader.Restart(t.Context()))
		l.formed()
		s.settled(to)
		master = to
	}
	s.switches(2)
	follower := l.follower()
	c := newTalk(t, follower.Addr())
	if _, err := c.conn.Write([]byte("SHUTDOWN NOSAVE\r\n")); err != nil {
		t.Fatal(err)
	}
	if a, err := c.read(); err == nil {
		t.Errorf("SHUTDOWN is answered: %s", a)
	}
	l.dies(follower)
	if code := follower.ExitCode(); code != 0 {
		t.Errorf("status %d after SHUTDOWN", code)
	}
}
