package resp

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestConfig(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	const only = "-ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...] / SET <param> <value> [<param> <value> ...] are supported."
	c.converse(
		step{"SENTINEL CONFIG GET", "-ERR wrong number of arguments for 'sentinel|config' command"},
		step{"SENTINEL CONFIG FOO x", only},
		step{"SENTINEL CONFIG SET x", only},
		step{"SENTINEL CONFIG GET *", "[resolve-hostnames no announce-hostnames no announce-ip  announce-port 0 sentinel-user  sentinel-pass  loglevel notice]"},
		step{"SENTINEL CONFIG GET nosuch", "[]"},
		step{"SENTINEL CONFIG GET LOG* announce-* loglevel", "[loglevel notice announce-hostnames no announce-ip  announce-port 0]"},
		step{"SENTINEL CONFIG SET x y", "-ERR Invalid argument 'x' to SENTINEL CONFIG SET"},
		step{"SENTINEL CONFIG SET loglevel notice LOGLEVEL debug", "-ERR Duplicate argument 'LOGLEVEL' to SENTINEL CONFIG SET"},
		step{"SENTINEL CONFIG SET loglevel notice announce-port", "-ERR Missing argument 'announce-port' value"},
		step{"SENTINEL CONFIG SET loglevel debug announce-port 65536", "-ERR Invalid value '65536' to SENTINEL CONFIG SET 'announce-port'"},
		step{"SENTINEL CONFIG SET announce-port -1", "-ERR Invalid value '-1' to SENTINEL CONFIG SET 'announce-port'"},
		step{"SENTINEL CONFIG SET announce-ip a/b", "-ERR Invalid value 'a/b' to SENTINEL CONFIG SET 'announce-ip'"},
		step{"SENTINEL CONFIG SET announce-ip 0.0.0.0", "-ERR Invalid value '0.0.0.0' to SENTINEL CONFIG SET 'announce-ip'"},
		step{"SENTINEL CONFIG SET resolve-hostnames maybe", "-ERR Invalid value 'maybe' to SENTINEL CONFIG SET 'resolve-hostnames'"},
		step{"SENTINEL CONFIG SET loglevel foo", "-ERR Invalid value 'foo' to SENTINEL CONFIG SET 'loglevel'"},
		step{"SENTINEL CONFIG SET sentinel-pass hush resolve-hostnames yes", "-ERR sentinel-pass has no meaning here: nodes know each other by cluster-secret-file"},
		step{"SENTINEL CONFIG GET *", "[resolve-hostnames no announce-hostnames no announce-ip  announce-port 0 sentinel-user  sentinel-pass  loglevel notice]"},
		step{"SENTINEL CONFIG SET LogLevel DEBUG Resolve-Hostnames YES announce-ip 10.9.9.9", "+OK"},
		step{"SENTINEL CONFIG SET announce-port 26400 announce-hostnames yes", "+OK"},
		step{"SENTINEL CONFIG GET *", "[resolve-hostnames yes announce-hostnames yes announce-ip 10.9.9.9 announce-port 26400 sentinel-user  sentinel-pass  loglevel debug]"},
		step{"SENTINEL CONFIG SET resolve-hostnames no", "+OK"},
		step{"SENTINEL CONFIG GET failover-b*", "[]"},
		step{"SENTINEL CONFIG GET Failover-Brake", "[failover-brake 50]"},
		step{"SENTINEL CONFIG SET failover-brake 101", "-ERR Invalid value '101' to SENTINEL CONFIG SET 'failover-brake'"},
		step{"SENTINEL CONFIG SET failover-brake 70", "+OK"},
		step{"SENTINEL CONFIG GET failover-brake", "[failover-brake 70]"},
		step{"SENTINEL CONFIG GET remove-dead-nodes-after", "[remove-dead-nodes-after 0]"},
		step{"SENTINEL CONFIG SET remove-dead-nodes-after 59", "-ERR Invalid value '59' to SENTINEL CONFIG SET 'remove-dead-nodes-after'"},
		step{"SENTINEL CONFIG SET remove-dead-nodes-after 3600", "+OK"},
		step{"SENTINEL CONFIG GET remove-dead-nodes-after", "[remove-dead-nodes-after 3600]"},
	)
	for _, name := range []string{"announce-ip", "sentinel-user", "sentinel-pass"} {
		if got := c.do("SENTINEL", "CONFIG", "SET", name, ""); got != "+OK" {
			t.Errorf("%s: %s", name, got)
		}
	}
	c.converse(
		step{"HELLO 3", "…"},
		step{"SENTINEL CONFIG GET *", "{resolve-hostnames no announce-hostnames yes announce-ip  announce-port 26400 sentinel-user  sentinel-pass  loglevel debug}"},
	)
	if got := c.do("SENTINEL", "CONFIG", "SET", "announce-ip", "x\ny"); got != "-ERR Invalid argument at index 4 for SENTINEL CONFIG SET: control characters are not allowed" {
		t.Error(got)
	}
	r.local.err = errors.New("no majority")
	c.converse(
		step{"SENTINEL CONFIG SET loglevel notice announce-port 1 announce-hostnames no", "-ERR no majority; announce-hostnames had been set before"},
		step{"SENTINEL CONFIG GET loglevel announce-port", "{loglevel debug announce-port 26400}"},
	)
}

// fakeScripts are two that wait to be asked.
type fakeScripts struct{ runtime, delay time.Duration }

func (*fakeScripts) Pending() []Script {
	return []Script{
		{Argv: []string{"/n.sh", "+sdown", "master m 10.0.0.1 6379"}, Running: true, PID: 42, RunTime: 1500 * time.Millisecond, Runs: 1},
		{Argv: []string{"/r.sh", "m", "leader"}, RunDelay: time.Minute, Runs: 2},
	}
}
func (*fakeScripts) Counts() (running, queued int)         { return 1, 2 }
func (s *fakeScripts) ScriptMaxRuntime() time.Duration     { return s.runtime }
func (s *fakeScripts) SetScriptMaxRuntime(d time.Duration) { s.runtime = d }
func (s *fakeScripts) ScriptRetryDelay() time.Duration     { return s.delay }
func (s *fakeScripts) SetScriptRetryDelay(d time.Duration) { s.delay = d }

func TestDebug(t *testing.T) {
	c := newRig(t, nil, func(o *Options) {
		o.Periods = Periods{Info: 10 * time.Second, Ping: 2 * time.Second, Election: 500 * time.Millisecond}
	}).client(t)
	const head = "INFO-PERIOD 10000 PING-PERIOD 2000 ASK-PERIOD 0 PUBLISH-PERIOD 0 DEFAULT-DOWN-AFTER 30000 DEFAULT-FAILOVER-TIMEOUT 180000 " +
		"TILT-TRIGGER 0 TILT-PERIOD 0 SLAVE-RECONF-TIMEOUT 0 MIN-LINK-RECONNECT-PERIOD 0 ELECTION-TIMEOUT 500 "
	c.converse(
		step{"SENTINEL DEBUG", "[" + head + "SCRIPT-MAX-RUNTIME 60000 SCRIPT-RETRY-DELAY 30000]"},
		step{"SENTINEL DEBUG x", "-ERR Unknown option or number of arguments for SENTINEL DEBUG 'x'"},
		step{"SENTINEL DEBUG script-max-runtime", "-ERR Unknown option or number of arguments for SENTINEL DEBUG 'script-max-runtime'"},
		step{"SENTINEL DEBUG script-max-runtime 0", "-ERR Invalid argument '0' for SENTINEL DEBUG 'script-max-runtime'"},
		step{"SENTINEL DEBUG script-max-runtime 99999999999999999", "-ERR Invalid argument '99999999999999999' for SENTINEL DEBUG 'script-max-runtime'"},
		step{"SENTINEL DEBUG script-max-runtime 1 ping-period 100", "-ERR PING-PERIOD cannot be set here: every instance is probed ten times…"},
		step{"SENTINEL DEBUG ping-period 100 foo 1", "-ERR Unknown option or number of arguments for SENTINEL DEBUG 'foo'"},
		step{"SENTINEL DEBUG script-max-runtime 1000 SCRIPT-RETRY-DELAY 200", "+OK"},
		step{"SENTINEL DEBUG", "[" + head + "SCRIPT-MAX-RUNTIME 1000 SCRIPT-RETRY-DELAY 200]"},
		step{"SENTINEL PENDING-SCRIPTS", "[[argv [/n.sh +sdown master m 10.0.0.1 6379] flags running pid 42 run-time 1500 retry-num 1] " +
			"[argv [/r.sh m leader] flags scheduled pid 0 run-delay 60000 retry-num 2]]"},
		step{"INFO sentinel", "…sentinel_running_scripts:1\r\nsentinel_scripts_queue_length:2\r\n…"},
		step{"SENTINEL FLUSHCONFIG", "+OK"},
	)
	c = newRig(t, nil).client(t)
	c.converse(
		step{"SENTINEL SIMULATE-FAILURE crash-after-election", "-ERR failures cannot be simulated on this node"},
	)
}

func TestSimulateFailure(t *testing.T) {
	var election, promotion bool
	c := newRig(t, nil, func(o *Options) {
		o.Simulate = func(afterElection, afterPromotion bool) { election, promotion = afterElection, afterPromotion }
	}).client(t)
	for _, s := range []struct {
		words, want         string
		election, promotion bool
		flags               string
	}{
		{"crash-after-election", "+OK", true, false, "1"},
		{"foo", "-ERR Unknown failure simulation specified", true, false, "1"},
		{"crash-after-promotion foo", "-ERR Unknown failure simulation specified", true, false, "1"},
		{"Crash-After-Promotion", "+OK", false, true, "2"},
		{"crash-after-election crash-after-promotion", "+OK", true, true, "3"},
		{"help", "[crash-after-election crash-after-promotion]", false, false, "0"},
	} {
		c.converse(step{"SENTINEL SIMULATE-FAILURE " + s.words, s.want}, step{"INFO sentinel", "…sentinel_simulate_failure_flags:" + s.flags + "\r\n…"})
		if election != s.election || promotion != s.promotion {
			t.Errorf("%s: %v, %v", s.words, election, promotion)
		}
	}
}

func TestInfoCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ago := time.Now().Add(-time.Hour)
		fleet := fakeFleet{
			"10.0.0.1:6379": api.Observation{InfoAt: ago, Info: &detector.Info{Role: raftfsm.RoleMaster, Text: "role:master\r\n"}},
			"10.0.0.2:6379": api.Observation{InfoAt: ago, Info: &detector.Info{Role: raftfsm.RoleReplica, Text: "role:slave\r\n"}},
		}
		r := newRig(t, fleet)
		c := r.client(t)
		c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
		c.do("SENTINEL", "MONITOR", "n", "10.0.9.1", "6379", "2")
		r.node.replica(t, "10.0.0.2")
		c.converse(
			step{"SENTINEL INFO-CACHE", "-ERR wrong number of arguments for 'sentinel|info-cache' command"},
			step{"SENTINEL INFO-CACHE nosuch", "[]"},
			step{"SENTINEL INFO-CACHE n nosuch m n", "[n [[:0 nil]] m [[:3600000 role:master\r\n] [:3600000 role:slave\r\n]]]"},
		)
	})
}
