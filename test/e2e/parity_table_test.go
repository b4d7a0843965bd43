package e2e

import "strings"

// all are questions that are compared in one way, a command a line.
func all(how func(answer) string, commands string) []question {
	var out []question
	for line := range strings.Lines(strings.TrimSpace(commands)) {
		out = append(out, question{strings.TrimSpace(line), how})
	}
	return out
}

// parity is the conversation. One connection of each side has all of it, in this order.
var parity = concat(
	all(exact, `
		PING
		PING hello
		PING a b
		AUTH
		AUTH x
		AUTH default x
		AUTH foo x
		AUTH a b c
		HELLO x
		HELLO 1
		HELLO 4
		HELLO 2 AUTH
		HELLO 2 AUTH foo bar
		HELLO 2 SETNAME
		HELLO 2 FOO
		ROLE
		ROLE x
		GET x
		SET a b c d
		CONFIG GET *
		MULTI
		ECHO x
		MONITOR
		PUBLISH x y
		PUBLISH x
		PUBLISH __sentinel__:hello x
		INFO nosuch
		SHUTDOWN FOO
		SHUTDOWN SAVE NOSAVE
		SHUTDOWN ABORT
		SHUTDOWN ABORT NOW`),
	all(kinds, `
		HELLO
		CLIENT ID`),
	all(fieldNames, `
		INFO server
		INFO clients
		INFO stats
		INFO cpu
		INFO sentinel
		INFO CLIENTS Sentinel server
		CLIENT INFO
		CLIENT LIST ID 1`),
	clientParity, aclParity, commandParity, sentinelParity,
	all(exact, `
		SUBSCRIBE
		UNSUBSCRIBE
		UNSUBSCRIBE x
		PUNSUBSCRIBE
		SUBSCRIBE +no-such-event
		PSUBSCRIBE no*such
		UNSUBSCRIBE +no-such-event
		PUNSUBSCRIBE`),
)

func concat(tables ...[]question) []question {
	var out []question
	for _, t := range tables {
		out = append(out, t...)
	}
	return out
}

var clientParity = concat(
	all(exact, `
		CLIENT
		CLIENT FOO
		CLIENT GETNAME
		CLIENT SETNAME
		CLIENT SETNAME foo
		CLIENT SETNAME é
		CLIENT GETNAME
		CLIENT GETNAME x
		CLIENT SETNAME ''
		CLIENT GETNAME
		CLIENT ID x
		CLIENT LIST TYPE
		CLIENT LIST TYPE foo
		CLIENT LIST TYPE pubsub
		CLIENT LIST TYPE master
		CLIENT LIST TYPE replica
		CLIENT LIST ID
		CLIENT LIST ID 1 x
		CLIENT LIST FOO
		CLIENT KILL
		CLIENT KILL foo
		CLIENT KILL ID x
		CLIENT KILL ID 0
		CLIENT KILL ID 99999999
		CLIENT KILL TYPE foo
		CLIENT KILL TYPE replica
		CLIENT KILL ADDR 1.2.3.4:5
		CLIENT KILL LADDR 1.2.3.4:5
		CLIENT KILL USER foo
		CLIENT KILL USER default ID 99999999
		CLIENT KILL SKIPME foo
		CLIENT KILL FOO bar
		CLIENT KILL ID 1 FOO
		CLIENT GETREDIR
		CLIENT CACHING yes
		CLIENT CACHING
		CLIENT TRACKING
		CLIENT TRACKING foo
		CLIENT TRACKING on PREFIX a
		CLIENT TRACKING on BCAST PREFIX foo PREFIX fo
		CLIENT TRACKING on BCAST PREFIX a PREFIX b
		CLIENT TRACKING on BCAST PREFIX ab
		CLIENT TRACKINGINFO
		CLIENT TRACKING on
		CLIENT TRACKING on BCAST OPTIN
		CLIENT TRACKING off
		CLIENT TRACKING on OPTIN OPTOUT
		CLIENT TRACKING on OPTIN NOLOOP
		CLIENT TRACKING on OPTOUT
		CLIENT CACHING no
		CLIENT CACHING foo
		CLIENT CACHING yes
		CLIENT TRACKINGINFO
		CLIENT GETREDIR
		CLIENT TRACKING on REDIRECT 99999999
		CLIENT TRACKING on REDIRECT x
		CLIENT TRACKING off
		CLIENT TRACKING on BCAST
		CLIENT TRACKINGINFO
		CLIENT TRACKING off
		CLIENT TRACKINGINFO
		CLIENT PAUSE
		CLIENT PAUSE x
		CLIENT PAUSE -1
		CLIENT PAUSE 1 FOO
		CLIENT PAUSE 1 ALL x
		CLIENT PAUSE 1 WRITE
		CLIENT PAUSE 1
		CLIENT UNPAUSE
		CLIENT UNBLOCK
		CLIENT UNBLOCK 99999999
		CLIENT UNBLOCK x
		CLIENT UNBLOCK 99999999 FOO
		CLIENT UNBLOCK 99999999 ERROR
		CLIENT NO-EVICT
		CLIENT NO-EVICT on
		CLIENT NO-EVICT off
		CLIENT NO-EVICT foo
		CLIENT NO-TOUCH on
		CLIENT REPLY
		CLIENT REPLY FOO
		CLIENT REPLY ON
		CLIENT HELP x`),
)

var aclParity = concat(
	all(exact, `
		ACL
		ACL FOO
		ACL CAT
		ACL CAT nosuch
		ACL CAT a b
		ACL DELUSER
		ACL DELUSER foo
		ACL DELUSER default
		ACL DRYRUN default
		ACL DRYRUN default ping
		ACL DRYRUN default nosuch
		ACL DRYRUN default publish x
		ACL DRYRUN foo ping
		ACL GENPASS 0
		ACL GENPASS 4097
		ACL GENPASS x
		ACL GENPASS 5 5
		ACL GETUSER
		ACL GETUSER foo
		ACL GETUSER default
		ACL LIST
		ACL LOG RESET
		ACL LOG
		ACL LOG x
		ACL LOG 1 2
		ACL SETUSER
		ACL USERS
		ACL WHOAMI`),
	all(unordered, `
		ACL CAT pubsub
		ACL CAT admin
		ACL CAT dangerous
		ACL CAT fast
		ACL CAT keyspace`),
	all(kinds, `ACL GENPASS`),
	all(helpText, `ACL HELP`),
)

var commandParity = concat(
	all(exact, `
		COMMAND COUNT
		COMMAND COUNT x
		COMMAND LIST FOO
		COMMAND LIST FILTERBY
		COMMAND LIST FILTERBY FOO x
		COMMAND LIST FILTERBY MODULE x
		COMMAND LIST FILTERBY ACLCAT nosuch
		COMMAND INFO ping
		COMMAND INFO get nosuch
		COMMAND INFO sentinel|set sentinel|master sentinel|debug sentinel|info-cache sentinel|simulate-failure sentinel|help
		COMMAND INFO client|id client|list client|kill shutdown publish role hello auth info subscribe psubscribe acl|log command|docs
		COMMAND DOCS nosuch
		COMMAND GETKEYS get
		COMMAND GETKEYS get a
		COMMAND GETKEYS publish a b
		COMMAND GETKEYSANDFLAGS publish a b
		COMMAND FOO`),
	all(unordered, `
		COMMAND LIST FILTERBY PATTERN p*
		COMMAND LIST FILTERBY PATTERN sentinel|*
		COMMAND LIST FILTERBY ACLCAT pubsub
		COMMAND INFO acl command`),
	all(maps, `
		COMMAND DOCS ping
		COMMAND DOCS client|id
		COMMAND DOCS sentinel|master sentinel|slaves`),
	all(helpText, `COMMAND HELP`),
)

var sentinelParity = concat(
	all(maps, `
		SENTINEL MASTERS
		SENTINEL MASTER mymaster
		SENTINEL REPLICAS mymaster
		SENTINEL SLAVES mymaster
		SENTINEL SENTINELS mymaster
		SENTINEL DEBUG`),
	all(kinds, `
		SENTINEL GET-MASTER-ADDR-BY-NAME mymaster
		SENTINEL MYID
		SENTINEL INFO-CACHE mymaster
		SENTINEL INFO-CACHE mymaster mymaster nosuch`),
	all(helpText, `SENTINEL HELP`),
	all(exact, `
		SENTINEL
		SENTINEL FOO
		SENTINEL HELP x
		SENTINEL MASTER
		SENTINEL MASTER nosuch
		SENTINEL MASTERS x
		SENTINEL REPLICAS
		SENTINEL REPLICAS nosuch
		SENTINEL SLAVES nosuch
		SENTINEL SENTINELS
		SENTINEL SENTINELS nosuch
		SENTINEL MYID x
		SENTINEL GET-MASTER-ADDR-BY-NAME
		SENTINEL GET-MASTER-ADDR-BY-NAME nosuch
		SENTINEL IS-MASTER-DOWN-BY-ADDR MASTER-ADDR 0 *
		SENTINEL IS-MASTER-DOWN-BY-ADDR MASTER-ADDR x *
		SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 x 0 *
		SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 99999 0 *
		SENTINEL IS-MASTER-DOWN-BY-ADDR foo.invalid 1 0 *
		SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0
		SENTINEL RESET
		SENTINEL RESET nosuch
		SENTINEL RESET ''
		SENTINEL FAILOVER
		SENTINEL FAILOVER nosuch
		SENTINEL FAILOVER mymaster x y
		SENTINEL MONITOR a b c
		SENTINEL MONITOR a b c d
		SENTINEL MONITOR a b 1 d
		SENTINEL MONITOR a b c 1
		SENTINEL MONITOR a b 1 0
		SENTINEL MONITOR a foo.invalid 1 1
		SENTINEL MONITOR a localhost 1 1
		SENTINEL MONITOR a 127.0.0.1 99999 1
		SENTINEL MONITOR a 127.0.0.1 -1 1
		SENTINEL MONITOR mymaster 127.0.0.1 1 1
		SENTINEL REMOVE
		SENTINEL REMOVE nosuch
		SENTINEL SET
		SENTINEL SET mymaster quorum
		SENTINEL SET mymaster foo 1
		SENTINEL SET mymaster quorum 0
		SENTINEL SET mymaster quorum x
		SENTINEL SET mymaster parallel-syncs -1
		SENTINEL SET nosuch foo 1
		SENTINEL SET mymaster quorum 2 failover-timeout
		SENTINEL SET mymaster notification-script /bin/true
		SENTINEL SET mymaster client-reconfig-script /bin/true
		SENTINEL SET mymaster rename-command CONFIG
		SENTINEL SET mymaster rename-command CONFIG foo
		SENTINEL SET mymaster rename-command CONFIG CONFIG
		SENTINEL SET mymaster master-reboot-down-after-period 1
		SENTINEL SET mymaster master-reboot-down-after-period 0
		SENTINEL SET mymaster failover-timeout 180000 parallel-syncs 1
		SENTINEL CONFIG
		SENTINEL CONFIG GET nosuch
		SENTINEL CONFIG GET resolve-hostnames
		SENTINEL CONFIG GET announce-*
		SENTINEL CONFIG SET x y
		SENTINEL CONFIG SET announce-port 99999
		SENTINEL CONFIG SET announce-port x
		SENTINEL CONFIG SET announce-port -1
		SENTINEL CONFIG SET resolve-hostnames maybe
		SENTINEL CONFIG SET resolve-hostnames YES
		SENTINEL CONFIG GET resolve-hostnames
		SENTINEL CONFIG SET resolve-hostnames no
		SENTINEL CONFIG SET sentinel-pass ''
		SENTINEL CKQUORUM
		SENTINEL CKQUORUM nosuch
		SENTINEL CKQUORUM mymaster
		SENTINEL FLUSHCONFIG
		SENTINEL FLUSHCONFIG x
		SENTINEL INFO-CACHE
		SENTINEL INFO-CACHE nosuch
		SENTINEL PENDING-SCRIPTS
		SENTINEL PENDING-SCRIPTS x
		SENTINEL SIMULATE-FAILURE
		SENTINEL SIMULATE-FAILURE foo
		SENTINEL SIMULATE-FAILURE crash-after-election crash-after-promotion
		SENTINEL SIMULATE-FAILURE HELP
		SENTINEL DEBUG x
		SENTINEL DEBUG x y
		SENTINEL DEBUG PING-PERIOD
		SENTINEL DEBUG PING-PERIOD 0
		SENTINEL DEBUG PING-PERIOD x
		SENTINEL DEBUG PING-PERIOD 1000 foo
		SENTINEL DEBUG SCRIPT-MAX-RUNTIME 60000 script-retry-delay 30000`),
)

// What newer Sentinels answer.
const (
	newer = "a newer Sentinel answers so (Redis 7.2, Valkey 8 and 9)"
	two   = "it is kinder, and harmless"
)

// differences are what is answered otherwise than by Redis Sentinel 7.0, and why; ours is how the answer begins.
var differences = []difference{
	{"QUIT", "+OK", "health checks of old send it: " + two},
	{"RESET", "+RESET", "connection pools send it: " + two},
	{"CLIENT SETINFO lib-name x", "+OK", newer},
	{"CLIENT PAUSE 9223372036854775807", "-ERR timeout is not an integer or out of range", "it overflows there"},
	{"ACL SETUSER foo", "-ERR users cannot be changed here", "there are no users yet"},
	{"ACL LOAD", "-ERR users cannot be changed here", "there are no users yet"},
	{"ACL SAVE", "-ERR users cannot be changed here", "there are no users yet"},
	{"SENTINEL FAILOVER mymaster COORDINATED", "+OK", "Valkey 9 answers so"},
	{"SENTINEL FAILOVER mymaster FOO", "-ERR Unknown failover option specified", newer},
	{"SENTINEL PRIMARIES", "*[", newer},
	{"SENTINEL IS-PRIMARY-DOWN-BY-ADDR 127.0.0.1 1 0 *", "*[:0 $* :0]", newer},
	{"SENTINEL MONITOR a 127.0.0.1 0 1", "-ERR Invalid port number.", "nothing can listen at port 0"},
	{"SENTINEL CONFIG GET", "-ERR wrong number of arguments for 'sentinel|config' command", newer},
	{"SENTINEL CONFIG SET loglevel foo", "-ERR Invalid value 'foo' to SENTINEL CONFIG SET 'loglevel'", newer},
	{"SENTINEL CONFIG SET resolve-hostnames no resolve-hostnames no", "-ERR Duplicate argument 'resolve-hostnames'", newer},
	{"SENTINEL CONFIG FOO x", "-ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...] / SET", newer},
	{"SENTINEL CONFIG SET sentinel-pass x", "-ERR sentinel-pass has no meaning here", "nodes know each other by cluster-secret-file"},
	{"SENTINEL DEBUG PING-PERIOD 1000", "-ERR PING-PERIOD cannot be set here", "it follows from down-after-milliseconds"},
}
