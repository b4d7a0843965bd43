package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

// notifySocket is where a service manager hears of its service, as sd_notify(3) has it.
type notifySocket struct {
	t    *testing.T
	conn *net.UnixConn
}

// until reads until a message has an assignment that begins so, and gives the message.
func (s *notifySocket) until(assignment string) string {
	s.t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	buffer := make([]byte, 4096)
	for {
		n, err := s.conn.Read(buffer)
		if err != nil {
			s.t.Fatalf("%s: %v", assignment, err)
		}
		if message := "\n" + string(buffer[:n]); strings.Contains(message, "\n"+assignment) {
			return message
		}
	}
}

// A real process under a service manager's socket: it is up without being asked, shows life, reloads and refuses, stops; and
// a crash, as a watchdog makes one, is never the exit status of a wrong configuration.
func TestSupervised(t *testing.T) {
	t.Parallel()
	s, err := stage.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	manager := &notifySocket{t, conn}
	n, err := s.Node(stage.NodeOptions{Binary: programs.node, Env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=1000000"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	manager.until("READY=1")
	manager.until("WATCHDOG=1")
	manager.until("STATUS=leads; 1 nodes, 0 masters")

	good, err := os.ReadFile(n.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ more, status string }{
		{"prot 1\n", "STATUS=the last reload was refused, see the log; leads"},
		{"loglevel verbose\n", "STATUS=leads"},
	} {
		if err := os.WriteFile(n.ConfigPath(), append(good, c.more...), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := n.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if m := manager.until("RELOADING=1"); !strings.Contains(m, "\nMONOTONIC_USEC=") {
			t.Errorf("told %q", m)
		}
		if m := manager.until("READY=1"); !strings.Contains(m, "\n"+c.status) {
			t.Errorf("told %q", m)
		}
	}
	if log := n.Log(1 << 20); !strings.Contains(log, "sentineld.conf:") || !strings.Contains(log, "unknown directive") {
		t.Errorf("the fault is not told:\n%s", log)
	}

	stopped := make(chan error, 1)
	go func() { stopped <- n.Stop() }()
	manager.until("STOPPING=1")
	if err := <-stopped; err != nil || n.ExitCode() != 0 {
		t.Errorf("stopped: exit status %d, %v", n.ExitCode(), err)
	}

	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	manager.until("READY=1")
	if err := n.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.Ended():
	case <-time.After(15 * time.Second):
		t.Fatal("it does not end")
	}
	if code := n.ExitCode(); code != -1 {
		t.Errorf("it ended with status %d, not by the signal", code)
	}
	if log := n.Log(1 << 20); !strings.Contains(log, "SIGABRT") || !strings.Contains(log, "node.(*Node).Run") {
		t.Errorf("its goroutines are not in the log:\n%s", log)
	}
}
