package conf

import (
	"errors"
	"slices"
	"strings"
)

var errNotYet = errors.New("remove the line: this version knows no users and no TLS, and serves only loopback unless protected-mode is no")

// notYet are directives that promise safety this version cannot give: to read past them would open what they close. At
// the value that means "off" they are harmless.
func notYet() []directive {
	off := map[string]string{
		"requirepass": "", "tls-port": "0", "tls-replication": "no", "tls-cluster": "no", "tls-verify-name": "no", "http-tls": "no",
		"tls-auth-clients": "yes",
	}
	names := []string{
		"requirepass", "user", "aclfile", "tls-port", "tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-client-cert-file",
		"tls-client-key-file", "tls-client-key-file-pass", "tls-ca-cert-file", "tls-ca-cert-dir", "tls-auth-clients", "tls-cluster",
		"tls-replication", "tls-verify-name", "state-key-file", "http-tls",
	}
	rows := make([]directive, len(names))
	for i, name := range names {
		rows[i] = directive{name: name, least: 1, secret: true, set: func(_ *Config, v []string) error {
			harmless := len(v) == 1 && strings.EqualFold(v[0], off[name]) || name == "user" && isOpenDefaultUser(v)
			if harmless {
				return nil
			}
			return errNotYet
		}}
	}
	return rows
}

// isOpenDefaultUser tells the line that redis-sentinel writes into every file: nobody needs a password.
func isOpenDefaultUser(v []string) bool {
	return len(v) > 2 && v[0] == "default" && v[1] == "on" && slices.Contains(v, "nopass")
}

// foreign are the directives that redis-sentinel and valkey-sentinel take, because a Redis server does, and that change
// nothing here: all of Redis 7.0, and what later versions and Valkey added. The reasons are those of the warning.
var foreign = map[string]string{
	"run it in the foreground, under a service manager": `
		daemonize pidfile supervised shutdown-on-sigint shutdown-on-sigterm shutdown-timeout`,
	"it logs to stderr or to logfile": `
		syslog-enabled syslog-ident syslog-facility always-show-logo crash-log-enabled crash-memcheck-enabled acllog-max-len
		hide-user-data-from-log log-timestamp-format`,
	"connections are bounded by the daemon itself": `
		maxclients timeout tcp-keepalive tcp-backlog maxmemory-clients client-query-buffer-limit proto-max-bulk-len
		client-output-buffer-limit max-new-connections-per-cycle max-new-tls-connections-per-cycle tracking-table-max-keys`,
	"it serves TCP only": `
		unixsocket unixsocketperm unixsocketgroup bind-source-addr socket-mark-id mptcp`,
	"this version knows no users": `
		acl-pubsub-default`,
	"this version speaks no TLS": `
		tls-protocols tls-ciphers tls-ciphersuites tls-prefer-server-ciphers tls-dh-params-file tls-session-caching
		tls-session-cache-size tls-session-cache-timeout tls-auth-clients-user tls-auto-reload-interval`,
	"its own commands keep their names; what the instances call theirs is sentinel rename-command NAME": `
		rename-command`,
	"the configuration file is never written; the state is in dir": `
		state-config-file`,
	"it is no Redis server": `
		enable-debug-command enable-protected-configs enable-module-command enable-debug-assert loadmodule ignore-warnings
		set-proc-title proc-title-template locale-collate oom-score-adj oom-score-adj-values disable-thp jemalloc-bg-thread
		server_cpulist server-cpulist bio_cpulist bio-cpulist aof_rewrite_cpulist aof-rewrite-cpulist bgsave_cpulist bgsave-cpulist
		io-threads io-threads-do-reads io-threads-always-active events-per-io-thread prefetch-batch-max-size
		min-string-size-avoid-copy-reply hz dynamic-hz databases latency-tracking latency-tracking-info-percentiles
		latency-monitor-threshold slowlog-log-slower-than slowlog-max-len commandlog-execution-slower-than
		commandlog-slow-execution-max-len commandlog-request-larger-than commandlog-large-request-max-len
		commandlog-reply-larger-than commandlog-large-reply-max-len lua-time-limit busy-reply-threshold lua-enable-deprecated-api
		lua-enable-insecure-api extended-redis-compatibility hash-seed availability-zone import-mode
		replicaof slaveof masterauth masteruser primaryauth primaryuser replica-serve-stale-data slave-serve-stale-data
		replica-read-only slave-read-only replica-priority slave-priority replica-announced replica-announce-ip slave-announce-ip
		replica-announce-port slave-announce-port replica-ignore-maxmemory slave-ignore-maxmemory replica-lazy-flush slave-lazy-flush
		replica-ignore-disk-write-errors repl-diskless-sync repl-diskless-sync-delay repl-diskless-sync-max-replicas
		repl-diskless-load repl-ping-replica-period repl-ping-slave-period repl-timeout repl-disable-tcp-nodelay repl-backlog-size
		repl-backlog-ttl repl-mptcp dual-channel-replication-enabled min-replicas-to-write min-slaves-to-write min-replicas-max-lag
		min-slaves-max-lag propagation-error-behavior
		save stop-writes-on-bgsave-error rdbcompression rdbchecksum rdb-version-check dbfilename rdb-del-sync-files
		rdb-save-incremental-fsync sanitize-dump-payload appendonly appendfilename appenddirname appendfsync
		no-appendfsync-on-rewrite auto-aof-rewrite-percentage auto-aof-rewrite-min-size aof-load-truncated
		aof-load-corrupt-tail-max-size aof-use-rdb-preamble aof-timestamp-enabled aof-rewrite-incremental-fsync aof-disable-auto-gc
		maxmemory maxmemory-policy maxmemory-samples maxmemory-eviction-tenacity active-expire-effort lazyfree-lazy-eviction
		lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del lazyfree-lazy-user-flush lfu-log-factor lfu-decay-time
		activerehashing activedefrag active-defrag-ignore-bytes active-defrag-threshold-lower active-defrag-threshold-upper
		active-defrag-cycle-min active-defrag-cycle-max active-defrag-cycle-us active-defrag-max-scan-fields notify-keyspace-events
		hash-max-listpack-entries hash-max-listpack-value hash-max-ziplist-entries hash-max-ziplist-value list-max-listpack-size
		list-max-ziplist-size list-compress-depth set-max-intset-entries set-max-listpack-entries set-max-listpack-value
		zset-max-listpack-entries zset-max-listpack-value zset-max-ziplist-entries zset-max-ziplist-value hll-sparse-max-bytes
		stream-node-max-bytes stream-node-max-entries
		cluster-enabled cluster-config-file cluster-node-timeout cluster-port cluster-announce-ip cluster-announce-hostname
		cluster-announce-human-nodename cluster-announce-port cluster-announce-tls-port cluster-announce-bus-port
		cluster-announce-client-ipv4 cluster-announce-client-ipv6 cluster-announce-client-port cluster-announce-client-tls-port
		cluster-preferred-endpoint-type cluster-require-full-coverage cluster-allow-reads-when-down
		cluster-allow-pubsubshard-when-down cluster-allow-replica-migration cluster-migration-barrier cluster-link-sendbuf-limit
		cluster-replica-validity-factor cluster-slave-validity-factor cluster-replica-no-failover cluster-slave-no-failover
		cluster-ping-interval cluster-blacklist-ttl cluster-manual-failover-timeout cluster-slot-stats-enabled
		cluster-databases slot-migration-max-failover-repl-bytes`,
}

// withoutMeaning are the rows of those directives, in name order.
func withoutMeaning() []directive {
	var rows []directive
	for reason, names := range foreign {
		for name := range strings.FieldsSeq(names) {
			rows = append(rows, directive{name: name, ignored: reason})
		}
	}
	slices.SortFunc(rows, func(a, b directive) int { return strings.Compare(a.name, b.name) })
	return rows
}

// ownLines are lines that redis-sentinel writes for itself, and settings of it that have no meaning here, with the reason.
var ownLines = map[string]string{
	"myid":              "the id is made from node-id",
	"current-epoch":     "epochs are in the replicated state",
	"config-epoch":      "epochs are in the replicated state",
	"leader-epoch":      "epochs are in the replicated state",
	"known-replica":     "replicas are found from the master",
	"known-slave":       "replicas are found from the master",
	"known-sentinel":    "nodes are found by cluster-peers",
	"sentinel-user":     "nodes know each other by cluster-secret-file",
	"sentinel-pass":     "nodes know each other by cluster-secret-file",
	"state-config-file": "the configuration file is never written; the state is in dir",
}
