package conf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var (
	// errValue refuses a value for no other reason than that it is not what the directive's words allow.
	errValue    = errors.New("bad value")
	errWildcard = errors.New("a wildcard is no address that others can dial")
)

// directive is a row of the table of directives.
type directive struct {
	name string
	// least and most values; most 0 is no bound.
	least, most int
	// words say what is allowed, for faults.
	words string
	// ignored says why a directive of redis-sentinel has no meaning here; such a row has nothing else.
	ignored string
	// flagOnly rows stand on the command line alone.
	flagOnly bool
	// secret values are not shown.
	secret bool
	// set takes the values; an error other than errValue says better than words what is wrong.
	set func(*Config, []string) error
}

const wantName = "1 to 64 letters, digits, dots, dashes and underscores"

// table holds every directive that is known.
var table = slices.Concat([]directive{
	one("cluster-name", wantName, func(c *Config, v string) error { return setName(&c.ClusterName, v) }),
	one("node-id", wantName, func(c *Config, v string) error { return setName(&c.NodeID, v) }),
	{name: "bind", least: 1, words: "addresses; * for all, -ADDR for one that may be missing", set: setBind},
	one("announce-ip", "a host name or an address that is no wildcard", setAnnounceIP),
	one("announce-port", wantPort0, func(c *Config, v string) error { return setPort(&c.AnnouncePort, v, 0) }),
	one("port", wantPort0+" for off", func(c *Config, v string) error { return setPort(&c.Port, v, 0) }),
	one("grpc-port", wantPort1, func(c *Config, v string) error { return setPort(&c.GRPCPort, v, 1) }),
	one("raft-port", wantPort1, func(c *Config, v string) error { return setPort(&c.RaftPort, v, 1) }),
	one("http-port", wantPort0+" for off", func(c *Config, v string) error { return setPort(&c.HTTPPort, v, 0) }),
	one("dir", "the path of a directory", func(c *Config, v string) error { return setText(&c.Dir, v) }),
	{name: "cluster-peers", least: 1, words: "HOST[:GRPCPORT] ...", set: setPeers},
	one("bootstrap-expect", "a whole number, 0 to 99", setExpect),
	choice("node-role", func(c *Config) *string { return &c.NodeRole }, RoleVoter, RoleObserver),
	choice("loglevel", func(c *Config) *string { return &c.LogLevel }, "debug", "verbose", "notice", "warning", "nothing"),
	one("logfile", "a path, or an empty word for stderr", func(c *Config, v string) error { c.LogFile = v; return nil }),
	choice("log-format", func(c *Config) *string { return &c.LogFormat }, FormatText, FormatJSON),
	one("protected-mode", "yes or no", func(c *Config, v string) error { return setYesNo(&c.ProtectedMode, v) }),
	choice("raft-timing", func(c *Config) *string { return &c.RaftTiming }, TimingDefault, TimingLAN, TimingWAN),
	one("cluster-secret-file", "a path", func(c *Config, v string) error { return setText(&c.ClusterSecretFile, v) }),
	one("deny-scripts-reconfig", "yes or no", setDenyScripts),
	one("scripts-dir", "the path of a directory", func(c *Config, v string) error { return setText(&c.ScriptsDir, v) }),
	{name: "webhook", least: 1, words: "http:// or https:// URLs", secret: true, set: setWebhooks},
	one("webhook-secret-file", "a path", func(c *Config, v string) error { return setText(&c.WebhookSecretFile, v) }),
	setting("resolve-hostnames"),
	setting("announce-hostnames"),
	one("failover-brake", "a whole number of percent, 0 to 100; 0 = off", setBrake),
	one("remove-dead-nodes-after", raftfsm.RemoveDeadAfterWant, setRemoveDead),
	{name: "dev", most: 1, words: "no value, yes or no", flagOnly: true, set: setDev},
}, notYet(), withoutMeaning())

const (
	wantPort0 = "a port, 1 to 65535, or 0"
	wantPort1 = "a port, 1 to 65535"
)

func one(name, words string, set func(*Config, string) error) directive {
	return directive{
		name: name, least: 1, most: 1, words: words,
		set: func(c *Config, v []string) error { return set(c, v[0]) },
	}
}

func choice(name string, to func(*Config) *string, allowed ...string) directive {
	return one(name, "one of "+strings.Join(allowed, ", "), func(c *Config, v string) error {
		v = strings.ToLower(v)
		if !slices.Contains(allowed, v) {
			return errValue
		}
		*to(c) = v
		return nil
	})
}

// setting is a setting of the whole cluster, which a file gives its first value.
func setting(name string) directive {
	return one(name, "yes or no", func(c *Config, v string) error {
		var on bool
		if err := setYesNo(&on, v); err != nil {
			return err
		}
		c.give(name, map[bool]string{true: "yes", false: "no"}[on])
		return nil
	})
}

func setBrake(c *Config, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > 100 {
		return errValue
	}
	c.give("failover-brake", strconv.Itoa(n))
	return nil
}

func setRemoveDead(c *Config, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || !raftfsm.RemoveDeadAfterAllowed(n) {
		return errValue
	}
	c.give("remove-dead-nodes-after", strconv.Itoa(n))
	return nil
}

// give is the first value of a setting of the whole cluster.
func (c *Config) give(name, value string) {
	if c.Settings == nil {
		c.Settings = map[string]string{}
	}
	c.Settings[name] = value
}

func lookup(name string) (directive, bool) {
	i := slices.IndexFunc(table, func(d directive) bool { return d.name == name })
	if i < 0 {
		return directive{}, false
	}
	return table[i], true
}

func (p *parser) unknown(l line) {
	name := l.words[0]
	if before, _, ok := strings.Cut(name, "="); ok && l.place.level == levelFlag {
		p.fault(l.place, "unknown directive %q; the value is a word of its own: --%s VALUE", name, before)
		return
	}
	names := []string{"include", "sentinel"}
	for _, d := range table {
		if d.ignored == "" {
			names = append(names, d.name)
		}
	}
	p.fault(l.place, "unknown directive %q%s", name, p.suggest("directives", name, names))
}

// suggest names what is near to a misspelt word, or else, once, everything of its kind that there is.
func (p *parser) suggest(kind, word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	if p.listed[kind] {
		return "; see above for what is known"
	}
	p.listed[kind] = true
	return "; known are " + strings.Join(known, ", ")
}

// distance is Levenshtein's, bytewise; words too long to be typing errors are simply far.
func distance(a, b string) int {
	if len(a) > 40 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func setName(to *string, v string) error {
	if v == "" || len(v) > 64 || strings.ContainsFunc(v, notInName) {
		return errValue
	}
	*to = v
	return nil
}

func notInName(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
}

func setText(to *string, v string) error {
	if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errValue
	}
	*to = v
	return nil
}

func setPort(to *int, v string, least int) error {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || int(n) < least {
		return errValue
	}
	*to = int(n)
	return nil
}

func setYesNo(to *bool, v string) error {
	switch strings.ToLower(v) {
	case "yes":
		*to = true
	case "no":
		*to = false
	default:
		return errValue
	}
	return nil
}

func setDenyScripts(c *Config, v string) error {
	deny := !c.ScriptsReconfig
	err := setYesNo(&deny, v)
	c.ScriptsReconfig = !deny
	return err
}

// setWebhooks never repeats a URL in a fault: it may hold a token.
func setWebhooks(c *Config, values []string) error {
	for i, v := range values {
		u, err := url.Parse(v)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			return errValue
		case u.User != nil:
			return errors.New("a URL with a user name in it is refused: the messages are signed with the secret of webhook-secret-file")
		case slices.Contains(values[:i], v):
			return errors.New("a URL is there twice")
		}
	}
	c.Webhooks = slices.Clone(values)
	return nil
}

func setDev(c *Config, v []string) error {
	if len(v) == 0 {
		c.Dev = true
		return nil
	}
	return setYesNo(&c.Dev, v[0])
}

func setBind(c *Config, values []string) error {
	binds := make([]Bind, len(values))
	for i, v := range values {
		host, optional := strings.CutPrefix(v, "-")
		if host != "*" && host != "::*" {
			if err := checkHost(host); err != nil {
				return err
			}
		}
		if host == "::*" {
			host = "::"
		}
		binds[i] = Bind{Host: host, Optional: optional}
	}
	c.Bind = binds
	return nil
}

// checkHost refuses what is neither an address nor a name that a resolver could know: a mistyped address looks like a name
// until it is looked up. No top-level domain begins with a digit (RFC 3696, section 2).
func checkHost(host string) error {
	if _, err := raftfsm.NewAddr(host, 1); err != nil {
		return err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := labels[len(labels)-1]
	switch {
	case slices.Contains(labels, ""), strings.Contains(host, "%"),
		!strings.ContainsFunc(last, isLetter), len(labels) > 1 && !isLetter(rune(last[0])):
		return fmt.Errorf("%s is neither an address nor a host name", host)
	}
	return nil
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

func setAnnounceIP(c *Config, v string) error {
	if v == "" {
		c.AnnounceIP = ""
		return nil
	}
	if err := checkHost(v); err != nil {
		return err
	}
	if ip := net.ParseIP(v); ip != nil && ip.IsUnspecified() {
		return errWildcard
	}
	c.AnnounceIP = v
	return nil
}

// setPeers keeps a peer without a port as it is: the port is known when all lines are read.
func setPeers(c *Config, values []string) error {
	peers := make([]string, len(values))
	for i, v := range values {
		full := v
		if !strings.Contains(v, ":") || strings.HasPrefix(v, "[") && strings.HasSuffix(v, "]") {
			full = v + ":1"
		}
		addr, err := raftfsm.ParseAddr(full)
		if err == nil {
			err = checkHost(addr.Host)
		}
		if err != nil {
			return err
		}
		if slices.Contains(peers[:i], v) {
			return fmt.Errorf("%s is there twice", v)
		}
		peers[i] = v
		if full == v {
			peers[i] = addr.String()
		}
	}
	c.Peers = peers
	return nil
}

func setExpect(c *Config, v string) error {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n > 99 {
		return errValue
	}
	c.BootstrapExpect = int(n)
	return nil
}

func quoteAll(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strconv.Quote(v)
	}
	return out
}
