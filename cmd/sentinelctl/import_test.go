package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// oracle is a Redis Sentinel as far as import asks it.
type oracle struct {
	masters  map[string]map[string]string
	replicas map[string][]string
	pass     string
}

// newOracle knows cache and queue, as all of these tests' Sentinels do.
func newOracle() *oracle {
	field := func(name, host string, more ...string) map[string]string {
		f := map[string]string{
			"name": name, "ip": host, "port": "6379", "flags": "master", "quorum": "2", "down-after-milliseconds": "5000",
			"failover-timeout": "60000", "parallel-syncs": "1", "config-epoch": "7", "num-other-sentinels": "2",
		}
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		return f
	}
	return &oracle{
		masters: map[string]map[string]string{
			"cache": field("cache", "10.0.0.1", "notification-script", "/opt/notify"), "queue": field("queue", "fe80::2"),
		},
		replicas: map[string][]string{"cache": {"10.0.0.2 6379", "10.0.0.3 6379"}, "queue": {"fe80::3 6379"}},
	}
}

// serve answers on a port until the test ends.
func (o *oracle) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				o.answer(c)
			})
		}
	})
	return l.Addr().String()
}

func (o *oracle) answer(c net.Conn) {
	in, open := bufio.NewReader(c), o.pass == ""
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		switch word := strings.ToLower(strings.Join(args[:min(2, len(args))], " ")); {
		case strings.HasPrefix(word, "auth"):
			if args[len(args)-1] != o.pass {
				_, _ = io.WriteString(c, "-WRONGPASS invalid username-password pair or user is disabled.\r\n")
				continue
			}
			open = true
			_, _ = io.WriteString(c, "+OK\r\n")
		case !open:
			_, _ = io.WriteString(c, "-NOAUTH Authentication required.\r\n")
		case word == "sentinel masters":
			fmt.Fprintf(c, "*%d\r\n", len(o.masters))
			for _, name := range slices.Sorted(maps.Keys(o.masters)) {
				writeMap(c, o.masters[name])
			}
		case word == "sentinel replicas":
			list := o.replicas[args[2]]
			fmt.Fprintf(c, "*%d\r\n", len(list))
			for _, at := range list {
				host, port, _ := strings.Cut(at, " ")
				writeMap(c, map[string]string{"name": at, "ip": host, "port": port, "flags": "slave"})
			}
		default:
			fmt.Fprintf(c, "-ERR unknown command '%s'\r\n", word)
		}
	}
}

func writeMap(w io.Writer, m map[string]string) {
	fmt.Fprintf(w, "*%d\r\n", 2*len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(w, "$%d\r\n%s\r\n$%d\r\n%s\r\n", len(k), k, len(m[k]), m[k])
	}
}

func readCommand(in *bufio.Reader) ([]string, error) {
	count := func() (int, error) {
		line, err := in.ReadString('\n')
		if err != nil || len(line) < 3 {
			return 0, io.ErrUnexpectedEOF
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := count()
	args := make([]string, 0, 4)
	for range n {
		size, err := count()
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil, err
		}
		args = append(args, string(b[:size]))
	}
	return args, err
}

// sentinels serves oracles and gives their addresses, and what names them in words that do not change from run to run.
func sentinels(t *testing.T, all ...*oracle) (from string, plain func(string) string) {
	t.Helper()
	var at, pairs []string
	for i, o := range all {
		at = append(at, o.serve(t))
		pairs = append(pairs, at[i], fmt.Sprintf("SENTINEL-%d", i+1))
	}
	return strings.Join(at, ","), strings.NewReplacer(pairs...).Replace
}

// TestImport: all agree; what Sentinels do not tell comes from the file; the sets are paused; a repeat changes nothing.
func TestImport(t *testing.T) {
	k := newKeeper()
	k.wants["[fe80::2]:6379"] = true
	endpoint := serveNode(t, k)
	from, plain := sentinels(t, newOracle(), newOracle(), newOracle())
	with := fileOf(t, "sentinel auth-pass cache sesame\nsentinel rename-command cache CONFIG GUESSME\nsentinel down-after-milliseconds cache 3000\nport 1\n")
	args := []string{"import", "--from-sentinel", from, "--with", with}

	r := ctl(t.Context(), t, endpoint, nil, append(args, "--dry-run")...)
	if r.status != exitCheck || k.changesAsked() != 0 || len(k.masters) != 0 {
		t.Fatalf("dry run: exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
	golden(t, "import-dry-run", plain(r.stdout))
	r = ctl(t.Context(), t, endpoint, nil, append(args, "-o", "json")...)
	if r.status != exitDone {
		t.Fatalf("exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
	golden(t, "import.json", plain(r.stdout))
	if strings.Contains(r.stdout+r.stderr, "sesame") {
		t.Error("the password shows")
	}
	cache, _ := k.find("cache")
	if o := cache.GetOptions(); cache.GetEpoch() != 7 || o.GetQuorum() != 2 || o.GetDownAfterMs() != 3000 || o.GetFailoverTimeoutMs() != 60000 ||
		o.GetRenameCommand()["config"] != "GUESSME" || k.passwords["cache"] != "sesame" || o.GetNotificationScript() != "" {
		t.Errorf("cache %v", cache)
	}
	if p := plain(cache.GetPause().GetReason()); p != "imported from the Sentinels SENTINEL-1, SENTINEL-2, SENTINEL-3, which are in charge until they are stopped; then resume it" {
		t.Errorf("paused %q", p)
	}
	var brought []string
	for _, q := range k.asked {
		if q, ok := q.(*sentinelv1.MonitorMasterRequest); ok && !q.GetValidateOnly() && q.GetName() == "cache" {
			brought = nil
			for _, a := range q.GetReplicas() {
				brought = append(brought, client.HostPort(a))
			}
		}
	}
	if fmt.Sprint(brought) != "[10.0.0.2:6379 10.0.0.3:6379]" {
		t.Errorf("replicas %v", brought)
	}
	for _, more := range [][]string{nil, {"--dry-run"}} {
		r = ctl(t.Context(), t, endpoint, nil, append(args, more...)...)
		if r.status != exitDone || strings.Count(r.stdout, " same ") != 2 {
			t.Errorf("again %v: exit %d, %s%s", more, r.status, r.stdout, r.stderr)
		}
	}

	// Scripts come along where the node's file lets them.
	k.scripts = true
	if r = ctl(t.Context(), t, endpoint, nil, args...); r.status != exitDone || cache.GetOptions().GetNotificationScript() != "/opt/notify" {
		t.Errorf("exit %d, %s%s; %v", r.status, r.stdout, r.stderr, cache)
	}
	// A set that is in charge is only compared.
	cache.Pause, cache.Options.Quorum = nil, new(int32(1))
	if r = ctl(t.Context(), t, endpoint, nil, args...); r.status != exitCheck || cache.GetOptions().GetQuorum() != 1 ||
		!strings.Contains(r.stderr, "left as they are, and differ: cache") || !strings.Contains(r.stdout, "quorum 1 -> 2") {
		t.Errorf("exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
}

// TestImportOfThoseWhoDisagree: each disagreement is told; of options the safest value is taken, of addresses none.
func TestImportOfThoseWhoDisagree(t *testing.T) {
	a, b, c := newOracle(), newOracle(), newOracle()
	maps.Copy(a.masters["cache"], map[string]string{"quorum": "1", "parallel-syncs": "5", "num-other-sentinels": "4"})
	maps.Copy(b.masters["cache"], map[string]string{"down-after-milliseconds": "90000", "config-epoch": "8", "flags": "master,o_down,failover_in_progress"})
	delete(c.masters["cache"], "notification-script")
	c.replicas["cache"] = []string{"10.0.0.2 6379", "10.0.0.4 6379", "? 0"}
	b.masters["queue"]["ip"] = "fe80::3"
	b.masters["other"] = map[string]string{
		"name": "other", "ip": "10.0.0.7", "port": "6379", "quorum": "2", "down-after-milliseconds": "1000", "failover-timeout": "1000",
		"parallel-syncs": "1", "config-epoch": "0", "flags": "master",
	}
	k := newKeeper()
	k.scripts = true
	from, plain := sentinels(t, a, b, c)
	r := ctl(t.Context(), t, serveNode(t, k), nil, "import", "--from-sentinel", from)
	if r.status != exitFailed {
		t.Errorf("exit %d", r.status)
	}
	golden(t, "import-disagree", plain(r.stdout)+"--- stderr\n"+plain(r.stderr))
	if _, err := k.find("queue"); err == nil {
		t.Error("a set was imported of which nobody knows where its master is")
	}
	cache, err := k.find("cache")
	if err != nil {
		t.Fatal(err)
	}
	if o := cache.GetOptions(); o.GetQuorum() != 2 || o.GetDownAfterMs() != 90000 || o.GetParallelSyncs() != 1 || cache.GetEpoch() != 8 ||
		o.GetNotificationScript() != "" {
		t.Errorf("cache %v", cache)
	}
}

// TestImportWithAnotherAddress: where a file has the master elsewhere, that is told, and the Sentinels are believed.
func TestImportWithAnotherAddress(t *testing.T) {
	k := newKeeper()
	from, _ := sentinels(t, newOracle(), newOracle())
	with := fileOf(t, "sentinel auth-pass cache sesame\nsentinel monitor cache 10.0.0.77 6379 2\n")
	endpoint := serveNode(t, k)
	for _, out := range []string{"table", "json"} {
		r := ctl(t.Context(), t, endpoint, nil, "import", "--from-sentinel", from, "--with", with, "--dry-run", "-o", out)
		says := "cache: the file and the Sentinels disagree on the master's address: " + with + ":2 says 10.0.0.77:6379, every Sentinel says 10.0.0.1:6379; taken is 10.0.0.1:6379"
		if out == "json" {
			says = `"value": "10.0.0.77:6379"`
		}
		if !strings.Contains(r.stderr+r.stdout, says) {
			t.Errorf("%s%s\ndoes not say %s", r.stdout, r.stderr, says)
		}
	}
}

// TestImportRefuses: nothing is imported on the word of some.
func TestImportRefuses(t *testing.T) {
	locked := newOracle()
	locked.pass = "geheim"
	from, _ := sentinels(t, newOracle(), locked)
	pass, wrong := fileOf(t, "geheim\n"), fileOf(t, "falsch\n")
	gone := deserted(t)
	first, _, _ := strings.Cut(from, ",")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"none named", nil, exitUsage, "name the Sentinels"},
		{"no address", []string{"--from-sentinel", "h"}, exitUsage, `address "h"`},
		{"one twice", []string{"--from-sentinel", first + "," + first}, exitUsage, "is named twice"},
		{"one does not answer", []string{"--from-sentinel", first + "," + gone}, exitUnreachable, "the Sentinel " + gone + " cannot be asked"},
		{"one wants a password", []string{"--from-sentinel", from}, exitForbidden, "--sentinel-password-file; nothing was imported"},
		{"another password", []string{"--from-sentinel", from, "--sentinel-password-file", wrong}, exitForbidden, "WRONGPASS"},
		{"no file of the password", []string{"--from-sentinel", from, "--sentinel-password-file", "/none/x"}, exitUsage, "/none/x"},
		{"a file with a misspelt name", []string{"--from-sentinel", first, "--with", fileOf(t, "sentinel auth-pass cahce sesame")}, exitUsage, `no master "cahce"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKeeper()
			r := ctl(t.Context(), t, serveNode(t, k), nil, append([]string{"import"}, c.args...)...)
			if r.status != c.status || !strings.Contains(r.stderr, c.says) || len(k.asked) > 0 {
				t.Errorf("exit %d, %s; asked %d", r.status, r.stderr, len(k.asked))
			}
			if strings.Contains(r.stderr, "geheim") || strings.Contains(r.stderr, "falsch") || strings.Contains(r.stderr, "sesame") {
				t.Errorf("a password shows: %s", r.stderr)
			}
		})
	}
	from, _ = sentinels(t, locked)
	k := newKeeper()
	if r := ctl(t.Context(), t, serveNode(t, k), nil, "import", "--from-sentinel", from, "--sentinel-password-file", pass); r.status != exitDone {
		t.Errorf("with the password: exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
	// A set that is refused is named, and the others are imported.
	k = newKeeper()
	k.refuse["cache"] = refusalFor(t, codes.FailedPrecondition, "AUTH_REJECTED", "the login is rejected by 10.0.0.1:6379 (WRONGPASS)", nil)
	r := ctl(t.Context(), t, serveNode(t, k), nil, "import", "--from-sentinel", first)
	if r.status != exitFailed || !strings.Contains(r.stdout, "the login is rejected by 10.0.0.1:6379") || !strings.Contains(r.stderr, "not done: cache; the others are") {
		t.Errorf("exit %d, %s%s", r.status, r.stdout, r.stderr)
	}
}

// deserted is an address at which nobody listens any more.
func deserted(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
