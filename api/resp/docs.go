package resp

import "strings"

// docs are those of every command that is listed, by its full name.
var docs = map[string]doc{
	"acl":                     {since: "6.0.0", group: "server", complexity: subcommand, categories: "slow", summary: "Users and their rights."},
	"acl|cat":                 aclDoc("6.0.0", "Lists the categories, or the commands of one.", optional(str("categoryname"))),
	"acl|deluser":             aclAdmin("6.0.0", "Deletes users; there are none but the default user.", multiple(str("username"))),
	"acl|dryrun":              aclAdmin("7.0.0", "Tells whether a user might run a command.", str("username"), str("command"), optional(multiple(str("arg")))),
	"acl|genpass":             aclDoc("6.0.0", "Makes a random password.", optional(num("bits"))),
	"acl|getuser":             aclAdmin("6.0.0", "Tells the rights of a user.", str("username")),
	"acl|help":                helpDoc("6.0.0", "server", "slow"),
	"acl|list":                aclAdmin("6.0.0", "Lists the users as an ACL file would."),
	"acl|load":                aclAdmin("6.0.0", "Refused: there is no ACL file."),
	"acl|log":                 aclAdmin("6.0.0", "Lists the logins that were refused, or forgets them.", optional(one("operation", num("count"), token("RESET")))),
	"acl|save":                aclAdmin("6.0.0", "Refused: there is no ACL file."),
	"acl|setuser":             aclAdmin("6.0.0", "Refused: users cannot be changed here.", str("username"), optional(multiple(str("rule")))),
	"acl|users":               aclAdmin("6.0.0", "Lists the names of the users."),
	"acl|whoami":              aclDoc("6.0.0", "Tells the user of this connection."),
	"auth":                    loginDoc("1.0.0", "Logs this connection in.", optional(str("username")), str("password")),
	"client":                  {since: "2.4.0", group: "connection", complexity: subcommand, categories: "slow", summary: "Connections of clients."},
	"client|caching":          clientDoc("6.0.0", "Remembered; there is nothing to cache here.", one("mode", token("YES"), token("NO"))),
	"client|getname":          clientDoc("2.6.9", "Tells the name of this connection."),
	"client|getredir":         clientDoc("6.0.0", "Tells where CLIENT TRACKING redirects to."),
	"client|help":             helpDoc("5.0.0", "connection", "slow connection"),
	"client|id":               clientDoc("5.0.0", "Tells the id of this connection."),
	"client|info":             tip(clientDoc("6.2.0", "Tells of this connection."), "nondeterministic_output"),
	"client|kill":             clientAdmin("2.4.0", "Ends connections.", argKill),
	"client|list":             tip(clientAdmin("2.4.0", "Lists connections.", after("TYPE", optional(argType)), after("ID", optional(all("id", multiple(num("client-id")))))), "nondeterministic_output"),
	"client|no-evict":         clientAdmin("7.0.0", "Accepted; no connection is evicted here.", one("enabled", token("ON"), token("OFF"))),
	"client|pause":            clientAdmin("2.9.50", "Holds all commands back for a while; WRITE holds back none.", num("timeout"), optional(one("mode", token("WRITE"), token("ALL")))),
	"client|reply":            clientDoc("3.2.0", "Tells whether this connection wants answers.", one("on_off_skip", token("ON"), token("OFF"), token("SKIP"))),
	"client|setinfo":          clientDoc("7.2.0", "Tells which library this connection uses.", one("attr", after("LIB-NAME", str("libname")), after("LIB-VER", str("libver")))),
	"client|setname":          clientDoc("2.6.9", "Names this connection.", str("connection-name")),
	"client|tracking":         clientDoc("6.0.0", "Remembered; no key becomes invalid here.", argTracking...),
	"client|trackinginfo":     clientDoc("6.2.0", "Tells what CLIENT TRACKING was asked for."),
	"client|unblock":          clientAdmin("5.0.0", "Finds nobody: no command here waits for a key.", num("client-id"), optional(one("timeout_error", token("TIMEOUT"), token("ERROR")))),
	"client|unpause":          clientAdmin("6.2.0", "Ends what CLIENT PAUSE began."),
	"command":                 tip(commandDoc("2.8.13", "Lists all commands with their details."), "nondeterministic_output_order"),
	"command|count":           commandDoc("2.8.13", "Counts the commands."),
	"command|docs":            tip(commandDoc("7.0.0", "Describes all commands, or those named.", argNames), "nondeterministic_output_order"),
	"command|getkeys":         commandDoc("2.8.13", "Finds no keys: no command here has one."),
	"command|getkeysandflags": commandDoc("7.0.0", "Finds no keys: no command here has one."),
	"command|help":            commandDoc("5.0.0", helpSummary),
	"command|info":            tip(commandDoc("2.8.13", "Tells the details of all commands, or of those named.", argNames), "nondeterministic_output_order"),
	"command|list":            tip(commandDoc("7.0.0", "Lists the names of commands.", argFilter), "nondeterministic_output_order"),
	"hello":                   loginDoc("6.0.0", "Chooses the protocol version, and tells of the server.", argHello),
	"info": {
		since: "1.0.0", group: "server", complexity: "O(N) with the number of masters", flags: "loading stale", categories: "slow dangerous",
		tips: "nondeterministic_output request_policy:all_shards response_policy:special", summary: "Tells of this node, section by section.",
		args: []arg{optional(multiple(str("section")))},
	},
	"ping": {
		since: "1.0.0", group: "connection", complexity: "O(1)", flags: "fast", categories: "fast connection",
		tips: "request_policy:all_shards response_policy:all_succeeded", summary: "Answers.", args: []arg{optional(str("message"))},
	},
	"psubscribe": pubsubDoc("Listens to the channels that match.", multiple(all("pattern", pattern()))),
	"publish": {
		since: "2.0.0", group: "pubsub", complexity: "O(1)", flags: "pubsub loading stale fast", categories: "pubsub fast",
		summary: "Takes what a Sentinel says of itself, and ignores it.", args: []arg{str("channel"), str("message")},
	},
	"punsubscribe": pubsubDoc("Listens no longer to the channels that match.", optional(multiple(pattern()))),
	"role": {
		since: "2.8.12", group: "server", complexity: "O(N) with the number of masters", flags: anyTime + " fast",
		categories: "admin fast dangerous", summary: "Tells that this is a Sentinel, and the names of the masters.",
	},
	"sentinel": {
		since: "2.8.4", group: "sentinel", complexity: subcommand, flags: "admin", categories: adminSlow,
		summary: "Masters, and what is known of them.",
	},
	"sentinel|ckquorum":                sentinelDoc("2.8.4", "Tells whether a failover of the master could be agreed upon.", argMaster),
	"sentinel|config":                  sentinelDoc("6.2.0", "Reads or changes settings: of the node, or of the cluster.", argConfig),
	"sentinel|debug":                   sentinelDoc("7.0.0", "Reads times in milliseconds; those of scripts can be changed.", multiple(all("parameter_value", str("parameter"), str("value")))),
	"sentinel|failover":                sentinelDoc("2.8.4", "Moves a master that is up without loss, or fails over one that is down.", argMaster, optional(token("COORDINATED"))),
	"sentinel|flushconfig":             sentinelDoc("2.8.4", "Accepted; the state is on disk with each change."),
	"sentinel|get-master-addr-by-name": sentinelDoc("2.8.4", "Tells host and port of the master.", argMaster),
	"sentinel|help":                    helpDoc("6.2.0", "sentinel", "slow"),
	"sentinel|info-cache":              sentinelDoc("3.2.0", "Tells what the instances said of themselves last, and how long ago.", multiple(str("nodename"))),
	"sentinel|is-master-down-by-addr":  sentinelDoc("2.8.4", "Tells whether this node holds the master down; it never votes.", str("ip"), num("port"), num("current-epoch"), str("runid")),
	"sentinel|master":                  sentinelDoc("2.8.4", "Tells the state of the master.", argMaster),
	"sentinel|masters":                 sentinelDoc("2.8.4", "Tells the states of all masters."),
	"sentinel|monitor":                 sentinelDoc("2.8.4", "Puts a master under watch, on every node.", str("name"), str("ip"), num("port"), num("quorum")),
	"sentinel|myid":                    sentinelDoc("6.2.0", "Tells the id of this node."),
	"sentinel|pending-scripts":         sentinelDoc("2.8.4", "Lists the scripts that run or will."),
	"sentinel|remove":                  sentinelDoc("2.8.4", "Ends the watch over a master, on every node.", argMaster),
	"sentinel|replicas":                sentinelDoc("5.0.0", "Tells the states of the master's replicas.", argMaster),
	"sentinel|reset":                   sentinelDoc("2.8.4", "Looks anew at the masters whose names match.", pattern()),
	"sentinel|sentinels":               sentinelDoc("2.8.4", "Lists the other nodes.", argMaster),
	"sentinel|set":                     sentinelDoc("2.8.4", "Changes options of a master, all or none.", argMaster, multiple(all("option_value", str("option"), str("value")))),
	"sentinel|simulate-failure":        sentinelDoc("3.2.0", "Makes this node crash in the next failover that it leads.", optional(multiple(one("mode", token("CRASH-AFTER-ELECTION"), token("CRASH-AFTER-PROMOTION"), token("HELP"))))),
	"sentinel|slaves":                  replaced(sentinelDoc("2.8.0", "Tells the states of the master's replicas.", argMaster), "5.0.0", "`SENTINEL REPLICAS`"),
	"shutdown": {
		since: "1.0.0", group: "server", complexity: "O(1)", flags: adminAny + " no_multi allow_busy", categories: adminSlow,
		summary: "Stops this node, as SIGTERM does.",
		args: []arg{
			optional(one("nosave_save", token("NOSAVE"), token("SAVE"))), optional(token("NOW")), optional(token("FORCE")), optional(token("ABORT")),
		},
	},
	"subscribe":   pubsubDoc("Listens to channels.", multiple(str("channel"))),
	"unsubscribe": pubsubDoc("Listens no longer to channels.", optional(multiple(str("channel")))),
}

// Words that many rows share.
const (
	anyTime     = "noscript loading stale"
	adminAny    = "admin noscript loading stale"
	adminSlow   = "admin slow dangerous"
	subcommand  = "Depends on the subcommand."
	helpSummary = "Lists the subcommands."
)

func aclDoc(since, summary string, args ...arg) doc {
	return doc{since: since, group: "server", complexity: "O(1)", flags: anyTime, categories: "slow", summary: summary, args: args}
}

func aclAdmin(since, summary string, args ...arg) doc {
	d := aclDoc(since, summary, args...)
	d.flags, d.categories = adminAny, adminSlow
	return d
}

func clientDoc(since, summary string, args ...arg) doc {
	return doc{since: since, group: "connection", complexity: "O(1)", flags: anyTime, categories: "slow connection", summary: summary, args: args}
}

func clientAdmin(since, summary string, args ...arg) doc {
	d := clientDoc(since, summary, args...)
	d.flags, d.categories, d.complexity = adminAny, adminSlow+" connection", "O(N) with the number of connections"
	return d
}

func commandDoc(since, summary string, args ...arg) doc {
	return doc{since: since, group: "server", complexity: "O(1)", flags: "loading stale", categories: "slow connection", summary: summary, args: args}
}

func loginDoc(since, summary string, args ...arg) doc {
	return doc{
		since: since, group: "connection", complexity: "O(1)", flags: anyTime + " fast no_auth allow_busy", categories: "fast connection",
		summary: summary, args: args,
	}
}

func pubsubDoc(summary string, args ...arg) doc {
	return doc{
		since: "2.0.0", group: "pubsub", complexity: "O(N) with the number of names", flags: "pubsub " + anyTime, categories: "pubsub slow",
		summary: summary, args: args,
	}
}

func sentinelDoc(since, summary string, args ...arg) doc {
	return doc{since: since, group: "sentinel", complexity: "O(1)", flags: "admin", categories: adminSlow, summary: summary, args: args}
}

func helpDoc(since, group, categories string) doc {
	return doc{since: since, group: group, complexity: "O(1)", flags: "loading stale", categories: categories, summary: helpSummary}
}

func tip(d doc, tips string) doc { d.tips = tips; return d }

func replaced(d doc, since, instead string) doc { d.deprecated, d.instead = since, instead; return d }

func str(name string) arg { return arg{name: name, kind: kindString} }

func num(name string) arg { return arg{name: name, kind: kindInteger} }

func pattern() arg { return arg{name: "pattern", kind: kindPattern} }

// token is a word that stands for itself.
func token(word string) arg { return arg{name: strings.ToLower(word), kind: kindToken, token: word} }

func one(name string, parts ...arg) arg { return arg{name: name, kind: kindOneOf, parts: parts} }

func all(name string, parts ...arg) arg { return arg{name: name, kind: kindBlock, parts: parts} }

func optional(a arg) arg { a.optional = true; return a }

func multiple(a arg) arg { a.multiple = true; return a }

// after puts a token before an argument.
func after(token string, a arg) arg { a.token = token; return a }

var (
	argMaster = str("master-name")
	argNames  = optional(multiple(str("command-name")))
	argType   = one("normal_master_replica_pubsub", token("NORMAL"), token("MASTER"), token("REPLICA"), token("PUBSUB"))
	argKill   = one("filter", str("ip:port"), multiple(one("new-format",
		after("ID", optional(num("client-id"))), after("TYPE", optional(argType)), after("USER", optional(str("username"))),
		after("ADDR", optional(str("ip:port"))), after("LADDR", optional(str("ip:port"))), after("SKIPME", optional(str("yes/no"))))))
	argTracking = []arg{
		one("status", token("ON"), token("OFF")), after("REDIRECT", optional(num("client-id"))),
		{name: "prefix", kind: kindString, token: "PREFIX", optional: true, multiple: true, repeatToken: true},
		optional(token("BCAST")), optional(token("OPTIN")), optional(token("OPTOUT")), optional(token("NOLOOP")),
	}
	argFilter = after("FILTERBY", optional(one("filterby",
		after("MODULE", str("module-name")), after("ACLCAT", str("category")), after("PATTERN", pattern()))))
	argHello = optional(all("arguments", num("protover"),
		after("AUTH", optional(all("username_password", str("username"), str("password")))), after("SETNAME", optional(str("clientname")))))
	argConfig = one("set_or_get",
		after("SET", multiple(all("set_param_value", str("parameter"), str("value")))), after("GET", multiple(str("parameter"))))
)
