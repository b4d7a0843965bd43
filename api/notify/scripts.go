package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Redis Sentinel's settings of scripts.
const (
	defaultMaxRuntime = 60 * time.Second
	defaultRetryDelay = 30 * time.Second
)

// endGrace is what scripts have from being asked to end until they are killed, when the node stops.
const endGrace = 500 * time.Millisecond

// tellEvery is how often it is told at most that jobs gave way.
const tellEvery = 10 * time.Second

// secretEnviron begins the names of variables that hold directives of the daemon; some are passwords.
const secretEnviron = "SENTINELD_CONF_"

// managerEnviron is where the service manager hears of the daemon; a script does not speak for it.
const managerEnviron = "NOTIFY_SOCKET="

// ScriptOptions are those of [Scripts]. Node, Permit and Log are required.
type ScriptOptions struct {
	Node Node
	// Dir is the data directory, where the place in the events is kept; "" keeps it in memory.
	Dir string
	// Permit gives the file to execute for the script of a master, or says why it may not run: see [Permissions].
	Permit func(master, path string) (file string, err error)
	// Publish hands out -script-error and -script-timeout, this node's own messages. It must not wait; nil is nobody.
	Publish func(api.Notice)
	Log     *slog.Logger
}

// Scripts runs the notification-script and client-reconfig-script of masters on this node, as Redis Sentinel does.
type Scripts struct {
	o       ScriptOptions
	log     *slog.Logger
	environ []string
	launch  func(file string, argv, environ []string) (*process, error)
	// wake tells the dispatcher of a change in what mu guards.
	wake chan struct{}

	reader reader // of the following goroutine alone

	mu         sync.Mutex
	queue      queue
	maxRuntime time.Duration
	retryDelay time.Duration
	// dropped counts jobs that gave way and were not told of yet; both are the follower's alone.
	dropped     map[string]int
	toldDropped time.Time
	// runs and failures count since the start.
	runs, failures uint64
	// stopping: what is made now is killed at once.
	stopping bool
}

// NewScripts validates the options, reads the place in the events, and starts nothing.
func NewScripts(o ScriptOptions) (*Scripts, error) {
	if o.Node == nil || o.Permit == nil || o.Log == nil {
		return nil, errors.New("scripts: Node, Permit and Log are required")
	}
	if o.Publish == nil {
		o.Publish = func(api.Notice) {}
	}
	s := &Scripts{
		o: o, log: o.Log.With("component", "scripts"), environ: without(os.Environ(), secretEnviron, managerEnviron), launch: launch,
		wake: make(chan struct{}, 1), dropped: map[string]int{}, maxRuntime: defaultMaxRuntime, retryDelay: defaultRetryDelay,
	}
	s.reader = reader{node: o.Node, permit: o.Permit, log: s.log, ledger: ledger{o.Dir}, refused: map[[2]string]bool{}}
	var err error
	s.reader.at, err = s.reader.ledger.load()
	s.reader.saved = s.reader.at
	if errors.Is(err, errDamaged) {
		s.log.Warn("place in the events lost; scripts begin with what happens from now on", "error", err)
		err = nil
	}
	return s, err
}

// Job is a script that runs or will.
type Job struct {
	Argv    []string
	Running bool
	// PID of a running one.
	PID int
	// RunTime is how long a running one has run, RunDelay after how long another will.
	RunTime, RunDelay time.Duration
	// Runs counts those that were begun: SENTINEL PENDING-SCRIPTS' retry-num.
	Runs int
}

// Pending are the jobs of the queue in its order.
func (s *Scripts) Pending() []Job {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Job, 0, len(s.queue.jobs))
	for _, j := range s.queue.jobs {
		p := Job{Argv: j.argv, Running: j.running, Runs: j.runs}
		if j.running {
			p.RunTime = now.Sub(j.began)
		} else {
			p.RunDelay = max(0, j.due.Sub(now))
		}
		if j.process != nil {
			p.PID = j.process.pid
		}
		out = append(out, p)
	}
	return out
}

// Counts are INFO's sentinel_running_scripts and sentinel_scripts_queue_length, which counts the running ones too.
func (s *Scripts) Counts() (running, queued int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.running(), len(s.queue.jobs)
}

// Totals count the runs that were begun since the start, repeats too, and those of them that failed or were killed.
func (s *Scripts) Totals() (runs, failures uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs, s.failures
}

// ScriptMaxRuntime is how long a script may run.
func (s *Scripts) ScriptMaxRuntime() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.maxRuntime
}

// SetScriptMaxRuntime changes it, until a restart, for running scripts too.
func (s *Scripts) SetScriptMaxRuntime(d time.Duration) {
	s.mu.Lock()
	s.maxRuntime = d
	s.mu.Unlock()
	s.stir()
}

// ScriptRetryDelay is the wait before a script's second run; it doubles with each further one.
func (s *Scripts) ScriptRetryDelay() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retryDelay
}

// SetScriptRetryDelay changes it, until a restart, for runs that fail from now on.
func (s *Scripts) SetScriptRetryDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retryDelay = d
}

// Run follows the events and runs scripts until ctx ends. It then ends those that run, and returns after the last of them.
func (s *Scripts) Run(ctx context.Context) error {
	var follower, runs sync.WaitGroup
	follower.Go(func() { s.follow(ctx) })
	s.dispatch(ctx, &runs)
	s.endAll(&runs)
	follower.Wait()
	return nil
}

func (s *Scripts) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// follow turns events into jobs.
func (s *Scripts) follow(ctx context.Context) {
	for {
		changed := s.o.Node.Changed()
		jobs, ok := s.reader.read()
		s.add(jobs)
		var again <-chan time.Time
		switch {
		case !ok:
			again = time.After(readAgain)
		case len(s.dropped) > 0:
			again = time.After(tellEvery)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			s.reader.close()
			return
		}
	}
}

func (s *Scripts) add(jobs []*job) {
	dropped := map[string]int{}
	s.mu.Lock()
	for _, j := range jobs {
		if d := s.queue.add(j); d != nil {
			dropped[d.master]++
		}
	}
	s.mu.Unlock()
	if len(jobs) > 0 {
		s.stir()
	}
	s.tellDropped(dropped)
}

// tellDropped warns of jobs that gave way, by master. In a storm that is once in a while, with the count since the last time.
func (s *Scripts) tellDropped(dropped map[string]int) {
	for master, n := range dropped {
		s.dropped[master] += n
	}
	if len(s.dropped) == 0 || time.Since(s.toldDropped) < tellEvery {
		return
	}
	for _, master := range slices.Sorted(maps.Keys(s.dropped)) {
		s.log.Warn("too many scripts are waiting; the oldest will not run", "master", master, "scripts", s.dropped[master], "limit", maxJobs)
	}
	clear(s.dropped)
	s.toldDropped = time.Now()
}

// dispatch starts what is due and kills what runs for too long, until ctx ends.
func (s *Scripts) dispatch(ctx context.Context, runs *sync.WaitGroup) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		for _, j := range s.due(now) {
			runs.Go(func() { s.run(j) })
		}
		s.killOverdue(now)
		s.mu.Lock()
		at, ok := s.queue.soonest(now, s.maxRuntime)
		s.mu.Unlock()
		timer.Stop()
		if ok {
			timer.Reset(at.Sub(now))
		}
	}
}

// due takes the jobs that may run now, and drops the switches that do not stand any more.
func (s *Scripts) due(now time.Time) []*job {
	st := s.o.Node.State()
	var out, old []*job
	s.mu.Lock()
	for j := s.queue.next(now); j != nil; j = s.queue.next(now) {
		if j.superseded(st) {
			s.queue.remove(j)
			old = append(old, j)
			continue
		}
		j.begin(now)
		s.runs++
		out = append(out, j)
	}
	s.mu.Unlock()
	for _, j := range old {
		s.log.Info("script not run: its switch is superseded", "master", j.master, "argv", j.argv)
	}
	return out
}

// run is one run of a job, from its start to its end.
func (s *Scripts) run(j *job) {
	p, err := s.launch(j.file, j.argv, s.environ)
	if err != nil {
		s.ended(j, unstarted(err), err)
		return
	}
	s.mu.Lock()
	j.process = p
	s.mu.Unlock()
	if s.isStopping() {
		p.kill(syscall.SIGKILL)
	}
	s.stir()
	s.log.Debug("script started", "master", j.master, "argv", j.argv, "pid", p.pid)
	e := p.wait(func() {
		if s.isStopping() {
			p.kill(syscall.SIGKILL) // what it has started and did not wait for
		}
	})
	s.ended(j, e, nil)
}

func (s *Scripts) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// ended tells what came of a run.
func (s *Scripts) ended(j *job, e exit, err error) {
	s.mu.Lock()
	delay, again := s.queue.end(j, e, time.Now(), s.retryDelay)
	runs := j.runs
	over := e == (exit{}) || s.stopping
	if !over {
		s.failures++
	}
	s.mu.Unlock()
	s.stir()
	if over {
		s.log.Debug("script ended", "master", j.master, "argv", j.argv, "signal", e.signal, "exit_code", e.code)
		return
	}
	log := s.log.With("master", j.master, "argv", j.argv, "signal", e.signal, "exit_code", e.code, "runs", runs)
	if err != nil {
		log = log.With("error", err)
	}
	if again {
		log.Warn("script failed; it runs again", "delay", delay)
	} else {
		log.Warn("script failed")
	}
	if !again || e.signal == forkFailed {
		s.publish("-script-error", fmt.Sprintf("%s %d %d", j.argv[0], e.signal, e.code))
	}
}

func (s *Scripts) killOverdue(now time.Time) {
	s.mu.Lock()
	limit := s.maxRuntime
	jobs := s.queue.overdue(now, limit)
	processes := make([]*process, len(jobs))
	for i, j := range jobs {
		j.killed, processes[i] = true, j.process
	}
	s.mu.Unlock()
	for i, j := range jobs {
		pid := processes[i].pid
		s.log.Warn("script runs for too long and is killed", "master", j.master, "argv", j.argv, "pid", pid, "limit", limit)
		s.publish("-script-timeout", fmt.Sprintf("%s %d", j.argv[0], pid))
		processes[i].kill(syscall.SIGKILL)
	}
}

func (s *Scripts) publish(channel, payload string) {
	s.o.Publish(api.Notice{Channel: channel, Payload: payload, Warning: true})
}

// endAll asks the running scripts to end, kills those that do not, and waits for the last.
func (s *Scripts) endAll(runs *sync.WaitGroup) {
	signal := func(sig syscall.Signal) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopping = true
		for _, j := range s.queue.jobs {
			if j.process != nil {
				j.process.kill(sig)
			}
		}
	}
	signal(syscall.SIGTERM)
	kill := time.AfterFunc(endGrace, func() { signal(syscall.SIGKILL) })
	defer kill.Stop()
	runs.Wait()
}

// anyScripts tells whether a master of st has a script.
func anyScripts(st *raftfsm.State) bool {
	for m := range st.Masters() {
		if hasScripts(m) {
			return true
		}
	}
	return false
}

func hasScripts(m *raftfsm.Master) bool {
	return m.Options.NotificationScript != "" || m.Options.ClientReconfigScript != ""
}
