package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

var errNoMarks = errors.New("the document has no place for the figures")

// result is what the rounds of a row gave.
type result struct {
	row
	ours, theirs []time.Duration
}

type report struct {
	rounds  int
	fsync   time.Duration
	results []result
	steady  string
	// more is a table of its own.
	more string
}

// String is the table in Markdown.
func (r *report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds each, milliseconds, min / median / max; %s", r.rounds, machine(r.fsync))
	if len(r.results) > 0 {
		b.WriteString("| from | to | reach | sentineld | | redis-sentinel |\n|---|---|---|---|---|---|\n")
	}
	for _, res := range r.results {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", res.what, res.until, res.reach(), spread(res.ours), verdict(res.reached()), spread(res.theirs))
	}
	gap := "\n"
	if len(r.results) == 0 {
		gap = "" // the head has one
	}
	for _, more := range []string{r.steady, r.more} {
		if more != "" {
			fmt.Fprintf(&b, "%s%s\n", gap, strings.TrimSuffix(more, "\n"))
			gap = "\n"
		}
	}
	return b.String()
}

// machine says where and when something was measured.
func machine(fsync time.Duration) string {
	return fmt.Sprintf("fsync p50 of the machine: %.2f ms; %s/%s, %d processors; %s.\n\n",
		float64(fsync.Microseconds())/1000, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
}

func (r result) reach() string {
	var parts []string
	if r.median > 0 {
		parts = append(parts, fmt.Sprintf("median ≤ %d", r.median.Milliseconds()))
	}
	if r.max > 0 {
		parts = append(parts, fmt.Sprintf("max ≤ %d", r.max.Milliseconds()))
	}
	return strings.Join(parts, ", ")
}

func (r result) reached() bool {
	_, median, most := quantiles(r.ours)
	return (r.median == 0 || median <= r.median) && (r.max == 0 || most <= r.max)
}

func spread(took []time.Duration) string {
	if len(took) == 0 {
		return ""
	}
	least, median, most := quantiles(took)
	return fmt.Sprintf("%s / **%s** / %s", millis(least), millis(median), millis(most))
}

// quantiles gives the least, the median and the greatest; the median of an even number is the mean of the middle two.
func quantiles(took []time.Duration) (least, median, most time.Duration) {
	s := slices.Sorted(slices.Values(took))
	n := len(s)
	return s[0], (s[(n-1)/2] + s[n/2]) / 2, s[n-1]
}

func millis(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d.Microseconds())/1000) }

// replaceIn puts the text between the marks of that name in a document.
func replaceIn(path, name, text string) error {
	begin, end := "<!-- "+name+": begin -->", "<!-- "+name+": end -->"
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(doc), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s: %w: want the lines %s and %s", path, errNoMarks, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+text+end+after), 0o644)
}
