package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// around is how long is written before the command, and after the switchover has ended.
const around = 500 * time.Millisecond

// switched is what the rounds of planned switchovers gave.
type switched struct {
	// all are the keys of all rounds that were acknowledged; lost are those that were not there after their round, and those
	// that were not there in the end, refused the writes that failed for the applications.
	all           []string
	lost, refused int
	fullSyncs     int
	// paused: the old master's writes are, or nobody is the master, until the new one takes writes; untold is from the same moment
	// until clients are told of it. outages are by application.
	paused, untold, answers []time.Duration
	outages                 [2][]time.Duration
}

// switchovers moves one set's master in every round, while an application writes.
func switchovers(ctx context.Context, binary string, rounds int, progress io.Writer) (string, error) {
	s, err := stage.New("")
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	o, err := newOurs(s, binary, "default")
	if err != nil {
		return "", withLogs(s, err)
	}
	l, err := lab.NewSet(ctx, s, o)
	if err != nil {
		return "", withLogs(s, err)
	}
	defer func() { _ = l.Close() }()
	cluster, err := client.Dial(o.Cluster.GRPCAddrs())
	if err != nil {
		return "", err
	}
	defer func() { _ = cluster.Close() }()
	var r switched
	if err := r.rounds(ctx, l, cluster, rounds, progress); err != nil {
		return "", withLogs(s, err)
	}
	return r.String(), nil
}

func (r *switched) rounds(ctx context.Context, l *lab.Set, cluster *client.Client, rounds int, progress io.Writer) error {
	if err := l.Settle(ctx); err != nil {
		return err
	}
	before, err := l.FullSyncs(ctx)
	if err != nil {
		return err
	}
	for i := range rounds {
		if err := settle(ctx, l); err != nil {
			return fmt.Errorf("before round %d: %w", i+1, err)
		}
		row, err := r.round(ctx, l, cluster, i+1)
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		fmt.Fprintf(progress, "switchover %2d/%d: paused %s ms, switched after %s ms, outages %s and %s ms, answers %s ms; of %d writes %d lost so far, %d refused; ended at%s\n",
			i+1, rounds, tenths(r.paused[i]), tenths(r.untold[i]), tenths(r.outages[0][i]), tenths(r.outages[1][i]), tenths(r.answers[i]), len(r.all), r.lost, r.refused, ends(row.GetSteps()))
	}
	if err := settle(ctx, l); err != nil {
		return fmt.Errorf("after the last round: %w", err)
	}
	after, err := l.FullSyncs(ctx)
	if err != nil {
		return err
	}
	r.fullSyncs = after - before
	master := l.Client(l.Master)
	gone, err := lost(ctx, master, r.all)
	if err != nil {
		return err
	}
	r.lost = max(r.lost, gone)
	if gone > 0 {
		return nil // it sees
	}
	return sighted(ctx, master, r.all)
}

// round is one switchover, and gives its record. What was acknowledged in it is read back from the new master.
func (r *switched) round(ctx context.Context, l *lab.Set, cluster *client.Client, n int) (*sentinelv1.Failover, error) {
	ctx, cancel := context.WithTimeout(ctx, lab.Limit)
	defer cancel()
	w := newWriter(ctx, cluster, n)
	time.Sleep(around)
	began := time.Now()
	answers, row, err := switchOver(ctx, l, cluster, fmt.Sprintf("bench-%d", n))
	time.Sleep(around)
	if err := errors.Join(err, w.end()); err != nil {
		return nil, err
	}
	paused, untold, err := pauseOf(row.GetSteps())
	if err != nil {
		return nil, err
	}
	for i := range r.outages {
		outage, err := w.outage(i, began)
		if err != nil {
			return nil, err
		}
		r.outages[i] = append(r.outages[i], outage)
	}
	if err := l.Settle(ctx); err != nil {
		return nil, err
	}
	if to := net.JoinHostPort(row.GetTo().GetHost(), strconv.Itoa(int(row.GetTo().GetPort()))); to != l.Master.Addr() {
		return nil, fmt.Errorf("the record says that the master went to %s; it is at %s", to, l.Master.Addr())
	}
	keys, refused := w.keys()
	gone, err := lost(ctx, l.Client(l.Master), keys)
	if err != nil {
		return nil, err
	}
	r.all, r.lost, r.refused = append(r.all, keys...), r.lost+gone, r.refused+refused
	r.paused, r.untold, r.answers = append(r.paused, paused), append(r.untold, untold), append(r.answers, answers)
	return row, nil
}

// switchOver orders a switchover and follows it to its end. answers is from just before the order to the last node's first
// answer with the new address.
func switchOver(ctx context.Context, l *lab.Set, cluster *client.Client, id string) (answers time.Duration, row *sentinelv1.Failover, err error) {
	answers, err = renamed(ctx, l.Master.Addr(), l.Addrs(), func() error {
		_, err := cluster.Switchover(ctx, &sentinelv1.SwitchoverMasterRequest{Name: lab.MasterName, RequestId: id})
		if err != nil {
			return err
		}
		for m, err := range cluster.WatchOperation(ctx, id) {
			if err != nil {
				return err
			}
			row = m.GetFailover()
		}
		if row.GetOutcome() != sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED {
			return fmt.Errorf("it ended as %v: %s", row.GetOutcome(), row.GetEndReason())
		}
		return nil
	})
	return answers, row, err
}

// pauseOf is from the beginning of the step that pauses writes to the end of the one that makes the new master, which takes
// writes then, and to that of the one that tells clients: those whose writes wait at the old master are let go upon it.
func pauseOf(steps []*sentinelv1.Step) (paused, untold time.Duration, err error) {
	from, made, told := -1.0, -1.0, -1.0
	for _, s := range steps {
		switch s.GetName() {
		case raftfsm.StepPause:
			from = s.GetAtMs() - s.GetTookMs()
		case raftfsm.StepPromote:
			made = s.GetAtMs()
		case raftfsm.StepSwitch:
			told = s.GetAtMs()
		}
	}
	if from < 0 || made < from || told < made {
		return 0, 0, fmt.Errorf("the record does not tell when writes were paused, the new master made, and clients told: %v", steps)
	}
	return time.Duration((made - from) * float64(time.Millisecond)), time.Duration((told - from) * float64(time.Millisecond)), nil
}

// ends tells of each step when it ended, in milliseconds from the decision.
func ends(steps []*sentinelv1.Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, " %s %.1f", s.GetName(), s.GetAtMs())
	}
	return b.String()
}

// String is the table in Markdown.
func (r *switched) String() string {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	var b strings.Builder
	b.WriteString("| what | reach | sentineld | |\n|---|---|---|---|\n")
	fmt.Fprintf(&b, "| acknowledged writes lost | 0 | **%d** of %d | %s |\n", r.lost, len(r.all), verdict(r.lost == 0))
	for _, row := range []struct {
		what string
		row
		took []time.Duration
	}{
		{"old master's writes are paused or nobody is the master: until the new master takes writes (`promote`)", row{median: ms(10), max: ms(50)}, r.paused},
		{"the same, until clients are told of it and those that wait at the old master are let go (`switch`)", row{}, r.untold},
		{"write outage of a client that follows the watch stream (`api/client/goredis`)", row{median: ms(25), max: ms(150)}, r.outages[0]},
		{"the same with go-redis's own `MinRetryBackoff` 8 ms and `MaxRetries` 3", row{}, r.outages[1]},
		{"command given → every node answers with the new address", row{median: ms(80)}, r.answers},
	} {
		res := result{row: row.row, ours: row.took}
		least, median, most := quantiles(row.took)
		told := ""
		if res.reach() != "" {
			told = verdict(res.reached())
		}
		fmt.Fprintf(&b, "| %s | %s | %s / **%s** / %s | %s |\n", row.what, res.reach(), tenths(least), tenths(median), tenths(most), told)
	}
	fmt.Fprintf(&b, "| full resyncs caused | 0 | **%d** | %s |\n", r.fullSyncs, verdict(r.fullSyncs == 0))
	fmt.Fprintf(&b, "| writes that failed for the applications, after go-redis's repetitions | | %d | |\n", r.refused)
	return b.String()
}

// tenths is in milliseconds.
func tenths(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }
