package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// input is a file a.conf with the given text, and flags.
func input(text string, args ...string) Input {
	return Input{
		Args:     append([]string{"a.conf"}, args...),
		HostName: "host.example.org",
		WorkDir:  "/srv/n1",
		Open: func(name string) ([]File, error) {
			if name == "a.conf" {
				return []File{{Path: name, Text: text}}, nil
			}
			return nil, fs.ErrNotExist
		},
		Script: func(path string) error {
			if strings.HasSuffix(path, "none") {
				return fmt.Errorf("%s: no script", path)
			}
			return nil
		},
	}
}

func mustParse(t *testing.T, in Input) (*Config, []Warning) {
	t.Helper()
	c, warnings, err := Parse(in)
	if err != nil {
		t.Fatal(err)
	}
	return c, warnings
}

func TestDefaults(t *testing.T) {
	got, warnings := mustParse(t, input(""))
	want := &Config{
		ClusterName: "sentineld", NodeID: "host",
		Bind:         []Bind{{Host: "127.0.0.1"}, {Host: "::1", Optional: true}},
		AnnouncePort: 26379, Port: 26379, GRPCPort: 26479, RaftPort: 26579, HTTPPort: 26679,
		Dir: "/srv/n1", BootstrapExpect: 1, NodeRole: "voter", LogLevel: "notice", LogFormat: "text", ProtectedMode: true,
		RaftTiming: "default",
	}
	if !reflect.DeepEqual(got, want) || len(warnings) > 0 {
		t.Errorf("got %+v, %v\nwant %+v", got, warnings, want)
	}
	if got.BindsBeyondLoopback() {
		t.Error("the default binds beyond loopback")
	}
}

// TestValues tries one line at a time against what it changes.
func TestValues(t *testing.T) {
	for _, tt := range []struct {
		text string
		get  func(*Config) any
		want any
	}{
		{"cluster-name prod-1", func(c *Config) any { return c.ClusterName }, "prod-1"},
		{"node-id a", func(c *Config) any { return c.NodeID }, "a"},
		{"bind * -::*", func(c *Config) any { return fmt.Sprint(c.Bind, c.BindsBeyondLoopback()) }, "[{* false} {:: true}] true"},
		{"bind localhost 3com a-b.c_d.example.org. fe80::1%eth0", func(c *Config) any { return len(c.Bind) }, 4},
		{"\ndir x\n", func(c *Config) any { return c.Place("dir").String() + c.Place("bind").String() }, "a.conf:2"},
		{"PORT 100", func(c *Config) any { return []int{c.Port, c.GRPCPort, c.RaftPort, c.HTTPPort, c.AnnouncePort} }, []int{100, 200, 300, 400, 100}},
		{"port 0", func(c *Config) any { return []int{c.Port, c.GRPCPort, c.RaftPort, c.HTTPPort} }, []int{0, 26479, 26579, 26679}},
		{"grpc-port 1\nraft-port 2\nhttp-port 0", func(c *Config) any { return []int{c.Port, c.GRPCPort, c.RaftPort, c.HTTPPort} }, []int{26379, 1, 2, 0}},
		{"announce-ip 10.0.0.1\nannounce-port 7", func(c *Config) any { return fmt.Sprint(c.AnnounceIP, c.AnnouncePort) }, "10.0.0.17"},
		{"sentinel announce-ip h\nsentinel announce-port 7", func(c *Config) any { return fmt.Sprint(c.AnnounceIP, c.AnnouncePort) }, "h7"},
		{"dir \"/var/lib/a b/\"", func(c *Config) any { return c.Dir }, "/var/lib/a b"},
		{"dir ../n2", func(c *Config) any { return c.Dir }, "/srv/n2"},
		{"dir /tmp/x", func(c *Config) any { return c.Dir }, "/tmp/x"},
		{"cluster-peers 127.0.0.1 localhost:5 [::1]\nbootstrap-expect 2\nport 100", func(c *Config) any { return c.Peers }, []string{"127.0.0.1:200", "localhost:5", "[::1]:200"}},
		{"cluster-peers 127.0.0.1\nbootstrap-expect 0", func(c *Config) any { return c.BootstrapExpect }, 0},
		{"node-role Observer\ncluster-peers localhost\nbootstrap-expect 1", func(c *Config) any { return c.NodeRole }, "observer"},
		{"loglevel debug\nlogfile \"\"\nlog-format json", func(c *Config) any { return c.LogLevel + c.LogFile + c.LogFormat }, "debugjson"},
		{"protected-mode no", func(c *Config) any { return c.ProtectedMode }, false},
		{"raft-timing lan", func(c *Config) any { return c.RaftTiming }, "lan"},
		{"raft-timing wan", func(c *Config) any { return c.RaftTiming }, "wan"},
		{"cluster-secret-file /etc/s", func(c *Config) any { return c.ClusterSecretFile }, "/etc/s"},
		{"sentinel deny-scripts-reconfig no\nscripts-dir x/../scripts/", func(c *Config) any { return fmt.Sprint(c.ScriptsReconfig, c.ScriptsDir) }, "true/srv/n1/scripts"},
		{"SENTINEL DENY-SCRIPTS-RECONFIG YES", func(c *Config) any { return c.ScriptsReconfig }, false},
		{"webhook http://a/b https://c?d\nwebhook-secret-file /s", func(c *Config) any { return fmt.Sprint(c.Webhooks, c.WebhookSecretFile) }, "[http://a/b https://c?d]/s"},
		{"sentinel resolve-hostnames yes\nsentinel resolve-hostnames NO\nannounce-hostnames yes", func(c *Config) any { return c.Settings }, map[string]string{"resolve-hostnames": "no", "announce-hostnames": "yes"}},
		{"remove-dead-nodes-after 0600", func(c *Config) any { return c.Settings }, map[string]string{"remove-dead-nodes-after": "600"}},
		{"sentinel failover-brake 070", func(c *Config) any { return c.Settings }, map[string]string{"failover-brake": "70"}},
		{"sentinel monitor m h 1 1\nsentinel failover-cooldown m 0", func(c *Config) any { return c.Seeds[0].Options.FailoverCooldown }, time.Duration(0)},
		{"sentinel monitor m h 1 1\nsentinel notification-script m /s/../s/x\nscripts-dir /s", func(c *Config) any { return c.Seeds[0].Options.NotificationScript }, "/s/../s/x"},
		{"tls-port 0\ntls-replication no\nrequirepass \"\"", func(c *Config) any { return c.Port }, 26379},
	} {
		c, _, err := Parse(input(tt.text))
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if got := tt.get(c); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestFaults(t *testing.T) {
	const remote = "cluster-peers a b c\nbootstrap-expect 2\ncluster-secret-file s\nbind *\n"
	for _, tt := range []struct {
		text string
		want string // the whole of the one fault
	}{
		{"\nprot 1", `a.conf:2: unknown directive "prot"; did you mean port?`},
		{"sentinel moniter m h 1 1", `a.conf:1: unknown directive "sentinel moniter"; did you mean monitor?`},
		{"sentinel", `a.conf:1: sentinel wants more words; for example: sentinel monitor mymaster 127.0.0.1 6379 2`},
		{"port 70000", `a.conf:1: port: "70000" is not allowed; want a port, 1 to 65535, or 0 for off`},
		{"grpc-port 0", `a.conf:1: grpc-port: "0" is not allowed; want a port, 1 to 65535`},
		{"port 1 # one", `a.conf:1: port: read 3 words; want a port, 1 to 65535, or 0 for off; a comment needs a line of its own`},
		{"port 65500", `a.conf:1: port 65500: grpc-port would be 65600, above 65535; give grpc-port too` + "\n" +
			`a.conf:1: port 65500: raft-port would be 65700, above 65535; give raft-port too` + "\n" +
			`a.conf:1: port 65500: http-port would be 65800, above 65535; give http-port too`},
		{"raft-port 26379", `a.conf:1: raft-port 26379 is port too; each needs a port of its own`},
		{"port 26579\nhttp-port 0\ngrpc-port 1\nraft-port 26579", `a.conf:4: raft-port 26579 is port too; each needs a port of its own`},
		{`dir "/tmp`, `a.conf:1: unbalanced quotes: a closing quote must be there and must end its word`},
		{"dir /tmp/", `a.conf:1: dir /tmp is not a place where the state is safe or alone; write for example: dir /var/lib/sentineld`},
		{"dir /dev/../dev/shm", `a.conf:1: dir /dev/shm is not a place where the state is safe or alone; write for example: dir /var/lib/sentineld`},
		{"protected-mode maybe", `a.conf:1: protected-mode: "maybe" is not allowed; want yes or no`},
		{"raft-timing fast", `a.conf:1: raft-timing: "fast" is not allowed; want one of default, lan, wan`},
		{"node-id \"a b\"", `a.conf:1: node-id: "a b" is not allowed; want ` + wantName},
		{"announce-ip 0.0.0.0", `a.conf:1: announce-ip: "0.0.0.0" is not allowed: a wildcard is no address that others can dial`},
		{"bind 127.0.0.1 a/b", `a.conf:1: bind: "127.0.0.1" "a/b" is not allowed: host "a/b": the character '/' does not belong in a host name or address`},
		{"bind 10.0.0.1x", `a.conf:1: bind: "10.0.0.1x" is not allowed: 10.0.0.1x is neither an address nor a host name`},
		{"bind 127.0.0.1 -10.0.0.256", `a.conf:1: bind: "127.0.0.1" "-10.0.0.256" is not allowed: 10.0.0.256 is neither an address nor a host name`},
		{"bind 10.0.0", `a.conf:1: bind: "10.0.0" is not allowed: 10.0.0 is neither an address nor a host name`},
		{"bind a..b", `a.conf:1: bind: "a..b" is not allowed: a..b is neither an address nor a host name`},
		{"announce-ip 10.0.0.1.", `a.conf:1: announce-ip: "10.0.0.1." is not allowed: 10.0.0.1. is neither an address nor a host name`},
		{"cluster-peers 10.0.0.300\nbootstrap-expect 1", `a.conf:1: cluster-peers: "10.0.0.300" is not allowed: 10.0.0.300 is neither an address nor a host name`},
		{"sentinel deny-scripts-reconfig maybe", `a.conf:1: deny-scripts-reconfig: "maybe" is not allowed; want yes or no`},
		{"remove-dead-nodes-after 59", `a.conf:1: remove-dead-nodes-after: "59" is not allowed; want a whole number of seconds, 60 to 31536000; 0 = off`},
		{"failover-brake 101", `a.conf:1: failover-brake: "101" is not allowed; want a whole number of percent, 0 to 100; 0 = off`},
		{"sentinel resolve-hostnames", `a.conf:1: resolve-hostnames: read 0 words; want yes or no`},
		{"scripts-dir \"\"", `a.conf:1: scripts-dir: "" is not allowed; want the path of a directory`},
		{"webhook ftp://hush", `a.conf:1: webhook: the value is not allowed; want http:// or https:// URLs`},
		{"webhook https:hush", `a.conf:1: webhook: the value is not allowed; want http:// or https:// URLs`},
		{"webhook http://hush:hush@a/", `a.conf:1: webhook: the value is not allowed: a URL with a user name in it is refused: the messages are signed with the secret of webhook-secret-file`},
		{"webhook http://a/hush http://a/hush\nwebhook-secret-file s", `a.conf:1: webhook: the value is not allowed: a URL is there twice`},
		{"webhook http://a/hush", `a.conf:1: webhook needs a secret that its messages are signed with; add the line: webhook-secret-file PATH`},
		{"requirepass hush", `a.conf:1: requirepass: the value is not allowed: ` + errNotYet.Error()},
		{"user alice on >hush ~* +@all", `a.conf:1: user: the value is not allowed: ` + errNotYet.Error()},
		{"dev yes", `a.conf:1: dev is a flag only`},
		{"include b.conf", `a.conf:1: cannot read "b.conf": file does not exist`},
		{"include a.conf", `a.conf:1: include "a.conf": the file includes itself by way of a.conf`},
		{"include", `a.conf:1: include wants one path or pattern, read 0 words`},

		{"sentinel monitor m h 1", `a.conf:1: sentinel monitor: read 3 words; want NAME HOST PORT QUORUM`},
		{"sentinel monitor \"a\\n\" h 1 1", `a.conf:1: sentinel monitor: master name "a\n": spaces and control characters are not allowed`},
		{"sentinel monitor m h 0 1", `a.conf:1: sentinel monitor m: port "0" is not allowed; want a port, 1 to 65535`},
		{"sentinel monitor m h/ 1 1", `a.conf:1: sentinel monitor m: host "h/": the character '/' does not belong in a host name or address`},
		{"sentinel monitor m h 1 0", `a.conf:1: sentinel monitor m: option quorum: "0" is not allowed; want a whole number, 1 or greater, at most 2147483647`},
		{"sentinel monitor m h 1 1\nsentinel monitor m h 2 1", `a.conf:2: sentinel monitor: master m is monitored already at a.conf:1; each name once`},
		{"sentinel monitor m h 1 1\nsentinel monitor n h 1 1", `a.conf:2: sentinel monitor n: h:1 is master m already, at a.conf:1`},
		{"sentinel parallel-syncs m 1", `a.conf:1: sentinel parallel-syncs: no master "m" is monitored; add: sentinel monitor NAME HOST PORT QUORUM`},
		{"sentinel down-after-milliseconds m 0\nsentinel monitor m h 1 1", `a.conf:1: sentinel down-after-milliseconds m: option down-after-milliseconds: "0" is not allowed; want milliseconds, 1 or greater, at most 2147483647`},
		{"sentinel monitor m h 1 1\nsentinel auth-pass m pass word", `a.conf:2: sentinel auth-pass: read 3 words; want NAME VALUE, the value being a password, or empty for none`},
		{"sentinel monitor m h 1 1\nsentinel auth-pass m \"a\\x01\"", `a.conf:2: sentinel auth-pass m: option auth-pass: control characters are not allowed`},

		{"sentinel monitor m h 1 1\nsentinel notification-script m /s/../x\nscripts-dir /s", `a.conf:2: sentinel notification-script m: /x does not lie in /s, the directory of scripts-dir`},
		{"sentinel monitor m h 1 1\nsentinel client-reconfig-script m /sx\nscripts-dir /s", `a.conf:2: sentinel client-reconfig-script m: /sx does not lie in /s, the directory of scripts-dir`},
		{"sentinel monitor m h 1 1\nsentinel client-reconfig-script m none", `a.conf:2: sentinel client-reconfig-script m: none: no script`},

		{"cluster-peers 127.0.0.1", `a.conf:1: cluster-peers needs bootstrap-expect; add the line: bootstrap-expect 1`},
		{"cluster-peers localhost:1 localhost:2\nbootstrap-expect 1", `a.conf:2: bootstrap-expect 1 is not more than half of the 2 cluster-peers: two clusters could form; want 2 to 2, or 0 to join only`},
		{"cluster-peers localhost:1 localhost:1\nbootstrap-expect 2", `a.conf:1: cluster-peers: "localhost:1" "localhost:1" is not allowed: localhost:1 is there twice`},
		{"bootstrap-expect x", `a.conf:1: bootstrap-expect: "x" is not allowed; want a whole number, 0 to 99`},
		{"node-role observer", `a.conf:1: an observer needs nodes to follow; add the line: cluster-peers HOST HOST HOST`},
		{"bootstrap-expect 3", `a.conf:1: bootstrap-expect 3 without cluster-peers: nobody could be found; add the line: cluster-peers HOST HOST HOST`},
		{"\nsentinel monitor m h 1 2", `a.conf:2: this line means to be one of several nodes, and there is no cluster-peers; add the lines: cluster-peers HOST HOST HOST and bootstrap-expect 3, or give a quorum of 1`},
		{"sentinel known-sentinel m h 1 abc", `a.conf:1: this line means to be one of several nodes, and there is no cluster-peers; add the lines: cluster-peers HOST HOST HOST and bootstrap-expect 3, or give a quorum of 1`},
		{"cluster-peers a\nbootstrap-expect 1\ncluster-secret-file s", `a.conf:1: cluster-peers names a:26479 on another machine, and only loopback is bound; add the line: bind * -::*`},
		{"cluster-peers a\nbootstrap-expect 1\nbind *", `a.conf:1: nodes that talk beyond loopback need a common secret; add the line: cluster-secret-file PATH, with the same file on every node`},
		{remote + "announce-ip 127.0.0.1", `a.conf:5: announce-ip 127.0.0.1 cannot be reached by a:26479; give an address that it can reach`},
		{remote + "sentinel monitor m 127.0.0.1 6379 2", `a.conf:5: sentinel monitor m: 127.0.0.1:6379 is another instance on each node; give an address that every node can reach`},
	} {
		c, _, err := Parse(input(tt.text))
		if err == nil || err.Error() != tt.want || c != nil {
			t.Errorf("%q:\ngot  %v\nwant %s", tt.text, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "pass word")) {
			t.Errorf("%q: the fault shows a password: %v", tt.text, err)
		}
	}
}

func TestFaultsWithoutAFile(t *testing.T) {
	in := input("")
	in.Args, in.HostName, in.WorkDir = []string{"--porf", "1", "--loglevel=debug"}, "ho st", "/"
	in.Env = []string{"SENTINELD_CONF_LOGLEVEL=loud", "SENTINELD_CONF_DIR=\"x", "SENTINELD_PORT=tcp://1.2.3.4:5"}
	_, _, err := Parse(in)
	want := `configuration: the host name "ho st" cannot be the node's name; add a line: node-id NAME, with ` + wantName + `
configuration: dir / is not a place where the state is safe or alone; write for example: dir /var/lib/sentineld
SENTINELD_CONF_DIR: unbalanced quotes: a closing quote must be there and must end its word
SENTINELD_CONF_LOGLEVEL: loglevel: "loud" is not allowed; want one of debug, verbose, notice, warning, nothing
--porf: unknown directive "porf"; did you mean port?
--loglevel=debug: unknown directive "loglevel=debug"; the value is a word of its own: --loglevel VALUE`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 6 {
		t.Errorf("the error is a %T", err)
	}
}

func TestPrecedence(t *testing.T) {
	in := input("port 1\nloglevel debug\nloglevel warning\nlog-format json\nsentinel monitor m h 1 1\nsentinel parallel-syncs m 2\n",
		"--port", "3", "--bind", "127.0.0.1 -::1", "--sentinel", "parallel-syncs", "m", "4", "--sentinel", "monitor n h 2 1", "--dev")
	in.Env = []string{
		"SENTINELD_CONF_PORT=2", "SENTINELD_CONF_LOG_FORMAT=text", "SENTINELD_CONF_LOGLEVEL=", "PORT=9",
		"SENTINELD_CONF_SENTINEL=parallel-syncs m 3\nfailover-timeout m 5",
	}
	c, warnings := mustParse(t, in)
	if c.Port != 3 || c.LogFormat != "text" || c.LogLevel != "warning" || len(c.Bind) != 2 || !c.Dev || c.Dir != "" {
		t.Errorf("%+v", c)
	}
	if len(c.Seeds) != 2 || c.Seeds[0].Options.ParallelSyncs != 4 || c.Seeds[0].Options.FailoverTimeout != 5*time.Millisecond {
		t.Errorf("seeds %+v", c.Seeds)
	}
	if got := fmt.Sprint(warnings); got != "[a.conf:3: loglevel is given again; this one counts and a.conf:2 does not]" {
		t.Errorf("warnings %s", got)
	}
}

func TestMoreAreExpectedThanThereAre(t *testing.T) {
	for text, want := range map[string]string{
		"cluster-peers 127.0.0.1 [::1]:5\nbootstrap-expect 3": "[a.conf:2: bootstrap-expect 3 is more than the 2 cluster-peers, which are the same line on every node: no cluster can form]",
		"cluster-peers 127.0.0.1 [::1]:5\nbootstrap-expect 2": "[]",
		"cluster-peers localhost\nbootstrap-expect 3":         "[]", // a name may have several addresses
	} {
		if _, warnings := mustParse(t, input(text)); fmt.Sprint(warnings) != want {
			t.Errorf("%q: %s", text, fmt.Sprint(warnings))
		}
	}
}

func TestWarnings(t *testing.T) {
	_, warnings := mustParse(t, input("daemonize yes\nsentinel myid abc\ncluster-peers localhost:1\nbootstrap-expect 1\nsentinel monitor m h 1 2\n"+
		"sentinel auth-pass m a\nsentinel auth-pass m b\nsentinel rename-command m a b\nsentinel rename-command m c d"))
	want := []string{
		"a.conf:1: daemonize has no meaning here and is ignored: run it in the foreground, under a service manager",
		"a.conf:2: sentinel myid has no meaning here and is ignored: the id is made from node-id",
		"a.conf:5: sentinel monitor m: quorum 2 is more than the 1 cluster-peers; no failover can happen",
		"a.conf:7: sentinel auth-pass m is given again; this one counts and a.conf:6 does not",
	}
	got := make([]string, len(warnings))
	for i, w := range warnings {
		got[i] = w.String()
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestInclude(t *testing.T) {
	files := map[string][]File{
		"main":   {{"main", "include d/*\nport 1"}},
		"d/*":    {{"d/1", "port 7\nsentinel monitor m h 1 1\ninclude deep"}, {"d/2", "loglevel debug"}},
		"deep":   {{"deep", "include deeper"}},
		"deeper": {{"deeper", "bogus"}},
	}
	in := Input{Args: []string{"main"}, HostName: "h", WorkDir: "/x", Open: func(n string) ([]File, error) { return files[n], nil }}
	_, _, err := Parse(in)
	if err == nil || !strings.HasPrefix(err.Error(), `deeper:1: unknown directive "bogus"`) {
		t.Fatalf("%v", err)
	}
	files["deeper"] = []File{{"deeper", ""}}
	c, warnings := mustParse(t, in)
	if c.Port != 1 || c.LogLevel != "debug" || len(c.Seeds) != 1 || c.Seeds[0].Place.String() != "d/1:2" || len(warnings) != 1 {
		t.Errorf("%+v %v", c, warnings)
	}
	// Files that include each other in breadth end too.
	files["main"] = []File{{"a", "include main\ninclude main"}, {"b", "include main\ninclude main"}, {"c", "include main\ninclude main"}}
	if _, _, err := Parse(in); err == nil {
		t.Error("an endless include was read")
	}
}

// TestTableNames: names are unique and spelled as lines are looked up.
func TestTableNames(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range table {
		if seen[d.name] || d.name != strings.ToLower(d.name) {
			t.Errorf("directive %q is there twice, or not in lower case", d.name)
		}
		if (d.set == nil) == (d.ignored == "") {
			t.Errorf("directive %q: has a meaning or a reason to have none", d.name)
		}
		seen[d.name] = true
	}
}

// FuzzParse: no input panics, and one that is taken keeps what Config promises.
func FuzzParse(f *testing.F) {
	rewritten, err := os.ReadFile("testdata/rewritten.conf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(rewritten), "--port", "SENTINELD_CONF_DIR=/x")
	for _, name := range []string{"failed-over.conf", "valkey.conf"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text)+"\ncluster-peers a b c\nbootstrap-expect 2\ncluster-secret-file s\nbind *", "--dir", "SENTINELD_CONF_SENTINEL=deny-scripts-reconfig no")
	}
	f.Add("webhook http://a https://b\nwebhook-secret-file s\nscripts-dir s\nsentinel monitor m h 1 1\nsentinel notification-script m s/x", "--webhook", "SENTINELD_CONF_SCRIPTS_DIR=/")
	f.Add("cluster-peers a b [::1]:5\nbootstrap-expect 2\nbind * -::1\ncluster-secret-file x\nsentinel monitor m 10.0.0.1 6379 2", "--dev", "")
	f.Add("sentinel monitor m h 1 1\nsentinel rename-command m config \"\"\nsentinel monitor \"\" h 1 1", "--sentinel", "SENTINELD_CONF_SENTINEL=monitor n h 2 1")
	f.Add("include a.conf\nport 65535\nannounce-ip ::\nloglevel \"\\xff\"", "x", "SENTINELD_CONF_=")
	f.Fuzz(func(t *testing.T, text, arg, env string) {
		in := input(text, arg)
		in.Env = []string{env}
		c, _, err := Parse(in)
		if (c == nil) == (err == nil) {
			t.Fatalf("both or neither of %v and %v", c, err)
		}
		if err != nil {
			return
		}
		if len(c.Bind) == 0 || c.GRPCPort < 1 || c.RaftPort < 1 || c.GRPCPort == c.RaftPort || c.NodeID == "" || c.Dev != (c.Dir == "") {
			t.Fatalf("%+v", c)
		}
		for _, peer := range c.Peers {
			if _, err := raftfsm.ParseAddr(peer); err != nil {
				t.Fatalf("peer %q: %v", peer, err)
			}
		}
		if len(c.Webhooks) > 0 && c.WebhookSecretFile == "" || c.ScriptsDir != "" && c.ScriptsDir[0] != '/' {
			t.Fatalf("%+v", c)
		}
		for _, s := range c.Seeds {
			if raftfsm.CheckName(s.Name) != nil || s.Options.Quorum < 1 || s.Address.IsZero() || len(s.Named) == 0 {
				t.Fatalf("%+v", s)
			}
		}
		// What a node is started with can be brought to a running cluster too.
		w, _, err := ParseWanted(in)
		if err != nil || !reflect.DeepEqual(w.Seeds, c.Seeds) || !reflect.DeepEqual(w.Settings, c.Settings) {
			t.Fatalf("%+v, %v", w, err)
		}
	})
}
