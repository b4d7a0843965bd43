package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/raftsentinel/raftsentinel/cmd/sentineld/daemon"
	"github.com/raftsentinel/raftsentinel/cmd/terminal"
)

const (
	forceNewCluster = "--force-new-cluster"
	yesFlag         = "--yes"
)

// recoverCluster makes the one survivor of a cluster the first node of a new one.
func recoverCluster(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	forced, yes := slices.Contains(args, forceNewCluster), slices.Contains(args, yesFlag)
	if !forced {
		fmt.Fprintln(stderr, recoverUsage)
		return exitUsage
	}
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == forceNewCluster || a == yesFlag })
	config, ok := configure(args, stderr)
	if !ok {
		return exitUsage
	}
	r, err := daemon.OpenRecovery(ctx, config)
	if err == nil {
		err = errors.Join(carryOut(r, yes, stdin, stdout, stderr), r.Close())
	}
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(stderr, "sentineld: recover:", err)
	switch {
	case errors.Is(err, daemon.ErrConfig), errors.Is(err, errUnasked):
		return exitUsage
	case daemon.RecoveryRefused(err):
		return exitRefused
	}
	return exitFailed
}

var (
	errUnasked  = errors.New("there is no terminal to ask on: confirm by --yes")
	errDeclined = errors.New("not confirmed; nothing changed")
)

func carryOut(r *daemon.Recovery, yes bool, stdin io.Reader, stdout, stderr io.Writer) error {
	before := r.State()
	if r.Alone() {
		if _, err := r.Run(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(stdout, "node %s is the only member of cluster %s already; nothing changed\n", r.RaftID(), before.Cluster().Era)
		return err
	}
	what := fmt.Sprintf("make node %s the only member of a new cluster, which goes on from what this node knows of cluster %s (%s): %d masters at revision %d. "+
		"What the nodes %s knew beyond that is lost, and none of them may ever start again with the data that it has",
		r.RaftID(), before.Cluster().Name, before.Cluster().Era, before.MasterCount(), before.Index(), strings.Join(r.Lost(), ", "))
	switch {
	case yes:
		fmt.Fprintf(stderr, "This will %s.\n", what)
	case !terminal.Is(stdin):
		return fmt.Errorf("this would %s; %w", what, errUnasked)
	default:
		wanted, err := terminal.Confirm(stdin, stderr, what)
		if err == nil && !wanted {
			err = errDeclined
		}
		if err != nil {
			return err
		}
	}
	if _, err := r.Run(); err != nil {
		return fmt.Errorf("%w; run it again", err)
	}
	after := r.State()
	_, err := fmt.Fprintf(stdout, "cluster %s goes on as cluster %s: %d masters at revision %d, highest epoch %d\n"+
		"start this node now, then the others with emptied dirs\n",
		before.Cluster().Era, after.Cluster().Era, after.MasterCount(), after.Index(), after.Epoch())
	return err
}

const recoverUsage = `usage: sentineld recover --force-new-cluster [CONFIG-FILE] [--directive value ...] [--yes]

For a cluster that has lost the majority of its nodes for good, and for nothing else. While a majority can come back, start
its nodes instead; to replace fewer, start blank nodes under the same names.

Run on one surviving node, while it is stopped and with its own configuration, this makes that node the only member of a new
cluster, which goes on from what it knows: masters, options, epochs, past failovers. What only the lost nodes knew is lost.
Afterwards start this node; empty the dirs of all others, then start them, and they join.

A lost node that is started with its old data finds out, and stays out, where it meets the new cluster before it meets its old
majority. Two or more of them that meet first would be the old cluster: their dirs must be emptied.`
