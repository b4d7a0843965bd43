package daemon

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// get asks a node by HTTP from a host.
func (r *runner) get(from, path string) (code int, body string, err error) {
	transport := &http.Transport{DialContext: r.w.net.From(from), DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.HTTPAddr().String()+path, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func (r *runner) mustGet(path string) (code int, body string) {
	r.w.t.Helper()
	code, body, err := r.get("127.0.2.1", path)
	if err != nil {
		r.w.t.Fatalf("%s: %v", path, err)
	}
	return code, body
}

// The HTTP port of a cluster: what it tells of health, masters and metrics, where it is announced, whom it refuses, through a
// failover and without a leader.
func TestHTTP(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		const secret = "hunter2-hunter2"
		for _, a := range []raftfsm.Addr{first, second} {
			w.redis.Add(a.String()).SetAuth("", secret)
		}
		w.redis.Instance(second).Replicate(first)
		w.redis.Instance(second).SetLinkDelay(0, 0)
		seed := []string{"sentinel monitor m 10.9.0.1 6379 2", "sentinel auth-pass m " + secret, "sentinel down-after-milliseconds m 1000"}
		var nodes []*runner
		for i := range 3 {
			nodes = append(nodes, w.run(w.config(i+1, 3, seed...)))
		}
		a := nodes[0]
		status := func(path string) int { code, _ := a.mustGet(path); return code }
		if code, body := a.mustGet("/livez"); code != 200 {
			t.Errorf("livez at the start: %d %s", code, body)
		}
		if code, body := a.mustGet("/readyz"); code != 503 || !strings.Contains(body, "[-] leader: ") {
			t.Errorf("readyz before there is a cluster: %d %s", code, body)
		}
		w.until("ready", func() bool { return status("/readyz") == 200 && a.State().Voters() == 3 })
		w.until("announced", func() bool {
			n, ok := a.State().Node(nodes[2].Status().RaftID)
			return ok && n.HTTP == raftfsm.Addr{Host: "127.0.1.3", Port: 26679}
		})
		const isMaster, isReplica = "/v1/masters/m/is-master?addr=", "/v1/masters/m/is-replica?max-lag-bytes=1000000&addr="
		w.until("the replica is seen", func() bool { return status(isReplica+second.String()) == 200 })
		if one, two := status(isMaster+first.String()), status(isMaster+second.String()); one != 200 || two != 503 {
			t.Errorf("is-master: %d %d", one, two)
		}
		code, body := a.mustGet("/metrics")
		for _, want := range []string{
			"\nsentineld_master_up{master=\"m\"} 1\n", "\nsentineld_masters 1\n", "\nsentineld_instances_probed 2\n",
			"\nsentineld_raft_voters 3\n", "\nsentineld_resp_connections 0\n", "\ngo_goroutines ",
		} {
			if code != 200 || !strings.Contains(body, want) {
				t.Errorf("metrics: %d, %q is not in\n%s", code, want, body)
			}
		}
		told := func(samples ...string) bool {
			_, body := a.mustGet("/metrics")
			return !slices.ContainsFunc(samples, func(x string) bool { return !strings.Contains(body, "\nsentineld_master_"+x+"\n") })
		}
		w.until("a failover is foretold", func() bool {
			return told(`failover_ready{master="m"} 1`, `predicted_loss_bytes{master="m"} 0`)
		})
		if code, body, err := a.get("10.9.9.9", "/metrics"); err != nil || code != 403 || strings.Contains(body, "sentineld_") {
			t.Errorf("from another machine: %d %s %v", code, body, err)
		}
		_, master := a.mustGet("/v1/masters/m")
		if strings.Contains(body, secret) || strings.Contains(master, secret) || !strings.Contains(master, `"auth_pass_set":true`) {
			t.Error("the password is told, or the answer is another")
		}

		w.redis.Instance(first).Crash()
		w.until("the switch", func() bool { return status(isMaster+second.String()) == 200 })
		w.until("the next one is blocked", func() bool {
			return told(`failover_ready{master="m"} 0`, `failover_blocked{master="m",reason="no_good_replica"} 1`)
		})
		if code := status(isMaster + first.String()); code != 503 {
			t.Errorf("the old master is one: %d", code)
		}

		nodes[1].end()
		nodes[2].end()
		w.until("no leader", func() bool { return status("/readyz") == 503 })
		if live, is := status("/livez"), status(isMaster+second.String()); live != 200 || is != 200 {
			t.Errorf("without a leader: livez %d, is-master %d", live, is)
		}
		if !told(`failover_ready{master="m"} 0`, `failover_blocked{master="m",reason="no_leader"} 1`,
			`switchover_ready{master="m"} 0`, `switchover_blocked{master="m",reason="no_leader"} 1`) {
			t.Error("without a leader a failover is foretold, or for another reason than that")
		}
		a.end()
	})
}

// http-port 0 opens nothing and announces nothing.
func TestHTTPOff(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		r := w.run(w.config(1, 1, "http-port 0"))
		w.until("registered", func() bool { _, ok := r.State().Node(r.Status().RaftID); return ok })
		n, _ := r.State().Node(r.Status().RaftID)
		if open := w.net.Listening("127.0.1.1"); !n.HTTP.IsZero() || r.HTTPAddr() != nil || slices.Contains(open, 26679) {
			t.Errorf("HTTP at %v, announced %v, open %v", r.HTTPAddr(), n.HTTP, open)
		}
		r.end()
	})
}

// Time passes and nothing beats: a fleet that stands still is told of.
func TestFleetBeats(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		r := w.run(w.config(1, 1))
		time.Sleep(time.Minute)
		if err := r.web.Alive(); err != nil {
			t.Error(err)
		}
		r.end()
		time.Sleep(stuckLimit + time.Second)
		if err := r.web.Alive(); err == nil || !strings.HasPrefix(err.Error(), "probes: ") {
			t.Error("a fleet that has ended beats")
		}
	})
}
