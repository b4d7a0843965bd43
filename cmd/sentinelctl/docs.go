package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/cmd/version"
)

// docsCmd is for those who build packages: what it prints is made from the tables of commands and directives, and is never behind them.
func (a *app) docsCmd() *cobra.Command {
	pages := map[string]func(root *cobra.Command) string{
		"sentinelctl.1":    commandsPage,
		"sentineld.conf.5": func(*cobra.Command) string { return directivesPage() },
		"sentineld.conf":   func(*cobra.Command) string { return conf.Sample() },
	}
	names := []string{"sentinelctl.1", "sentineld.conf.5", "sentineld.conf"}
	return &cobra.Command{
		Use:       "docs " + strings.Join(names, "|"),
		Short:     "Print a manual page, or the sample of the daemon's configuration file",
		Hidden:    true,
		Args:      args(1, 1),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			page, ok := pages[args[0]]
			if !ok {
				return usagef("page %q: want one of %s", args[0], strings.Join(names, ", "))
			}
			_, err := fmt.Fprint(a.stdout, page(cmd.Root()))
			return err
		},
	}
}

func commandsPage(root *cobra.Command) string {
	p := newPage("sentinelctl", 1, root.Short)
	p.section("SYNOPSIS")
	p.bold("sentinelctl COMMAND [ARGUMENTS] [FLAGS]")
	p.section("DESCRIPTION")
	p.text(root.Long)
	p.section("GLOBAL FLAGS")
	p.verbatim(root.PersistentFlags().FlagUsagesWrapped(pageWidth))
	p.section("COMMANDS")
	var describe func(of *cobra.Command)
	describe = func(of *cobra.Command) {
		for _, c := range of.Commands() {
			if c.Hidden || c.Name() == "help" {
				continue
			}
			if c.HasSubCommands() {
				describe(c)
				continue
			}
			p.subsection(strings.TrimPrefix(usage(c), "sentinelctl "))
			if c.Long == "" {
				p.text(c.Short + ".")
			} else {
				p.text(c.Long)
			}
			p.verbatim(c.LocalNonPersistentFlags().FlagUsagesWrapped(pageWidth))
			p.verbatim(c.Example)
		}
	}
	describe(root)
	p.section("FILES")
	p.item("~/.config/sentinelctl/config", "Global flags, one a line: name value.")
	p.item(systemConfig, "The same for everybody on this machine.")
	p.section("SEE ALSO")
	p.text("sentineld(8), sentineld.conf(5)")
	return p.String()
}

func directivesPage() string {
	p := newPage("sentineld.conf", 5, "Configuration of sentineld")
	p.section("DESCRIPTION")
	p.text(`The file has the syntax of redis.conf and sentinel.conf: a directive and its values in each line, in quotes where they hold spaces;
a line that begins with # is a comment. An existing sentinel.conf is read as it is: directives of a Redis server that mean nothing here get a
warning, unknown ones stop the start. Where a directive is given twice, the last counts, with a warning.

include PATTERN reads other files in its place.

Every directive is also a flag, such as --grpc-port 26479, and an environment variable, such as SENTINELD_CONF_GRPC_PORT; a flag beats the
environment, which beats the file. The daemon never writes the file. sentineld --check-config FILE finds every fault of it.

Users and TLS are of a later version: directives that promise them (requirepass, user, tls-port and others) stop the start, unless they have
the value that means off.`)
	for _, c := range conf.Manual() {
		p.section(strings.ToUpper(c.Title))
		p.text(c.Intro)
		for _, e := range c.Entries {
			p.item(e.Name, e.Text, map[bool]string{true: "Default: ", false: "Example: "}[e.Default]+e.Value)
		}
	}
	p.section("EXAMPLE")
	p.text("One of three nodes; the file is the same on all of them:")
	p.verbatim(`cluster-peers 10.0.0.1 10.0.0.2 10.0.0.3
bootstrap-expect 3
cluster-secret-file /etc/sentineld/secret
bind * -::*
protected-mode no
sentinel monitor mymaster 10.0.0.11 6379 2`)
	p.section("SEE ALSO")
	p.text("sentineld(8), sentinelctl(1)")
	return p.String()
}

// pageWidth is that of text which is shown as it is, in columns.
const pageWidth = 72

// page is a manual page while it is written, in the language of man(7).
type page struct{ strings.Builder }

func newPage(name string, section int, what string) *page {
	p := &page{}
	fmt.Fprintf(p, ".TH %s %d \"\" \"sentineld %s\"\n", roff(strings.ToUpper(name)), section, roff(version.String()))
	p.section("NAME")
	p.text(name + " - " + what)
	return p
}

func (p *page) section(title string)    { fmt.Fprintf(p, ".SH %s\n", roff(title)) }
func (p *page) subsection(title string) { fmt.Fprintf(p, ".SS %s\n", roff(title)) }
func (p *page) bold(text string)        { fmt.Fprintf(p, ".B %s\n", roff(text)) }

// item explains a name, which stands in bold above the lines.
func (p *page) item(name string, lines ...string) {
	fmt.Fprintf(p, ".TP\n.B %s\n", roff(name))
	for i, line := range lines {
		if i > 0 {
			p.WriteString(".br\n")
		}
		p.WriteString(roff(line) + "\n")
	}
}

// text has paragraphs, with empty lines between them. One that is indented is shown as it is.
func (p *page) text(text string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		switch {
		case strings.TrimSpace(paragraph) == "":
		case strings.HasPrefix(paragraph, " "):
			p.verbatim(paragraph)
		default:
			p.WriteString(roff(strings.Trim(paragraph, "\n")) + "\n.PP\n")
		}
	}
}

func (p *page) verbatim(text string) {
	if text = strings.Trim(text, "\n"); text != "" {
		p.WriteString(".PP\n.nf\n" + roff(text) + "\n.fi\n")
	}
}

// roff writes text so that nothing in it is a command of the language.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
