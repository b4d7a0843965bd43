package main

import (
	"fmt"

	"github.com/raftsentinel/raftsentinel/cmd/terminal"
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
	wanted, err := terminal.Confirm(a.stdin, a.stderr, what)
	if err == nil && !wanted {
		err = failedf("not confirmed; nothing changed")
	}
	return err
}
