package notify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// started are Scripts that run real scripts for a fake node.
type started struct {
	*Scripts
	node    *fakeNode
	notices *notices
	log     *logBuffer
	stop    func()
}

func startReal(t *testing.T, permit func(master, path string) (string, error)) *started {
	t.Helper()
	s := &started{node: newFakeNode(t, "c1"), notices: &notices{}, log: &logBuffer{}}
	dir := t.TempDir()
	// Its place is here and now, so that nothing of the test is before it.
	if err := (ledger{dir}).save(endOf(s.node.State())); err != nil {
		t.Fatal(err)
	}
	var err error
	s.Scripts, err = NewScripts(ScriptOptions{Node: s.node, Dir: dir, Permit: permit, Publish: s.notices.publish, Log: s.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	s.SetScriptRetryDelay(time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err, ran := <-done; ran && err != nil {
			t.Error(err)
		}
		close(done)
		s.stop = func() {}
	}
	t.Cleanup(func() { s.stop() })
	return s
}

func anyPath(_, path string) (string, error) { return path, nil }

// A script gets Sentinel's arguments: the event and its message, or what a client-reconfig-script needs.
func TestScriptArguments(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	// One line in one write: the scripts of several events run side by side.
	tell := writeScript(t, dir, "tell", `printf '%s\n' "$0 $#: $*" >> `+out)
	reconfig := writeScript(t, dir, "reconfig", `printf '%s\n' "$0 $#: $*" >> `+out)
	s := startReal(t, anyPath)
	s.node.watchSet("m", 1, "notification-script "+tell, "client-reconfig-script "+reconfig)
	want := []string{tell + " 2: +monitor master m 10.0.0.1 1 quorum 1"}
	expect := func(more ...string) {
		t.Helper()
		want = append(want, more...)
		slices.Sort(want)
		var got []string
		eventually(t, "the scripts", func() bool {
			running, _ := s.Counts()
			got = strings.FieldsFunc(readFile(out), func(r rune) bool { return r == '\n' })
			return running == 0 && len(got) >= len(want)
		})
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	expect()
	s.node.switchTo(self, "m", 2)
	expect(
		tell+" 2: +adopt-master slave 10.0.0.1:2 10.0.0.1 2 @ m 10.0.0.1 1",
		tell+" 2: +switch-master m 10.0.0.1 1 10.0.0.1 2",
		reconfig+" 7: m leader start 10.0.0.1 1 10.0.0.1 2",
	)
	s.node.switchTo("other", "m", 1)
	expect(
		tell+" 2: +adopt-master slave 10.0.0.1:1 10.0.0.1 1 @ m 10.0.0.1 2",
		tell+" 2: +switch-master m 10.0.0.1 2 10.0.0.1 1",
		reconfig+" 7: m observer start 10.0.0.1 2 10.0.0.1 1",
	)
	s.node.by(self, remove("m"))
	expect(tell + " 2: -monitor master m 10.0.0.1 1")
}

// What a script's end means: done, again, or given up and told.
func TestScriptExits(t *testing.T) {
	for _, c := range []struct {
		name, body string
		runs       int
		notices    []string
	}{
		{"done", "exit 0", 1, nil},
		{"again", "exit 1", 10, []string{"-script-error %s 0 1"}},
		{"again, then done", `[ $(wc -l < "$0.runs") -ge 3 ] || exit 1`, 3, nil},
		{"given up", "exit 2", 1, []string{"-script-error %s 0 2"}},
		{"given up, highest", "exit 255", 1, []string{"-script-error %s 0 255"}},
		{"signal", "kill -9 $$", 10, []string{"-script-error %s 9 0"}},
		{"signal, then done", `[ $(wc -l < "$0.runs") -ge 2 ] || kill -15 $$`, 2, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeScript(t, t.TempDir(), "script", "echo >> $0.runs\n"+c.body)
			s := startReal(t, anyPath)
			s.node.watchSet("m", 1, "client-reconfig-script "+path)
			s.node.switchTo(self, "m", 2)
			eventually(t, "an empty queue", func() bool {
				_, queued := s.Counts()
				return queued == 0 && readRuns(path) > 0
			})
			if got := readRuns(path); got != c.runs {
				t.Errorf("%d runs, want %d", got, c.runs)
			}
			var want []string
			for _, n := range c.notices {
				want = append(want, fmt.Sprintf(n, path))
			}
			eventually(t, fmt.Sprint(want), func() bool { return slices.Equal(s.notices.list(), want) })
		})
	}
}

func readRuns(path string) int {
	text, _ := os.ReadFile(path + ".runs")
	return strings.Count(string(text), "\n")
}

// What cannot be executed is not tried again.
func TestScriptNotStarted(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "none"), plain, dir} {
		s := startReal(t, anyPath)
		s.node.watchSet("m", 1, "client-reconfig-script "+path)
		s.node.switchTo(self, "m", 2)
		want := []string{"-script-error " + path + " 0 2"}
		eventually(t, want[0], func() bool { return slices.Equal(s.notices.list(), want) })
		if _, queued := s.Counts(); queued != 0 {
			t.Errorf("%s: %d jobs are left", path, queued)
		}
	}
	for err, want := range map[error]exit{
		fmt.Errorf("fork/exec: %w", syscall.EAGAIN): {signal: 99}, syscall.ENOMEM: {signal: 99}, syscall.EMFILE: {signal: 99},
		syscall.ENOENT: {code: 2}, syscall.ENOEXEC: {code: 2},
	} {
		if got := unstarted(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// A script that runs for too long is killed with everything it has started, and runs again as after any signal.
func TestScriptTooLong(t *testing.T) {
	dir := t.TempDir()
	path := writeScript(t, dir, "script", `echo >> $0.runs
[ $(wc -l < "$0.runs") -ge 2 ] && exit 0
trap '' TERM
sleep 1000 & echo $! > `+dir+`/child
echo $$ > `+dir+`/parent
wait`)
	s := startReal(t, anyPath)
	s.node.watchSet("m", 1, "client-reconfig-script "+path)
	s.node.switchTo(self, "m", 2)
	eventually(t, "the script", func() bool { return readFile(dir+"/parent") != "" })
	parent, child := atoi(t, readFile(dir+"/parent")), atoi(t, readFile(dir+"/child"))
	job := s.Pending()[0]
	if !job.Running || job.PID != parent || job.RunTime <= 0 || job.RunDelay != 0 || job.Runs != 1 || job.Argv[0] != path {
		t.Errorf("pending: %+v, want pid %d", job, parent)
	}
	s.notices.onPublish = func() { s.SetScriptMaxRuntime(time.Minute) } // the next run may take its time
	s.SetScriptMaxRuntime(10 * time.Millisecond)                        // for what runs already, too
	eventually(t, "the end of both", func() bool { return gone(parent) && gone(child) })
	eventually(t, "an empty queue", func() bool { _, queued := s.Counts(); return queued == 0 })
	if got := readRuns(path); got != 2 {
		t.Errorf("%d runs, want 2", got)
	}
	if got, want := s.notices.list(), []string{fmt.Sprintf("-script-timeout %s %d", path, parent)}; !slices.Equal(got, want) {
		t.Errorf("published %q, want %q", got, want)
	}
}

// gone tells that a process has ended; one that only its parent has still to ask for has, too.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

// Run ends what it has started, politely first, and leaves no process and no zombie.
func TestScriptsEndWithRun(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, trap string
		polite     bool
	}{
		{"polite", `trap 'echo > ` + dir + `/polite.ended; exit 0' TERM`, true},
		{"deaf", `trap '' TERM`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeScript(t, dir, c.name, c.trap+`
(trap '' TERM; sleep 1000; echo) & echo $! > $0.child
echo $$ > $0.parent
while :; do wait; done`)
			s := startReal(t, anyPath)
			s.node.watchSet("m", 1, "client-reconfig-script "+path)
			s.node.switchTo(self, "m", 2)
			eventually(t, "the script", func() bool { return readFile(path+".parent") != "" })
			s.stop()
			for _, which := range []string{".parent", ".child"} {
				pid := atoi(t, readFile(path+which))
				eventually(t, "the end of the "+which, func() bool { return gone(pid) })
			}
			if _, err := os.Stat(fmt.Sprintf("/proc/%s", readFile(path+".parent"))); err == nil {
				t.Error("a zombie is left")
			}
			if _, err := os.Stat(path + ".ended"); (err == nil) != c.polite {
				t.Errorf("asked to end: %v", err)
			}
			if got := s.notices.list(); got != nil {
				t.Errorf("published %q", got)
			}
		})
	}
}

// A script sees the daemon's environment without its directives, reads nothing, and what it writes holds nobody up; what it
// leaves in the background lives on.
func TestScriptSurroundings(t *testing.T) {
	t.Setenv("SENTINELD_CONF_REQUIREPASS", "hidden")
	t.Setenv("NOTIFY_SOCKET", "/run/hidden")
	t.Setenv("SOMETHING", "shown")
	dir := t.TempDir()
	path := writeScript(t, dir, "script", `cat > $0.stdin
yes | head -c 1000000
env > $0.env
sleep 30 & echo $! > $0.child
ps -o pgid= -p $$ > $0.group; echo $$ > $0.pid`)
	s := startReal(t, anyPath)
	s.node.watchSet("m", 1, "client-reconfig-script "+path)
	s.node.switchTo(self, "m", 2)
	eventually(t, "the script's end", func() bool {
		_, queued := s.Counts()
		return queued == 0 && readFile(path+".pid") != ""
	})
	child := atoi(t, readFile(path+".child"))
	if gone(child) {
		t.Error("what the script left in the background was killed")
	}
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path + ".stdin"); err != nil || len(got) != 0 {
		t.Errorf("stdin: %q, %v", got, err)
	}
	env := readFile(path + ".env")
	if strings.Contains(env, "SENTINELD_CONF_") || strings.Contains(env, "hidden") || !strings.Contains(env, "SOMETHING=shown") {
		t.Errorf("environment:\n%s", env)
	}
	if readFile(path+".group") != readFile(path+".pid") {
		t.Errorf("process group %s, want its own", readFile(path+".group"))
	}
	if got := s.notices.list(); got != nil {
		t.Errorf("published %q", got)
	}
}

// What may not run does not, and is logged once for a master and path.
func TestScriptNotPermitted(t *testing.T) {
	dir := t.TempDir()
	good := writeScript(t, dir, "good", "echo >> $0.runs")
	bad := writeScript(t, dir, "bad", "echo >> $0.runs")
	s := startReal(t, Permissions{Named: map[string][]string{"m": {good}, "n": {bad}}}.Permit)
	s.node.watchSet("m", 1, "notification-script "+bad, "client-reconfig-script "+good)
	s.node.watchSet("n", 11, "client-reconfig-script "+good)
	for i := range 3 {
		s.node.switchTo(self, "m", 2-i%2)
		s.node.switchTo(self, "n", 12-i%2)
		eventually(t, "the good one", func() bool { return readRuns(good) == i+1 })
	}
	if got := readRuns(bad); got != 0 {
		t.Errorf("%d runs of what may not run", got)
	}
	for _, which := range []string{"master=m path=" + bad, "master=n path=" + good} {
		if got := s.log.count(which); got != 1 {
			t.Errorf("%q is logged %d times, want once", which, got)
		}
	}
	if got := s.log.count("may not run"); got != 2 {
		t.Errorf("%d lines of what may not run, want 2", got)
	}
}
