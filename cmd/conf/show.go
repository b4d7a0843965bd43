package conf

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// withheld stands for a secret that is there.
const withheld = "(withheld)"

// Show is what holds, defaults included, as the lines of a file, in the order of the table of directives. What is not named
// here does not come out: of a webhook only the server is told, of a password only that there is one. Files are named.
func (c *Config) Show() []string {
	var out []string
	line := func(words ...string) {
		for i, w := range words {
			if w == "" || strings.ContainsAny(w, " \t\"'\\\n") {
				words[i] = strconv.Quote(w)
			}
		}
		out = append(out, strings.Join(words, " "))
	}
	for _, d := range table {
		if show, known := shown[d.name]; known {
			if values := show(c); len(values) > 0 {
				line(append([]string{d.name}, values...)...)
			}
		}
	}
	for _, s := range c.Seeds {
		if !s.Address.IsZero() {
			line("sentinel", "monitor", s.Name, s.Address.Host, strconv.Itoa(int(s.Address.Port)), strconv.Itoa(s.Options.Quorum))
		}
		for _, v := range s.Options.Values() {
			values := []string{v.GetValue()}
			switch option, known := raftfsm.LookupOption(v.GetName()); {
			case v.GetName() == "quorum":
				continue
			case !known || option.Secret:
				values = []string{withheld}
			case option.Repeated: // a pair of words
				values = strings.Fields(v.GetValue())
			}
			line(append([]string{"sentinel", v.GetName(), s.Name}, values...)...)
		}
	}
	return out
}

// shown are the values of each directive that tells no secret. A directive that is not here, and is no row that means nothing,
// fails a test.
var shown = map[string]func(c *Config) []string{
	"cluster-name":            func(c *Config) []string { return []string{c.ClusterName} },
	"node-id":                 func(c *Config) []string { return []string{c.NodeID} },
	"bind":                    func(c *Config) []string { return binds(c.Bind) },
	"announce-ip":             func(c *Config) []string { return given(c.AnnounceIP) },
	"announce-port":           func(c *Config) []string { return number(c.AnnouncePort) },
	"port":                    func(c *Config) []string { return number(c.Port) },
	"grpc-port":               func(c *Config) []string { return number(c.GRPCPort) },
	"raft-port":               func(c *Config) []string { return number(c.RaftPort) },
	"http-port":               func(c *Config) []string { return number(c.HTTPPort) },
	"dir":                     func(c *Config) []string { return given(c.Dir) },
	"cluster-peers":           func(c *Config) []string { return slices.Clone(c.Peers) },
	"bootstrap-expect":        func(c *Config) []string { return number(c.BootstrapExpect) },
	"node-role":               func(c *Config) []string { return []string{c.NodeRole} },
	"loglevel":                func(c *Config) []string { return []string{c.LogLevel} },
	"logfile":                 func(c *Config) []string { return []string{c.LogFile} },
	"log-format":              func(c *Config) []string { return []string{c.LogFormat} },
	"protected-mode":          func(c *Config) []string { return yesNo(c.ProtectedMode) },
	"raft-timing":             func(c *Config) []string { return []string{c.RaftTiming} },
	"cluster-secret-file":     func(c *Config) []string { return given(c.ClusterSecretFile) },
	"deny-scripts-reconfig":   func(c *Config) []string { return yesNo(!c.ScriptsReconfig) },
	"scripts-dir":             func(c *Config) []string { return given(c.ScriptsDir) },
	"webhook":                 func(c *Config) []string { return servers(c.Webhooks) },
	"webhook-secret-file":     func(c *Config) []string { return given(c.WebhookSecretFile) },
	"resolve-hostnames":       func(c *Config) []string { return given(c.Settings["resolve-hostnames"]) },
	"announce-hostnames":      func(c *Config) []string { return given(c.Settings["announce-hostnames"]) },
	"failover-brake":          func(c *Config) []string { return given(c.Settings["failover-brake"]) },
	"remove-dead-nodes-after": func(c *Config) []string { return given(c.Settings["remove-dead-nodes-after"]) },
	"dev":                     func(c *Config) []string { return yesNo(c.Dev) },
}

func given(v string) []string {
	if v == "" {
		return nil
	}
	return []string{v}
}

func number(n int) []string { return []string{strconv.Itoa(n)} }

func yesNo(b bool) []string { return []string{map[bool]string{true: "yes", false: "no"}[b]} }

func binds(list []Bind) []string {
	var out []string
	for _, b := range list {
		if b.Optional {
			b.Host = "-" + b.Host
		}
		out = append(out, b.Host)
	}
	return out
}

// servers are where URLs lead, without user, path and query, which may be secrets.
func servers(urls []string) []string {
	var out []string
	for _, text := range urls {
		shown := withheld
		if u, err := url.Parse(text); err == nil {
			shown = u.Scheme + "://" + u.Host + "/" + withheld
		}
		out = append(out, shown)
	}
	return out
}
