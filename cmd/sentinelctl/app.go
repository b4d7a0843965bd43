package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/raftsentinel/raftsentinel/api/client"
)

// app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// isTerminal tells whether somebody can be asked through stdin.
	isTerminal func(any) bool

	set settings
	// cluster is made by the first command that needs it.
	cluster *client.Client
}

// changes marks commands that change the state, for which a deadline means an unknown outcome.
var changes = map[string]string{"changes": "state"}

// orders marks those that begin an operation: the operation has an id, and the command, repeated, would begin another.
var orders = map[string]string{"changes": "operation"}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "sentinelctl",
		Short: "Operate a sentineld cluster",
		Long: `sentinelctl does everything an operator does with a sentineld cluster, over gRPC, from anywhere.
Any node takes any command.

Each global flag may also be set by SENTINELCTL_* in the environment, such as SENTINELCTL_ENDPOINTS, and by a line
"name value" in ~/.config/sentinelctl/config or /etc/sentineld/sentinelctl.conf; the flag wins, then the environment.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 no node reachable or no leader, 4 refused and nothing changed,
5 a check found something wrong, 6 outcome unknown, 7 not allowed, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          group,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.set.resolve(cmd)
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	a.set.register(root)
	root.AddCommand(
		a.mastersCmd(), a.masterCmd(), a.replicasCmd(), a.addrCmd(),
		a.monitorCmd(), a.setCmd(), a.removeCmd(), a.resetCmd(), a.forgetCmd(),
		a.applyCmd(), a.importCmd(),
		a.maintenanceCmd(), a.hostCmd(),
		a.switchoverCmd(), a.failoverCmd(), a.operationCmd(), a.pauseCmd(), a.resumeCmd(), a.ckquorumCmd(), a.explainCmd(),
		a.eventsCmd(), a.historyCmd(), a.statusCmd(), a.nodesCmd(), a.nodeCmd(), a.doctorCmd(), a.debugCmd(),
		a.backupCmd(), a.inspectCmd(), a.restoreCmd(),
		a.versionCmd(), a.completionCmd(), a.docsCmd(), a.demoCmd(),
	)
	return root
}

// negative is how pflag calls an argument like -1.
var negative = regexp.MustCompile(`^unknown shorthand flag: '[0-9]' in (-[0-9.]+)$`)

// flagError says of a negative number what it is: no flag, and no value that any command takes.
func flagError(cmd *cobra.Command, err error) error {
	if found := negative.FindStringSubmatch(err.Error()); found != nil {
		return usagef("%s: no argument may be negative; usage: %s", found[1], usage(cmd))
	}
	return usagef("%w", err)
}

// group is what a command that only holds others does: it tells what there is, or that there is no such thing.
func group(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("name a command\n\n%s", strings.TrimSpace(cmd.UsageString()))
	}
	hint := fmt.Sprintf("run %s --help for a list", cmd.CommandPath())
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usagef("unknown command %q: %s", args[0], hint)
}

// args checks the number of arguments, of which the usage line tells the names; most < 0 is any number.
func args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) >= least && (most < 0 || len(given) <= most) {
			return nil
		}
		return usagef("usage: %s", usage(cmd))
	}
}

// usage is a command's line in the help, without what every command has.
func usage(cmd *cobra.Command) string { return strings.TrimSuffix(cmd.UseLine(), " [flags]") }

// client connects to the cluster.
func (a *app) client() (*client.Client, error) {
	if a.cluster != nil {
		return a.cluster, nil
	}
	c, err := client.Dial(a.set.endpointList())
	if err != nil {
		return nil, usagef("%w", err)
	}
	a.cluster = c
	return c, nil
}

func (a *app) close() {
	if a.cluster != nil {
		// The process ends here; there is nothing left to lose.
		_ = a.cluster.Close()
	}
}

// request bounds one call.
func (a *app) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.set.timeout)
}

// report says what went wrong, and gives the exit status.
func (a *app) report(ctx context.Context, cmd *cobra.Command, err error) int {
	change := cmd != nil && cmd.Annotations["changes"] != ""
	code := exitStatus(err, change, ctx.Err() != nil)
	switch code {
	case exitDone:
	case exitInterrupted:
		if change {
			a.say("interrupted; the operation goes on")
		} else {
			a.say("interrupted")
		}
	case exitUnknown:
		hint := "; ask again, or repeat the command: it changes nothing twice"
		if cmd.Annotations["changes"] == orders["changes"] {
			hint = ""
		}
		a.say("outcome unknown: %s%s", a.words(err), hint)
	default:
		a.say("%s", a.words(err))
	}
	return code
}

// words are an error's, and, where nobody said why there is no answer, who was asked.
func (a *app) words(err error) string {
	text := words(err)
	if late(err) {
		text += "; asked: " + strings.Join(a.set.endpointList(), ", ")
	}
	return text
}

// late tells whether the time was over before a node had said anything.
func late(err error) bool {
	if none, known := errors.AsType[*exitError](err); known && none != nil {
		return false
	}
	silent := status.Code(err) == codes.DeadlineExceeded && len(status.Convert(err).Details()) == 0
	return silent || errors.Is(err, context.DeadlineExceeded)
}

// say writes a line to stderr.
func (a *app) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, "sentinelctl: "+format+"\n", args...)
}

// words are an error without the wrapping of its transport.
func words(err error) string {
	if none, ok := errors.AsType[*client.NoNodeError](err); ok {
		return none.Error()
	}
	if late(err) {
		return "no answer within the time allowed (--timeout)"
	}
	if s, ok := status.FromError(err); ok && err != nil {
		return s.Message()
	}
	return err.Error()
}

// age is a span as people read it: 350 ms, 12.5 s, 3m20s.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// ms is a span as the cluster tells it.
func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
