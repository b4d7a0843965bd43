package resp

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSession: who asks, in which version of the protocol.
func TestSession(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	const told = "server redis version 7.2.0 proto :… id :1 mode sentinel modules []"
	c.converse(
		step{"AUTH", "-ERR wrong number of arguments for 'auth' command"},
		step{"AUTH x", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"},
		step{"AUTH default x", "+OK"},
		step{"AUTH foo x", "-WRONGPASS invalid username-password pair or user is disabled."},
		step{"AUTH a b c", "-ERR syntax error"},
		step{"HELLO", "[" + told + "]"},
		step{"HELLO 4", "-NOPROTO unsupported protocol version"},
		step{"HELLO x", "-ERR Protocol version is not an integer or out of range"},
		step{"HELLO 3 AUTH", "-ERR Syntax error in HELLO option 'AUTH'"},
		step{"HELLO 3 AUTH foo bar SETNAME n", "-WRONGPASS invalid username-password pair or user is disabled."},
		step{"HELLO 3 SETNAME é", "-ERR Client names cannot contain spaces, newlines or special characters."},
		step{"CLIENT GETNAME", "nil"}, // nothing of what failed was done
		step{"HELLO 3 AUTH default x SETNAME n", "{" + strings.ReplaceAll(told, "…", "3") + "}"},
		step{"CLIENT GETNAME", "n"},
		step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "_"},
		step{"CLIENT TRACKINGINFO", "{flags ~[off] redirect :-1 prefixes []}"},
		step{"CLIENT INFO", "=txt:id=1 … name=n … flags=N … cmd=client|info user=default redir=-1 resp=3 lib-name= lib-ver=\n"},
		step{"ACL GETUSER default", "{flags ~[on nopass] passwords [] commands +@all keys ~* channels &* selectors []}"},
		step{"ACL LOG 1", "[{count :1 reason auth context toplevel object HELLO username foo age-seconds ,0… client-info id=1 … entry-id :1 …}]"},
		step{"RESET", "+RESET"},
		step{"CLIENT GETNAME", "nil"},
		step{"HELLO", "[" + strings.ReplaceAll(told, "…", "2") + "]"},
		step{"ROLE", "[sentinel []]"},
		step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"},
		step{"SENTINEL MONITOR b 10.0.0.2 6379 2", "+OK"},
		step{"ROLE", "[sentinel [b m]]"},
		step{"PUBLISH x y", "-ERR Only HELLO messages are accepted by Sentinel instances."},
		step{"PUBLISH __sentinel__:hello 10.0.0.9,26379,x,777,m,10.0.0.9,6379,777", ":1"},
		step{"SENTINEL GET-MASTER-ADDR-BY-NAME m", "[10.0.0.1 6379]"}, // whatever was published
	)
}

// TestUsers: there is one, and it stays as it is.
func TestUsers(t *testing.T) {
	c := newRig(t, nil).client(t)
	c.converse(
		step{"ACL WHOAMI", "default"},
		step{"ACL USERS", "[default]"},
		step{"ACL LIST", "[user default on nopass ~* &* +@all]"},
		step{"ACL GETUSER foo", "nil"},
		step{"ACL SETUSER foo on", "-ERR users cannot be changed here…"},
		step{"ACL LOAD", "-ERR users cannot be changed here…"},
		step{"ACL SAVE", "-ERR users cannot be changed here…"},
		step{"ACL DELUSER foo", ":0"},
		step{"ACL DELUSER foo default", "-ERR The 'default' user cannot be removed"},
		step{"ACL DRYRUN default ping", "+OK"},
		step{"ACL DRYRUN default client list", "+OK"},
		step{"ACL DRYRUN default client foo", "-ERR Command 'client' not found"},
		step{"ACL DRYRUN default publish x", "-ERR wrong number of arguments for 'publish' command"},
		step{"ACL DRYRUN default quit", "-ERR Command 'quit' not found"},
		step{"ACL DRYRUN foo ping", "-ERR User 'foo' not found"},
		step{"ACL CAT pubsub", "[psubscribe publish punsubscribe subscribe unsubscribe]"},
		step{"ACL CAT nosuch", "-ERR Unknown category 'nosuch'"},
		step{"ACL CAT a b", "-ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP."},
		step{"ACL GENPASS 0", "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"},
		step{"ACL LOG", "[]"},
		step{"ACL LOG x", "-ERR value is not an integer or out of range"},
		step{"ACL HELP", "[+ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +CAT [<categoryname>] …+HELP +    Prints this help.]"},
	)
	for bits, digits := range map[string]int{"1": 1, "5": 2, "256": 64, "4096": 1024} {
		if got := c.do("ACL", "GENPASS", bits); len(got) != digits {
			t.Errorf("%s bits: %q", bits, got)
		}
	}
	if a, b := c.do("ACL", "GENPASS"), c.do("ACL", "GENPASS"); len(a) != 64 || a == b {
		t.Errorf("%q, then %q", a, b)
	}
}

// TestRefusedLogins: attempts that are alike are one entry, and the log has a bound.
func TestRefusedLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newRig(t, nil).client(t)
		c.do("AUTH", "mallory", "x")
		time.Sleep(30 * time.Second)
		c.do("AUTH", "mallory", "y")
		c.do("AUTH", "eve", "x")
		time.Sleep(1500 * time.Millisecond)
		c.converse(step{"ACL LOG", "[[count :1 …object AUTH username eve age-seconds 1.5 …] [count :2 …username mallory age-seconds 1.5 …entry-id :0 …]]"})
		time.Sleep(time.Minute)
		c.do("AUTH", "mallory", "z")
		c.converse(step{"ACL LOG 1", "[[count :1 …username mallory …entry-id :2 …]]"}, step{"ACL LOG RESET", "+OK"}, step{"ACL LOG", "[]"})
		for i := range 2 * denialLimit {
			c.do("AUTH", strings.Repeat("x", i+1), "p")
		}
		if n := strings.Count(c.do("ACL", "LOG", "10000"), "count :1"); n != denialLimit {
			t.Errorf("%d entries", n)
		}
	})
}

func TestCommand(t *testing.T) {
	c := newRig(t, nil).client(t)
	c.converse(
		step{"COMMAND COUNT", ":15"},
		step{"COMMAND INFO ping nosuch", "[[ping :-1 [+fast] :0 :0 :0 [+@fast +@connection] [request_policy:all_shards response_policy:all_succeeded] [] []] nil]"},
		step{"COMMAND INFO CLIENT|ID", "[[client|id :2 [+noscript +loading +stale] :0 :0 :0 [+@slow +@connection] [] [] []]]"},
		step{"COMMAND DOCS ping nosuch", "[ping [summary Answers. since 1.0.0 group connection complexity O(1) arguments [[name message type string flags [+optional]]]]]"},
		step{"COMMAND DOCS sentinel|slaves", "[sentinel|slaves […doc_flags [+deprecated] deprecated_since 5.0.0 replaced_by `SENTINEL REPLICAS` arguments …]]"},
		step{"COMMAND LIST FILTERBY PATTERN sentinel|m*", "[sentinel|master sentinel|masters sentinel|monitor sentinel|myid]"},
		step{"COMMAND LIST FILTERBY ACLCAT nosuch", "[]"},
		step{"COMMAND LIST FILTERBY MODULE x", "[]"},
		step{"COMMAND LIST x", "-ERR syntax error"},
		step{"COMMAND GETKEYS get a", "-ERR Invalid command specified"},
		step{"COMMAND GETKEYS publish a b", "-ERR The command has no key arguments"},
		step{"COMMAND GETKEYSANDFLAGS publish a", "-ERR The command has no key arguments"},
		step{"COMMAND FOO", "-ERR unknown subcommand 'FOO'. Try COMMAND HELP."},
		step{"COMMAND HELP", "[+COMMAND <subcommand> … +(no subcommand) +    … +COUNT +    …]"},
		step{"SENTINEL HELP", "[+SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +CKQUORUM <master-name> +    …]"},
		step{"SENTINEL HELP x", "-ERR wrong number of arguments for 'sentinel|help' command"},
	)
	bare, all := c.do("COMMAND"), c.do("COMMAND", "INFO")
	if bare != all || strings.Count(bare, "[sentinel ") != 1 || !strings.Contains(bare, "[sentinel|set :-5 [+admin] :0 :0 :0 [+@admin +@slow +@dangerous] [] [] []]") {
		t.Errorf("%s\n%s", bare, all)
	}
	if list := c.do("COMMAND", "LIST"); strings.Contains(list, "quit") || strings.Contains(list, "primar") {
		t.Errorf("what no Sentinel has: %s", list)
	}
}

func TestUsage(t *testing.T) {
	for name, want := range map[string]string{
		"sentinel|set":    "<master-name> <option> <value> [<option> <value> ...]",
		"sentinel|config": "(SET <parameter> <value> [<parameter> <value> ...]|GET <parameter> [<parameter> ...])",
		"client|pause":    "<timeout> [(WRITE|ALL)]",
		"client|list":     "[TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <client-id> [<client-id> ...]]",
		"client|tracking": "(ON|OFF) [REDIRECT <client-id>] [PREFIX <prefix> [PREFIX <prefix> ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
		"client|id":       "",
	} {
		if got := usage(docs[name].args); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestShutdown: the node is told, and the connection stays until it ends, as a Redis that exits would leave it.
func TestShutdown(t *testing.T) {
	asked := make(chan struct{}, 1)
	r := newRig(t, nil, func(o *Options) { o.Shutdown = func() { asked <- struct{}{} } })
	c := r.client(t)
	c.converse(
		step{"SHUTDOWN FOO", "-ERR syntax error"},
		step{"SHUTDOWN SAVE NOSAVE", "-ERR syntax error"},
		step{"SHUTDOWN NOW ABORT", "-ERR syntax error"},
		step{"SHUTDOWN ABORT", "-ERR No shutdown in progress."},
	)
	select {
	case <-asked:
		t.Fatal("an order that was refused is carried out")
	default:
	}
	c.write(string(fields{"SHUTDOWN", "NOSAVE", "NOW"}.append(nil, 2)))
	<-asked
	r.stop()
	if got := c.read(); got != io.EOF.Error() {
		t.Errorf("%q", got)
	}
	newRig(t, nil).client(t).converse(step{"SHUTDOWN", "-ERR this node cannot be stopped over this port"})
}
