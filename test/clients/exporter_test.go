package clients

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/test/lab"
)

// TestExporter has redis_exporter scrape a node, as it scrapes a Sentinel.
func TestExporter(t *testing.T) {
	s, l := newSet(t)
	port, err := s.Port()
	if err != nil {
		t.Fatal(err)
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	p := start(t, s, "redis_exporter", "-redis.addr", "redis://"+l.Addrs()[0], "-web.listen-address", listen)
	of := fmt.Sprintf(`{master_address="%s",master_name="%s"}`, l.Master.Addr(), lab.MasterName)
	want := []string{
		`redis_up 1`,
		`redis_exporter_last_scrape_error{err=""} 0`,
		`redis_sentinel_masters 1`,
		`redis_sentinel_tilt 0`,
		`redis_sentinel_running_scripts 0`,
		`redis_sentinel_scripts_queue_length 0`,
		`redis_sentinel_simulate_failure_flags 0`,
		strings.Replace(`redis_sentinel_master_status`+of, "}", `,master_status="ok"} 1`, 1),
		`redis_sentinel_master_slaves` + of + ` 2`,
		`redis_sentinel_master_ok_slaves` + of + ` 2`,
		`redis_sentinel_master_sentinels` + of + ` 3`,
		`redis_sentinel_master_ok_sentinels` + of + ` 3`,
		`redis_sentinel_master_ckquorum_status{` +
			`master_name="` + lab.MasterName + `",message="OK 3 usable Sentinels. Quorum and failover authorization can be reached"} 1`,
	}
	var metrics string
	eventually(t, "the exporter scrapes", func() error {
		if err := alive(p); err != nil {
			return err
		}
		resp, err := http.Get("http://" + listen + "/metrics")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		metrics = string(body)
		if err == nil && !strings.Contains(metrics, "redis_up") {
			err = fmt.Errorf("it has %q", body)
		}
		return err
	})
	for _, w := range want {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(w) + `$`).MatchString(metrics) {
			t.Errorf("no %s", w)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(regexp.MustCompile(`(?m)^redis_(sentinel|up|exporter_last).*$`).FindAllString(metrics, -1), "\n"))
	}
}
