package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
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

// The HTTP port of real nodes: what it tells of health, masters and metrics, where it is announced, and after the leader is gone.
func TestHTTP(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis.Master("10.0.0.1:6379")
		w.redis.Replica("10.0.0.2:6379", "10.0.0.1:6379")
		a, b := w.run(w.config(1, 2, "sentinel monitor m 10.0.0.1 6379 1", "sentinel auth-pass m hunter2-hunter2")), w.run(w.config(2, 2))
		defer a.end()
		if code, body := a.mustGet("/livez"); code != 200 {
			t.Errorf("livez at the start: %d %s", code, body)
		}
		w.until("ready", func() bool { code, _ := a.mustGet("/readyz"); return code == 200 })
		a.master()
		_ = conf.RoleVoter
		_ = json.Valid
		_ = strings.Contains
		_ = raftfsm.Addr{}
		b.end()
	})
}
