package conf

import (
	"slices"
	"strings"
)

// Chapter is a group of directives, as the manual and the sample file have them.
type Chapter struct {
	Title string
	// Intro is said before the directives; "" for nothing.
	Intro   string
	Entries []Entry
}

// Entry explains a directive.
type Entry struct {
	Name string
	// Value is what stands behind the name: the default, or an example where there is none.
	Value string
	// Default tells that Value is the default.
	Default bool
	Text    string
	// On tells that the sample gives the directive this value, and not only a comment.
	On bool
}

// Manual explains every directive that has a meaning here.
func Manual() []Chapter { return slices.Clone(manual) }

// initial explains a directive with its default; example one that has none, or whose default depends on something.
func initial(name, value, text string) Entry {
	return Entry{Name: name, Value: value, Default: true, Text: text}
}
func example(name, value, text string) Entry { return Entry{Name: name, Value: value, Text: text} }

// master and masterExample are the same for an option of one master.
func master(option, value, text string) Entry {
	return initial("sentinel "+option, "mymaster "+value, text)
}

func masterExample(option, value, text string) Entry {
	return example("sentinel "+option, "mymaster "+value, text)
}

var manual = []Chapter{
	{"The cluster", "Three nodes on three hosts have the same lines here; five outlive two losses.", []Entry{
		example("cluster-peers", "10.0.0.1 10.0.0.2 10.0.0.3", "Where nodes are looked for, as HOST[:GRPCPORT]; the port is grpc-port "+
			"unless given. The same line on every node, itself included. A name with several addresses is several peers, resolved anew at "+
			"each try. Without this line the node is a cluster of its own."),
		example("bootstrap-expect", "3", "A new cluster is formed once so many nodes without state have found each other: more than half "+
			"of the peers, at most 99, the same number on every node. Needed with cluster-peers; 0 never forms a cluster and only joins one."),
		initial("cluster-name", "sentineld", "Nodes and backups of another name are refused. 1 to 64 letters, digits, dots, dashes and "+
			"underscores."),
		example("cluster-secret-file", "/etc/sentineld/secret", "The file of the secret that nodes know each other by, the same on every "+
			"node. Needed as soon as nodes talk beyond loopback. It must be readable for the daemon's user, and for nobody else."),
		example("node-id", "redis-1", "The name that operators see; the host's name up to its first dot unless given. Every node has one "+
			"of its own. A node that lost its disk joins under the same name again."),
		initial("node-role", "voter", "voter, or observer: that one serves reads and neither probes nor votes."),
		initial("raft-timing", "default", "default; lan for a quiet network: a lost leader is replaced faster; wan for nodes far apart, or thousands of masters on machines that have "+
			"other work: a leader that is slow for half a second goes on, one that is lost is replaced a second later than by default. The same on every node."),
	}},
	{"Network", "All ports are bound on the addresses of bind.", []Entry{
		initial("bind", "127.0.0.1 -::1", "Addresses to listen on. * is every IPv4 address and ::* every IPv6 address; with - in front it "+
			"is no fault if an address is missing. Nodes on several hosts need more than loopback, such as * -::* for everything."),
		initial("protected-mode", "yes", "yes serves loopback alone, whatever is bound, except to nodes that know the secret. This version "+
			"knows no users and no TLS: say no where bind and a firewall let in only those who may."),
		initial("port", "26379", "The Sentinel protocol, for Redis clients and redis-cli; 0 turns it off. The defaults of the other ports "+
			"lie 100, 200 and 300 above it."),
		initial("grpc-port", "26479", "gRPC, for sentinelctl, applications and other nodes."),
		initial("raft-port", "26579", "The replicated log, between nodes."),
		initial("http-port", "26679", "Metrics, health and the checks of load balancers; 0 turns it off."),
		example("announce-ip", "10.0.0.1", "The address or name that nodes and clients are told; unless given, the local address from "+
			"which peers are reached. Never a wildcard."),
		example("announce-port", "26379", "The port of the Sentinel protocol that clients are told; port unless given."),
	}},
	{"State and logs", "", []Entry{
		{Name: "dir", Value: "/var/lib/sentineld", On: true, Text: "Log, snapshots and identity of this node, on a disk that survives " +
			"a restart. Unless given, the StateDirectory of systemd, which is /var/lib/sentineld in the unit of the package, else the " +
			"working directory."},
		initial("loglevel", "notice", "debug, verbose, notice, warning or nothing."),
		initial("logfile", `""`, "A path, opened anew at a reload; an empty word is stderr, which systemd keeps in its journal."),
		initial("log-format", "text", "text or json."),
	}},
	{"Scripts and webhooks", "", []Entry{
		example("scripts-dir", "/etc/sentineld/scripts", "Scripts of masters must lie in this directory, and whatever lies there may run. "+
			"Unless given, those that this file names may run."),
		initial("deny-scripts-reconfig", "yes", "yes refuses to change the paths of scripts at run time."),
		example("webhook", "https://example.org/sentineld", "URLs, http or https, that every event of the cluster is posted to by the node "+
			"that leads. The same on every node."),
		example("webhook-secret-file", "/etc/sentineld/webhook.secret", "The file of the secret that webhooks are signed with. Needed with "+
			"webhook."),
	}},
	{"Masters", "A master is put under watch once in the cluster's life: by its line here, or by sentinelctl monitor. From then on the " +
		"cluster's own state counts, which sentinelctl set and SENTINEL SET change; sentinelctl apply brings it to what a file says. " +
		"These lines are those of sentinel.conf.", []Entry{
		example("sentinel monitor", "mymaster 10.0.0.11 6379 2", "NAME HOST PORT QUORUM: so many nodes that vote must find the master "+
			"down before a failover begins."),
		master("down-after-milliseconds", "30000", "How long an instance may give no acceptable reply before a node finds it down."),
		master("failover-timeout", "180000", "Milliseconds that one attempt of a failover may take."),
		master("parallel-syncs", "1", "How many replicas are pointed to a new master at a time."),
		master("failover-cooldown", "10000", "Milliseconds between automatic failovers of this master once two have followed each "+
			"other. 0 turns it off."),
		master("master-reboot-down-after-period", "0", "Milliseconds that a master which was restarted and is loading its data may take "+
			"before it counts as down. 0 sets no limit of its own."),
		masterExample("auth-user", "sentineld", "The ACL user that nodes log in as at every instance of the set."),
		masterExample("auth-pass", "a-password", "The password for every instance of the set. A file that holds one is nobody else's to "+
			"read."),
		masterExample("rename-command", "CONFIG a-secret-name", "What the instances call a command; a line for each command."),
		masterExample("tls", "no", "Dial the instances by TLS: yes or no."),
		masterExample("notification-script", "/etc/sentineld/scripts/notify.sh", "Runs on every node for each event of Sentinel's warning "+
			"level."),
		masterExample("client-reconfig-script", "/etc/sentineld/scripts/reconfig.sh", "Runs on every node when the master has changed."),
	}},
	{"Settings of the whole cluster", "They have their first value from this file and are changed by sentinelctl apply or SENTINEL " +
		"CONFIG SET afterwards; what the file says is then not read again.", []Entry{
		initial("resolve-hostnames", "no", "yes lets masters be named by host names where the Sentinel protocol is spoken."),
		initial("announce-hostnames", "no", "yes tells clients host names as they were given, no the addresses that those have."),
		initial("failover-brake", "50", "A node for which so many percent of all masters, and ten at least, are silent at once, and which "+
			"reaches no other instance either, takes itself for the one that is cut off and withholds its verdicts. 0 turns it off."),
		initial("remove-dead-nodes-after", "0", "Seconds, 60 or more, after which a node that is not heard of is removed, while a "+
			"majority of the nodes that would be left is heard and no master's quorum becomes unreachable. 0 never does."),
	}},
}

// sampleWidth is that of the sample's lines, in bytes.
const sampleWidth = 100

// Sample is a configuration file with everything in it, as a comment but for what is On.
func Sample() string {
	var b strings.Builder
	comment := func(text string) {
		line := "#"
		for word := range strings.FieldsSeq(text) {
			if len(line)+1+len(word) > sampleWidth {
				b.WriteString(line + "\n")
				line = "#"
			}
			line += " " + word
		}
		b.WriteString(line + "\n")
	}
	comment("sentineld's configuration, explained further by man sentineld.conf. sentineld --check-config FILE finds every fault.")
	b.WriteString("#\n")
	comment("A # with a space behind it begins an explanation; one without stands before a directive: take it away to give the " +
		"directive a value. What stands there is the default, or an example where it says so.")
	b.WriteString("#\n")
	comment("A comment needs a line of its own. Words with spaces stand in quotes. include PATTERN reads other files.")
	for _, c := range manual {
		b.WriteString("\n\n# ==== " + c.Title + "\n")
		if c.Intro != "" {
			comment(c.Intro)
		}
		for _, e := range c.Entries {
			b.WriteString("\n")
			comment(e.Text)
			if !e.Default && !e.On {
				comment("Example:")
			}
			if !e.On {
				b.WriteString("#")
			}
			b.WriteString(e.Name + " " + e.Value + "\n")
		}
	}
	return b.String()
}
