package scale

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

// clockTick is USER_HZ, in which the kernel counts CPU time; 100 on every Linux that Go knows.
const clockTick = 10 * time.Millisecond

// cpuOf is the CPU time that a process has used, in user mode and in the kernel (proc(5), stat).
func cpuOf(p *stage.Process) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, err
	}
	// The name of the program stands in parentheses and may hold anything.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of %s: %q", p.Name(), text)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// memoryOf is a process's resident memory in bytes (proc(5), statm).
func memoryOf(p *stage.Process) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID()))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm of %s: %q", p.Name(), text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return float64(pages) * float64(os.Getpagesize()), err
}

// largest is the memory of the largest process in bytes.
func largest(procs []*stage.Process) (float64, error) {
	var most float64
	for _, p := range procs {
		m, err := memoryOf(p)
		if err != nil {
			return 0, err
		}
		most = max(most, m)
	}
	return most, nil
}

// times are the CPU times of processes at one moment.
type times struct {
	at  time.Time
	cpu []time.Duration
}

func timesOf(procs []*stage.Process) (times, error) {
	t := times{at: time.Now()}
	for _, p := range procs {
		c, err := cpuOf(p)
		if err != nil {
			return t, err
		}
		t.cpu = append(t.cpu, c)
	}
	return t, nil
}

// busiest is the share of a core, in percent, of the process that used most since an earlier moment.
func (t times) busiest(since times) float64 {
	var most time.Duration
	for i := range t.cpu {
		most = max(most, t.cpu[i]-since.cpu[i])
	}
	return 100 * float64(most) / float64(t.at.Sub(since.at))
}
