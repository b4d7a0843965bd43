package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// confirm says what will be done and asks whether to go on. Without a terminal only --yes goes on.
func (a *app) confirm(yes bool, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if yes {
		return nil
	}
	if !a.isTerminal(a.stdin) {
		return usagef("this will %s; there is no terminal to ask on: confirm by --yes", what)
	}
	if _, err := fmt.Fprintf(a.stderr, "This will %s.\nGo on? [y/N] ", what); err != nil {
		return fmt.Errorf("ask for confirmation: %w", err)
	}
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil && answer == "" {
		return failedf("not confirmed; nothing changed")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return failedf("not confirmed; nothing changed")
}

// isTerminal tells whether somebody may sit at r: a character device that is not the null device.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
