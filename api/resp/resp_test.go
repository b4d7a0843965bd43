package resp

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/detector"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestCommands is a conversation; every reply is exact.
func TestCommands(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	for _, step := range []struct{ command, want string }{
		{"PING", "+PONG"},
		{"ping hello", "hello"},
		{"PING a b", "-ERR wrong number of arguments for 'ping' command"},
		{"GET x", "-ERR unknown command 'GET', with args beginning with: 'x' "},
		{"SENTINEL", "-ERR wrong number of arguments for 'sentinel' command"},
		{"SENTINEL foo", "-ERR unknown subcommand 'foo'. Try SENTINEL HELP."},
		{"SENTINEL SET m", "-ERR wrong number of arguments for 'sentinel|set' command"},
		{"SENTINEL master", "-ERR wrong number of arguments for 'sentinel|master' command"},
		{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "null"},
		{"SENTINEL MASTER m", "-ERR No such master with that name"},
		{"SENTINEL MASTERS", "[]"},
		{"SENTINEL REPLICAS m", "-ERR No such master with that name"},
		{"SENTINEL REMOVE m", "-ERR No such master with that name"},
		{"SENTINEL CKQUORUM m", "-ERR No such master with that name"},
		{"SENTINEL SET m quorum 1", "-ERR No such master with that name"},
		{"SENTINEL MYID", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"},
		{"SENTINEL MONITOR m 10.0.0.1 6379 x", "-ERR Invalid quorum"},
		{"SENTINEL MONITOR m 10.0.0.1 x 0", "-ERR Invalid port"},
		{"SENTINEL MONITOR m 10.0.0.1 6379 0", "-ERR Quorum must be 1 or greater."},
		{"SENTINEL MONITOR m 10.0.0.1 6379 99999999999", "-ERR Invalid quorum"},
		{"SENTINEL MONITOR m not_a/host 6379 2", "-ERR Invalid IP address or hostname specified"},
		{"SENTINEL MONITOR m 0.0.0.0 6379 2", "-ERR Invalid IP address or hostname specified"},
		{"SENTINEL MONITOR m 300.1.1.1 6379 2", "-ERR Invalid IP address or hostname specified"},
		{"SENTINEL MONITOR m redis.nowhere 6379 2", "-ERR Invalid IP address or hostname specified"},
		{"SENTINEL MONITOR m 10.0.0.1 65536 2", "-ERR Invalid port number."},
		{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"},
		{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"},
		{"SENTINEL MONITOR m 10.0.0.1 6379 3", "-ERR Duplicate master name."},
		{"SENTINEL MONITOR m 10.0.0.2 6379 2", "-ERR Duplicate master name."},
		{"SENTINEL get-master-addr-by-name m", "[10.0.0.1 6379]"},
		{"SENTINEL GET-PRIMARY-ADDR-BY-NAME m", "[10.0.0.1 6379]"},
		{"SENTINEL SET m down-after-milliseconds 1000 parallel-syncs 2", "+OK"},
		{"SENTINEL SET m quorum 1 nosuch 2", "-ERR Unknown option or number of arguments for SENTINEL SET 'nosuch'"},
		{"SENTINEL SET m quorum 1 failover-timeout", "-ERR Unknown option or number of arguments for SENTINEL SET 'failover-timeout'"},
		{"SENTINEL SET m quorum 1 parallel-syncs 0", "-ERR Invalid argument '0' for SENTINEL SET 'parallel-syncs'"},
		{"SENTINEL SET m quorum x", "-ERR Invalid argument 'x' for SENTINEL SET 'quorum'"},
		{"SENTINEL SET m former-auth-pass x", "-ERR Unknown option or number of arguments for SENTINEL SET 'former-auth-pass'"},
		{"SENTINEL SET m notification-script /bin/true", "-" + string(errScripts)},
		{"SENTINEL SET m rename-command CONFIG abc rename-command SLAVEOF def", "+OK"},
		{"SENTINEL SET m rename-command CONFIG CONFIG", "+OK"},
		{"SENTINEL CKQUORUM m", "+OK 3 usable Sentinels. Quorum and failover authorization can be reached"},
		{"SENTINEL REMOVE m", "+OK"},
		{"SENTINEL REMOVE m", "-ERR No such master with that name"},
	} {
		if got := c.do(strings.Fields(step.command)...); got != step.want {
			t.Errorf("%s:\n got %s\nwant %s", step.command, got, step.want)
		}
		if m, ok := r.node.State().Master("m"); ok && m.Options.Quorum != 2 {
			t.Fatalf("%s: is not all or nothing", step.command)
		}
		if m, ok := r.node.State().Master("m"); ok && step.command == "SENTINEL SET m rename-command CONFIG CONFIG" {
			if len(m.Options.RenameCommand) != 1 || m.Options.RenameCommand["slaveof"] != "def" {
				t.Errorf("renamed commands %v", m.Options.RenameCommand)
			}
		}
	}
	for _, args := range [][]string{
		{"SENTINEL", "MONITOR", "m\nx", "10.0.0.1", "6379", "2"}, {"SENTINEL", "SET", "m", "auth-pass", "geheim\nx"},
	} {
		want := "-ERR Invalid argument at index "
		if got := c.do(args...); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, ": control characters are not allowed") {
			t.Error(got)
		}
	}
}

// TestMasterMap is the map of a master in its exact order, well and in a failover.
// TestNoForce: the protocol does not speak of what it has not.
func TestNoForce(t *testing.T) {
	got := refusal(&api.Error{Code: codes.FailedPrecondition, Text: "10.0.0.1:6379 answers as a replica" + api.ForceHint})
	if got != failure("ERR 10.0.0.1:6379 answers as a replica") {
		t.Errorf("%q", got)
	}
}

func TestMasterMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		well := api.Observation{
			Connected: true, LastReply: now.Add(-5 * time.Millisecond), LastAnyReply: now.Add(-4 * time.Millisecond),
			InfoAt: now.Add(-70 * time.Millisecond), RoleSince: now.Add(-9 * time.Second), Info: &detector.Info{Role: raftfsm.RoleMaster, ReplicaAnnounced: true},
		}
		fleet := fakeFleet{"10.0.0.1:6379": well, "10.0.0.2:6379": {
			Connected: true, InfoAt: now, Info: &detector.Info{
				Role: raftfsm.RoleReplica, MasterHost: "10.0.0.1", MasterPort: 6379,
				MasterLinkDown: 3 * time.Second, Priority: 100, Offset: 42, ReplicaAnnounced: true,
			},
		}, "10.0.0.3:6379": {Info: &detector.Info{Role: raftfsm.RoleReplica}}}
		r := newRig(t, fleet)
		c := r.client(t)
		c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
		for _, host := range []string{"10.0.0.2", "10.0.0.3"} {
			m, _ := r.node.State().Master("m")
			r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_StateFacts{StateFacts: &raftlogv1.StateFacts{
				Master: "m", Generation: m.Generation,
				Instances: []*raftlogv1.InstanceFacts{{Address: &raftlogv1.Address{Host: host, Port: 6379}, RunId: "r-" + host}},
			}}})
		}
		const tail = "down-after-milliseconds 30000 info-refresh 70 role-reported master role-reported-time 9000 " +
			"config-epoch 0 num-slaves 2 num-other-sentinels 2 quorum 2 failover-timeout 180000 parallel-syncs 1]"
		want := "[name m ip 10.0.0.1 port 6379 runid  flags master link-pending-commands 0 link-refcount 1 " +
			"last-ping-sent 0 last-ok-ping-reply 5 last-ping-reply 4 " + tail
		if got := c.do("SENTINEL", "MASTER", "m"); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		if got := c.do("SENTINEL", "MASTERS"); got != "["+want+"]" {
			t.Error(got)
		}
		// The third asks not to be announced.
		want = "[[name 10.0.0.2:6379 ip 10.0.0.2 port 6379 runid r-10.0.0.2 flags slave link-pending-commands 0 link-refcount 1 " +
			"last-ping-sent 0 last-ok-ping-reply 0 last-ping-reply 0 down-after-milliseconds 30000 info-refresh 0 role-reported slave " +
			"role-reported-time 0 master-link-down-time 3000 master-link-status err master-host 10.0.0.1 master-port 6379 " +
			"slave-priority 100 slave-repl-offset 42 replica-announced 1]]"
		if got := c.do("SENTINEL", "SLAVES", "m"); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		well.Down, well.Cause, well.Connected, well.DownSince = true, raftfsm.CauseRefused, false, now.Add(-time.Second)
		well.LastPingSent = now.Add(-2 * time.Second)
		fleet["10.0.0.1:6379"] = well
		m, _ := r.node.State().Master("m")
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_BeginFailover{BeginFailover: &raftlogv1.BeginFailover{
			Master: "m", Generation: m.Generation, OperationId: "op", Kind: raftfsm.KindForced, From: m.Address.Proto(),
			Candidate: &raftlogv1.Address{Host: "10.0.0.2", Port: 6379},
		}}})
		want = "[name m ip 10.0.0.1 port 6379 runid  flags s_down,master,disconnected,failover_in_progress,force_failover " +
			"link-pending-commands 1 link-refcount 1 failover-state wait_promotion last-ping-sent 2000 last-ok-ping-reply 5 " +
			"last-ping-reply 4 s-down-time 1000 " + tail
		if got := c.do("SENTINEL", "MASTER", "m"); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
	})
}

func TestInfo(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
	want := "# Sentinel\r\nsentinel_masters:1\r\nsentinel_tilt:0\r\nsentinel_tilt_since_seconds:-1\r\nsentinel_total_tilt:0\r\n" +
		"sentinel_running_scripts:1\r\nsentinel_scripts_queue_length:2\r\nsentinel_simulate_failure_flags:0\r\n" +
		"master0:name=m,status=ok,address=10.0.0.1:6379,slaves=0,sentinels=3\r\n"
	if got := c.do("INFO", "sentinel"); got != want {
		t.Errorf("got %q", got)
	}
	want = "# Raft\r\nraft_state:leader\r\nraft_leader:a-1\r\nraft_term:3\r\nraft_commit_index:9\r\nraft_applied_index:9\r\n" +
		"raft_last_contact_ms:0\r\nraft_peers:3\r\nraft_cluster_id:c1\r\n"
	if got := c.do("info", "RAFT"); got != want {
		t.Errorf("got %q", got)
	}
	all := c.do("INFO")
	for _, s := range []string{"# Server\r\n", "redis_mode:sentinel\r\n", "\r\n\r\n# Sentinel\r\n", "\r\n\r\n# Raft\r\n"} {
		if !strings.Contains(all, s) {
			t.Errorf("INFO lacks %q", s)
		}
	}
	if got := c.do("INFO", "keyspace"); got != "" {
		t.Errorf("unknown section: %q", got)
	}
	r.node.set(func(n *fakeNode) { n.localErr = errLoading })
	if got := c.do("INFO"); strings.Contains(got, "# Sentinel") || !strings.Contains(got, "# Raft") {
		t.Errorf("while loading: %q", got)
	}
}

// TestNodesThatMustNotAnswer: loading and removed ones refuse look-ups and say why.
func TestNodesThatMustNotAnswer(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
	for err, want := range map[error]string{
		errLoading: "-LOADING ",
		errRemoved: "-ERR this node was removed from its cluster",
	} {
		r.node.set(func(n *fakeNode) { n.localErr = err })
		for _, command := range []string{"GET-MASTER-ADDR-BY-NAME m", "MASTER m", "MASTERS", "REPLICAS m", "CKQUORUM m", "SET m quorum 1"} {
			if got := c.do(strings.Fields("SENTINEL " + command)...); !strings.HasPrefix(got, want) {
				t.Errorf("%v: %s: %s", err, command, got)
			}
		}
		if got := c.do("PING"); got != "+PONG" {
			t.Error(got)
		}
	}
}

// TestNoQuorum: a change answers within 1.5 s, and says that nothing changed only where that is sure. Look-ups go on.
func TestNoQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.client(t)
		c.do("SENTINEL", "MONITOR", "m", "10.0.0.1", "6379", "2")
		r.node.hang = true
		began := time.Now()
		if got := c.do("SENTINEL", "REMOVE", "m"); !strings.HasPrefix(got, "-NOQUORUM ") || !strings.HasSuffix(got, "nothing changed") {
			t.Error(got)
		}
		if took := time.Since(began); took > changeLimit {
			t.Errorf("took %v", took)
		}
		if got := c.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"); got != "[10.0.0.1 6379]" {
			t.Error(got)
		}
		r.node.set(func(n *fakeNode) { n.status.LeaderID, n.status.Role, n.status.Heard = "", "follower", nil })
		if got := c.do("SENTINEL", "CKQUORUM", "m"); !strings.HasPrefix(got, "-NOQUORUM 1 usable Sentinels. ") {
			t.Error(got)
		}
		r.node.hang = false
		r.node.proposeErr = errUnknown
		if got := c.do("SENTINEL", "REMOVE", "m"); !strings.HasPrefix(got, "-UNKNOWN outcome, ask again") {
			t.Error(got)
		}
	})
}

func TestInlinePipeliningAndQuit(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	c.write("\r\nPING\r\nsentinel monitor m '10.0.0.1' \"6379\" 2\nSENTINEL get-master-addr-by-name m\r\n*0\r\n*1\r\n$4\r\nPING\r\nQUIT\r\n")
	for _, want := range []string{"+PONG", "+OK", "[10.0.0.1 6379]", "+PONG", "+OK", io.EOF.Error()} {
		if got := c.read(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestHalfACommandHoldsNothingUp: what came whole before it is answered.
func TestHalfACommandHoldsNothingUp(t *testing.T) {
	c := newRig(t, nil).client(t)
	c.write("PING\r\nPI")
	if got := c.read(); got != "+PONG" {
		t.Fatalf("%q", got)
	}
	c.write("NG\r\n")
	if got := c.read(); got != "+PONG" {
		t.Errorf("the other half: %q", got)
	}
}

// TestMalformedFramesCloseTheirConnectionAlone: with an error, and with what came before answered.
func TestMalformedFramesCloseTheirConnectionAlone(t *testing.T) {
	r := newRig(t, nil)
	other := r.client(t)
	for raw, want := range map[string]string{
		"*x\r\n":                                 "-ERR Protocol error: invalid multibulk length",
		"*2147483648\r\n":                        "-ERR Protocol error: invalid multibulk length",
		"*+1\r\n":                                "-ERR Protocol error: invalid multibulk length",
		"*01\r\n":                                "-ERR Protocol error: invalid multibulk length",
		"*1\n$4\nPING\r\n":                       "-ERR Protocol error: invalid multibulk length",
		"*" + strings.Repeat("1", 100) + "\r\n":  "-ERR Protocol error: invalid multibulk length",
		"*" + strings.Repeat("1", maxLine):       "-ERR Protocol error: too big mbulk count string",
		"*1\r\n$" + strings.Repeat("1", maxLine): "-ERR Protocol error: too big bulk count string",
		"*1\r\n:1\r\n":                           "-ERR Protocol error: expected '$', got ':'",
		"*1\r\n\r\n":                             "-ERR Protocol error: expected '$', got ' '",
		"*1\r\n$-1\r\n":                          "-ERR Protocol error: invalid bulk length",
		"*1\r\n$99999999999999999999\r\n":        "-ERR Protocol error: invalid bulk length",
		"*1\r\n$600000000\r\n":                   "-ERR Protocol error: invalid bulk length",
		"*1\r\n$1048577\r\n":                     "-ERR Protocol error: too big request",
		"*200000\r\n" + strings.Repeat("$0\r\n\r\n", 70_000): "-ERR Protocol error: too big request",
		"PING \"x\r\n":                          "-ERR Protocol error: unbalanced quotes in request",
		strings.Repeat("x", maxLine+1) + "\r\n": "-ERR Protocol error: too big inline request",
	} {
		c := r.client(t)
		go func() { _, _ = io.WriteString(c.conn, "PING\r\n"+raw) }()
		if got := c.read(); got != "+PONG" {
			t.Errorf("%.20q: before it: %q", raw, got)
		}
		if got := c.read(); got != want {
			t.Errorf("%.20q: %q, want %q", raw, got, want)
		}
		if got := c.read(); got != io.EOF.Error() && !strings.Contains(got, "closed") {
			t.Errorf("%.20q: the connection stays: %q", raw, got)
		}
	}
	if got := other.do("PING"); got != "+PONG" {
		t.Errorf("another connection: %q", got)
	}
}

// TestLargeCommands: what a Sentinel takes is taken, up to a bound in bytes, and what is bad about it is an error like any other.
func TestLargeCommands(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	words := func(first string, n int) string {
		return string(fields(append([]string{first}, slices.Repeat([]string{"x"}, n)...)).append(nil, 2))
	}
	large := strings.Repeat("x", 1<<20-64)
	for _, v := range []struct{ sent, want string }{
		{words("PING", 50_000), "-ERR wrong number of arguments for 'ping' command"},
		{words("GET", 1025), "-ERR unknown command 'GET', with args beginning with: " + strings.Repeat("'x' ", 32)},
		{string(fields(append([]string{"COMMAND", "DOCS"}, slices.Repeat([]string{"sentinel"}, 1025)...)).append(nil, 2)), "-" + string(errTooManyNamed)},
		{string(fields(append([]string{"COMMAND", "INFO"}, slices.Repeat([]string{"sentinel"}, 1025)...)).append(nil, 2)), "-" + string(errTooManyNamed)},
		{"PING " + strings.Repeat("x ", 3000) + "\r\n", "-ERR wrong number of arguments for 'ping' command"},
		{string(fields([]string{"PING", large}).append(nil, 2)), large},
		{"*1\r\n$4\r\nPINGxx", "+PONG"}, // Redis does not look at the line's end
		{"*-1\r\n*0\r\n\r\nPING\r\n", "+PONG"},
	} {
		go func() { _, _ = io.WriteString(c.conn, v.sent) }()
		if got := c.read(); got != v.want {
			t.Errorf("%.30q: %.100q", v.sent, got)
		}
	}
	// Nobody is answered, and nothing refused, while the rest may still come.
	c.write("*99999999\r\n")
	c.conn.Close()
	if got := r.client(t).do("PING"); got != "+PONG" {
		t.Error(got)
	}
}

// TestALargeCommandLeavesNoLargeBuffer: also where its connection never rests.
func TestALargeCommandLeavesNoLargeBuffer(t *testing.T) {
	c := &conn{in: make([]byte, 0, 1<<20)}
	c.in = append(c.in, "*1\r\n"...)
	if c.keep(c.in[1:]); string(c.in) != "1\r\n" || cap(c.in) != bufferSize {
		t.Errorf("%q in %d bytes", c.in, cap(c.in))
	}
	c.in = append(c.in, make([]byte, 2*bufferSize)...)
	if c.keep(c.in[1:]); string(c.in[:2]) != "\r\n" || len(c.in) != 2*bufferSize+2 {
		t.Errorf("%d bytes are left of it", len(c.in))
	}
}

// TestProtectedMode: strangers get a reason and no service.
func TestProtectedMode(t *testing.T) {
	s := &Server{o: Options{Protected: true}, conns: map[int64]*conn{}}
	for ip, allowed := range map[string]bool{"127.0.0.1": true, "::1": true, "192.0.2.1": false} {
		ours, theirs := net.Pipe()
		answer := make(chan string, 1)
		go func() {
			b, _ := io.ReadAll(theirs)
			answer <- string(b)
		}()
		kept := s.keep(t.Context(), from{ours, &net.TCPAddr{IP: net.ParseIP(ip)}}) != nil
		_ = ours.Close()
		if got := <-answer; kept != allowed || strings.HasPrefix(got, "-DENIED ") == allowed {
			t.Errorf("%s: kept %v, answer %q", ip, kept, got)
		}
	}
}

type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// TestHostNames: MONITOR takes them where the cluster's resolve-hostnames is yes, and refuses what certainly does not resolve.
func TestHostNames(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	c.converse(
		step{"SENTINEL MONITOR m redis.example 6379 2", "-" + string(errHost)},
		step{"SENTINEL CONFIG GET resolve-hostnames", "[resolve-hostnames no]"},
		step{"SENTINEL CONFIG SET resolve-hostnames maybe", "-ERR Invalid value 'maybe' to SENTINEL CONFIG SET 'resolve-hostnames'"},
		step{"SENTINEL CONFIG SET resolve-hostnames yes", "+OK"},
		step{"SENTINEL CONFIG GET *-hostnames", "[resolve-hostnames yes announce-hostnames no]"},
		step{"SENTINEL MONITOR m redis.nowhere 6379 2", "-" + string(errHost)},
		step{"SENTINEL MONITOR m redis.slow 6379 2", "+OK"},
		step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "[redis.slow 6379]"},
	)
	m, _ := r.node.State().Master("m")
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_ResolveHosts{ResolveHosts: &raftlogv1.ResolveHosts{
		Master: "m", Generation: m.Generation, Hosts: []*raftlogv1.ResolvedHost{{Address: m.Address.Proto(), Ip: "10.0.0.9"}},
	}}})
	c.converse(
		step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "[10.0.0.9 6379]"},
		step{"SENTINEL CONFIG SET announce-hostnames yes", "+OK"},
		step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "[redis.slow 6379]"},
	)
}
