package main

import (
	"errors"
	"os"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/raftsentinel/raftsentinel/cmd/sentineld/daemon"
)

// supervisor is the service manager that started this process; none where the environment names none.
func supervisor() (daemon.Supervisor, error) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return daemon.Supervisor{}, nil
	}
	interval, err := systemd.SdWatchdogEnabled(true)
	if err != nil {
		return daemon.Supervisor{}, err
	}
	return daemon.Supervisor{Watchdog: interval, Tell: tell}, nil
}

// tell sends assignments to the service manager.
func tell(assignments string) error {
	sent, err := systemd.SdNotify(false, assignments)
	if err == nil && !sent {
		err = errors.New("NOTIFY_SOCKET is not set any more")
	}
	return err
}
