package scale

import (
	"fmt"
	"slices"
	"strings"
)

// figure is one line of the table.
type figure struct {
	id, what string
	unit     string
	reach    float64 // 0: it is only told
	atLeast  bool    // reach is a lower bound
}

// sample is what one run of an experiment gave, by figure.
type sample map[string]float64

// figures are the lines in their order.
var figures = []figure{
	{id: "fifty-median", what: "50 of 500 masters are killed at once, + down-after 1000: every node has the new address, median", unit: "ms", reach: 60},
	{id: "fifty-max", what: "the same, the last of them", unit: "ms", reach: 200},
	{id: "add", what: "add 500 masters, one call each", unit: "ms", reach: 2000},
	{id: "import", what: "add 500 masters, one `sentinelctl apply`", unit: "ms", reach: 300},
	{id: "rest-cpu", what: "at rest, 500 masters + 500 replicas, default down-after: CPU of the busiest node", unit: "% of a core", reach: 2},
	{id: "rest-commands", what: "the same: commands per second at one instance, of all nodes together", unit: "/s", reach: 1.8},
	{id: "rest-memory", what: "the same: resident memory of the largest node", unit: "MiB", reach: 48},
	{id: "many-memory-each", what: "resident memory for each further instance", unit: "KiB", reach: 16},
	{id: "many-cpu", what: "at rest, 9,000 masters + 9,000 replicas: CPU of the busiest node", unit: "% of a core", reach: 30},
	{id: "many-memory", what: "the same: resident memory of the largest node", unit: "MiB", reach: 400},
	{id: "many-false", what: "the same: false verdicts", unit: "", reach: 0.5},
	{id: "rack-median", what: "900 of 9,000 die at once, + down-after 30000: every node has the new address, median", unit: "ms"},
	{id: "rack-max", what: "the same, the last of them", unit: "ms", reach: 3000},
	{id: "log-disk", what: "after 10,000 failovers, 500 masters 20 times: the most that a node's data directory took on disk", unit: "MiB", reach: 64},
	{id: "log-restart", what: "then a node is killed and started again: until it is ready", unit: "ms", reach: 1000},
	{id: "reads-local", what: "gRPC `GetMaster` at one node, 64 callers over 4 connections, LOCAL (leader or follower, the slower)", unit: "/s", reach: 40000, atLeast: true},
	{id: "reads-local-p99", what: "the same: 99 of 100 answers within", unit: "ms", reach: 5},
	{id: "reads-linearizable", what: "the same, LINEARIZABLE", unit: "/s", reach: 15000, atLeast: true},
	{id: "reads-linearizable-p99", what: "the same: 99 of 100 answers within", unit: "ms"},
	{id: "watch-shared", what: "5,000 `WatchMasters` at one node over 64 connections, a switch of one master: from its first sign at that node until all are told", unit: "ms", reach: 60},
	{id: "watch-shared-cpu", what: "the same, at rest: CPU of that node", unit: "% of a core"},
	{id: "watch-shared-memory", what: "the same: further resident memory of that node", unit: "MiB"},
	{id: "watch-own", what: "5,000 `WatchMasters` with a connection each: the same switch", unit: "ms", reach: 400},
	{id: "watch-own-cpu", what: "the same, at rest: CPU of that node", unit: "% of a core"},
	{id: "watch-own-memory", what: "the same: further resident memory of that node", unit: "MiB"},
}

// reached tells whether a value is within what is to be reached.
func (f figure) reached(v float64) bool {
	if f.atLeast {
		return v >= f.reach
	}
	return v <= f.reach
}

func (f figure) bound() string {
	switch {
	case f.reach == 0:
		return ""
	case f.id == "many-false":
		return "none"
	case f.atLeast:
		return "≥ " + number(f.reach) + " " + f.unit
	}
	return "≤ " + number(f.reach) + " " + f.unit
}

// Table is what all runs gave.
type Table struct {
	Runs         int
	ours, theirs map[string][]float64
}

func newTable(runs int) *Table {
	return &Table{Runs: runs, ours: map[string][]float64{}, theirs: map[string][]float64{}}
}

func (t *Table) add(s sample, theirs bool) {
	into := t.ours
	if theirs {
		into = t.theirs
	}
	for id, v := range s {
		into[id] = append(into[id], v)
	}
}

// String is the table in Markdown: the median of the runs, and all of them behind it.
func (t *Table) String() string {
	var b strings.Builder
	b.WriteString("| what | reach | sentineld: median (each run) | | redis-sentinel | ratio |\n|---|---|---|---|---|---|\n")
	for _, f := range figures {
		ours := t.ours[f.id]
		if len(ours) == 0 {
			continue
		}
		m, verdict := median(ours), ""
		if f.reach != 0 {
			verdict = "**missed**"
			if f.reached(m) {
				verdict = "reached"
			}
		}
		theirs, ratio := "", ""
		if v := t.theirs[f.id]; len(v) > 0 {
			theirs = runs(v)
			if m > 0 {
				ratio = fmt.Sprintf("%.2f", median(v)/m)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s %s | %s | %s | %s |\n", f.what, f.bound(), runs(ours), f.unit, verdict, theirs, ratio)
	}
	return b.String()
}

func runs(v []float64) string {
	var each []string
	for _, x := range v {
		each = append(each, number(x))
	}
	return fmt.Sprintf("**%s** (%s)", number(median(v)), strings.Join(each, ", "))
}

func number(v float64) string {
	switch {
	case v >= 100 || v == float64(int(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// median of an even number is the mean of the middle two.
func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}
