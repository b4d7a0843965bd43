package stage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	readyTimeout = 15 * time.Second
	stopTimeout  = 10 * time.Second
	pollEvery    = 5 * time.Millisecond
)

// Process is a program that can be started again and again with the same arguments. Its output goes to one file, which
// every start appends to. Methods are safe for concurrent use.
type Process struct {
	name    string
	path    string
	args    []string
	env     []string // added to this process's own
	dir     string
	logPath string
	ready   []string // addresses that answer PING once it is up

	mu      sync.Mutex
	run     *run
	retired bool // its stage is closed
}

// run is one life of a process.
type run struct {
	proc *os.Process
	done chan struct{} // closed once it is reaped
	// end is nil where waiting failed; both are read after done only.
	end    *os.ProcessState
	endErr error
}

// Name is unique on its stage.
func (p *Process) Name() string { return p.name }

// LogPath is the file that holds what the process wrote to stdout and stderr.
func (p *Process) LogPath() string { return p.logPath }

// Log is the last limit bytes of what it wrote.
func (p *Process) Log(limit int64) string { return tail(p.logPath, limit) }

// Start starts the process and waits until it answers, at most 15 s and until ctx ends. A process that is
// not ready by then is killed; the error shows the end of what it wrote.
func (p *Process) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return err
	}
	if err := p.Ready(ctx); err != nil {
		return errors.Join(err, p.Kill())
	}
	return nil
}

// Launch starts the process and does not wait for it to be ready.
func (p *Process) Launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return fmt.Errorf("start %s: %w", p.name, errClosed)
	}
	if p.run != nil && !p.run.over() {
		return fmt.Errorf("start %s: %w", p.name, errRunning)
	}
	out, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	defer func() { _ = out.Close() }()
	none, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	defer func() { _ = none.Close() }()
	r := &run{done: make(chan struct{})}
	started := make(chan error, 1)
	go r.live(started, p.path, append([]string{p.path}, p.args...), &os.ProcAttr{
		Dir: p.dir, Env: append(os.Environ(), p.env...), Files: []*os.File{none, out, out}, Sys: ownGroup(),
	})
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.run = r
	return nil
}

// live starts the program and waits for its end. It keeps its thread all the while: the kernel sends the signal of a
// parent's death when the thread that forked ends, not the process.
func (r *run) live(started chan<- error, path string, argv []string, attr *os.ProcAttr) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	proc, err := os.StartProcess(path, argv, attr)
	r.proc = proc
	started <- err
	if err != nil {
		return
	}
	r.end, r.endErr = proc.Wait()
	close(r.done)
}

func (r *run) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Ready waits until the process answers a PING, with whatever it likes, at most 15 s and until ctx ends.
func (p *Process) Ready(ctx context.Context) error {
	r := p.current()
	if r == nil {
		return fmt.Errorf("%s: %w", p.name, errStopped)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for _, addr := range p.ready {
		for !answers(ctx, addr) {
			select {
			case <-r.done:
				return fmt.Errorf("%s ended at once (status %d): %w; it wrote:\n%s", p.name, p.ExitCode(), errStopped, p.Log(2000))
			case <-ctx.Done():
				return fmt.Errorf("%s: %w: nothing answers at %s; it wrote:\n%s", p.name, errNotReady, addr, p.Log(2000))
			case <-tick.C:
			}
		}
	}
	return nil
}

// answers tells whether something answers PING in the Redis protocol. To accept a connection is not enough: the kernel
// does that for a process that has not yet begun to serve, and never will.
func answers(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	n, err := c.Read(make([]byte, 1))
	return err == nil && n == 1
}

// retire makes every later start fail.
func (p *Process) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// Running tells whether the process lives; a frozen one does.
func (p *Process) Running() bool {
	r := p.current()
	return r != nil && !r.over()
}

// PID is the id of the present or last life, 0 before the first.
func (p *Process) PID() int {
	if r := p.current(); r != nil {
		return r.proc.Pid
	}
	return 0
}

// Signal sends one signal and waits for nothing.
func (p *Process) Signal(sig os.Signal) error {
	r := p.current()
	if r == nil {
		return fmt.Errorf("signal %s: %w", p.name, errStopped)
	}
	if err := r.proc.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// Kill ends the process by SIGKILL and waits until it is gone. A process that is gone already is no error.
func (p *Process) Kill() error { return KillAll(p) }

// KillAll sends SIGKILL to every process and only then waits until they are gone.
func KillAll(procs ...*Process) error {
	var errs []error
	for _, p := range procs {
		if p.Running() {
			if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
				errs = append(errs, err)
			}
		}
	}
	for _, p := range procs {
		errs = append(errs, p.awaitEnd(stopTimeout))
	}
	return errors.Join(errs...)
}

// Stop asks the process to end by SIGTERM and waits for that at most 10 s; after that it kills it and returns an error.
// An exit status other than 0 is an error too.
func (p *Process) Stop() error {
	if !p.Running() {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := p.awaitEnd(stopTimeout); err != nil {
		return errors.Join(err, p.Kill())
	}
	if code := p.ExitCode(); code != 0 {
		return fmt.Errorf("stop %s: it exited with status %d", p.name, code)
	}
	return nil
}

func (p *Process) awaitEnd(limit time.Duration) error {
	r := p.current()
	if r == nil {
		return nil
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-r.done:
		return nil
	case <-t.C:
		return fmt.Errorf("%s (pid %d): %w", p.name, r.proc.Pid, errUnstopped)
	}
}

// Ended is closed when the present life is over; nil before the first.
func (p *Process) Ended() <-chan struct{} {
	if r := p.current(); r != nil {
		return r.done
	}
	return nil
}

// ExitCode is how the last life ended: -1 by a signal, or while it lives.
func (p *Process) ExitCode() int {
	if r := p.current(); r != nil && r.over() && r.endErr == nil {
		return r.end.ExitCode()
	}
	return -1
}

// Freeze stops the process by SIGSTOP: it keeps its connections and answers nothing.
func (p *Process) Freeze() error { return p.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

// Restart kills the process if it lives and starts it again, with the same port, directory and files.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Kill(); err != nil {
		return err
	}
	return p.Start(ctx)
}

// SetEnv replaces what is added to the environment, from the next start on.
func (p *Process) SetEnv(env ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env = env
}

// SetProgram replaces the program that runs, from the next start on: an upgrade, or a way back.
func (p *Process) SetProgram(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path = path
}

// writeLines writes a configuration file.
func writeLines(path string, lines []string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	return w.Flush()
}
