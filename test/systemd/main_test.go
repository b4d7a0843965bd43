//go:build linux

package systemd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	rootfs = flag.String("rootfs", "", "a root file system of scripts/get-rootfs.sh; without one nothing is tested")
	deb    = flag.String("deb", "", "the package to install")
	newer  = flag.String("newer", "", "a package of a later version, to upgrade to")
)

// inside names to the process in the lab's namespaces the lab's cgroup.
const inside = "SENTINELD_LAB_CGROUP"

// cgroupPrefix begins the names of the labs' cgroups; the id of the process that made it follows.
const cgroupPrefix = "sentineld-lab-"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	switch {
	case *rootfs == "": // The test itself tells that it is skipped, and why.
		return m.Run()
	case os.Getenv(inside) != "":
		if err := settleIn(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		redis.SetLogger(quiet{})
		return m.Run()
	}
	if err := gate(); err != nil {
		fmt.Fprintf(os.Stderr, "no hosts can be booted here:\n%v\n", err)
		return 1
	}
	code, err := enclosed()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// quiet keeps go-redis from telling of each dial that fails while a host is down.
type quiet struct{}

// Printf is dropped.
func (quiet) Printf(context.Context, string, ...any) {}

// gate tells everything that is missing to boot hosts.
func gate() error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("only root boots them"))
	}
	for _, name := range []string{"systemd-nspawn", "nsenter", "ip", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			errs = append(errs, fmt.Errorf("%w; scripts/get-rootfs.sh gets it", err))
		}
	}
	for _, path := range []string{filepath.Join(*rootfs, "usr/lib/systemd/systemd"), *deb, *newer} {
		if _, err := os.Stat(path); err != nil {
			errs = append(errs, fmt.Errorf("%w; make test-systemd makes it", err))
		}
	}
	if len(hierarchies()) == 0 {
		errs = append(errs, errors.New("no cgroup2 is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified"))
	}
	return errors.Join(errs...)
}

// hierarchies are where a host needs a cgroup of its own: cgroup2, and on a machine with both versions systemd's of version 1.
func hierarchies() []string {
	const cgroup2 = 0x63677270
	for _, dirs := range [][]string{{"/sys/fs/cgroup"}, {"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"}} {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dirs[0], &fs); err == nil && fs.Type == cgroup2 {
			return dirs
		}
	}
	return nil
}

// enclosed runs this program once more in namespaces of its own. Whatever that one mounts, starts or connects ends with it,
// however it ends: the kernel tears down a PID namespace with its first process, and the others with their last.
func enclosed() (int, error) {
	forgetCgroups()
	cgroup := cgroupPrefix + strconv.Itoa(os.Getpid())
	defer func() {
		if err := removeCgroup(cgroup); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"="+cgroup, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	// That signal is sent when the thread ends that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// An interrupt ends the one inside; this one stays to clean up.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("enter namespaces of our own: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case s := <-signals:
		return 0, errors.Join(fmt.Errorf("ended by: %v", s), cmd.Process.Kill(), <-ended)
	case err := <-ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return 0, err
		}
		return cmd.ProcessState.ExitCode(), nil
	}
}

// settleIn makes the namespaces a place for the lab: nothing that is mounted here is seen outside, and /run is empty.
func settleIn() error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"lab", "/run", "tmpfs", 0},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

// forgetCgroups removes what labs have left that were killed.
func forgetCgroups() {
	for _, dir := range hierarchies() {
		left, _ := filepath.Glob(filepath.Join(dir, cgroupPrefix+"*"))
		for _, path := range left {
			pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), cgroupPrefix))
			if err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				_ = removeTree(path)
			}
		}
	}
}

// removeCgroup removes a cgroup whose last process has ended, everywhere.
func removeCgroup(name string) error {
	var errs []error
	for _, dir := range hierarchies() {
		errs = append(errs, removeTree(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// removeTree removes folders of a cgroup file system, whose files cannot be removed. A process that has just ended may still
// count for a moment.
func removeTree(path string) error {
	var err error
	for range 50 {
		if err = removeFolders(path); err == nil || !errors.Is(err, syscall.EBUSY) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func removeFolders(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeFolders(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(path)
}
