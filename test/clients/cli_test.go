package clients

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// TestRedisCLI has redis-cli ask one cluster for everything.
func TestRedisCLI(t *testing.T) {
	s, l := newSet(t)
	other, err := s.Redis(stage.RedisOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("readme", func(t *testing.T) { readme(t, l) })
	t.Run("subcommands", func(t *testing.T) { subcommands(t, l, other) })
	t.Run("maps", func(t *testing.T) { maps(t, l) })
	t.Run("subscriber", func(t *testing.T) { subscriber(t, s, l, other) })
	t.Run("shutdown", func(t *testing.T) { shutdown(t, l) })
}

// readme runs every command of the README, against a cluster as the README sees it.
func readme(t *testing.T, l *lab.Set) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("redis-cli [^`#\n]+").FindAllString(string(text), -1)
	if len(commands) == 0 {
		t.Fatal("the README has no command for redis-cli")
	}
	for _, command := range commands {
		args := strings.Fields(command)[1:]
		for i, arg := range args {
			for j, addr := range l.Addrs() {
				if arg == fmt.Sprint(26379+j) {
					args[i] = portOf(addr)
				}
			}
		}
		// With -e, an error of the node is one of redis-cli.
		out, err := exec.Command(filepath.Join(programs.room, "redis-cli"), append([]string{"-e"}, args...)...).CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("%s: %v: %q", command, err, out)
		}
	}
}

func portOf(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err)
	}
	return port
}

// ask has redis-cli put one question, and gives what a person would see.
func ask(t *testing.T, addr string, args ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(programs.room, "redis-cli"), append([]string{"--no-raw", "-p", portOf(addr)}, args...)...).Output()
	if err != nil {
		t.Fatalf("redis-cli %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// Fields of an instance in the order that Redis has: clients go by names, people and scripts by places.
const (
	everyField    = "name ip port runid flags link-pending-commands link-refcount last-ping-sent last-ok-ping-reply last-ping-reply "
	masterField   = everyField + "down-after-milliseconds info-refresh role-reported role-reported-time config-epoch num-slaves num-other-sentinels quorum failover-timeout parallel-syncs"
	replicaField  = everyField + "down-after-milliseconds info-refresh role-reported role-reported-time master-link-down-time master-link-status master-host master-port slave-priority slave-repl-offset replica-announced"
	sentinelField = everyField + "down-after-milliseconds last-hello-message voted-leader voted-leader-epoch"
	debugField    = "INFO-PERIOD PING-PERIOD ASK-PERIOD PUBLISH-PERIOD DEFAULT-DOWN-AFTER DEFAULT-FAILOVER-TIMEOUT TILT-TRIGGER TILT-PERIOD SLAVE-RECONF-TIMEOUT MIN-LINK-RECONNECT-PERIOD ELECTION-TIMEOUT SCRIPT-MAX-RUNTIME SCRIPT-RETRY-DELAY"
)

// question is a command and what redis-cli shows of the answer.
type question struct {
	command string
	// answer is a regular expression for all of it. In both, PORT stands for the master's port, OTHER for
	// that of a server that nobody watches, SECOND and THIRD for those of the other nodes.
	answer string
	// maps is how many maps the answer is, fields the names in each.
	maps   int
	fields string
	// ours: Redis 7.0 does not know it.
	ours bool
}

const (
	noSuchName = `\(error\) ERR No such master with that name`
	masterAddr = `1\) "127.0.0.1"\n2\) "PORT"`
	emptyArray = `\(empty array\)`
)

// questions are put in this order to one and the same node.
var questions = []question{
	{command: "PING", answer: `PONG`},
	{command: "PING hello", answer: `"hello"`},
	{command: "AUTH default anything", answer: `OK`},
	{command: "HELLO", maps: 1, fields: "server version proto id mode modules"},
	{command: "ROLE", answer: `1\) "sentinel"\n2\) 1\) "mymaster"`},
	{command: "INFO", answer: `# Server\n.*\nredis_mode:sentinel\n.*# Sentinel\nsentinel_masters:1\nsentinel_tilt:0\n.*` +
		`master0:name=mymaster,status=ok,address=127.0.0.1:PORT,slaves=2,sentinels=3.*`},
	{command: "INFO server", answer: `# Server\n.*\nredis_mode:sentinel\n.*`},
	{command: "INFO nothing", answer: `(nothing)?`},
	{command: "SENTINEL MASTERS", maps: 1, fields: masterField},
	{command: "SENTINEL PRIMARIES", maps: 1, fields: masterField, ours: true},
	{command: "SENTINEL MASTER mymaster", maps: 1, fields: masterField},
	{command: "SENTINEL PRIMARY mymaster", maps: 1, fields: masterField, ours: true},
	{command: "SENTINEL MASTER nobody", answer: noSuchName},
	{command: "SENTINEL REPLICAS mymaster", maps: 2, fields: replicaField},
	{command: "SENTINEL SLAVES mymaster", maps: 2, fields: replicaField},
	{command: "SENTINEL REPLICAS nobody", answer: noSuchName},
	{command: "SENTINEL SENTINELS mymaster", maps: 2, fields: sentinelField},
	{command: "SENTINEL SENTINELS mymaster", answer: `.*"port"\n[^"]*"SECOND"\n.*`},
	{command: "SENTINEL SENTINELS mymaster", answer: `.*"port"\n[^"]*"THIRD"\n.*`},
	{command: "SENTINEL SENTINELS nobody", answer: noSuchName},
	{command: "SENTINEL MYID", answer: `"[0-9a-f]{40}"`},
	{command: "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster", answer: masterAddr},
	{command: "sentinel get-master-addr-by-name mymaster", answer: masterAddr},
	{command: "SENTINEL GET-PRIMARY-ADDR-BY-NAME mymaster", answer: masterAddr, ours: true},
	{command: "SENTINEL GET-MASTER-ADDR-BY-NAME nobody", answer: `\(nil\)`},
	{command: "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 PORT 0 *", answer: `1\) \(integer\) 0\n2\) "\*"\n3\) \(integer\) 0`},
	{command: "SENTINEL IS-PRIMARY-DOWN-BY-ADDR 127.0.0.1 PORT 0 *", answer: `1\) \(integer\) 0\n2\) "\*"\n3\) \(integer\) 0`, ours: true},
	{command: "SENTINEL CKQUORUM mymaster", answer: `OK 3 usable Sentinels. Quorum and failover authorization can be reached`},
	{command: "SENTINEL CKQUORUM nobody", answer: noSuchName},
	{command: "SENTINEL SET mymaster down-after-milliseconds 1000 parallel-syncs 1", answer: `OK`},
	{command: "SENTINEL SET mymaster quorum none", answer: `\(error\) ERR Invalid argument 'none' for SENTINEL SET 'quorum'`},
	{command: "SENTINEL SET mymaster colour red", answer: `\(error\) ERR Unknown option or number of arguments for SENTINEL SET 'colour'`},
	{command: "SENTINEL SET mymaster", answer: `\(error\) ERR wrong number of arguments for 'sentinel\|set' command`},
	{command: "SENTINEL MONITOR other 127.0.0.1 OTHER 2", answer: `OK`},
	{command: "SENTINEL MONITOR other 127.0.0.1 1 2", answer: `\(error\) ERR Duplicate master name.`},
	{command: "SENTINEL MONITOR third 127.0.0.1 PORT none", answer: `\(error\) ERR Invalid quorum`},
	{command: "SENTINEL MONITOR third 127.0.0.1 PORT 0", answer: `\(error\) ERR Quorum must be 1 or greater.`},
	{command: "SENTINEL MONITOR third 127.0.0.1 none 2", answer: `\(error\) ERR Invalid port`},
	{command: "SENTINEL FAILOVER other", answer: `\(error\) NOGOODSLAVE .*`},
	{command: "SENTINEL FAILOVER nobody", answer: noSuchName},
	{command: "SENTINEL RESET oth*", answer: `\(integer\) 1`},
	{command: "SENTINEL RESET nobody", answer: `\(integer\) 0`},
	{command: "SENTINEL REMOVE other", answer: `OK`},
	{command: "SENTINEL REMOVE other", answer: noSuchName},
	{command: "SENTINEL CONFIG GET *", answer: `1\) "resolve-hostnames"\n +2\) "no"\n +3\) "announce-hostnames"\n +4\) "no"\n` +
		` +5\) "announce-ip"\n +6\) ""\n +7\) "announce-port"\n +8\) "0"\n +9\) "sentinel-user"\n10\) ""\n11\) "sentinel-pass"\n12\) ""` +
		`(\n13\) "loglevel"\n14\) "notice")?`},
	{command: "SENTINEL CONFIG GET resolve-*", answer: `1\) "resolve-hostnames"\n2\) "no"`},
	{command: "SENTINEL CONFIG GET nothing", answer: emptyArray},
	{command: "SENTINEL CONFIG SET resolve-hostnames no", answer: `OK`},
	{command: "SENTINEL CONFIG SET nothing no", answer: `\(error\) ERR Invalid argument 'nothing' to SENTINEL CONFIG SET`},
	{command: "SENTINEL FLUSHCONFIG", answer: `OK`},
	{command: "SENTINEL INFO-CACHE mymaster", answer: `1\) "mymaster"\n2\) 1\) 1\) \(integer\) [0-9]+\n *2\) "# Server.*\n *2\) 1\) \(integer\) [0-9]+\n.*\n *3\) 1\) \(integer\) [0-9]+\n.*`},
	{command: "SENTINEL INFO-CACHE nobody", answer: emptyArray},
	{command: "SENTINEL PENDING-SCRIPTS", answer: emptyArray},
	{command: "SENTINEL SIMULATE-FAILURE HELP", answer: `1\) .*crash-after-election.*\n2\) .*crash-after-promotion.*`},
	{command: "SENTINEL SIMULATE-FAILURE nothing", answer: `\(error\) ERR Unknown failure simulation specified`},
	{command: "SENTINEL DEBUG", maps: 1, fields: debugField},
	{command: "SENTINEL DEBUG script-max-runtime 60000", answer: `OK`},
	{command: "SENTINEL DEBUG info-period 10000", answer: `\(error\) ERR INFO-PERIOD cannot be set here: .*`, ours: true},
	{command: "SENTINEL DEBUG nothing 1", answer: `\(error\) ERR Unknown option or number of arguments for SENTINEL DEBUG 'nothing'`},
	{command: "SENTINEL HELP", answer: `.*SENTINEL <subcommand> .*`},
	{command: "SENTINEL", answer: `\(error\) ERR wrong number of arguments for 'sentinel' command`},
	{command: "SENTINEL NOTHING", answer: `\(error\) ERR unknown subcommand 'NOTHING'. Try SENTINEL HELP.`},
	{command: "GET key", answer: `\(error\) ERR unknown command 'GET', with args beginning with: 'key'`},
	{command: "CLIENT ID", answer: `\(integer\) [0-9]+`},
	{command: "CLIENT GETNAME", answer: `\(nil\)`},
	{command: "CLIENT SETNAME somebody", answer: `OK`},
	{command: "CLIENT LIST", answer: `.*id=[0-9]+ addr=127.0.0.1:.*`},
	{command: "COMMAND COUNT", answer: `\(integer\) [0-9]+`},
	{command: "ACL WHOAMI", answer: `"default"`},
	{command: "PUBLISH channel message", answer: `\(error\) ERR Only HELLO messages are accepted by Sentinel instances.`},
	{command: "QUIT", answer: `OK`, ours: true},
}

// subcommands puts every question that a Sentinel answers.
func subcommands(t *testing.T, l *lab.Set, other *stage.Redis) {
	t.Helper()
	ports := strings.NewReplacer("PORT", portOf(l.Master.Addr()), "OTHER", portOf(other.Addr()),
		"SECOND", portOf(l.Addrs()[1]), "THIRD", portOf(l.Addrs()[2]))
	for _, q := range questions {
		if q.ours && *theirs {
			continue
		}
		got := ask(t, l.Addrs()[0], strings.Fields(ports.Replace(q.command))...)
		if q.fields != "" {
			if names := strings.TrimSpace(strings.Repeat(q.fields+" ", q.maps)); strings.Join(namesOf(got), " ") != names {
				t.Errorf("%s: fields\n%s\nwant\n%s\nin\n%s", q.command, strings.Join(namesOf(got), " "), names, got)
			}
			continue
		}
		if !regexp.MustCompile(`(?s)^` + ports.Replace(q.answer) + `$`).MatchString(strings.ReplaceAll(got, "\r\n", "\n")) {
			t.Errorf("%s:\n%s\nwant\n%s", q.command, got, ports.Replace(q.answer))
		}
	}
}

// namesOf are the names in flat maps, as redis-cli shows them: every odd element.
func namesOf(answer string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)([0-9]*[13579])\) "([^"]*)"$`).FindAllStringSubmatch(answer, -1) {
		out = append(out, m[2])
	}
	return out
}

// maps speaks RESP3, in which an instance is a map.
func maps(t *testing.T, l *lab.Set) {
	t.Helper()
	got := ask(t, l.Addrs()[0], "-3", "SENTINEL", "MASTER", lab.MasterName)
	if !strings.HasPrefix(got, `1# "name" => "`+lab.MasterName+`"`) {
		t.Errorf("SENTINEL MASTER in RESP3:\n%s", got)
	}
}

// subscriber waits for events on one node, while a set comes and goes on that node.
func subscriber(t *testing.T, s *stage.Stage, l *lab.Set, other *stage.Redis) {
	t.Helper()
	node, port := l.Addrs()[0], portOf(other.Addr())
	p := start(t, s, "redis-cli", "-p", portOf(node), "PSUBSCRIBE", "*")
	heard := func(what string) {
		t.Helper()
		eventually(t, "redis-cli hears "+what, func() error {
			if err := alive(p); err != nil {
				return err
			}
			if log := p.Log(64 << 10); !strings.Contains(log, what) {
				return errors.New(log)
			}
			return nil
		})
	}
	heard("psubscribe\n*\n1\n")
	ask(t, node, "SENTINEL", "MONITOR", "other", "127.0.0.1", port, "2")
	heard("pmessage\n*\n+monitor\nmaster other 127.0.0.1 " + port + " quorum 2\n")
	ask(t, node, "SENTINEL", "SET", "other", "auth-pass", "sesame")
	heard("pmessage\n*\n+set\nmaster other 127.0.0.1 " + port + " auth-pass ******\n")
	ask(t, node, "SENTINEL", "REMOVE", "other")
	heard("pmessage\n*\n-monitor\nmaster other 127.0.0.1 " + port + "\n")
}

// shutdown ends a node.
func shutdown(t *testing.T, l *lab.Set) {
	t.Helper()
	last := l.Procs()[2]
	out, err := exec.Command(filepath.Join(programs.room, "redis-cli"), "-p", portOf(l.Addrs()[2]), "SHUTDOWN").CombinedOutput()
	if err != nil {
		t.Fatalf("SHUTDOWN: %v: %s", err, out)
	}
	eventually(t, "the node ends", func() error {
		if last.Running() {
			return fmt.Errorf("it lives; redis-cli printed %q", out)
		}
		return nil
	})
}
