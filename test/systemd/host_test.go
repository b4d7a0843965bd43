//go:build linux

package systemd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// rebooted is nspawn's exit status where the system inside has asked for a reboot.
	rebooted = 133
	// bootLimit bounds a boot, and an orderly shutdown.
	bootLimit = 60 * time.Second
	// commandLimit bounds one command on a host.
	commandLimit = 90 * time.Second
)

// host is a machine with a systemd, a disk, a name and an address of its own.
type host struct {
	name  string
	addr  string
	place int
	dir   string
	api   *api

	mu     sync.Mutex
	nspawn *exec.Cmd     // nil while the power is off
	off    chan struct{} // closed once the power is off
	boots  int
}

// newHost connects a host to the network; its disk is blank and its power off.
func newHost(n *network, place int) (*host, error) {
	h := &host{name: "n" + strconv.Itoa(place), addr: subnet + strconv.Itoa(place), place: place}
	h.dir = filepath.Join("/run/hosts", h.name)
	var err error
	if h.api, err = newAPI(h.addr); err != nil {
		return nil, err
	}
	if err := n.join(h.name, place); err != nil {
		return nil, err
	}
	for _, dir := range h.cgroups() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	return h, h.blank()
}

// cgroups are the host's own. nspawn makes the rest below the one that it is started in.
func (h *host) cgroups() []string {
	var out []string
	for _, dir := range hierarchies() {
		out = append(out, filepath.Join(dir, os.Getenv(inside), h.name))
	}
	return out
}

// blank gives a host whose power is off a new disk: the root file system, and nothing written to it yet.
func (h *host) blank() error {
	root := h.path("/")
	if err := syscall.Unmount(root, 0); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("%s: take its disk away: %w", h.name, err)
	}
	if err := os.RemoveAll(h.dir); err != nil {
		return err
	}
	upper, work := filepath.Join(h.dir, "upper"), filepath.Join(h.dir, "work")
	for _, dir := range []string{root, upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	options := "lowerdir=" + *rootfs + ",upperdir=" + upper + ",workdir=" + work
	if err := syscall.Mount("lab", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("%s: mount its disk: %w", h.name, err)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return errors.Join(
		h.write("/etc/hostname", h.name+"\n", 0o644),
		h.write("/etc/machine-id", hex.EncodeToString(id)+"\n", 0o444),
		// The journal outlives a reboot where this folder is.
		os.MkdirAll(h.path("/var/log/journal"), 0o755),
	)
}

// path is where a file of the host's disk is seen from here. What is under /run and /tmp there is not on its disk.
func (h *host) path(name string) string { return filepath.Join(h.dir, "root", name) }

func (h *host) write(name, text string, mode os.FileMode) error {
	path := h.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// copyIn copies a file from here to the host's disk.
func (h *host) copyIn(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return h.write(to, string(data), 0o644)
}

// boot puts the power on, and returns when systemd has started everything.
func (h *host) boot(ctx context.Context) error {
	off := make(chan struct{})
	h.mu.Lock()
	h.off = off
	h.mu.Unlock()
	if err := h.spawn(); err != nil {
		return err
	}
	go h.power(off)
	return h.up(ctx)
}

// spawn starts nspawn in the host's cgroups.
func (h *host) spawn() error {
	console, err := os.OpenFile(filepath.Join(h.dir, "console"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }()
	const script = `for dir in $CGROUPS; do echo $$ >"$dir/cgroup.procs" || exit; done; exec systemd-nspawn "$@"`
	cmd := exec.Command("sh", "-c", script, "nspawn",
		// No systemd and no machined of this machine has a part in it.
		"--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe",
		"--directory="+h.path("/"), "--machine="+h.name, "--network-namespace-path=/run/netns/"+h.name,
		// For IPAddressDeny and DevicePolicy, which would silently not hold.
		"--capability=CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON", "--system-call-filter=bpf")
	cmd.Env = append(os.Environ(), "CGROUPS="+strings.Join(h.cgroups(), " "), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	h.nspawn = cmd
	h.boots++
	return nil
}

// power starts the host again for as long as it ends to reboot.
func (h *host) power(off chan struct{}) {
	defer close(off)
	for {
		h.mu.Lock()
		cmd := h.nspawn
		h.mu.Unlock()
		_ = cmd.Wait() // Its exit status is looked at.
		h.mu.Lock()
		h.nspawn = nil
		h.mu.Unlock()
		if cmd.ProcessState.ExitCode() != rebooted || h.spawn() != nil {
			return
		}
	}
}

// up waits until systemd has started everything, and nothing has failed.
func (h *host) up(ctx context.Context) error {
	return until(ctx, bootLimit, func(ctx context.Context) error {
		out, err := h.run(ctx, "systemctl", "is-system-running", "--wait")
		if err == nil {
			return nil
		}
		if strings.TrimSpace(out) == "degraded" {
			units, _ := h.run(ctx, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
			return fmt.Errorf("%s: failed: %s", h.name, units)
		}
		return err
	})
}

// consoleTail is the last of what the host has printed to its console.
func (h *host) consoleTail() string {
	out, err := os.ReadFile(filepath.Join(h.dir, "console"))
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-4<<10):])
}

// pid is the host's first process, as this namespace numbers it.
func (h *host) pid() (int, error) {
	h.mu.Lock()
	cmd := h.nspawn
	h.mu.Unlock()
	if cmd == nil {
		return 0, fmt.Errorf("%s is off", h.name)
	}
	id := strconv.Itoa(cmd.Process.Pid)
	children, err := os.ReadFile("/proc/" + id + "/task/" + id + "/children")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", h.name, err)
	}
	first, _, _ := strings.Cut(string(children), " ")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return 0, fmt.Errorf("%s is not yet up", h.name)
	}
	return pid, nil
}

// command is one that runs as root on the host, outside of its services.
func (h *host) command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	pid, err := h.pid()
	if err != nil {
		return nil, err
	}
	enter := []string{
		"-t", strconv.Itoa(pid), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive",
	}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...), nil
}

// run runs a command on the host and gives what it has printed.
func (h *host) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd, err := h.command(ctx, args...)
	if err != nil {
		return "", err
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), &failed{h.name, args, cmd.ProcessState.ExitCode(), strings.TrimSpace(complaint.String()), err}
	}
	return out.String(), nil
}

// failed is a command that did not end with status 0.
type failed struct {
	host      string
	args      []string
	code      int
	complaint string
	err       error
}

// Error tells the command, how it ended, and what it complained of.
func (f *failed) Error() string {
	return fmt.Sprintf("%s: %s: %v: %s", f.host, strings.Join(f.args, " "), f.err, f.complaint)
}

// Unwrap is how it ended.
func (f *failed) Unwrap() error { return f.err }

// reboot has systemd reboot the host, and returns when it is up again.
func (h *host) reboot(ctx context.Context) error {
	h.mu.Lock()
	before := h.boots
	h.mu.Unlock()
	if _, err := h.run(ctx, "systemctl", "reboot"); err != nil {
		return err
	}
	err := until(ctx, bootLimit, func(context.Context) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.boots == before || h.nspawn == nil {
			return fmt.Errorf("%s has not gone down to reboot", h.name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return h.up(ctx)
}

// crash takes the power away at once. What was written to the disk stays.
func (h *host) crash(ctx context.Context) error {
	pid, err := h.pid()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	h.mu.Lock()
	off := h.off
	h.mu.Unlock()
	select {
	case <-off:
		return nil
	case <-time.After(bootLimit):
		return fmt.Errorf("%s did not go off within %v", h.name, bootLimit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// freeze has everything on the host stand still, or go on.
func (h *host) freeze(still bool) error {
	state := "0"
	if still {
		state = "1"
	}
	return os.WriteFile(filepath.Join(h.cgroups()[0], "payload", "cgroup.freeze"), []byte(state), 0o644)
}

// until asks until the answer is no error, at most for the limit.
func until(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
