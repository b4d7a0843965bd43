package conf

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Roles of a node, formats of its log, and Raft timings, as the file spells them.
const (
	RoleVoter     = "voter"
	RoleObserver  = "observer"
	FormatText    = "text"
	FormatJSON    = "json"
	TimingDefault = "default"
	TimingLAN     = "lan"
	TimingWAN     = "wan"
)

// Config is a whole and checked configuration of a node.
type Config struct {
	// ClusterName: nodes of another name are refused.
	ClusterName string
	// NodeID is the name operators see.
	NodeID string
	// Bind are the local addresses of all ports; never empty.
	Bind []Bind
	// AnnounceIP is what nodes and clients are told; "" for the address from which peers are reached.
	AnnounceIP string
	// AnnouncePort is the announced port of the Sentinel protocol; Port unless set.
	AnnouncePort int
	// Port of the Sentinel protocol and HTTPPort may be 0 for off; GRPCPort and RaftPort are 1 to 65535.
	Port, GRPCPort, RaftPort, HTTPPort int
	// Dir is an absolute path; "" with Dev.
	Dir string
	// Peers are HOST:GRPCPORT.
	Peers []string
	// BootstrapExpect is how many nodes form a cluster; 0 to join one only.
	BootstrapExpect int
	// NodeRole is RoleVoter or RoleObserver.
	NodeRole string
	// LogLevel is debug, verbose, notice, warning or nothing; LogFile "" is stderr; LogFormat is FormatText or FormatJSON.
	LogLevel, LogFile, LogFormat string
	// ProtectedMode serves only loopback as long as there are neither users nor TLS.
	ProtectedMode bool
	// RaftTiming is TimingDefault, TimingLAN or TimingWAN; Dev has a timing of its own.
	RaftTiming string
	// ClusterSecretFile holds the secret that nodes know each other by; "" for none.
	ClusterSecretFile string
	// ScriptsReconfig lets the paths of scripts be changed at run time (deny-scripts-reconfig no).
	ScriptsReconfig bool
	// ScriptsDir is the directory, an absolute path, that scripts must lie in; "" for anywhere.
	ScriptsDir string
	// Webhooks are http or https URLs, which may hold tokens; with them, WebhookSecretFile is never empty.
	Webhooks          []string
	WebhookSecretFile string
	// Dev is one node with nothing on disk.
	Dev bool
	// Seeds are the masters of the file, in name order.
	Seeds []Seed
	// Settings of the whole cluster that the file gives a first value: resolve-hostnames and announce-hostnames, yes or no,
	// failover-brake, in percent, and remove-dead-nodes-after, in seconds.
	Settings map[string]string

	places map[string]Place
}

// Place is where a directive was given; zero for one that has its default.
func (c *Config) Place(directive string) Place { return c.places[directive] }

// Bind is one local address to listen on.
type Bind struct {
	// Host is an address or a name; "*" is every address.
	Host string
	// Optional: not being able to listen there is no failure.
	Optional bool
}

// Loopback tells whether only processes of the same machine reach it.
func (b Bind) Loopback() bool { return raftfsm.Addr{Host: b.Host, Port: 1}.IsLoopback() }

// BindsBeyondLoopback tells whether other machines can reach the node's ports.
func (c *Config) BindsBeyondLoopback() bool {
	return slices.ContainsFunc(c.Bind, func(b Bind) bool { return !b.Loopback() })
}

// Seed is a master that is proposed once in a cluster's life.
type Seed struct {
	Name    string
	Address raftfsm.Addr
	Options raftfsm.Options
	// Named are the options that lines give a value, the quorum of the monitor line among them, in the option table's order.
	Named []Named
	Place Place
}

// Named is an option that is given a value. Place is that of the last such line.
type Named struct {
	Name  string
	Place Place
}

// Parse reads and checks a configuration. The error is a [Faults] with everything that is wrong; warnings come either way.
func Parse(in Input) (*Config, []Warning, error) {
	p := newParser(in)
	p.read(in)
	p.directives()
	p.seeds()
	p.defaults(in)
	p.check(in)
	p.sort()
	if len(p.faults) > 0 {
		return nil, p.warnings, p.faults
	}
	if len(p.set) > 0 {
		p.config.places = make(map[string]Place, len(p.set))
	}
	for name, l := range p.set {
		p.config.places[name] = l.place
	}
	return &p.config, p.warnings, nil
}

// Wanted is what a configuration says of the cluster, and of no node.
type Wanted struct {
	// Seeds are the masters, in name order. One without a monitor line has the zero Address and Place.
	Seeds []Seed
	// Settings are as in Config.
	Settings map[string]string
}

// ParseWanted reads what a configuration says of masters and of the cluster's settings. Lines about a node are passed over,
// if they are known. The masters that are known need no monitor line.
func ParseWanted(in Input, known ...string) (*Wanted, []Warning, error) {
	p := newParser(in)
	p.mastersOnly = true
	p.read(in)
	p.directives()
	p.seeds(known...)
	p.sort()
	if len(p.faults) > 0 {
		return nil, p.warnings, p.faults
	}
	return &Wanted{p.config.Seeds, p.config.Settings}, p.warnings, nil
}

// parser turns lines into a configuration.
type parser struct {
	reader
	config Config
	// set holds the line that gave a directive its value; bad are those among them that were refused.
	set map[string]line
	bad map[string]bool
	// listed are the kinds of names that a fault has listed.
	listed map[string]bool
	// clustered is the first line that only a member of several would have.
	clustered *line
	// mastersOnly passes over what concerns a node.
	mastersOnly bool
}

func newParser(in Input) *parser {
	host, _, _ := strings.Cut(in.HostName, ".")
	return &parser{
		reader: reader{open: in.Open},
		config: Config{
			ClusterName:   "sentineld",
			NodeID:        host,
			Bind:          []Bind{{Host: "127.0.0.1"}, {Host: "::1", Optional: true}},
			Port:          26379,
			Dir:           stateDirectory(in.Env),
			NodeRole:      RoleVoter,
			LogLevel:      "notice",
			LogFormat:     FormatText,
			ProtectedMode: true,
			RaftTiming:    TimingDefault,
		},
		set:    map[string]line{},
		bad:    map[string]bool{},
		listed: map[string]bool{},
	}
}

// stateDirectory is the first of what systemd names, else the working directory.
func stateDirectory(env []string) string {
	for _, pair := range env {
		if v, ok := strings.CutPrefix(pair, "STATE_DIRECTORY="); ok {
			first, _, _ := strings.Cut(v, ":")
			return cmp.Or(first, ".")
		}
	}
	return "."
}

// directives applies all lines that are not about one master.
func (p *parser) directives() {
	for _, l := range p.lines {
		l, own := global(l)
		if !own {
			continue
		}
		d, known := lookup(l.words[0])
		switch {
		case l.words[0] == "include":
			p.fault(l.place, "include stands in a file only")
		case !known:
			p.unknown(l)
		case p.mastersOnly && !slices.Contains(settings, d.name):
		case d.flagOnly && l.place.level != levelFlag:
			p.fault(l.place, "%s is a flag only", d.name)
		case d.ignored != "":
			p.warn(l.place, "%s has no meaning here and is ignored: %s", l.words[0], d.ignored)
		default:
			p.apply(d, l)
		}
	}
}

// settings are the directives about the whole cluster.
var settings = []string{"resolve-hostnames", "announce-hostnames", "failover-brake", "remove-dead-nodes-after"}

// nodeLines are the directives that may stand behind "sentinel" without being about a master.
var nodeLines = append([]string{"announce-ip", "announce-port", "deny-scripts-reconfig"}, settings...)

// global gives a line as a directive of the node: "sentinel announce-ip X" is announce-ip X. Lines about masters are not.
func global(l line) (line, bool) {
	if l.words[0] != "sentinel" {
		return l, true
	}
	if len(l.words) < 2 {
		return l, false
	}
	if name := strings.ToLower(l.words[1]); slices.Contains(nodeLines, name) {
		return line{l.place, append([]string{name}, l.words[2:]...)}, true
	}
	return l, false
}

func (p *parser) apply(d directive, l line) {
	before, again := p.set[d.name]
	if again && before.place.level > l.place.level {
		return
	}
	if again && before.place.level == l.place.level {
		p.warn(l.place, "%s is given again; this one counts and %s does not", d.name, before.place)
	}
	p.set[d.name] = l
	values := l.words[1:]
	p.bad[d.name] = true
	if len(values) < d.least || d.most > 0 && len(values) > d.most {
		p.fault(l.place, "%s: read %d words; want %s%s", d.name, len(values), d.words, commentHint(values))
		return
	}
	if err := d.set(&p.config, values); err != nil {
		shown := strings.Join(quoteAll(values), " ")
		if d.secret {
			shown = "the value"
		}
		why := ": " + err.Error()
		if errors.Is(err, errValue) {
			why = "; want " + d.words
		}
		p.fault(l.place, "%s: %s is not allowed%s%s", d.name, shown, why, commentHint(values))
		return
	}
	p.bad[d.name] = false
	if d.name == "user" && !p.mastersOnly {
		p.warn(l.place, "user default has no meaning here and is ignored: this version knows no users and asks nobody for a password "+
			"(protected-mode, bind and the firewall say who may come); users are of a later one")
	}
}

// commentHint helps who wrote a comment behind a value.
func commentHint(values []string) string {
	if slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(v, "#") }) {
		return "; a comment needs a line of its own"
	}
	return ""
}

// defaults fills in what depends on other settings.
func (p *parser) defaults(in Input) {
	c := &p.config
	base := cmp.Or(c.Port, 26379)
	for _, port := range []struct {
		name  string
		to    *int
		above int
	}{{"grpc-port", &c.GRPCPort, 100}, {"raft-port", &c.RaftPort, 200}, {"http-port", &c.HTTPPort, 300}} {
		if _, given := p.set[port.name]; given {
			continue
		}
		*port.to = base + port.above
		if *port.to > 65535 {
			p.fault(p.set["port"].place, "port %d: %s would be %d, above 65535; give %s too", base, port.name, *port.to, port.name)
		}
	}
	if c.AnnouncePort == 0 {
		c.AnnouncePort = c.Port
	}
	for i, peer := range c.Peers {
		if !strings.Contains(peer, ":") || strings.HasSuffix(peer, "]") {
			host := strings.Trim(peer, "[]")
			c.Peers[i] = raftfsm.Addr{Host: host, Port: uint16(c.GRPCPort)}.String()
		}
	}
	if _, given := p.set["bootstrap-expect"]; !given && len(c.Peers) == 0 {
		c.BootstrapExpect = 1
	}
	c.Dir = absolute(in, c.Dir)
	if c.Dev {
		c.Dir = ""
	}
	if c.ScriptsDir != "" {
		c.ScriptsDir = absolute(in, c.ScriptsDir)
	}
}

func absolute(in Input, p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join("/", in.WorkDir, p)
}
