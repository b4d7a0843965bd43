package stage

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play sentineld: it answers on the ports of its configuration file until SIGTERM.
func TestMain(m *testing.M) {
	if os.Getenv("STAGE_PLAY_NODE") == "" {
		os.Exit(m.Run())
	}
	os.Exit(playNode(os.Args[len(os.Args)-1]))
}

func playNode(conf string) int {
	text, err := os.ReadFile(conf)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Fprintf(os.Stderr, "playing with\n%s", text)
	for line := range strings.SplitSeq(string(text), "\n") {
		name, value, _ := strings.Cut(line, " ")
		if name != "port" && name != "grpc-port" {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+value)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go pong(l)
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	return 0
}

func pong(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write([]byte("+PONG\r\n"))
		_ = c.Close()
	}
}

func newStage(t *testing.T) *Stage {
	t.Helper()
	s, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newRedis(t *testing.T, s *Stage, o RedisOptions) *Redis {
	t.Helper()
	r, err := s.Redis(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// ask sends one inline command and gives the first line of the answer, or the error of waiting 300 ms for one.
func ask(addr, command string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func TestRedisLives(t *testing.T) {
	s := newStage(t)
	master := newRedis(t, s, RedisOptions{Config: []string{"requirepass sesame"}})
	if got, err := ask(master.Addr(), "PING"); err != nil || !strings.HasPrefix(got, "-NOAUTH") {
		t.Fatalf("PING: %q, %v; want NOAUTH, as the extra line says", got, err)
	}
	if err := master.Launch(); !errors.Is(err, errRunning) {
		t.Errorf("second start: %v, want %v", err, errRunning)
	}
	pid := master.PID()
	if err := master.Restart(t.Context()); err != nil || master.PID() == pid {
		t.Fatalf("restart: %v, pid %d then %d", err, pid, master.PID())
	}

	if err := master.Freeze(); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(master.Addr(), "PING"); err == nil {
		t.Errorf("a frozen server answered %q", got)
	}
	if err := master.Thaw(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(master.Addr(), "PING"); err != nil {
		t.Errorf("after thawing: %v", err)
	}

	if err := master.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if master.Running() || master.ExitCode() != 0 {
		t.Errorf("after stop: running %v, status %d", master.Running(), master.ExitCode())
	}
	if !strings.Contains(master.Log(1<<20), "bye bye") {
		t.Error("the log does not hold the server's farewell")
	}
}

func TestReplicaFollows(t *testing.T) {
	s := newStage(t)
	master := newRedis(t, s, RedisOptions{})
	newRedis(t, s, RedisOptions{ReplicaOf: master.Addr()})
	deadline := time.Now().Add(10 * time.Second)
	for {
		got, err := ask(master.Addr(), "WAIT 1 200")
		if err == nil && got == ":1" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("WAIT: %q, %v", got, err)
		}
	}
}

func TestCloseEndsTheFrozenAndLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	s, err := New(parent)
	if err != nil {
		t.Fatal(err)
	}
	r := newRedis(t, s, RedisOptions{})
	if err := r.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Running() {
		t.Error("it lives on")
	}
	if left, err := filepath.Glob(filepath.Join(parent, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := r.Launch(); !errors.Is(err, errClosed) {
		t.Errorf("start after the end: %v, want %v", err, errClosed)
	}
}

func TestProgram(t *testing.T) {
	s := newStage(t)
	p, err := s.Program(ProgramOptions{Name: "sleeper", Path: "/bin/sh", Args: []string{"-c", "echo $WORD; exec sleep 60"}, Env: []string{"WORD=hello"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); p.Log(100) != "hello\n"; time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			t.Fatalf("it wrote %q", p.Log(100))
		}
	}
	if err := s.Close(); err != nil || p.Running() {
		t.Errorf("close: %v, running %v", err, p.Running())
	}
}

func TestStagesDoNotShareBlocks(t *testing.T) {
	a, b := newStage(t), newStage(t)
	if a.block.base == b.block.base {
		t.Fatalf("both hold %d", a.block.base)
	}
	seen := map[int]bool{}
	for range 10 {
		n, err := a.block.node()
		if err != nil {
			t.Fatal(err)
		}
		for p := n; p <= n+300; p += 100 {
			seen[p] = true
		}
	}
	for range 60 {
		p, err := a.block.single()
		if err != nil {
			t.Fatal(err)
		}
		if seen[p] || p < a.block.base || p >= a.block.base+blockSize {
			t.Fatalf("port %d is handed out twice or is of another stage", p)
		}
		seen[p] = true
	}
}

func TestCluster(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	c, err := s.Cluster(3, ClusterOptions{Binary: self, Config: []string{"loglevel debug"}, Env: []string{"STAGE_PLAY_NODE=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	peers := "cluster-peers " + strings.Join(c.GRPCAddrs(), " ")
	for i, n := range c.Nodes {
		log := n.Log(1 << 16)
		for _, want := range []string{peers, "bootstrap-expect 3", fmt.Sprintf("node-id n%d", i+1), "loglevel debug"} {
			if !strings.Contains(log, want+"\n") {
				t.Errorf("%s: no line %q in\n%s", n.Name(), want, log)
			}
		}
	}
	if err := c.Nodes[0].Kill(); err != nil || c.Nodes[0].ExitCode() != -1 {
		t.Errorf("kill: %v, status %d", err, c.Nodes[0].ExitCode())
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestStartTellsWhyItFailed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	n, err := s.Node(NodeOptions{
		Binary: self, Port: busy.Addr().(*net.TCPAddr).Port, Env: []string{"STAGE_PLAY_NODE=1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("start: %v; want what the program wrote", err)
	}
}
