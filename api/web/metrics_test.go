package web

import (
	"bufio"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/api"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var update = flag.Bool("update", false, "write testdata/metrics.golden anew: for additions alone")

// exposed is a node whose every metric has something to tell.
func exposed(t *testing.T) (*fakeNode, Options) {
	t.Helper()
	n := newFakeNode(t)
	n.monitor(t, "m", one, two, three, four)
	n.maintain(t, four)
	fleet := fakeFleet{
		one: alive(raftfsm.RoleMaster, 1000), two: alive(raftfsm.RoleReplica, 900),
		three: alive(raftfsm.RoleReplica, 400, func(o *api.Observation) { o.Info.MasterLinkUp = false }),
	}
	o := options(t, n, fleet)
	o.Outlook = func(_ *raftfsm.State, m *raftfsm.Master) Outlook {
		if m.Pause != nil {
			return Outlook{FailoverBlockers: []string{"paused"}, SwitchoverBlockers: []string{"master_down"}, LossBytes: -1}
		}
		return Outlook{LossBytes: 100}
	}
	o.Clients = func() (Clients, bool) {
		return Clients{Connections: 5, Subscribers: 2, Accepted: 9, Rejected: 1, Commands: 70, Errors: 3, Messages: 8}, true
	}
	o.Scripts = func() Scripts { return Scripts{Running: 1, Waiting: 2, Runs: 6, Failures: 4} }
	return n, o
}

// scrapeText is what Prometheus is told, without comments and what Go and the process say of themselves.
func scrapeText(t testing.TB, s http.Handler) (samples map[string]string, text string) {
	t.Helper()
	w := ask(s, http.MethodGet, "/metrics")
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	samples = map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(w.Body.String())); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "sentineld_") {
			cut := strings.LastIndexByte(line, ' ')
			if _, twice := samples[line[:cut]]; twice {
				t.Errorf("told twice: %s", line)
			}
			samples[line[:cut]] = line[cut+1:]
		}
	}
	return samples, w.Body.String()
}

// The names, types and meanings of metrics are a promise to dashboards and alerts: the file only grows. What is told of in it is
// told of in docs/metrics.md.
func TestPromise(t *testing.T) {
	n, o := exposed(t)
	n.begin(t, "m", raftfsm.KindForced, two)
	n.finish(t, "m", raftfsm.OutcomeCompleted, raftfsm.Loss{Kind: raftfsm.LossExact, Bytes: 12})
	s := newServer(t, o)
	_, ready := scrapeText(t, s) // predicts a loss
	n.pause(t, "m")
	_, paused := scrapeText(t, s) // is blocked
	told := ready + paused
	var lines []string
	for _, f := range families {
		if !strings.Contains(told, "\n"+f.name+"{") && !strings.Contains(told, "\n"+f.name+" ") {
			t.Errorf("%s: has no sample in this test", f.name)
		}
		if !strings.Contains(told, fmt.Sprintf("# TYPE %s %s\n", f.name, strings.ToLower(f.kind.String()))) {
			t.Errorf("%s: its type is not told", f.name)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s\n", f.name, strings.ToLower(f.kind.String()), f.help))
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	const golden = "testdata/metrics.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("metrics differ from %s; an addition is written by -update, anything else breaks what others built\n%s", golden, got)
	}
	docs, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.Contains(string(docs), "| `"+f.name) {
			t.Errorf("docs/metrics.md has no row of %s", f.name)
		}
	}
	for name := range strings.FieldsFuncSeq(string(docs), func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
		if strings.HasPrefix(name, "sentineld_") && !strings.Contains(got, name+" ") {
			t.Errorf("docs/metrics.md tells of %s, which is none", name)
		}
	}
}

// Bug reports have the metrics as a scrape has them, but for what grows meanwhile.
func TestWriteMetrics(t *testing.T) {
	_, o := exposed(t)
	s := newServer(t, o)
	_, scraped := scrapeText(t, s)
	var written strings.Builder
	if err := s.WriteMetrics(&written); err != nil {
		t.Fatal(err)
	}
	ours := func(text string) string {
		var out strings.Builder
		for line := range strings.Lines(text) {
			if strings.Contains(line, "sentineld_") && !strings.Contains(line, "seconds") {
				out.WriteString(line)
			}
		}
		return out.String()
	}
	if got := ours(written.String()); got == "" || got != ours(scraped) {
		t.Errorf("written is\n%s\nand scraped\n%s", got, ours(scraped))
	}
}

func TestValues(t *testing.T) {
	n, o := exposed(t)
	s := newServer(t, o)
	check := func(want map[string]string) {
		t.Helper()
		got, text := scrapeText(t, s)
		for name, v := range want {
			if got[name] != v {
				t.Errorf("%s is %q, want %q", name, got[name], v)
			}
		}
		if strings.Contains(text, password) {
			t.Error("the password is told")
		}
		for line := range strings.Lines(text) {
			if strings.Contains(line, "10.0.0.") && !strings.HasPrefix(line, "sentineld_master_info{") {
				t.Errorf("an address outside of master_info: %s", line)
			}
		}
	}
	const m = `{master="m"}`
	check(map[string]string{
		`sentineld_raft_role{role="leader"}`: "1", `sentineld_raft_role{role="follower"}`: "0", "sentineld_raft_has_leader": "1",
		"sentineld_raft_term": "3", "sentineld_raft_members": "1", "sentineld_raft_voters": "1", "sentineld_raft_members_heard": "1", "sentineld_raft_members_drained": "0",
		"sentineld_raft_last_contact_seconds": "0", "sentineld_raft_log_write_p50_seconds": "0.002", "sentineld_masters": "1",
		`sentineld_instances{role="replica"}`: "3", "sentineld_instances_probed": "3", "sentineld_instances_connected": "3",
		`sentineld_master_info{address="10.0.0.1:6379",announced="10.0.0.1:6379",epoch="0",master="m"}`: "1",
		"sentineld_master_up" + m: "1", "sentineld_master_odown" + m: "0", "sentineld_master_down_votes" + m: "0",
		"sentineld_master_ping_seconds" + m: "0.00025", "sentineld_master_replicas" + m: "3",
		"sentineld_master_replicas_connected" + m: "2", "sentineld_master_replicas_in_sync" + m: "1",
		"sentineld_master_replica_lag_max_bytes" + m: "600", "sentineld_master_maintenance_instances" + m: "1",
		"sentineld_master_failover_ready" + m: "1", "sentineld_master_predicted_loss_bytes" + m: "100",
		"sentineld_master_last_failover_loss_bytes" + m: "", "sentineld_master_last_failover_loss_known" + m: "",
		`sentineld_master_failover_blocked{master="m",reason="paused"}`: "", "sentineld_master_switchover_ready" + m: "1",
		"sentineld_resp_subscribers": "2", "sentineld_resp_messages_total": "8", "sentineld_script_failures_total": "4",
		`sentineld_master_failovers_total{kind="forced",master="m",outcome="completed"}`: "0",
	})

	n.pause(t, "m")
	n.down(t, "m", one, raftfsm.CauseTimeout)
	check(map[string]string{
		"sentineld_master_up" + m: "0", "sentineld_master_odown" + m: "1", "sentineld_master_down_votes" + m: "1",
		"sentineld_master_sdown" + m: "0", "sentineld_master_paused" + m: "1", "sentineld_master_failover_ready" + m: "0",
		`sentineld_master_failover_blocked{master="m",reason="paused"}`: "1", "sentineld_master_predicted_loss_bytes" + m: "",
		"sentineld_master_switchover_ready" + m: "0", `sentineld_master_switchover_blocked{master="m",reason="master_down"}`: "1",
	})

	n.begin(t, "m", raftfsm.KindForced, two)
	check(map[string]string{"sentineld_master_failover_in_progress" + m: "1"})
	n.finish(t, "m", raftfsm.OutcomeCompleted, raftfsm.Loss{Kind: raftfsm.LossLowerBound, Bytes: 12})
	check(map[string]string{
		"sentineld_master_failover_in_progress" + m: "0", "sentineld_master_last_failover_loss_bytes" + m: "12",
		"sentineld_master_last_failover_loss_known" + m:                                                 "0",
		`sentineld_master_info{address="10.0.0.2:6379",announced="10.0.0.2:6379",epoch="1",master="m"}`: "1",
		`sentineld_master_failovers_total{kind="forced",master="m",outcome="completed"}`:                "1",
	})
	n.begin(t, "m", raftfsm.KindForced, three)
	n.finish(t, "m", raftfsm.OutcomeAborted, raftfsm.Loss{})
	check(map[string]string{ // one that switched nothing is not the last that did
		"sentineld_master_last_failover_loss_bytes" + m:                                  "12",
		`sentineld_master_failovers_total{kind="forced",master="m",outcome="completed"}`: "1",
		`sentineld_master_failovers_total{kind="forced",master="m",outcome="aborted"}`:   "1",
	})
	n.begin(t, "m", raftfsm.KindForced, three)
	n.finish(t, "m", raftfsm.OutcomeTimedOut, raftfsm.Loss{Kind: raftfsm.LossUnknown})
	check(map[string]string{
		"sentineld_master_last_failover_loss_bytes" + m: "", "sentineld_master_last_failover_loss_known" + m: "0",
	})
}

// What cannot be told is absent, and not 0: a node that loads, an observer, one without a Sentinel port.
func TestAbsent(t *testing.T) {
	n, o := exposed(t)
	o.Fleet, o.Outlook, o.Clients, o.Scripts = nil, nil, nil, nil
	n.set(func(n *fakeNode) { n.status = api.NodeStatus{Role: "observer", LastContact: -1, Heard: nil} })
	s := newServer(t, o)
	got, _ := scrapeText(t, s)
	for _, name := range []string{
		"sentineld_raft_last_contact_seconds", "sentineld_raft_log_write_p50_seconds", "sentineld_raft_members_heard",
		`sentineld_master_ping_seconds{master="m"}`, `sentineld_master_failover_ready{master="m"}`,
		`sentineld_master_replica_lag_max_bytes{master="m"}`, "sentineld_resp_connections", "sentineld_script_runs_total",
	} {
		if v, there := got[name]; there {
			t.Errorf("%s is %s", name, v)
		}
	}
	if got[`sentineld_master_replicas{master="m"}`] != "3" || got["sentineld_raft_has_leader"] != "0" {
		t.Errorf("%v", got)
	}
	n.set(func(n *fakeNode) { n.err, n.status.Loading = errLoading, true })
	got, _ = scrapeText(t, s)
	if _, there := got["sentineld_masters"]; there || got["sentineld_loading"] != "1" {
		t.Errorf("loading: %v", got)
	}
}

// A counter never falls: not when the history forgets, and it does not begin with what was before the process.
func TestTally(t *testing.T) {
	rows := func(history ...*raftfsm.Failover) []row {
		return []row{{m: &raftfsm.Master{Name: "m", History: history}}}
	}
	ended := func(epoch uint64, at int64) *raftfsm.Failover {
		return &raftfsm.Failover{Kind: raftfsm.KindAutomatic, Outcome: raftfsm.OutcomeCompleted, Epoch: epoch, EndedIndex: 7, EndedAtMs: at}
	}
	tl := tally{began: 1000}
	for i, c := range []struct {
		history []*raftfsm.Failover
		want    uint64
	}{
		{[]*raftfsm.Failover{ended(5, 900)}, 0},
		{[]*raftfsm.Failover{ended(5, 900), ended(8, 1100)}, 1},
		{[]*raftfsm.Failover{ended(5, 900), ended(8, 1100)}, 1},
		{[]*raftfsm.Failover{ended(9, 1200)}, 2},
		{nil, 2},
		{[]*raftfsm.Failover{ended(12, 1300), ended(13, 1400)}, 4},
	} {
		r := rows(c.history...)
		tl.count(r)
		if got := r[0].counts.n[0][0]; got != c.want {
			t.Errorf("%d: %d, want %d", i, got, c.want)
		}
	}
	tl.count(nil)
	if len(tl.masters) != 0 {
		t.Error("a master that is gone is remembered")
	}
}

func (n *fakeNode) pause(t *testing.T, name string) {
	t.Helper()
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: name, Reason: "work"}}})
}

// BenchmarkScrape is a whole answer for 10,000 masters with two replicas each, as Prometheus takes it.
func BenchmarkScrape(b *testing.B) {
	n := newFakeNode(b)
	fleet := fakeFleet{}
	for i := range 10000 {
		var addrs []string
		for k := range 3 {
			addrs = append(addrs, fmt.Sprintf("10.%d.%d.%d:6379", k, i/250, i%250))
			role := raftfsm.RoleReplica
			if k == 0 {
				role = raftfsm.RoleMaster
			}
			fleet[addrs[k]] = alive(role, 1000)
		}
		n.monitor(b, fmt.Sprintf("master-%05d", i), addrs...)
	}
	o := options(b, n, fleet)
	o.Outlook = func(*raftfsm.State, *raftfsm.Master) Outlook { return Outlook{LossBytes: 100} }
	s := newServer(b, o)
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				r.RemoteAddr = "127.0.0.1:1234"
				r.Header.Set("Accept-Encoding", encoding)
				w := httptest.NewRecorder()
				s.ServeHTTP(w, r)
				b.ReportMetric(float64(w.Body.Len()), "bytes/scrape")
			}
		})
	}
}
