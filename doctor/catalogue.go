package doctor

// Row is what is known beforehand of a kind of finding. Advice may name {master}, {node} and {instance}.
type Row struct {
	Severity    Severity
	Why, Advice string
}

// Catalogue has every kind of finding, by its code. A code that was released keeps its meaning.
var Catalogue = map[string]Row{
	// The cluster.
	"no_leader": {
		Problem, "without a leader no failover happens and nothing can be changed",
		"bring back nodes until more than half of the voters are up and reach each other; the findings about nodes tell which do not; " +
			"where so many are gone for good: sentineld recover --help",
	},
	"voters_one": {
		Warning, "when this node is down nothing watches the masters, and its disk has the only copy of the state",
		"run three nodes, on hosts that fail separately",
	},
	"voters_even": {
		Warning, "an even number of voters bears no more losses than one voter less, and needs one more to agree",
		"add a voter or take one away",
	},
	"member_missing": {
		Warning, "a node that is meant to be there is not: fewer may fail than is thought",
		"look at the log of the node that is missing; if it is not meant to be there, take it out of cluster-peers",
	},
	"versions_differ": {
		Warning, "what the newer version adds waits until every node knows it", "finish the upgrade, one node at a time",
	},
	"level_too_low": {
		Problem, "it cannot apply what the others write, and will stop", "start node {node} with the version of the others",
	},
	"cluster_name_differs": {
		Problem, "nodes of another name are refused when they connect anew", "give every node the same cluster-name",
	},
	"raft_timing_differs": {
		Problem, "nodes with the shorter timing call elections against a leader that is well", "give every node the same raft-timing, and restart them one at a time",
	},
	"bootstrap_expect_differs": {
		Warning, "nodes that differ in it refuse to form a cluster together", "give every node the same bootstrap-expect; it holds after a restart",
	},
	"cluster_peers_differ": {
		Warning, "a node that comes back with an empty dir, or whose peers have moved, may not find the others",
		"write the same cluster-peers on every node; it holds after a restart",
	},

	// A node.
	"node_silent": {
		Problem, "it counts among the voters and is missing wherever they must agree",
		"look whether sentineld runs there and its gRPC port is open; if the node is gone for good: sentinelctl node remove {node}",
	},
	"node_not_examined": {Warning, "its version does not know how to look at itself", "upgrade node {node}, then ask again"},
	"node_unregistered": {
		Problem, "nobody knows where it serves, so it cannot be asked and counts among the voters all the same",
		"look at its log; if the node is gone for good: sentinelctl node remove {node}",
	},
	"node_no_cluster":   {Problem, "it takes no part in anything", "its log tells what it waits for; look at cluster-peers and bootstrap-expect"},
	"node_removed":      {Problem, "it watches nothing and refuses look-ups", "stop it, or empty its dir to have it join as a new member"},
	"node_no_leader":    {Problem, "what it tells clients may be old, and its verdicts are not heard", "look at its links to the other nodes' Raft ports"},
	"node_other_leader": {Warning, "leadership is changing, or the node is cut off from the others", "ask again; if it stays so, look at its links to the other nodes' Raft ports"},
	"node_drained":      {Warning, "it is no candidate for leadership until it is undrained", "sentinelctl node undrain {node}"},
	"node_loading":      {Warning, "it answers no look-ups before it has caught up", "wait; if it stays so, look at its link to the leader's Raft port"},
	"verdicts_withheld": {Problem, "a node that doubts itself has no vote on any master", "look at the network of node {node}; the setting failover-brake says from when on a node doubts itself"},
	"config_fault":      {Problem, "the node runs on with what it read before, and would not start again", "repair the file; sentineld --check-config FILE tells when it is good"},
	"config_warning":    {Warning, "what is meant may not be what holds", "change the line, or leave it if it is meant so"},
	"reload_pending":    {Warning, "the file says something else than what holds", "reload the node (SIGHUP), or change the file back"},
	"restart_pending":   {Warning, "the file says something else than what holds, and a restart would bring it unasked", "restart node {node} when it suits, or change the file back"},
	"clock_differs":     {Warning, "times in events and histories do not fit together, and pauses end early or late", "look at the host's time synchronization"},
	"clock_wrong":       {Problem, "pauses, cooldowns and maintenance end at the wrong time whenever this node leads", "look at the host's time synchronization"},
	"port_unreachable":  {Problem, "the nodes, or clients beside this one, cannot use it", "open the port in the firewall, and look whether announce-ip is an address that this node reaches"},
	"name_unresolved":   {Problem, "what has this name cannot be reached after the next change of its address, or at all", "repair the name's record, or this host's resolver"},
	"misses_instance":   {Problem, "this node holds down what is up: its vote is wrong, and with others like it a healthy master is failed over", "look at the network between node {node} and {instance}, and at bind and protected-mode of that Redis"},
	"dir_memory":        {Warning, "a reboot empties it, and the node comes back as a blank one", "move dir to a disk"},
	"dir_none":          {Warning, "the node keeps its state in memory alone, and a restart loses it", "start it with a dir, without --dev"},
	"dir_unknown":       {Warning, "whether there is room for the log is not known", "look at the file system of dir on node {node}"},
	"disk_low":          {Warning, "without room for its log a node stops", "make room, or move dir to a larger file system"},
	"disk_full":         {Problem, "without room for its log a node stops", "make room at once, or move dir to a larger file system"},
	"inodes_low":        {Warning, "a snapshot needs new files", "delete files on the file system of dir"},
	"inodes_out":        {Problem, "a snapshot needs new files", "delete files on the file system of dir at once"},
	"fsync_slow":        {Warning, "every change and every failover waits for the disks of a majority", "give dir a disk of its own, or a faster one"},
	"fsync_too_slow":    {Problem, "elections and failovers take seconds, and a leader may fall for it", "give dir a disk of its own, or a faster one"},

	// A set.
	"quorum_unreachable": {
		Problem, "its master never becomes objectively down, so it is never failed over",
		"lower the quorum: sentinelctl set {master} quorum=N, or add voters",
	},
	"quorum_all": {
		Warning, "one node that is down is enough to keep this master from ever being failed over",
		"run more voters, three at least, and set the quorum to a bare majority of them: sentinelctl set {master} quorum=N",
	},
	"held":        {Problem, "nothing is done about it automatically", "look at sentinelctl explain {master}, then: sentinelctl resume {master} --adopt HOST:PORT or --enforce"},
	"paused":      {Warning, "nothing is done about it automatically", "sentinelctl resume {master}"},
	"master_down": {Problem, "clients cannot write", "sentinelctl explain {master} tells what stands in the way of a failover"},
	"address_conflict": {
		Problem, "one Redis in two sets would be given orders for both", "take the replica out of one of them: REPLICAOF there, or sentinelctl forget",
	},
	"no_replica":    {Warning, "there is nothing to fail over to", "add a replica: REPLICAOF on it is enough, it is found by itself"},
	"no_promotable": {Problem, "there is nothing to fail over to", "set replica-priority above 0 on a replica that may become the master"},
	"maxmemory_smaller": {
		Problem, "promoted, it refuses writes or throws keys away that the master has room for", "give it the maxmemory of the master, at least: CONFIG SET maxmemory, and in its file",
	},
	"maxmemory_differs": {
		Warning, "after a failover the present master is the smaller one", "give all instances of {master} the same maxmemory",
	},
	"eviction_worse": {
		Problem, "promoted, it throws keys away where the master refuses writes", "give it the maxmemory-policy of the master",
	},
	"eviction_differs": {Warning, "promoted, it keeps other keys than the master does", "give all instances of {master} the same maxmemory-policy"},
	"persistence_missing": {
		Problem, "promoted, it loses everything by a restart, and its replicas with it", "switch appendonly or save on, as on the master",
	},
	"persistence_differs": {Warning, "promoted, it may lose more by a crash than the master does, or write more to its disk", "give all instances of {master} the same appendonly and save"},
	"version_older": {
		Problem, "promoted, it may not understand what the newer ones send, nor they be able to follow it", "upgrade replicas before the master, then switch over",
	},
	"version_mixed":      {Warning, "instances of different versions differ in what they can do", "finish the upgrade of {master}"},
	"replica_writable":   {Warning, "what is written to it is lost at its next synchronization, and differs from the master until then", "CONFIG SET replica-read-only yes, and in its file"},
	"min_replicas_unmet": {Problem, "it refuses writes for want of replicas, or would as the master", "lower min-replicas-to-write, or add replicas"},
	"min_replicas_after_failover": {
		Warning, "after a failover, without the old master, too few replicas are left: the new one refuses writes", "lower min-replicas-to-write by one, or add a replica",
	},
	"masterauth_missing": {
		Problem, "it cannot follow a master that wants a password: it does not come back after a failover", "set masterauth on it, and in its file",
	},
	"master_silent": {
		Problem, "clients may be as unable to reach it, or the asked node sees less than they do",
		"look whether Redis runs there and which nodes reach it: sentinelctl explain {master}",
	},
	"instance_silent": {
		Problem, "it can neither be watched nor promoted", "look whether Redis runs there; if it is gone for good: sentinelctl forget {instance}",
	},
	"instance_silent_maintained": {Warning, "it is in maintenance, so that nothing is done about it", "sentinelctl maintenance end {instance} when it is back"},
	"instance_unvisited":         {Warning, "there was no time to look at it", "ask for fewer masters: sentinelctl doctor {master}, or give more time: --max-wait"},
	"login_rejected":             {Problem, "it can be seen to live and cannot be promoted or repointed", "sentinelctl set {master} auth-user=USER auth-pass=-, or repair the user on that Redis"},
	"not_redis":                  {Problem, "a Sentinel holds no data and cannot be a member of a set", "sentinelctl forget {instance}; monitor the Redis that it watches"},
	"command_denied": {
		Problem, "a failover, a switchover or the watching fails on it", "allow the user of sentineld on that Redis, for each command: ACL SETUSER USER +COMMAND, or +COMMAND|SUBCOMMAND; then ACL SAVE or CONFIG REWRITE",
	},
	"command_missing": {
		Problem, "a failover, a switchover or the watching fails on it",
		"say what it is called there: sentinelctl set {master} rename-command='COMMAND NEWNAME'; a command that was removed must be brought back",
	},
	"rights_unknown":      {Warning, "whether a failover may do what it must is not known", "ask again when the instance is not loading or busy"},
	"settings_unknown":    {Warning, "what would make it a bad master could not be compared", "allow the user of sentineld on that Redis: ACL SETUSER USER +config|get"},
	"certificate_expired": {Problem, "whoever verifies certificates cannot connect, sentineld among them", "renew the certificate on that Redis"},
	"certificate_expires": {Warning, "from then on whoever verifies certificates cannot connect, sentineld among them", "renew the certificate on that Redis"},
}
