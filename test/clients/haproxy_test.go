package clients

import (
	"encoding/csv"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/test/lab"
)

// haproxyConfig checks each node as the charts for Kubernetes do, by commands in one line: that it lives, that it names the
// master, and that it says farewell.
const haproxyConfig = `global
	maxconn 100
	stats socket %[1]s mode 600
defaults
	mode tcp
	timeout connect 1s
	timeout client 5s
	timeout server 5s
	timeout check 1s
backend sentinels
	option tcp-check
	tcp-check connect
	tcp-check send PING\r\n
	tcp-check expect string +PONG
	tcp-check send SENTINEL\ get-master-addr-by-name\ %[2]s\r\n
	tcp-check expect string 127.0.0.1
%[3]s`

// farewell is what Sentinel answered up to 6.2.
const farewell = `	tcp-check send QUIT\r\n
	tcp-check expect string +OK
`

// TestHAProxy has HAProxy check the nodes, one of which is killed and comes back.
func TestHAProxy(t *testing.T) {
	s, l := newSet(t)
	dir := t.TempDir()
	socket, config := filepath.Join(s.Dir(), "haproxy.sock"), filepath.Join(dir, "haproxy.cfg")
	servers := farewell
	if *theirs {
		servers = ""
	}
	for i, addr := range l.Addrs() {
		servers += fmt.Sprintf("\tserver n%d %s check inter 200ms fall 2 rise 1\n", i+1, addr)
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, socket, lab.MasterName, servers), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, s, "haproxy", "-db", "-f", config)
	states := func(what string, want ...string) {
		t.Helper()
		eventually(t, what, func() error {
			if err := alive(p); err != nil {
				return err
			}
			got, err := haproxyStates(socket)
			if err == nil && strings.Join(got, ", ") != strings.Join(want, ", ") {
				err = fmt.Errorf("HAProxy says %q", got)
			}
			return err
		})
	}
	// A server counts as up until its first check has ended: this tells that it was checked.
	const passed, failed = "UP L7OK", "DOWN L4CON"
	states("all nodes are up", passed, passed, passed)
	last := l.Procs()[2]
	if err := last.Kill(); err != nil {
		t.Fatal(err)
	}
	states("the node that was killed is down", passed, passed, failed)
	if err := last.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	states("the node is back", passed, passed, passed)
}

// haproxyStates are status and last check of each server.
func haproxyStates(socket string) ([]string, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("show stat\n")); err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(c).ReadAll()
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[strings.TrimPrefix(name, "# ")] = i
	}
	var out []string
	for _, row := range rows[1:] {
		if row[column["pxname"]] == "sentinels" && row[column["svname"]] != "BACKEND" {
			out = append(out, row[column["status"]]+" "+row[column["check_status"]])
		}
	}
	return out, nil
}
