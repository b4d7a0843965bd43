// Command sentinelctl is everything an operator does with a sentineld cluster, over gRPC, from anywhere.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"unicode/utf8"

	"github.com/raftsentinel/raftsentinel/cmd/terminal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// checkText refuses what no message of the API could carry.
func checkText(args []string) error {
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return usagef("argument %q: is not UTF-8 text", arg)
		}
	}
	return nil
}

// run executes one command line and returns its exit status. A cancelled ctx is an interrupt.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, isTerminal: terminal.Is}
	root := a.root()                          //nolint:contextcheck // each command gets ctx from cobra
	root.SetArgs(append([]string{}, args...)) // nil would be the process's own
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root, checkText(args)
	if err == nil {
		cmd, err = root.ExecuteContextC(ctx)
	}
	a.close()
	return a.report(ctx, cmd, err)
}
