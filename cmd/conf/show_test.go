package conf

import (
	"strings"
	"testing"
)

// TestShow: what is shown reads back as what holds, and no secret is in it.
func TestShow(t *testing.T) {
	const text = `
cluster-name prod
node-id n1
bind 10.0.0.1 -::1
dir "/var/lib/sentinel d"
cluster-peers 10.0.0.1 10.0.0.2 10.0.0.3
bootstrap-expect 3
cluster-secret-file /etc/sentineld/secret
webhook https://hooks.example:8443/geheim-2?token=geheim-3
webhook-secret-file /etc/sentineld/hook-secret
failover-brake 40
sentinel monitor cache 10.0.1.1 6379 2
sentinel auth-pass cache geheim-4
sentinel down-after-milliseconds cache 1500
sentinel rename-command cache CONFIG CFG
`
	c := parseText(t, text)
	lines := strings.Join(c.Show(), "\n") + "\n"
	if strings.Contains(lines, "geheim") {
		t.Errorf("a secret is shown:\n%s", lines)
	}
	for _, want := range []string{
		"cluster-name prod\n", "bind 10.0.0.1 -::1\n", "dir \"/var/lib/sentinel d\"\n", "port 26379\n", "grpc-port 26479\n",
		"cluster-secret-file /etc/sentineld/secret\n", "webhook https://hooks.example:8443/(withheld)\n", "loglevel notice\n",
		"sentinel monitor cache 10.0.1.1 6379 2\n", "sentinel auth-pass cache (withheld)\n", "sentinel down-after-milliseconds cache 1500\n",
		"sentinel rename-command cache ",
		"cluster-peers 10.0.0.1:26479 10.0.0.2:26479 10.0.0.3:26479\n", "failover-brake 40\n", "protected-mode yes\n",
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("not shown: %s in\n%s", want, lines)
		}
	}
	again := parseText(t, strings.ReplaceAll(lines, "dev no\n", ""))
	if got := strings.Join(again.Show(), "\n") + "\n"; got != lines {
		t.Errorf("read back it says\n%s\nwant\n%s", got, lines)
	}
}

// Every directive that does something is shown, or has no value that holds yet.
func TestShowIsWhole(t *testing.T) {
	without := map[string]bool{}
	for _, d := range notYet() {
		without[d.name] = true
	}
	for _, d := range table {
		if _, known := shown[d.name]; !known && d.ignored == "" && !without[d.name] {
			t.Errorf("%s is not shown: add it to shown, without what is secret of it", d.name)
		}
	}
}

func parseText(t *testing.T, text string) *Config {
	t.Helper()
	c, _, err := Parse(Input{
		Args: []string{"test.conf"}, HostName: "host", WorkDir: "/work",
		Open: func(name string) ([]File, error) { return []File{{Path: name, Text: text}}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
