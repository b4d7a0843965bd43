package notify

import (
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

// exit is how a run ended.
type exit struct{ signal, code int }

// forkFailed stands for a signal where the system made no process, as in Redis Sentinel; execFailed for an exit code where
// the file could not be executed.
const (
	forkFailed = 99
	execFailed = 2
)

// retriable: the script asked to be run again, or could not say.
func (e exit) retriable() bool { return e.signal != 0 || e.code == 1 }

// process is a script that runs, at the head of a process group of its own.
type process struct {
	pid int
	// wait waits for its end, and calls last while what it has started can still be signalled.
	wait func(last func()) exit
	// kill signals the whole group; none once wait has returned, because its number may be another's then.
	kill func(syscall.Signal)
}

// launch starts a script. It reads nothing, and what it writes goes nowhere: a pipe would tie what it leaves running in the
// background to this process.
func launch(file string, argv, environ []string) (*process, error) {
	cmd := &exec.Cmd{Path: file, Args: argv, Env: environ, SysProcAttr: &syscall.SysProcAttr{Setpgid: true}}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	var mu sync.Mutex
	reaped := false
	return &process{
		pid: pid,
		wait: func(last func()) exit {
			if !awaitEnd(pid) {
				_ = cmd.Wait()
			}
			last()
			// As long as it is not reaped its number is nobody else's.
			mu.Lock()
			defer mu.Unlock()
			_ = cmd.Wait() // the state says it all
			reaped = true
			return exitOf(cmd.ProcessState)
		},
		kill: func(s syscall.Signal) {
			mu.Lock()
			defer mu.Unlock()
			if !reaped {
				_ = syscall.Kill(-pid, s)
			}
		},
	}, nil
}

func exitOf(s *os.ProcessState) exit {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return exit{signal: int(ws.Signal())}
	}
	return exit{code: s.ExitCode()}
}

// unstarted is how a run ended that never began. Want of processes, memory or descriptors may pass; the rest is the file's.
func unstarted(err error) exit {
	for _, passing := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, passing) {
			return exit{signal: forkFailed}
		}
	}
	return exit{code: execFailed}
}
