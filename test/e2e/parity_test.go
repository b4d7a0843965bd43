package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	staged "github.com/raftsentinel/raftsentinel/test/lab"
)

// TestAnswersAsSentinel has the same conversation with a real Redis Sentinel and with sentineld, in both versions of the
// protocol, and compares what they answer. differences says what is meant to differ, and why.
func TestAnswersAsSentinel(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
	s, err := stage.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			var b strings.Builder
			_ = s.WriteLogs(&b, logLimit)
			t.Log(b.String())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ours, err := staged.NewSentineld(s, programs.node)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := staged.NewRedisSentinel(s)
	if err != nil {
		t.Fatal(err)
	}
	var addrs, masters [2]string
	for i, w := range []staged.Watcher{theirs, ours} {
		set, err := staged.NewSet(t.Context(), s, w)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := set.Close(); err != nil {
				t.Error(err)
			}
		})
		if err := set.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		addrs[i], masters[i] = set.Addrs()[0], strings.ReplaceAll(set.Master.Addr(), ":", " ")
	}
	for _, hello := range []string{"HELLO 2", "HELLO 3"} {
		t.Run(hello, func(t *testing.T) {
			sentinel, node := newTalk(t, addrs[0]), newTalk(t, addrs[1])
			sentinel.ask(hello)
			node.ask(hello)
			for _, q := range parity {
				theirs := sentinel.ask(strings.ReplaceAll(q.command, "MASTER-ADDR", masters[0]))
				answer := node.ask(strings.ReplaceAll(q.command, "MASTER-ADDR", masters[1]))
				if want, got := q.how(theirs), q.how(answer); want != got {
					t.Errorf("%s:\nSentinel  %s\nsentineld %s", q.command, clip(theirs.String()), clip(answer.String()))
					explain(t, want, got)
				}
			}
		})
	}
	t.Run("differences", func(t *testing.T) {
		for _, d := range differences {
			was, got := newTalk(t, addrs[0]).ask(d.command).String(), newTalk(t, addrs[1]).ask(d.command).String()
			if !strings.HasPrefix(got, d.ours) {
				t.Errorf("%s: got %s, want %s because %s", d.command, clip(got), d.ours, d.reason)
			}
			if was == got {
				t.Errorf("%s: both answer %s; there is no difference any more", d.command, clip(got))
			}
		}
	})
	t.Run("failover of a master that is up", func(t *testing.T) {
		const command = "SENTINEL FAILOVER mymaster"
		want, got := newTalk(t, addrs[0]).ask(command).String(), ""
		// The switchover that is among the differences must be over.
		err := staged.Until(t.Context(), func(context.Context) error {
			if got = newTalk(t, addrs[1]).ask(command).String(); strings.HasPrefix(got, "-INPROG ") {
				return errors.New(got)
			}
			return nil
		})
		if err != nil || got != want {
			t.Errorf("got %s (%v), want %s", clip(got), err, clip(want))
		}
	})
}

// explain shows where two texts part.
func explain(t *testing.T, want, got string) {
	t.Helper()
	i := 0
	for i < min(len(want), len(got)) && want[i] == got[i] {
		i++
	}
	from := max(0, i-40)
	t.Logf("they part here:\n  ...%s\n  ...%s", clip(want[from:]), clip(got[from:]))
}

func clip(s string) string { return s[:min(len(s), 300)] }

// question is a command, and how its two answers are compared: by what how makes of each.
type question struct {
	command string
	how     func(answer) string
}

// difference is a command that is answered otherwise, on purpose.
type difference struct{ command, ours, reason string }

// talk is a connection.
type talk struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newTalk(t *testing.T, addr string) *talk {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &talk{t, conn, bufio.NewReader(conn)}
}

// ask sends a command, words without quotes; ” is an empty one.
func (c *talk) ask(command string) answer {
	c.t.Helper()
	words := strings.Fields(command)
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		if w == "''" {
			w = ""
		}
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if err := c.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	a, err := c.read()
	if err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	return a
}

// answer is a reply as it came: its sign, its text, and what it holds.
type answer struct {
	kind  byte
	text  string
	parts []answer
	null  bool
}

func (c *talk) read() (answer, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return answer{}, err
	}
	a := answer{kind: line[0], text: strings.TrimSuffix(line[1:], "\r\n")}
	if !strings.ContainsRune("$=*~%>", rune(a.kind)) {
		return a, nil
	}
	n, err := strconv.Atoi(a.text)
	switch {
	case err != nil:
		return a, err
	case n < 0:
		a.null = true
		return a, nil
	case a.kind == '$' || a.kind == '=':
		text := make([]byte, n+2)
		_, err = io.ReadFull(c.in, text)
		a.text = string(text[:n])
		return a, err
	case a.kind == '%':
		n *= 2
	}
	for range n {
		part, err := c.read()
		if err != nil {
			return a, err
		}
		a.parts = append(a.parts, part)
	}
	return a, nil
}

func (a answer) String() string {
	switch {
	case a.null:
		return string(a.kind) + "-1"
	case strings.ContainsRune("*~%>", rune(a.kind)):
		return string(a.kind) + a.inside(answer.String, " ")
	}
	return string(a.kind) + a.text
}

func (a answer) inside(how func(answer) string, sep string) string {
	var out []string
	for _, p := range a.parts {
		out = append(out, how(p))
	}
	return "[" + strings.Join(out, sep) + "]"
}

// exact compares every byte.
func exact(a answer) string { return a.String() }

// kinds compares types, and how many there are of each.
func kinds(a answer) string {
	switch {
	case a.null:
		return string(a.kind) + "-1"
	case strings.ContainsRune("*~%>", rune(a.kind)):
		return string(a.kind) + a.inside(kinds, "")
	}
	return string(a.kind)
}

// maps compares the keys of maps in their order, the types of their values, and in maps inside those likewise. In version 2 a
// map is an array in which every other element is a key.
func maps(a answer) string {
	isMap := a.kind == '%' || a.kind == '*' && len(a.parts) > 0 && len(a.parts)%2 == 0 && a.parts[0].kind == '$'
	if !isMap {
		if len(a.parts) > 0 {
			return string(a.kind) + a.inside(maps, "")
		}
		return kinds(a)
	}
	var out []string
	for i := 0; i+1 < len(a.parts); i += 2 {
		out = append(out, a.parts[i].text+":"+maps(a.parts[i+1]))
	}
	return string(a.kind) + "{" + strings.Join(out, " ") + "}"
}

// unordered compares the elements of an array in any order.
func unordered(a answer) string {
	var out []string
	for _, p := range a.parts {
		out = append(out, deep(p))
	}
	slices.Sort(out)
	return string(a.kind) + strings.Join(out, "\n")
}

// deep is exact where order matters not: the commands that one has subcommands of.
func deep(a answer) string {
	if len(a.parts) == 0 {
		return a.String()
	}
	if a.kind == '*' && len(a.parts) == 10 { // a command of COMMAND INFO; its last part are others
		return a.inside(func(p answer) string {
			if len(p.parts) > 0 && p.parts[0].kind == '*' {
				return unordered(p)
			}
			return p.String()
		}, " ")
	}
	return a.String()
}

// ourOwn are fields of texts and of maps that a Sentinel 7.0 has not, or that are left out here.
var ourOwn = []string{
	"lib-name", "lib-ver", "sentinel_total_tilt", // newer Sentinels have them
	"sentineld_version",
	"used_cpu_sys_main_thread", "used_cpu_user_main_thread", // a Go program has no main thread
}

// fieldNames compares the names of NAME:VALUE lines, or of NAME=VALUE words, in their order.
func fieldNames(a answer) string {
	out := []string{string(a.kind)}
	for line := range strings.Lines(a.text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			out = append(out, line)
			continue
		}
		for word := range strings.FieldsSeq(line) {
			name, _, found := strings.Cut(word, ":")
			if eq, _, ok := strings.Cut(word, "="); ok && len(eq) < len(name) {
				name, found = eq, true
			}
			if found && !slices.Contains(ourOwn, name) {
				out = append(out, name)
			}
		}
	}
	return strings.Join(out, " ")
}

// helpText compares the frame of HELP, and the names of the subcommands in it: the sentences are our own.
func helpText(a answer) string {
	var names []string
	for _, p := range a.parts {
		if p.kind != '+' {
			return "not simple strings: " + a.String()
		}
		if name, _, _ := strings.Cut(p.text, " "); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	last := a.parts[max(0, len(a.parts)-2):]
	return fmt.Sprint(a.parts[0], names, last)
}
